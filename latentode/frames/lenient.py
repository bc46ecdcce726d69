"""Reads what can be read of a frame, and collects what `read_frame` would refuse."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from latentode.frames.checks import check_duplicates, check_finite, check_single
from latentode.frames.clock import read_times
from latentode.frames.kinds import PIVOT_FIRST
from latentode.frames.libraries import as_frame
from latentode.frames.reading import read_channel, read_described, read_keys
from latentode.frames.remedies import mistyped, numbers_among
from latentode.frames.roles import Roles, find_roles
from latentode.frames.statics import StaticValues
from latentode.frames.table import SeriesTable

__all__ = ["read_leniently"]


def read_leniently(
    data: Any,
    *,
    id_col: Hashable | None = None,
    time_col: Hashable | None = None,
    value_cols: Sequence[Hashable] | None = None,
    static_cols: Sequence[Hashable] | None = None,
) -> tuple[SeriesTable | None, list[str]]:
    """The part of a frame that makes sense, and the message of each thing that `read_frame` would raise.

    Columns without numbers and rows without id or time are left out, infinite values are taken as missing, and so are
    cells of text in columns of numbers; text is read as times where it can be; of contradicting rows all stay.

    Returns:
        The table, or None where roles, times or values can't be made out at all; and the messages.
    """
    refused: list[str] = []
    try:
        frame, from_array = as_frame(data)
        roles = find_roles(frame, id_col, time_col, value_cols, static_cols, from_array=from_array)
    except (TypeError, ValueError) as failure:
        return None, [str(failure)]
    columns = {}
    for name in roles.value_cols:
        try:
            columns[name] = read_channel(frame, name, roles)
        except (TypeError, ValueError) as failure:
            refused.append(str(failure))
            if mistyped(frame[name]):
                columns[name] = numbers_among(frame[name])
    if not columns:
        _keys(frame, roles, refused)
        return None, refused
    roles = replace(roles, value_cols=tuple(columns))

    found = _keys(frame, roles, refused)
    if found is None:
        return None, refused
    frame, kept = found
    ids, codes, times = read_keys(frame, roles)
    values = np.column_stack(list(columns.values())).reshape(-1, len(columns))[kept]
    statics = _statics(frame, roles, ids, codes, refused)
    roles = replace(roles, static_cols=tuple(one.name for one in statics))
    table = SeriesTable(frame, roles, ids, codes, times, values, statics)
    try:
        check_finite(table)
    except ValueError as failure:
        refused.append(str(failure))
        table = replace(table, values=np.where(np.isinf(table.values), np.nan, table.values))
    for check in (check_duplicates, check_single):
        try:
            check(table)
        except ValueError as failure:
            told = any(PIVOT_FIRST in message for message in refused)
            if not (told and PIVOT_FIRST in str(failure)):  # one line mends both
                refused.append(str(failure))
    return table, refused


def _statics(
    frame: pd.DataFrame, roles: Roles, ids: pd.Index, codes: np.ndarray, refused: list[str]
) -> tuple[StaticValues, ...]:
    """Those that can be read."""
    found = []
    for name in roles.static_cols:
        try:
            found.append(read_described(frame, name, roles, ids, codes))
        except (TypeError, ValueError) as failure:
            refused.append(str(failure))
    return tuple(found)


def _keys(frame: pd.DataFrame, roles: Roles, refused: list[str]) -> tuple[pd.DataFrame, np.ndarray] | None:
    """The rows with an id and a time that can be read, and their numbers; None without any."""
    kept = np.arange(len(frame))
    try:
        read_keys(frame, roles)
    except (TypeError, ValueError) as failure:
        refused.append(str(failure))
    else:
        return frame, kept
    ids = roles.id_of(frame)
    if ids is not None:
        kept = np.flatnonzero(~ids.isna())
        frame = frame.iloc[kept]
    try:
        times = read_times(roles.time_of(frame), roles.describe_time())
    except TypeError:
        clock = _from_text(roles.time_of(frame)) if roles.time_level is None else None
        if clock is None:
            return None
        frame = frame.copy()
        frame[roles.time_name] = clock
        times = read_times(roles.time_of(frame), roles.describe_time())
    good = np.isfinite(times.whole) & np.isfinite(times.part)
    return (frame[good], kept[good]) if good.any() else None


def _from_text(times: pd.Index) -> Any:
    """Text as numbers or datetimes, missing where it is neither; None where hardly any is."""
    text = pd.Series(times).astype("string")
    for read in (
        lambda: pd.to_numeric(text, errors="coerce").astype("float64"),
        lambda: pd.to_datetime(text, errors="coerce", format="ISO8601"),
        lambda: pd.to_datetime(text, errors="coerce", format="ISO8601", utc=True),
    ):
        try:
            found = read()
        except ValueError:
            continue
        if found.notna().sum() > 0.5 * text.notna().sum():
            return found.to_numpy() if found.dtype.kind == "f" else pd.DatetimeIndex(found)
    return None
