"""`latentode plot`: a table's observations, or what a model makes of them."""

from __future__ import annotations

import argparse
from typing import Any

from latentode.cli.files import check_exists, check_folder, is_model, read_table, same
from latentode.cli.questions import length, model_and_data
from latentode.estimator import LatentODE

__all__ = ["plot"]

_PICTURES = (".png", ".pdf", ".svg")

# What each picture of a model reads of the command line.
_READ = {
    "trajectories": {"series", "channels", "horizon", "level"},
    "latent": {"series", "horizon", "color"},
    "embedding": {"color"},
    "prior": {"channels"},
    "history": set(),
}


def plot(chosen: argparse.Namespace) -> None:
    """`latentode plot`."""
    check_folder(chosen.out, _PICTURES)
    check_exists(chosen.file)
    import matplotlib as mpl
    import numpy as np

    mpl.use("Agg")  # a file is asked for, not a window
    axes = _draw_model(chosen) if is_model(chosen.file) else _draw_table(chosen)
    figure = np.ravel(axes)[0].figure
    figure.savefig(chosen.out, dpi=chosen.dpi)
    mpl.pyplot.close(figure)


def _draw_table(chosen: argparse.Namespace) -> Any:
    from latentode import plotting

    if chosen.data is not None:
        raise ValueError(f"{chosen.file} is no saved latentode model (`latentode fit` writes one)")
    _refuse(chosen, {"kind", "horizon", "level", "color"}, "is for a model's picture, and this is a table's")
    if chosen.series is not None and chosen.id is None:
        raise ValueError("--series names series by their id; say which column holds it with --id")
    if chosen.channels is not None and chosen.values is not None:
        raise ValueError("--channels and --values both say which columns to draw; give one of them")
    data = read_table(chosen.file, id_col=chosen.id, time_col=chosen.time)
    ids = None if chosen.id is None or chosen.id not in data else data[chosen.id]
    return plotting.plot_observations(
        data,
        id_col=chosen.id,
        time_col=chosen.time,
        value_cols=chosen.channels or chosen.values or _others(data, chosen),
        series=None if ids is None else same(chosen.series, ids),
    )


def _others(data: Any, chosen: argparse.Namespace) -> list[str] | None:
    """The columns of a table that are left where some are called static; None for all."""
    if chosen.static is None:
        return None
    return [name for name in data.columns if name not in (chosen.id, chosen.time, *chosen.static)]


def _refuse(chosen: argparse.Namespace, names: set[str], why: str) -> None:
    """Raises for the first of some options that was given."""
    for name in sorted(names):
        if getattr(chosen, name) is not None:
            raise ValueError(f"--{name} {why}; leave it out")


def _draw_model(chosen: argparse.Namespace) -> Any:
    from latentode import plotting

    kind = chosen.kind or "trajectories"
    _refuse(chosen, {"id", "time", "values", "static"}, "is for a table alone, as a model knows its columns")
    _refuse(chosen, set().union(*_READ.values()) - _READ[kind], f"changes nothing in --kind {kind}")
    if kind in ("history", "prior"):
        if chosen.data is not None:
            raise ValueError(f"--kind {kind} draws the model by itself; leave out {chosen.data}")
        model = LatentODE.load(chosen.file)
        if kind == "history":
            return plotting.plot_history(model)
        return plotting.plot_prior(model, channels=chosen.channels)
    if chosen.data is None:
        raise ValueError(f"--kind {kind} draws a table with the model; name its file after the model's")
    model, data = model_and_data(chosen.file, chosen.data)
    roles = model.fitted_.roles
    ids = roles.id_of(data)
    series = chosen.series if ids is None else same(chosen.series, ids)
    if kind == "embedding":
        return plotting.plot_embedding(model, data, color=chosen.color)
    horizon = None if chosen.horizon is None else length(chosen.horizon, model, "--horizon")
    if kind == "latent":
        return plotting.plot_latent(model, data, series=series, color=chosen.color, horizon=horizon or 0)
    return plotting.plot_trajectories(
        model, data, series=series, channels=chosen.channels, horizon=horizon, level=chosen.level or [90.0]
    )
