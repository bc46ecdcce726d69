r"""Long series: overlapping spans with a z0 each, and weights that join their trajectories without a jump.

    mu(t) = sum_k w_k(t) g(z_k(t)),    w_k = v_k - v_{k+1},    sum_k w_k = 1

A series is cut into halves of up to HALF rows (and up to half the time that one z0 answers for). Span k reads two of
them, k and k + 1, and v_k rises from 0 to 1 over half k alone: a span counts wholly where it meets the next one's
first row, and no longer where that one's second half begins. The last span reads the last half by itself; it makes
the forecasts, as training saw no time farther from z0 than a span is long, and takes over before the last row.

No span reads across an outage (`longest_gap`): the one before ends as a last span does, the next one begins anew, and
the weight passes from the one to the other meanwhile. There a trajectory is followed for about as long as a span lasts,
and stands still beyond, as nothing was learned of what it does there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latentode.series import MAX_ROWS, SeriesCollection, longest_gap, part_starts

__all__ = ["HALF", "MAX_ROWS", "Spans", "spans_of"]

HALF = MAX_ROWS // 2


@dataclass(frozen=True)
class Spans:
    """The spans of a collection's series, K in all; a series that is not long is a single one.

    Shapes:
        first, last (K,): the rows that span k reads, the last excluded, which are those that it has a part in;
        rise (K, 2): the times between which its weight rises, -inf for the first of a series; followed (K, 2): the
        times between which its trajectory is, standing still outside of them; starts (n_series + 1,): series i
        has spans starts[i] to starts[i + 1].
    """

    first: Tensor
    last: Tensor
    rise: Tensor
    followed: Tensor
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
    found = {}
    for series in torch.nonzero(is_long).flatten().tolist():
        start, stop = int(contexts.starts[series]), int(contexts.starts[series + 1])
        one = _spans_of_one(contexts.times[start:stop], reach)
        if len(one.first) > 1:
            found[series] = Spans(start + one.first, start + one.last, one.rise, one.followed, one.starts)
    counts = torch.ones(len(contexts), dtype=torch.int64)
    for series, one in found.items():
        counts[series] = len(one.first)
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    first = contexts.starts[:-1].repeat_interleave(counts)
    last = contexts.starts[1:].repeat_interleave(counts)
    rise = torch.full((len(first), 2), -torch.inf, dtype=contexts.times.dtype)
    followed = torch.tensor([-torch.inf, torch.inf], dtype=rise.dtype).repeat(len(first), 1)
    for series, one in found.items():
        own = slice(int(starts[series]), int(starts[series + 1]))
        first[own], last[own], rise[own], followed[own] = one.first, one.last, one.rise, one.followed
    return Spans(first, last, rise, followed, starts)


def _spans_of_one(times: Tensor, reach: float | None) -> Spans:
    """Those of one long series, by its own rows."""
    gap = longest_gap(times, reach)
    first = part_starts(times, HALF, None if reach is None else reach / 2, gap)
    begins, ends, anew, through = _stretches(times, first, gap)
    # A half that begins at the time of the one before, or at the last of its stretch, belongs to the one before.
    stays = anew.clone()
    stays[1:] |= (begins[1:] > begins[:-1]) & ~(through[1:] & (begins[1:] == ends[1:]))
    first = first[stays]
    begins, ends, anew, through = _stretches(times, first, gap)

    stop = first.new_full((2,), len(times))
    last = torch.where(through, torch.cat([first[1:], stop[:1]]), torch.cat([first[2:], stop])[: len(first)])
    rise = torch.stack([begins, torch.where(through, ends, torch.cat([begins[1:], ends[-1:]]))], 1)
    rise[1:] = torch.where(anew[1:, None], torch.stack([ends[:-1], begins[1:]], 1), rise[1:])
    far = torch.inf if gap is None else gap
    followed = torch.stack([begins - far, times[last - 1] + far], 1)
    rise[0], followed[0, 0], followed[-1, 1] = -torch.inf, -torch.inf, torch.inf
    return Spans(first, last, rise, followed, torch.tensor([0, len(first)]))


def _stretches(times: Tensor, first: Tensor, gap: float | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """When the halves that begin at these rows begin and end, and which are the first and the last of a stretch
    without an outage: (H,) each.
    """
    last = torch.cat([first[1:], first.new_full((1,), len(times))]) - 1
    anew = torch.ones(len(first), dtype=torch.bool)
    if gap is None:
        anew[1:] = False
    else:
        anew[1:] = times[first[1:]] - times[last[:-1]] > gap
    return times[first], times[last], anew, torch.cat([anew[1:], anew[:1]])
