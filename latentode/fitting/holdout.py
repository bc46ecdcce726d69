"""What training is not shown: whole series where there are enough, parts of few long ones, else rows of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from latentode.cuts import SHOWN
from latentode.series import SeriesBatch, SeriesCollection

__all__ = ["MIN_TO_WITHHOLD", "Holdout", "can_select", "shown_rows", "withhold"]

# With fewer series than this, withholding some would cost training more than they tell.
MIN_TO_WITHHOLD = 10

# Series or parts that validate at most: their score is then known to a few hundredths of a nat.
MAX_VALIDATING = 300

# Of few series one part in seven is withheld where they are long, else one row in seven; a series of fewer keeps all.
EVERY = 7

# Parts are withheld where these hold such a share of all rows, so that most rows are of long series.
LEAST_IN_PARTS = 0.1

# Contexts of each kind that few parts are asked by: what one alone tells of one or two is chance.
FEW_PARTS, CONTEXTS_OF_FEW = 30, 3

# Withheld rows or parts of which fewer values are asked choose no weights: what is best for so few is chance.
MIN_SELECTING = 100


@dataclass(frozen=True)
class Holdout:
    """What validates.

    Attributes:
        unit: "series" or "parts", withheld whole; "rows" of each series; or "nothing".
        rows: which rows of the collection these are, (R,) bool.
        n_contexts: contexts of each kind by which models are compared, see `split_contexts`: of few parts several.
    """

    unit: Literal["series", "parts", "rows", "nothing"]
    rows: Tensor
    n_contexts: int = 1

    @property
    def whole(self) -> bool:
        """Whether series or parts are withheld with all their rows, so that contexts are made of these too."""
        return self.unit in ("series", "parts")


def withhold(
    collection: SeriesCollection,
    parts: SeriesCollection,
    *,
    task: str,
    fraction: float,
    generator: torch.Generator,
) -> Holdout:
    """Withholds `fraction` of the series; of fewer than ten one part in seven, or one row in seven.

    Args:
        parts: the same rows, long series cut.
        fraction: 0 withholds nothing.
    """
    nothing = torch.zeros(len(collection.times), dtype=torch.bool)
    if not fraction:
        return Holdout("nothing", nothing)
    series = _whole_series(collection, fraction, generator)
    if series.any():
        return Holdout("series", series[collection.series_of_rows])
    of_part = parts.series_of_rows
    held = _some_parts(collection, parts, task)
    if held[of_part].sum() >= LEAST_IN_PARTS * len(of_part) > 0:
        chosen = torch.nonzero(held).flatten()
        if len(chosen) > MAX_VALIDATING:  # the others train
            spread = torch.linspace(0, len(chosen) - 1, MAX_VALIDATING).round().long()
            held = torch.zeros_like(held).index_fill(0, chosen[spread], True)
        n_contexts = CONTEXTS_OF_FEW if len(chosen) < FEW_PARTS else 1
        return Holdout("parts", held[of_part], n_contexts)
    rank = torch.arange(len(of_part)) - collection.starts[collection.series_of_rows]
    rows = _one_in_seven(rank, collection.lengths[collection.series_of_rows], task)
    return Holdout("rows" if rows.any() else "nothing", rows)


def _whole_series(collection: SeriesCollection, fraction: float, generator: torch.Generator) -> Tensor:
    """Which series, (n_series,) bool: `fraction` of the observed ones, none of fewer than ten.

    At least two validate, and at least one is left to train on.
    """
    held = torch.zeros(len(collection), dtype=torch.bool)
    observed = torch.nonzero(collection.lengths > 0).flatten()
    if len(observed) >= MIN_TO_WITHHOLD:
        n_held = min(MAX_VALIDATING, len(observed) - 1, max(2, round(fraction * len(observed))))
        held[observed[torch.randperm(len(observed), generator=generator)[:n_held]]] = True
    return held


def _some_parts(collection: SeriesCollection, parts: SeriesCollection, task: str) -> Tensor:
    """Which parts, (n_parts,) bool."""
    held = torch.zeros(len(parts), dtype=torch.bool)
    filled = torch.nonzero(parts.lengths > 0).flatten()
    series = collection.series_of_rows[parts.starts[filled]]
    counts = torch.bincount(series, minlength=len(collection))
    rank = torch.arange(len(series)) - (counts.cumsum(0) - counts)[series]
    held[filled] = _one_in_seven(rank, counts[series], task)
    return held


def _one_in_seven(rank: Tensor, count: Tensor, task: str) -> Tensor:
    """Which of a series' rows or parts validate, by their rank in it and by how many it has.

    For "extrapolate" the last ones, for "interpolate" ones in between, for "both" half and half; none of fewer than
    seven.
    """
    every = 2 * EVERY if task == "both" else EVERY
    held = torch.zeros(len(rank), dtype=torch.bool)
    if task != "interpolate":
        held |= rank >= count - (count // every).clamp(min=1)
    if task != "extrapolate":
        held |= rank % every == every // 2
    return held & (count >= EVERY)


def shown_rows(parts: SeriesCollection, withheld: Tensor) -> Tensor:
    """What is shown of series of which rows are withheld, (R,) bool: all others; and of a part of which none is left
    its first two thirds, so that nothing is asked of the prior.
    """
    bare = parts.restrict(~withheld).observed_lengths == 0
    of_part = parts.series_of_rows
    rank = torch.arange(len(of_part)) - parts.starts[of_part]
    return ~withheld | (bare[of_part] & (rank < SHOWN[0] * parts.lengths[of_part]))


def can_select(holdout: Holdout, validation: list[tuple[SeriesBatch, SeriesBatch]]) -> bool:
    """Whether validation tells which weights are best: of series that are not trained on, or of values enough."""
    n_asked = sum(int(target.mask.sum()) for _, target in validation)
    return holdout.unit == "series" or n_asked >= MIN_SELECTING
