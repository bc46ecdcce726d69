r"""Long series: overlapping spans with a z0 each, and weights that join their trajectories without a jump.

    mu(t) = sum_k w_k(t) g(z_k(t)),    w_k = v_k - v_{k+1},    sum_k w_k = 1

A series is cut into halves of up to HALF rows (and up to half the time that one z0 answers for). Span k reads two of
them, k and k + 1, and v_k rises from 0 to 1 over half k alone: a span counts wholly where it meets the next one's
first row, and no longer where that one's second half begins. The last span reads the last half by itself; it makes
the forecasts, as training saw no time farther from z0 than a span is long, and takes over before the last row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latentode.series import SeriesCollection, part_starts

__all__ = ["HALF", "MAX_ROWS", "Spans", "spans_of"]

# Observations of one series that one z0 is read from at most, in training and in answering.
MAX_ROWS = 256
HALF = MAX_ROWS // 2


@dataclass(frozen=True)
class Spans:
    """The spans of a collection's series, K in all; a series that is not long is a single one.

    Shapes:
        first, last (K,): the rows that span k reads, the last excluded, which are those that it has a part in;
        rise (K, 2): the times between which its weight rises, -inf for the first of a series; starts
        (n_series + 1,): series i has spans starts[i] to starts[i + 1].
    """

    first: Tensor
    last: Tensor
    rise: Tensor
    starts: Tensor

    @property
    def counts(self) -> Tensor:
        """Spans of each series: (n_series,)."""
        return self.starts.diff()

    @property
    def series_of_spans(self) -> Tensor:
        """Number of each span's series: (K,)."""
        return torch.repeat_interleave(torch.arange(len(self.counts)), self.counts)

    @property
    def number(self) -> Tensor:
        """Number of each span in its series: (K,)."""
        return torch.arange(len(self.first)) - self.starts[:-1][self.series_of_spans]

    @property
    def fall(self) -> Tensor:
        """The times between which each weight falls, those of the next one's rise; inf for the last: (K, 2)."""
        later = torch.cat([self.rise[1:], self.rise[:1]])
        later[self.starts[1:] - 1] = torch.inf
        return later

    def weights(self, number: Tensor, times: Tensor) -> Tensor:
        """Weights of spans `number` (B,) at times (B, N): (B, N)."""
        rise, fall = self.rise[number].to(times), self.fall[number].to(times)
        return _risen(rise, times) - _risen(fall, times)

    def leading(self, series: int, times: Tensor) -> Tensor:
        """Which span of a series has most weight at times (Q,), as a number among all: (Q,)."""
        start, stop = self.starts[series], self.starts[series + 1]
        middles = self.rise[start + 1 : stop].mean(1)
        return start + torch.searchsorted(middles, times.contiguous(), right=True)


def _risen(ends: Tensor, times: Tensor) -> Tensor:
    """From 0 at the first of two ends (B, 2) to 1 at the second, smooth at both: (B, N)."""
    first, last = ends[:, :1], ends[:, 1:]
    share = ((times - first) / (last - first)).clamp(0.0, 1.0)
    share = torch.where(torch.isinf(first), (first < 0).to(times).expand_as(share), share)
    return share * share * (3 - 2 * share)


def spans_of(contexts: SeriesCollection, reach: float | None = None) -> Spans:
    """The spans of each series.

    Args:
        contexts: every row observed.
        reach: the time that one z0 answers for at most, in model time; None for that of MAX_ROWS rows.
    """
    is_long = contexts.lengths > MAX_ROWS
    if reach is not None:
        is_long |= contexts.spans > reach * (1 + 1e-5)
    halves = {}
    for series in torch.nonzero(is_long).flatten().tolist():
        start, stop = int(contexts.starts[series]), int(contexts.starts[series + 1])
        found = _halves(contexts.times[start:stop], reach)
        if len(found) > 1:
            halves[series] = start + found
    counts = torch.ones(len(contexts), dtype=torch.int64)
    for series, found in halves.items():
        counts[series] = len(found)
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    first = contexts.starts[:-1].repeat_interleave(counts)
    last = contexts.starts[1:].repeat_interleave(counts)
    rise = torch.full((len(first), 2), -torch.inf, dtype=contexts.times.dtype)
    for series, found in halves.items():
        own = slice(int(starts[series]), int(starts[series + 1]))
        stop = int(contexts.starts[series + 1])
        first[own], last[own] = found, torch.cat([found[2:], found.new_full((2,), stop)])
        begins = torch.cat([contexts.times[found], contexts.times[stop - 1 : stop]])
        rise[own] = torch.stack([begins[:-1], begins[1:]], 1)
        rise[own.start] = -torch.inf
    return Spans(first, last, rise, starts)


def _halves(times: Tensor, reach: float | None) -> Tensor:
    """The rows that halves of a long series begin at, each at a time of its own and before the last: (H,)."""
    found = part_starts(times, HALF, None if reach is None else reach / 2)
    begins = times[found]
    new = torch.ones(len(found), dtype=torch.bool)
    new[1:] = (begins[1:] > begins[:-1]) & (begins[1:] < times[-1])
    return found[new]
