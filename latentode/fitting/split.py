"""What trains and what validates: series or rows withheld, the scaling, outliers left out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from latentode._warnings import warn_user
from latentode.cuts import split_contexts
from latentode.fitting.holdout import Holdout, shown_rows, withhold
from latentode.fitting.outliers import left_out
from latentode.frames import Scaling, SeriesTable, Statics
from latentode.series import SeriesBatch, SeriesCollection, SlidingParts
from latentode.spans import MAX_ROWS

__all__ = ["Split", "split_data"]

# Observed values that one validation batch may hold, padding included.
VALIDATION_CELLS = 50_000


@dataclass(frozen=True)
class Split:
    """A table in scaled units and model time, in two parts.

    Attributes:
        data: training series.
        validation: pairs of context and target.
        scaling, statics: as learned from the training series, or as they were given.
        holdout: what of the table validates.
    """

    data: SeriesCollection
    validation: list[tuple[SeriesBatch, SeriesBatch]]
    scaling: Scaling
    statics: Statics
    holdout: Holdout


def split_data(
    table: SeriesTable,
    generator: torch.Generator,
    *,
    task: str,
    validation_fraction: float,
    dtype: torch.dtype,
    longest: float | None = None,
    scaling: Scaling | None = None,
    statics: Statics | None = None,
) -> Split:
    """Withholds some, see `withhold`, and learns from the rest what units and static columns mean.

    Args:
        longest: the time, in the clock's units, that a part of a series lasts at most.
        scaling, statics: where these are settled already.
    """
    raw = table.collection()
    holdout = withhold(
        raw, raw.cut(MAX_ROWS, longest), task=task, fraction=validation_fraction, generator=generator
    )
    held = holdout.rows

    if statics is None:
        known = torch.zeros(len(raw), dtype=torch.bool)
        known[raw.series_of_rows[~held]] = True
        statics = Statics.learn(table.statics, known.numpy())
        _warn_of_idle(statics)
    raw = replace(raw, statics=table.features(statics))

    parts = raw.cut(MAX_ROWS, longest)
    shown = parts.restrict(~held)
    # A channel seen in validation only is better scaled by that than not at all.
    seen = shown.mask | (parts.mask & ~shown.mask.any(0))
    values = torch.where(seen, parts.values, torch.nan).numpy()
    if scaling is None:
        spans = parts.spans[shown.observed_lengths > 0].numpy()
        # Of series of one observation only what is asked tells how long a while is.
        scaling = Scaling.learn(values, spans if (spans > 0).any() else table.spans())

    scaled = scaling.scale(parts, dtype)
    everything = left_out(scaled, table.roles.value_cols, table.ids, raw.series_of_rows)
    data = everything.restrict(~held)
    if len(parts) > len(raw):
        whole = replace(scaling.scale(raw, dtype), values=data.values, mask=data.mask)
        data = SlidingParts.of(data, whole, raw.stretches(MAX_ROWS, longest))
    data = data.select(_nonzero(data.observed_lengths > 0))
    pairs = []
    n_each = holdout.n_contexts
    visible = shown_rows(everything, held)
    asked = held if holdout.whole else ~visible
    for indices in _chunks(everything, _nonzero(everything.restrict(asked).observed_lengths > 0)):
        batch = everything.batch(indices)
        rows, _ = everything.rows(indices)
        contexts = split_contexts(batch, task, n_each) if holdout.whole else [visible[rows]]
        pairs += [(batch.restrict(keep).compact(), batch.restrict(~keep)) for keep in contexts]
    return Split(data, pairs, scaling, statics, holdout)


def _warn_of_idle(statics: Statics) -> None:
    if statics.idle:
        listed = ", ".join(map(repr, statics.idle))
        warn_user(
            f"static columns that are the same in all training series tell nothing and are ignored: {listed}"
        )


def _nonzero(chosen: torch.Tensor) -> torch.Tensor:
    return torch.nonzero(chosen).flatten()


def _chunks(collection: SeriesCollection, indices: torch.Tensor) -> list[torch.Tensor]:
    """The chosen series in runs of bounded size, padding included, series of like length together."""
    if not len(indices):
        return []
    indices = indices[torch.argsort(collection.lengths[indices], stable=True)]
    cells = max(1, int(collection.lengths[indices].max())) * collection.n_channels
    return list(indices.split(max(1, VALIDATION_CELLS // cells)))
