"""What the model believes before it has seen anything of a series."""

from __future__ import annotations

from typing import Any

import numpy as np

from latentode.frames import SeriesTable, read_frame
from latentode.plotting.fitted import check_fitted, roles_of
from latentode.plotting.palette import model_colour
from latentode.plotting.panels import Panels, choose
from latentode.plotting.time_axis import TimeAxis, clock_of, unit_of
from latentode.plotting.views import elapsed

__all__ = ["plot_prior"]


def plot_prior(
    model: Any,
    n_series: int = 12,
    times: Any = None,
    *,
    channels: Any = None,
    ax: Any = None,
    random_state: int = 0,
) -> Any:
    """Draws new series from the prior, z0 ~ N(0, I), a panel a channel; without observation noise.

    They say what the model takes a series to look like: where they look like none of the data, so does
    what it says far from every observation.

    Args:
        model: a fitted `LatentODE`.
        n_series: how many.
        times: 1-D, as `model.sample_prior` takes them; None takes the usual span of a training series.
        channels: a channel or a list of them; None takes all.
        ax: an Axes (for one channel), or an array of as many as channels; None makes a figure.
        random_state: of the draws.

    Returns:
        The Axes of a single channel, else an array of Axes (n_channels,).

    Raises:
        sklearn.exceptions.NotFittedError: for a model that is not fitted.
        ValueError, TypeError: for unknown channels, unsuitable times, or a wrong number of Axes.
    """
    check_fitted(model)
    names = [model.value_cols_[place] for place in choose(channels, model.value_cols_, "channel")]
    drawn = model.sample_prior(n_series, times, random_state=random_state)
    roles = roles_of(model)
    if roles is not None and roles.id_level is not None and roles.time_level is None:
        drawn = drawn.reset_index()
    # A model of one series numbers the new ones in a column that its own data lack.
    keys = [name for name in drawn.columns if name not in model.value_cols_]
    id_col = None if drawn.index.nlevels == 2 else (keys[0] if keys else None)
    time_col = keys[1] if len(keys) == 2 else None
    table = read_frame(drawn, id_col=id_col, time_col=time_col, value_cols=names, fitted=roles)
    axis, clock, label = _clock(table, dated=times is not None)
    panels = Panels.make(ax, 1, len(names), channels="channels")
    for panel, values in zip(panels.axes[0], table.values.T, strict=True):
        axis.prepare(panel)
        for number in range(len(table.ids)):
            own = np.flatnonzero(table.codes == number)
            own = own[np.argsort(clock[own])]
            panel.plot(clock[own], values[own], color=model_colour(), lw=1.0, alpha=0.65)
    panels.label([None], [label], names)
    if panels.own:
        panels.axes[0, 0].figure.align_ylabels(panels.axes.T)
    return panels.axes[0, 0] if len(names) == 1 else panels.axes[0]


def _clock(table: SeriesTable, *, dated: bool) -> tuple[TimeAxis, np.ndarray, str]:
    """The axis, each row's place on it (R,), and its label; a series of no date has an age only."""
    rows = np.ones(len(table), dtype=bool)
    axis, clock = TimeAxis.of(table, rows), clock_of(table)
    if axis.kind != "datetime" or dated:
        return axis, axis.place(clock), axis.label(table.roles.time_name, clock)
    ages = elapsed(clock[[int(np.argmin(clock))]], clock)
    unit, seconds = unit_of(float(ages.max()))
    return TimeAxis("number"), ages / seconds, unit
