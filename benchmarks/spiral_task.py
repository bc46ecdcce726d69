"""Two spirals seen through noise: the task of benchmarks/spirals.py, its scores and the rivals; no model is here.

A series is 200 points of a clockwise or counter-clockwise spiral; n of its first 100 are observed, plus
N(0, 0.3^2). Asked for is the clean curve: at points 0..99 (interpolation) and at 100..199 (extrapolation).
Training series have their first 100 points only. Data: `latentode.datasets.make_spirals`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks import trivial
from benchmarks.gaussian_process import SeriesGP, fit_series_gp
from latentode.datasets import make_spirals

__all__ = [
    "CHANNELS",
    "N_OBSERVED",
    "Spirals",
    "bayes_optimal",
    "curve",
    "load",
    "predictions_of_rivals",
    "scores",
]

N_OBSERVED = (30, 50, 100)
CHANNELS = ["x", "y"]
NOISE = 0.3
STEP = 6 * np.pi / 499
FIRST_START, LAST_START = 100, 300  # of validation and test windows, the last not included
N_SEEN, N_POINTS = 100, 200
NORMAL_90 = 1.645
TIMES = np.arange(N_POINTS) * STEP
PARTS = {"interpolation": slice(0, N_SEEN), "extrapolation": slice(N_SEEN, N_POINTS)}

# Chen et al. 2018, table 2, RMSE at 30, 50, 100 observed of 100. Their noise, scale, step and targets are
# not told, so that these orient and don't compare.
PUBLISHED = {
    "latent ODE, Chen et al. 2018 (another task)": (0.1642, 0.1502, 0.1346),
    "RNN, Chen et al. 2018 (another task)": (0.3937, 0.3202, 0.1813),
}


@dataclass(frozen=True)
class Spirals:
    """One split.

    Shapes: B series, n observations.
        frame: series, time, x, y, the observations. times (B, n), values (B, n, 2), the same as arrays.
        clean (B, 200, 2), the curves; of training (B, 100, 2), for it has no more.
    """

    frame: pd.DataFrame
    times: np.ndarray
    values: np.ndarray
    clean: np.ndarray


def load(n_observed: int, *, split: str, seed: int, n_series: int | None = None) -> Spirals:
    """Split "train" (1000 series), "validation" (200) or "test" (1000)."""
    observed, truth = make_spirals(n_series, n_observed, split=split, seed=seed)
    B = observed["series"].nunique()
    return Spirals(
        observed,
        observed["time"].to_numpy().reshape(B, -1),
        observed[CHANNELS].to_numpy().reshape(B, -1, 2),
        truth[CHANNELS].to_numpy().reshape(B, -1, 2),
    )


def scores(
    clean: np.ndarray, predicted: np.ndarray, band: tuple[np.ndarray, np.ndarray] | None = None
) -> dict[str, float]:
    """RMSE over series, points and both coordinates, in raw units; with a band, the share of values in it.

    Shapes:
        (B, 200, 2) each -> interpolation, extrapolation, and interpolation_coverage, extrapolation_coverage.
    """
    found = {}
    for part, points in PARTS.items():
        found[part] = float(np.sqrt(np.mean((predicted[:, points] - clean[:, points]) ** 2)))
    if band is not None:
        inside = (band[0] <= clean) & (clean <= band[1])
        found |= {f"{part}_coverage": float(inside[:, points].mean()) for part, points in PARTS.items()}
    return found


# The rivals ---------------------------------------------------------------


def curve(theta: np.ndarray, *, clockwise: bool) -> np.ndarray:
    """The spirals of Chen et al.: (...) -> (..., 2)."""
    angle = 6 * np.pi + 1 - theta if clockwise else theta
    radius = 0.3 * 50 / angle if clockwise else 0.3 * theta
    centre = -5.0 if clockwise else 5.0
    return np.stack([radius * np.cos(angle) + centre, radius * np.sin(angle)], axis=-1)


def bayes_optimal(times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The posterior mean of one who knows both curves and the noise, but not which curve nor where it began.

    The prior is uniform over the two curves and the 200 starts of the test series. No predictor has a smaller
    expected squared error; it is the task's floor.

    Shapes:
        times (B, n), values (B, n, 2) -> (B, 200, 2)
    """
    start = np.arange(FIRST_START, LAST_START)[:, None]
    theta = (start + np.arange(N_POINTS)) * STEP
    hypotheses = np.concatenate([curve(theta, clockwise=way) for way in (True, False)])
    point = np.rint(times / STEP).astype(int)
    log_likelihood = np.empty((len(values), len(hypotheses)))
    for k, path in enumerate(hypotheses):
        log_likelihood[:, k] = -((values - path[point]) ** 2).sum(axis=(1, 2)) / (2 * NOISE**2)
    weights = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return np.einsum("bh,hpd->bpd", weights, hypotheses)


def predictions_of_rivals(train: Spirals, asked: Spirals) -> dict[str, dict[str, np.ndarray]]:
    """-> name -> "predicted" (B, 200, 2), and where the rival has a 90 % band, "low" and "high"."""
    at = np.tile(TIMES, (len(asked.times), 1))
    known = (asked.times, asked.values, at)
    process = [fit_series_gp(train.times, train.values[:, :, channel]) for channel in range(2)]
    mean, deviation = _smoothed(process, *known)
    return {
        "training mean": {"predicted": np.broadcast_to(train.values.mean(axis=(0, 1)), (*at.shape, 2))},
        "series mean": {"predicted": trivial.series_mean(*known)},
        "last value": {"predicted": trivial.last_value(*known)},
        "linear": {"predicted": trivial.linear(*known)},
        "PCHIP": {"predicted": trivial.pchip(*known)},
        # Two noisy neighbours say nothing of a direction; a tenth of the window does.
        "constant velocity": {
            "predicted": trivial.constant_velocity(*known, n_points=max(3, asked.times.shape[1] // 10))
        },
        "Gaussian process": {
            "predicted": mean,
            "low": mean - NORMAL_90 * deviation,
            "high": mean + NORMAL_90 * deviation,
        },
        "Gaussian process, then ridge": {"predicted": _ridge_ahead(process, train, asked)},
        "Bayes-optimal (curves known)": {"predicted": bayes_optimal(asked.times, asked.values)},
    }


def _smoothed(
    process: Sequence[SeriesGP],
    times: np.ndarray,
    values: np.ndarray,
    at: np.ndarray,
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the noiseless curve, a process for each coordinate: (B, Q, 2) each."""
    parts = [one.predict(times, values[:, :, k], at, mask) for k, one in enumerate(process)]
    mean, deviation = (np.stack(part, axis=-1) for part in zip(*parts, strict=True))
    return mean, deviation


def _ridge_ahead(process: Sequence[SeriesGP], train: Spirals, asked: Spirals) -> np.ndarray:
    """Smooths by the Gaussian process, then from 50 points the next 50 by ridge regression, twice.

    Learned within the first 100 points of training series: from what the process makes of the first 50 given
    nothing later, to what it makes of the other 50 given everything. A spiral at equal steps nearly obeys a
    linear recursion, so that this can follow one.
    """
    half = N_SEEN // 2
    at = np.tile(TIMES[:N_SEEN], (len(train.times), 1))
    early = train.times < TIMES[half] - STEP / 2
    before, _ = _smoothed(process, train.times, train.values, at[:, :half], early)
    after, _ = _smoothed(process, train.times, train.values, at[:, half:])
    regression = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 4, 15)))
    regression.fit(before.reshape(len(before), -1), after.reshape(len(after), -1))

    seen, _ = _smoothed(process, asked.times, asked.values, np.tile(TIMES[:N_SEEN], (len(asked.times), 1)))
    path, recent = [seen], seen[:, half:]
    for _ in range(2):
        recent = regression.predict(recent.reshape(len(recent), -1)).reshape(len(recent), half, 2)
        path.append(recent)
    return np.concatenate(path, axis=1)
