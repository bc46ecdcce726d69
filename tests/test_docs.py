"""The pages of docs/ and the README: their code runs, their reference is whole, their tables are the benchmarks'."""

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

import latentode
from benchmarks.record import Record
from latentode import LatentODE
from latentode.cli import main

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text() for path in [ROOT / "README.md", *DOCS.rglob("*.md")]
}

# Pages whose code takes a second or two; the others run with the slow tests.
QUICK = {"docs/index.md", "docs/howto/own-loop.md"}


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGES[page], re.MULTILINE | re.DOTALL)


def pages_with(language):
    return [
        pytest.param(page, marks=[] if page in QUICK else pytest.mark.slow)
        for page in PAGES
        if blocks(page, language)
    ]


def write_labs(folder):
    """The files that the README and the page of the command line name."""
    random = np.random.default_rng(0)
    n_rows = 8
    ids = np.arange(40).repeat(n_rows)
    hours = np.sort(random.uniform(0, 96, (40, n_rows))).reshape(-1)
    labs = pd.DataFrame(
        {
            "patient": [f"p{number}" for number in ids],
            "drawn_at": pd.Timestamp("2026-03-01") + pd.to_timedelta(hours, "h"),
            "potassium": 4 + 0.5 * np.sin(hours / 20 + ids) + random.normal(0, 0.1, len(ids)),
            "creatinine": 80 + 10 * np.cos(hours / 20 + ids) + random.normal(0, 2, len(ids)),
        }
    )
    labs["creatinine"] = labs["creatinine"].where(random.random(len(labs)) < 0.7)
    outcomes = pd.DataFrame({"patient": labs["patient"].unique(), "died": np.arange(40) % 2})
    outcomes.to_csv(folder / "outcomes.csv", index=False)
    unseen = labs["patient"].isin(labs["patient"].unique()[:12])
    labs[unseen].to_csv(folder / "unseen.csv", index=False)
    labs[~unseen].to_csv(folder / "labs.csv", index=False)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Fits of four steps, in a folder of their own; gives what shrinks a page's own numbers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(LatentODE.__init__.__kwdefaults__, "max_iter", 4)
    with torch.random.fork_rng(devices=[]):
        yield lambda code: re.sub(r"\b(max_iter|n_steps)( ?= ?)\d+", r"\g<1>\g<2>4", code)
    plt.close("all")


@pytest.mark.parametrize("page", pages_with("python"))
def test_the_code_of_a_page_runs(page, small, tmp_path):
    names = {}
    if page == "README.md":
        write_labs(tmp_path)
    for number, code in enumerate(blocks(page, "python"), start=1):
        exec(compile(small(code), f"{page}, block {number}", "exec"), names)


def test_the_encoder_of_the_page_keeps_the_contract():
    torch.manual_seed(0)
    names = {}
    for code in blocks("docs/howto/own-loop.md", "python")[:3]:
        exec(code, names)
    encoder, data = names["MeanEncoder"](1, names["L"]), names["data"]
    posterior = encoder(data)
    padded = latentode.SeriesBatch(
        *(torch.cat([one, torch.zeros_like(one)], 1) for one in (data.times, data.values, data.mask))
    )
    torch.testing.assert_close(encoder(padded).mean, posterior.mean)
    torch.testing.assert_close(encoder(padded).stddev, posterior.stddev)
    unseen = encoder(data.restrict(torch.zeros_like(data.times, dtype=torch.bool)))
    assert not unseen.mean.any()
    assert (unseen.stddev == 1).all()


@pytest.mark.parametrize("page", pages_with("console"))
def test_the_commands_of_a_page_run(page, small, tmp_path):
    write_labs(tmp_path)
    lines = [line for block in blocks(page, "console") for line in block.splitlines()]
    assert {line.split()[1] for line in lines} >= {"fit", "forecast", "evaluate"}
    for line in lines:
        assert main(shlex.split(small(line))[1:]) == 0, line
        out = re.search(r"--out (\S+)", line)
        assert out is None or (tmp_path / out[1]).stat().st_size > 0


def test_shrinking_reaches_what_a_page_sets():
    assert {page for page in PAGES if "max_iter=300" in PAGES[page]} >= {"docs/howto/settings.md"}
    assert set(PAGES) >= QUICK


def public_names():
    for name in latentode.__all__:
        found = getattr(latentode, name)
        if not name.startswith("__") and callable(found):
            yield name
    for name, member in vars(LatentODE).items():
        # What metadata routing adds is scikit-learn's.
        if (
            not name.startswith("_")
            and not name.endswith("_request")
            and (callable(member) or name[-1] == "_")
        ):
            yield f"LatentODE.{name}"
    for name in ("baselines", "datasets", "metrics", "plotting"):
        yield f"latentode.{name}"


@pytest.mark.parametrize("name", list(public_names()))
def test_the_reference_has_every_public_name(name):
    reference = "\n".join(text for page, text in PAGES.items() if page.startswith("docs/reference/"))
    assert re.search(rf"^\.\. auto\w+:: {re.escape(name)}$", reference, re.MULTILINE), (
        f"no page documents {name}"
    )


def test_every_page_is_in_the_contents():
    listed = {
        line
        for toc in re.findall(
            r"^```\{toctree\}\n(.*?)^```$", PAGES["docs/index.md"], re.MULTILINE | re.DOTALL
        )
        for line in toc.splitlines()
        if line and not line.startswith(":")
    }
    pages = {page.removeprefix("docs/").removesuffix(".md") for page in PAGES if page.startswith("docs/")}
    assert listed == pages - {"index"}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page):
    here = (ROOT / page).parent
    for target in re.findall(
        r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.DOTALL | re.MULTILINE)
    ):
        if target.startswith("http"):
            continue
        file, _, heading = target.partition("#")
        path = (here / file).resolve() if file else ROOT / page
        assert path.is_file(), f"{page} links to {target}"
        if heading and path.name != "benchmarks.md":  # whose headings are made from files
            headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}, (
                target
            )


# The page of benchmarks -------------------------------------------------------


@pytest.fixture(scope="module")
def tables():
    spec = importlib.util.spec_from_file_location("benchmark_tables", DOCS / "_ext" / "benchmark_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows_of(markdown):
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in markdown.splitlines()
        if line.startswith("| ") and "--" not in line.split(" | ")[-1]
    ]


def test_every_file_of_figures_is_told_with_its_command(tables):
    page = tables.page_of_benchmarks(ROOT / "benchmarks")
    for path in (ROOT / "benchmarks").glob("*.json"):
        content = json.loads(path.read_text())
        assert f"`{content['command'].strip()}`" in page
        assert f"\n## {path.stem.replace('_', ' ').capitalize()}\n" in f"\n{page}"
    first = json.loads((ROOT / "benchmarks" / "precision.json").read_text())["precision"][0]
    told = [first["method"], first["setting"], str(first["evaluations"]), f"{first['error']:.3g}"]
    assert told in rows_of(page)


def test_a_record_is_told_by_means_and_spread_over_seeds(tables, tmp_path):
    record = Record(tmp_path / "made_up.json", {"scored_on": "test"}, ["question", "seed"], merge=False)
    for question, shift in (("between", 0.0), ("beyond", 5.0)):
        for seed, value in enumerate([1.0, 2.0, 6.0]):
            rows = {"last value": {"rmse": 8.0}, "latent ODE": {"rmse": value + shift, "coverage": 0.9}}
            record.add({"question": question, "seed": seed, "cpu_minutes": 1.5, "n_iter": 7, "rows": rows})
    page = tables.page_of_benchmarks(tmp_path)
    assert re.findall(r"^### (.*)$", page, re.MULTILINE) == ["question: between", "question: beyond"]
    assert "Seeds [0, 1, 2]; scored on: test." in page
    # Standard deviation of 1, 2, 6 and of three equal numbers.
    assert rows_of(page) == [
        ["", "rmse", "coverage"],
        ["last value", "8 ± 0", ""],
        ["latent ODE", "3 ± 2.65", "0.9 ± 0"],
        ["", "rmse", "coverage"],
        ["last value", "8 ± 0", ""],
        ["latent ODE", "8 ± 2.65", "0.9 ± 0"],
    ]
    assert "different states" not in page


def test_runs_of_one_row_each_are_one_table(tables, tmp_path):
    record = Record(tmp_path / "ablated.json", {"quick": False}, ["problem", "variant", "seed"], merge=False)
    for variant, value in (("as used", 1.0), ("no residual", 2.5)):
        record.add({"problem": "spirals", "variant": variant, "seed": 0, "rows": {variant: {"rmse": value}}})
    page = tables.page_of_benchmarks(tmp_path)
    assert page.count("### ") == 1
    assert rows_of(page) == [["", "rmse"], ["as used", "1"], ["no residual", "2.5"]]


def test_other_files_are_told_as_they_are_laid_out(tables, tmp_path):
    content = {
        "command": "python -m benchmarks.other",
        "size": {"small": {"rows": [{"n": 10, "ms": 8.47182}, {"n": 30, "ms": 12345.6, "note": "a|b"}]}},
        "long": [{"n": n} for n in range(100)],
        "nothing": None,
    }
    (tmp_path / "other.json").write_text(json.dumps(content))
    (tmp_path / "other.py").write_text('"""Asks.\n\n    python -m benchmarks.other\n\nHow `it` is done."""')
    page = tables.page_of_benchmarks(tmp_path)
    assert "## Other\n\nAsks.\n\nHow `it` is done." in page
    assert "python -m benchmarks.other [" not in page
    assert rows_of(page) == [["n", "ms", "note"], ["10", "8.47", ""], ["30", "12346", "a\\|b"]]
    assert "### size, small, rows" in page
    assert "100 entries; they are in the file." in page


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    for needed in ("sphinx", "myst_parser", "furo"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"needs {needed}: pip install 'latentode[docs]', or `make docs`")
    found = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(DOCS), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    for page in PAGES:
        if page.startswith("docs/"):
            assert (tmp_path / page.removeprefix("docs/")).with_suffix(".html").is_file()
    assert "gradient boosting" in (tmp_path / "benchmarks.html").read_text()
