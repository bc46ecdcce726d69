"""`latentode plot`: a table's observations, or what a model makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from latentode.cli.files import check_exists, check_folder, is_model, read_table, same
from latentode.cli.questions import length, model_and_data
from latentode.estimator import LatentODE
from latentode.frames.roles import find_roles

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

# Options that are not named as what they give is.
_OPTIONS = {"id_col": "id", "time_col": "time", "value_cols": "values", "static_cols": "static"}


@dataclass(frozen=True)
class _Picture:
    """What is to be drawn; None where the command line says nothing."""

    file: str
    data: str | None
    kind: str | None
    series: Sequence[str] | None
    channels: Sequence[str] | None
    horizon: str | None
    level: Sequence[float] | None
    color: str | None
    id_col: str | None
    time_col: str | None
    value_cols: Sequence[str] | None
    static_cols: Sequence[str] | None

    def refuse(self, names: set[str], why: str) -> None:
        """Raises for the first of some options that was given."""
        for option, name in sorted((_OPTIONS.get(name, name), name) for name in names):
            if getattr(self, name) is not None:
                raise ValueError(f"--{option} {why}; leave it out")


def plot(*, out: str, dpi: float, **options: Any) -> None:
    """`latentode plot`."""
    picture = _Picture(**options)
    check_folder(out, _PICTURES)
    check_exists(picture.file)
    import matplotlib as mpl
    import numpy as np

    mpl.use("Agg")  # a file is asked for, not a window
    axes = _draw_model(picture) if is_model(picture.file) else _draw_table(picture)
    figure = np.ravel(axes)[0].figure
    figure.savefig(out, dpi=dpi)
    mpl.pyplot.close(figure)


def _draw_table(picture: _Picture) -> Any:
    from latentode import plotting

    if picture.data is not None:
        raise ValueError(f"{picture.file} is no saved latentode model (`latentode fit` writes one)")
    picture.refuse({"kind", "horizon", "level", "color"}, "is for a model's picture, and this is a table's")
    if picture.channels is not None and picture.value_cols is not None:
        raise ValueError("--channels and --values both say which columns to draw; give one of them")
    data = read_table(picture.file, id_col=picture.id_col, time_col=picture.time_col)
    channels = picture.channels or picture.value_cols or _others(data, picture)
    ids = find_roles(data, picture.id_col, picture.time_col, channels, from_array=False).id_of(data)
    if picture.series is not None and ids is None:
        raise ValueError("--series names series by their id; say which column holds it with --id")
    return plotting.plot_observations(
        data,
        id_col=picture.id_col,
        time_col=picture.time_col,
        value_cols=channels,
        series=None if ids is None else same(picture.series, ids),
    )


def _others(data: Any, picture: _Picture) -> list[str] | None:
    """The columns of a table that are left where some are called static; None for all."""
    if picture.static_cols is None:
        return None
    named = (picture.id_col, picture.time_col, *picture.static_cols)
    return [name for name in data.columns if name not in named]


def _draw_model(picture: _Picture) -> Any:
    from latentode import plotting

    kind = picture.kind or "trajectories"
    picture.refuse(set(_OPTIONS), "is for a table alone, as a model knows its columns")
    picture.refuse(set().union(*_READ.values()) - _READ[kind], f"changes nothing in --kind {kind}")
    if kind in ("history", "prior"):
        if picture.data is not None:
            raise ValueError(f"--kind {kind} draws the model by itself; leave out {picture.data}")
        model = LatentODE.load(picture.file)
        if kind == "history":
            return plotting.plot_history(model)
        return plotting.plot_prior(model, channels=picture.channels)
    if picture.data is None:
        raise ValueError(f"--kind {kind} draws a table with the model; name its file after the model's")
    model, data = model_and_data(picture.file, picture.data)
    roles = model.fitted_.roles
    ids = roles.id_of(data)
    series = picture.series if ids is None else same(picture.series, ids)
    if kind == "embedding":
        return plotting.plot_embedding(model, data, color=picture.color)
    horizon = None if picture.horizon is None else length(picture.horizon, model, "--horizon")
    if kind == "latent":
        return plotting.plot_latent(model, data, series=series, color=picture.color, horizon=horizon or 0)
    return plotting.plot_trajectories(
        model, data, series=series, channels=picture.channels, horizon=horizon, level=picture.level or [90.0]
    )
