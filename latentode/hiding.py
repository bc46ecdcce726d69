"""What is hidden of series that training was not shown, to see how well the rest foretells it."""

from __future__ import annotations

import torch
from torch import Tensor

from latentode.series import SeriesCollection

__all__ = ["hiding_contexts", "hiding_cuts", "hiding_subsets"]

# Contexts of each series: cuts that show this share of the rows at least, and subsets that hide so much at most. Of
# models that only fill gaps more of the latter, and sparser ones: where one row in ten of the hopper is shown their
# bands of 90 % held 87 % of validation series, and 84 % by the others' contexts. A third of each where that is enough.
N_CUTS, N_SUBSETS, LEAST_SHOWN, MOST_HIDDEN = 6, 3, 0.25, 0.8
N_CUTS_BETWEEN, N_SUBSETS_BETWEEN, MOST_HIDDEN_BETWEEN = 2, 7, 0.95

# Cuts of `hiding_cuts` show this share of the rows at least. What is learned from shorter ones holds less of those that
# are asked about: from any cuts a regression errs by 4 % more in the storms' tracks at six hours, and from a quarter on
# by 2 % more in wind, which rises early.
LEAST_CUT = 0.12


def hiding_contexts(
    collection: SeriesCollection, generator: torch.Generator, task: str = "both", *, fewer: bool = False
) -> list[Tensor]:
    """What is shown of each series to see how well the rest is predicted, whatever the model is for.

    Cuts, spread over each series, keep the rows before them; subsets hide random rows, up to four in five, with
    task="interpolate" up to nineteen in twenty. A context that would repeat an earlier one of the same series hides
    nothing.

    Args:
        fewer: a third of the contexts.

    Shapes:
        -> (R,) bool masks, the cuts first.
    """
    phase = torch.rand(len(collection), generator=generator)
    between = task == "interpolate"
    n_cuts, n_subsets = (N_CUTS_BETWEEN, N_SUBSETS_BETWEEN) if between else (N_CUTS, N_SUBSETS)
    if fewer:
        n_cuts, n_subsets = -(-n_cuts // 3), -(-n_subsets // 3)
    most = MOST_HIDDEN_BETWEEN if between else MOST_HIDDEN
    return [*_cuts(collection, phase, n_cuts), *_subsets(collection, phase, n_subsets, most, generator)]


def hiding_cuts(collection: SeriesCollection, generator: torch.Generator, number: int) -> list[Tensor]:
    """A `number` of cuts in all, no two alike, at rows drawn from all that lie an eighth of their series on or more.

    So often is a row the next to come when a forecast is made at every row. With as many cuts of each series as of any
    other, short ones speak for the long.

    Shapes:
        -> (R,) bool masks, one at least, which show all of a series that they don't cut.
    """
    observed, of_row = collection.mask.any(1), collection.series_of_rows
    rank, length = _ranks(collection, observed), collection.observed_lengths
    least = 1 + (LEAST_CUT * (length - 1).clamp(min=0)).long()
    row = torch.nonzero(observed & (rank >= least[of_row])).flatten()
    row = row[torch.randperm(len(row), generator=generator)[:number]]
    # The first cut of each series goes into the first mask, and so on.
    row = row[of_row[row].argsort(stable=True)]
    series, counts = of_row[row].unique_consecutive(return_counts=True)
    mask = torch.arange(len(row)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    kept = length.repeat(max(1, int(counts.max())) if len(counts) else 1, 1)
    kept[mask, series.repeat_interleave(counts)] = rank[row]
    return [rank < one[of_row] for one in kept]


def hiding_subsets(collection: SeriesCollection, generator: torch.Generator, task: str) -> list[Tensor]:
    """Subsets alone, as many for every task, that hide as much as those of the task do."""
    phase = torch.rand(len(collection), generator=generator)
    most = MOST_HIDDEN_BETWEEN if task == "interpolate" else MOST_HIDDEN
    return _subsets(collection, phase, N_SUBSETS_BETWEEN, most, generator)


def _cuts(collection: SeriesCollection, phase: Tensor, n_cuts: int) -> list[Tensor]:
    of_row = collection.series_of_rows
    rank, length = _ranks(collection, collection.mask.any(1)), collection.observed_lengths
    contexts, previous = [], torch.zeros_like(length)
    for number in range(n_cuts):
        share = LEAST_SHOWN + (1 - LEAST_SHOWN) * (number + phase) / n_cuts
        kept = 1 + (share * (length - 1).clamp(min=0)).long()
        kept = torch.where((kept > previous) & (kept < length), kept, length)
        previous = torch.where(kept < length, kept, previous)
        contexts.append(rank < kept[of_row])
    return contexts


def _ranks(collection: SeriesCollection, observed: Tensor) -> Tensor:
    """Observed rows of its series before each row: (R,)."""
    before = observed.cumsum(0) - observed.to(torch.int64)
    if not len(before):
        return before
    starts = collection.starts[:-1].clamp(max=len(before) - 1)
    return before - before[starts][collection.series_of_rows]


def _subsets(
    collection: SeriesCollection, phase: Tensor, n_subsets: int, most: float, generator: torch.Generator
) -> list[Tensor]:
    of_row = collection.series_of_rows
    shares = [most * (number + phase) / n_subsets for number in range(n_subsets)]
    return [torch.rand(len(of_row), generator=generator) >= share[of_row] for share in shares]
