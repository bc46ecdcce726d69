"""The second day in intensive care from the first: the task of benchmarks/physionet.py, its scores and the
rivals; no model is here.

PhysioNet/Computing in Cardiology Challenge 2012, sets a, b and c: 37 channels, most of them rarely measured.
What was measured before hour 24 of a stay is known; asked for is every value measured from then to hour 48
(the protocol of t-PatchGNN, Zhang et al. 2024). The data are read from --data, or from the folder that the
environment variable LATENTODE_PHYSIONET names, or from shared/data beside the checkout; see
`latentode.datasets.load_physionet2012_parquet` for what lies there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.gaussian_process import fit_series_gp
from benchmarks.physionet_ridge import predict_by_ridge
from latentode.datasets import load_physionet2012_parquet

__all__ = [
    "PUBLISHED",
    "RIVALS",
    "STATIC_COLS",
    "Stays",
    "Task",
    "data_folder",
    "load",
    "predictions_of_rivals",
    "scores",
    "split",
]

DAY = 24.0  # hours; what comes before is known
COMMON = 300  # test values from which on a channel's error is not a matter of chance
NORMAL_90 = 1.645

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


# Scores -------------------------------------------------------------------


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


# The rivals ---------------------------------------------------------------

Predictions = dict[str, np.ndarray]


def predictions_of_rivals(task: Task, asked: Stays) -> dict[str, Predictions]:
    """-> name -> "predicted" (R, D) for the rows of `asked.truth`, and "low" and "high" of a 90 % band."""
    return {name: rival(task.train, asked) for name, rival in RIVALS.items()}


def training_mean(train: Stays, asked: Stays) -> Predictions:
    mean = train.series[train.channels].mean().to_numpy(dtype=float)
    return {"predicted": np.tile(mean, (len(asked.truth), 1))}


def series_mean(train: Stays, asked: Stays) -> Predictions:
    """The mean of what was measured in the stay's first day, of the training stays where nothing was."""
    return _of_each_stay(train, asked, lambda known: known.mean())


def last_value(train: Stays, asked: Stays) -> Predictions:
    """The last value measured in the stay's first day, the mean of training where there is none.

    Linear and monotone cubic interpolation say the same beyond the last measurement.
    """
    return _of_each_stay(train, asked, lambda known: known.last())


def gaussian_process(train: Stays, asked: Stays) -> Predictions:
    """One for each channel, on the stay's first day alone."""
    context, truth = asked.context, asked.truth
    shape = (len(truth), len(asked.channels))
    predicted, low, high = (np.full(shape, np.nan) for _ in range(3))
    for k, name in enumerate(asked.channels):
        values = train.series[name].to_numpy(dtype=float)
        if np.nanstd(values) < 1e-9:  # MechVent is 1 wherever it is recorded
            predicted[:, k] = low[:, k] = high[:, k] = np.nanmean(values)
            continue
        process = fit_series_gp(
            *_padded(train.series, name, train.static.index), kernels=("matern12", "matern32")
        )
        rows = np.flatnonzero(truth[name].notna())
        code = asked.static.index.get_indexer(truth["record_id"].iloc[rows])
        times, known, mask = _padded(context, name, asked.static.index)
        place = pd.Series(code).groupby(code).cumcount().to_numpy()
        at = np.full((len(times), place.max(initial=0) + 1), DAY)
        at[code, place] = truth["time_h"].iloc[rows]
        mean, deviation = process.predict(times, known, at, mask)
        width = NORMAL_90 * np.sqrt(deviation**2 + process.noise**2)
        predicted[rows, k] = mean[code, place]
        low[rows, k], high[rows, k] = (mean - width)[code, place], (mean + width)[code, place]
    return {"predicted": predicted, "low": low, "high": high}


def ridge(train: Stays, asked: Stays) -> Predictions:
    """`benchmarks.physionet_ridge`."""
    return {"predicted": predict_by_ridge(train, asked)}


RIVALS: dict[str, Callable[[Stays, Stays], Predictions]] = {
    "training mean": training_mean,
    "series mean": series_mean,
    "last value": last_value,
    "Gaussian process": gaussian_process,
    "ridge": ridge,
}


def _of_each_stay(train: Stays, asked: Stays, summary: Callable[[Any], pd.DataFrame]) -> Predictions:
    known = summary(asked.context.groupby("record_id")[asked.channels]).astype(float)
    filled = known.fillna(train.series[train.channels].mean().astype(float))
    return {"predicted": filled.loc[asked.truth["record_id"]].to_numpy()}


def _padded(
    frame: pd.DataFrame, channel: str, record_ids: pd.Index
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, values and mask of one channel's measurements, a row for each stay: (B, N) each."""
    seen = frame[frame[channel].notna()]
    code = record_ids.get_indexer(seen["record_id"])
    place = seen.groupby("record_id").cumcount().to_numpy()
    shape = (len(record_ids), place.max(initial=0) + 1)
    times, values, mask = np.zeros(shape), np.zeros(shape), np.zeros(shape, dtype=bool)
    times[code, place], values[code, place], mask[code, place] = seen["time_h"], seen[channel], True
    return times, values, mask
