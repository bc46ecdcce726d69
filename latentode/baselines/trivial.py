"""The trivial answers, for every series and channel on its own: what a model has to beat.

Each takes contexts, queries as `codes` (Q,) (which context) and `times` (Q,), and `default` (D,), the answer
for a channel of which the context shows nothing (its training mean), and gives the answers (Q, D).
"""

from __future__ import annotations

import numpy as np

from latentode.baselines.contexts import Contexts, Neighbours

__all__ = [
    "constant_velocity",
    "last_value",
    "linear",
    "pchip",
    "seasonal_naive",
    "series_mean",
    "training_mean",
]


def last_value(contexts: Contexts, codes: np.ndarray, times: np.ndarray, default: np.ndarray) -> np.ndarray:
    """The last value carried forward; before a channel's first observation, that one.

    >>> context = Contexts.of([([0.0, 1.0], [[5.0], [7.0]])])
    >>> last_value(context, np.array([0, 0]), np.array([-1.0, 3.0]), np.array([0.0])).ravel().tolist()
    [5.0, 7.0]
    """
    near = Neighbours(contexts, codes, times)
    return first_known(near.left, near.right, default)


def linear(contexts: Contexts, codes: np.ndarray, times: np.ndarray, default: np.ndarray) -> np.ndarray:
    """Linear interpolation between a channel's observations, constant outside of them."""
    near = Neighbours(contexts, codes, times)
    return first_known(between(near), near.left, near.right, default)


def between(near: Neighbours) -> np.ndarray:
    """Linear interpolation, NaN outside."""
    share = (near.time - near.left_time) / (near.right_time - near.left_time)
    return near.left + share * (near.right - near.left)


def pchip(contexts: Contexts, codes: np.ndarray, times: np.ndarray, default: np.ndarray) -> np.ndarray:
    """Monotone cubic Hermite interpolation (linear between two observations alone), constant outside.

    The same numbers as scipy's PchipInterpolator, for all series and channels at once.

    Source: Fritsch and Butland 1984, "A method for constructing local monotone piecewise cubic interpolants".
    """
    near = Neighbours(contexts, codes, times)
    return first_known(hermite(near), near.left, near.right, default)


def hermite(near: Neighbours) -> np.ndarray:
    """PCHIP between the two observations around each query, NaN outside of them: (Q, D)."""
    (before_time, before), (after_time, after) = near.second_left, near.second_right
    width = near.right_time - near.left_time
    slope = (near.right - near.left) / width
    # Two of one time, on a clock of single precision, tell no slope.
    left_width, right_width = (
        np.where(width > 0, width, np.nan)
        for width in (near.left_time - before_time, after_time - near.right_time)
    )
    left_slope, right_slope = (near.left - before) / left_width, (after - near.right) / right_width
    # At the first and last observation a one-sided formula of three points, which are there unless NaN.
    at_left = np.where(
        np.isnan(left_slope),
        _end_slope(width, right_width, slope, right_slope),
        _inner_slope(left_width, width, left_slope, slope),
    )
    at_right = np.where(
        np.isnan(right_slope),
        _end_slope(width, left_width, slope, left_slope),
        _inner_slope(width, right_width, slope, right_slope),
    )
    u = (near.time - near.left_time) / width
    bend = (1 - u) * (at_left - slope) + u * (slope - at_right)
    return near.left + u * (near.right - near.left) + u * (1 - u) * width * bend


def _inner_slope(
    left_width: np.ndarray, right_width: np.ndarray, left: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """Weighted harmonic mean of the two slopes, 0 at a turning point."""
    one, other = 2 * right_width + left_width, right_width + 2 * left_width
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        mean = (one + other) / (one / left + other / right)
        return np.where(left * right > 0, mean, 0.0)


def _end_slope(
    width: np.ndarray, next_width: np.ndarray, slope: np.ndarray, next_slope: np.ndarray
) -> np.ndarray:
    """Slope of the parabola through three points at its end, kept from overshooting."""
    found = ((2 * width + next_width) * slope - width * next_slope) / (width + next_width)
    with np.errstate(invalid="ignore"):
        found = np.where(found * slope <= 0, 0.0, found)
        steep = (slope * next_slope <= 0) & (np.abs(found) > 3 * np.abs(slope))
    found = np.where(steep, 3 * slope, found)
    return np.where(np.isnan(next_slope), slope, found)


def series_mean(
    contexts: Contexts,
    codes: np.ndarray,
    times: np.ndarray,  # noqa: ARG001
    default: np.ndarray,
) -> np.ndarray:
    """Mean of what the context shows of the channel."""
    return first_known(contexts.means[codes], default)


def training_mean(
    contexts: Contexts,
    codes: np.ndarray,
    times: np.ndarray,  # noqa: ARG001
    default: np.ndarray,
) -> np.ndarray:
    """Each channel's mean over the training data, whatever the context."""
    return np.broadcast_to(default, (len(codes), contexts.n_channels)).copy()


def constant_velocity(
    contexts: Contexts, codes: np.ndarray, times: np.ndarray, default: np.ndarray
) -> np.ndarray:
    """The last two observed values continued in a straight line; the last value where there is but one."""
    near = Neighbours(contexts, codes, times)
    before_time, before = near.second_left
    velocity = (near.left - before) / (near.left_time - before_time)
    return first_known(near.left + velocity * (near.time - near.left_time), near.left, near.right, default)


def seasonal_naive(
    contexts: Contexts, codes: np.ndarray, times: np.ndarray, default: np.ndarray, *, period: float
) -> np.ndarray:
    """What a channel was as few whole periods before as take it to its last observation, linear between observations;
    the last value where it was not observed for a period.

    >>> context = Contexts.of([([0.0, 1.0, 2.0], [[5.0], [7.0], [6.0]])])
    >>> seasonal_naive(context, np.array([0, 0]), np.array([2.5, 4.0]), np.array([0.0]), period=2.0).ravel().tolist()
    [6.0, 6.0]
    """
    near = Neighbours(contexts, codes, times)
    behind = np.where(np.isnan(near.right), times[:, None] - near.left_time, 0.0)
    back = np.ceil(np.nan_to_num(behind) / period)

    def told(codes: np.ndarray, times: np.ndarray) -> np.ndarray:
        before = Neighbours(contexts, codes, times)
        return first_known(between(before), before.left)

    found, different = np.empty(back.shape), np.unique(back)
    if len(different) <= contexts.n_channels:
        for n_periods in different:
            there = back == n_periods
            rows = there.any(1)
            found[there] = told(codes[rows], times[rows] - n_periods * period)[there[rows]]
    else:
        for channel in range(contexts.n_channels):
            found[:, channel] = told(codes, times - back[:, channel] * period)[:, channel]
    return first_known(found, near.left, near.right, default)


def first_known(*answers: np.ndarray) -> np.ndarray:
    """The first of the answers that is no NaN."""
    found = answers[0]
    for other in answers[1:]:
        found = np.where(np.isnan(found), other, found)
    return found
