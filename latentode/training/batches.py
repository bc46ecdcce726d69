"""Which series train together: random batches of series of like length."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["BatchesOfLikeLength"]

# Batches that are sorted by length together: enough that neighbours are alike, few enough that a series
# meets other companions in the next pass.
POOL = 16

# Of a small collection fewer are, so that a batch still holds about this many different series.
LEAST = 32


class BatchesOfLikeLength(Iterator[Tensor]):
    """Endless batches of series numbers; every series comes equally often.

    Shuffled passes over the series follow one another. Of every POOL batches' worth of them the series are
    sorted by length, ties at random, and cut where each batch has its equal share of the rows: many short
    series or few long ones. The batches come in random order. A batch of
    unequal series would be mostly padding, on which a step's time is spent all the same. A collection of
    fewer series than a batch is gone through several times in each.

    Args:
        lengths: observed rows of each series, (n_series,).
        batch_size: series of a batch, on average.

    Attributes:
        waiting: series of the pass under way that are in no batch yet.
        ready: batches of the pool under way, the next one last. With `waiting` and the generator's state
            these are all that the batches to come depend on.

    Shapes:
        -> (about batch_size,) int64 each.
    """

    def __init__(self, lengths: Tensor, batch_size: int, generator: torch.Generator) -> None:
        self.lengths, self.batch_size, self.generator = lengths, batch_size, generator
        self.waiting = torch.empty(0, dtype=torch.int64)
        self.ready: list[Tensor] = []

    def __next__(self) -> Tensor:
        while not self.ready:
            self._fill()
        return self.ready.pop()

    def _fill(self) -> None:
        n_series = len(self.lengths)
        n_batches = max(1, min(POOL, n_series // min(self.batch_size, LEAST)))
        n_drawn = n_batches * self.batch_size
        while len(self.waiting) < n_drawn:
            one_pass = torch.randperm(n_series, generator=self.generator)
            self.waiting = torch.cat([self.waiting, one_pass])
        drawn, self.waiting = self.waiting[:n_drawn], self.waiting[n_drawn:]
        drawn = drawn[torch.argsort(self.lengths[drawn], stable=True)]
        rows = self.lengths[drawn].clamp(min=1).cumsum(0)
        # Each series goes where the middle of its rows falls.
        middle = rows - self.lengths[drawn].clamp(min=1) / 2
        owner = (middle * n_batches / rows[-1]).long()
        order = torch.randperm(n_batches, generator=self.generator).tolist()
        batches = [drawn[owner == number] for number in reversed(order)]
        self.ready = [batch for batch in batches if len(batch)]
