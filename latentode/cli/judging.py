"""The commands that say how good a model is."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import pandas as pd

from latentode.cli.files import check_folder, read_clock, write_table
from latentode.cli.questions import length, model_and_data, table_for
from latentode.estimator import LatentODE

__all__ = ["evaluate", "score"]


def score(*, model: str, data: str, by_row: bool, out: str | None) -> None:
    """`latentode score`: one number, its unit on standard error, or with --by-row a table of them."""
    if out is not None and not by_row:
        raise ValueError("score prints one number; --out is for the table of --by-row")
    check_folder(out or "-")
    fitted, frame = model_and_data(model, data)
    if not by_row:
        sys.stdout.write(f"{fitted.score(frame)}\n")
        sys.stdout.flush()
        sys.stderr.write("nats per value and unit of the data; higher is better\n")
        return
    roles = fitted.fitted_.roles
    keys = [name for name in (roles.id_name, roles.time_name) if name in frame.columns]
    write_table(pd.concat([frame[keys], fitted.score_samples(frame)], axis=1), out or "-")


def evaluate(
    *,
    model: str,
    data: str,
    train: str | None,
    after: str | None,
    task: str | None,
    leads: Sequence[str],
    horizon: str | None,
    baselines: Sequence[str] | None,
    level: Sequence[float],
    point: str,
    seed: int,
    out: str | None,
) -> None:
    """`latentode evaluate`."""
    check_folder(out or "-")
    fitted, frame = model_and_data(model, data)
    report = fitted.evaluate(
        frame,
        task=task,
        leads=_leads(leads, fitted),
        horizon=None if horizon is None else length(horizon, fitted, "--horizon"),
        after=None if after is None else next(iter(read_clock([after], "--after"))),
        level=level,
        point=point,
        baselines=baselines,
        train=None if train is None else table_for(fitted, train),
        random_state=seed,
    )
    if out != "-":  # a table on standard output is for a program to read
        sys.stdout.write(f"{report}\n")
    if out is not None:
        write_table(report.table, out)


def _leads(edges: Sequence[str], model: LatentODE) -> Any:
    """A number of bins, or their upper edges."""
    if len(edges) == 1 and edges[0].isdecimal():
        return int(edges[0])
    return [length(edge, model, "--leads") for edge in edges]
