"""Reads a frame: which rows belong to which series, when, and what was observed."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from latentode.frames.arrays import as_array
from latentode.frames.clock import Instants, as_index, read_times
from latentode.frames.columns import read_values, shown
from latentode.frames.hints import likely_id, role_hint
from latentode.frames.libraries import to_pandas
from latentode.frames.roles import Roles, find_roles
from latentode.frames.statics import Statics, StaticValues, read_static
from latentode.series import SeriesCollection

__all__ = ["SeriesTable", "read_frame", "read_keys"]

SINGLE = 0  # the id of the only series of a frame without ids


@dataclass(frozen=True)
class SeriesTable:
    """The rows of a frame in the frame's order, with their series and times.

    Shapes:
        ids (n_series,), in order of appearance; codes (R,) number of each row's series;
        times (R,); values (R, D) float64, NaN where not observed; statics, what each static column says of each
        series.
    """

    frame: pd.DataFrame
    roles: Roles
    ids: pd.Index
    codes: np.ndarray
    times: Instants
    values: np.ndarray
    statics: tuple[StaticValues, ...] = ()

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def observed_rows(self) -> np.ndarray:
        return ~np.isnan(self.values).all(axis=1)

    def first_rows(self) -> np.ndarray:
        """Row number of each series' first observation (of its first row, where it has none)."""
        return self._edge_rows(last=False)

    def last_rows(self) -> np.ndarray:
        """Row number of each series' last observation (of its last row, where it has none)."""
        return self._edge_rows(last=True)

    def _edge_rows(self, *, last: bool) -> np.ndarray:
        # Observed rows sort behind the others for the last one, before them for the first.
        rank = self.observed_rows if last else ~self.observed_rows
        order = np.lexsort((self.times.part, self.times.whole, rank, self.codes))
        starts = np.searchsorted(self.codes[order], np.arange(len(self.ids) + 1))
        return order[starts[1:] - 1] if last else order[starts[:-1]]

    def spans(self) -> np.ndarray:
        """Time from each series' first row to its last, queries among them: (n_series,)."""
        order = np.lexsort((self.times.part, self.times.whole, self.codes))
        edges = np.searchsorted(self.codes[order], np.arange(len(self.ids) + 1))
        return self.times[order[edges[1:] - 1]].since(self.times[order[edges[:-1]]])

    def merged_rows(self) -> tuple[np.ndarray, np.ndarray]:
        """The observed rows by series and time, and a number for each that rows of equal time share."""
        rows = np.flatnonzero(self.observed_rows)
        rows = rows[np.lexsort((self.times.part[rows], self.times.whole[rows], self.codes[rows]))]
        new = np.ones(len(rows), dtype=bool)
        new[1:] = (
            (np.diff(self.codes[rows]) != 0)
            | (np.diff(self.times.whole[rows]) != 0)
            | (np.diff(self.times.part[rows]) != 0)
        )
        return rows, np.cumsum(new) - 1

    def collection(self, statics: Statics | None = None) -> SeriesCollection:
        """The observed rows, sorted, rows of equal time merged, in the data's units and float64.

        Time is counted from each series' first observation.

        Args:
            statics: how static columns become features; without, the collection holds none.
        """
        rows, group = self.merged_rows()
        n_rows = group[-1] + 1 if len(group) else 0
        values = np.full((n_rows, self.values.shape[1]), np.nan)
        row, column = np.nonzero(~np.isnan(self.values[rows]))
        values[group[row], column] = self.values[rows][row, column]
        rows = rows[np.unique(group, return_index=True)[1]]
        codes = self.codes[rows]
        elapsed = self.times[rows].since(self.times[self.first_rows()[codes]])
        mask = ~np.isnan(values)
        return SeriesCollection(
            times=torch.from_numpy(elapsed),
            values=torch.from_numpy(np.where(mask, values, 0.0)),
            mask=torch.from_numpy(mask),
            starts=torch.from_numpy(np.searchsorted(codes, np.arange(len(self.ids) + 1))),
            statics=self.features(statics),
        )

    def features(self, statics: Statics | None) -> torch.Tensor | None:
        """What static columns tell of each series, (n_series, P) float64; None where they tell nothing."""
        if statics is None or not statics.n_features:
            return None
        return torch.from_numpy(statics.encode(self.statics))


def read_frame(
    data: Any,
    *,
    id_col: Hashable | None = None,
    time_col: Hashable | None = None,
    value_cols: Sequence[Hashable] | None = None,
    static_cols: Sequence[Hashable] | None = None,
    like: Instants | None = None,
    statics: Statics | None = None,
) -> SeriesTable:
    """Reads a long frame, a frame with a (series, time) index, or one series whose index is the clock.

    Args:
        value_cols: None takes every column that is neither id, time nor static.
        like: instants of the fitted model, whose kind of time the frame must share.
        statics: the fitted model's static columns, which are read as they were then.

    Raises:
        TypeError, ValueError: for whatever is wrong with the frame, naming series and column.
    """
    frame, from_array = _as_frame(data)
    roles = find_roles(frame, id_col, time_col, value_cols, static_cols, from_array=from_array)
    ids, codes, times = read_keys(frame, roles, like=like)
    learned = {} if statics is None else {column.name: column for column in statics.columns}
    described = tuple(read_static(frame, name, ids, codes, learned.get(name)) for name in roles.static_cols)
    table = SeriesTable(frame, roles, ids, codes, times, _read_channels(frame, roles), described)
    _check_finite(table)
    _check_duplicates(table)
    return table


def read_keys(
    frame: pd.DataFrame, roles: Roles, *, like: Instants | None = None
) -> tuple[pd.Index, np.ndarray, Instants]:
    """The series (ids in order of appearance, code of each row) and the time of each row."""
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
    times = read_times(roles.time_of(frame), what, like=like)
    bad = ~(np.isfinite(times.whole) & np.isfinite(times.part))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        where = "" if roles.is_single else f"series {shown(ids[codes[row]])}, "
        raise ValueError(
            f"{where}row {row}: {what} is missing or infinite; every row needs a finite time. "
            "Drop such rows first, e.g. df.dropna(subset=[...])"
        )
    return ids, codes, times


def _as_frame(data: Any) -> tuple[pd.DataFrame, bool]:
    data = to_pandas(data)
    if isinstance(data, pd.DataFrame):
        frame, from_array = data, False
    elif isinstance(data, pd.Series):
        frame, from_array = data.to_frame("value" if data.name is None else data.name), False
    elif isinstance(data, list) or hasattr(data, "__array__") or hasattr(data, "toarray"):
        frame, from_array = pd.DataFrame(as_array(data)), True
    else:
        raise TypeError(f"expected a pandas DataFrame, one of polars or an array; got {type(data).__name__}")
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise ValueError(f"two columns are called {twice!r}; column names must be unique")
    if len(frame) == 0:
        raise ValueError("the frame is empty: it has no rows")
    return frame, from_array


def _read_channels(frame: pd.DataFrame, roles: Roles) -> np.ndarray:
    """The channels side by side: (R, D)."""
    columns, ids = [], roles.id_of(frame)
    for name in roles.value_cols:
        try:
            columns.append(read_values(frame[name], name, ids))
        except TypeError as failure:
            hint = role_hint(frame[name], single=roles.is_single, by_index=roles.time_level is not None)
            raise TypeError(f"{failure}{hint}") from None
    return np.column_stack(columns).reshape(len(frame), len(columns))


def _check_finite(table: SeriesTable) -> None:
    infinite = np.isinf(table.values)
    if infinite.any():
        row, column = (int(i[0]) for i in np.nonzero(infinite))
        raise ValueError(
            f"{_where(table, row)}: column {table.roles.value_cols[column]!r} is infinite; "
            "mark what was not observed as NaN, e.g. df.replace([np.inf, -np.inf], np.nan)"
        )


def _check_duplicates(table: SeriesTable) -> None:
    """Rows of one series and time may complement each other; they must not contradict each other."""
    times, codes = table.times, table.codes
    order = np.lexsort((times.part, times.whole, codes))
    repeats = np.flatnonzero(
        (codes[order][1:] == codes[order][:-1])
        & (times.whole[order][1:] == times.whole[order][:-1])
        & (times.part[order][1:] == times.part[order][:-1])
    )
    if not len(repeats):
        return
    # Compare every observed value with the smallest and the largest of its (series, time) group.
    new_group = np.ones(len(order), dtype=bool)
    new_group[repeats + 1] = False
    starts = np.flatnonzero(new_group)
    values = table.values[order]
    low = np.minimum.reduceat(np.where(np.isnan(values), np.inf, values), starts)
    high = np.maximum.reduceat(np.where(np.isnan(values), -np.inf, values), starts)
    conflict = high > low
    if not conflict.any():
        return
    group, column = (int(i[0]) for i in np.nonzero(conflict))
    row = int(order[starts[group]])
    keys = table.roles
    forgotten = likely_id(table.frame, keys.key_columns, table.times) if keys.is_single else None
    if forgotten is not None:
        raise ValueError(
            f"{_where(table, row)} has two rows with different {keys.value_cols[column]!r} values, and column "
            f"{forgotten!r} tells such rows apart: does it say which series a row belongs to? Then name it with "
            f"id_col={forgotten!r}"
        )
    remedy = f"df = df.groupby({_key_names(keys)}).agg({_merging(keys)})"
    raise ValueError(
        f"{_where(table, row)} has two rows with different {keys.value_cols[column]!r} values; times must "
        f"be unique within a series. Merge them first, e.g. {remedy}"
    )


def _where(table: SeriesTable, row: int) -> str:
    """'series 'patient 17' at hours=3.5', for messages."""
    time = table.roles.time_of(table.frame)[row]
    name = table.roles.time_name if table.roles.time_name is not None else "time"
    if table.roles.is_single:
        return f"the series at {name}={time}"
    return f"series {shown(table.ids[table.codes[row]])} at {name}={time}"


def _merging(roles: Roles) -> str:
    """How rows become one: the mean of each channel, and the first of what describes a series."""
    if len(roles.value_cols) + len(roles.static_cols) > 8:
        return "lambda x: x.mean() if x.dtype.kind in 'iuf' else x.iloc[0]"
    how = dict.fromkeys(roles.value_cols, "mean") | dict.fromkeys(roles.static_cols, "first")
    return repr(how)


def _key_names(roles: Roles) -> str:
    """What to group a frame by so that one row is left for each series and time."""
    if roles.is_single:
        return "level=0" if roles.time_level is not None else f"{roles.time_name!r}, as_index=False"
    if roles.id_level is not None and roles.time_level is not None:
        return "level=[0, 1]"
    if roles.time_level is None:
        return f"[{roles.id_name!r}, {roles.time_name!r}], as_index=False"
    time = "df.index" if roles.time_name is None else f"{roles.time_name!r}"
    return f"[{roles.id_name!r}, {time}]"


def _name(name: Hashable | None, otherwise: str) -> str:
    return otherwise if name is None else f"column {name!r}"
