"""From training series to regressions, and from withheld ones to how far they are to be followed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from latentode.baselines import Ridge
from latentode.calibration import HiddenScores
from latentode.hiding import hiding_contexts, hiding_cuts, hiding_subsets
from latentode.series import SeriesCollection
from latentode.stacking.asked import Asked
from latentode.stacking.stack import KINDS, Member, Stack
from latentode.stacking.weights import half_way, learn_weights

__all__ = ["learn_stack"]

# Numbers (rows times channels) of the series that are cut, and of contexts and hidden rows that a regression is fitted
# to. Of forecasts each context makes features once, else each hidden row.
MOST_OF_SERIES = 12_000_000
MOST_NUMBERS = {"ahead": 12_000_000, "between": 2_000_000}

# And those asked about at once.
AT_ONCE = 2_000_000

# Cuts of a training series, on average, and of all at most; how many times rows are hidden anew, where they are few.
CUTS_A_SERIES, MOST_CUTS, N_REPEATS = 24, 200_000, 4

# Fewer training series than this flatter the model too much to say how far answers between observations should be
# moved. On five small tables half the way errs 7 to 10 % less than weights learned from them.
FEW = 10

# With fewer series than this, what is common to them can't be told from what is one's own.
MIN_SERIES = 4

# Where none are withheld, the parts of the series that are told by the others.
N_FOLDS = 5

# So many series are asked about from fewer contexts.
MANY = 100


def learn_stack(
    training: SeriesCollection,
    withheld: SeriesCollection | None,
    ask: Callable[[SeriesCollection, Sequence[Tensor]], HiddenScores],
    *,
    task: str,
    seed: int,
) -> Stack | None:
    """Regressions fitted to the training series, with weights of least squares on what the withheld ones hide.

    Args:
        withheld: None where there are none: then each of the training series is told by regressions on others
            (cross-fitting). The model was trained on all of them, which flatters it: weights are rather too small
            than too large. Of fewer than ten series those between observations would come out near 0, however good
            the regression, and are a half: of two answers that may be as good the mean is the better bet.
        ask: what the model says of what each of some contexts, (R,) bool masks, hides of some series.
        task: see `hiding_subsets`, which hides rows of the training series.

    Returns:
        None where no answer would be moved.
    """
    training = _some(training, np.random.default_rng(seed))
    if withheld is None and len(training) < MIN_SERIES:
        return None
    series = training if withheld is None else withheld
    contexts = hiding_contexts(series, torch.Generator().manual_seed(seed), task, fewer=len(series) >= MANY)
    hidden, asked = ask(series, contexts), Asked.of(series, contexts)
    members = {}
    for kind in KINDS:
        learned = _Learned.of(training, kind, task, seed)
        if withheld is None and len(training) < FEW and kind == "between":
            members[kind] = learned.half_way_member(asked)
        else:
            told = learned.tell(asked) if withheld is not None else learned.tell_crosswise(asked)
            members[kind] = learned.member(asked, told, hidden)
    return None if all(member is None for member in members.values()) else Stack(**members)


@dataclass(frozen=True)
class _Learned:
    """What one kind of regression learns from, and the regression; None where there is nothing to learn."""

    kind: str
    asked: Asked
    seed: int
    ridge: Ridge | None

    @classmethod
    def of(cls, series: SeriesCollection, kind: str, task: str, seed: int) -> _Learned:
        """From each series cut, or its rows hidden, anew many times."""
        draws = torch.Generator().manual_seed(seed)
        most = MOST_NUMBERS[kind] // max(1, series.mask.numel())
        if kind == "ahead":
            a_series = int(np.clip(most, 1, CUTS_A_SERIES))
            masks = hiding_cuts(series, draws, min(MOST_CUTS, a_series * len(series)))
        else:
            repeats = range(int(np.clip(most, 1, N_REPEATS)))
            masks = [mask for _ in repeats for mask in hiding_subsets(series, draws, task)]
        asked = Asked.of(series, masks, most=MOST_NUMBERS[kind], generator=np.random.default_rng(seed))
        return cls(kind, asked, seed, _fit(asked, asked.entries(kind), kind, seed))

    def tell_crosswise(self, asked: Asked) -> np.ndarray:
        """`tell` of the series that this was learned from, each by what the others teach."""
        n_series = 1 + int(max(one.series.max(initial=0) for one in (asked, self.asked)))
        fold = np.random.default_rng(self.seed).permutation(n_series) % N_FOLDS
        told = np.full(asked.truth.shape, np.nan)
        for number in range(min(N_FOLDS, n_series)):
            entries = self.asked.entries(self.kind) & (fold[self.asked.series] != number)[:, None]
            others = replace(self, ridge=_fit(self.asked, entries, self.kind, self.seed))
            its = fold[asked.series] == number
            told[its] = others.tell(asked, its)[its]
        return told

    def tell(self, asked: Asked, chosen: np.ndarray | None = None) -> np.ndarray:
        """Answers to what is asked of this kind, NaN elsewhere: (Q, D)."""
        told = np.full(asked.truth.shape, np.nan)
        if self.ridge is None:
            return told
        wanted = asked.entries(self.kind).any(1)
        rows = np.flatnonzero(wanted if chosen is None else wanted & chosen)
        n_channels = asked.contexts.n_channels
        nothing = np.zeros(n_channels)
        if not len(rows):
            return told
        for some in np.array_split(rows, max(1, -(-len(rows) * n_channels // AT_ONCE))):
            told[some] = self.ridge.predict(asked.contexts, asked.codes[some], asked.times[some], nothing)
        return told

    def member(self, asked: Asked, told: np.ndarray, hidden: HiddenScores) -> Member | None:
        """The regression with weights by what it, or its like, told of what is asked."""
        if self.ridge is None:
            return None
        mean = asked.answered(hidden)
        row, channel = np.nonzero(asked.entries(self.kind) & np.isfinite(told) & np.isfinite(mean))
        weights = learn_weights(
            gap=(asked.truth - mean)[row, channel],
            difference=(told - mean)[row, channel],
            lead=asked.kinds.lead[row, channel],
            channel=channel,
            series=asked.series[row],
            n_channels=mean.shape[1],
        )
        return None if weights is None else Member(self.ridge, weights)

    def half_way_member(self, asked: Asked) -> Member | None:
        """The regression with weights of a half."""
        if self.ridge is None:
            return None
        weights = half_way(asked.kinds.lead[asked.entries(self.kind)], asked.truth.shape[1])
        return None if weights is None else Member(self.ridge, weights)


def _fit(asked: Asked, entries: np.ndarray, kind: str, seed: int) -> Ridge | None:
    rows = np.flatnonzero(entries.any(1))
    if not len(rows):
        return None
    return Ridge(forecasts=kind == "ahead", radial=kind == "ahead").fit(
        asked.contexts,
        asked.codes[rows],
        asked.times[rows],
        np.where(entries, asked.truth, np.nan)[rows],
        series=asked.series[rows],
        default=np.zeros(asked.contexts.n_channels),
        generator=np.random.default_rng(seed),
    )


def _some(collection: SeriesCollection, generator: np.random.Generator) -> SeriesCollection:
    """A random part of the series, where they are more than a regression needs."""
    order = generator.permutation(len(collection))
    sizes = collection.n_channels * np.cumsum(collection.lengths.numpy()[order])
    n_series = max(1, int(np.searchsorted(sizes, MOST_OF_SERIES, side="right")))
    return collection if n_series >= len(collection) else collection.select(np.sort(order[:n_series]))
