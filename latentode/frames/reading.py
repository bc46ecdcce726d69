"""Reads a frame: which rows belong to which series, when, and what was observed."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from latentode.frames.checks import check_duplicates, check_finite, check_single
from latentode.frames.clock import Instants, as_index, read_times
from latentode.frames.columns import read_values, shown
from latentode.frames.hints import better_id, role_hint
from latentode.frames.kinds import say_pivot
from latentode.frames.libraries import as_frame
from latentode.frames.roles import Roles, find_roles
from latentode.frames.statics import CategoryColumn, NumberColumn, Statics, StaticValues, read_static
from latentode.frames.table import SeriesTable

__all__ = ["read_channel", "read_described", "read_frame", "read_keys"]

SINGLE = 0  # the id of the only series of a frame without ids


def read_frame(
    data: Any,
    *,
    id_col: Hashable | None = None,
    time_col: Hashable | None = None,
    value_cols: Sequence[Hashable] | None = None,
    static_cols: Sequence[Hashable] | None = None,
    like: Instants | None = None,
    statics: Statics | None = None,
    fitted: Roles | None = None,
) -> SeriesTable:
    """Reads a long frame, a frame with a (series, time) index, or one series whose index is the clock.

    Args:
        value_cols: None takes every column that is neither id, time nor static.
        like: instants of the fitted model, whose kind of time the frame must share.
        statics: the fitted model's static columns, which are read as they were then.
        fitted: the fitted model's roles, as in `find_roles`.

    Raises:
        TypeError, ValueError: for whatever is wrong with the frame, naming series and column.
    """
    frame, from_array = as_frame(data)
    roles = find_roles(frame, id_col, time_col, value_cols, static_cols, from_array=from_array, fitted=fitted)
    ids, codes, times = read_keys(frame, roles, like=like)
    learned = {} if statics is None else {column.name: column for column in statics.columns}
    described = tuple(
        read_described(frame, name, roles, ids, codes, learned.get(name)) for name in roles.static_cols
    )
    table = SeriesTable(frame, roles, ids, codes, times, _read_channels(frame, roles), described)
    check_finite(table)
    check_duplicates(table)
    check_single(table)
    return table


def read_keys(
    frame: pd.DataFrame, roles: Roles, *, like: Instants | None = None, zone: Any = None
) -> tuple[pd.Index, np.ndarray, Instants]:
    """The series (ids in order of appearance, code of each row) and the time of each row.

    Args:
        like, zone: as in `read_times`.

    Raises:
        TypeError: as `read_times`.
        ValueError: for a row without an id or a finite time, and as `read_times`.
    """
    id_index = roles.id_of(frame)
    if id_index is None:
        ids, codes = pd.Index([SINGLE]), np.zeros(len(frame), dtype=np.int64)
    else:
        codes, ids = pd.factorize(id_index, sort=False)
        if (codes < 0).any():
            row = int(np.flatnonzero(codes < 0)[0])
            raise ValueError(
                f"row {row} has no series id (in {_name(roles.id_name, 'the index')}); "
                "every row must say which series it belongs to"
            )
        ids = as_index(ids)
    what = roles.describe_time()
    times = read_times(roles.time_of(frame), what, like=like, zone=zone)
    bad = ~(np.isfinite(times.whole) & np.isfinite(times.part))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        where = "" if roles.is_single else f"series {shown(ids[codes[row]])}, "
        raise ValueError(
            f"{where}row {row}: {what} is missing or infinite; every row needs a finite time. "
            f"Drop such rows first, e.g. {_without_time(frame, roles)}"
        )
    return ids, codes, times


def _read_channels(frame: pd.DataFrame, roles: Roles) -> np.ndarray:
    """The channels side by side: (R, D)."""
    columns = [read_channel(frame, name, roles) for name in roles.value_cols]
    return np.column_stack(columns).reshape(len(frame), len(columns))


def read_channel(frame: pd.DataFrame, name: Hashable, roles: Roles) -> np.ndarray:
    """One channel, (R,).

    Raises:
        TypeError, ValueError: as `read_values`, with the role that the column may have been meant for.
    """
    try:
        return read_values(frame[name], name, roles.id_of(frame))
    except TypeError as failure:
        forgotten = _forgotten_id(frame, name, roles)
        if forgotten is not None:
            raise TypeError(_say_forgotten(str(failure), frame, name, roles, forgotten)) from None
        told = say_pivot(frame, name, roles)
        hint = role_hint(frame[name], single=roles.is_single, by_index=roles.time_level is not None)
        if told is None:
            raise TypeError(f"{failure}{hint}") from None
        what, problem, _ = str(failure).partition(" where numbers belong")
        other = (
            hint.removeprefix(". ") if roles.is_single else "If not, drop it, or leave it out of value_cols"
        )
        raise TypeError(f"{what}{problem}, and changes within series. {told}. {other}") from None


def _forgotten_id(frame: pd.DataFrame, name: Hashable, roles: Roles) -> Hashable | None:
    """The column that names the series of a frame without ids more likely than the words of one of its columns do."""
    if not roles.is_single:
        return None
    try:
        times = read_times(roles.time_of(frame), roles.describe_time())
    except (TypeError, ValueError):  # told when its turn comes
        times = None
    return better_id(frame, name, [*roles.key_columns, *roles.static_cols], times)


def _say_forgotten(
    failure: str, frame: pd.DataFrame, name: Hashable, roles: Roles, forgotten: Hashable
) -> str:
    """The message about a column of words where another names the series, and what the words say of those."""
    hint = (
        f"Column {forgotten!r} looks as if it said which series a row belongs to: if it does, name it with "
        f"id_col={forgotten!r}"
    )
    channels = tuple(one for one in roles.value_cols if one != forgotten)
    told = say_pivot(frame, name, replace(roles, id_name=forgotten, value_cols=channels))
    if told is not None:
        what, problem, _ = failure.partition(" where numbers belong")
        return f"{what}{problem}, and changes within series. {told}. {hint}"
    static = f"{name!r}, if it describes a series as a whole, in static_cols=[{name!r}]"
    return f"{failure}. {hint}, and {static}"


def read_described(
    frame: pd.DataFrame,
    name: Hashable,
    roles: Roles,
    ids: pd.Index,
    codes: np.ndarray,
    learned: NumberColumn | CategoryColumn | None = None,
) -> StaticValues:
    """What a static column says of each series.

    Raises:
        TypeError, ValueError: as `read_static`, with what else a column that changes within series may say.
    """
    try:
        return read_static(frame, name, ids, codes, learned)
    except ValueError as failure:
        what, changes, _ = str(failure).partition(" If it changes in time")
        if not changes:
            raise
        keep = _keep_first(name, roles)
        told = say_pivot(frame, name, roles) if learned is None else None
        if told is None:
            raise ValueError(f"{failure}: {keep}") from None
        raise ValueError(f"{what} {told}. If not, keep one value: {keep}") from None


def _keep_first(name: Hashable, roles: Roles) -> str:
    """The call that leaves one value of a column to each series."""
    if roles.is_single:
        return f"df[{name!r}].dropna().iloc[0]"
    whose = f"df[{roles.id_name!r}]" if roles.id_level is None else f"level={roles.id_level}"
    return f"df[{name!r}].groupby({whose}).transform('first')"


def _without_time(frame: pd.DataFrame, roles: Roles) -> str:
    """The call that leaves out the rows whose time is missing."""
    if roles.time_level is None:
        return f"df.dropna(subset=[{roles.time_name!r}])"
    level = "" if frame.index.nlevels == 1 else f".get_level_values({roles.time_level})"
    return f"df[df.index{level}.notna()]"


def _name(name: Hashable | None, otherwise: str) -> str:
    return otherwise if name is None else f"column {name!r}"
