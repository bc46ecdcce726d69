"""Series for tests: of unequal lengths, irregular, interrupted; and scores of what was hidden of some."""

import numpy as np
import torch
from torch import Tensor

from latentode import SeriesCollection
from latentode.calibration import HiddenScores


def ragged(lengths=(5, 1, 0, 9), n_channels=3, seed=0) -> SeriesCollection:
    """Values of noise at random times, three in ten not observed but for one channel of each row."""
    generator = torch.Generator().manual_seed(seed)
    total = sum(lengths)
    times = torch.cat([torch.rand(n, generator=generator).sort().values for n in lengths])
    mask = torch.rand(total, n_channels, generator=generator) < 0.7
    mask[:, 0] |= ~mask.any(1)
    values = torch.randn(total, n_channels, generator=generator) * mask
    starts = torch.tensor([0, *lengths]).cumsum(0)
    return SeriesCollection(times, values, mask, starts)


def zeros_of(lengths) -> SeriesCollection:
    """Zeros at even times from 0 to 1."""
    times = torch.cat([torch.linspace(0, 1, n, dtype=torch.float64) for n in lengths])
    values = torch.zeros(len(times), 1)
    return SeriesCollection(
        times, values, torch.ones(len(times), 1, dtype=torch.bool), torch.tensor([0, *lengths]).cumsum(0)
    )


def one_series(times, *, n_channels=1, share=1.0, seed=0) -> SeriesCollection:
    """Values of noise, each entry seen with this chance and each row once at least."""
    random = torch.Generator().manual_seed(seed)
    mask = torch.rand(len(times), n_channels, generator=random) < share
    mask[:, 0] |= ~mask.any(1)
    values = torch.randn(mask.shape, generator=random, dtype=times.dtype) * mask
    return SeriesCollection(times, values, mask, torch.tensor([0, len(times)]))


def numbered(times) -> SeriesCollection:
    """One series whose values are the numbers of its rows."""
    mask = torch.ones(len(times), 1, dtype=torch.bool)
    values = torch.arange(len(times)).unsqueeze(1).float()
    return SeriesCollection(times, values, mask, torch.tensor([0, len(times)]))


def irregular(n, seed=0) -> Tensor:
    """Times from 0 to n."""
    return torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).sort().values * n


def interrupted(*n_rows, gap=1e3) -> Tensor:
    """Stretches of irregular times with gaps between them."""
    stretches, start = [], 0.0
    for seed, n in enumerate(n_rows):
        stretches.append(start + irregular(n, seed))
        start = float(stretches[-1][-1]) + gap
    return torch.cat(stretches)


def scores(n_series, spread, seed=0) -> tuple[HiddenScores, np.ndarray]:
    """Standard scores of a model whose bands are too narrow by `spread`, forty a series, half of them between."""
    random = np.random.default_rng(seed)
    n = 40 * n_series
    between = np.arange(n) % 2 == 0
    hidden = HiddenScores(
        score=spread * random.standard_normal(n),
        lead=random.uniform(0.1, 1, n),
        between=between,
        channel=(np.arange(n) // 2) % 2,
        row=np.arange(n),
        mean=np.zeros(n),
        trajectory=np.zeros(n),
        shift=np.zeros(n),
        context=np.zeros(n, dtype=np.int64),
    )
    return hidden, np.arange(n_series).repeat(40)
