"""What an accuracy benchmark keeps: a JSON file, written again after every run, and means over seeds.

A run is one seed of one setting: `{"seed": 0, ..., "rows": {row: {score: number}}}`. Runs survive a command
that is cut off, and `--merge` adds those of other seeds to the file that is there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import latentode

__all__ = ["Record", "parse_arguments", "spread_table"]


def parse_arguments(
    doc: str | None,
    *,
    file: str,
    seeds: Sequence[int] = (0, 1, 2),
    parser: argparse.ArgumentParser | None = None,
) -> Any:
    """The arguments all accuracy benchmarks take; without --out, the JSON lies beside the script.

    A smoke run and one on validation data have files of their own, in out/.
    """
    parser = parser or argparse.ArgumentParser()
    parser.description, parser.formatter_class = doc, argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="a smoke run: little data, few steps, one seed")
    parser.add_argument("--seeds", type=int, nargs="+", help=f"default: {' '.join(map(str, seeds))}")
    parser.add_argument("--validation", action="store_true", help="scores on validation data, never on test")
    parser.add_argument("--merge", action="store_true", help="keeps the runs of other seeds in --out")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    chosen.seeds = chosen.seeds or list(seeds[:1] if chosen.quick else seeds)
    if chosen.out is None:
        script = Path(file)
        suffix = "-quick" * chosen.quick + "-validation" * chosen.validation
        chosen.out = script.with_suffix(".json")
        if suffix:
            chosen.out = script.parents[1] / "out" / f"{script.stem}{suffix}.json"
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    return chosen


class Record:
    """The runs of one benchmark, in memory and on disk.

    Args:
        path: the JSON file; begun anew, but for runs of other keys with `merge`.
        about: what the figures are of, e.g. {"scored_on": "test"}; a file about something else is not merged.
        keys: the entries by which a run is known, e.g. ("seed", "n_observed").
    """

    def __init__(self, path: Path, about: Mapping[str, Any], keys: Sequence[str], *, merge: bool) -> None:
        self.path, self.about, self.keys = path, dict(about), tuple(keys)
        self.runs: list[dict[str, Any]] = []
        self.source = _source()
        if merge and path.exists():
            before = json.loads(path.read_text())
            if before["about"] != json.loads(json.dumps(self.about)):
                raise ValueError(f"{path} is about {before['about']}, not {self.about}; give another --out")
            self.runs = before["runs"]

    def add(self, run: Mapping[str, Any]) -> None:
        """Keeps a run, in place of an earlier one of the same keys, and writes the file."""
        key = [run[name] for name in self.keys]
        self.runs = [one for one in self.runs if [one[name] for name in self.keys] != key]
        self.runs.append({**run, "source": self.source})
        self.runs.sort(key=lambda one: [one[name] for name in self.keys])
        content = {
            "command": shlex.join(["python", "-m", _module(), *sys.argv[1:]]),
            "about": self.about,
            "versions": {
                "latentode": latentode.__version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
            "runs": self.runs,
        }
        # Whole or not at all: whoever reads meanwhile, or cuts it off, finds a file that can be read.
        draft = self.path.with_suffix(".draft")
        draft.write_text(json.dumps(content, indent=1) + "\n")
        draft.replace(self.path)

    def scores(self) -> pd.DataFrame:
        """All scores, one line each: the keys, row, score, value."""
        lines = [
            {name: run[name] for name in self.keys} | {"row": row, "score": score, "value": value}
            for run in self.runs
            for row, found in run["rows"].items()
            for score, value in found.items()
        ]
        return pd.DataFrame(lines)

    def summary(self) -> str:
        """CPU minutes, and a warning where the runs were made by different states of the package."""
        minutes = [run["cpu_minutes"] for run in self.runs if "cpu_minutes" in run]
        seeds = sorted({run["seed"] for run in self.runs})
        said = f"seeds {seeds}, {sum(minutes):.1f} CPU minutes of one thread in {len(minutes)} fits"
        if len({run["source"] for run in self.runs}) > 1:
            said += "\nCAUTION: these runs were made by different states of the package; run all seeds again"
        return said


def spread_table(scores: pd.DataFrame, columns: Sequence[str], *, ours: str, decimals: int) -> pd.DataFrame:
    """Means over seeds, in the order rows came; below the rows that start with `ours`, the seeds' spread.

    Args:
        scores: of `Record.scores`; `columns` become the table's columns.
    """
    values = scores.assign(row=pd.Categorical(scores["row"], scores["row"].unique(), ordered=True))
    grouped = values.groupby(["row", *columns], observed=True, sort=False)["value"]
    mean, spread = (one.unstack(list(columns)).sort_index() for one in (grouped.mean(), grouped.std()))
    lines = {}
    for row in mean.index:
        lines[row] = mean.loc[row]
        if str(row).startswith(ours) and spread.loc[row].notna().any():
            lines[f"  spread of seeds, {row}"] = spread.loc[row]
    return pd.DataFrame(lines).T.round(decimals)


def _source() -> str:
    """Says which state of the package runs, released or not: a digest of its files."""
    package = Path(latentode.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _module() -> str:
    return f"benchmarks.{Path(sys.argv[0]).stem}"
