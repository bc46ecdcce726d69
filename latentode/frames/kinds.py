"""Columns that name what each row measured: such a table is pivoted before a fit, a column for each kind."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pandas as pd

from latentode.frames.clock import as_index
from latentode.frames.remedies import mostly_numbers
from latentode.frames.roles import Roles

__all__ = ["PIVOT_FIRST", "say_pivot"]

# By these words a message with this advice is known.
PIVOT_FIRST = "make a column of each kind first"

# More values than this name things, and each of a kind has to be measured a few times.
MAX_KINDS, ROWS_A_KIND = 50, 4

# Kinds take turns: neighbours in time differ at least this often, beside how often any two rows do. A state that lasts,
# or a descriptor with a slip, changes seldom.
TURNS = 0.25


def say_pivot(frame: pd.DataFrame, name: Hashable, roles: Roles) -> str | None:
    """What to do with a column of words if they say what was measured; None where they can't."""
    call = _pivot_call(frame, name, roles)
    return None if call is None else f"If it says what was measured, {PIVOT_FIRST}: df = {call}"


def _pivot_call(frame: pd.DataFrame, name: Hashable, roles: Roles) -> str | None:
    """The call that makes a column of each kind that `name` tells apart, as it stands in code, for a frame `df`.

    The words are few and take turns within series, and there are numbers beside them. What never changes within a
    series is kept. The ids and times of the result are its index, in which `id_col` and `time_col` find them.
    """
    if not _holds_words(frame[name]):
        return None
    others = [one for one in dict.fromkeys((*roles.value_cols, *roles.static_cols)) if one != name]
    kinds, words = pd.factorize(as_index(frame[name]))
    known = kinds >= 0
    ids = roles.id_of(frame)
    series = np.zeros(len(frame), dtype=np.int64) if ids is None else pd.factorize(ids)[0]
    if not 1 < len(words) <= min(MAX_KINDS, known.sum() / ROWS_A_KIND):
        return None
    times = roles.time_of(frame)
    if not _take_turns(series[known], times[known], kinds[known]):
        return None
    # Of a single series the words may be ids, if the rows of each lie together.
    if roles.is_single and (np.diff(kinds) != 0).sum() < 2 * len(words):
        return None
    kept = [] if roles.is_single else [one for one in others if _describes_series(frame[one], series)]
    values = [
        one for one in others if one in roles.value_cols and one not in kept and _is_measured(frame[one])
    ]
    if not values:
        return None
    keys = pd.DataFrame({"series": series, "time": times.to_numpy(), "kind": kinds})
    return _call(frame, name, roles, kept, values, repeated=bool(keys[known].duplicated().any()))


def _call(
    frame: pd.DataFrame,
    name: Hashable,
    roles: Roles,
    kept: list[Hashable],
    values: list[Hashable],
    *,
    repeated: bool,
) -> str:
    call = "df"
    time = "time" if roles.time_name is None else roles.time_name
    keys = [time] if roles.is_single else ["series" if roles.id_name is None else roles.id_name, time]
    if roles.id_level is not None or roles.time_level is not None:
        if None in frame.index.names:
            call += f".rename_axis({keys if frame.index.nlevels > 1 else time!r})"
        call += ".reset_index()"
    if frame[name].isna().any():
        call += f".dropna(subset=[{name!r}])"
    if not pd.api.types.is_string_dtype(frame[name].dtype):  # truths and categories make poor names
        call += f".astype({{{name!r}: str}})"
    columns = f"columns={name!r}, values={(values[0] if len(values) == 1 else values)!r}"
    by = [*keys, *kept]
    call += f".pivot{'_table' if repeated else ''}(index={(by[0] if len(by) == 1 else by)!r}, {columns}"
    if repeated:
        is_category = any(one in frame and isinstance(frame[one].dtype, pd.CategoricalDtype) for one in by)
        call += f", aggfunc='mean'{', observed=True' if is_category else ''}"
    call += ")"
    if len(values) > 1:
        named = "[f'{what} {kind}' for what, kind in wide]"
        call += f".pipe(lambda wide: wide.set_axis({named}, axis=1))"
    return f"{call}.reset_index({kept!r})" if kept else call


def _holds_words(column: pd.Series) -> bool:
    """Whether it holds text, categories or truths, and no numbers written as such."""
    dtype = column.dtype
    if pd.api.types.is_bool_dtype(dtype):
        return True
    if pd.api.types.is_object_dtype(dtype):
        kind = pd.api.types.infer_dtype(column, skipna=True)
        return kind == "boolean" or (kind == "string" and not mostly_numbers(column))
    words = pd.api.types.is_string_dtype(dtype) or isinstance(dtype, pd.CategoricalDtype)
    return words and not mostly_numbers(column)


def _is_measured(column: pd.Series) -> bool:
    dtype = column.dtype
    odd = pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_complex_dtype(dtype)
    return pd.api.types.is_numeric_dtype(dtype) and not odd


def _take_turns(series: np.ndarray, times: pd.Index, kinds: np.ndarray) -> bool:
    """Whether neighbours in a series differ in kind nearly as often as rows that were drawn at random."""
    try:
        rank = pd.factorize(times, sort=True)[0]
    except TypeError:  # times of several types, which are refused for that: the order of the rows has to do
        rank = np.arange(len(times))
    order = np.lexsort((rank, series))
    same = np.diff(series[order]) == 0
    by_chance = 1 - ((np.bincount(kinds) / len(kinds)) ** 2).sum()
    return bool(same.any() and (np.diff(kinds[order]) != 0)[same].mean() >= TURNS * by_chance)


def _describes_series(column: pd.Series, series: np.ndarray) -> bool:
    """Whether it has one value in each series, and all of them."""
    try:
        values = pd.factorize(as_index(column))[0]
    except TypeError:  # unhashable
        return False
    pairs = np.unique(np.column_stack([series, values]), axis=0)
    return bool((values >= 0).all()) and len(pairs) == len(np.unique(series))
