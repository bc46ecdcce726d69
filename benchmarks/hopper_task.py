"""A hopper that falls: the task of benchmarks/hopper.py, its scores and the rivals; no model is here.

10 000 trajectories of 200 steps of 5 ms, seven positions and seven velocities, simulated by
`benchmarks/make_hopper.py` after Rubanova et al. 2019. As there, (x - min) / max for each channel over all data;
the first 8000 train, the last 2000 test. Two questions, each with 10, 20, 30 or 50 % of the points observed:
interpolation, of a random window of 100 steps what is between the observed ones; extrapolation, of the first
66 steps the observed ones are known and the last 134 are asked for. Every observation has all its channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge

from benchmarks import trivial
from benchmarks.gaussian_process import SeriesGP, fit_series_gp

__all__ = [
    "CHANNELS",
    "FRACTIONS",
    "PUBLISHED",
    "QUESTIONS",
    "Asked",
    "Parts",
    "ask",
    "fit_processes",
    "load",
    "predictions_of_rivals",
    "scores",
    "training_frame",
]

STEP_SECONDS = 0.005
FRACTIONS = (0.1, 0.2, 0.3, 0.5)
QUESTIONS = ("interpolation", "extrapolation")
CHANNELS = [f"qpos{k}" for k in range(7)] + [f"qvel{k}" for k in range(7)]
N_TRAIN, N_VALIDATION = 8000, 1000
WINDOW, KNOWN = 100, 66
NORMAL_90 = 1.645
SMOOTH = ("matern32", "matern52", "rbf")

# Rubanova et al. 2019, table 3, MSE x 100 at 10, 20, 30, 50 %. Their data came from another MuJoCo, and visible
# points are scored with the others: these orient.
PUBLISHED = {
    "interpolation": {
        "latent ODE (ODE-RNN encoder)": (0.360, 0.295, 0.300, 0.285),
        "latent ODE (RNN encoder)": (2.477, 0.578, 2.768, 0.447),
        "RNN-VAE": (6.514, 6.408, 6.305, 6.100),
    },
    "extrapolation": {
        "latent ODE (ODE-RNN encoder)": (1.441, 1.400, 1.175, 1.258),
        "latent ODE (RNN encoder)": (1.663, 1.653, 1.485, 1.377),
        "RNN-VAE": (2.378, 2.135, 2.021, 1.782),
    },
}


@dataclass(frozen=True)
class Parts:
    """Trajectories (n, 200, 14), scaled. Validation is the end of the training part, and not in `train`."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Asked:
    """One question with one fraction of the points observed.

    Shapes: B series, k observed, Q asked points; times in seconds.
        times (B, k), values (B, k, 14), at (B, Q), truth (B, Q, 14), hidden (B, Q) bool: not observed.
    """

    question: str
    times: np.ndarray
    values: np.ndarray
    at: np.ndarray
    truth: np.ndarray
    hidden: np.ndarray

    @property
    def context(self) -> pd.DataFrame:
        """What is known, one row per (series, time)."""
        return _frame(self.times, self.values)


def load(path: Path, *, validation: bool = False, n_train: int | None = None) -> Parts:
    """The file of make_hopper.py.

    Args:
        validation: keeps the last 1000 of the 8000 out of `train`.
        n_train: takes the first trajectories for training only.
    """
    states = np.load(path)["states"].astype(np.float64)
    low, high = states.min(axis=(0, 1)), states.max(axis=(0, 1))
    states = (states - low) / np.where(high == 0, 1.0, high)
    edge = N_TRAIN - N_VALIDATION if validation else N_TRAIN
    return Parts(states[:edge][:n_train], states[N_TRAIN - N_VALIDATION : N_TRAIN], states[N_TRAIN:])


def ask(states: np.ndarray, question: str, fraction: float, seed: int) -> Asked:
    """Windows and observed points, drawn by `default_rng([seed, question, percent])`."""
    number = QUESTIONS.index(question)
    rng = np.random.default_rng([seed, number, round(100 * fraction)])
    B = len(states)
    n_shown = WINDOW if question == "interpolation" else KNOWN
    n_observed = int(fraction * n_shown)
    observed = np.sort(rng.random((B, n_shown)).argsort(axis=1)[:, :n_observed], axis=1)
    if question == "interpolation":
        states = _windows(states, rng)
        at = np.tile(np.arange(WINDOW), (B, 1))
        hidden = np.ones((B, WINDOW), dtype=bool)
        np.put_along_axis(hidden, observed, False, axis=1)
        truth = states
    else:
        at = np.tile(np.arange(KNOWN, states.shape[1]), (B, 1))
        hidden = np.ones(at.shape, dtype=bool)
        truth = states[:, KNOWN:]
    values = np.take_along_axis(states, observed[:, :, None], axis=1)
    return Asked(question, observed * STEP_SECONDS, values, at * STEP_SECONDS, truth, hidden)


def training_frame(states: np.ndarray, question: str, seed: int) -> pd.DataFrame:
    """What a model may learn from: columns series, time, and the channels.

    For interpolation a window of 100 steps of each trajectory, whole: training hides points by itself. For
    extrapolation the trajectory, thinned to between 10 and 50 % of its points, as the contexts will be.
    """
    rng = np.random.default_rng([seed, 2 + QUESTIONS.index(question)])
    if question == "interpolation":
        states = _windows(states, rng)
        return _frame(np.tile(np.arange(WINDOW) * STEP_SECONDS, (len(states), 1)), states)
    times = np.tile(np.arange(states.shape[1]) * STEP_SECONDS, (len(states), 1))
    frame = _frame(times, states)
    share = rng.uniform(min(FRACTIONS), max(FRACTIONS), (len(states), 1))
    return frame[(rng.random(times.shape) < share).reshape(-1)].reset_index(drop=True)


def scores(
    asked: Asked, predicted: np.ndarray, band: tuple[np.ndarray, np.ndarray] | None = None
) -> dict[str, float]:
    """MSE x 100 over all asked points, over the hidden ones, and the share of hidden values in the band."""
    square = 100 * (predicted - asked.truth) ** 2
    found = {"mse": float(square.mean()), "mse_hidden": float(square[asked.hidden].mean())}
    if band is not None:
        inside = (band[0] <= asked.truth) & (asked.truth <= band[1])
        found["coverage"] = float(inside[asked.hidden].mean())
    return found


# The rivals ---------------------------------------------------------------


def fit_processes(train: np.ndarray, fraction: float) -> tuple[SeriesGP, ...]:
    """A Gaussian process for each channel, on the series alone: the hardest rival that knows no dynamics.

    It learns from training windows with that fraction of their points observed, the same ones for every seed.
    """
    learned = ask(train, "interpolation", fraction, 1000)
    return tuple(
        fit_series_gp(learned.times, learned.values[:, :, k], kernels=SMOOTH) for k in range(len(CHANNELS))
    )


def predictions_of_rivals(
    train: np.ndarray, asked: Asked, seed: int, processes: Sequence[SeriesGP] = ()
) -> dict[str, dict[str, np.ndarray]]:
    """-> name -> "predicted" (B, Q, 14), and where the rival has a 90 % band, "low" and "high".

    They learn from training trajectories asked the same question with as many points observed.

    Args:
        processes: of `fit_processes`; without them there is no Gaussian process among the rivals.
    """
    known = (asked.times, asked.values, asked.at)
    n_shown = WINDOW if asked.question == "interpolation" else KNOWN
    fraction = asked.times.shape[1] / n_shown
    learned = ask(train, asked.question, _nearest(fraction), seed + 1000)
    simple: dict[str, Callable[..., np.ndarray]] = {
        "series mean": trivial.series_mean,
        "last value": trivial.last_value,
    }
    if asked.question == "interpolation":
        simple |= {"linear": trivial.linear, "PCHIP": trivial.pchip}
    else:  # beyond the last observation, linear and PCHIP say the last value
        simple |= {"constant velocity": trivial.constant_velocity}
    found = {"training mean": {"predicted": np.broadcast_to(train.mean(axis=(0, 1)), asked.truth.shape)}}
    found |= {name: {"predicted": rival(*known)} for name, rival in simple.items()}
    if processes:
        found["Gaussian process"] = _interpolated(processes, asked)
    found["ridge"] = {"predicted": _ridge(learned, asked)}
    return found


def _nearest(fraction: float) -> float:
    return min(FRACTIONS, key=lambda one: abs(one - fraction))


def _interpolated(processes: Sequence[SeriesGP], asked: Asked) -> dict[str, np.ndarray]:
    means, widths = [], []
    for k, process in enumerate(processes):
        mean, deviation = process.predict(asked.times, asked.values[:, :, k], asked.at)
        means.append(mean)
        widths.append(NORMAL_90 * np.sqrt(deviation**2 + process.noise**2))
    mean, width = np.stack(means, axis=-1), np.stack(widths, axis=-1)
    return {"predicted": mean, "low": mean - width, "high": mean + width}


def _ridge(learned: Asked, asked: Asked, every: int = 5) -> np.ndarray:
    """What the trivial answer misses, linear in the context interpolated at every fifth step.

    The trivial answer is linear interpolation, which beyond the last observation is the last value. The
    penalty is chosen on a fifth of the training series.
    """

    def straight(one: Asked) -> np.ndarray:
        return trivial.linear(one.times, one.values, one.at)

    def features(one: Asked) -> np.ndarray:
        n_shown = WINDOW if one.question == "interpolation" else KNOWN
        grid = np.tile(np.arange(0, n_shown, every) * STEP_SECONDS, (len(one.times), 1))
        return trivial.linear(one.times, one.values, grid).reshape(len(grid), -1)

    inputs, missed = features(learned), (learned.truth - straight(learned)).reshape(len(learned.times), -1)
    centre, scale = inputs.mean(axis=0), inputs.std(axis=0) + 1e-12
    inputs = (inputs - centre) / scale
    held_back = np.arange(len(inputs)) % 5 == 0

    def error(penalty: float) -> float:
        model = Ridge(penalty).fit(inputs[~held_back], missed[~held_back])
        return float(((model.predict(inputs[held_back]) - missed[held_back]) ** 2).mean())

    best = min((1.0, 10.0, 100.0, 1e3, 1e4, 1e5), key=error)
    correction = Ridge(best).fit(inputs, missed).predict((features(asked) - centre) / scale)
    return straight(asked) + correction.reshape(asked.truth.shape)


def _windows(states: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    start = rng.integers(0, states.shape[1] - WINDOW + 1, (len(states), 1))
    return states[np.arange(len(states))[:, None], start + np.arange(WINDOW)]


def _frame(times: np.ndarray, values: np.ndarray) -> pd.DataFrame:
    B, N, D = values.shape
    frame = pd.DataFrame(values.reshape(B * N, D), columns=CHANNELS)
    frame.insert(0, "time", times.reshape(-1))
    frame.insert(0, "series", np.repeat(np.arange(B), N))
    return frame
