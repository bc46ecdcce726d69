"""What training is not shown: whole series where there are enough, else rows of every series."""

from __future__ import annotations

import torch
from torch import Tensor

from latentode.series import SeriesBatch, SeriesCollection

__all__ = ["MIN_TO_WITHHOLD", "can_select", "withhold_rows", "withhold_series"]

# With fewer series than this, withholding some would cost training more than they tell.
MIN_TO_WITHHOLD = 10

# Series that validate at most: their score is then known to a few hundredths of a nat.
MAX_VALIDATING = 300

# Of few series one row in seven is withheld; a series of fewer rows keeps all.
EVERY = 7

# Withheld rows of which fewer values are asked choose no weights: what is best for so few is chance.
MIN_SELECTING = 100


def withhold_series(collection: SeriesCollection, fraction: float, generator: torch.Generator) -> Tensor:
    """Series that validate, (n_series,) bool: `fraction` of the observed ones, none of fewer than ten.

    At least two validate, and at least one is left to train on.
    """
    held = torch.zeros(len(collection), dtype=torch.bool)
    observed = torch.nonzero(collection.lengths > 0).flatten()
    if len(observed) >= MIN_TO_WITHHOLD and fraction > 0:
        n_held = min(MAX_VALIDATING, len(observed) - 1, max(2, round(fraction * len(observed))))
        held[observed[torch.randperm(len(observed), generator=generator)[:n_held]]] = True
    return held


def withhold_rows(collection: SeriesCollection, task: str) -> Tensor:
    """Rows that validate, (R,) bool: one in seven of each series, none of series of fewer rows.

    For "extrapolate" the last ones, for "interpolate" ones in between, for "both" half and half.
    """
    of_series = collection.series_of_rows
    lengths = collection.lengths[of_series]
    rank = torch.arange(len(of_series)) - collection.starts[of_series]
    every = 2 * EVERY if task == "both" else EVERY
    held = torch.zeros(len(of_series), dtype=torch.bool)
    if task != "interpolate":
        held |= rank >= lengths - (lengths // every).clamp(min=1)
    if task != "extrapolate":
        held |= rank % every == every // 2
    return held & (lengths >= EVERY)


def can_select(held_series: Tensor, validation: list[tuple[SeriesBatch, SeriesBatch]]) -> bool:
    """Whether validation tells which weights are best: of series that are not trained on, or of rows enough."""
    n_asked = sum(int(target.mask.sum()) for _, target in validation)
    return bool(held_series.any()) or n_asked >= MIN_SELECTING
