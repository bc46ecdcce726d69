"""What a fitted model makes of its series: paths, median, bands, and what lies beyond the last observation."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.patches import Patch

from latentode._checks import check_levels, check_number
from latentode.frames import to_pandas
from latentode.plotting.asked import Question, said_once
from latentode.plotting.edges import far_off, mark_at_edge
from latentode.plotting.fitted import check_fitted, read_for, without_unread
from latentode.plotting.palette import BAND, SHADE, TRUTH, ink, model_colour
from latentode.plotting.panels import Panels, choose, first_series, marker_size
from latentode.plotting.time_axis import TimeAxis
from latentode.plotting.views import View, look

__all__ = ["plot_trajectories"]


def plot_trajectories(
    model: Any,
    df: Any,
    *,
    series: Any = None,
    channels: Any = None,
    times: Any = None,
    horizon: Any = None,
    level: float | Sequence[float] | None = 90,
    n_samples: int = 10,
    truth: Any = None,
    parts: bool = False,
    ax: Any = None,
    random_state: int = 0,
) -> Any:
    """Draws observations, sampled paths, median and bands of a fitted model, a panel a series and channel.

    Points are observations, the line is `model.predict`'s median, the bands are its central intervals
    (observation noise included), thin lines are `model.sample`'s trajectories (without that noise).
    An upright line stands at the last observation of a series; what is shaded beyond it is forecast.
    Triangles at a panel's edge, with their values, are observations so far out that the model does not read
    them (see `predict`), and withheld values by which all else would be flattened.

    The line is the median (`predict(..., point="median")`), not the mean that `predict` answers by default:
    the bands are quantiles too, so that it lies within each of them, where the mean of a skewed answer need not.

    Args:
        model: a fitted `LatentODE`.
        df: the observations to condition on, in any layout that `model.predict` takes.
        series: id of a series or a list of them; None takes the first three at most, fewer
            of very many channels.
        channels: a channel or a list of them; None takes all.
        times: when to draw, as `model.predict` takes it; None takes 200 times from the first observation
            to the horizon, and those of the observations.
        horizon: how far beyond the last observation to draw, a number or a length of time such as
            "48h" as the clock has it; 0 for not at all. None takes a fifth of the series' span, and as
            far as `truth` goes.
        level: coverage of the bands in percent, one or several; None for no band.
        n_samples: sampled trajectories; 0 for none.
        truth: values that `df` withholds, in the same layout; open markers where `df` has no value.
        parts: draws the trajectory by itself too, dashed: its part of the mean, which lies on the line but where
            the answer is skewed. What lies between the two is the residual process's and the regression's.
        ax: an Axes (for one series and one channel), or an array of (n_series, n_channels) Axes; None
            makes a figure, of up to 60 panels, with the series in rows of four at most. The legend stands
            below a new figure, and in the first of given Axes, whose upper limit is raised to make room for
            it. `plt.subplots(..., layout="constrained")` keeps the titles and labels of several given Axes
            apart.
        random_state: of the sampled trajectories.

    Returns:
        The Axes of a single panel, else an array of Axes (n_series, n_channels).

    Raises:
        sklearn.exceptions.NotFittedError: for a model that is not fitted.
        ValueError: for unknown series or channels, a negative horizon, more panels than a figure holds, or a
            wrong number of Axes.
        TypeError: for times or a horizon of another kind than the series' clock.
    """
    check_fitted(model)
    levels = sorted(set(check_levels(level)), reverse=True)
    check_number("n_samples", n_samples, integer=True, zero=True)
    if times is not None and horizon is not None:
        raise ValueError("times and horizon both say how far to draw; give one of them")
    df = to_pandas(df)
    table = read_for(model, df)
    if table.roles.is_single and series is not None:
        raise ValueError(f"the data are a single series without an id; leave out series={series!r}")
    names = [model.value_cols_[place] for place in choose(channels, model.value_cols_, "channel")]
    chosen = choose(series, list(table.ids), "series", most=first_series(len(names)))
    truth = to_pandas(truth)
    held_out = None if truth is None else read_for(model, truth, names, like=table.times)
    if held_out is not None and not table.ids[chosen].isin(held_out.ids).any():
        raise ValueError(f"truth holds none of the series drawn, {list(table.ids[chosen])}")
    usual = without_unread(model, table, chosen)
    views = [look(table, place, held_out, times, horizon, usual) for place in chosen]

    axis = TimeAxis.of(table, np.isin(table.codes, chosen))
    panels = Panels.make(ax, len(chosen), len(names), channels="channels")
    asked = Question.of(table, views)
    context, at = asked.context, asked.times
    smooth, paths = {}, {}
    with said_once():
        predicted = asked.split(model.predict(context, times=at, level=levels or None, point="median"))
        if parts:
            smooth = asked.split(model.predict(context, times=at, parts=True))
        if n_samples:
            sampled = model.sample(context, times=at, n_samples=n_samples, random_state=random_state)
            paths = asked.split(sampled, n_samples)

    for row, view in enumerate(views):
        x = axis.place(view.times)
        for panel, name in zip(panels.axes[row], names, strict=True):
            axis.prepare(panel)
            near, far = _withheld(view, predicted[view.place], name, levels)
            _draw_observations(panel, axis, view.observed[name], near)
            _draw_prediction(panel, x, predicted[view.place], name, levels)
            if parts:
                dashes = {"color": model_colour(), "lw": 1.1, "ls": (0, (4, 2)), "zorder": 2.8}
                panel.plot(
                    x, _numbers(smooth[view.place][f"{name}-trajectory"]), **dashes, label="trajectory"
                )
            if n_samples:
                _draw_paths(panel, x, _numbers(paths[view.place][name]).reshape(n_samples, len(x)))
            _draw_forecast(panel, axis, view)
            if name in view.unread:
                mark_at_edge(panel, axis, view.unread[name], "not read", color=ink(), mew=0)
            mark_at_edge(panel, axis, far, "withheld, far off", mfc="none", mec=TRUTH, mew=0.9)

    titles = [None if table.roles.is_single else str(table.ids[place]) for place in chosen]
    panels.label(titles, [axis.label(table.roles.time_name, *view.clocks) for view in views], names)
    panels.add_legend(instead=_band_patches(levels))
    return panels.returned


def _numbers(column: pd.Series) -> np.ndarray:
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _withheld(
    view: View, predicted: pd.DataFrame, name: Hashable, levels: Sequence[float]
) -> tuple[pd.Series, pd.Series]:
    """What is withheld of a channel: what lies near the observations and the answer, and what would flatten them."""
    hidden = view.withheld.get(name, pd.Series(dtype=np.float64))
    told = [name, *(f"{name}-{side}-{level:g}" for level in levels for side in ("lo", "hi"))]
    rest = np.concatenate([view.observed[name], *(_numbers(predicted[column]) for column in told)])
    far = far_off(hidden, np.nanmin(rest), np.nanmax(rest))
    return hidden[~far], hidden[far]


def _band_label(level: float) -> str:
    return f"{level:g} % band"


# Artists are made in the order of the legend; zorder says what lies above what.


def _draw_observations(ax: Any, axis: TimeAxis, seen: pd.Series, withheld: pd.Series) -> None:
    size = marker_size(len(seen))
    ax.plot(axis.place(seen.index), seen, "o", ms=size, mew=0, color=ink(), zorder=5, label="observed")
    if len(withheld):
        hollow = {"ms": size, "mew": 0.9, "mfc": "none", "mec": TRUTH}
        ax.plot(axis.place(withheld.index), withheld, "o", **hollow, zorder=4.5, label="withheld")


def _draw_prediction(
    ax: Any, x: np.ndarray, predicted: pd.DataFrame, name: Hashable, levels: Sequence[float]
) -> None:
    ax.plot(x, _numbers(predicted[name]), color=model_colour(), lw=1.6, zorder=3, label="median")
    for level in levels:
        low, high = (_numbers(predicted[f"{name}-{side}-{level:g}"]) for side in ("lo", "hi"))
        ax.fill_between(
            x, low, high, color=model_colour(), alpha=BAND, lw=0, zorder=1, label=_band_label(level)
        )


def _band_patches(levels: Sequence[float]) -> dict[str, Patch]:
    """What nested bands look like: each shade lies upon those of the wider bands."""
    return {
        _band_label(level): Patch(color=model_colour(), alpha=1 - (1 - BAND) ** (1 + n_wider), lw=0)
        for n_wider, level in enumerate(levels)
    }


def _draw_paths(ax: Any, x: np.ndarray, paths: np.ndarray) -> None:
    lines = ax.plot(x, paths.T, color=model_colour(), lw=0.6, alpha=0.45, zorder=2)
    lines[0].set_label("sampled paths" if len(lines) > 1 else "sampled path")


def _draw_forecast(ax: Any, axis: TimeAxis, view: View) -> None:
    first, end = axis.place(view.times[[0, -1]])
    cut = axis.place(view.last)[0]
    if not end > cut:
        return
    ax.axvline(cut, color=ink(), lw=0.7, zorder=2.5)
    # The shade goes on to the frame and leaves room for a marker at the end.
    edge = end + 0.02 * (end - min(first, cut))
    shade = ax.axvspan(cut, edge, color=ink(), alpha=SHADE, lw=0, zorder=0, label="forecast")
    shade.sticky_edges.x.append(edge)
    ax.autoscale_view()
