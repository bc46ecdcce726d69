"""Batches, collections, cuts: what is observed survives, what is not never matters."""

import pytest
import torch

from latentode import SeriesBatch
from latentode.cuts import LATE_START, fold_contexts, random_contexts, random_starts, split_contexts
from tests.made import ragged


def test_a_batch_holds_each_series_and_nothing_else():
    collection = ragged()
    batch = collection.batch([3, 0, 1, 2])
    assert batch.times.shape == (4, 9)
    for row, series in enumerate([3, 0, 1, 2]):
        first, last = collection.starts[series], collection.starts[series + 1]
        n = int(last - first)
        torch.testing.assert_close(batch.times[row, :n], collection.times[first:last])
        torch.testing.assert_close(batch.values[row, :n], collection.values[first:last])
        assert torch.equal(batch.mask[row, :n], collection.mask[first:last])
        assert not batch.mask[row, n:].any()
        if n:
            assert (batch.times[row, n:] == batch.times[row, n - 1]).all()


def test_select_keeps_rows_in_the_order_asked():
    collection = ragged()
    chosen = collection.select([3, 1])
    assert chosen.lengths.tolist() == [9, 1]
    torch.testing.assert_close(chosen.times[:9], collection.times[6:])


def test_compact_drops_only_what_is_not_observed():
    batch = ragged().batch([0, 1, 2, 3])
    keep = torch.zeros(4, 9, dtype=torch.bool)
    keep[:, 1::2] = True
    restricted = batch.restrict(keep)
    compact = restricted.compact()
    assert compact.times.shape == (4, 4)
    for row in range(4):
        rows = restricted.observed_rows[row]
        n = int(rows.sum())
        torch.testing.assert_close(compact.times[row, :n], batch.times[row, rows])
        torch.testing.assert_close(compact.values[row, :n], restricted.values[row, rows])
        assert not compact.mask[row, n:].any()
    assert (restricted.values[~restricted.mask] == 0).all()


@pytest.mark.parametrize("shown", [slice(1, None, 2), slice(0, 3)])
def test_compact_repeats_the_last_observed_time(shown):
    """Also of rows that stood in front already, with what is hidden of longer series behind them."""
    batch = ragged().batch([0, 1, 2, 3])
    keep = torch.zeros(4, 9, dtype=torch.bool)
    keep[:, shown] = True
    compact = batch.restrict(keep).compact()
    lengths = compact.observed_rows.sum(1)
    assert len(lengths.unique()) > 1
    last = compact.times.gather(1, (lengths - 1).clamp(min=0).unsqueeze(1))
    padding = ~compact.observed_rows
    assert torch.equal(compact.times[padding], last.expand_as(compact.times)[padding])


def test_reference_is_the_first_or_last_observed_time():
    batch = ragged().batch([0, 2, 3])
    assert batch.reference_times("first")[0] == batch.times[0, 0]
    assert batch.reference_times("last")[2] == batch.times[2, 8]
    assert batch.reference_times("last")[1] == 0  # nothing observed


def test_shapes_that_do_not_belong_together_are_named():
    with pytest.raises(ValueError, match=r"times \(B, N\) and values \(B, N, D\)"):
        SeriesBatch(torch.zeros(2, 3), torch.zeros(2, 4, 1), torch.zeros(2, 4, 1, dtype=torch.bool))
    with pytest.raises(ValueError, match="mask must be a bool tensor"):
        SeriesBatch(torch.zeros(2, 3), torch.zeros(2, 3, 1), torch.zeros(2, 3, 1))


@pytest.mark.parametrize("task", ["both", "interpolate", "extrapolate"])
def test_random_contexts_keep_something_of_every_series(task):
    batch = ragged().batch([0, 1, 3]).compact()
    generator = torch.Generator().manual_seed(0)
    seen = torch.zeros_like(batch.observed_rows)
    for _ in range(200):
        keep = random_contexts(batch, task, generator)
        assert not (keep & ~batch.observed_rows).any()
        assert keep.any(1).all()
        if task == "extrapolate":  # a cut: nothing kept behind something hidden
            ranks = keep.to(torch.int8)
            assert (ranks[:, 1:] <= ranks[:, :-1]).all()
        seen |= ~keep & batch.observed_rows
    # Every row but one-row series' own is hidden now and then (the first never by a cut).
    first = 0 if task != "extrapolate" else 1
    assert seen[2, first:].all()
    assert not seen[1].any()


def test_split_and_fold_contexts_hide_each_row_as_said():
    batch = ragged().batch([0, 1, 2, 3])
    ahead, between = split_contexts(batch, "both")
    assert ahead[3].tolist() == [True] * 6 + [False] * 3
    assert between[3].tolist() == [True, False, True] * 3
    assert not ahead[1].any()  # one row: predicted from the prior
    folds = fold_contexts(batch, 5)
    hidden = sum((batch.observed_rows & ~keep).int() for keep in folds)
    assert torch.equal(hidden, batch.observed_rows.int())


def test_cuts_depend_on_the_series_alone():
    together = split_contexts(ragged().batch([0, 3]), "both")[1][0, :5]
    alone = split_contexts(ragged().batch([0]), "both")[1][0]
    assert torch.equal(together, alone)


def test_random_starts_drop_the_beginning_of_most_series_and_nothing_else():
    n_series, n_rows = 4000, 10
    mask = torch.rand(n_series, n_rows, 1, generator=torch.Generator().manual_seed(1)) < 0.8
    mask[:, 0] = True
    times = torch.arange(n_rows, dtype=torch.float32).expand(n_series, -1)
    batch = SeriesBatch(times, mask.float(), mask).compact()
    keep = random_starts(batch, torch.Generator().manual_seed(0))
    observed = batch.observed_rows
    kept = (keep & observed).sum(1)
    assert (kept >= 1).all()
    # What is kept is the end: once on, never off again.
    assert (keep[:, 1:] | ~keep[:, :-1]).all()
    share = (kept < observed.sum(1)).float().mean()
    assert 0.5 < share < LATE_START  # some of the late ones begin at the first row all the same
    assert torch.equal(keep, random_starts(batch, torch.Generator().manual_seed(0)))
