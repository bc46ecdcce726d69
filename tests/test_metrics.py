"""Scores against closed forms, integrals and independent implementations."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, root_mean_squared_error

from latentode import metrics

RANDOM = np.random.default_rng(0)
TRUTH = RANDOM.normal(size=200)
GUESS = TRUTH + RANDOM.normal(size=200)


def integrated_crps(cdf, truth, *, jumps=()):
    """Int (F(x) - 1[x >= y])^2 dx, the definition."""
    edges = sorted([-40.0, *jumps, truth, 40.0])
    parts = [quad(lambda x: (cdf(x) - (x >= truth)) ** 2, a, b, limit=200)[0] for a, b in pairwise(edges)]
    return sum(parts)


def test_points_are_scored_as_scikit_learn_does():
    assert metrics.rmse(TRUTH, GUESS) == pytest.approx(root_mean_squared_error(TRUTH, GUESS))
    assert metrics.mae(TRUTH, GUESS) == pytest.approx(mean_absolute_error(TRUTH, GUESS))
    weights = RANDOM.random(200)
    for p in (0.05, 0.5, 0.9):
        expected = mean_pinball_loss(TRUTH, GUESS, alpha=p, sample_weight=weights)
        assert metrics.pinball(TRUTH, GUESS, p, weights=weights) == pytest.approx(expected)


def test_the_quantile_has_the_smallest_pinball_loss():
    candidates = np.linspace(-3, 3, 601)
    losses = [metrics.pinball(TRUTH, one, 0.8) for one in candidates]
    # A grid step from the sample's own quantile, and the flat stretch between two order statistics.
    assert abs(candidates[np.argmin(losses)] - np.quantile(TRUTH, 0.8)) < 0.05


def test_crps_of_a_normal_is_its_integral():
    for y in (-2.0, 0.3, 4.0):
        expected = integrated_crps(norm(1.0, 0.7).cdf, y)
        assert metrics.crps_normal(y, 1.0, 0.7) == pytest.approx(expected, abs=1e-7)
    assert metrics.crps_normal(3.0, 1.0, 0.0) == 2.0


def test_crps_of_a_mixture_is_its_integral():
    means, stds, shares = np.array([-1.0, 0.5, 3.0]), np.array([0.3, 1.0, 0.2]), np.array([0.2, 0.5, 0.3])

    def cdf(x):
        return float(shares @ norm.cdf((x - means) / stds))

    for y in (-2.0, 0.1, 3.0):
        expected = integrated_crps(cdf, y, jumps=(-1.0, 3.0))
        assert metrics.crps_mixture(y, means, stds, shares=shares) == pytest.approx(expected, abs=1e-7)


def test_a_mixture_of_one_is_a_normal():
    one = metrics.crps_mixture(TRUTH, GUESS[None], 0.4)
    assert one == pytest.approx(metrics.crps_normal(TRUTH, GUESS, 0.4))
    many = metrics.crps_mixture(TRUTH, np.stack([GUESS, GUESS]), 0.4)
    assert many == pytest.approx(one)


def test_crps_of_an_ensemble_is_its_definition():
    ensemble = RANDOM.normal(size=(7, 200))
    gaps = np.abs(ensemble[:, None] - ensemble[None]).sum((0, 1))
    plain = np.abs(ensemble - TRUTH).mean(0) - gaps / (2 * 7 * 7)
    fair = np.abs(ensemble - TRUTH).mean(0) - gaps / (2 * 7 * 6)
    assert metrics.crps_ensemble(TRUTH, ensemble, fair=False) == pytest.approx(plain.mean())
    assert metrics.crps_ensemble(TRUTH, ensemble) == pytest.approx(fair.mean())
    expected = integrated_crps(lambda x: (ensemble[:, 0] <= x).mean(), TRUTH[0], jumps=ensemble[:, 0])
    assert metrics.crps_ensemble(TRUTH[0], ensemble[:, 0], fair=False) == pytest.approx(expected, abs=1e-7)


def test_the_fair_score_does_not_depend_on_the_number_of_samples():
    normal = metrics.crps_normal(0.5, 0.0, 1.0)
    for n_samples in (2, 5):
        drawn = RANDOM.normal(size=(n_samples, 200_000))
        scores = metrics.crps_ensemble(np.full((1, 200_000), 0.5), drawn[:, None], axis=0)
        # Five standard errors of the mean over draws.
        assert abs(scores.mean() - normal) < 5 * scores.std() / np.sqrt(200_000)


def test_crps_of_quantiles_is_the_normals_from_any_two_of_them():
    for probabilities in ([0.1, 0.9], [0.025, 0.25, 0.5, 0.6, 0.975]):
        quantiles = norm.ppf(probabilities)[:, None] * 0.7 + GUESS
        found = metrics.crps_quantiles(TRUTH, quantiles, probabilities)
        # The sum over forty levels errs by 5e-4 in the mean over a normal's own draws.
        assert found == pytest.approx(metrics.crps_normal(TRUTH, GUESS, 0.7), rel=2e-3)


def test_the_interval_score_is_two_pinball_losses():
    low, high = GUESS - 1, GUESS + 0.5
    a = 0.2
    losses = metrics.pinball(TRUTH, low, a / 2) + metrics.pinball(TRUTH, high, 1 - a / 2)
    assert metrics.interval_score(TRUTH, low, high, 80) == pytest.approx(2 / a * losses)


def test_coverage_counts_what_is_inside():
    assert metrics.coverage([1.0, 2.0, np.nan, 4.0], [0.0, 2.0, 0.0, 5.0], [1.0, 3.0, 9.0, 6.0]) == 2 / 3
    drawn = RANDOM.normal(size=20_000)
    z = norm.ppf(0.95)
    assert abs(metrics.coverage(drawn, -z, z) - 0.9) < 5 * np.sqrt(0.9 * 0.1 / 20_000)


SCORES = {
    "rmse": lambda y, **k: metrics.rmse(y, 0.0, **k),
    "mae": lambda y, **k: metrics.mae(y, 0.0, **k),
    "pinball": lambda y, **k: metrics.pinball(y, 0.0, 0.3, **k),
    "coverage": lambda y, **k: metrics.coverage(y, -0.5, 1.0, **k),
    "interval_score": lambda y, **k: metrics.interval_score(y, -0.5, 1.0, 80, **k),
    "crps_normal": lambda y, **k: metrics.crps_normal(y, 0.0, 1.0, **k),
    "crps_mixture": lambda y, **k: metrics.crps_mixture(y, np.zeros((2, 1, 1)), 1.0, **k),
    "crps_ensemble": lambda y, **k: metrics.crps_ensemble(y, np.arange(3.0)[:, None, None], **k),
    "crps_quantiles": lambda y, **k: metrics.crps_quantiles(
        y, np.array([-1.0, 1.0])[:, None, None], [0.2, 0.8], **k
    ),
}


@pytest.mark.parametrize("name", SCORES)
def test_what_is_not_observed_counts_for_nothing(name):
    score = SCORES[name]
    truth = RANDOM.normal(size=(6, 4))
    gaps = truth.copy()
    gaps[RANDOM.random((6, 4)) < 0.4] = np.nan
    gaps[:, 2] = np.nan
    assert score(gaps) == pytest.approx(score(truth, weights=(~np.isnan(gaps)).astype(float)))
    by_column = score(gaps, axis=0)
    assert np.isnan(by_column[2])
    assert by_column[0] == pytest.approx(score(gaps[:, :1]))
    doubled = score(np.concatenate([truth, truth[:1]]))
    assert score(truth, weights=np.array([2.0, 1, 1, 1, 1, 1])[:, None]) == pytest.approx(doubled)


def test_a_forecast_that_is_missing_is_not_overlooked():
    assert np.isnan(metrics.rmse([1.0, 2.0], [1.0, np.nan]))
    assert np.isnan(metrics.coverage([1.0, 2.0], [0.0, np.nan], [2.0, 3.0]))


def test_skill_is_what_is_gained():
    assert metrics.skill(1.0, 2.0) == 0.5
    assert metrics.skill(0.0, 0.0) == 0.0
    assert metrics.skill(1.0, 0.0) == -np.inf


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.pinball(TRUTH, GUESS, 1.5), "probability must lie between 0 and 1"),
        (lambda: metrics.interval_score(0.0, -1.0, 1.0, 100), "level must lie between 0 and 100"),
        (lambda: metrics.crps_ensemble(0.0, [1.0]), "a fair CRPS needs 2 samples at least; got 1"),
        (lambda: metrics.crps_normal(0.0, 1.0, -1.0), "must not be negative"),
        (lambda: metrics.crps_mixture(0.0, [0.0, 1.0], 1.0, shares=[0.5, 0.6]), "sum to 1"),
        (lambda: metrics.crps_quantiles(0.0, [0.0, 1.0], [0.5, 0.2]), "must increase between 0 and 1"),
        (
            lambda: metrics.crps_quantiles(0.0, [0.0, 1.0], [0.5]),
            "got 2 quantiles and probabilities of shape",
        ),
        (lambda: metrics.rmse(TRUTH, GUESS, weights=-1.0), "weights must be finite and not negative"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
