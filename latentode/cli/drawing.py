"""`latentode plot`: a table's observations, or what a model makes of them."""

from __future__ import annotations

import argparse
from typing import Any

from latentode.cli.files import check_exists, check_folder, is_model, read_table, same
from latentode.cli.questions import length, model_and_data
from latentode.estimator import LatentODE

__all__ = ["plot"]

_PICTURES = (".png", ".pdf", ".svg")


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
    model, data = model_and_data(chosen.file, chosen.data)
    roles = model.fitted_.roles
    ids = roles.id_of(data)
    series = None if ids is None else same(chosen.series, ids)
    if chosen.kind == "embedding":
        return plotting.plot_embedding(model, data, color=chosen.color)
    horizon = None if chosen.horizon is None else length(chosen.horizon, model, "--horizon")
    if chosen.kind == "latent":
        return plotting.plot_latent(model, data, series=series, color=chosen.color, horizon=horizon or 0)
    return plotting.plot_trajectories(
        model, data, series=series, channels=chosen.channels, horizon=horizon, level=chosen.level
    )
