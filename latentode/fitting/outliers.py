"""Values so far out that they are taken for mistakes: left out of a fit, and not read when a model answers."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from latentode._warnings import warn_user
from latentode.frames.columns import shown
from latentode.series import SeriesCollection

__all__ = ["LARGEST_TARGET", "far_out", "left_out", "not_read"]

# Values farther out than this many spreads train and validate nothing: under a normal likelihood one that is
# a million spreads out would outweigh all the others together, and even cut to this it would be one that the
# noise has to explain, everywhere.
LARGEST_TARGET = 20.0

# Observations of a series of which most lie so far out before it is taken at its word.
LEAST_OBSERVED = 3


def far_out(scaled: SeriesCollection) -> Tensor:
    """The observations that `left_out` leaves out: (R, D) bool."""
    return scaled.mask & (scaled.values.abs() > LARGEST_TARGET)


def left_out(
    scaled: SeriesCollection, columns: Sequence[Hashable], ids: Sequence[Hashable], series: Tensor
) -> SeriesCollection:
    """What a fit takes for observed of a collection in scaled units; a warning names the rest.

    Args:
        series: number of each row's series among `ids`, (R,): a long one is in several parts by now.
    """
    far = far_out(scaled)
    if not bool(far.any()):
        return scaled
    warn_user(
        f"values more than {LARGEST_TARGET:.0f} spreads from the middle of their column are left out of the fit: "
        f"{_listed(far, series, columns, ids)}. Look for wrong units and faulty readings there"
    )
    return _without(scaled, far)


def not_read(
    scaled: SeriesCollection, columns: Sequence[Hashable], ids: Sequence[Hashable]
) -> SeriesCollection:
    """What a fitted model reads of a collection; a warning names the rest.

    A channel of a series that lies out there for the most part may have moved rather than been mistaken: it is read,
    and a warning says so.
    """
    far = far_out(scaled)
    if not bool(far.any()):
        return scaled
    moved = far & _moved(scaled, far)
    where = f"values more than {LARGEST_TARGET:.0f} spreads from the middle of what the model was fitted to"
    if bool(moved.any()):
        warn_user(
            f"{where} are taken at their word, as most of that channel in their series lie there: "
            f"{_listed(moved, scaled.series_of_rows, columns, ids)}. If it is in other units, or they stand for a "
            "missing value, answers of these series are wrong"
        )
    mistaken = far & ~moved
    if bool(mistaken.any()):
        warn_user(
            f"{where} are not read: {_listed(mistaken, scaled.series_of_rows, columns, ids)}. Look for wrong units "
            "and faulty readings there"
        )
    return _without(scaled, mistaken)


def _moved(scaled: SeriesCollection, far: Tensor) -> Tensor:
    """Where a value's series has several observations of its channel, most of them far out: (R, D)."""
    series = scaled.series_of_rows
    counts = torch.zeros(2, len(scaled), scaled.n_channels)
    counts[0].index_add_(0, series, scaled.mask.to(counts.dtype))
    counts[1].index_add_(0, series, far.to(counts.dtype))
    observed, out = counts
    return ((observed >= LEAST_OBSERVED) & (2 * out > observed))[series]


def _without(scaled: SeriesCollection, far: Tensor) -> SeriesCollection:
    return replace(scaled, values=scaled.values.masked_fill(far, 0.0), mask=scaled.mask & ~far)


def _listed(far: Tensor, series: Tensor, columns: Sequence[Hashable], ids: Sequence[Hashable]) -> str:
    """How many of which columns, and the first series of each that they are of."""
    told = []
    for number, name in enumerate(columns):
        rows = torch.nonzero(far[:, number]).flatten()
        if not len(rows):
            continue
        whose = torch.unique(series[rows])
        more = f" and {len(whose) - 1} more" if len(whose) > 1 else ""
        where = f"series {shown(ids[int(whose[0])])}{more}"
        told.append(f"{len(rows)} of column {name!r}" + (f" ({where})" if len(ids) > 1 else ""))
    return ", ".join(told)
