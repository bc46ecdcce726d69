"""Values so far from all others that they would flatten a panel: marks at its edge, which say how far."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from latentode.plotting.time_axis import TimeAxis

__all__ = ["far_off", "mark_at_edge"]

# Heights of all else that lie between it and a value which is left out: the rest keeps a sixth of the panel.
FAR = 5.0

# In heights of what the panel shows: from there to the marks, with room for a number in between, or into it
# where the limits are the user's own.
_OUTWARD, _INWARD = 0.14, 0.04


def far_off(values: pd.Series, low: float, high: float) -> np.ndarray:
    """Which values (n,) would flatten what lies between two heights; none, where that is most of them."""
    numbers, reach = values.to_numpy(dtype=np.float64), FAR * (high - low)
    far = (numbers < low - reach) | (numbers > high + reach)
    return far & (reach > 0) & (2 * far.sum() <= len(far))


def mark_at_edge(ax: Any, axis: TimeAxis, values: pd.Series, label: str, **look: Any) -> None:
    """Triangles above or below all that the panel shows by now, at the times of the values, and the values in words."""
    if not len(values):
        return
    low, high = _scaled(ax, ax.get_ylim())
    x, numbers = axis.place(values.index), values.to_numpy(dtype=np.float64)
    above = _scaled(ax, numbers) > (low + high) / 2
    out = (_OUTWARD if ax.get_autoscaley_on() else -_INWARD) * (high - low)
    left, right = ax.get_xlim()
    for upper in (True, False):
        there = above == upper
        if not there.any():
            continue
        height = ax.yaxis.get_transform().inverted().transform([high + out if upper else low - out])[0]
        ax.plot(
            x[there], np.full(there.sum(), height), "^" if upper else "v", ls="", ms=5, label=label, **look
        )
        first = x[there].min()
        side = 0 if first < left + (right - left) / 3 else 1 if first < left + 2 * (right - left) / 3 else 2
        ax.annotate(
            _told(numbers[there]),
            (first, height),
            xytext=(0, -4 if upper else 4),
            textcoords="offset points",
            ha=("left", "center", "right")[side],
            va="top" if upper else "bottom",
            fontsize="x-small",
            zorder=6,
        )


def _scaled(ax: Any, values: Any) -> np.ndarray:
    """Where values stand on the panel's scale, a logarithmic one too."""
    return np.asarray(ax.yaxis.get_transform().transform(np.asarray(values, dtype=np.float64)))


def _told(numbers: np.ndarray) -> str:
    low, high = numbers.min(), numbers.max()
    told = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
    return told if len(numbers) == 1 else f"{len(numbers)} values, {told}"
