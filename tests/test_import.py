"""What importing the package loads, and what it leaves for later."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

import latentode

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}


def run(code):
    found = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


def loaded(code):
    """The heavy libraries that some code has loaded."""
    heavy = "('torch', 'sklearn', 'scipy', 'pandas', 'numpy', 'matplotlib', 'torchdiffeq', 'tqdm')"
    return run(f"{code}\nimport sys\nprint(*[name for name in {heavy} if name in sys.modules])").split()


def test_the_bare_import_loads_nothing():
    assert loaded("import latentode") == []


def test_the_estimator_leaves_pictures_and_the_other_engine_for_later():
    found = loaded("from latentode import LatentODE")
    assert {"torch", "pandas"} <= set(found)
    assert not {"matplotlib", "torchdiffeq"} & set(found)


def test_building_blocks_need_no_pandas():
    assert not {"sklearn", "pandas", "matplotlib"} & set(
        loaded("from latentode import GRUEncoder, MLPField, Solver, elbo, train, SeriesBatch")
    )


def test_every_public_name_is_found_and_listed():
    assert {name for name in latentode.__all__ if not name.startswith("_")} == set(latentode._HOMES)
    for name in latentode.__all__:
        assert getattr(latentode, name) is not None
        assert name in dir(latentode)
    with pytest.raises(AttributeError, match="module 'latentode' has no attribute 'LatentOde'"):
        _ = latentode.LatentOde


def test_the_bound_is_a_function_whatever_was_imported_before():
    # The module that holds it has its name.
    after = "from latentode import elbo\nfrom latentode.elbo import Bound\nprint(type(elbo).__name__, Bound.__name__)"
    assert run(f"import latentode.training\n{after}") == "function Bound"
    assert run(after) == "function Bound"


@pytest.mark.slow
def test_importing_takes_little_longer_than_torch_does():
    """Medians of interleaved runs: the machine's other work falls on all alike."""
    codes = {"torch": "import torch", "package": "import latentode", "both": "import torch, latentode"}
    seconds = {name: [] for name in codes}
    for _ in range(7):
        for name, code in codes.items():
            began = time.perf_counter()
            run(code)
            seconds[name].append(time.perf_counter() - began)
    medians = {name: float(np.median(found)) for name, found in seconds.items()}
    assert medians["package"] < 0.5 * medians["torch"]
    assert medians["both"] < 1.5 * medians["torch"]
