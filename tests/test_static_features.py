"""How static columns become features of a series, and what the networks see of these."""

import numpy as np
import pandas as pd
import pytest
import torch

from latentode import GRUEncoder, SeriesBatch, SeriesCollection
from latentode.cuts import SHOW_NOTHING, random_contexts
from latentode.frames import CategoryColumn, NumberColumn, Statics, StaticValues
from latentode.frames.statics import read_static
from tests.made import ragged


def number(*values):
    return StaticValues("age", np.array(values, dtype=np.float64))


def category(*values):
    return StaticValues("sex", np.array(values, dtype=object))


def test_features_have_mean_zero_where_known_and_are_zero_elsewhere():
    found = [number(30, 50, 70, np.nan), category("m", "f", None, "m")]
    statics = Statics.learn(found, np.ones(4, dtype=bool))
    features = statics.encode(found)
    assert features.shape == (4, statics.n_features) == (4, 5)
    age, age_known, *sex, sex_known = features.T
    assert age_known.tolist() == [1, 1, 1, 0]
    assert sex_known.tolist() == [1, 1, 0, 1]
    np.testing.assert_allclose(age[:3].mean(), 0, atol=1e-6)  # the middle stands a millionth beside 0
    np.testing.assert_allclose(age[:3].std(), 1, rtol=1e-6)
    np.testing.assert_allclose(np.sum(sex, axis=1), 0, atol=1e-15)
    assert age[3] == 0
    assert (np.array(sex)[:, 2] == 0).all()


def test_a_row_of_zeros_is_a_series_of_which_nothing_is_known():
    random = np.random.default_rng(0)
    found = [number(*random.integers(0, 3, 50)), category(*random.choice(["a", "b"], 50))]
    statics = Statics.learn(found, np.ones(50, dtype=bool))
    assert statics.encode(found).any(axis=1).all()
    assert statics.encode(found).astype(np.float32).any(axis=1).all()
    assert not statics.encode([number(np.nan), category(None)]).any()
    assert not statics.encode([number(np.nan), category("new")]).any()


def test_only_training_series_are_learned_from():
    found = [number(1, 2, 3, 1000), category("a", "b", "a", "c")]
    training = np.array([True, True, True, False])
    statics = Statics.learn(found, training)
    assert statics == Statics.learn([one.take(np.arange(3)) for one in found], np.ones(3, dtype=bool))
    assert statics.columns[1] == CategoryColumn("sex", ("a", "b"), (2 / 3, 1 / 3), flagged=False)


def test_a_column_that_is_only_sometimes_known_tells_so_and_no_more():
    found = [number(1, np.nan, 1), category("a", None, "a")]
    statics = Statics.learn(found, np.ones(3, dtype=bool))
    assert statics.columns[0] == NumberColumn("age", 1.0, 0.0, flagged=True)
    assert statics.encode(found).tolist() == [[1, 1], [0, 0], [1, 1]]
    assert not statics.idle


def test_numbers_too_small_to_divide_by_are_features_like_others():
    found = [number(-5e-324, np.nan, 1e-323)]
    statics = Statics.learn(found, np.ones(3, dtype=bool))
    assert statics.encode(found).shape == (3, statics.n_features) == (3, 2)


def test_an_outlier_leaves_the_others_apart():
    ages = np.random.default_rng(0).uniform(20, 90, 400)
    usual = NumberColumn.learn(number(*ages))
    odd = NumberColumn.learn(number(*ages[:-1], 1e9))
    assert odd.center == pytest.approx(usual.center, rel=0.05)
    assert odd.spread == pytest.approx(usual.spread, rel=0.1)
    assert np.isfinite(odd.encode(number(1e308, -1e308)).astype(np.float32)).all()


def test_numbers_of_one_text_are_one_category():
    learned = CategoryColumn("unit", ("1", "2"), (0.5, 0.5), flagged=False)
    ids, codes = pd.Index(["a", "b"]), np.array([0, 1])
    for units in ([1, 2], [1.0, 2.0], ["1", "2"], pd.Categorical([1, 2])):
        found = read_static(pd.DataFrame({"unit": units}), "unit", ids, codes, learned)
        assert found.values.tolist() == ["1", "2"]


def test_features_travel_with_their_series():
    collection = ragged()
    statics = torch.arange(8.0).view(4, 2)
    collection = SeriesCollection(
        *(getattr(collection, name) for name in ("times", "values", "mask", "starts")), statics
    )
    assert torch.equal(collection.select([3, 1]).statics, statics[[3, 1]])
    assert torch.equal(collection.restrict(collection.mask[:, 0]).statics, statics)
    parts = collection.cut(4)  # of 5, 1, 0 and 9 rows
    assert torch.equal(parts.statics, statics[[0, 0, 1, 2, 3, 3, 3]])
    # The series without a row keeps its own.
    batch = collection.batch([2, 0, 3])
    assert torch.equal(batch.statics, statics[[2, 0, 3]])
    for same in (
        batch.compact(),
        batch.shift(torch.zeros(3)),
        batch.restrict(batch.mask[..., 0]),
        batch.to("cpu"),
    ):
        assert torch.equal(same.statics, batch.statics)
    nothing = SeriesCollection(
        collection.times[:0], collection.values[:0], collection.mask[:0], torch.zeros(5).long(), statics
    )
    assert torch.equal(nothing.batch([1, 2]).statics, statics[[1, 2]])
    assert torch.equal(nothing.cut(4).statics, statics)
    with pytest.raises(
        ValueError, match=r"statics must be \(B, P\), a row for each of 3 series; got \(2, 2\)"
    ):
        SeriesBatch(batch.times, batch.values, batch.mask, statics[:2])


@pytest.fixture(params=["first", "last"])
def encoder(request):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return GRUEncoder(3, 4, 8, origin=request.param, n_statics=2)


def with_statics(batch, statics):
    return SeriesBatch(batch.times, batch.values, batch.mask, statics)


def test_the_posterior_is_the_prior_only_where_nothing_is_known(encoder):
    batch = ragged().batch([2, 2, 0])  # two series without a row
    posterior = encoder(with_statics(batch, torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])))
    assert torch.equal(posterior.mean[0], torch.zeros(4))
    assert torch.equal(posterior.stddev[0], torch.ones(4))
    assert (posterior.mean[1] != 0).all()
    assert (posterior.stddev[1] != 1).all()
    assert torch.equal(encoder(batch).mean, encoder(with_statics(batch, torch.zeros(3, 2))).mean)
    posterior.mean[1].sum().backward()
    assert (encoder.head.weights[0].grad[:, -2] != 0).any()


def test_another_number_of_features_is_refused(encoder):
    batch = ragged().batch([0])
    with pytest.raises(
        ValueError, match="holds 3 static features of a series, and the encoder was made for n_statics=2"
    ):
        encoder(with_statics(batch, torch.zeros(1, 3)))
    with pytest.raises(ValueError, match=r"holds 2 static features .* made for n_statics=0"):
        GRUEncoder(3, 4, 8)(with_statics(batch, torch.zeros(1, 2)))


def test_contexts_show_nothing_of_described_series_only():
    batch = ragged([6] * 4000).batch(range(4000))
    draws = {
        name: random_contexts(with_statics(batch, statics), "both", torch.Generator().manual_seed(0))
        for name, statics in {
            "none": None,
            "unknown": torch.zeros(4000, 2),
            "half": (torch.arange(8000.0).view(4000, 2) < 4000).float(),
        }.items()
    }
    # Without a description contexts are the same bits and never empty.
    assert torch.equal(draws["none"], draws["unknown"])
    empty = ~draws["half"].any(1)
    assert torch.equal(draws["half"][~empty], draws["none"][~empty])
    assert not empty[2000:].any()
    deviation = np.sqrt(SHOW_NOTHING * (1 - SHOW_NOTHING) / 2000)
    assert abs(empty[:2000].float().mean() - SHOW_NOTHING) < 4 * deviation
