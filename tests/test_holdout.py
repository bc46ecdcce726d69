"""What validates is never trained on, and enough is left to train on."""

import pytest
import torch

from latentode.holdout import MIN_SELECTING, can_select, withhold_rows, withhold_series
from tests.test_inference import long_collection


def test_series_are_withheld_where_there_are_enough():
    generator = torch.Generator().manual_seed(0)
    assert withhold_series(long_collection([3] * 40), 0.15, generator).sum() == 6
    assert withhold_series(long_collection([3] * 10), 0.05, generator).sum() == 2
    assert withhold_series(long_collection([3] * 9), 0.15, generator).sum() == 0
    assert withhold_series(long_collection([1] * 9000), 0.15, generator).sum() == 300


@pytest.mark.parametrize("task", ["both", "interpolate", "extrapolate"])
def test_one_row_in_seven_is_withheld_where_series_are_few(task):
    collection = long_collection([6, 70, 7])
    held = withhold_rows(collection, task)
    assert not held[:6].any()
    assert abs(int(held[6:76].sum()) - 10) <= 1
    assert held[76:].sum() >= 1
    if task == "extrapolate":
        assert held[66:76].all()
    if task == "interpolate":
        assert not held[75]


@pytest.mark.parametrize(
    ("n_asked", "expected"), [(0, False), (MIN_SELECTING - 1, False), (MIN_SELECTING, True)]
)
def test_few_withheld_rows_select_nothing_and_one_withheld_series_does(n_asked, expected):
    batch = long_collection([120]).batch(torch.tensor([0]))
    asked = batch.restrict(torch.arange(120).unsqueeze(0) < n_asked)
    none, one = torch.tensor([False, False]), torch.tensor([False, True])
    assert can_select(none, [(batch, asked)]) is expected
    assert can_select(one, [(batch, asked)])
    assert not can_select(none, [])
