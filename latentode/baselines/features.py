"""What a regression sees of a context: of its end for forecasts, around each query between observations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latentode.baselines.contexts import Contexts, Neighbours
from latentode.baselines.trivial import between, first_known, hermite, linear

__all__ = ["N_FEATURES", "Features", "of_contexts", "of_queries", "typical_gaps"]

# Observations, and typical gaps of time, back to which slopes and changes are taken.
LAGS = (1, 2, 3, 4)

# Features that a channel tells of itself and to the others, by whether a regression forecasts.
N_FEATURES = {True: (5 + 2 * len(LAGS), 5), False: (9, 5)}


@dataclass(frozen=True)
class Features:
    """Features of M moments, and which of them each query is answered from.

    Shapes:
        base (M, D), to which the regression adds; own, others (M, D, F): what a channel tells about
        itself and about the others, NaN where it can't; moment (Q,); position (Q,), the lead time (or
        distance) by which coefficients change; statics (M, P), features of the moment's series.
    """

    base: np.ndarray
    own: np.ndarray
    others: np.ndarray
    moment: np.ndarray
    position: np.ndarray
    statics: np.ndarray


def of_contexts(
    contexts: Contexts, codes: np.ndarray, times: np.ndarray, default: np.ndarray, gap: np.ndarray
) -> Features:
    """For forecasts: one moment a context, its end."""
    everyone = np.arange(len(contexts))
    filled = np.diff(contexts.starts) > 0
    end = np.zeros(len(contexts))
    beginning = np.zeros(len(contexts))
    end[filled] = contexts.times[contexts.starts[1:][filled] - 1]
    beginning[filled] = contexts.times[contexts.starts[:-1][filled]]
    row = contexts.before(everyone, contexts.starts[1:])
    last_time, last = contexts.at(row)
    slopes = []
    for _ in LAGS:
        row = contexts.previous(row)
        time, value = contexts.at(row)
        # Over less than half a usual gap a slope is mostly noise.
        slopes.append((last - value) / np.maximum(last_time - time, gap / 2))
    nothing = np.full(contexts.n_channels, np.nan)
    changes = [last - linear(contexts, everyone, end - lag * np.median(gap), nothing) for lag in LAGS]
    age = np.log1p((end[:, None] - last_time) / gap)
    behind = contexts.means - last
    unknown = np.isnan(last).astype(np.float64)
    length = np.broadcast_to(np.log1p((end - beginning)[:, None] / gap), last.shape)
    own = np.stack([last, behind, age, length, unknown, *slopes, *changes], axis=2)
    others = np.stack([last, behind, slopes[0], changes[-1], unknown], axis=2)
    base, statics = first_known(last, default), _statics(contexts, everyone)
    return Features(base, own, others, codes, times - end[codes], statics)


def of_queries(
    contexts: Contexts, codes: np.ndarray, times: np.ndarray, default: np.ndarray, gap: np.ndarray
) -> Features:
    """For interpolation: each query a moment of its own."""
    near = Neighbours(contexts, codes, times)
    line = first_known(between(near), near.left, near.right, default)
    cubic = first_known(hermite(near), line) - line
    left, right = near.time - near.left_time, near.right_time - near.time
    nearest = np.fmin(left, right)
    before_time, before = near.second_left
    after_time, after = near.second_right
    arriving = (near.left - before) / np.maximum(near.left_time - before_time, gap / 2)
    leaving = (after - near.right) / np.maximum(after_time - near.right_time, gap / 2)
    # A straight line on from the left, and one back from the right, each weighed by the other's nearness.
    share = left / (left + right)
    from_left = arriving * left * (1 - share)
    from_right = -leaving * right * share
    mean = contexts.means[codes] - line
    unknown = np.isnan(contexts.means[codes]).astype(np.float64)
    width = np.log1p((left + right) / gap)
    own = np.stack(
        [line, mean, cubic, near.left - line, near.right - line, from_left, from_right, width, unknown],
        axis=2,
    )
    others = np.stack([line, mean, cubic, near.right - near.left, unknown], axis=2)
    position = np.fmin.reduce(nearest, axis=1, initial=np.inf)
    position = np.where(np.isfinite(position), position, 0.0)
    return Features(line, own, others, np.arange(len(codes)), position, _statics(contexts, codes))


def _statics(contexts: Contexts, codes: np.ndarray) -> np.ndarray:
    """Features of each moment's series: (M, P)."""
    return np.zeros((len(codes), 0)) if contexts.statics is None else contexts.statics[codes]


def typical_gaps(contexts: Contexts) -> np.ndarray:
    """Median time between a channel's consecutive observations, that of all rows where it has none: (D,)."""
    inside = np.diff(contexts.codes) == 0
    steps = np.diff(contexts.times)[inside]
    otherwise = float(np.median(steps)) if len(steps) else 1.0
    gaps = np.full(contexts.n_channels, otherwise)
    for channel in range(contexts.n_channels):
        rows = np.flatnonzero(~np.isnan(contexts.values[:, channel]))
        same = np.diff(contexts.codes[rows]) == 0
        if same.any():
            gaps[channel] = np.median(np.diff(contexts.times[rows])[same])
    return np.where(gaps > 0, gaps, 1.0)
