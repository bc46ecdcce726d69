"""What is published holds everything that a user without a checkout needs."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

import latentode

ROOT = Path(__file__).parents[1]


def test_versions_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" in project["dynamic"]
    assert f"version: {latentode.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.search(
        rf"^## {re.escape(latentode.__version__)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "latentode" / "py.typed").is_file()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    if find_spec("hatchling") is None:
        pytest.skip("needs hatchling")
    folder = tmp_path_factory.mktemp("dist")
    for target in ("sdist", "wheel"):
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
    (sdist,) = folder.glob("*.tar.gz")
    assert sdist.stat().st_size < 5e6
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The wheel unpacked, away from the checkout."""
    place = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    return place


def run(installed, folder, *arguments):
    # The libraries are those of the tests; of the package only what the wheel brought.
    libraries = [path for path in sys.path if path and not path.startswith(str(ROOT) + os.sep + "tests")]
    libraries = [path for path in libraries if Path(path).resolve() != ROOT]
    found = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join([str(installed), *libraries]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.slow
def test_the_wheel_holds_what_it_should(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (archive.read(name).decode() for name in names if name.endswith("METADATA"))
        (entry,) = (archive.read(name).decode() for name in names if name.endswith("entry_points.txt"))
    for needed in ("py.typed", "datasets/data/storms.csv", "datasets/data/co2.csv", "demo/storm_tracks.py"):
        assert f"latentode/{needed}" in names
    assert not [name for name in names if not name.startswith("latentode")]
    assert "latentode = latentode.cli:main" in entry
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: >=3.11" in metadata


@pytest.mark.slow
def test_the_wheel_works_away_from_the_checkout(installed, tmp_path):
    where = run(installed, tmp_path, "-c", "import latentode; print(latentode.__file__)")
    assert Path(where.strip()).is_relative_to(installed)
    assert "usage: latentode" in run(installed, tmp_path, "-m", "latentode", "--help")
    fit = (
        "from latentode import LatentODE; from latentode.datasets import load_co2\n"
        "co2 = load_co2().head(60)\n"
        "model = LatentODE('station', 'time', max_iter=2, random_state=0).fit(co2)\n"
        "print(model.forecast(co2, '14D', 2).shape)"
    )
    assert run(installed, tmp_path, "-c", fit).strip() == "(2, 3)"
    told = run(installed, tmp_path, "-m", "latentode", "demo", "--quick")
    assert "track, km" in told
    assert (tmp_path / "out" / "storms.latentode").is_file()
