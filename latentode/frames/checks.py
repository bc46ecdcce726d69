"""What the rows of a frame must not hold once they are read."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from latentode.frames.columns import shown
from latentode.frames.hints import likely_id, run_id
from latentode.frames.kinds import say_pivot
from latentode.frames.roles import Roles
from latentode.frames.table import SeriesTable

__all__ = ["check_duplicates", "check_finite", "check_single"]

HOUR = 3600.0


def check_finite(table: SeriesTable) -> None:
    """Refuses infinite values.

    Raises:
        ValueError: naming the first one's series, time and column.
    """
    infinite = np.isinf(table.values)
    if infinite.any():
        row, column = (int(i[0]) for i in np.nonzero(infinite))
        raise ValueError(
            f"{_where(table, row)}: column {table.roles.value_cols[column]!r} is infinite; "
            "mark what was not observed as NaN, e.g. df.replace([np.inf, -np.inf], np.nan)"
        )


def check_duplicates(table: SeriesTable) -> None:
    """Rows of one series and time may complement each other; they must not contradict each other.

    Raises:
        ValueError: naming the first that do, and how to merge them or which id was forgotten.
    """
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
    remedy = f"df = df.groupby({_key_names(keys)}).agg({_merging(table)})"
    end = np.append(starts, len(order))[group + 1]
    kind = _kind_apart(table, order[starts[group] : end])
    if kind is not None:
        raise ValueError(
            f"{_where(table, row)} has two rows with different {keys.value_cols[column]!r} values, and column "
            f"{kind[0]!r} tells them apart. {kind[1]}. If not, merge them: {remedy}"
        )
    raise ValueError(
        f"{_where(table, row)} has two rows with different {keys.value_cols[column]!r} values; times must "
        f"be unique within a series. {_if_put_back(table, row)}Merge them first, e.g. {remedy}"
    )


def _kind_apart(table: SeriesTable, rows: np.ndarray) -> tuple[Hashable, str] | None:
    """The column of words in which rows of one series and time differ, and how to make columns of its kinds."""
    for name in table.frame.columns:
        if name in table.roles.key_columns or table.frame[name].iloc[rows].astype(str).nunique() < len(rows):
            continue
        told = say_pivot(table.frame, name, table.roles)
        if told is not None:
            return name, told
    return None


def _if_put_back(table: SeriesTable, row: int) -> str:
    """What to do where the clock of a row that repeats seems to have been put back by an hour: local times of no zone
    that go back once in their series, no farther, and there.
    """
    times = table.times[np.flatnonzero(table.codes == table.codes[row])]
    steps = times[1:].since(times[:-1])
    back = np.flatnonzero(steps < 0)
    if times.kind != "datetime" or times.aware or len(back) != 1 or steps[back[0]] < -HOUR:
        return ""
    if not 0 <= table.times[[row]].since(times[back + 1])[0] < HOUR:
        return ""
    return "If clocks were put back there, give the times their zone with tz_localize(zone, ambiguous=...). If not: "


def check_single(table: SeriesTable) -> None:
    """The rows of a frame without ids must not be those of several series, one below the other.

    Raises:
        ValueError: naming the column that seems to hold the id.
    """
    roles = table.roles
    forgotten = run_id(table.frame, roles.key_columns, table.times) if roles.is_single else None
    if forgotten is not None:
        raise ValueError(
            f"{roles.describe_time()} goes back from row to row, and column {forgotten!r} changes wherever it does: "
            f"does it say which series a row belongs to? Then name it with id_col={forgotten!r}"
        )


def _where(table: SeriesTable, row: int) -> str:
    """'series 'patient 17' at hours=3.5', for messages."""
    time = table.roles.time_of(table.frame)[row]
    name = table.roles.time_name if table.roles.time_name is not None else "time"
    if table.roles.is_single:
        return f"the series at {name}={time}"
    return f"series {shown(table.ids[table.codes[row]])} at {name}={time}"


def _merging(table: SeriesTable) -> str:
    """How rows become one: the mean of each channel, and the first of what else there is."""
    channels, keys = table.roles.value_cols, table.roles.key_columns
    others = [name for name in table.frame.columns if name not in {*channels, *keys}]
    if len(channels) + len(others) > 8:
        return "lambda x: x.mean() if x.dtype.kind in 'iuf' else x.iloc[0]"
    return repr(dict.fromkeys(channels, "mean") | dict.fromkeys(others, "first"))


def _key_names(roles: Roles) -> str:
    """What to group a frame by so that one row is left for each series and time."""
    if roles.is_single:
        return "level=0" if roles.time_level is not None else f"{roles.time_name!r}, as_index=False"
    if roles.id_level is not None and roles.time_level is not None:
        return f"level={sorted([roles.id_level, roles.time_level])}"
    if roles.time_level is None:
        return f"[{roles.id_name!r}, {roles.time_name!r}], as_index=False"
    time = "df.index" if roles.time_name is None else f"{roles.time_name!r}"
    return f"[{roles.id_name!r}, {time}]"
