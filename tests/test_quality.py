"""Training reaches what it should: better than the trivial answers on data that no fit has seen."""

import numpy as np
import pandas as pd
import pytest

from examples.storm_tracks import forecast, make_model
from latentode import LatentODE
from latentode.datasets import load_storms, make_oscillator
from latentode.demo.storm_rivals import RIVALS
from latentode.demo.storm_task import error_table, forecast_origins, split_by_season, with_time_of_year

pytestmark = pytest.mark.slow


def interpolated(observed: pd.DataFrame, asked: pd.DataFrame, column: str) -> np.ndarray:
    """Linear interpolation within each series, the nearest value outside."""
    values = np.empty(len(asked))
    for series, rows in asked.groupby("series").groups.items():
        known = observed[observed.series == series].dropna(subset=[column]).sort_values("time")
        places = asked.index.get_indexer(rows)
        values[places] = np.interp(asked.loc[rows, "time"], known["time"], known[column])
    return values


def test_an_oscillator_is_interpolated_and_extrapolated():
    observed, _ = make_oscillator(n_series=200, n_observed=25, observe_until=7.0, noise=0.1, seed=0)
    unseen, truth = make_oscillator(n_series=60, n_observed=25, observe_until=7.0, noise=0.1, seed=1)
    model = LatentODE("series", "time", max_iter=800, random_state=0).fit(observed)
    found = model.predict(unseen, times=truth[["series", "time"]], level=90)
    last = unseen.groupby("series").time.transform("max").groupby(unseen.series).max()
    beyond = (truth.time > truth.series.map(last)).to_numpy()
    for column in ("position", "velocity"):
        error = (found[column] - truth[column]).to_numpy()
        trivial = interpolated(unseen, truth, column) - truth[column].to_numpy()
        inside = (
            (truth[column] > found[f"{column}-lo-90"]) & (truth[column] < found[f"{column}-hi-90"])
        ).mean()
        # The clean curve lies inside a band for noisy values more often than the noisy values do.
        assert inside > 0.85
        assert np.sqrt(np.mean(error[~beyond] ** 2)) < 0.8 * np.sqrt(np.mean(trivial[~beyond] ** 2))
        assert np.sqrt(np.mean(error[beyond] ** 2)) < 0.4 * np.sqrt(np.mean(trivial[beyond] ** 2))


def test_storms_are_forecast_better_than_by_the_trivial_answers():
    train, _, test = split_by_season(with_time_of_year(load_storms()))
    test = test[test.storm.isin(test.storm.unique()[::2])]
    model = make_model(max_iter=800, verbose=0).fit(train)
    contexts, truth = forecast_origins(test)
    predictions = {
        name: RIVALS[name]().fit(contexts, truth).predict(contexts, truth)
        for name in ("last value", "constant velocity")
    }
    table = error_table(truth, predictions | {"ours": forecast(model, contexts, truth)}, n_bootstrap=50)
    ours = table.loc["ours"]
    for rival in predictions:
        for lead in (24, 48):
            assert ours.track_km[lead] < table.loc[rival].track_km[lead], (rival, lead)
            assert ours.wind_kt[lead] < table.loc[rival].wind_kt[lead], (rival, lead)
    assert ours.track_km[6] < 1.1 * table.loc["constant velocity"].track_km[6]
    coverage = ours[["lat-in-90", "long-in-90", "wind-in-90"]].to_numpy()
    assert ((coverage > 0.8) & (coverage < 0.985)).all()


def blood_samples(n_patients: int, seed: int) -> pd.DataFrame:
    """Concentrations after one dose by mouth, ten samples a patient: close together while it rises, then far apart."""
    random = np.random.default_rng(seed)
    hours = np.array([0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 6.0, 9.0, 12.0, 24.0])
    frames = []
    for patient in range(n_patients):
        drawn = np.sort(hours * random.uniform(0.9, 1.1, len(hours)))
        absorbed, cleared, volume = np.exp(random.normal(np.log([1.5, 0.09, 0.45]), 0.25))
        clean = (
            absorbed / (absorbed - cleared) / volume * (np.exp(-cleared * drawn) - np.exp(-absorbed * drawn))
        )
        noisy = 5 * clean * np.exp(random.normal(0, 0.08, len(hours)))
        frames.append(pd.DataFrame({"patient": patient, "hours": drawn, "conc": noisy}))
    return pd.concat(frames, ignore_index=True)


@pytest.mark.parametrize("task", ["extrapolate", "interpolate"])
def test_ten_blood_samples_a_patient_are_enough(blood_model, task):
    model, unseen = blood_model
    table = model.evaluate(unseen, task=task, leads=1, n_bootstrap=0).table
    found = table.drop_duplicates("predictor").set_index("predictor")
    ours, trivial = found.rmse["latent ODE"], found.rmse.drop("latent ODE")
    assert ours < 0.9 * trivial.min(), found.rmse.to_dict()
    assert 0.8 < found["coverage-90"]["latent ODE"] < 0.97


@pytest.fixture(scope="module")
def blood_model():
    """By default settings; what two hundred other patients tell."""
    model = LatentODE("patient", "hours", max_iter=600, random_state=0).fit(blood_samples(200, seed=0))
    return model, blood_samples(60, seed=1)


# One long series ----------------------------------------------------------------------


def test_one_sensor_is_forecast_from_spans_of_its_past():
    """Two weeks of readings at odd minutes: a daily and a six-hourly swing, and a wandering load that is often not
    read. Forty forecasts of six hours from the last days, which the fit has not seen.
    """
    random = np.random.default_rng(0)
    minutes = np.sort(random.choice(14 * 24 * 60, 3000, replace=False))
    day = 2 * np.pi * minutes / (24 * 60)
    swing = 20 + 5 * np.sin(day) + 2 * np.sin(4 * day + 1) + random.normal(0, 0.3, 3000)
    load = np.where(random.random(3000) < 0.3, np.nan, 50 + np.cumsum(random.normal(0, 0.2, 3000)))
    times = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(minutes, unit="min")
    sensor = pd.DataFrame({"temperature": swing, "load": load}, index=pd.Index(times, name="time"))
    model = LatentODE(task="extrapolate", span="12h", max_iter=600, random_state=0).fit(sensor[:2400])
    assert (
        model.summary().facts["withheld"].startswith("3 parts of these series, which chose the weights too")
    )

    report = model.evaluate(
        sensor,
        after=sensor.index[2399],
        task="extrapolate",
        leads=["6h"],
        n_origins=40,
        level=90,
        baselines=["last value"],
    )
    skill = report.table.query("predictor == 'last value' and lead == 'all'").set_index("channel")["skill"]
    assert skill["temperature"] > 0.2
    assert skill["load"] > -0.1
    assert report.table.query("lead == 'all'")["coverage-90"].dropna().between(0.8, 0.99).all()


def test_days_of_many_sensors_are_foretold_though_each_has_a_phase_of_its_own():
    """Eight turns a series, of which nothing was learned from a field that did not turn at the start."""
    random = np.random.default_rng(0)
    frames = []
    for series in range(50):
        hours = np.sort(random.uniform(0, 24 * 8, 130))
        angle = 2 * np.pi * hours / 24 + random.uniform(0, 2 * np.pi)
        x = random.normal() + random.uniform(1, 4) * np.sin(angle) + random.normal(0, 0.4, len(hours))
        frames.append(pd.DataFrame({"series": series, "hours": hours, "x": x}))
    sensors = pd.concat(frames)
    known, unseen = sensors[sensors["series"] < 35], sensors[sensors["series"] >= 35]
    model = LatentODE("series", "hours", task="extrapolate", max_iter=400, random_state=0).fit(known)
    report = model.evaluate(unseen, train=known, leads=[48], n_bootstrap=0)
    error = report.table.query("lead == 'all'").set_index("predictor")["rmse"]
    assert error["latent ODE"] < 0.6 * min(error["ridge"], error["series mean"])
    assert error["latent ODE"] < error["seasonal naive"]


def test_a_day_is_found_in_what_a_sensor_measures():
    """A month of readings at odd hours, of which a part as long as 256 rows take would turn eleven times."""
    random = np.random.default_rng(0)
    hours = np.sort(random.uniform(0, 24 * 30, 700))
    sensor = pd.DataFrame(
        {"hours": hours, "x": 3 * np.sin(2 * np.pi * hours / 24) + random.normal(0, 0.4, 700)}
    )
    model = LatentODE(time_col="hours", task="extrapolate", max_iter=500, random_state=0)
    model.fit(sensor[sensor["hours"] < 24 * 24])
    report = model.evaluate(sensor, after=24 * 24.0, leads=[24], n_bootstrap=0)
    error = report.table.query("lead == 'all'").set_index("predictor")["rmse"]
    assert error["latent ODE"] < 0.7 * error["training mean"]
