"""Values too far out are left out of a fit, and not read when its model answers."""

import numpy as np
import pandas as pd
import pytest

from latentode import LatentODE
from latentode.datasets import make_oscillator

COLUMNS = ["position", "velocity"]
NOT_READ = r"20 spreads .* are not read: 1 of column 'position' \(series 3\)"


@pytest.fixture(scope="module")
def observed():
    return make_oscillator(n_series=30, seed=0)[0]


@pytest.fixture(scope="module")
def model(observed):
    return LatentODE("series", "time", residual="ou", max_iter=20, random_state=0).fit(observed)


@pytest.fixture
def one(observed):
    """Two frames: one with a value in wrong units, the other without it."""
    row = observed.index[(observed["series"] == 3) & observed["position"].notna()][4]
    wrong, without = observed.copy(), observed.copy()
    wrong.loc[row, "position"] = 1e4
    without.loc[row, "position"] = np.nan
    return wrong, without, row


@pytest.mark.parametrize(
    "ask",
    [
        lambda model, frame: model.predict(frame, level=90),
        lambda model, frame: model.forecast(frame, 2.0, 3),
        lambda model, frame: model.sample(frame, [1.0, 4.0], n_samples=3),
        lambda model, frame: model.encode(frame),
        lambda model, frame: model.latent(frame, [1.0, 4.0]),
        lambda model, frame: model.evaluate(frame, n_bootstrap=0).table,
    ],
    ids=["predict", "forecast", "sample", "encode", "latent", "evaluate"],
)
def test_answers_are_those_without_it_and_a_warning_says_so(model, one, ask):
    wrong, without, _ = one
    with pytest.warns(UserWarning, match=NOT_READ) as caught:
        found = ask(model, wrong)
    assert [warning.filename for warning in caught] == [__file__]
    pd.testing.assert_frame_equal(found, ask(model, without))


def test_what_was_observed_stays_when_gaps_are_filled(model, one):
    wrong, without, row = one
    with pytest.warns(UserWarning, match=NOT_READ):
        filled = model.impute(wrong)
    assert filled.loc[row, "position"] == 1e4
    others = filled.index != row
    pd.testing.assert_frame_equal(filled[others], model.impute(without)[others])


def test_it_is_the_most_surprising_value(model, one):
    wrong, without, row = one
    with pytest.warns(UserWarning, match=NOT_READ):
        found = model.score_samples(wrong)
    assert found["position"].idxmin() == row
    expected = model.score_samples(without)
    pd.testing.assert_frame_equal(found.where(expected.notna()), expected)


def test_a_series_that_has_moved_is_read(model, observed):
    moved = observed[observed["series"] == 3].assign(position=lambda frame: frame["position"] + 1e4)
    with pytest.warns(
        UserWarning, match=r"taken at their word, as most .*: [0-9]+ of column 'position'\. If it is in"
    ):
        found = model.predict(moved)
    assert found["position"].iloc[-1] > 5e3  # what noise there is in the model draws it back a little


def test_what_a_series_has_moved_by_is_settled_before_it_is_cut(model, observed):
    """An evaluation names the user's series once, and hides no more of one context than of another."""
    half = observed[observed["series"].isin([3, 4])].copy()
    third = half.index[half["series"] == 3][:15]
    half.loc[third, "position"] += 1e4
    with pytest.warns(UserWarning, match="column 'position' \\(series 3\\)") as caught:
        model.evaluate(half, n_bootstrap=0)
    assert len(caught) == 1


def test_of_a_series_of_nothing_else_nothing_is_read(model, observed):
    alone = observed[observed["series"] == 3].head(1).assign(position=1e4, velocity=np.nan)
    with pytest.warns(UserWarning, match="are not read: 1 of column 'position'. Look"):
        found = model.predict(alone, times=[2.0])
    nothing = model.predict(alone.assign(position=np.nan), times=[2.0])
    np.testing.assert_allclose(found[COLUMNS], nothing[COLUMNS])


def test_a_score_leaves_it_out_unless_there_is_nothing_else(model, one, observed):
    wrong, without, _ = one
    with pytest.warns(UserWarning, match=NOT_READ):
        assert model.score(wrong) == model.score(without)
    alone = observed[observed["series"] == 3].head(1).assign(position=1e4, velocity=np.nan)
    with pytest.warns(UserWarning, match="are not read: 1 of column 'position'. Look"):
        assert -np.inf < model.score(alone) < -1e4
