"""Answers that need no network: what a latent ODE has to beat. They see one series at a time.

Shapes: B series, N observations of each, D channels, Q asked times; times (B, N) ascending, values (B, N, D),
asked (B, Q) -> (B, Q, D). All in numpy; every observation has all its channels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from latentode import baselines

__all__ = ["constant_velocity", "last_value", "linear", "pchip", "series_mean"]


def last_value(times: np.ndarray, values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The latest observation at or before the asked time; before the first, the first."""
    return _answer(baselines.last_value, times, values, asked)


def series_mean(times: np.ndarray, values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The mean of a series' observations."""
    return _answer(baselines.series_mean, times, values, asked)


def linear(times: np.ndarray, values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Straight lines between observations, the nearest observation outside them."""
    return _answer(baselines.linear, times, values, asked)


def pchip(times: np.ndarray, values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Monotone cubics between observations, the nearest observation outside them."""
    return _answer(baselines.pchip, times, values, asked)


def _answer(
    baseline: Callable[..., np.ndarray], times: np.ndarray, values: np.ndarray, asked: np.ndarray
) -> np.ndarray:
    contexts = baselines.Contexts.of(list(zip(times, values, strict=True)))
    codes = np.repeat(np.arange(len(asked)), asked.shape[1])
    never = np.full(values.shape[2], np.nan)  # each channel has been observed
    return baseline(contexts, codes, asked.ravel(), never).reshape(*asked.shape, -1)


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
