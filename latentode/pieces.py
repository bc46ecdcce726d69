"""What is answered together: series in windows, queries in pieces, and these in chunks of bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from latentode.series import SeriesCollection

__all__ = ["MAX_ROWS", "Queries", "chunks_of", "most_queries", "pieces_of"]

# Numbers that one chunk's largest array may hold: 4 MiB in single precision. Chunks of 32 MiB took
# half as long again, in page faults.
CHUNK_NUMBERS = 1_000_000

# Observations of one series that are read at once, in training and in answering.
MAX_ROWS = 256

# Queries of one series that are answered at once; a longer list is cut, its context read again.
MAX_QUERIES = 2048


@dataclass(frozen=True)
class Queries:
    """Times to be answered: (Q,) in model time on the series' clocks, sorted, series after series.

    Series i owns times[starts[i]:starts[i + 1]]. Quantiles, which cost most, are found where `wanted` (Q, D)
    alone, everywhere without it.
    """

    times: Tensor
    starts: Tensor
    wanted: Tensor | None = None


def pieces_of(contexts: SeriesCollection, queries: Queries, most: int | None = None) -> Tensor:
    """Ranges of context rows and of queries that are answered together, lasts excluded, and whose: (P, 5).

    A series of up to MAX_ROWS observations is one context, its queries cut where there are more than
    `most` (None: MAX_QUERIES). A longer one is read through windows of MAX_ROWS rows that overlap by half;
    each answers the queries around its middle, so that a query sees a quarter of a window at least on
    either side; forecasts are made from the last half window.
    """
    most = MAX_QUERIES if most is None else most
    starts = contexts.starts, queries.starts
    ranges = torch.stack([edge for at in starts for edge in (at[:-1], at[1:])], 1)
    numbers = torch.arange(len(contexts)).unsqueeze(1)
    asked = ranges[:, 3] > ranges[:, 2]
    long = contexts.lengths > MAX_ROWS
    many = ranges[:, 3] - ranges[:, 2] > most
    short = asked & ~long & ~many
    pieces = [torch.cat([ranges[short], numbers[short]], 1)]
    for series in torch.nonzero(asked & (long | many)).flatten().tolist():
        start, stop, first, last = ranges[series].tolist()
        windows = [(start, stop, first, last)]
        if long[series]:
            windows = _windows(contexts.times[start:stop], queries.times[first:last], start, first)
        for row, end, one, other in windows:
            cuts = [(row, end, cut, min(cut + most, other), series) for cut in range(one, other, most)]
            pieces.append(torch.tensor(cuts, dtype=torch.int64).view(-1, 5))
    return torch.cat(pieces)


def _windows(known: Tensor, asked: Tensor, start: int, first: int) -> list[tuple[int, int, int, int]]:
    n_rows, half = len(known), MAX_ROWS // 2
    n_windows = -(-(n_rows - MAX_ROWS) // half) + 1
    rank = torch.searchsorted(known.contiguous(), asked.contiguous())
    window = ((rank - half // 2) // half).clamp(0, n_windows - 1)
    # What lies beyond the last row is forecast from the last half window alone: training saw no time
    # farther from z0 than a window is long, and from a whole one every forecast would be farther.
    window = torch.where(rank == n_rows, n_windows, window)
    numbers, counts = torch.unique_consecutive(window, return_counts=True)
    found, done = [], first
    for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
        row = n_rows - half if number == n_windows else min(number * half, n_rows - MAX_ROWS)
        end = min(row + MAX_ROWS, n_rows)
        found.append((start + row, start + end, done, done + count))
        done += count
    return found


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
