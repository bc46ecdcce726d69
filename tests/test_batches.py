"""Batches hold series of like length, and every series equally often."""

import pytest
import torch

from latentode import SeriesCollection
from latentode.training.batches import BatchesOfLikeLength


def lengths(kind, n_series):
    uniform = torch.rand(n_series, generator=torch.Generator().manual_seed(0))
    long_tailed = {
        "uniform": 256 * uniform,
        "geometric": -50 * uniform.log(),
        "lognormal": 33 * uniform.erfinv().exp(),
    }
    return long_tailed[kind].ceil().clamp(1, 256).to(torch.int64)


def first(n, *arguments, seed=0):
    batches = BatchesOfLikeLength(*arguments, torch.Generator().manual_seed(seed))
    return [next(batches) for _ in range(n)]


@pytest.mark.parametrize("n_series", [500, 12_000])
@pytest.mark.parametrize("kind", ["uniform", "geometric", "lognormal"])
def test_padding_is_under_a_fifth_of_the_cells(kind, n_series):
    rows = lengths(kind, n_series)
    batches = [rows[batch] for batch in first(160, rows, 100)]
    cells = sum(len(batch) * int(batch.max()) for batch in batches)
    at_random = [rows[torch.randint(n_series, (100,))] for _ in range(160)]
    random_cells = sum(100 * int(batch.max()) for batch in at_random)
    assert 1 - sum(int(batch.sum()) for batch in batches) / cells < 0.2
    assert 1 - sum(int(batch.sum()) for batch in at_random) / random_cells > 0.4


@pytest.mark.parametrize(("n_series", "batch_size"), [(1, 32), (7, 32), (150, 100), (1000, 100)])
def test_every_series_comes_equally_often(n_series, batch_size):
    rows = lengths("geometric", n_series)
    drawn = torch.cat(first(16 * n_series, rows, batch_size)).bincount(minlength=n_series)
    n_batches = max(1, min(16, n_series // 32))
    # A pool may end in the middle of a pass, and the run in the middle of a pool.
    assert drawn.max() - drawn.min() <= 2 + 2 * n_batches * batch_size / n_series
    assert abs(drawn.sum() / (16 * n_series) / batch_size - 1) < 0.1


def test_series_of_one_length_make_equal_batches():
    assert {len(batch) for batch in first(40, torch.full((900,), 7), 50)} == {50}


def test_a_seed_gives_the_same_batches():
    rows = lengths("uniform", 700)
    again = first(30, rows, 64)
    assert all(torch.equal(one, other) for one, other in zip(first(30, rows, 64), again, strict=True))
    assert not torch.equal(again[0], first(1, rows, 64, seed=1)[0])


def test_rows_without_an_observation_do_not_count():
    mask = torch.tensor([[True, False], [False, False], [False, True], [False, False]])
    collection = SeriesCollection(torch.arange(4.0), torch.zeros(4, 2), mask, torch.tensor([0, 2, 3, 3, 4]))
    assert collection.observed_lengths.tolist() == [1, 1, 0, 0]
