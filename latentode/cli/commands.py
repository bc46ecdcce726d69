"""What each command does: a few calls of the public API between two files.

Those that fit, describe and show stand here; `answering`, `judging` and `drawing` hold the others.
"""

from __future__ import annotations

import ast
import runpy
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch

from latentode.cli.answering import encode, forecast, impute, predict, sample
from latentode.cli.drawing import plot
from latentode.cli.files import check_exists, check_folder, is_model, read_clock, read_table
from latentode.cli.judging import evaluate, score
from latentode.cli.wording import as_options, fit_line
from latentode.demo import demo_script
from latentode.diagnosis import diagnose
from latentode.diagnosis.unnamed import guess_roles
from latentode.estimator import LatentODE
from latentode.frames.roles import find_roles

__all__ = [
    "demo",
    "describe",
    "encode",
    "evaluate",
    "fit",
    "forecast",
    "impute",
    "plot",
    "predict",
    "sample",
    "score",
]


def fit(
    *,
    data: str,
    out: str,
    id_col: str | None,
    time_col: str | None,
    value_cols: Sequence[str] | None,
    static_cols: Sequence[str] | None,
    task: str | None,
    seed: int,
    settings: Sequence[str],
    threads: int,
    quiet: bool,
) -> None:
    """`latentode fit`."""
    check_folder(out)
    parameters: dict[str, Any] = {
        "id_col": id_col,
        "time_col": time_col,
        "value_cols": value_cols,
        "static_cols": static_cols,
        "random_state": seed,
        "verbose": 0 if quiet else 1,
    }
    if task is not None:
        parameters["task"] = task
    parameters |= _settings(settings)
    frame = read_table(data, id_col=parameters["id_col"], time_col=parameters["time_col"])
    torch.set_num_threads(threads)
    began = time.perf_counter()
    model = LatentODE(**parameters).fit(frame)
    model.save(out)
    if not quiet:
        seconds = time.perf_counter() - began
        sys.stderr.write(f"fitted in {seconds:.0f} s, {model.n_iter_} steps; saved as {out}\n")


def describe(
    *,
    file: str,
    id_col: str | None,
    time_col: str | None,
    value_cols: Sequence[str] | None,
    static_cols: Sequence[str] | None,
) -> None:
    """`latentode describe`."""
    check_exists(file)
    if is_model(file):
        told = str(LatentODE.load(file).summary())
    else:
        data = read_table(file, id_col=id_col, time_col=time_col)
        named = (id_col, time_col, value_cols, static_cols)
        if any(one is not None for one in named):
            find_roles(data, *named, from_array=False)  # a column that is not there is the user's mistake
        # The commands read dates of the column that --time names by themselves.
        clock = guess_roles(data).get("time_col") if named[:2] == (None, None) else None
        if clock is not None:
            data[clock] = read_clock(data[clock], f"column {clock!r} of {file}")
        report = diagnose(data, *named)
        told = as_options(report.told(fit_line(file, report.suggested)))
    sys.stdout.write(f"{told}\n")


def demo(*rest: str) -> None:
    """`latentode demo`: the script of examples/storm_tracks.py."""
    import matplotlib as mpl

    mpl.use("Agg")
    script = demo_script()
    before = sys.argv
    sys.argv = ["latentode demo", *rest]
    try:
        runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv = before


def _settings(pairs: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE of --set as parameters: numbers, None, lists and truth values as Python writes them, else text."""
    known = LatentODE().get_params()
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ValueError(f"--set takes NAME=VALUE, e.g. --set max_iter=300; got {pair!r}")
        if name not in known:
            raise ValueError(f"LatentODE has no parameter {name!r}; it has {', '.join(known)}")
        try:
            found[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            found[name] = text
    return found
