"""Cuts that a regression learns from: each row of all series is as often the first that is hidden."""

import numpy as np
import pytest
import torch

from latentode.hiding import LEAST_CUT, hiding_contexts, hiding_cuts
from latentode.series import SeriesCollection


def collection_of(*lengths):
    times = torch.cat([torch.arange(n, dtype=torch.float64) for n in lengths])
    values = torch.ones(len(times), 1, dtype=torch.float64)
    starts = torch.tensor([0, *lengths]).cumsum(0)
    return SeriesCollection(times, values, torch.ones_like(values, dtype=torch.bool), starts)


def test_all_rows_of_all_series_are_cut_at_as_often():
    lengths = (100, 50, 10, *[2] * 200)
    collection = collection_of(*lengths)
    of_row = collection.series_of_rows.numpy()
    cut_at = np.zeros(len(of_row))
    for seed in range(200):
        masks = torch.stack(hiding_cuts(collection, torch.Generator().manual_seed(seed), 60)).numpy()
        hidden = ~masks
        first = hidden & ~np.pad(hidden[:, :-1], ((0, 0), (1, 0)))
        first |= hidden & np.append(True, np.diff(of_row) != 0)
        assert first.sum() == 60  # what is shown is a beginning
        assert first.sum(0).max() == 1  # and no cut comes twice
        cut_at += first.sum(0)
    rank = np.concatenate([np.arange(n) for n in lengths])
    least = 1 + (LEAST_CUT * (np.array(lengths)[of_row] - 1)).astype(int)
    assert (cut_at[rank < least] == 0).all()
    usual = 200 * 60 / (rank >= least).sum()
    for number in (0, 1, 3):
        own = (of_row >= number) & (rank >= least) if number == 3 else (of_row == number) & (rank >= least)
        assert cut_at[own].mean() == pytest.approx(usual, rel=0.07)


def test_of_few_rows_each_is_cut_at_once():
    masks = torch.stack(hiding_cuts(collection_of(4, 3), torch.Generator().manual_seed(0), 1000))
    shown = torch.stack([masks[:, :4].sum(1), masks[:, 4:].sum(1)], 1)
    assert sorted(shown[:, 0].tolist()) == [1, 2, 3]
    assert sorted(shown[:, 1].tolist()) == [1, 2, 3]  # and once nothing is hidden


def test_rows_without_values_are_not_cut_at():
    collection = collection_of(40, 20)
    seen = torch.arange(60) % 2 == 0
    masks = torch.stack(hiding_cuts(collection.restrict(seen), torch.Generator().manual_seed(0), 1000))
    assert len(masks) == 20 - 1 - int(LEAST_CUT * 19)
    numbers = (masks & seen)[:, :40].sum(1).tolist()
    assert sorted(numbers) == list(range(1 + int(LEAST_CUT * 19), 20))


@pytest.mark.parametrize("lengths", [(1, 1), (0, 1), (0, 0)])
def test_series_too_short_to_be_cut_hide_nothing(lengths):
    masks = hiding_cuts(collection_of(*lengths), torch.Generator().manual_seed(0), 5)
    assert len(masks) == 1
    assert masks[0].all()


@pytest.mark.parametrize(("task", "n_cuts", "n_subsets"), [("both", 2, 1), ("interpolate", 1, 3)])
def test_fewer_contexts_hide_of_short_series_too(task, n_cuts, n_subsets):
    collection = collection_of(*[2] * 50)
    contexts = hiding_contexts(collection, torch.Generator().manual_seed(0), task, fewer=True)
    assert len(contexts) == n_cuts + n_subsets
    assert (~contexts[0]).sum() == 50  # the second row of each
    assert all(context.all() for context in contexts[1:n_cuts])  # the same again hides nothing
