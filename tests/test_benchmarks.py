"""The benchmarks run, and what they claim holds."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.physionet_rivals import last_value
from benchmarks.physionet_task import data_folder, load, scores, split

ROOT = Path(__file__).parents[1]

SIZES = {
    "n_channels",
    "n_rows",
    "latent_dim",
    "field_units",
    "encoder_units",
    "grid",
    "observed",
    "knot_spacing",
}
OURS = [
    "fused, coarser",
    "fused",
    "fused, finer",
    "torchdiffeq",
    "torchdiffeq, packed GRU",
]
SPREAD = {"ms", "ms_min", "ms_max", "ms_system"}


@pytest.fixture(scope="module")
def speed(tmp_path_factory):
    path = tmp_path_factory.mktemp("benchmarks") / "speed.json"
    command = [sys.executable, "-m", "benchmarks.speed", "--quick", "--out", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text())


@pytest.mark.slow
def test_speed_reports_every_figure(speed):
    assert speed["command"] == "python -m benchmarks.speed --quick"
    assert speed["settings"]["threads"] == 1
    assert set(speed["versions"]) == {"python", "torch", "torchdiffeq", "latentode"}
    assert list(speed["workloads"]) == ["W1", "W2", "W3"]
    for workload in speed["workloads"].values():
        assert set(workload) == SIZES | {"knot_spacing", "rows", "goals"}
        rows = [row["row"] for row in workload["rows"]]
        assert rows == [*OURS, "arithmetic alone"]
        for row in workload["rows"]:
            exactness = {"gradient_error"} if row["row"] in OURS else set()
            assert set(row) == SPREAD | {"series", "row"} | exactness
            assert 0 < row["ms_min"] <= row["ms"] <= row["ms_max"]
    assert [row["grids"] for row in speed["distinct_times"]] == [1, 10, 100]
    # Random times of float32: two of them may coincide.
    assert [row["distinct_times"] for row in speed["distinct_times"]] == pytest.approx(
        [50, 482, 4802], rel=1e-2
    )
    learns = [(row["workload"], row["learns"]) for row in speed["residual"]]
    assert learns == [(name, how) for name in ("W1", "W2", "W3") for how in ("jointly", "one by one")]
    assert [row["series"] for row in speed["growth"]["series"]] == [10, 100, 1000]
    assert [row["observations"] for row in speed["growth"]["observations"]] == [10, 50, 200]
    assert [row["horizon"] for row in speed["growth"]["horizon"]] == [1, 8]


@pytest.mark.slow
def test_gradients_that_are_timed_are_right(speed):
    # Training keeps trajectories within 1e-3; their gradients err by a few times that.
    for name, workload in speed["workloads"].items():
        for row in workload["rows"][1 : len(OURS)]:  # all but the one with fewer knots than training took
            assert row["gradient_error"] < 1e-2, f"{name}, {row['row']}"


@pytest.mark.slow
def test_no_step_is_faster_than_its_arithmetic(speed):
    for workload in speed["workloads"].values():
        spent = {row["row"]: row["ms_min"] for row in workload["rows"]}
        assert spent["arithmetic alone"] < min(spent[row] for row in OURS)


@pytest.mark.slow
def test_a_step_costs_the_same_however_many_times_are_distinct(speed):
    # A hundred times as many distinct times; 1.5 is what medians differ by on a busy machine.
    spent = [row["ms"] for row in speed["distinct_times"]]
    assert max(spent) < 1.5 * min(spent)


def run_quickly(module, path, *arguments):
    command = [sys.executable, "-m", f"benchmarks.{module}", "--quick", "--out", str(path), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(path.read_text()) if path.exists() else None


@pytest.mark.slow
@pytest.mark.parametrize("part", ["test", "validation"])
def test_spirals_are_scored_beside_the_best_that_can_be(tmp_path, part):
    arguments = ["--validation"] if part == "validation" else []
    table, kept = run_quickly("spirals", tmp_path / "spirals.json", *arguments)
    assert kept["about"] == {"scored_on": part, "quick": True}
    assert kept["command"] == " ".join(
        ["python -m benchmarks.spirals --quick --out", str(tmp_path / "spirals.json"), *arguments]
    )
    (run,) = kept["runs"]
    rows = run["rows"]
    assert list(rows)[-2:] == ["Bayes-optimal (curves known)", "latent ODE"]
    assert rows["latent ODE"]["interpolation"] > rows["Bayes-optimal (curves known)"]["interpolation"]
    assert 0 < rows["latent ODE"]["interpolation_coverage"] <= 1
    assert all(row in table for row in rows)


@pytest.mark.slow
def test_seeds_of_two_commands_are_merged(tmp_path):
    path = tmp_path / "plain.json"
    run_quickly("plain", path)
    table, kept = run_quickly("plain", path, "--seeds", "1", "--merge")
    assert [run["seed"] for run in kept["runs"]] == [0, 1]
    assert "spread of seeds" in table
    assert "CAUTION" not in table


@pytest.mark.slow
def test_storms_keep_a_run_for_each_figure_and_seed(tmp_path):
    table, kept = run_quickly("storms", tmp_path / "storms.json")
    assert kept["about"] == {"scored_on": "test", "quick": True, "n_forecasts": 260}
    rows = {run["figure"]: run["rows"] for run in kept["runs"]}
    assert {run["seed"] for run in kept["runs"]} == {0}
    for score in ("track_km", "wind_kt"):
        found, gap = rows[score], rows[f"{score}_minus_quadratic_ridge"]
        assert all(name in table for name in found)
        for lead, value in gap["difference"].items():
            assert value == pytest.approx(found["latent ODE"][lead] - found["quadratic ridge"][lead])
            assert gap["low"][lead] < value < gap["high"][lead]
    assert "in 1 fits" in table


@pytest.mark.slow
def test_the_hopper_answers_both_questions(tmp_path):
    # A pendulum's worth of smooth channels in place of the simulation.
    random = np.random.default_rng(0)
    phase = random.uniform(0, 6, (10_000, 1, 14)).astype(np.float32)
    np.savez(
        tmp_path / "hopper.npz", states=np.sin(phase + np.linspace(0, 5, 200, dtype=np.float32)[:, None])
    )
    _, kept = run_quickly("hopper", tmp_path / "hopper.json", "--data", str(tmp_path / "hopper.npz"))
    assert [run["question"] for run in kept["runs"]] == ["extrapolation", "interpolation"]
    for run in kept["runs"]:
        assert {"last value", "ridge", "latent ODE"} <= set(run["rows"])
        assert ("Gaussian process" in run["rows"]) == (run["question"] == "interpolation")
        assert np.isfinite(run["rows"]["latent ODE"]["mse 10 %"])


@pytest.mark.slow
def test_a_series_of_seasons_is_asked_beside_what_was_a_period_before(tmp_path):
    _, kept = run_quickly("seasons", tmp_path / "seasons.json")
    (run,) = kept["runs"]
    assert run["table"] == "weekly CO2"
    assert run["period"] == pytest.approx(1, abs=0.02)  # a year
    assert set(run["rows"]) == {"latent ODE", "seasonal naive", "last value", "series mean"}
    assert run["rows"]["seasonal naive"]["rmse"] == pytest.approx(0.306, abs=0.001)
    assert 0 <= run["rows"]["latent ODE"]["coverage"] <= 1


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("hopper", ["--data", "nowhere.npz"]),
        ("physionet", ["--data", "nowhere"]),
        ("mortality", ["--data", "nowhere"]),
    ],
)
@pytest.mark.slow
def test_without_data_a_benchmark_says_so_and_ends(tmp_path, module, arguments):
    said, kept = run_quickly(module, tmp_path / "none.json", *arguments)
    assert said.startswith("skipped: ")
    assert kept is None


needs_physionet = pytest.mark.skipif(data_folder() is None, reason="the PhysioNet 2012 data are not there")


@pytest.mark.slow
@needs_physionet
def test_the_last_value_of_intensive_care_is_what_was_measured():
    # Measured independently: 6.76/3.80, 6.91/3.94 and 6.42/3.73 on splits 42, 0 and 1.
    stays = load(data_folder())
    for seed, (mse, mae) in {42: (6.76, 3.80), 0: (6.91, 3.94), 1: (6.42, 3.73)}.items():
        task = split(stays, seed)
        truth = task.test.truth[stays.channels].to_numpy(dtype=float)
        found = scores(truth, last_value(task.train, task.test)["predicted"], task.span)
        assert found["mse"] == pytest.approx(mse, abs=0.02)
        assert found["mae"] == pytest.approx(mae, abs=0.02)


@pytest.mark.slow
@needs_physionet
@pytest.mark.parametrize("module", ["physionet", "mortality"])
def test_intensive_care_is_scored_beside_its_rivals(tmp_path, module):
    table, kept = run_quickly(module, tmp_path / "care.json", "--validation")
    assert kept["about"]["scored_on"] == "validation"
    (run,) = kept["runs"]
    assert all(np.isfinite(list(scored.values())).all() for scored in run["rows"].values())
    assert all(row in table for row in run["rows"])


@pytest.mark.slow
def test_ablations_change_one_setting_at_a_time(tmp_path):
    _, kept = run_quickly("ablations", tmp_path / "ablations.json", "--problems", "spirals")
    assert kept["about"]["scored_on"] == "validation"
    assert {run["variant"] for run in kept["runs"]} == {"as used", "residual=None"}
