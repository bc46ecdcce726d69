"""The contest of residual kernels: the right one wins, and where nothing tells there is a default."""

import logging
import math

import pytest
import torch

from latentode import GaussMarkov, SeriesCollection
from latentode.cuts import split_contexts
from latentode.fitting import kernel_choice
from latentode.fitting.kernel_choice import choose_kernels

KERNELS = ("ou", "matern32")


@pytest.fixture(scope="module")
def paths():
    """Series whose channels are such processes, and pairs of context and target of others."""
    B, N, D = 80, 30, len(KERNELS)
    random = torch.Generator().manual_seed(0)
    process = GaussMarkov(D, KERNELS, scale=1.0, length=0.2).double()
    times = torch.rand(B, N, generator=random, dtype=torch.float64).sort(1)[0]
    nothing = torch.zeros(B, N, D, dtype=torch.bool)
    values = process.sample(times, nothing.double().unsqueeze(0), nothing, torch.ones(()), times, random)
    collection = SeriesCollection(
        times.flatten(), values[0].flatten(0, 1), ~nothing.flatten(0, 1), torch.arange(0, (B + 1) * N, N)
    )
    batch = collection.batch(range(50, B))
    pairs = [(batch.restrict(keep), batch.restrict(~keep)) for keep in split_contexts(batch, "both")]
    return collection.select(torch.arange(50)), pairs


def test_each_channel_gets_the_kernel_that_it_is_made_of(paths):
    assert choose_kernels(*paths, torch.Generator().manual_seed(0)) == KERNELS


@pytest.mark.parametrize(
    ("margin", "expected"), [(None, ("iou", "matern32")), (1e3, ("matern32", "matern32"))]
)
def test_one_that_grows_without_end_has_to_win_by_a_margin(monkeypatch, margin, expected):
    """Of straight lines it does, of waves it does not."""
    if margin is not None:
        monkeypatch.setattr(kernel_choice, "MARGIN_OF_GROWING", margin)
    B, N = 80, 20
    random = torch.Generator().manual_seed(0)
    times = torch.rand(B, N, generator=random, dtype=torch.float64).sort(1)[0]
    start, slope, phase, noise = torch.randn(4, B, N, generator=random, dtype=torch.float64)
    lines = start[:, :1] + 3 * slope[:, :1] * times + 0.02 * noise
    waves = torch.sin(6 * times + 6 * phase[:, :1]) + 0.1 * noise
    collection = SeriesCollection(
        times.flatten(),
        torch.stack([lines, waves], -1).flatten(0, 1),
        torch.ones(B * N, 2, dtype=torch.bool),
        torch.arange(0, (B + 1) * N, N),
    )
    batch = collection.batch(range(50, B))
    pairs = [(batch.restrict(keep), batch.restrict(~keep)) for keep in split_contexts(batch, "both")]
    chosen = choose_kernels(collection.select(torch.arange(50)), pairs, torch.Generator().manual_seed(0))
    assert chosen == expected


def test_without_validation_there_is_a_default(paths):
    data, pairs = paths
    assert choose_kernels(data, [], torch.Generator().manual_seed(0)) == ("matern32", "matern32")
    first = torch.tensor([False, True])
    of_one = [(context, target.restrict(target.mask & first)) for context, target in pairs]
    assert choose_kernels(data, of_one, torch.Generator().manual_seed(0)) == ("matern32", "matern32")


def test_a_contest_that_fails_is_told(paths, caplog):
    data, pairs = paths
    spoilt = [(context, target.restrict(target.mask)) for context, target in pairs]
    spoilt[0][1].values[0, :, 0] = math.nan
    with caplog.at_level(logging.WARNING, "latentode"):
        assert choose_kernels(data, spoilt, torch.Generator().manual_seed(0)) == ("matern32", "matern32")
    assert "no kernel could be chosen for channel 0: log densities [nan, nan, nan]" in caplog.text
