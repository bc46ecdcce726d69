r"""Bands that hold what they say, learned from series the training was not shown.

A model's band of level p lies between the values at standard scores -a and a of its predictive distribution,
a = Phi^-1((1 + p) / 2). On withheld series the score |z| = |Phi^-1(F(x))| of a hidden value x shows how far
out it really lay, and a share p of these lies below some Q(a). The adjusted band lies between the values at
-Q(a) and Q(a): the same distribution, read at other scores. Its mean and median stay as they are. Of fewer than
twenty series no such curve can be read; bands are then widened by one factor, where they seem too narrow. Of fewer
than ten, parts are withheld where they are long, which count as series do, else rows: the others of these were trained
on, which flatters the model.

The promise is for series like the withheld ones, on average, and for contexts like those of
`hiding_contexts`, a quarter of a series at least. The withheld series also chose the weights: bands fitted on
others held 0.2 (spirals) to 1 (PhysioNet 2012) points more at 90 %, as much as other series alone may do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from latentode.series import SeriesBatch

__all__ = ["GRID", "Calibration", "Curves", "HiddenScores", "elapsed", "fit_calibration"]

# Nominal scores at which Q is kept. The last is that of level 99.99 %; beyond it Q goes on in proportion.
GRID = np.arange(0.0, 4.01, 0.1)

# With fewer series than this the share of one of them alone is more than the two points aimed at.
MIN_SERIES = 20

# Fewer than that widen the bands at most, as if so many more had been scored for which these are right. A score
# counts as the limit where it lies farther out, so that one strange series does not speak for all.
RIGHT_SERIES, FARTHEST = 2, 4.0

# Knots in lead time, at equally many values each. Five did as well as twelve on storms and spirals.
N_KNOTS = 8

# A cell of as many independent values as this counts as much as what it is shrunk to.
SHRINKAGE = 20

# Levels whose scatter between series says how many independent values there are.
SPREAD_LEVELS = (0.5, 0.8, 0.9, 0.95)


def elapsed(context: SeriesBatch, times: Tensor) -> tuple[Tensor, Tensor]:
    """Time from each query to the nearest observed row, and whether it lies between two of them.

    After the last one this is the time since the last observation. Infinite where nothing is observed.

    Shapes:
        times (B, M) on the context's clock -> (B, M), and (B, M) bool.
    """
    known = context.compact()
    rows = known.times.contiguous()
    after = torch.searchsorted(rows, times.contiguous(), right=True)
    left = rows.gather(1, (after - 1).clamp(min=0))
    right = rows.gather(1, after.clamp(max=rows.shape[1] - 1))
    lead = torch.minimum((times - left).abs(), (right - times).abs())
    between = (times >= rows[:, :1]) & (times <= rows[:, -1:])
    nothing = ~known.observed_rows.any(1, keepdim=True)
    return lead.masked_fill(nothing, torch.inf), between & ~nothing


@dataclass(frozen=True)
class HiddenScores:
    """Where n hidden values lay in what was predicted of them.

    Shapes:
        score (n,), Phi^-1(F(x)); lead (n,), in model time; between (n,) bool; channel (n,); row (n,), of the
        collection that was scored; mean (n,), what was predicted; trajectory (n,), its part that is of the
        trajectory, and shift (n,), of a regression; context (n,), number of the one that hid it.
    """

    score: np.ndarray
    lead: np.ndarray
    between: np.ndarray
    channel: np.ndarray
    row: np.ndarray
    mean: np.ndarray
    trajectory: np.ndarray
    shift: np.ndarray
    context: np.ndarray


@dataclass(frozen=True)
class Curves:
    """Q(a) for each channel at knots in lead time, linear in both; beyond the last knot it stays the same.

    Shapes:
        leads (K,), increasing; scores (K, D, A) at the nominal scores GRID.
    """

    leads: Tensor
    scores: Tensor

    @classmethod
    def widened(cls, n_channels: int, factor: float) -> Curves:
        """Q(a) = factor a at all leads."""
        return cls(torch.zeros(1), torch.from_numpy(factor * GRID).expand(1, n_channels, -1).clone())

    def starting_with(self, scores: Tensor) -> Curves:
        """The same with one more knot at 0, (1, D, A), if there is room for it."""
        if self.leads[0] <= 0:
            return self
        return Curves(
            torch.cat([torch.zeros_like(self.leads[:1]), self.leads]), torch.cat([scores, self.scores])
        )

    def at(self, score: float, lead: Tensor) -> Tensor:
        """Q(score) at leads (B, M): (B, M, D)."""
        step = float(GRID[1])
        inside = min(abs(score), float(GRID[-1]))
        place = min(int(inside / step), len(GRID) - 2)
        share = inside / step - place
        table = (1 - share) * self.scores[..., place] + share * self.scores[..., place + 1]
        if inside > 0:
            table = table * (abs(score) / inside)
        return _between_knots(table.to(lead), self.leads.to(lead), lead)


@dataclass(frozen=True)
class Calibration:
    """Adjusted scores for what lies `ahead` of a series' last observation (or before its first), and for
    what lies `between` two of them.
    """

    ahead: Curves
    between: Curves

    @property
    def factor(self) -> float | None:
        """By how much all bands are widened, where that is all; None where they are adjusted by lead and channel."""
        factor = float(self.ahead.scores[0, 0, -1] / GRID[-1])
        widened = Curves.widened(self.ahead.scores.shape[1], factor)
        own = all(
            curves.scores.shape == widened.scores.shape and torch.allclose(curves.scores, widened.scores)
            for curves in (self.ahead, self.between)
        )
        return factor if own else None

    def adjusted(self, score: float, lead: Tensor, between: Tensor) -> Tensor:
        """The standard scores to read the predictive distribution at, in place of `score`.

        Monotone in `score` and 0 at 0.

        Shapes:
            lead (B, M), between (B, M) bool, as `elapsed` gives them -> (B, M, D).
        """
        found = torch.where(between.unsqueeze(-1), self.between.at(score, lead), self.ahead.at(score, lead))
        return found if score >= 0 else -found


def _between_knots(table: Tensor, knots: Tensor, lead: Tensor) -> Tensor:
    if len(knots) == 1:
        return table[0].expand(*lead.shape, -1)
    lead = lead.clamp(float(knots[0]), float(knots[-1]))
    left = (torch.searchsorted(knots, lead.contiguous(), right=True) - 1).clamp(0, len(knots) - 2)
    share = ((lead - knots[left]) / (knots[left + 1] - knots[left])).unsqueeze(-1)
    return (1 - share) * table[left] + share * table[left + 1]


def fit_calibration(hidden: HiddenScores, series: np.ndarray, n_channels: int) -> Calibration | None:
    r"""Split-conformal Q(a) by kind of query, lead time and channel.

    Of n independent scores the k-th smallest is not exceeded by a new one with probability k / (n + 1):
    it is Q at that level, and between two of them Q is linear in the nominal score. Beyond the largest, Q
    goes on in proportion to it. Each score counts for the two knots in lead time that it lies between, by
    how near they are.

    Values of one series are alike, and n is not their number but how many independent ones would scatter
    as much: the share below a level varies between series by a variance V, and n = p (1 - p) / V. A cell's
    Q is shrunk to that of its channel at all leads, and this to that of all channels, as n Q / (n + 20) +
    20 Q' / (n + 20): a mean of increasing functions, which increases.

    Where fewer than twenty series are scored Q(a) = f a, the same for both kinds, all leads and channels, with

        f^2 = max(1, (2 + sum of the mean squared scores of n series) / (2 + n)).

    Args:
        series: number of each score's series, (n,).

    Returns:
        None where nothing is to be adjusted. A channel never scored goes by all the others.

    Source: Vovk, Gammerman & Shafer 2005, "Algorithmic Learning in a Random World"; Dunn, Wasserman & Ramdas
    2023, "Distribution-free prediction sets for two-layer hierarchical models".
    """
    # A context of nothing says nothing of elapsed time.
    asked = np.isfinite(hidden.lead)
    kinds = [asked & (hidden.between == between) for between in (False, True)]
    samples = [_Sample.of(hidden, series, chosen) for chosen in kinds]
    enough = [sample.n_series >= MIN_SERIES for sample in samples]
    if not any(enough):
        factor = _Sample.of(hidden, series, asked).excess()
        widened = Curves.widened(n_channels, factor)
        return Calibration(widened, widened) if factor > 1 else None
    ahead, between = (
        _fit_curves(sample, hidden.lead[chosen], hidden.channel[chosen], n_channels)
        if ample
        else Curves.widened(n_channels, sample.excess())
        for sample, chosen, ample in zip(samples, kinds, enough, strict=True)
    )
    if not all(enough):
        return Calibration(ahead, between)
    # At an observation the two meet, so that a band drawn through the last one has no step there.
    common = (ahead.scores[:1] + between.scores[:1]) / 2
    return Calibration(ahead.starting_with(common), between.starting_with(common))


@dataclass(frozen=True)
class _Sample:
    """Scores, their weights and their series' numbers: (n,) each."""

    score: np.ndarray
    weight: np.ndarray
    series: np.ndarray

    def take(self, chosen: np.ndarray) -> _Sample:
        return _Sample(self.score[chosen], self.weight[chosen], self.series[chosen])

    def weighed(self, weight: np.ndarray) -> _Sample:
        """Those whose weights are not 0."""
        return replace(self, weight=weight).take(np.flatnonzero(weight > 0))

    @classmethod
    def of(cls, hidden: HiddenScores, series: np.ndarray, chosen: np.ndarray) -> _Sample:
        _, number = np.unique(series[chosen], return_inverse=True)
        return cls(np.abs(hidden.score[chosen]), np.ones(len(number)), number)

    @property
    def n_series(self) -> int:
        return len(np.unique(self.series))

    def excess(self) -> float:
        """How many times as far out as they should the scores of few series lie, at least 1; see `fit_calibration`."""
        if not len(self.score):
            return 1.0
        square = np.minimum(self.score, FARTHEST) ** 2
        of_series = np.bincount(self.series, square) / np.bincount(self.series)
        found = (RIGHT_SERIES + of_series.sum()) / (RIGHT_SERIES + len(of_series))
        return float(np.maximum(found, 1.0)) ** 0.5

    def curve(self, prior: np.ndarray | None = None) -> np.ndarray:
        """Q at GRID, shrunk to the prior where there is one."""
        if not len(self.score):
            return GRID.copy() if prior is None else prior
        order = np.argsort(self.score, kind="stable")
        score, share = self.score[order], self.weight[order].cumsum() / self.weight.sum()
        n = self._size(score, share)
        nominal = _nominal(share * n / (n + 1))
        found = np.interp(GRID, np.append(0.0, nominal), np.append(0.0, score))
        found = np.where(nominal[-1] < GRID, score[-1] * GRID / nominal[-1], found)
        return found if prior is None else (n * found + SHRINKAGE * prior) / (n + SHRINKAGE)

    def _size(self, score: np.ndarray, share: np.ndarray) -> float:
        """How many independent scores scatter as much: at least the series, at most the values there are."""
        total = self.weight.sum()
        of_series = np.bincount(self.series, self.weight)
        least = total**2 / (of_series**2).sum()
        most = total**2 / (self.weight**2).sum()
        scatter = []  # of the share below a level, beside that of one independent score
        for p in SPREAD_LEVELS:
            below = self.score <= score[min(int(np.searchsorted(share, p)), len(score) - 1)]
            found = (self.weight * below).sum() / total
            if found < 1:
                apart = np.bincount(self.series, self.weight * (below - found))
                scatter.append((apart**2).sum() / total**2 / (found * (1 - found)))
        if not scatter:
            return float(least)
        return float(np.clip(1 / max(np.mean(scatter), 1 / most), least, most))


def _nominal(level: np.ndarray) -> np.ndarray:
    return torch.special.ndtri(torch.from_numpy((1 + level) / 2)).numpy()


def _fit_curves(sample: _Sample, lead: np.ndarray, channel: np.ndarray, n_channels: int) -> Curves:
    at = (np.arange(N_KNOTS) + 0.5) / N_KNOTS
    knots = np.unique(np.quantile(lead, at, method="nearest"))
    knots = knots[np.diff(knots, prepend=-1.0) > 1e-3 * knots]  # equal but for the rounding of clocks
    near = _between_knots(
        torch.eye(len(knots), dtype=torch.float64), torch.from_numpy(knots), torch.from_numpy(lead)
    ).numpy()
    whole = sample.curve()
    scores = np.empty((len(knots), n_channels, len(GRID)))
    for number in range(n_channels):
        own = np.flatnonzero(channel == number)
        of_channel = sample.take(own)
        curve = of_channel.curve(whole)
        for knot in range(len(knots)):
            scores[knot, number] = of_channel.weighed(near[own, knot]).curve(curve)
    return Curves(torch.from_numpy(knots), torch.from_numpy(scores))
