"""Writes answers in the layout, index and dtypes of the frame they answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from latentode.frames.roles import Roles

__all__ = ["SAMPLE", "answer", "answer_rows", "float_dtype"]

SAMPLE = "sample"


def float_dtype(dtype: Any) -> Any:
    """The dtype in which a prediction of a column of this dtype is given: its own, if that is a float's.

    Predictions are never sparse, and half precision would round them.
    """
    if isinstance(dtype, pd.SparseDtype):
        return float_dtype(dtype.subtype)
    if isinstance(dtype, pd.ArrowDtype):
        return dtype if pd.api.types.is_float_dtype(dtype) else "double[pyarrow]"
    if pd.api.types.is_extension_array_dtype(dtype):
        return dtype if pd.api.types.is_float_dtype(dtype) else pd.Float64Dtype()
    return dtype if dtype in (np.dtype("float32"), np.dtype("float64")) else np.dtype("float64")


def _columns(columns: Mapping[Any, np.ndarray], dtypes: Mapping[Any, Any], index: pd.Index) -> pd.DataFrame:
    series = {
        name: _column(values, dtypes.get(name, np.dtype("float64")), index)
        for name, values in columns.items()
    }
    return pd.DataFrame(series, index=index)


def _column(values: np.ndarray, dtype: Any, index: pd.Index) -> pd.Series:
    if getattr(dtype, "itemsize", 8) == 4:  # a band may reach beyond the largest single precision number
        values = values.clip(-np.finfo(np.float32).max, np.finfo(np.float32).max)
    return pd.Series(values, index=index).astype(dtype)


def answer_rows(
    frame: pd.DataFrame, roles: Roles, columns: Mapping[Any, np.ndarray], dtypes: Mapping[Any, Any]
) -> pd.DataFrame:
    """Values for the rows of a frame: the same index, its id and time columns, then `columns`."""
    values = _columns(columns, dtypes, frame.index)
    keys = frame[roles.key_columns]
    return pd.concat([keys, values], axis=1) if len(keys.columns) else values


def answer(
    roles: Roles,
    ids: pd.Index | None,
    times: pd.Index,
    columns: Mapping[Any, np.ndarray],
    dtypes: Mapping[Any, Any],
    *,
    samples: np.ndarray | None = None,
) -> pd.DataFrame:
    """Values for rows of one's own making, in the layout that `roles` describe.

    Ids and times stand where the frame has them, as columns or as levels of the index in its order; `samples` stands
    between the two. What other levels would say is not known.

    Shapes:
        ids, times, samples (R,), columns (R,) each.
    """
    keys: list[tuple[Any, Any, bool]] = []  # name, values, whether it is a level of the index
    if not roles.is_single:
        keys.append((roles.id_name, ids, roles.id_level is not None))
    if samples is not None:
        keys.append(
            (SAMPLE, samples, all(is_level for _, _, is_level in keys) and roles.time_level is not None)
        )
    keys.append((roles.time_name, times, roles.time_level is not None))

    levels = [(name, values) for name, values, is_level in keys if is_level]
    if roles.id_level is not None and roles.time_level is not None and roles.time_level < roles.id_level:
        levels.reverse()
    if not levels:
        index: pd.Index = pd.RangeIndex(len(times))
    elif len(levels) == 1:
        index = pd.Index(levels[0][1], name=levels[0][0])
    else:
        index = pd.MultiIndex.from_arrays([v for _, v in levels], names=[name for name, _ in levels])
    key_columns = {
        name: pd.Series(values, index=index, dtype=values.dtype)
        for name, values, is_level in keys
        if not is_level
    }
    values = _columns(columns, dtypes, index)
    return pd.concat([pd.DataFrame(key_columns, index=index), values], axis=1) if key_columns else values
