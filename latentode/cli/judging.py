"""The commands that say how good a model is."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import pandas as pd

from latentode.cli.files import check_folder, read_clock, write_table
from latentode.cli.questions import length, model_and_data, table_for
from latentode.estimator import LatentODE

__all__ = ["evaluate", "score"]


def score(chosen: argparse.Namespace) -> None:
    """`latentode score`: one number, its unit on standard error, or with --by-row a table of them."""
    if chosen.out is not None and not chosen.by_row:
        raise ValueError("score prints one number; --out is for the table of --by-row")
    check_folder(chosen.out or "-")
    model, data = model_and_data(chosen.model, chosen.data)
    if not chosen.by_row:
        sys.stdout.write(f"{model.score(data)}\n")
        sys.stdout.flush()
        sys.stderr.write("nats per value and unit of the data; higher is better\n")
        return
    roles = model.fitted_.roles
    keys = [name for name in (roles.id_name, roles.time_name) if name in data.columns]
    write_table(pd.concat([data[keys], model.score_samples(data)], axis=1), chosen.out or "-")


def evaluate(chosen: argparse.Namespace) -> None:
    """`latentode evaluate`."""
    check_folder(chosen.out or "-")
    model, data = model_and_data(chosen.model, chosen.data)
    report = model.evaluate(
        data,
        task=chosen.task,
        leads=_leads(chosen.leads, model),
        horizon=None if chosen.horizon is None else length(chosen.horizon, model, "--horizon"),
        after=None if chosen.after is None else next(iter(read_clock([chosen.after], "--after"))),
        level=chosen.level,
        point=chosen.point,
        baselines=chosen.baselines,
        train=None if chosen.train is None else table_for(model, chosen.train),
        random_state=chosen.seed,
    )
    if chosen.out != "-":  # a table on standard output is for a program to read
        sys.stdout.write(f"{report}\n")
    if chosen.out is not None:
        write_table(report.table, chosen.out)


def _leads(edges: list[str], model: LatentODE) -> Any:
    """A number of bins, or their upper edges."""
    if len(edges) == 1 and edges[0].isdecimal():
        return int(edges[0])
    return [length(edge, model, "--leads") for edge in edges]
