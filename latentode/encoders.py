"""Recognition networks: from the context to the posterior of the latent state."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional as F

from latentode.gru import GRU
from latentode.nn import MLP
from latentode.series import SeriesBatch

__all__ = ["Encoder", "GRUEncoder"]

# A posterior narrower than this fraction of the prior carries no more information than a float32
# trajectory could use, and its KL would outweigh everything else.
MIN_POSTERIOR_STD = 1e-3

# The posterior starts narrower than the prior, so that the first trajectories already differ from
# series to series instead of being drowned in the prior's spread.
INITIAL_POSTERIOR_STD = 0.3

# Standardised values farther out than this are outliers; the network is shown that they are large,
# not how large.
LARGEST_INPUT = 10.0

# How many periods back a wave's rows count, and the ridge of its level, cosine and sine, in observations.
WAVE_MEMORY, WAVE_RIDGE = 1.5, (1e-3, 0.3, 0.3)

# Where the products of 1, cosine and sine stand among 1, cos, sin, cos cos, cos sin and sin sin.
_GRAM = [0, 1, 2, 1, 3, 4, 2, 4, 5]

# A summary that varies by less than this is the same for all series but for rounding.
LEAST_SPREAD = 1e-4


class Encoder(nn.Module, ABC):
    """q(z0 | context): reads a batch of observed series, answers with a diagonal normal.

    Where nothing is known of a series, neither an observation nor a static feature, the posterior is the prior,
    N(0, I).
    `origin` says where z0 stands: at the "first" or at the "last" observation of the context.

    Shapes:
        context times (B, N), values (B, N, D), mask (B, N, D), statics (B, P) or None -> Normal of shape (B, L).
    """

    origin: str
    latent_dim: int

    @abstractmethod
    def forward(self, context: SeriesBatch) -> Normal: ...

    def prepare(self, context: SeriesBatch) -> None:
        """Called once before training, with contexts like those that will be read; does nothing of itself."""


class GRUEncoder(Encoder):
    r"""Reads a series from its last observation to its first: q(z0 | x_1..x_N).

    The cell sees, at each observation, the values (0 where missing), the mask and the time to the
    observation read before it. With origin="last" z0 stands at the last observation and the
    direction of reading is mirrored, so that what was seen nearest to z0 is always read last.

    Beside the cell's final state the posterior's head sees plain summaries of every channel: the
    observed values nearest to and farthest from z0, their elapsed times, the change per time
    between the nearest two, the mean and the number of observations; where there is a period, level, cosine and sine
    of the wave through what is near z0; and the static features that describe the series as a whole. Without an
    observation it answers from these alone. `prepare` brings the summaries to a
    common scale: the change between two observations is a small part of a channel's spread, and would be learned last.

    Args:
        n_units: size of the cell's state.
        head_units: widths of the head's hidden layers.
        origin: where z0 stands, at the "first" or at the "last" observation.
        summaries: whether the head sees them; without, it sees the cell's state and the static features.
        shortcut: adds a linear path from what the head sees to what it answers.
        typical_gap: the usual time between observations, in model time; gaps are shown relative to it.
        n_statics: static features of a series, P.
        period: with which the series repeat themselves, in model time; None where nothing is known of one.

    Shapes:
        times (B, N), values (B, N, D), mask (B, N, D), statics (B, P), of which None says that nothing is known
        -> Normal of shape (B, L).

    Raises:
        ValueError: for another origin, a period that is not positive or that no summaries tell of, and for another
            number of static features.
    Source: Chen et al. 2018, "Neural Ordinary Differential Equations", section 5; the summaries are ours.
    """

    typical_gap: Tensor
    summary_center: Tensor
    summary_spread: Tensor
    wave_ridge: Tensor

    def __init__(
        self,
        n_channels: int,
        latent_dim: int,
        n_units: int = 32,
        head_units: Sequence[int] = (32,),
        *,
        origin: str = "first",
        summaries: bool = True,
        typical_gap: float = 0.05,
        n_statics: int = 0,
        shortcut: bool = True,
        period: float | None = None,
    ) -> None:
        super().__init__()
        if origin not in ("first", "last"):
            raise ValueError(f"origin must be 'first' or 'last'; got {origin!r}")
        if period is not None and not (summaries and period > 0):
            raise ValueError(f"period must be positive, and needs summaries=True; got {period}")
        self.origin = origin
        self.latent_dim = latent_dim
        self.summaries = summaries
        self.n_statics = n_statics
        self.register_buffer("typical_gap", torch.tensor(float(typical_gap)))
        self.gru = GRU(2 * n_channels + 2, n_units)
        n_summaries = (7 if period is None else 10) * n_channels if summaries else 0
        self.period = period
        self.register_buffer("wave_ridge", torch.tensor(WAVE_RIDGE), persistent=False)
        self.head = MLP(n_units + n_summaries + n_statics, head_units, 2 * latent_dim, shortcut=shortcut)
        # Encoders of before there were shortcuts left the summaries at scales of their own.
        self.prepares = shortcut
        if shortcut:
            self.register_buffer("summary_center", torch.zeros(n_summaries))
            self.register_buffer("summary_spread", torch.ones(n_summaries))

    def forward(self, context: SeriesBatch) -> Normal:
        context, reading, lengths = self._read(context)
        seen, values = reading.seen, reading.values
        gaps = F.pad((reading.times[:, 1:] - reading.times[:, :-1]).abs(), (1, 0)).unsqueeze(-1)
        relative = torch.log1p(gaps / self.typical_gap)
        inputs = torch.cat([values, seen, gaps.clamp(max=10.0), relative], dim=-1)
        state = self.gru(inputs, lengths)
        if self.summaries:
            summaries = self._summaries(reading.times, values, seen, lengths)
            if self.prepares:
                summaries = (summaries - self.summary_center) / self.summary_spread
                summaries = summaries.clamp(-LARGEST_INPUT, LARGEST_INPUT)
            state = torch.cat([state, summaries], dim=-1)
        unknown = lengths == 0
        statics = self._statics(context)
        if statics is not None:
            state = torch.cat([state, statics], dim=-1)
            unknown = unknown & ~statics.any(1)
        location, raw_scale = self.head(state).chunk(2, dim=-1)
        scale = MIN_POSTERIOR_STD + INITIAL_POSTERIOR_STD * F.softplus(raw_scale) / F.softplus(
            torch.zeros((), device=location.device, dtype=location.dtype)
        )
        unknown = unknown.unsqueeze(1)
        return Normal(
            location.masked_fill(unknown, 0.0), scale.masked_fill(unknown, 1.0), validate_args=False
        )

    @torch.no_grad()
    def prepare(self, context: SeriesBatch) -> None:
        """Takes the scales of the summaries from these contexts."""
        if not (self.summaries and self.prepares):
            return
        _, reading, lengths = self._read(context)
        found = self._summaries(reading.times, reading.values, reading.seen, lengths)
        found = found[lengths > 0].double()
        if not len(found):
            return
        spread = found.std(0, correction=0)
        self.summary_center.copy_(found.mean(0))
        self.summary_spread.copy_(torch.where(spread > LEAST_SPREAD, spread, 1.0))

    def _summaries(self, times: Tensor, values: Tensor, seen: Tensor, lengths: Tensor) -> Tensor:
        found = _summaries(times, values, seen, lengths, self.typical_gap)
        if self.period is None:
            return found
        return torch.cat([found, _waves(times, values, seen, lengths, self.period, self.wave_ridge)], dim=-1)

    def _read(self, context: SeriesBatch) -> tuple[SeriesBatch, SeriesBatch, Tensor]:
        """The compact context, the same in reading order with its values cut, and its lengths (B,)."""
        context = context.compact()
        # Reading order: the observation nearest to z0 comes last.
        lengths = context.observed_rows.sum(1)
        reading = _reverse(context, lengths) if self.origin == "first" else context
        values = (reading.values * reading.seen).clamp(-LARGEST_INPUT, LARGEST_INPUT)
        return context, replace(reading, values=values), lengths

    def _statics(self, context: SeriesBatch) -> Tensor | None:
        """What the head sees of them: (B, P), None with P = 0."""
        statics = context.statics
        n_statics = self.n_statics if statics is None else statics.shape[1]
        if n_statics != self.n_statics:
            raise ValueError(
                f"the context holds {n_statics} static features of a series, and the encoder was made for "
                f"n_statics={self.n_statics}"
            )
        if not self.n_statics:
            return None
        if statics is None:
            return context.times.new_zeros(context.n_series, self.n_statics)
        return statics.clamp(-LARGEST_INPUT, LARGEST_INPUT)


def _reverse(batch: SeriesBatch, lengths: Tensor) -> SeriesBatch:
    """Each compact series back to front, its padding still behind it."""
    rank = torch.arange(batch.times.shape[1], device=lengths.device)
    order = lengths.unsqueeze(1) - 1 - rank
    return batch.take(order.clamp(min=0), order >= 0)


def _summaries(times: Tensor, values: Tensor, seen: Tensor, lengths: Tensor, typical_gap: Tensor) -> Tensor:
    """Seven numbers a channel, 0 where there is none: (B, 7 D). Rows are in reading order."""
    n_rows = times.shape[1]
    # Row (from 1; 0 for none) of the latest, second latest and first observed value of each channel in
    # reading order; as floats and over the first dimension, where extremes are found several times faster.
    seen = seen.transpose(0, 1).clone(memory_format=torch.contiguous_format)
    count = seen.sum(0)
    rank = torch.arange(1, n_rows + 1, device=times.device, dtype=values.dtype).view(-1, 1, 1)
    ranked = seen * rank
    nearest = ranked.amax(0)
    second = torch.sub(nearest, ranked).clamp_(max=1).mul_(ranked).amax(0)
    farthest = n_rows + 1 - seen.mul_(n_rows + 1 - rank).amax(0)

    def read(table: Tensor, row: Tensor) -> Tensor:
        return table.gather(1, (row.long() - 1).clamp(0, n_rows - 1).unsqueeze(1)).squeeze(1)

    clock = times.unsqueeze(-1).expand_as(values)
    end = times.gather(1, (lengths - 1).clamp(min=0).unsqueeze(1))
    once, twice = count > 0, count > 1
    value, time = read(values, nearest), read(clock, nearest)
    gap = time - read(clock, second)
    # A change over a vanishing gap says nothing; the typical gap bounds the quotient.
    gap = torch.where(gap.abs() < 1e-3 * typical_gap, 1e-3 * typical_gap, gap)
    slope = (value - read(values, second)) * typical_gap / gap
    mean = values.sum(1) / count.clamp(min=1)
    zero = torch.zeros_like(mean)
    parts = [
        torch.where(once, value, zero),
        torch.where(once, (time - end).clamp(-10, 10), zero),
        torch.where(twice, slope.clamp(-LARGEST_INPUT, LARGEST_INPUT), zero),
        torch.where(once, read(values, farthest), zero),
        torch.where(once, (read(clock, farthest) - end).clamp(-10, 10), zero),
        mean,
        torch.log1p(count),
    ]
    return torch.cat(parts, dim=-1)


def _waves(
    times: Tensor, values: Tensor, seen: Tensor, lengths: Tensor, period: float, ridge: Tensor
) -> Tensor:
    """Level, cosine and sine of each channel's wave, counted from the row nearest to z0: (B, 3 D).

    By regression with a ridge (3,), in which a row counts by exp(-its time from there / WAVE_MEMORY periods). Rows are
    in reading order.
    """
    end = times.gather(1, (lengths - 1).clamp(min=0).unsqueeze(1))
    turns = (times - end) / period
    count = (-turns.abs() / WAVE_MEMORY).exp()
    cos, sin = (2 * math.pi * turns).cos(), (2 * math.pi * turns).sin()
    columns = torch.stack([count, count * cos, count * sin], dim=-1)
    products = torch.stack([count * cos * cos, count * cos * sin, count * sin * sin], dim=-1)
    moment = (seen * values).transpose(1, 2) @ columns
    found = seen.transpose(1, 2) @ torch.cat([columns, products], dim=-1)
    gram = found[..., _GRAM].unflatten(-1, (3, 3)) + ridge.diag()
    return torch.linalg.solve_ex(gram, moment.unsqueeze(-1)).result.flatten(1)  # which waits for no GPU
