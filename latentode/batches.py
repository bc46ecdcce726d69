"""Which series train together: random batches of series of like length."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["batches_of_like_length"]

# Batches that are sorted by length together: enough that neighbours are alike, few enough that a series
# meets other companions in the next pass.
POOL = 16

# Of a small collection fewer are, so that a batch still holds about this many different series.
LEAST = 32


def batches_of_like_length(lengths: Tensor, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Endless batches of series numbers; every series comes equally often.

    Shuffled passes over the series follow one another. Of every POOL batches' worth of them the series are
    sorted by length, ties at random, and cut where each batch has its equal share of the rows: many short
    series or few long ones. The batches come in random order. A batch of
    unequal series would be mostly padding, on which a step's time is spent all the same. A collection of
    fewer series than a batch is gone through several times in each.

    Args:
        lengths: observed rows of each series, (n_series,).
        batch_size: series of a batch, on average.

    Shapes:
        -> (about batch_size,) int64 each.
    """
    n_series = len(lengths)
    n_batches = max(1, min(POOL, n_series // min(batch_size, LEAST)))
    waiting = torch.empty(0, dtype=torch.int64)
    while True:
        while len(waiting) < n_batches * batch_size:
            waiting = torch.cat([waiting, torch.randperm(n_series, generator=generator)])
        drawn, waiting = waiting[: n_batches * batch_size], waiting[n_batches * batch_size :]
        drawn = drawn[torch.argsort(lengths[drawn], stable=True)]
        rows = lengths[drawn].clamp(min=1).cumsum(0)
        # Each series goes where the middle of its rows falls.
        middle = rows - lengths[drawn].clamp(min=1) / 2
        owner = (middle * n_batches / rows[-1]).long()
        batches = [drawn[owner == number] for number in range(n_batches)]
        for number in torch.randperm(n_batches, generator=generator).tolist():
            if len(batches[number]):
                yield batches[number]
