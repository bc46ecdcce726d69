"""What each command does: a few calls of the public API between two files."""

from __future__ import annotations

import argparse
import ast
import runpy
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch

from latentode.cli.facts import model_facts
from latentode.cli.files import arrange, check_folder, is_model, read_clock, read_table, same, write_table
from latentode.demo import demo_script
from latentode.diagnosis import diagnose
from latentode.estimator import LatentODE

__all__ = ["demo", "describe", "fit", "forecast", "plot", "predict"]

_PICTURES = (".png", ".pdf", ".svg")


def fit(chosen: argparse.Namespace) -> None:
    """`latentode fit`."""
    check_folder(chosen.out)
    parameters: dict[str, Any] = {
        "id_col": chosen.id,
        "time_col": chosen.time,
        "value_cols": chosen.values,
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


def predict(chosen: argparse.Namespace) -> None:
    """`latentode predict`."""
    check_folder(chosen.out)
    model, data = _model_and_data(chosen.model, chosen.data)
    roles, times = model.fitted_.roles, None
    if chosen.times is not None:
        asked = read_table(chosen.times, id_col=roles.id_name, time_col=roles.time_name)
        times = arrange(asked, roles)
    elif chosen.at is not None:
        times = list(read_clock(chosen.at, "--at"))
    write_table(model.predict(data, times=times, level=chosen.level, point=chosen.point), chosen.out)


def forecast(chosen: argparse.Namespace) -> None:
    """`latentode forecast`."""
    check_folder(chosen.out)
    model, data = _model_and_data(chosen.model, chosen.data)
    ahead = model.forecast(
        data, _horizon(chosen.horizon, model), chosen.steps, level=chosen.level, point=chosen.point
    )
    write_table(ahead, chosen.out)


def plot(chosen: argparse.Namespace) -> None:
    """`latentode plot`."""
    check_folder(chosen.out, _PICTURES)
    import matplotlib as mpl
    import numpy as np

    mpl.use("Agg")  # a file is asked for, not a window
    axes = _draw_model(chosen) if is_model(chosen.file) else _draw_table(chosen)
    figure = np.ravel(axes)[0].figure
    figure.savefig(chosen.out, dpi=chosen.dpi)
    mpl.pyplot.close(figure)


def describe(chosen: argparse.Namespace) -> None:
    """`latentode describe`."""
    if is_model(chosen.file):
        told = model_facts(LatentODE.load(chosen.file))
    else:
        data = read_table(chosen.file, id_col=chosen.id, time_col=chosen.time)
        told = str(diagnose(data, id_col=chosen.id, time_col=chosen.time, value_cols=chosen.values))
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


def _draw_table(chosen: argparse.Namespace) -> Any:
    from latentode import plotting

    if chosen.data is not None:
        raise ValueError(f"{chosen.file} is no saved latentode model (`latentode fit` writes one)")
    data = read_table(chosen.file, id_col=chosen.id, time_col=chosen.time)
    ids = None if chosen.id is None or chosen.id not in data else data[chosen.id]
    return plotting.plot_observations(
        data,
        id_col=chosen.id,
        time_col=chosen.time,
        value_cols=chosen.channels or chosen.values,
        series=None if ids is None else same(chosen.series, ids),
    )


def _draw_model(chosen: argparse.Namespace) -> Any:
    from latentode import plotting

    if chosen.kind in ("history", "prior"):
        model = LatentODE.load(chosen.file)
        if chosen.kind == "history":
            return plotting.plot_history(model)
        return plotting.plot_prior(model, channels=chosen.channels)
    if chosen.data is None:
        raise ValueError(
            f"--kind {chosen.kind} draws a table with the model; name its file after the model's"
        )
    model, data = _model_and_data(chosen.file, chosen.data)
    roles = model.fitted_.roles
    ids = roles.id_of(data)
    series = None if ids is None else same(chosen.series, ids)
    if chosen.kind == "embedding":
        return plotting.plot_embedding(model, data, color=chosen.color)
    horizon = None if chosen.horizon is None else _horizon(chosen.horizon, model)
    if chosen.kind == "latent":
        return plotting.plot_latent(model, data, series=series, color=chosen.color, horizon=horizon or 0)
    return plotting.plot_trajectories(
        model, data, series=series, channels=chosen.channels, horizon=horizon, level=chosen.level
    )


def _model_and_data(model_file: str, data_file: str) -> tuple[LatentODE, Any]:
    model = LatentODE.load(model_file)
    roles = model.fitted_.roles
    data = read_table(data_file, id_col=roles.id_name, time_col=roles.time_name)
    return model, arrange(data, roles)


def _horizon(text: str, model: LatentODE) -> Any:
    if model.fitted_.clock.kind != "number":
        return text
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--horizon must be a number, as the model's times are; got {text!r}") from None


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
