"""The trivial answers against numpy's, pandas' and scipy's, one series at a time."""

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator
from sklearn.linear_model import Ridge as SklearnRidge

from latentode import baselines
from latentode.baselines import Contexts, Ridge
from latentode.baselines.design import choose_centres, knots_of, nearness
from latentode.baselines.ridge import MAX_OTHERS, MIN_VALUES, N_FOLDS, PENALTIES, _folds, _ridge

DEFAULT = np.array([10.0, 20.0, 30.0])


def irregular(n_series=12, seed=0, missing=0.5):
    """Contexts of 0 to 11 rows with channels missing, the last one always; queries in and around them."""
    random = np.random.default_rng(seed)
    series = []
    for number in range(n_series):
        values = random.normal(size=(number, 3)).cumsum(axis=0)
        values[random.random(values.shape) < missing] = np.nan
        values[:, 2] = np.nan
        series.append((np.sort(random.uniform(0, 10, number)), values))
    codes = random.integers(0, n_series, 400)
    times = random.uniform(-2, 12, 400)
    seen = [i for i in range(400) if len(series[codes[i]][0])][:50]
    for i in seen:  # some at the very times of observations
        times[i] = random.choice(series[codes[i]][0])
    return series, Contexts.of(series), codes, times


def one_by_one(answer, series, codes, times):
    """answer(times, values, query) for every query and channel with an observation, the default elsewhere."""
    found = np.tile(DEFAULT, (len(codes), 1))
    for row, (code, time) in enumerate(zip(codes, times, strict=True)):
        for channel in range(3):
            known = ~np.isnan(series[code][1][:, channel])
            if known.any():
                found[row, channel] = answer(series[code][0][known], series[code][1][known, channel], time)
    return found


def pchip(known, values, time):
    if len(known) == 1:
        return values[0]
    return float(PchipInterpolator(known, values)(np.clip(time, known[0], known[-1])))


def last_value(known, values, time):
    before = known <= time
    return values[before][-1] if before.any() else values[0]


def constant_velocity(known, values, time):
    before = known <= time
    if before.sum() < 2:
        return last_value(known, values, time)
    (s, t), (x, y) = known[before][-2:], values[before][-2:]
    return y + (y - x) / (t - s) * (time - t)


@pytest.mark.parametrize("missing", [0.0, 0.5, 0.9])
@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("linear", lambda known, values, time: np.interp(time, known, values)),
        ("pchip", pchip),
        ("last_value", last_value),
        ("constant_velocity", constant_velocity),
        ("series_mean", lambda known, values, time: values.mean()),  # noqa: ARG005
    ],
)
def test_all_at_once_is_one_by_one(name, answer, missing):
    series, contexts, codes, times = irregular(missing=missing)
    found = getattr(baselines, name)(contexts, codes, times, DEFAULT)
    expected = one_by_one(answer, series, codes, times)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


def test_the_training_mean_looks_at_nothing():
    _, contexts, codes, times = irregular()
    found = baselines.training_mean(contexts, codes, times, DEFAULT)
    np.testing.assert_array_equal(found, np.tile(DEFAULT, (len(codes), 1)))


@pytest.mark.parametrize("name", ["linear", "pchip", "last_value", "constant_velocity", "series_mean"])
def test_contexts_without_a_row_are_answered(name):
    nothing = Contexts(np.zeros(0), np.zeros((0, 3)), np.array([0, 0, 0]))
    found = getattr(baselines, name)(nothing, np.array([0, 1]), np.array([1.0, 2.0]), DEFAULT)
    np.testing.assert_array_equal(found, np.tile(DEFAULT, (2, 1)))


def test_a_period_before_no_row_is_the_default():
    nothing = Contexts(np.zeros(0), np.zeros((0, 3)), np.array([0, 0]))
    found = baselines.seasonal_naive(nothing, np.array([0]), np.array([1.0]), DEFAULT, period=2.0)
    np.testing.assert_array_equal(found, DEFAULT[None])


def test_what_was_periods_before_is_what_will_be():
    random = np.random.default_rng(0)
    known, asked = np.sort(random.uniform(0, 10, 4000)), random.uniform(0, 40, 500)

    def wave(times):
        return np.stack([np.sin(2 * np.pi * times / 2.5), times % 2.5], axis=1)

    values = wave(known)
    values[:3000, 1] = np.nan  # observed from about 7.5 on
    contexts = Contexts.of([(known, values)])
    found = baselines.seasonal_naive(contexts, np.zeros(500, dtype=int), asked, np.zeros(2), period=2.5)
    np.testing.assert_allclose(found[:, 0], wave(asked)[:, 0], atol=0.02)
    behind = (asked > 10) & (asked % 2.5 > 0.2) & (asked % 2.5 < 2.3)
    np.testing.assert_allclose(found[behind, 1], wave(asked)[behind, 1], atol=0.02)


def test_a_grid_of_whole_periods_is_met_exactly():
    contexts = Contexts.of([(np.arange(10.0), np.arange(10.0)[:, None])])
    found = baselines.seasonal_naive(
        contexts, np.zeros(3, dtype=int), np.array([12.0, 13.0, 19.0]), np.zeros(1), period=4.0
    )
    np.testing.assert_array_equal(found.ravel(), [8.0, 9.0, 7.0])


def test_before_a_period_has_passed_it_is_the_last_value():
    contexts = Contexts.of([([0.0, 1.0], [[5.0], [7.0]])])
    found = baselines.seasonal_naive(
        contexts, np.array([0, 0]), np.array([2.0, 0.5]), np.zeros(1), period=9.0
    )
    np.testing.assert_array_equal(found.ravel(), [7.0, 6.0])


def test_pchip_of_turning_points_and_steep_ends():
    times = np.array([0.0, 1.0, 1.5, 4.0, 4.2, 6.0])
    for values in ([0.0, 5, -3, -3, 8, 8.1], [0.0, 0, 0, 1, 1, 1], [3.0, 1, 2, 1, 2, -9]):
        asked = np.linspace(-1, 7, 200)
        contexts = Contexts.of([(times, np.array(values)[:, None])])
        found = baselines.pchip(contexts, np.zeros(200, dtype=int), asked, np.zeros(1))[:, 0]
        expected = PchipInterpolator(times, values)(asked.clip(0, 6))
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


# ---------------------------------------------------------------- ridge


def test_ridge_is_scikit_learns_with_the_penalty_of_least_error():
    random = np.random.default_rng(0)
    columns, folds = random.normal(size=(120, 8)), np.arange(120) % N_FOLDS
    target = columns @ random.normal(size=8) + random.normal(size=120) * 3

    def fit(penalty, rows):
        model = SklearnRidge(alpha=penalty * len(rows), fit_intercept=False)
        return model.fit(columns[rows], target[rows])

    errors = []
    for penalty in PENALTIES:
        left_out = [np.flatnonzero(folds == fold) for fold in range(N_FOLDS)]
        parts = [(fit(penalty, np.flatnonzero(folds != fold)), rows) for fold, rows in enumerate(left_out)]
        errors.append(
            sum(((model.predict(columns[rows]) - target[rows]) ** 2).sum() for model, rows in parts)
        )
    expected = fit(PENALTIES[int(np.argmin(errors))], np.arange(120)).coef_
    np.testing.assert_allclose(_ridge(columns, target, folds, n_free=0), expected, rtol=1e-7)


def fit_ridge(asked, **settings):
    contexts, codes, times, truth = asked
    return Ridge(**settings).fit(
        contexts,
        codes,
        times,
        truth,
        series=codes,
        default=np.zeros(truth.shape[1]),
        generator=np.random.default_rng(0),
    )


def two_channels(n_series, seed):
    """The first channel drifts at the rate that the second shows, which can't be told from its own past."""
    random = np.random.default_rng(seed)
    series, codes, times, truth = [], [], [], []
    for number in range(n_series):
        known = np.sort(random.uniform(0, 5, 8))
        rate = random.normal()
        level = random.normal() + np.zeros(8)
        series.append((known, np.column_stack([level, np.full(8, rate)])))
        leads = random.uniform(0.1, 4, 5)
        codes += [number] * 5
        times += list(known[-1] + leads)
        truth += [[level[-1] + rate * lead, rate] for lead in leads]
    return Contexts.of(series), np.array(codes), np.array(times), np.array(truth)


def test_ridge_learns_from_other_channels_and_the_lead_time():
    fitted = fit_ridge(two_channels(200, seed=0), forecasts=True)
    contexts, codes, times, truth = two_channels(50, seed=1)
    error = fitted.predict(contexts, codes, times, np.zeros(2)) - truth
    trivial = baselines.last_value(contexts, codes, times, np.zeros(2)) - truth
    assert np.sqrt((error[:, 0] ** 2).mean()) < 0.02 * np.sqrt((trivial[:, 0] ** 2).mean())


def curves(n_series, seed, forecasts):
    """Straight lines, or parabolas with a point hidden."""
    random = np.random.default_rng(seed)
    series, codes, times, truth = [], [], [], []
    for number in range(n_series):
        known = np.arange(6.0)
        level, rate, bend = random.normal(size=3)
        bend = 0 if forecasts else bend

        def curve(t, level=level, rate=rate, bend=bend):
            return level + rate * t + bend * t * t

        series.append((known, curve(known)[:, None]))
        asked = 5 + random.uniform(0.2, 3, 4) if forecasts else np.array([1.5, 2.5, 3.5])
        codes += [number] * len(asked)
        times += list(asked)
        truth += [[value] for value in curve(asked)]
    return Contexts.of(series), np.array(codes), np.array(times), np.array(truth)


@pytest.mark.parametrize("forecasts", [True, False])
def test_the_trivial_answers_are_among_ridges(forecasts):
    ridge = fit_ridge(curves(150, 0, forecasts), forecasts=forecasts)
    contexts, codes, times, truth = curves(40, 1, forecasts)
    error = ridge.predict(contexts, codes, times, np.zeros(1)) - truth
    base = (baselines.last_value if forecasts else baselines.linear)(
        contexts, codes, times, np.zeros(1)
    ) - truth
    assert np.sqrt((error**2).mean()) < 0.02 * np.sqrt((base**2).mean())


def basins(n_series, seed):
    """Two channels go to where the ring is on which they lie: no straight line and no parabola says so."""
    random = np.random.default_rng(seed)
    series, codes, times, truth = [], [], [], []
    for number in range(n_series):
        place = random.uniform(-2, 2, 2)
        series.append((np.arange(3.0), np.tile(place, (3, 1))))
        codes += [number] * 2
        times += [3.0, 4.0]
        way = np.sin(3 * np.hypot(*place))
        truth += [place + way * lead for lead in (1, 2)]
    return Contexts.of(series), np.array(codes), np.array(times), np.array(truth)


def test_radial_basis_functions_learn_what_products_cannot():
    error = {}
    for radial in (False, True):
        ridge = fit_ridge(basins(2000, seed=0), forecasts=True, radial=radial)
        contexts, codes, times, truth = basins(200, seed=1)
        found = ridge.predict(contexts, codes, times, np.zeros(2))
        error[radial] = np.sqrt(((found - truth) ** 2).mean())
        kept = Ridge.restored(True, ridge.learned(), 2)
        np.testing.assert_array_equal(kept.predict(contexts, codes, times, np.zeros(2)), found)
    assert error[True] < 0.5 * error[False]


def test_a_regression_of_before_that_knew_no_centres_is_read():
    asked = basins(200, seed=0)
    ridge, (contexts, codes, times, _) = fit_ridge(asked, forecasts=True), asked
    learned = {name: array for name, array in ridge.learned().items() if name != "centres"}
    kept = Ridge.restored(True, learned, 2)
    found = kept.predict(contexts, codes, times, np.zeros(2))
    np.testing.assert_array_equal(found, ridge.predict(contexts, codes, times, np.zeros(2)))


def test_nearness_is_a_bell_as_wide_as_the_space_asks():
    random = np.random.default_rng(0)
    factors, centres = random.normal(size=(5, 8)), random.normal(size=(3, 8))
    square = ((factors[:, None] - centres) ** 2).sum(-1)
    np.testing.assert_allclose(nearness(factors, centres), np.exp(-square / 8))
    assert nearness(factors, centres[:0]).shape == (5, 0)


@pytest.mark.parametrize(("n_moments", "n_centres"), [(199, 0), (300, 15), (9000, 100)])
def test_centres_are_as_many_as_the_moments_bear(n_moments, n_centres):
    random = np.random.default_rng(0)
    factors = random.normal(size=(n_moments, 4))
    centres = choose_centres(factors, random)
    assert len(np.unique(centres, axis=0)) == n_centres
    assert len(choose_centres(factors[:, :0], random)) == 0


def test_knots_are_no_closer_than_the_rounding_of_clocks():
    clock = np.float32(0.1) * np.arange(1, 16, dtype=np.float32)
    leads = (clock[:, None] - clock[None, :])[np.tril_indices(15, -1)].astype(float)
    assert len(np.unique(leads)) > 14  # some are the same but for rounding
    knots = knots_of(leads, 6)
    assert np.diff(knots).min() > 0.09
    assert knots[-1] == leads.max()


def test_radial_basis_functions_are_of_forecasts_only():
    with pytest.raises(ValueError, match="of what a forecast sees; leave out radial=True"):
        Ridge(forecasts=False, radial=True)


def test_ridge_of_few_values_is_its_base():
    _, contexts, codes, times = irregular()
    random = np.random.default_rng(2)
    for forecasts, base in ((True, "last_value"), (False, "linear")):
        later = times + 20 if forecasts else times
        truth = np.full((MIN_VALUES, 3), np.nan)
        truth[1:, 0] = random.normal(size=MIN_VALUES - 1)  # too few
        truth[:, 1] = random.normal(size=MIN_VALUES)
        ridge = Ridge(forecasts).fit(
            contexts,
            codes[:MIN_VALUES],
            later[:MIN_VALUES],
            truth,
            series=codes[:MIN_VALUES],
            default=DEFAULT,
            generator=np.random.default_rng(0),
        )
        found = ridge.predict(contexts, codes, later, DEFAULT)
        trivial = getattr(baselines, base)(contexts, codes, later, DEFAULT)
        np.testing.assert_allclose(found[:, [0, 2]], trivial[:, [0, 2]])
        assert np.abs(found[:, 1] - trivial[:, 1]).max() > 0.1


@pytest.mark.parametrize("forecasts", [True, False])
def test_ridge_of_many_channels_sees_those_that_are_observed_most(forecasts):
    """Each channel is what the fourth is, a while later; most are seen once in three times."""
    random = np.random.default_rng(0)
    n_channels, n_rows = MAX_OTHERS + 10, 8
    series = []
    for _ in range(60):
        values = random.normal(size=(n_rows, n_channels))
        values[:, 4:][random.random((n_rows, n_channels - 4)) < 2 / 3] = np.nan
        series.append((np.arange(float(n_rows)), values))
    contexts = Contexts.of(series)
    codes = np.arange(60).repeat(2)
    times = n_rows + 0.5 if forecasts else 3.5
    last = np.array([values[-1, 3] if forecasts else values[3:5, 3].mean() for _, values in series])[codes]
    truth = np.tile(last[:, None], n_channels)
    asked = contexts, codes, np.full(len(codes), times)
    default = np.zeros(n_channels)
    ridge = Ridge(forecasts).fit(*asked, truth, series=codes, default=default, generator=random)
    assert len(ridge.seen) == MAX_OTHERS + 1
    assert np.isin(np.arange(4), ridge.seen).all()
    error = ridge.predict(*asked, default) - truth
    assert np.sqrt(np.mean(error**2)) < 0.5 * truth.std()


def test_of_few_series_what_is_asked_again_lies_in_one_fold():
    series = np.array([0, 1, 0, 1, 0, 1, 0, 0])
    times = np.array([1.0, 5.0, 2.0, 6.0, 1.0, 5.0, 3.0, 2.0])
    folds = _folds(series, times, np.random.default_rng(0))
    places = set(zip(series, times, folds, strict=True))
    assert len(places) == 5  # as many as questions
    assert set(folds) == set(range(N_FOLDS))
    many = np.arange(20).repeat(3)
    folds = _folds(many, np.tile([0.0, 1.0, 2.0], 20), np.random.default_rng(0))
    assert (folds.reshape(20, 3) == folds[::3, None]).all()
    assert np.bincount(folds).tolist() == [12] * N_FOLDS


def test_ridge_meets_channels_and_contexts_without_values():
    _, contexts, codes, times = irregular(n_series=40)
    random = np.random.default_rng(1)
    truth = np.where(random.random((400, 3)) < 0.3, np.nan, random.normal(size=(400, 3)))
    for forecasts in (True, False):
        later = times + 20 if forecasts else times
        ridge = Ridge(forecasts).fit(
            contexts, codes, later, truth, series=codes, default=DEFAULT, generator=random
        )
        assert np.isfinite(ridge.predict(contexts, codes, later, DEFAULT)).all()
