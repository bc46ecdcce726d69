"""Cuts that a regression learns from: each row of all series is as often the last that is shown."""

import numpy as np
import pytest
import torch

from latentode.hiding import LEAST_CUT, hiding_cuts
from latentode.series import SeriesCollection


def collection_of(*lengths):
    times = torch.cat([torch.arange(n, dtype=torch.float64) for n in lengths])
    values = torch.ones(len(times), 1, dtype=torch.float64)
    starts = torch.tensor([0, *lengths]).cumsum(0)
    return SeriesCollection(times, values, torch.ones_like(values, dtype=torch.bool), starts)


def test_cuts_are_drawn_in_proportion_to_the_rows():
    lengths = (100, 50, 10)
    collection = collection_of(*lengths)
    masks = torch.stack(hiding_cuts(collection, torch.Generator().manual_seed(0), 400)).numpy()
    of_row = collection.series_of_rows.numpy()
    shown = np.stack([masks[:, of_row == number].sum(1) for number in range(3)], axis=1)
    cut = shown < np.array(lengths)
    assert cut.sum() == pytest.approx(3 * 400, rel=0.05)
    np.testing.assert_allclose(cut.sum(0) / cut.sum(), np.array(lengths) / sum(lengths), atol=0.02)
    for number, length in enumerate(lengths):
        kept = shown[cut[:, number], number]
        least = 1 + int(LEAST_CUT * (length - 1))
        assert kept.min() == least
        assert kept.max() == length - 1
        assert kept.mean() == pytest.approx((least + length - 1) / 2, rel=0.1)
    # What is shown is the beginning.
    assert (np.diff(masks[:, of_row == 0].astype(int), axis=1) <= 0).all()


def test_rows_without_values_are_not_counted():
    collection = collection_of(40, 20)
    seen = torch.arange(60) % 2 == 0
    masks = hiding_cuts(collection.restrict(seen), torch.Generator().manual_seed(0), 50)
    numbers = {int((mask & seen)[:40].sum()) for mask in masks}
    assert numbers <= set(range(1, 21))
    assert len(numbers) > 10


@pytest.mark.parametrize("lengths", [(1, 1), (0, 1), (0, 0)])
def test_series_too_short_to_be_cut_hide_nothing(lengths):
    collection = collection_of(*lengths)
    assert all(mask.all() for mask in hiding_cuts(collection, torch.Generator().manual_seed(0), 5))


def test_one_long_series_among_short_ones_asks_for_no_thousands_of_masks():
    collection = collection_of(250, *[2] * 500)
    masks = hiding_cuts(collection, torch.Generator().manual_seed(0), 24)
    assert len(masks) < 8 * 24
    of_long = torch.stack(masks)[:, :250].sum(1)
    assert (of_long < 250).all()  # cut by every one of them
