"""Fills the page of benchmarks: Markdown tables of what the scripts in benchmarks/ have written as JSON.

Two kinds of files are read. A record (`benchmarks/record.py`) holds runs, one for each seed of each setting, and is
told by means over seeds with their spread. Any other file is told as it is laid out: a list of like entries is a
table, so is a mapping of mappings of numbers, and what holds such things becomes their title.
"""

from __future__ import annotations

import ast
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["page_of_benchmarks", "setup"]

MARK = "<!-- benchmark tables -->"

# Entries of a run that say how it went rather than what was asked.
OF_THE_RUN = {"seed", "source", "n_iter", "cpu_minutes", "cpu_minutes_of_answers"}
# Entries of a file that are told apart from its figures.
OF_THE_FILE = {"command", "versions", "about", "runs"}

# A longer list is for a program to read.
MOST_ROWS = 45

Line = list[str]


def setup(app: Any) -> dict[str, bool]:
    """Sphinx's entry: the mark in a source file gives way to the tables, afresh in every build."""
    folder = Path(app.confdir).parent / "benchmarks"

    def fill(app: Any, docname: str, source: list[str]) -> None:  # noqa: ARG001 - as Sphinx calls it
        source[0] = source[0].replace(MARK, page_of_benchmarks(folder))

    app.connect("source-read", fill)
    app.connect("env-get-outdated", lambda *_: ["benchmarks"])
    return {"parallel_read_safe": True}


def page_of_benchmarks(folder: Path) -> str:
    """Markdown of every JSON file of a folder, each with its script's docstring."""
    parts = []
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text())
        parts += [f"## {_words(path.stem).capitalize()}", _script(path.with_suffix(".py"))]
        parts += list(_record(content)) if "runs" in content else list(_figures(content, ()))
        parts.append(_origin(content))
    return "\n\n".join(part for part in parts if part)


def _script(path: Path) -> str:
    """A script's docstring without its lines of usage."""
    if not path.is_file():
        return ""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return "\n\n".join(one for one in text.split("\n\n") if not one.startswith(("    python", "--")))


def _origin(content: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in content.get("versions", {}).items())
    return f"`{content.get('command', 'unknown command').strip()}`" + (
        f" with {versions}." if versions else "."
    )


# Records --------------------------------------------------------------------------------------


def _record(content: Mapping[str, Any]) -> Iterator[str]:
    """A table for each setting: rows by scores, the mean over seeds and their standard deviation."""
    runs = content["runs"]
    if not runs:
        return
    about = ", ".join(f"{_words(name)}: {value}" for name, value in content["about"].items() if value)
    yield f"Seeds {sorted({run['seed'] for run in runs})}; {about}."
    keys = [name for name in runs[0] if name not in OF_THE_RUN and isinstance(runs[0][name], str | int)]
    # A setting that names the only row of its runs is that row's label.
    keys = [key for key in keys if not all(list(run["rows"]) == [run[key]] for run in runs)]
    for setting in dict.fromkeys(tuple(run[key] for key in keys) for run in runs):
        its = [run for run in runs if tuple(run[key] for key in keys) == setting]
        found: dict[str, dict[str, list[float]]] = {}
        for run in its:
            for row, scores in run["rows"].items():
                for score, value in scores.items():
                    found.setdefault(row, {}).setdefault(score, []).append(value)
        if keys:
            yield "### " + ", ".join(
                f"{_words(key)}: {value}" for key, value in zip(keys, setting, strict=True)
            )
        yield _table(
            [
                (row, {score: _spread(values) for score, values in scores.items()})
                for row, scores in found.items()
            ]
        )
    if len({run.get("source") for run in runs}) > 1:
        yield "These runs were made by different states of the package."


def _spread(values: Sequence[float]) -> str:
    mean = _number(statistics.fmean(values))
    return mean if len(values) == 1 else f"{mean} ± {_number(statistics.stdev(values))}"


# Other files ----------------------------------------------------------------------------------


def _figures(content: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    plain = {
        name: value
        for name, value in content.items()
        if _is_plain(value) and not (name in OF_THE_FILE and not path)
    }
    rows = {
        name: value
        for name, value in content.items()
        if _is_row(value) and not (name in OF_THE_FILE and not path)
    }
    if path and (plain or rows):
        yield "### " + ", ".join(map(_words, path))
    if plain:
        yield "; ".join(f"{_words(name)}: {_number(value)}" for name, value in plain.items()) + "."
    for group in _alike(rows):
        yield _table([(_words(name), _shown(row)) for name, row in group.items()])
    for name, value in content.items():
        if name in plain or name in rows or (name in OF_THE_FILE and not path):
            continue
        if isinstance(value, Mapping):
            yield from _figures(value, (*path, name))
        else:
            yield "### " + ", ".join(map(_words, (*path, name)))
            yield from _list(value)


def _list(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if len(entries) > MOST_ROWS:
        yield f"{len(entries)} entries; they are in the file."
        return
    names = list(dict.fromkeys(name for entry in entries for name in entry))
    first = names[0] if names else ""
    rows = [
        (_number(entry.get(first, "")), _shown({k: v for k, v in entry.items() if k != first}))
        for entry in entries
    ]
    yield _table(rows, corner=_words(first))


def _alike(rows: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Mapping[str, Any]]]:
    """The rows in tables of common columns."""
    groups: dict[tuple[str, ...], dict[str, Mapping[str, Any]]] = {}
    for name, row in rows.items():
        groups.setdefault(tuple(row), {})[name] = row
    return list(groups.values())


def _is_plain(value: Any) -> bool:
    return not isinstance(value, Mapping | list) or (
        isinstance(value, list) and not any(isinstance(one, Mapping) for one in value)
    )


def _is_row(value: Any) -> bool:
    return isinstance(value, Mapping) and all(_is_plain(one) for one in value.values())


def _shown(row: Mapping[str, Any]) -> dict[str, str]:
    return {_words(name): _number(value) for name, value in row.items()}


# Markdown -------------------------------------------------------------------------------------


def _table(rows: Sequence[tuple[str, Mapping[str, str]]], corner: str = "") -> str:
    columns = list(dict.fromkeys(name for _, row in rows for name in row))
    lines: list[Line] = [[corner, *columns], ["---", *("--:" for _ in columns)]]
    lines += [[name, *(row.get(column, "") for column in columns)] for name, row in rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.strip().replace("|", "\\|")


def _words(name: Any) -> str:
    return str(name).replace("_", " ").strip()


def _number(value: Any) -> str:
    """Three digits of a float; everything else as it is."""
    if isinstance(value, list):
        return "-".join(map(_number, value))
    if not isinstance(value, float):
        return "" if value is None else str(value)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
