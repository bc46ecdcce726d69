"""What the second day in intensive care is foretold by without a model: see `benchmarks.physionet_task`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.gaussian_process import fit_series_gp
from benchmarks.physionet_ridge import predict_by_ridge
from benchmarks.physionet_task import DAY, Stays, Task

__all__ = ["RIVALS", "last_value", "predictions_of_rivals"]

NORMAL_90 = 1.645

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
