"""Reads a frame: which rows belong to which series, when, and what was observed."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from latentode.frames.checks import check_duplicates, check_finite, check_single
from latentode.frames.clock import Instants, as_index, read_times
from latentode.frames.columns import read_values, shown
from latentode.frames.hints import role_hint
from latentode.frames.kinds import say_pivot
from latentode.frames.libraries import as_frame
from latentode.frames.roles import Roles, find_roles
from latentode.frames.statics import CategoryColumn, NumberColumn, Statics, StaticValues, read_static
from latentode.series import SeriesCollection

__all__ = ["SeriesTable", "read_channel", "read_described", "read_frame", "read_keys"]

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
    frame, from_array = as_frame(data)
    roles = find_roles(frame, id_col, time_col, value_cols, static_cols, from_array=from_array)
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
        told = say_pivot(frame, name, roles)
        hint = role_hint(frame[name], single=roles.is_single, by_index=roles.time_level is not None)
        if told is None:
            raise TypeError(f"{failure}{hint}") from None
        what, problem, _ = str(failure).partition(" where numbers belong")
        other = (
            hint.removeprefix(". ") if roles.is_single else "If not, drop it, or leave it out of value_cols"
        )
        raise TypeError(f"{what}{problem}, and changes within series. {told}. {other}") from None


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
        told = say_pivot(frame, name, roles) if learned is None else None
        if told is None:
            raise
        what, _, _ = str(failure).partition(" If it changes in time")
        keep = f"If not, keep one value: df.groupby(id)[{name!r}].transform('first')"
        raise ValueError(f"{what} {told}. {keep}") from None


def _without_time(frame: pd.DataFrame, roles: Roles) -> str:
    """The call that leaves out the rows whose time is missing."""
    if roles.time_level is None:
        return f"df.dropna(subset=[{roles.time_name!r}])"
    level = "" if frame.index.nlevels == 1 else f".get_level_values({roles.time_level})"
    return f"df[df.index{level}.notna()]"


def _name(name: Hashable | None, otherwise: str) -> str:
    return otherwise if name is None else f"column {name!r}"
