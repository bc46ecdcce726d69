"""What is answered together: queries in pieces or, of long series, blocks, and these in chunks of bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from latentode.series import SeriesCollection, part_starts
from latentode.spans import Spans

__all__ = [
    "Block",
    "Queries",
    "blocks_of",
    "chunks_of",
    "chunks_of_blocks",
    "long_series",
    "most_queries",
    "pieces_of",
    "whole_block",
]

# Numbers that one chunk's largest array may hold: 4 MiB in single precision. Chunks of 32 MiB took
# half as long again, in page faults.
CHUNK_NUMBERS = 1_000_000

# Queries of one series that are answered at once; a longer list is cut, its context read again.
MAX_QUERIES = 2048

# Rows of a long series whose queries are answered together, and rows beyond them on either side that the residual is
# conditioned on as well. Where noise hides it a residual remembers some tens of observations, else one or two.
BLOCK, MARGIN = 256, 128

# Observations of a channel beyond these rows that are taken in all the same: a channel may be seen rarely.
FARTHER = 16


@dataclass(frozen=True)
class Queries:
    """Times to be answered: (Q,) in model time on the series' clocks, sorted, series after series.

    Series i owns times[starts[i]:starts[i + 1]]. Quantiles, which cost most, are found where `wanted` (Q, D)
    alone, everywhere without it.
    """

    times: Tensor
    starts: Tensor
    wanted: Tensor | None = None


@dataclass(frozen=True)
class Block:
    """Queries of a long series that are answered together, and the rows that the residual is conditioned on.

    Shapes:
        rows (n,): numbers of the context's rows, sorted; queries first to last, the latter excluded; series.
    """

    rows: Tensor
    first: int
    last: int
    series: int

    @property
    def size(self) -> int:
        return len(self.rows) + self.last - self.first


def pieces_of(contexts: SeriesCollection, queries: Queries, spans: Spans, most: int | None = None) -> Tensor:
    """Ranges of context rows and of queries that are answered together, lasts excluded, and whose: (P, 5).

    Of series of one span, which are a context each; their queries are cut where there are more than `most` (None:
    MAX_QUERIES). For longer ones see `blocks_of`.
    """
    most = MAX_QUERIES if most is None else most
    starts = contexts.starts, queries.starts
    ranges = torch.stack([edge for at in starts for edge in (at[:-1], at[1:])], 1)
    numbers = torch.arange(len(contexts)).unsqueeze(1)
    asked = (ranges[:, 3] > ranges[:, 2]) & (spans.counts == 1)
    many = ranges[:, 3] - ranges[:, 2] > most
    few = asked & ~many
    pieces = [torch.cat([ranges[few], numbers[few]], 1)]
    for series in torch.nonzero(asked & many).flatten().tolist():
        row, end, one, other = ranges[series].tolist()
        cuts = [(row, end, cut, min(cut + most, other), series) for cut in range(one, other, most)]
        pieces.append(torch.tensor(cuts, dtype=torch.int64).view(-1, 5))
    return torch.cat(pieces)


def long_series(queries: Queries, spans: Spans) -> list[int]:
    """Numbers of the series of several spans that something is asked of."""
    return torch.nonzero((spans.counts > 1) & (queries.starts.diff() > 0)).flatten().tolist()


def blocks_of(
    contexts: SeriesCollection, queries: Queries, series: int, most: int | None = None
) -> Iterator[Block]:
    """The queries of a long series in blocks of bounded size: few enough queries, and few enough rows around them.

    The rows of the series are cut into runs, and a block has queries within one of them: whatever else is asked, the
    run, MARGIN rows beyond it on either side, and of each channel the FARTHER nearest observations that lie farther
    out than these, so that what was seen of it long ago counts too. To a Markov process the others matter little;
    which trajectory they are held against does not depend on the block.
    """
    most = MAX_QUERIES if most is None else most
    start, stop = (int(contexts.starts[number]) for number in (series, series + 1))
    begin, end = (int(queries.starts[number]) for number in (series, series + 1))
    edges = part_starts(contexts.times[start:stop], BLOCK)
    rank = torch.searchsorted(contexts.times[start:stop].contiguous(), queries.times[begin:end].contiguous())
    runs, counts = torch.unique_consecutive(
        torch.searchsorted(edges[1:], rank, right=True), return_counts=True
    )
    ends = torch.cat([edges, edges.new_tensor([stop - start])]).tolist()
    channels = [torch.nonzero(seen).flatten() for seen in contexts.mask[start:stop].unbind(1)]
    first = begin
    for run, count in zip(runs.tolist(), counts.tolist(), strict=True):
        rows = start + _around(ends[run], ends[run + 1], stop - start, channels)
        for cut in range(first, first + count, most):
            yield Block(rows, cut, min(cut + most, first + count), series)
        first += count


def whole_block(contexts: SeriesCollection, queries: Queries, series: int) -> Block:
    """All queries of a long series, with the rows between them and as many around as `blocks_of` takes."""
    start, stop = (int(contexts.starts[number]) for number in (series, series + 1))
    begin, end = (int(queries.starts[number]) for number in (series, series + 1))
    edges = queries.times[[begin, end - 1]]
    low, high = torch.searchsorted(contexts.times[start:stop].contiguous(), edges).tolist()
    channels = [torch.nonzero(seen).flatten() for seen in contexts.mask[start:stop].unbind(1)]
    return Block(start + _around(low, high, stop - start, channels), begin, end, series)


def _around(low: int, high: int, n_rows: int, channels: list[Tensor]) -> Tensor:
    """Rows for queries between row low - 1 and row high of a series, sorted: (n,).

    The first is among them where a channel was never observed: its prior stands there.
    """
    first, last = max(0, low - MARGIN), min(n_rows, high + MARGIN)
    rows = [torch.arange(first, last)]
    if first and not all(map(len, channels)):
        rows.append(torch.zeros(1, dtype=torch.int64))
    for seen in channels:
        before, after = torch.searchsorted(seen, torch.tensor([low, high])).tolist()
        near = seen[max(0, before - FARTHER) : after + FARTHER]
        rows.append(near[(near < first) | (near >= last)])
    return torch.cat(rows).unique() if sum(map(len, rows)) > len(rows[0]) else rows[0]


def most_queries(numbers_per_row: int) -> int:
    """How many queries of one series are answered at once, where each takes so many numbers."""
    return max(1, min(MAX_QUERIES, CHUNK_NUMBERS // numbers_per_row))


def chunks_of(pieces: Tensor, numbers_per_row: int) -> Iterator[Tensor]:
    """The pieces in runs of bounded size, padding included, pieces of like size together."""
    n_rows = (pieces[:, 1] - pieces[:, 0]) + (pieces[:, 3] - pieces[:, 2])
    pieces = pieces[torch.argsort(n_rows, stable=True)]
    sizes = n_rows.sort().values.tolist()
    start = 0
    for stop in range(1, len(pieces) + 1):
        if stop == len(pieces) or sizes[stop] * (stop + 1 - start) * numbers_per_row > CHUNK_NUMBERS:
            yield pieces[start:stop]
            start = stop


def chunks_of_blocks(blocks: Iterable[Block], numbers_per_row: int) -> Iterator[list[Block]]:
    """The blocks in runs of bounded size, in their order."""
    run: list[Block] = []
    for block in blocks:
        longest = max([block.size, *(other.size for other in run)])
        if run and longest * (len(run) + 1) * numbers_per_row > CHUNK_NUMBERS:
            yield run
            run = []
        run.append(block)
    if run:
        yield run
