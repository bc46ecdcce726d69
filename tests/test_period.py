"""The period of what turns, and how long spans then are: a day is found, and none where there is none."""

import re
import time

import numpy as np
import pandas as pd
import pytest
import torch

from latentode import LatentODE
from latentode.datasets import load_co2
from latentode.fitting.period import find_period, usual_span
from latentode.series import SeriesCollection

DAY = 24.0


def hours(n_rows, seed=0, kept=0.7):
    random = np.random.default_rng(seed)
    times = np.arange(n_rows) + random.uniform(-0.2, 0.2, n_rows)
    return times[random.random(n_rows) < kept]


def collection(*series):
    """Of pairs of times (N,) and values (N, D), NaN where missing."""
    times, values = (np.concatenate(parts) for parts in zip(*series, strict=True))
    starts = np.cumsum([0, *(len(one) for one, _ in series)])
    values = torch.from_numpy(values)
    return SeriesCollection(
        torch.from_numpy(times), values.nan_to_num(), ~values.isnan(), torch.from_numpy(starts)
    )


def daily(times, seed=0, noise=0.4, *, size=1.0):
    random = np.random.default_rng(seed)
    return (20 + size * np.sin(2 * np.pi * times / DAY) + random.normal(0, noise, len(times)))[:, None]


def span_of(series):
    period = find_period(series)
    return None if period is None else usual_span(series, period)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 3600.0])
def test_spans_of_a_daily_series_last_four_days(unit):
    times = hours(960)
    found = span_of(collection((unit * times, 1e8 + daily(times))))
    assert found == pytest.approx(4 * DAY * unit, rel=0.04)


def test_a_day_is_found_beside_a_trend_gaps_spikes_and_missing_values():
    random = np.random.default_rng(1)
    times = hours(1500)
    times = times[(times < 400) | (times > 520)]
    x = daily(times, size=2.0)[:, 0] + 0.05 * times
    x[::200] = 1e6  # a faulty reading
    slow = np.cumsum(random.normal(size=len(times)))
    values = np.stack([np.where(random.random(len(times)) < 0.4, np.nan, x), slow], axis=1)
    assert span_of(collection((times, values))) == pytest.approx(4 * DAY, rel=0.04)


def test_two_peaks_a_day_are_no_half_day():
    times = hours(960)
    values = daily(times) + 1.2 * np.sin(4 * np.pi * times / DAY)[:, None]
    assert span_of(collection((times, values))) == pytest.approx(4 * DAY, rel=0.04)


@pytest.mark.parametrize("n_rows", [257, 300, 513, 1024])
def test_a_short_period_leaves_a_span_some_rows(n_rows):
    times = np.arange(float(n_rows))
    assert span_of(collection((times, np.sin(2 * np.pi * times / 4)[:, None]))) == pytest.approx(32, rel=0.05)


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9, 1.0])
def test_noise_has_no_period(memory):
    random = np.random.default_rng(0)
    for _ in range(5):
        steps = random.normal(size=960)
        x = np.zeros(960)
        for row in range(1, 960):
            x[row] = memory * x[row - 1] + steps[row]
        assert span_of(collection((np.arange(960.0), x[:, None]))) is None


def test_bursts_of_readings_are_moments():
    random = np.random.default_rng(0)
    times = (
        np.arange(200.0)[:, None] + np.arange(8) / 60
    ).ravel()  # eight readings, a minute apart, each hour
    for _ in range(5):
        values = random.normal(size=200).repeat(8) + 0.01 * random.normal(size=1600)
        assert span_of(collection((times, values[:, None]))) is None


def test_of_many_series_and_channels_some_are_looked_at():
    random = np.random.default_rng(0)
    times = np.arange(1024.0)
    wide = random.normal(size=(1024, 3000)) + 2 * np.sin(2 * np.pi * times / DAY)[:, None]
    began = time.process_time()
    assert span_of(collection((times, wide))) == pytest.approx(4 * DAY, rel=0.04)
    # A minute, were all of them.
    assert time.process_time() - began < 20
    short = [(hours(20, seed), daily(hours(20, seed))) for seed in range(300)]
    assert span_of(collection(*short, (times, daily(times)), *short)) == pytest.approx(4 * DAY, rel=0.04)


def test_where_most_channels_are_not_periodic_spans_stay():
    times = hours(960)
    noise = np.random.default_rng(0).normal(size=(len(times), 2))
    assert span_of(collection((times, np.concatenate([daily(times), noise], axis=1)))) is None


def test_slow_constant_and_empty_series_have_no_period():
    slow = np.arange(1000.0)
    for values in (
        np.sin(2 * np.pi * slow / 200),
        np.zeros(1000),
        3 * slow,
        1.7e308 * np.sign(slow - 500),
        np.full(1000, np.nan),
    ):
        assert find_period(collection((slow, values[:, None]))) is None
    assert find_period(collection((np.zeros(0), np.zeros((0, 1))))) is None
    assert find_period(collection((np.zeros(1000), np.zeros((1000, 1))))) is None


def test_five_years_of_weeks_are_a_span_already():
    weeks = load_co2()
    elapsed = (weeks["time"] - weeks["time"].iloc[0]).dt.total_seconds().to_numpy()
    series = collection((elapsed, weeks[["co2"]].to_numpy()))
    assert find_period(series) == pytest.approx(365.25 * 86400, rel=0.01)
    assert span_of(series) is None


def test_a_fit_takes_it_and_what_is_asked_for_goes_first(tmp_path):
    times = hours(960)
    frame = pd.DataFrame(
        {"at": pd.Timestamp("2026-01-01") + pd.to_timedelta(times, "h"), "x": daily(times)[:, 0]}
    )
    model = LatentODE(time_col="at", max_iter=3, random_state=0).fit(frame)
    assert model.fitted_.longest == pytest.approx(4 * 86400, rel=0.04)
    assert re.fullmatch(r"(3\.9|4|4\.0)\d*d each, at most", model.summary().facts["spans"])
    model.save(tmp_path / "model")
    assert LatentODE.load(tmp_path / "model").fitted_.longest == model.fitted_.longest
    before = model.fitted_.longest
    model.set_params(warm_start=True).fit(frame.iloc[:200])  # too few for another
    assert model.fitted_.longest == before
    given = LatentODE(time_col="at", max_iter=3, random_state=0, span="10D").fit(frame)
    assert given.fitted_.longest == pytest.approx(10 * 86400)


def sensors(n_series=12, n_days=6, seed=0):
    random = np.random.default_rng(seed)
    frames = []
    for series in range(n_series):
        times = np.sort(random.uniform(0, 24 * n_days, 16 * n_days))
        angle = 2 * np.pi * (times + random.uniform(0, 24)) / DAY
        x = random.normal() + random.uniform(1, 3) * np.sin(angle) + random.normal(0, 0.4, len(times))
        frames.append(pd.DataFrame({"series": series, "hours": times, "x": x}))
    return pd.concat(frames, ignore_index=True)


def test_weaker_periods_count_where_several_series_agree():
    frame = sensors(8)
    frame["x"] = 1 / (1.1 + np.sin(2 * np.pi * frame["hours"] / DAY)) ** 0.5
    frame["x"] += np.random.default_rng(0).normal(0, 0.9 * frame["x"].std(), len(frame))
    parts = [(one["hours"].to_numpy(), one[["x"]].to_numpy()) for _, one in frame.groupby("series")]
    assert find_period(collection(*parts)) == pytest.approx(DAY, rel=0.03)
    assert find_period(collection(parts[0])) is None


def test_periods_that_do_not_agree_are_none():
    times = hours(150)
    parts = [
        (times, np.sin(2 * np.pi * times / period)[:, None] + daily(times, noise=0.1, size=0))
        for period in (6, 10, 15, 24, 36)
    ]
    assert find_period(collection(*parts)) is None
    assert find_period(collection(parts[1])) == pytest.approx(10, rel=0.01)


@pytest.fixture(scope="module")
def fitted():
    return LatentODE("series", "hours", task="extrapolate", max_iter=3, random_state=0).fit(sensors())


def test_a_fit_tells_the_period_it_found_and_keeps_it(fitted, tmp_path):
    assert fitted.fitted_.period == pytest.approx(DAY, rel=0.01)
    assert fitted.summary().facts["period"].endswith("from which the field started")
    fitted.save(tmp_path / "model")
    loaded = LatentODE.load(tmp_path / "model")
    assert loaded.fitted_.architecture == fitted.fitted_.architecture
    again = sensors(seed=1).query("series < 2")
    pd.testing.assert_frame_equal(loaded.predict(again), fitted.predict(again))


def test_it_is_held_against_what_was_a_period_before(fitted):
    report = fitted.evaluate(sensors(seed=1), n_bootstrap=0)
    assert "seasonal naive" in report.table["predictor"].unique()
    assert "seasonal naive" in fitted.summary().validation.table["predictor"].unique()
    plain = LatentODE("series", "hours", period=None, max_iter=3, random_state=0).fit(sensors())
    assert plain.fitted_.period is None
    assert "period" not in plain.summary().facts
    assert "seasonal naive" not in plain.evaluate(sensors(seed=1), n_bootstrap=0).table["predictor"].unique()
    with pytest.raises(ValueError, match="'seasonal naive' needs a period, and this model has none"):
        plain.evaluate(sensors(seed=1), baselines=["seasonal naive"])


def test_a_period_can_be_told_and_a_warm_start_keeps_it():
    told = LatentODE("series", "hours", period=12.0, max_iter=3, random_state=0, task="extrapolate")
    told.fit(sensors())
    assert told.fitted_.period == pytest.approx(12.0)
    architecture = told.fitted_.architecture
    told.set_params(warm_start=True).fit(sensors())
    assert told.fitted_.architecture == architecture
    told.set_params(period="auto").fit(sensors(seed=2))
    assert told.fitted_.architecture == architecture
    with pytest.raises(ValueError, match=r"from a fit whose period was 12, and period=20.0; leave it 'auto'"):
        told.set_params(period=20.0).fit(sensors())


def test_far_times_are_told_in_spans():
    times = hours(960)
    frame = pd.DataFrame({"hours": times, "x": daily(times)[:, 0]})
    model = LatentODE(time_col="hours", max_iter=3, random_state=0).fit(frame)
    with pytest.warns(
        UserWarning, match=r"up to 4\.\d* times the span that it was trained in away .* a longer `span`"
    ):
        model.predict(frame, times=[times[-1] + 4.2 * 96])


@pytest.mark.parametrize(
    ("period", "message"),
    [
        (0.1, r"period=0.1 is too short: what one z0 answers for, .*, would hold .* and 64 are the most"),
        (1e4, r"period=10000 is too long: no series lasts more than 14\d"),
        ("Auto", "period must be a length of time, 'auto' or None; got 'Auto'"),
    ],
)
def test_periods_of_no_use_are_refused(period, message):
    with pytest.raises(ValueError, match=message):
        LatentODE("series", "hours", period=period, max_iter=3).fit(sensors())


@pytest.mark.parametrize("sizes", [{"latent_dim": 1}, {"field_units": (3,)}])
def test_states_that_can_not_turn_are_left_to_training_with_a_warning(sizes):
    with pytest.warns(UserWarning, match="a model of these sizes can't start from that"):
        model = LatentODE("series", "hours", max_iter=3, random_state=0, **sizes).fit(sensors())
    assert model.fitted_.period is None


@pytest.mark.parametrize(("sizes", "n_turning"), [({"latent_dim": 2}, 2), ({}, 6), ({"latent_dim": 7}, 4)])
def test_each_channel_has_a_pair_as_far_as_they_go(sizes, n_turning):
    frame = sensors(6).assign(y=lambda one: one["x"] ** 2, z=lambda one: -one["x"])
    model = LatentODE("series", "hours", max_iter=1, dtype="float64", random_state=0, **sizes).fit(frame)
    field, n = model.module_.field, model.module_.encoder.latent_dim
    jacobian = torch.autograd.functional.jacobian(
        lambda z: field(torch.tensor(0.0), z), torch.zeros(n, dtype=torch.float64)
    )
    speed = 2 * np.pi / model.fitted_.architecture.period
    turning = torch.linalg.eigvals(jacobian).imag.abs() > 0.9 * speed
    assert int(turning.sum()) == n_turning
    assert model.history_["solver_error"].iloc[0] < 3e-3  # knots suit the turns from the first step on


def test_of_a_period_that_others_hold_too_often_nothing_is_made():
    random = np.random.default_rng(0)
    rare = [
        pd.DataFrame({"series": n, "hours": np.linspace(0, 4000, 12), "x": random.normal(size=12)})
        for n in range(5)
    ]
    times = hours(200)
    dense = pd.DataFrame({"series": 9, "hours": times, "x": daily(times, noise=0.1)[:, 0] - 20})
    frame = pd.concat([*rare, dense], ignore_index=True)
    model = LatentODE("series", "hours", max_iter=2, random_state=0).fit(frame)
    assert model.fitted_.period is None
    with pytest.raises(ValueError, match="period=24 is too short"):
        LatentODE("series", "hours", period=24.0, max_iter=2).fit(frame)
