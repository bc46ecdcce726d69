"""The second day in intensive care from the first: the task of benchmarks/physionet.py and its scores.

PhysioNet/Computing in Cardiology Challenge 2012, sets a, b and c: 37 channels, most of them rarely measured.
What was measured before hour 24 of a stay is known; asked for is every value measured from then to hour 48
(the protocol of t-PatchGNN, Zhang et al. 2024). The data are read from --data, or from the folder that the
environment variable LATENTODE_PHYSIONET names, or from shared/data beside the checkout; see
`latentode.datasets.load_physionet2012_parquet` for what lies there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from latentode.datasets import load_physionet2012_parquet

__all__ = [
    "DAY",
    "PUBLISHED",
    "STATIC_COLS",
    "Stays",
    "Task",
    "data_folder",
    "load",
    "scores",
    "split",
]

DAY = 24.0  # hours; what comes before is known
COMMON = 300  # test values from which on a channel's error is not a matter of chance

# MSE x 1e-3 and MAE x 1e-2 as published with the protocol (Zhang et al. 2024);
# the order of their split can't be recovered, and splits differ by more than the methods do.
PUBLISHED = {
    "latent ODE": (6.05, 4.23),
    "mTAND": (6.23, 4.51),
    "CRU": (8.56, 5.16),
    "neural flow": (7.20, 4.67),
    "t-PatchGNN": (4.98, 3.72),
}


# What is told of each stay. One of the channels is called Weight too.
DESCRIPTORS = ["Age", "Gender", "Height", "ICUType", "Weight"]
STATIC_COLS = [f"static-{name}" for name in DESCRIPTORS]


@dataclass(frozen=True)
class Stays:
    """Some stays: all that was measured, and what is told of each.

    series: record_id, time_h and the channels, sorted; static: indexed by record_id, in the same order. Ten
    stays of the 12 000 have no series.
    """

    series: pd.DataFrame
    static: pd.DataFrame

    @cached_property
    def context(self) -> pd.DataFrame:
        """What was measured before hour 24. A stay without any has one row without values at hour 0."""
        known = self.series[self.series["time_h"] < DAY]
        silent = self.static.index.difference(known["record_id"])
        if silent.empty:
            return known
        queries = pd.DataFrame({"record_id": silent, "time_h": 0.0}).reindex(columns=known.columns)
        queries = queries.astype(known.dtypes.to_dict())
        return pd.concat([known, queries]).sort_values(["record_id", "time_h"], ignore_index=True)

    @cached_property
    def truth(self) -> pd.DataFrame:
        """What was measured from then on: the values to be predicted."""
        return self.series[self.series["time_h"] >= DAY].reset_index(drop=True)

    def described(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows with STATIC_COLS beside them; the kind of unit is a category."""
        told = self.static[DESCRIPTORS].add_prefix("static-").astype({"static-ICUType": "category"})
        return rows.join(told, on="record_id")

    @property
    def channels(self) -> list[str]:
        return list(self.series.columns[2:])

    def only(self, record_ids: np.ndarray) -> Stays:
        record_ids = np.sort(record_ids)
        return Stays(
            self.series[self.series["record_id"].isin(record_ids)].reset_index(drop=True),
            self.static.loc[record_ids],
        )


@dataclass(frozen=True)
class Task:
    """One split. `span` (37,) is max - min of each channel over train and validation: the unit of errors."""

    train: Stays
    validation: Stays
    test: Stays
    span: np.ndarray


def data_folder(given: str | Path | None = None) -> Path | None:
    """Where the data lie, None where they don't."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    for place in (given, os.environ.get("LATENTODE_PHYSIONET"), beside):
        if place is not None and (Path(place) / "physionet2012_timeseries.parquet").is_file():
            return Path(place)
        if place is given is not None:
            return None
    return None


def load(folder: Path) -> Stays:
    """All 12 000 stays."""
    series, static = load_physionet2012_parquet(folder)
    series = series.sort_values(["record_id", "time_h"], ignore_index=True)
    return Stays(series, static.set_index("record_id").sort_index())


def split(stays: Stays, seed: int, n_train: int | None = None) -> Task:
    """Record ids of all 12 000 sorted, permuted by RandomState(seed), 60 % train, 20 % validation, 20 % test.

    Args:
        n_train: takes the first of the training stays only; the unit of errors stays that of all.
    """
    record_ids = np.sort(stays.static.index.to_numpy())
    record_ids = record_ids[np.random.RandomState(seed).permutation(len(record_ids))]
    first, second = int(0.6 * len(record_ids)), int(0.8 * len(record_ids))
    parts = record_ids[:first][:n_train], record_ids[first:second], record_ids[second:]
    seen = stays.series.loc[stays.series["record_id"].isin(record_ids[:second]), stays.channels]
    span = (seen.max() - seen.min()).to_numpy(dtype=float)
    return Task(*(stays.only(one) for one in parts), span=np.where(span > 0, span, 1.0))


def scores(
    truth: np.ndarray,
    predicted: np.ndarray,
    span: np.ndarray,
    band: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict[str, float]:
    """MSE x 1e3 and MAE x 1e2 in units of `span`: over a channel's values, then the mean over channels.

    Args:
        truth, predicted: (R, D); NaN in the truth is not scored.
        span: (D,)
        band: low and high, (R, D) each.

    Gives:
        mse, mae over the channels that have any value; mse_common, mae_common over those that have at least
        300; coverage, the share of all values inside the band; coverage_mean, its mean over channels.
    """
    asked = ~np.isnan(truth)
    lacking = asked & ~np.isfinite(predicted)
    if lacking.any():
        raise ValueError(f"{lacking.sum()} of the asked values have no prediction; all are scored")
    error = np.where(asked, predicted - truth, 0.0) / span
    count = asked.sum(axis=0)
    any_value, common = count > 0, count >= COMMON
    with np.errstate(invalid="ignore"):
        square, absolute = 1e3 * (error**2).sum(axis=0) / count, 1e2 * np.abs(error).sum(axis=0) / count
    found = {"mse": square[any_value].mean(), "mae": absolute[any_value].mean()}
    if common.any():
        found |= {"mse_common": square[common].mean(), "mae_common": absolute[common].mean()}
    if band is not None:
        inside = asked & (band[0] <= truth) & (truth <= band[1])
        share = inside.sum(axis=0)[any_value] / count[any_value]
        found |= {"coverage": inside.sum() / asked.sum(), "coverage_mean": share.mean()}
    return {name: float(value) for name, value in found.items()}
