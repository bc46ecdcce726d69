"""The README's page of promises: each names tests that there are, and its figures are theirs."""

import ast
import re
from pathlib import Path

import pytest

from tests import (
    test_bad_input,
    test_checkpoint,
    test_libraries,
    test_pandas,
    test_persistence,
    test_properties,
    test_signal,
    test_sklearn,
)

ROOT = Path(__file__).parents[1]
SECTION = re.search(r"^## Promises\n(.*?)^## ", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)[1]
LINES = [line for line in SECTION.splitlines() if line.startswith("| ")]
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in LINES[1:]]
TESTS = {
    node.name
    for path in (ROOT / "tests").glob("test_*.py")
    for node in ast.parse(path.read_text()).body
    if isinstance(node, ast.FunctionDef)
}

# What a promise says was tried, and how much of it the tests try.
FIGURES = {
    "{} generated frames": test_properties.N_FRAMES,
    "{} dtypes of values": len(test_pandas.VALUES),
    "dtypes of values, {} of ids": len(test_pandas.IDS),
    "of ids, {} of clocks": len(test_pandas.TIMES),
    "{} cases, each by type and message": len(test_bad_input.CATALOGUE),
    "excused are the {} checks": len(test_sklearn.EXPECTED_FAILURES),
    "killed at {} random moments": test_checkpoint.N_KILLS,
    "{} files, flipped": f"{test_persistence.N_DAMAGED:,}".replace(",", " "),
    "{} forged ones": len(test_persistence.ILL_WILLED),
    "{} kinds of noise": len(test_signal.NOISE),
    "of noise, {} of signal": len(test_signal.SIGNALS),
    "of signal, {} draws": test_signal.N_DRAWS,
}


def test_the_page_has_rows_and_each_names_its_tests():
    assert len(ROWS) > 15
    assert all(len(row) == 3 for row in ROWS)
    for promise, _, tests in ROWS:
        named = re.findall(r"`(\w+)`", tests)
        assert named, promise
        assert set(named) <= TESTS, f"{promise}: there is no {sorted(set(named) - TESTS)}"


@pytest.mark.parametrize("figure", FIGURES)
def test_the_figures_are_those_of_the_tests(figure):
    assert figure.format(FIGURES[figure]) in SECTION


def test_the_catalogue_of_bad_input_has_sixty_cases_and_more():
    assert len(test_bad_input.CATALOGUE) >= 60
    assert test_properties.N_FRAMES >= 1000
    assert test_checkpoint.N_KILLS >= 20
    assert test_persistence.N_DAMAGED >= 10_000
    assert len(test_libraries.ASK) >= 8
