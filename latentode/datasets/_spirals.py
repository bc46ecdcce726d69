"""The spirals of Chen et al. 2018, every choice the paper leaves open made here."""

import numpy as np
import pandas as pd

from latentode.datasets._long import long_frame

__all__ = ["make_spirals"]

# split -> (its number in the seed, number of series, windows begin at a grid point below this one)
SPLITS = {"train": (0, 1000, 400), "validation": (1, 200, 300), "test": (2, 1000, 300)}

FIRST_START = 100
OBSERVABLE = 100  # points of a window that may be observed
WINDOW = 200
NOISE = 0.3
STEP = 6 * np.pi / 499  # the curves have 500 points over three turns


def make_spirals(
    n_series: int | None = None, n_observed: int = 100, *, split: str = "train", seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    r"""Noisy, irregularly sampled stretches of two spirals, and the clean curves they were taken from.

        clockwise:          theta' = 6 pi + 1 - theta,  r = 15 / theta',   (r cos theta' - 5, r sin theta')
        counter-clockwise:                              r = 0.3 theta,     (r cos theta + 5,  r sin theta)

    at theta_k = k * 6 pi / 499, k = 0..499. Series i is clockwise for even i. Its window starts at a point
    k0 drawn from 100..399 for training, 100..299 else. Of its first 100 points plus N(0, 0.3^2),
    `n_observed` are kept, drawn without replacement; of one seed, those kept for 30 are among those kept
    for 50.

    Settings:
        n_series: how many; by default 1000 for training and test, 200 for validation.
        n_observed: observations per series, 1 to 100.
        split: "train", "validation" or "test".
        seed: with the split and the number of series it fixes every draw.

    Gives:
        (observed, truth), columns series, time, x, y. Time is measured in theta from the window's start.
        Truth is the clean curve at points 0..199 of each window, of which 100..199 are beyond all
        observations; in training at 0..99 only, as a window that starts late would leave the curve.

    Source: Chen et al. 2018, "Neural Ordinary Differential Equations", section 5.1.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(map(repr, SPLITS))}, not {split!r}")
    number, usual_n_series, last_start = SPLITS[split]
    n_series = usual_n_series if n_series is None else n_series
    if n_series < 1:
        raise ValueError(f"n_series must be at least 1, not {n_series}")
    if not 1 <= n_observed <= OBSERVABLE:
        raise ValueError(f"n_observed must be from 1 to {OBSERVABLE}, the points there are, not {n_observed}")

    rng = np.random.default_rng([seed, number])
    start = rng.integers(FIRST_START, last_start, size=(n_series, 1))
    noise = rng.normal(scale=NOISE, size=(n_series, OBSERVABLE, 2))
    order = rng.random((n_series, OBSERVABLE)).argsort(axis=1)

    point = np.tile(np.arange(OBSERVABLE if split == "train" else WINDOW), (n_series, 1))
    clean = _curves((start + point) * STEP)
    kept = np.sort(order[:, :n_observed], axis=1)
    noisy = np.take_along_axis(clean[:, :OBSERVABLE] + noise, kept[:, :, None], axis=1)
    return long_frame(kept * STEP, noisy, ["x", "y"]), long_frame(point * STEP, clean, ["x", "y"])


def _curves(theta: np.ndarray) -> np.ndarray:
    """Angles (B, N) -> points (B, N, 2); the series of even number run clockwise."""
    clockwise = (np.arange(len(theta)) % 2 == 0)[:, None]
    angle = np.where(clockwise, 6 * np.pi + 1 - theta, theta)
    radius = np.where(clockwise, 15 / angle, 0.3 * theta)
    centre = np.where(clockwise, -5.0, 5.0)
    return np.stack([radius * np.cos(angle) + centre, radius * np.sin(angle)], axis=-1)
