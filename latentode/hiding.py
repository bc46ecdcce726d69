"""What is hidden of series that training was not shown, to see how well the rest foretells it."""

from __future__ import annotations

import torch
from torch import Tensor

from latentode.series import SeriesCollection

__all__ = ["hiding_contexts", "hiding_cuts", "hiding_subsets"]

# Contexts of each series: cuts that show this share of the rows at least, and subsets that hide so much at most. Of
# models that only fill gaps more of the latter, and sparser ones: where one row in ten of the hopper is shown their
# bands of 90 % held 87 % of validation series, and 84 % by the others' contexts.
N_CUTS, N_SUBSETS, LEAST_SHOWN, MOST_HIDDEN = 6, 3, 0.25, 0.8
N_CUTS_BETWEEN, N_SUBSETS_BETWEEN, MOST_HIDDEN_BETWEEN = 2, 7, 0.95


def hiding_contexts(
    collection: SeriesCollection, generator: torch.Generator, task: str = "both"
) -> list[Tensor]:
    """What is shown of each series to see how well the rest is predicted, whatever the model is for.

    Cuts, spread over each series, keep the rows before them; subsets hide random rows, up to four in five, with
    task="interpolate" up to nineteen in twenty. A context that would repeat an earlier one of the same series hides
    nothing.

    Shapes:
        -> (R,) bool masks, the cuts first.
    """
    phase = torch.rand(len(collection), generator=generator)
    between = task == "interpolate"
    n_cuts, n_subsets = (N_CUTS_BETWEEN, N_SUBSETS_BETWEEN) if between else (N_CUTS, N_SUBSETS)
    most = MOST_HIDDEN_BETWEEN if between else MOST_HIDDEN
    return [*_cuts(collection, phase, n_cuts), *_subsets(collection, phase, n_subsets, most, generator)]


def hiding_cuts(collection: SeriesCollection, generator: torch.Generator) -> list[Tensor]:
    """Cuts alone, as many for every task."""
    return _cuts(collection, torch.rand(len(collection), generator=generator), N_CUTS)


def hiding_subsets(collection: SeriesCollection, generator: torch.Generator, task: str) -> list[Tensor]:
    """Subsets alone, as many for every task, that hide as much as those of the task do."""
    phase = torch.rand(len(collection), generator=generator)
    most = MOST_HIDDEN_BETWEEN if task == "interpolate" else MOST_HIDDEN
    return _subsets(collection, phase, N_SUBSETS_BETWEEN, most, generator)


def _cuts(collection: SeriesCollection, phase: Tensor, n_cuts: int) -> list[Tensor]:
    observed = collection.mask.any(1)
    of_row = collection.series_of_rows
    before = observed.cumsum(0) - observed.to(torch.int64)
    starts = collection.starts[:-1].clamp(max=max(0, len(before) - 1))
    rank = before - before[starts][of_row] if len(before) else before
    length = collection.observed_lengths
    contexts, previous = [], torch.zeros_like(length)
    for number in range(n_cuts):
        share = LEAST_SHOWN + (1 - LEAST_SHOWN) * (number + phase) / n_cuts
        kept = 1 + (share * (length - 1).clamp(min=0)).long()
        kept = torch.where((kept > previous) & (kept < length), kept, length)
        previous = torch.where(kept < length, kept, previous)
        contexts.append(rank < kept[of_row])
    return contexts


def _subsets(
    collection: SeriesCollection, phase: Tensor, n_subsets: int, most: float, generator: torch.Generator
) -> list[Tensor]:
    of_row = collection.series_of_rows
    shares = [most * (number + phase) / n_subsets for number in range(n_subsets)]
    return [torch.rand(len(of_row), generator=generator) >= share[of_row] for share in shares]
