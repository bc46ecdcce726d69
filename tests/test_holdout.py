"""What validates is never trained on, and enough is left to train on."""

import numpy as np
import pandas as pd
import pytest
import torch

from latentode.fitting.holdout import MIN_SELECTING, Holdout, can_select, shown_rows, withhold
from latentode.fitting.split import split_data
from latentode.frames import read_frame
from tests.made import zeros_of

TASKS = ["both", "interpolate", "extrapolate"]


def withheld(lengths, task="both", fraction=0.15, most=256):
    collection = zeros_of(lengths)
    generator = torch.Generator().manual_seed(0)
    return withhold(collection, collection.cut(most), task=task, fraction=fraction, generator=generator)


@pytest.mark.parametrize(
    ("lengths", "fraction", "expected"),
    [([3] * 40, 0.15, 6), ([3] * 10, 0.05, 2), ([1] * 9000, 0.15, 300), ([300] * 12, 0.15, 2)],
)
def test_series_are_withheld_where_there_are_enough(lengths, fraction, expected):
    found = withheld(lengths, fraction=fraction)
    assert found.unit == "series"
    assert found.whole
    assert found.rows.sum() == expected * lengths[0]


@pytest.mark.parametrize("task", TASKS)
def test_one_row_in_seven_is_withheld_where_series_are_few(task):
    found = withheld([6, 70, 7], task)
    held = found.rows
    assert found.unit == "rows"
    assert not found.whole
    assert not held[:6].any()
    assert abs(int(held[6:76].sum()) - 10) <= 1
    assert held[76:].sum() >= 1
    if task == "extrapolate":
        assert held[66:76].all()
    if task == "interpolate":
        assert not held[75]


@pytest.mark.parametrize("task", TASKS)
def test_one_part_in_seven_is_withheld_where_the_few_series_are_long(task):
    found = withheld([6, 1400], task, most=100)
    assert found.unit == "parts"
    assert found.whole
    assert not found.rows[:6].any()
    parts = found.rows[6:].view(14, 100)
    assert (parts.all(1) | ~parts.any(1)).all()
    assert parts[:, 0].sum() == 2
    assert bool(parts[-1, 0]) == (task != "interpolate")
    assert bool(parts[-2, 0]) == (task == "extrapolate")


@pytest.mark.parametrize(
    ("n_parts", "expected", "n_contexts"), [(7, 1, 3), (209, 29, 3), (210, 30, 1), (2800, 300, 1)]
)
def test_of_many_parts_so_many_validate_as_tell_enough(n_parts, expected, n_contexts):
    found = withheld([10 * n_parts], "extrapolate", most=10)
    assert found.rows.sum() == 10 * expected
    assert found.rows[-10:].all()
    assert found.n_contexts == n_contexts


def test_parts_are_not_withheld_where_most_rows_are_of_short_series():
    assert withheld([1400, 90, 90, 90, 90], most=100).unit == "parts"
    assert withheld([700, *[99] * 8], most=100).unit == "rows"


@pytest.mark.parametrize("lengths", [[1, 2, 6], [0], [0, 0, 5]])
def test_too_little_is_trained_on_whole(lengths):
    assert withheld(lengths).unit == "nothing"
    assert not withheld(lengths).rows.any()


def test_nothing_is_withheld_where_no_fraction_is():
    assert withheld([50] * 40, fraction=0).unit == "nothing"


def test_of_a_part_that_is_withheld_whole_its_beginning_is_shown():
    parts = zeros_of([30, 9, 1, 0])
    held = torch.arange(40) >= 20
    assert shown_rows(parts, held).nonzero().flatten().tolist() == [*range(20), *range(30, 36), 39]


@pytest.mark.parametrize(
    ("n_asked", "expected"), [(0, False), (MIN_SELECTING - 1, False), (MIN_SELECTING, True)]
)
def test_few_withheld_values_select_nothing_and_one_withheld_series_does(n_asked, expected):
    batch = zeros_of([120]).batch(torch.tensor([0]))
    asked = batch.restrict(torch.arange(120).unsqueeze(0) < n_asked)
    nowhere = torch.zeros(120, dtype=torch.bool)
    for unit in ("rows", "parts"):
        assert can_select(Holdout(unit, nowhere), [(batch, asked)]) is expected
    assert can_select(Holdout("series", nowhere), [(batch, asked)])
    assert not can_select(Holdout("rows", nowhere), [])


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("lengths", "span", "unit"),
    [
        ([12] * 20, None, "series"),
        ([300] * 12, None, "series"),
        ([40, 9, 25], None, "rows"),
        ([700], None, "rows"),
        ([2000, 90], None, "parts"),
        ([500], 20.0, "parts"),
        ([500, 60], 240.0, "rows"),
    ],
)
def test_what_is_asked_in_validation_is_never_drawn_and_always_has_a_context(task, lengths, span, unit):
    """Values are numbered, so that each says where it is from."""
    n_rows = sum(lengths)
    frame = pd.DataFrame(
        {
            "series": np.repeat(np.arange(len(lengths)), lengths),
            "t": np.concatenate([np.arange(n) * 1.0 for n in lengths]),
            "x": np.arange(n_rows) * 1.0,
        }
    )
    generator = torch.Generator().manual_seed(1)
    split = split_data(
        read_frame(frame, id_col="series", time_col="t", value_cols=["x"]),
        generator,
        task=task,
        validation_fraction=0.15,
        dtype=torch.float64,
        longest=span,
    )
    assert split.holdout.unit == unit

    def numbers(batch):
        return set(np.rint(split.scaling.unscale(batch.values)[batch.mask.numpy()]).astype(int).tolist())

    everyone = torch.arange(len(split.data))
    trained = set().union(*(numbers(split.data.drawn(everyone, generator)) for _ in range(50)))
    asked = set().union(*(numbers(target) for _, target in split.validation))
    assert asked
    assert not asked & trained
    assert asked <= set(torch.nonzero(split.holdout.rows).flatten().tolist())
    assert trained == set(torch.nonzero(~split.holdout.rows).flatten().tolist())
    for context, target in split.validation:
        assert (context.mask.any((1, 2)) | ~target.mask.any((1, 2))).all()
