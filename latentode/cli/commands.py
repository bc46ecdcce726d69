"""What each command does: a few calls of the public API between two files.

Those that fit, describe and show stand here; `answering`, `judging` and `drawing` hold the others.
"""

from __future__ import annotations

import argparse
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


def fit(chosen: argparse.Namespace) -> None:
    """`latentode fit`."""
    check_folder(chosen.out)
    parameters: dict[str, Any] = {
        "id_col": chosen.id,
        "time_col": chosen.time,
        "value_cols": chosen.values,
        "static_cols": chosen.static,
        "random_state": chosen.seed,
        "verbose": 0 if chosen.quiet else 1,
    }
    if chosen.task is not None:
        parameters["task"] = chosen.task
    parameters |= _settings(chosen.set)
    data = read_table(chosen.data, id_col=parameters["id_col"], time_col=parameters["time_col"])
    torch.set_num_threads(chosen.threads)
    began = time.perf_counter()
    model = LatentODE(**parameters).fit(data)
    model.save(chosen.out)
    if not chosen.quiet:
        seconds = time.perf_counter() - began
        sys.stderr.write(f"fitted in {seconds:.0f} s, {model.n_iter_} steps; saved as {chosen.out}\n")


def describe(chosen: argparse.Namespace) -> None:
    """`latentode describe`."""
    check_exists(chosen.file)
    if is_model(chosen.file):
        told = str(LatentODE.load(chosen.file).summary())
    else:
        data = read_table(chosen.file, id_col=chosen.id, time_col=chosen.time)
        named = (chosen.id, chosen.time, chosen.values, chosen.static)
        if any(one is not None for one in named):
            find_roles(data, *named, from_array=False)  # a column that is not there is the user's mistake
        # The commands read dates of the column that --time names by themselves.
        clock = guess_roles(data).get("time_col") if named[:2] == (None, None) else None
        if clock is not None:
            data[clock] = read_clock(data[clock], f"column {clock!r} of {chosen.file}")
        report = diagnose(data, *named)
        told = as_options(report.told(fit_line(chosen.file, report.suggested)))
    sys.stdout.write(f"{told}\n")


def demo(chosen: argparse.Namespace, rest: Sequence[str]) -> None:  # noqa: ARG001 - as the others are called
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
