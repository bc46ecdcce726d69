"""Small fitted models that many tests ask."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, settings

from latentode import LatentODE
from latentode.datasets import make_oscillator

mpl.use("Agg")
# The models here are tiny: a second thread would cost more in waiting than it does in work. In other processes too.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No example has a time limit: the first fit of a process loads much.
settings.register_profile(
    "repeatable",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
    ],
)
settings.register_profile("searching", settings.get_profile("repeatable"), derandomize=False)
settings.load_profile("repeatable")


QUICK = {"max_iter": 5, "residual": "ou", "random_state": 0}

# The channels of `make_frame`.
CHANNELS = ["hr", "temp", "flat"]


def quick(**settings: object) -> LatentODE:
    """An estimator for `make_frame` that is fitted in a moment."""
    return LatentODE("patient", "hours", **(QUICK | settings))


def make_frame(n_series: int = 14, seed: int = 0) -> pd.DataFrame:
    """Two phases of one oscillation and a constant, at odd times, a fifth of the values missing."""
    random = np.random.default_rng(seed)
    frames = []
    for number in range(n_series):
        n_rows = int(random.integers(1, 15)) if number else 12
        hours = np.sort(random.uniform(0, 10, n_rows))
        phase = random.uniform(0, 6)
        frames.append(
            pd.DataFrame(
                {
                    "patient": f"p{number}",
                    "hours": hours,
                    "hr": 80 + 10 * np.sin(hours + phase) + random.normal(0, 1, n_rows),
                    "temp": (37 + np.cos(hours + phase)).astype("float32"),
                    "flat": 5.0,
                }
            )
        )
    frame = pd.concat(frames, ignore_index=True)
    frame[["hr", "temp"]] = frame[["hr", "temp"]].mask(random.random((len(frame), 2)) < 0.2)
    return frame


@pytest.fixture
def clean_desk() -> Iterator[None]:
    """No figure is left open by a test of pictures, nor a setting of matplotlib's changed."""
    plt.close("all")
    before = dict(mpl.rcParams)
    yield
    assert dict(mpl.rcParams) == before
    plt.close("all")


@pytest.fixture
def frame() -> pd.DataFrame:
    return make_frame()


@pytest.fixture
def labs(tmp_path: Path) -> Path:
    """The file of that frame."""
    path = tmp_path / "labs.csv"
    make_frame().to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def fitted() -> LatentODE:
    """A model fitted for a moment; tests must not change it."""
    return LatentODE("patient", "hours", max_iter=40, random_state=0).fit(make_frame())


@pytest.fixture(scope="session")
def swings() -> pd.DataFrame:
    """Sixty damped oscillations."""
    observed, _ = make_oscillator(n_series=60, seed=1)
    return observed


@pytest.fixture(scope="session")
def fitted_to_swings(swings: pd.DataFrame) -> LatentODE:
    """A model that knows a little of them; tests must not change it."""
    return LatentODE("series", "time", max_iter=60, random_state=0).fit(swings)


@contextmanager
def no_room_beyond(n_bytes: int) -> Iterator[None]:
    """The kernel refuses every byte of a file beyond so many, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
