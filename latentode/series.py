"""Irregular series as tensors: one padded batch of them, and a whole collection of unequal lengths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "MAX_ROWS",
    "SeriesBatch",
    "SeriesCollection",
    "SlidingParts",
    "longest_gap",
    "padded_ranges",
    "part_starts",
]

# Observations of one series that one z0 is read from at most, in training and in answering.
MAX_ROWS = 256


@dataclass(frozen=True)
class SeriesBatch:
    """B series side by side, each at its own times, any channel missing anywhere.

    A row in which no channel is observed carries no information: it is padding or a query, and no
    part of the model tells the two apart. Padding repeats the series' last time. Where the mask is
    false the value is 0, never NaN, so that 0 * NaN can't reach a gradient.

    Shapes:
        times (B, N) in model time, sorted within a series; values (B, N, D), scaled;
        mask (B, N, D), bool, true where observed; statics (B, P), what describes each series as a whole, scaled,
        0 where not known, or None.

    Raises:
        ValueError: where the shapes do not belong together.
    """

    times: Tensor
    values: Tensor
    mask: Tensor
    statics: Tensor | None = None

    def __post_init__(self) -> None:
        if self.times.ndim != 2 or self.values.ndim != 3 or self.values.shape[:2] != self.times.shape:
            raise ValueError(
                "a SeriesBatch takes times (B, N) and values (B, N, D); "
                f"got {tuple(self.times.shape)} and {tuple(self.values.shape)}"
            )
        if self.mask.shape != self.values.shape or self.mask.dtype != torch.bool:
            raise ValueError(
                f"mask must be a bool tensor of the shape of values, {tuple(self.values.shape)}; "
                f"got {self.mask.dtype} {tuple(self.mask.shape)}"
            )
        if self.statics is not None and (self.statics.ndim != 2 or len(self.statics) != len(self.times)):
            raise ValueError(
                f"statics must be (B, P), a row for each of {len(self.times)} series; got {tuple(self.statics.shape)}"
            )

    @property
    def n_series(self) -> int:
        return self.times.shape[0]

    @property
    def n_channels(self) -> int:
        return self.values.shape[2]

    @property
    def observed_rows(self) -> Tensor:
        """Rows with at least one observed channel: (B, N) bool."""
        return self.seen.sum(-1) > 0  # a fifth of the time of any()

    @property
    def seen(self) -> Tensor:
        """The mask as ones and zeros of the values' dtype: (B, N, D)."""
        # By way of bytes: on a CPU an eighth of the time that bools take, alone or as a factor.
        return self.mask.view(torch.uint8).to(self.values.dtype)

    def restrict(self, keep: Tensor) -> SeriesBatch:
        """The same rows with only the kept entries observed: `keep` is (B, N) or (B, N, D) bool."""
        mask = self.mask & (keep if keep.ndim == 3 else keep.unsqueeze(-1))
        return SeriesBatch(self.times, self.values * mask, mask, self.statics)

    def compact(self) -> SeriesBatch:
        """Only the observed rows, moved to the front; B series of N' <= N rows, N' >= 1.

        Padding repeats the last observed row's time (the first row's, where nothing was observed).
        """
        observed = self.observed_rows
        lengths = observed.sum(1, keepdim=True)
        n_rows = max(1, int(lengths.max())) if self.n_series else 1
        filled = torch.arange(n_rows, device=lengths.device) < lengths
        last = (lengths - 1).clamp(min=0)
        if torch.equal(observed[:, :n_rows], filled):  # in front already
            times = torch.where(filled, self.times[:, :n_rows], self.times.gather(1, last))
            return SeriesBatch(times, self.values[:, :n_rows], self.mask[:, :n_rows], self.statics)
        order = torch.argsort((~observed).to(torch.uint8), dim=1, stable=True)[:, :n_rows]
        order = torch.where(filled, order, order.gather(1, last))
        return self.take(order, filled)

    def take(self, order: Tensor, filled: Tensor) -> SeriesBatch:
        """The rows `order` (B, N') of each series, as padding where `filled` (B, N') is false."""
        n_series, n_rows = self.times.shape
        first = n_rows * torch.arange(n_series, device=order.device).unsqueeze(1)
        # Whole rows of a flat table are fetched several times faster than single cells.
        rows = (order + first).flatten()
        shape = (*order.shape, self.n_channels)
        mask = self.mask.flatten(0, 1).view(torch.uint8).index_select(0, rows).view(shape)
        mask = (mask & filled.unsqueeze(-1).view(torch.uint8)).view(torch.bool)
        values = self.values.flatten(0, 1).index_select(0, rows).view(shape)
        values = values * filled.unsqueeze(-1).to(values.dtype)
        return SeriesBatch(self.times.gather(1, order), values, mask, self.statics)

    def shift(self, reference: Tensor) -> SeriesBatch:
        """The same series with each clock set to zero at `reference` (B,)."""
        return SeriesBatch(self.times - reference.unsqueeze(1), self.values, self.mask, self.statics)

    def reference_times(self, origin: str = "first") -> Tensor:
        """Time of each series' first (or last) observed row; 0 where nothing is observed: (B,)."""
        observed = self.observed_rows
        far = torch.finfo(self.times.dtype).max
        if origin == "first":
            edge = self.times.masked_fill(~observed, far).amin(1)
        else:
            edge = self.times.masked_fill(~observed, -far).amax(1)
        return torch.where(observed.any(1), edge, torch.zeros_like(edge))

    def to(self, device: torch.device | str) -> SeriesBatch:
        """The same on another device."""
        statics = None if self.statics is None else self.statics.to(device)
        return SeriesBatch(self.times.to(device), self.values.to(device), self.mask.to(device), statics)


@dataclass(frozen=True)
class SeriesCollection:
    """Series of unequal lengths, row after row, as a table of R rows holds them.

    Shapes:
        times (R,), values (R, D), mask (R, D); series i owns rows starts[i] to starts[i + 1];
        starts (n_series + 1,) int64. Times are sorted within a series. statics (n_series, P), what describes
        each series as a whole, 0 where not known, or None. Times may be of higher precision than values: those of
        a long series need it, and become as precise as values in a batch.
    """

    times: Tensor
    values: Tensor
    mask: Tensor
    starts: Tensor
    statics: Tensor | None = None

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def n_channels(self) -> int:
        return self.values.shape[1]

    @property
    def lengths(self) -> Tensor:
        """Rows of each series: (n_series,)."""
        return self.starts.diff()

    @property
    def observed_lengths(self) -> Tensor:
        """Rows of each series in which some channel is observed: (n_series,)."""
        counts = torch.zeros(len(self), dtype=torch.int64)
        return counts.index_add(0, self.series_of_rows, self.mask.any(1).to(torch.int64))

    @property
    def spans(self) -> Tensor:
        """Time from each series' first row to its last, 0 where it has none: (n_series,)."""
        if not len(self.times):
            return self.times.new_zeros(len(self))
        last = (self.starts[1:] - 1).clamp(min=0)
        spans = self.times[last] - self.times[self.starts[:-1].clamp(max=len(self.times) - 1)]
        return torch.where(self.lengths > 0, spans, 0.0)

    @property
    def series_of_rows(self) -> Tensor:
        """Number of each row's series: (R,)."""
        return torch.repeat_interleave(torch.arange(len(self)), self.lengths)

    def restrict(self, keep: Tensor) -> SeriesCollection:
        """The same rows with only those observed that are kept: `keep` is (R,) bool."""
        mask = self.mask & keep.unsqueeze(-1)
        return SeriesCollection(self.times, self.values * mask, mask, self.starts, self.statics)

    def rows(self, indices: Sequence[int] | np.ndarray | Tensor) -> tuple[Tensor, Tensor]:
        """Row numbers of some series, padded by their last row, and which are no padding: (B, N) each."""
        indices = torch.as_tensor(indices, dtype=torch.int64)
        return padded_ranges(self.starts[indices], self.starts[indices + 1])

    def batch(self, indices: Sequence[int] | np.ndarray | Tensor) -> SeriesBatch:
        """The chosen series as one padded batch, in the order of `indices`."""
        indices = torch.as_tensor(indices, dtype=torch.int64)
        return self.windows(self.starts[indices], self.starts[indices + 1], indices)

    def drawn(self, indices: Tensor, generator: torch.Generator) -> SeriesBatch:  # noqa: ARG002 - for some kinds
        """What is trained on of the chosen series: all of them."""
        return self.batch(indices)

    def origins(self, first: Tensor, last: Tensor) -> Tensor:
        """The times of the first of each range of rows, 0 where it holds none: (B,)."""
        if not len(self.times):
            return self.times.new_zeros(len(first))
        return torch.where(last > first, self.times[first.clamp(max=len(self.times) - 1)], 0.0)

    def windows(
        self, first: Tensor, last: Tensor, series: Tensor, origins: Tensor | None = None
    ) -> SeriesBatch:
        """Rows first[i] to last[i], the latter excluded, as series i of a padded batch.

        Shapes:
            first, last (B,); series (B,), number of the series that they belong to; origins (B,), from which their
            times are counted, None for the series' own clocks.
        """
        statics = None if self.statics is None else self.statics[series]
        rows, inside = padded_ranges(first, last)
        rows = rows.clamp(max=max(0, len(self.times) - 1))
        if not len(self.times):  # no series has a row, and there is none to pad with
            nothing = self.values.new_zeros(*rows.shape, self.n_channels)
            return SeriesBatch(nothing[..., 0], nothing, nothing.bool(), statics)
        mask = self.mask[rows] & inside.unsqueeze(-1)
        times = self.times[rows] if origins is None else self.times[rows] - origins.unsqueeze(1)
        # What pads a range of no rows is another series'.
        times = torch.where((last > first).unsqueeze(1), times, 0.0)
        return SeriesBatch(times.to(self.values.dtype), self.values[rows] * mask, mask, statics)

    def cut(self, most: int, longest: float | None = None) -> SeriesCollection:
        """The same rows, longer series cut into as few parts as `part_starts` makes of them, none across an outage.

        Each part's clock starts at its own first row.
        """
        counts = torch.ones_like(self.lengths)
        cuts = {}
        for series in self._long(most, longest):
            start, stop = int(self.starts[series]), int(self.starts[series + 1])
            times = self.times[start:stop]
            cuts[series] = start + part_starts(times, most, longest, longest_gap(times, longest))
            counts[series] = len(cuts[series])
        of_part = torch.repeat_interleave(torch.arange(len(self)), counts)
        starts = self.starts[of_part]
        begin = counts.cumsum(0) - counts
        for series, cut in cuts.items():
            starts[begin[series] : begin[series] + len(cut)] = cut
        starts = torch.cat([starts, self.starts[-1:]])
        statics = None if self.statics is None else self.statics[of_part]
        if not len(self.times):
            return SeriesCollection(self.times, self.values, self.mask, starts, statics)
        origins = self.times[starts[:-1].clamp(max=len(self.times) - 1)].repeat_interleave(starts.diff())
        return SeriesCollection(self.times - origins, self.values, self.mask, starts, statics)

    def stretches(self, most: int, longest: float | None = None) -> Tensor:
        """Where series begin, and what follows an outage in those that `cut` cuts, then R: (n_stretches + 1,)."""
        begins = [self.starts]
        for series in self._long(most, longest):
            start, stop = int(self.starts[series]), int(self.starts[series + 1])
            times = self.times[start:stop]
            gap = longest_gap(times, longest)
            if gap is not None:
                begins.append(start + 1 + torch.nonzero(times.diff() > gap).flatten())
        return torch.cat(begins).unique()

    def _long(self, most: int, longest: float | None) -> list[int]:
        is_long = self.lengths > most
        if longest is not None:
            is_long |= self.spans > longest
        return torch.nonzero(is_long).flatten().tolist()

    def compact(self) -> SeriesCollection:
        """The same series without the rows in which nothing is observed."""
        kept = self.mask.any(1)
        starts = torch.cat([self.starts[:1] * 0, kept.cumsum(0)])[self.starts]
        return SeriesCollection(self.times[kept], self.values[kept], self.mask[kept], starts, self.statics)

    def select(self, indices: Sequence[int] | np.ndarray | Tensor) -> SeriesCollection:
        """A collection of the chosen series alone, in the order of `indices`."""
        indices = torch.as_tensor(indices, dtype=torch.int64)
        rows, inside = self.rows(indices)
        kept = rows[inside]
        starts = torch.zeros(len(rows) + 1, dtype=torch.int64)
        starts[1:] = inside.sum(1).cumsum(0)
        statics = None if self.statics is None else self.statics[indices]
        return SeriesCollection(self.times[kept], self.values[kept], self.mask[kept], starts, statics)


@dataclass(frozen=True, kw_only=True)
class SlidingParts(SeriesCollection):
    """Parts of long series, each drawn from anew: as many rows up to half a part earlier or later.

    Parts that begin and end where they were once cut would be all that a model ever sees of a few long series.

    Shapes:
        whole: the series that they are parts of, whose clocks may be others; place (n_parts,), which row of these
        each part begins with; first, last (n_parts,), the rows that it may reach to, the last excluded.
    """

    whole: SeriesCollection
    place: Tensor
    first: Tensor
    last: Tensor

    @classmethod
    def of(cls, parts: SeriesCollection, whole: SeriesCollection, stretches: Tensor) -> SlidingParts:
        """All the parts of a collection, which has stretches that no part reaches across."""
        place = parts.starts[:-1]
        stretch = torch.searchsorted(stretches, place, right=True) - 1
        first, last = (stretches[(stretch + end).clamp(max=len(stretches) - 1)] for end in (0, 1))
        return cls(**vars(parts), whole=whole, place=place, first=first, last=last)

    def select(self, indices: Sequence[int] | np.ndarray | Tensor) -> SlidingParts:
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        at = {name: getattr(self, name)[chosen] for name in ("place", "first", "last")}
        return SlidingParts(**vars(super().select(chosen)), whole=self.whole, **at)

    def drawn(self, indices: Tensor, generator: torch.Generator) -> SeriesBatch:
        """Rows from near the chosen parts, which last no longer than the longest of the parts."""
        length = self.lengths[indices]
        moved = ((torch.rand(len(indices), generator=generator) - 0.5) * length).round().long()
        latest = self.last[indices] - length
        begin = (self.place[indices] + moved).clamp(self.first[indices], latest)
        series = torch.searchsorted(self.whole.starts, begin, right=True) - 1
        batch = self.whole.windows(begin, begin + length, series, self.whole.times[begin])
        # A share of a part's length is left to rounding: the last row of the longest is not to come and go.
        return batch.restrict(batch.times <= (1 + 1e-5) * float(self.spans.max()))


def padded_ranges(first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """first[i], first[i] + 1, ... last[i] - 1, the last repeated as padding, and which are none.

    Shapes:
        first, last (B,) -> numbers (B, N), inside (B, N) bool, with N the longest range's length, 1 at least.
    """
    lengths = last - first
    rank = torch.arange(max(1, int(lengths.max())) if len(lengths) else 1)
    inside = rank < lengths.unsqueeze(1)
    return first.unsqueeze(1) + torch.minimum(rank, (lengths - 1).clamp(min=0).unsqueeze(1)), inside


def longest_gap(times: Tensor, longest: float | None = None) -> float | None:
    """The time between two observations beyond which they are no part of one stretch: the sensor was off.

    Half of what a part lasts at most, where that is given. Else of a long series what MAX_ROWS of its rows usually
    take; around an outage a part would otherwise last for so long that all others were but an instant beside it.

    Shapes:
        times (n,), sorted.
    """
    if longest is not None:
        return longest / 2
    if len(times) <= MAX_ROWS:
        return None
    half = MAX_ROWS // 2
    return 2 * float((times[half::half] - times[:-half:half]).median()) or None


def part_starts(times: Tensor, most: int, longest: float | None = None, gap: float | None = None) -> Tensor:
    """Where the parts of a series begin that last up to `longest`, hold up to `most` rows and reach across no longer
    `gap` between two rows: (n_parts,) int64.

    As few as that takes: of each stretch between such gaps parts of equal duration, and of each of these parts of
    equally many rows; where nothing was observed for a whole part there is none.

    Shapes:
        times (n,), sorted.
    """
    edges = torch.zeros(1, dtype=torch.int64)
    if gap is not None:
        edges = torch.cat([edges, torch.nonzero(times.diff() > gap).flatten() + 1])
    if longest is not None and len(times):
        edges = torch.cat(
            [start + _cells(times[start:stop], longest) for start, stop in _ranges(edges, len(times))]
        )
    found = []
    for start, stop in _ranges(edges, len(times)):
        n_parts = max(1, -(-(stop - start) // most))
        found.append(start + torch.arange(n_parts) * (stop - start) // n_parts)
    return torch.cat(found)


def _ranges(edges: Tensor, stop: int) -> list[tuple[int, int]]:
    begins = edges.tolist()
    return list(zip(begins, [*begins[1:], stop], strict=True))


def _cells(times: Tensor, longest: float) -> Tensor:
    """Where parts of equal duration begin that last up to `longest`."""
    # A share of a part's length is left to rounding.
    lasted = float(times[-1] - times[0])
    n_cells = max(1, math.ceil(lasted / longest - 1e-5))
    # By the rows' own cells, of which there are no more than rows however short a cell is.
    cell = ((times - times[0]).double() * (n_cells / (lasted or 1.0))).floor_().clamp_(max=n_cells - 1)
    return torch.cat([torch.zeros(1, dtype=torch.int64), torch.nonzero(cell.diff()).flatten() + 1])
