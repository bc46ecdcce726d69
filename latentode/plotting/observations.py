"""The irregular series themselves, before any model."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from latentode.frames import read_frame, to_pandas
from latentode.frames.libraries import as_frame
from latentode.frames.roles import find_roles
from latentode.plotting.palette import TRUTH, ink
from latentode.plotting.panels import Panels, choose, first_series, marker_size
from latentode.plotting.time_axis import TimeAxis, clock_of

__all__ = ["plot_observations"]


def plot_observations(
    df: Any,
    *,
    id_col: Hashable | None = None,
    time_col: Hashable | None = None,
    value_cols: Sequence[Hashable] | None = None,
    static_cols: Sequence[Hashable] | None = None,
    series: Any = None,
    ax: Any = None,
) -> Any:
    """Draws what was observed when, and at which rows a channel is missing, a panel a series and channel.

    Points are observations; a tick on the time axis is a row in which the channel is NaN.

    Args:
        df: the series, in any layout that `LatentODE.fit` takes.
        id_col: column (or index level) that says which series a row belongs to, as `LatentODE` takes it.
        time_col: column (or index level) of the times.
        value_cols: the channels; None takes every other column.
        static_cols: columns that describe a series as a whole, as `LatentODE` takes them; they are not drawn, nor
            checked beyond their names.
        series: id of a series or a list of them; None takes the first three at most, fewer
            of very many channels.
        ax: an Axes (for one series and one channel), or an array of (n_series, n_channels) Axes; None
            makes a figure, of up to 60 panels, with the series in rows of four at most.

    Returns:
        The Axes of a single panel, else an array of Axes (n_series, n_channels).

    Raises:
        ValueError, TypeError: for a frame that can't be read, unknown series, more panels than a figure holds,
            or a wrong number of Axes.

    Example:
        >>> from latentode.datasets import make_oscillator
        >>> observed, _ = make_oscillator(n_series=2, missing=0.3, seed=0)
        >>> plot_observations(observed, id_col="series", time_col="time").shape
        (2, 2)
    """
    df = to_pandas(df)
    if static_cols is not None:
        frame, from_array = as_frame(df)
        value_cols = find_roles(
            frame, id_col, time_col, value_cols, static_cols, from_array=from_array
        ).value_cols
    table = read_frame(df, id_col=id_col, time_col=time_col, value_cols=value_cols)
    if table.roles.is_single and series is not None:
        raise ValueError(f"the data are a single series without an id; leave out series={series!r}")
    names = table.roles.value_cols
    chosen = choose(series, list(table.ids), "series", most=first_series(len(names)))
    axis = TimeAxis.of(table, np.isin(table.codes, chosen))
    panels = Panels.make(ax, len(chosen), len(names), channels="value_cols", height=0.7)
    clock = clock_of(table)
    labels = []
    for row, place in enumerate(chosen):
        rows = table.codes == place
        labels.append(axis.label(table.roles.time_name, clock[rows]))
        x = axis.place(clock[rows])
        for panel, values in zip(panels.axes[row], table.values[rows].T, strict=True):
            axis.prepare(panel)
            _draw(panel, x, values)

    titles = [None if table.roles.is_single else str(table.ids[place]) for place in chosen]
    panels.label(titles, labels, names)
    panels.add_legend()
    return panels.returned


def _draw(ax: Any, x: np.ndarray, values: np.ndarray) -> None:
    missing = np.isnan(values)
    size = marker_size(int((~missing).sum()))
    ax.margins(y=0.15)
    ax.plot(x[~missing], values[~missing], "o", ms=size, mew=0, color=ink(), label="observed")
    if missing.any():
        # Their height is the panel's, so that they have no part in the limits of the values.
        height = np.full(int(missing.sum()), 0.04)
        across = ax.get_xaxis_transform()
        ax.plot(x[missing], height, "|", ms=6, mew=0.9, color=TRUTH, transform=across, label="missing")
