"""Series as points: where each one's z0 lies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from latentode.frames import to_pandas
from latentode.plotting.fitted import read_for
from latentode.plotting.hues import Hues, check_color, of_series
from latentode.plotting.palette import model_colour
from latentode.plotting.panels import marker_size
from latentode.plotting.planes import Plane

__all__ = ["plot_embedding"]


def plot_embedding(model: Any, df: Any, *, color: Any = None, dims: Any = None, ax: Any = None) -> Any:
    """Draws each series as a point, the mean of its z0 as `model.encode` has it.

    Args:
        model: a fitted `LatentODE`.
        df: the series, in any layout that `model.predict` takes.
        color: a column of `df` that is constant within each series, or a Series indexed by id: categories
            (text, truth values, two numbers) have a legend, numbers a bar. None gives all one colour.
        dims: two latent coordinates such as (1, 2); None takes the two principal axes of the points, and
            says what share of their variance they hold.
        ax: an Axes; None makes a figure.

    Returns:
        The Axes.

    Raises:
        TypeError: for a `color` that is no name and no Series.
        ValueError: for a column that changes within a series, or coordinates that don't exist.
    """
    check_color(color)
    df = to_pandas(df)
    table = read_for(model, df)
    encoded = model.encode(df)
    names = [name for name in encoded.columns if not str(name).endswith("_std")]
    points = encoded[names].to_numpy(dtype=np.float64)
    plane = Plane.of(points, names, dims)
    hues = None if color is None else Hues.of(of_series(table, color))
    own = ax is None
    if own:
        _, ax = plt.subplots(figsize=(5.4, 4.2), layout="constrained")
    x, y = plane.project(points).T
    if hues is not None and hues.entries:  # the rare ones on top
        _, kind, counts = np.unique(hues.colours, axis=0, return_inverse=True, return_counts=True)
        order = np.argsort(-counts[kind.ravel()], kind="stable")
        x, y, hues = x[order], y[order], replace(hues, colours=hues.colours[order])
    ax.scatter(
        x,
        y,
        s=(1.6 * marker_size(len(x))) ** 2,
        c=[model_colour()] if hues is None else hues.colours,
        alpha=0.8,
        linewidths=0,
    )
    ax.set(xlabel=plane.labels[0], ylabel=plane.labels[1])
    ax.margins(0.07)
    if hues is not None:
        hues.explain(ax, own=own)
    return ax
