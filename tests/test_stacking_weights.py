"""How far answers are moved towards a regression: least squares on withheld series, shrunk where few tell."""

import numpy as np
import pytest

from latentode.stacking.weights import CHANNEL_PRIOR, MOST, PRIOR, PRIOR_WEIGHT, half_way, learn_weights


def made_gaps(weight, n_series, *, noise, n_each=200, seed=0):
    """What a regression lacks and would add where `weight` of it is right: arguments of `learn_weights`."""
    random = np.random.default_rng(seed)
    n = n_series * n_each
    difference = random.normal(size=n)
    lead = random.uniform(0.05, 2, n)
    return {
        "gap": weight(lead) * difference + random.normal(0, noise, n),
        "difference": difference,
        "lead": lead,
        "channel": np.zeros(n, dtype=int),
        "series": np.repeat(np.arange(n_series), n_each),
        "n_channels": 1,
    }


def test_weights_are_those_of_least_squares_where_series_are_many():
    given = made_gaps(lambda lead: np.where(lead < 1, 0.4, 0.2), 400, noise=0.1)
    found = learn_weights(**given)
    told = found.at(np.array([[0.5], [1.8]]))
    np.testing.assert_allclose(told[:, 0], [0.4, 0.2], atol=0.02)


def test_no_answer_is_moved_further_than_half_way():
    found = learn_weights(**made_gaps(np.ones_like, 400, noise=0.1))
    assert found.values.max() == MOST


@pytest.mark.parametrize("n_series", [2, 5, 20])
def test_few_series_are_held_back_by_the_prior(n_series):
    # S series say 0.2 and PRIOR say PRIOR_WEIGHT, for all channels; then S say 0.2 and CHANNEL_PRIOR say that.
    found = learn_weights(**made_gaps(lambda lead: 0.2 + 0 * lead, n_series, noise=1e-3, n_each=9000)).usual[
        0
    ]
    common = (0.2 * n_series + PRIOR * PRIOR_WEIGHT) / (n_series + PRIOR)
    wanted = (0.2 * n_series + CHANNEL_PRIOR * common) / (n_series + CHANNEL_PRIOR)
    assert found == pytest.approx(wanted, abs=2e-3)


@pytest.mark.parametrize("n_series", [1, 2, 4, 400])
def test_a_regression_that_never_helps_has_no_weights(n_series):
    """Not even the prior's, where few series tell."""
    assert learn_weights(**made_gaps(lambda lead: -0.5 + 0 * lead, n_series, noise=0.1)) is None


def test_a_channel_that_a_regression_harms_is_left_alone():
    helped, harmed = (made_gaps(lambda lead, w=w: w + 0 * lead, 3, noise=0.1) for w in (0.4, -0.4))
    both = {name: np.concatenate([helped[name], harmed[name]]) for name in helped if name != "n_channels"}
    both["channel"] = np.repeat([0, 1], len(helped["gap"]))
    found = learn_weights(**both, n_channels=2)
    assert found.usual[0] > 0.2
    assert found.usual[1] == 0


def test_a_channel_that_tells_nothing_goes_by_the_others():
    given = made_gaps(lambda lead: 0.4 + 0 * lead, 300, noise=0.05) | {"n_channels": 2}
    found = learn_weights(**given)
    np.testing.assert_allclose(found.values[1:-1, 1], found.values[1:-1, 0], atol=0.01)


def test_units_change_no_weight():
    given = made_gaps(lambda lead: 0.1 + 0.1 * lead, 50, noise=0.2)
    scaled = given | {name: 1e-6 * given[name] for name in ("gap", "difference")}
    np.testing.assert_allclose(learn_weights(**scaled).values, learn_weights(**given).values, rtol=1e-9)


def test_weights_of_a_half_begin_where_nothing_jumps():
    weights = half_way(np.linspace(0.1, 2.0, 20), n_channels=1)
    assert weights.knots.tolist() == pytest.approx([0.0, 0.3, 2.0, 4.0])  # a tenth of them are nearer
    weights = half_way(np.array([0.0, 0.0, 0.2, 1.0, 2.0]), n_channels=2)
    assert weights.knots.tolist() == [0.0, 0.2, 2.0, 4.0]
    assert weights.values.T.tolist() == [[0.0, MOST, MOST, 0.0]] * 2
    assert half_way(np.zeros(3), n_channels=1) is None
    assert half_way(np.zeros(0), n_channels=1) is None
