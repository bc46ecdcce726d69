"""The benchmarks run, and what they claim holds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

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
        assert set(workload) == SIZES | {"knot_spacing", "rows"}
        rows = [row["row"] for row in workload["rows"]]
        assert rows == ["fused", "torchdiffeq", "torchdiffeq, packed GRU"]
        for row in workload["rows"]:
            assert set(row) == SPREAD | {"series", "row", "gradient_error"}
            assert 0 < row["ms_min"] <= row["ms"] <= row["ms_max"]
    assert [row["grids"] for row in speed["distinct_times"]] == [1, 10, 100]
    # Random times of float32: two of them may coincide.
    assert [row["distinct_times"] for row in speed["distinct_times"]] == pytest.approx(
        [50, 482, 4802], rel=1e-2
    )
    assert [row["workload"] for row in speed["residual"]] == ["W1", "W2", "W3"]
    assert [row["series"] for row in speed["growth"]["series"]] == [10, 100, 1000]
    assert [row["observations"] for row in speed["growth"]["observations"]] == [10, 50, 200]


@pytest.mark.slow
def test_gradients_that_are_timed_are_right(speed):
    # Training keeps trajectories within 1e-3; their gradients err by a few times that.
    for name, workload in speed["workloads"].items():
        for row in workload["rows"]:
            assert row["gradient_error"] < 1e-2, f"{name}, {row['row']}"


@pytest.mark.slow
def test_a_step_costs_the_same_however_many_times_are_distinct(speed):
    # A hundred times as many distinct times; 1.5 is what medians differ by on a busy machine.
    spent = [row["ms"] for row in speed["distinct_times"]]
    assert max(spent) < 1.5 * min(spent)
