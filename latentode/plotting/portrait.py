"""The learned vector field, and the orbits of series through it."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D

from latentode.frames import SeriesTable, to_pandas
from latentode.plotting.asked import Question, said_once
from latentode.plotting.fitted import read_for
from latentode.plotting.hues import Hues, check_color, of_series
from latentode.plotting.palette import ink
from latentode.plotting.panels import choose
from latentode.plotting.planes import Plane
from latentode.plotting.time_axis import unit_of
from latentode.plotting.views import View, elapsed, look

__all__ = ["plot_latent"]

# Series that are drawn where none are chosen: more hide the field.
MOST_ORBITS = 24

# Steps of the grid that the field is seen on, a side.
GRID = 40


def plot_latent(
    model: Any,
    df: Any,
    *,
    series: Any = None,
    dims: Any = None,
    color: Any = None,
    horizon: Any = 0,
    ax: Any = None,
) -> Any:
    """Draws the phase portrait of dz/dt = f(z), and through it the orbits of some series.

    Grey streamlines follow the learned field, thicker where it is faster; each orbit starts with a dot at
    the series' first observation. Where the latent space has more than two dimensions the field is that in
    the plane shown, through the mean of the orbits, without its part across it; orbits that leave the plane
    need not follow it. A long series has an orbit for each of its spans, and that of most weight is shown; they
    are not joined.

    Args:
        model: a fitted `LatentODE`.
        df: the series, in any layout that `model.predict` takes.
        series: id of a series or a list of them; None takes the first 24 at most.
        dims: two latent coordinates such as (1, 2); None takes the two principal axes of the motion, that is
            of each orbit about its mean, and says what share of its variance they hold.
        color: None colours by the time since the first observation; a channel, by what the model says of
            it; another column that is constant within each series, or a Series indexed by id, by that.
        horizon: how far beyond each last observation to go, as in `plot_trajectories`.
        ax: an Axes; None makes a figure.

    Returns:
        The Axes.

    Raises:
        TypeError: for a `color` that is no name and no Series.
        ValueError: for unknown series or coordinates, or a column that changes within a series.
    """
    check_color(color)
    df = to_pandas(df)
    table = read_for(model, df)
    if table.roles.is_single and series is not None:
        raise ValueError(f"the data are a single series without an id; leave out series={series!r}")
    chosen = choose(series, list(table.ids), "series", most=MOST_ORBITS)
    views = [look(table, place, None, None, horizon) for place in chosen]
    asked = Question.of(table, views)
    with said_once():
        by_place = asked.split(model.latent(asked.context, times=asked.times))
        hues, along = _hues(model, table, asked, views, color)
    orbits = [by_place[view.place] for view in views]
    names = [name for name in orbits[0].columns if name not in table.roles.key_columns]
    states = [orbit[names].to_numpy(dtype=np.float64) for orbit in orbits]
    belongs = np.arange(len(states)).repeat([len(one) for one in states])
    plane = Plane.of(np.concatenate(states), names, dims, orbits=belongs)
    own = ax is None
    if own:
        _, ax = plt.subplots(figsize=(5.8, 4.4), layout="constrained")

    paths = [plane.project(one) for one in states]
    _draw_field(ax, model, plane, np.concatenate(paths))
    for path, colours, view, one in zip(paths, hues, views, states, strict=True):
        joined = _joined(model, view.times, one)
        # A halo in the ground's colour keeps the orbit apart from the streamlines.
        for part in np.split(path, np.flatnonzero(~joined) + 1):
            ax.plot(*part.T, color=ax.get_facecolor(), lw=3.0, zorder=2.5, solid_capstyle="round")
        segments, colours_of = np.stack([path[:-1], path[1:]], axis=1)[joined], colours[:-1][joined]
        ax.add_collection(
            LineCollection(list(segments), colors=colours_of, linewidths=1.5, capstyle="round", zorder=3),
            autolim=False,
        )
        ax.plot(
            *path[0], "o", ms=4.5, mew=0.6, color=colours[0], mec=ink(), zorder=4, label="first observation"
        )
    ax.set(xlabel=plane.labels[0], ylabel=plane.labels[1])
    start = Line2D(
        [], [], marker="o", ls="", ms=4.5, mew=0.6, mfc="none", mec=ink(), label="first observation"
    )
    along.explain(ax, own=own, also=[start], marker="", corner=_emptiest_corner(ax, np.concatenate(paths)))
    return ax


def _emptiest_corner(ax: Any, points: np.ndarray) -> str:
    """The corner with the fewest of the points (M, 2); matplotlib's own search looks at every streamline."""
    low, high = np.transpose([ax.get_xlim(), ax.get_ylim()])
    x, y = ((points - low) / (high - low)).T
    right, upper = x > 0.5, y > 2 / 3
    lower = y < 1 / 3
    counts = {
        "upper right": (right & upper).sum(),
        "upper left": (~right & upper).sum(),
        "lower right": (right & lower).sum(),
        "lower left": (~right & lower).sum(),
    }
    return min(counts, key=lambda corner: counts[corner])


def _joined(model: Any, times: pd.Index, states: np.ndarray) -> np.ndarray:
    """Whether the field leads from each state to the next one, or an orbit ends and another begins: (Q - 1,).

    Along an orbit a step differs from dt (f(z) + f(z')) / 2 by less than that is long, up to a third of a turn
    a step; where the model changed from one z0 to another, by the whole jump.
    """
    velocity = np.asarray(model.velocity(states))
    gaps = np.diff(elapsed(times[[0]], times))[:, None]
    expected = gaps * (velocity[:-1] + velocity[1:]) / 2
    missed = np.linalg.norm(np.diff(states, axis=0) - expected, axis=1)
    # Steps near a fixed point are rounding errors of any direction.
    rounding = 1e-4 * float(np.linalg.norm(np.ptp(states, axis=0)))
    return np.asarray(missed <= np.linalg.norm(expected, axis=1) + rounding)


def _hues(
    model: Any, table: SeriesTable, asked: Question, views: list[View], color: Any
) -> tuple[list[np.ndarray], Hues]:
    """Colours along each orbit, (n_times, 4) each, and what they mean."""
    lengths = np.array([len(view.times) for view in views])
    if color is None:
        ages = np.concatenate([elapsed(view.times[[0]], view.times) for view in views])
        name = "time since the first observation"
        if table.times.kind != "number":
            unit, seconds = unit_of(float(ages.max()))
            ages, name = ages / seconds, f"{unit} since the first observation"
        hues = Hues.of_numbers(ages, name)
    elif not isinstance(color, pd.Series) and color in model.value_cols_:
        by_place = asked.split(model.predict(asked.context, times=asked.times)[[color]])
        told = [by_place[view.place][color].to_numpy(dtype=np.float64, na_value=np.nan) for view in views]
        hues = Hues.of_numbers(np.concatenate(told), str(color))
    else:
        hues = Hues.of(of_series(table, color).iloc[[view.place for view in views]])
        return [np.tile(colour, (n, 1)) for colour, n in zip(hues.colours, lengths, strict=True)], hues
    return np.split(hues.colours, lengths.cumsum()[:-1]), hues


def _draw_field(ax: Any, model: Any, plane: Plane, paths: np.ndarray) -> None:
    low, high = paths.min(axis=0), paths.max(axis=0)
    margin = 0.12 * np.maximum(high - low, 1e-3 * max(1.0, float(np.abs(paths).max())))
    low, high = low - margin, high + margin
    x, y = (np.linspace(*ends, GRID) for ends in zip(low, high, strict=True))
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    velocity = plane.turn(model.velocity(plane.lift(grid)))
    # Speed as the eye sees it: in widths of the picture, whatever its two axes' units.
    speed = np.linalg.norm(velocity / (high - low), axis=-1)
    ax.streamplot(
        x,
        y,
        *np.moveaxis(velocity, -1, 0),
        density=1.1,
        linewidth=0.35 + 0.9 * speed / max(float(speed.max()), np.finfo(float).tiny),
        color=to_rgba(ink(), 0.32),
        arrowsize=0.7,
        zorder=1,
    )
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
