"""An evaluation of what came after a time: one long series is judged on rows that its fit has not seen."""

import warnings

import numpy as np
import pandas as pd
import pytest

from latentode import LatentODE
from latentode.evaluation.tally import MODEL
from tests.test_evaluation import ask, lines, of, renamed

START = pd.Timestamp("2024-03-30", tz="Europe/Berlin")  # the clocks go forward a day later


@pytest.fixture(scope="module")
def log():
    """A sensor log of one series that is longer than a span, a value in seven missing."""
    random = np.random.default_rng(0)
    hours = np.cumsum(random.exponential(0.5, 420))
    values = np.stack([np.sin(hours / 4), np.cos(hours / 7)], axis=1) + random.normal(0, 0.1, (420, 2))
    values[random.random(values.shape) < 1 / 7] = np.nan
    return pd.DataFrame({"hours": hours, "load": values[:, 0], "heat": values[:, 1]}).dropna(how="all")


@pytest.fixture(scope="module")
def cut(log):
    return float(log.hours.iloc[299])


@pytest.fixture(scope="module")
def of_log(log, cut):
    known = log[log.hours <= cut]
    return LatentODE(time_col="hours", max_iter=3, residual="ou", random_state=0).fit(known)


def single(n_rows=10):
    return pd.DataFrame(
        {"id": 0, "hours": np.arange(n_rows, dtype=float), "x": np.arange(n_rows, dtype=float)}
    )


# ---------------------------------------------------------------- what is asked


def test_forecasts_are_those_of_predict_on_cut_frames(of_log, log, cut):
    settings = {"leads": [4.0, 12.0], "level": 90, "n_origins": 3, "n_bootstrap": 0}
    report = of_log.evaluate(log, after=cut, task="extrapolate", **settings)
    observed = log.dropna(subset=["load", "heat"], how="all").reset_index(drop=True)
    n_known = int((observed.hours <= cut).sum())
    n_later = len(observed) - n_known
    errors, inside, naive = [], [], []
    for number in range(3):
        n_shown = n_known + number * n_later // 3
        shown, hidden = observed.iloc[:n_shown], observed.iloc[n_shown:]
        hidden = hidden[hidden.hours <= shown.hours.iloc[-1] + 12.0]
        told = of_log.predict(shown, times=hidden.hours, level=90).reset_index(drop=True)
        truth = hidden.reset_index(drop=True)
        errors.append((told - truth)[["load", "heat"]])
        naive.append(shown[["load", "heat"]].ffill().iloc[-1] - truth[["load", "heat"]])
        covered = (told["load-lo-90"] <= truth.load) & (truth.load <= told["load-hi-90"])
        inside.append(covered[truth.load.notna()])
    errors, naive = pd.concat(errors), pd.concat(naive)
    ours = report.table.query("predictor == @MODEL and lead == 'all'").set_index("channel")
    trivial = report.table.query("predictor == 'last value' and lead == 'all'").set_index("channel")
    for channel in ("load", "heat"):
        assert ours.n_values[channel] == errors[channel].notna().sum() > 20
        # The model answers in float32, several contexts at a time here.
        np.testing.assert_allclose(ours.rmse[channel], np.sqrt((errors[channel] ** 2).mean()), rtol=1e-4)
        np.testing.assert_allclose(ours.mae[channel], errors[channel].abs().mean(), rtol=1e-4)
        np.testing.assert_allclose(trivial.rmse[channel], np.sqrt((naive[channel] ** 2).mean()), rtol=1e-9)
    assert ours["coverage-90"]["load"] == pd.concat(inside).mean()


def test_origins_begin_at_the_time_and_spread_over_what_follows():
    report, oracle = ask(single(), after=5.5, n_origins=2)
    ((table, questions),) = oracle.asked
    # Six rows are known, and four follow: origins after six and eight.
    assert np.bincount(table.codes).tolist() == [6, 8]
    assert questions.instants.whole.tolist() == [6, 7, 8, 9, 8, 9]
    assert of(report, MODEL, "n_values").tolist() == [6]
    on_a_row, other = ask(single(), after=5.0, n_origins=2)  # a row at the very time is known
    pd.testing.assert_frame_equal(on_a_row.table, report.table)
    np.testing.assert_array_equal(other.asked[0][0].values, table.values)
    # More origins than rows: one for each, and the last row is asked too.
    assert ask(single(), after=5, n_origins=9)[0].scopes["extrapolate"].n_contexts == 4
    assert ask(single(), after=8, n_origins=9)[0].scopes["extrapolate"].n_contexts == 1


def test_an_origin_stands_at_the_last_row_that_holds_a_value():
    frame = single()
    frame.loc[[4, 5], "x"] = np.nan
    _, oracle = ask(frame, after=5.0, n_origins=1)
    ((table, _),) = oracle.asked
    assert table.times.whole.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("hide", [0.3, 0.6])
def test_rows_are_hidden_after_the_time_alone(hide):
    frame = single(30)
    _, oracle = ask(frame, tasks=("interpolate",), after=19.0, hide=hide, n_origins=4)
    ((table, questions),) = oracle.asked
    hidden = {}
    for code in range(4):
        shown = set(table.times.whole[table.codes == code])
        hidden[code] = set(questions.instants.whole[questions.codes == code])
        assert shown | hidden[code] == set(range(30))
        assert not shown & hidden[code]
        assert len(hidden[code]) == round(hide * 10)
        assert min(hidden[code]) > 19
        assert 29 in shown
    assert len({frozenset(rows) for rows in hidden.values()}) > 1


@pytest.mark.parametrize("task", ["extrapolate", "interpolate"])
def test_a_time_before_all_rows_changes_nothing(task):
    frame = lines(missing=0.2)
    before, after = (ask(frame, tasks=(task,), **more)[0] for more in ({}, {"after": -1.0}))
    pd.testing.assert_frame_equal(before.table, after.table)
    assert before.scopes == after.scopes


def test_series_without_rows_enough_are_left_out_and_said_to_be():
    frame = pd.concat(
        [single().assign(id=name, hours=np.arange(10.0) + late) for name, late in enumerate([-20, 0.1, 4.2])]
    )
    report, oracle = ask(frame, after=9, n_origins=1)
    assert [len(table.ids) for table, _ in oracle.asked] == [2]
    assert (report.scopes["extrapolate"].n_series, report.scopes["extrapolate"].n_short) == (2, 1)
    told = "Extrapolation after 9: 2 series, 2 origins; 1 series of too few rows after it left out"
    assert report.summary().splitlines()[0] == told
    assert told in report._repr_html_()
    # A single row behind the time has nothing behind it to lie between.
    between, _ = ask(frame, tasks=("interpolate",), after=9)
    assert (between.scopes["interpolate"].n_series, between.scopes["interpolate"].n_short) == (1, 2)


def test_of_a_single_series_there_are_no_intervals(of_log, log, cut):
    report = of_log.evaluate(log, after=cut, leads=1, horizon=12.0)
    assert set(report.scopes) == {"extrapolate", "interpolate"}
    assert report.table[["rmse-lo", "skill-lo"]].isna().all(axis=None)
    assert "Without intervals, for want of series, the latent ODE beats" in str(report)
    assert f"Interpolation after {cut}: 1 series, 5 random hidings" in str(report)


# ---------------------------------------------------------------- what train may hold


def test_train_may_hold_what_came_before_and_is_told_of_what_came_later(of_log, log, cut):
    settings = {"after": cut, "task": "extrapolate", "leads": [6.0], "n_bootstrap": 0}
    known = log[log.hours <= cut]
    assert "ridge" in set(of_log.evaluate(log, train=known, **settings).table.predictor)
    leak = (
        r"1 of 1 series to evaluate on have rows after \d.* in train as well, .* Fit to rows up to that time"
    )
    for later in (log, log.iloc[: len(known) + 3]):  # however few
        with pytest.warns(UserWarning, match=leak) as told:
            of_log.evaluate(log, train=later, **settings)
        assert told[0].filename == __file__
    # Without it the fit's own rows are told of as ever.
    with pytest.warns(UserWarning, match="1 of 1 series to evaluate on are in train as well"):
        of_log.evaluate(log, train=known, task="extrapolate", leads=[6.0], n_bootstrap=0)


def test_other_series_of_the_same_name_may_have_later_rows():
    frame = lines()
    other = frame.assign(x=frame.x + 1)
    other.loc[other.index[-1], "x"] -= 1  # one row alike, by chance
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ask(frame, training=other, after=5.0)
        ask(frame, training=frame[frame.hours <= 5.0], after=5.0)
    with pytest.warns(UserWarning, match="8 of 8 series to evaluate on have rows after 5.0 in train as well"):
        ask(frame, training=frame, after=5.0)


def test_ridge_is_fitted_to_all_of_train(fitted, frame):
    settings = {"task": "extrapolate", "leads": [2.0], "n_bootstrap": 0, "baselines": ["ridge"]}
    known = renamed(frame[frame.hours <= 6.0])  # nothing in it is after the time
    report = fitted.evaluate(frame, after=6.0, train=known, **settings)
    assert report.table.rmse.notna().all()


# ---------------------------------------------------------------- clocks


@pytest.fixture(scope="module")
def dated():
    random = np.random.default_rng(0)
    times = START + pd.to_timedelta(np.arange(160) * 30, "min")
    return pd.DataFrame({"at": times, "x": np.sin(np.arange(160) / 9) + random.normal(0, 0.1, 160)})


def fit_of(frame):
    return LatentODE(time_col="at", max_iter=1, residual="ou", random_state=0).fit(frame)


def test_dates_are_read_with_their_zone(dated):
    cut = dated["at"].iloc[109]
    assert cut.utcoffset() != START.utcoffset()
    model = fit_of(dated[dated["at"] <= cut])
    settings = {"task": "extrapolate", "leads": ["6h"], "n_bootstrap": 0}
    expected = model.evaluate(dated, after=cut, **settings)
    assert expected.after == "2024-04-01 07:30:00+02:00"
    for same in (
        "2024-04-01 07:30+02:00",
        "2024-04-01T05:30Z",
        cut.tz_convert("Asia/Tokyo"),
        cut.to_pydatetime(),
    ):
        found = model.evaluate(dated, after=same, **settings)
        pd.testing.assert_frame_equal(found.table, expected.table)
        assert found.after == expected.after
    # As does a clock of plain lengths of time.
    ages = dated.assign(at=dated["at"] - START)
    of_ages = fit_of(ages[ages["at"] <= cut - START])
    for same in (cut - START, "54.5h", np.timedelta64(3270, "m")):
        found = of_ages.evaluate(ages, after=same, **settings)
        assert found.after == "2 days 06:30:00"
        np.testing.assert_array_equal(found.table.n_values, expected.table.n_values)


def test_index_clocks_of_periods_are_read(dated):
    frame = pd.DataFrame({"x": dated.x.to_numpy()}, index=pd.period_range("2014-01", periods=160, freq="M"))
    model = LatentODE(max_iter=1, residual="ou", random_state=0).fit(frame[:"2022-12"])
    settings = {"task": "extrapolate", "leads": 1, "n_origins": 1, "n_bootstrap": 0}
    report = model.evaluate(frame, after=pd.Period("2022-12", "M"), **settings)
    assert of(report, MODEL, "n_values").tolist() == [52]
    same = model.evaluate(frame, after="2022-12", **settings)
    pd.testing.assert_frame_equal(report.table, same.table)


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"after": "2024-03-31"},
            TypeError,
            r"after holds text, not times; .* give a number in the unit of the data's times$",
        ),
        (
            {"after": pd.Timestamp("2024-03-31")},
            TypeError,
            "after holds times of kind 'datetime', where the model's are of kind 'number'; give a number",
        ),
        ({"after": pd.Timedelta("6h")}, TypeError, "kind 'timedelta', where .* 'number'; give a number"),
        ({"after": [5.0]}, TypeError, "after must be a single time; got a list"),
        ({"after": {"p0": 5.0}}, TypeError, "after must be a single time; got a dict"),
        ({"after": True}, TypeError, "after has dtype bool, which is no time"),
        ({"after": np.nan}, ValueError, "after must be a finite time; got nan"),
        ({"after": np.inf}, ValueError, "after must be a finite time; got inf"),
        (
            {"after": 1000.0},
            ValueError,
            r"nothing was observed after 1000.0: the last row that holds a value is at 9\.\d+$",
        ),
    ],
    ids=str,
)
def test_mistakes_are_explained(fitted, frame, settings, error, message):
    with pytest.raises(error, match=message):
        fitted.evaluate(frame, **settings)


def test_too_few_rows_after_the_time_are_told_of():
    message = (
        "to interpolate, a series needs 3 observed rows at least, 2 of them after 8.0, and none of 1 has them"
    )
    with pytest.raises(ValueError, match=message):
        ask(single(), tasks=("interpolate",), after=8.0)
    with pytest.raises(ValueError, match=r"nothing was observed after 9.0: the last row .* is at 9.0$"):
        ask(single(), after=9.0)


def test_dates_of_another_kind_are_named(dated):
    model = fit_of(dated)
    for wrong in ("2024-03-31 12:00", pd.Timestamp("2024-03-31")):
        with pytest.raises(
            TypeError,
            match=r"after holds datetimes without a time zone, .*; write the offset, e.g. .*, or "
            r"pd.Timestamp\(after\).tz_localize\('Europe/Berlin'\), if they are of the data's zone",
        ):
            model.evaluate(dated, after=wrong)
    with pytest.raises(TypeError, match=r"kind 'number', where .* 'datetime'; write a date such as '2026-"):
        model.evaluate(dated, after=5)
    with pytest.raises(
        TypeError, match="after holds text that is no ISO 8601 date; one is 'noon'; write dates"
    ):
        model.evaluate(dated, after="noon")
    with pytest.raises(
        ValueError, match=r"nothing was observed after 2025-01-01 00:00:00\+01:00: .* is at 2024-04-02 "
    ):
        model.evaluate(dated, after=pd.Timestamp("2025-01-01", tz="Europe/Berlin"))
