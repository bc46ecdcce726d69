"""Answers that need no network: what a latent ODE has to beat. They see one series at a time.

Shapes: B series, N observations of each, D channels, Q asked times; times (B, N) ascending, values (B, N, D),
asked (B, Q) -> (B, Q, D). All in numpy; every observation has all its channels.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator

__all__ = ["constant_velocity", "last_value", "linear", "pchip", "series_mean"]


def last_value(times: np.ndarray, values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The latest observation at or before the asked time; before the first, the first."""
    before = np.stack([np.searchsorted(one, at, side="right") for one, at in zip(times, asked, strict=True)])
    return np.take_along_axis(values, np.maximum(before - 1, 0)[:, :, None], axis=1)


def series_mean(times: np.ndarray, values: np.ndarray, asked: np.ndarray) -> np.ndarray:  # noqa: ARG001
    """The mean of a series' observations."""
    return np.repeat(values.mean(axis=1, keepdims=True), asked.shape[1], axis=1)


def linear(times: np.ndarray, values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Straight lines between observations, the nearest observation outside them."""
    columns = [
        [np.interp(at, one, channel) for channel in observed.T]
        for one, observed, at in zip(times, values, asked, strict=True)
    ]
    return np.asarray(columns).swapaxes(1, 2)


def pchip(times: np.ndarray, values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Monotone cubics between observations, the nearest observation outside them."""
    if times.shape[1] < 2:
        return linear(times, values, asked)
    return np.stack(
        [
            PchipInterpolator(one, observed)(np.clip(at, one[0], one[-1]))
            for one, observed, at in zip(times, values, asked, strict=True)
        ]
    )


def constant_velocity(
    times: np.ndarray, values: np.ndarray, asked: np.ndarray, n_points: int = 2
) -> np.ndarray:
    """`linear`, and beyond the last observation the least-squares line through the last `n_points`."""
    recent, observed = times[:, -n_points:], values[:, -n_points:]
    centre = recent.mean(axis=1, keepdims=True)
    level = observed.mean(axis=1, keepdims=True)
    moved = recent - centre
    slope = (moved[:, :, None] * (observed - level)).sum(axis=1, keepdims=True) / (moved**2).sum(axis=1)[
        :, None, None
    ]
    ahead = level + slope * (asked - centre)[:, :, None]
    return np.where((asked > times[:, -1:])[:, :, None], ahead, linear(times, values, asked))
