"""When which series is asked about: the rows of a frame, times of the user's own, or steps ahead."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from latentode.frames.clock import Instants, as_index, duration, parse_times, read_times
from latentode.frames.columns import shown
from latentode.frames.levels import find_levels
from latentode.frames.reading import read_keys
from latentode.frames.roles import Roles
from latentode.frames.scaling import Scaling
from latentode.frames.table import SeriesTable

__all__ = ["Questions", "ask_ahead", "ask_rows", "ask_times", "own_times", "read_asked", "read_moment"]

PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


@dataclass(frozen=True)
class Questions:
    """Q pairs of a series and a time, in the order in which they were asked.

    Shapes:
        codes (Q,), each one's series in the table; instants (Q,); times (Q,), as the user has them;
        ids (Q,), None for a frame that is a single series; frame, the one of Q rows they were asked by;
        wanted (Q, D), where bands are asked for, None for everywhere.
    """

    ids: pd.Index | None
    times: pd.Index
    codes: np.ndarray
    instants: Instants
    frame: pd.DataFrame | None = None
    wanted: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.codes)

    def by_series(
        self, table: SeriesTable, scaling: Scaling
    ) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
        """The order that sorts them by series and time, their model times in it, and each series' start.

        Model time counts from the first observation of each series, as the collection's does.
        """
        elapsed = self.instants.since(table.times[table.first_rows()[self.codes]])
        order = np.lexsort((elapsed, self.codes))
        codes, elapsed = self.codes[order], elapsed[order]
        starts = np.searchsorted(codes, np.arange(len(table.ids) + 1))
        times = torch.from_numpy(elapsed / scaling.time_unit)
        return order, times, torch.from_numpy(starts)


def ask_rows(table: SeriesTable) -> Questions:
    """The rows of the frame itself."""
    roles = table.roles
    return Questions(
        roles.id_of(table.frame), roles.time_of(table.frame), table.codes, table.times, table.frame
    )


def ask_times(table: SeriesTable, times: Any) -> Questions:
    """The same times for every series (1-D), or each series' own (a frame or a two-level index).

    The same times for all are answered in the zone of the table's clock, each series' own as they are given.

    Raises:
        ValueError: for no times, missing ones, or series that the table does not hold.
        TypeError: for times of another kind than the table's.
    """
    zone = table.zone
    if isinstance(times, (pd.DataFrame, pd.MultiIndex)):
        return _ask_own_times(table, times, zone)
    asked, instants = read_asked(times, like=table.times, zone=zone, roles=table.roles)
    if zone is not None and isinstance(asked, pd.DatetimeIndex):
        asked = asked.tz_convert(zone)
    n_series = len(table.ids)
    places = np.tile(np.arange(len(asked)), n_series)
    return Questions(
        None if table.roles.is_single else table.ids.repeat(len(asked)),
        asked[places],
        np.arange(n_series).repeat(len(asked)),
        instants[places],
    )


def read_asked(
    times: Any, *, like: Instants, zone: Any = None, roles: Roles | None = None
) -> tuple[pd.Index, Instants]:
    """A user's 1-D times, as an index and as instants of the kind of `like`.

    Args:
        zone: as in `parse_times`.
        roles: of the data, where each series may have times of its own.

    Raises:
        ValueError: for no times, or missing or infinite ones.
        TypeError: for times of another kind, or for what is no list of them.
    """
    if np.ndim(times) != 1:
        raise TypeError(_no_list(times, like, zone, roles))
    if not len(times):
        raise ValueError("times is empty; ask for at least one time")
    asked = parse_times(times, "times", like=like, zone=zone)
    instants = read_times(asked, "times", like=like)
    if not (np.isfinite(instants.whole) & np.isfinite(instants.part)).all():
        raise ValueError("times holds missing or infinite times; every time must be finite")
    given = as_index(times).infer_objects()
    return (given if isinstance(given, pd.PeriodIndex) else asked), instants


def read_moment(time: Any, what: str, table: SeriesTable) -> tuple[str, Instants]:
    """A single time on a table's clock: how it reads, in the zone of the table, and as instants (1,).

    Raises:
        ValueError: for one that is missing or infinite.
        TypeError: for several, and for a time of another kind than the table's.
    """
    if not isinstance(time, str) and (isinstance(time, Collection) or np.ndim(time)):
        raise TypeError(f"{what} must be a single time; got a {type(time).__name__}")
    zone = table.zone
    asked = parse_times([time], what, like=table.times, zone=zone)
    instants = read_times(asked, what, like=table.times)
    if not (np.isfinite(instants.whole) & np.isfinite(instants.part)).all():
        raise ValueError(f"{what} must be a finite time; got {time!r}")
    if zone is not None and isinstance(asked, pd.DatetimeIndex):
        asked = asked.tz_convert(zone)
    return str(asked[0]), instants


def _no_list(times: Any, like: Instants, zone: Any, roles: Roles | None) -> str:
    """What to give in place of a single time, a dict, or an array of several dimensions.

    Raises:
        TypeError, ValueError: as `read_asked` for a single time that a list would not mend.
    """
    if np.ndim(times):
        return (
            f"times has the shape {np.shape(times)}; give a list of times for all series{_own_times(roles)}"
        )
    if isinstance(times, Collection) and not isinstance(times, str):
        return f"times is a {type(times).__name__}; give a list of times for all series{_own_times(roles)}"
    # Of another kind than the model's a list of it would be no better, and is refused in its own words.
    read_asked([times], like=like, zone=zone)
    return (
        f"times must be a list or index of times; got {times!r}. For one time give a list of it, [{times!r}]"
    )


def _own_times(roles: Roles | None) -> str:
    """How each series is asked at times of its own, in the layout that `roles` describe; nothing of a single one."""
    if roles is None or roles.is_single:
        return ""
    if len(roles.key_columns) == 2:
        return f", or a frame for each series' own: pd.DataFrame({{{roles.id_name!r}: ..., {roles.time_name!r}: ...}})"
    return ", or a frame for each series' own, with ids and times where the data have them"


def _ask_own_times(table: SeriesTable, times: pd.DataFrame | pd.MultiIndex, zone: Any) -> Questions:
    frame, roles = own_times(table, times)
    if len(frame) == 0:
        raise ValueError("times is empty; ask for at least one time")
    ids, codes, instants = read_keys(frame, roles, like=table.times, zone=zone)
    places = table.ids.get_indexer(ids)
    if (places < 0).any():
        unknown = ids[int(np.flatnonzero(places < 0)[0])]
        raise ValueError(
            f"times asks for series {shown(unknown)}, which the data do not hold; {_known_ids(unknown, table.ids)}"
        )
    return Questions(roles.id_of(frame), roles.time_of(frame), places[codes], instants, frame)


def own_times(table: SeriesTable, times: pd.DataFrame | pd.MultiIndex) -> tuple[pd.DataFrame, Roles]:
    """A frame of each series' own times, and where it has them: in the columns and levels in which the table has.

    Its index has all levels of the table's, or those of ids and times alone, found by their names where it has these.

    Raises:
        ValueError: for one that lacks them.
    """
    frame = pd.DataFrame(index=times) if isinstance(times, pd.MultiIndex) else times
    roles = table.roles
    missing = [name for name in roles.key_columns if name not in frame.columns]
    numbers = sorted(number for number in (roles.id_level, roles.time_level) if number is not None)
    names = [table.frame.index.names[number] for number in numbers]
    found = find_levels(names, frame.index.names)
    if found is None and frame.index.nlevels == table.frame.index.nlevels:
        found = numbers
    elsewhere = [name for name in names if name in frame.columns and name not in frame.index.names]
    if missing or found is None or elsewhere:
        lacks = f"the columns {missing}" if missing else f"the {_said_of_index(roles)} index"
        raise ValueError(f"times lacks {lacks}; a frame of times holds ids and times where the data do")
    places = {None: None} | dict(zip(numbers, found, strict=True))
    return frame, replace(roles, id_level=places[roles.id_level], time_level=places[roles.time_level])


def _said_of_index(roles: Roles) -> str:
    """What levels the index of a frame has to have, in their order."""
    levels = {"series": roles.id_level, "time": roles.time_level}
    known = sorted((number, said) for said, number in levels.items() if number is not None)
    return known[0][1] if len(known) == 1 else f"({', '.join(said for _, said in known)})"


def _unit_of_steps(length: float, steps: int, unit: str) -> str:
    """The clock's unit, or the first finer one in which all steps are whole; microseconds where none is.

    Nanoseconds are left to clocks that have them: they end at the year 2262 and begin at 1677.
    """
    finer = list(PER_SECOND)[list(PER_SECOND).index(unit) :]
    for one in finer:
        step = length * PER_SECOND[one] / steps
        if one != "ns" and abs(step - round(step)) < 1e-6:
            return one
    return "ns" if unit == "ns" else "us"


def _known_ids(unknown: Any, ids: pd.Index) -> str:
    """The first few of the ids that there are; and of what kind, where the one asked for is of another."""
    few = f"{', '.join(map(shown, ids[:5]))}{', ...' if len(ids) > 5 else ''}"
    if isinstance(unknown, str) and pd.api.types.is_numeric_dtype(ids.dtype):
        kind = "integers" if pd.api.types.is_integer_dtype(ids.dtype) else "numbers"
        return f"their ids are {kind}, {few}, and this one is text"
    if not isinstance(unknown, str) and pd.api.types.is_string_dtype(ids.dtype):
        return f"their ids are text, {few}, and this one is none"
    return f"their ids are {few}"


def ask_ahead(table: SeriesTable, horizon: Any, steps: int) -> Questions:
    """`steps` equal steps up to `horizon` beyond each series' last observation, in the clock's dtype.

    Where the steps are no whole units of the clock they are given in a finer one.

    Of a clock of periods they are periods where each is the start of one, and datetimes else; of one of Arrow's dates
    dates where all are.
    """
    length = duration(horizon, table.times.kind, "horizon")
    n_series = len(table.ids)
    fractions = np.tile(np.arange(1, steps + 1) / steps, n_series)
    clock = table.roles.time_of(table.frame)
    last = parse_times(clock, "the clock")[table.last_rows()].repeat(steps)
    if table.times.kind == "number":
        times = _later(last, length * fractions)
    else:
        unit = _unit_of_steps(length, steps, last.unit)
        leads = pd.TimedeltaIndex(
            np.round(length * PER_SECOND[unit] * fractions).astype(f"timedelta64[{unit}]")
        )
        times = last.as_unit(unit) + leads
        if isinstance(clock, pd.PeriodIndex):
            periods = times.to_period(clock.freq)
            times = periods if (periods.to_timestamp() == times).all() else times
    if isinstance(clock.dtype, pd.ArrowDtype):
        times = times.astype(_arrow_dtype(times, clock.dtype))
    return Questions(
        None if table.roles.is_single else table.ids.repeat(steps),
        times,
        np.arange(n_series).repeat(steps),
        read_times(times, "the forecast's times", like=table.times),
    )


def _later(last: pd.Index, leads: np.ndarray) -> pd.Index:
    """Numbers and what is added to them, as integers where both are: 64 bits hold more of those than a float64."""
    if not pd.api.types.is_integer_dtype(last.dtype):
        return last + leads
    if np.all(leads == np.round(leads)):
        # Of 64 bits without a sign and others with one NumPy makes a float.
        unsigned = pd.api.types.is_unsigned_integer_dtype(last.dtype) and last.dtype.itemsize == 8
        return last + leads.astype(np.uint64 if unsigned else np.int64)
    # Arrow refuses to round large integers to floats.
    return (pd.Index(last.to_numpy(np.float64)) if isinstance(last.dtype, pd.ArrowDtype) else last) + leads


def _arrow_dtype(times: pd.Index, clock: pd.ArrowDtype) -> str:
    """Arrow's dtype for times beyond such a clock: its own, or where that would cut them a finer one."""
    name = str(clock)
    if not isinstance(times, (pd.DatetimeIndex, pd.TimedeltaIndex)):
        cut = pd.api.types.is_integer_dtype(clock) and pd.api.types.is_float_dtype(times.dtype)
        return "double[pyarrow]" if cut else name
    if name.startswith("date"):
        return name if (times == times.normalize()).all() else f"timestamp[{times.unit}][pyarrow]"
    return re.sub(r"\[(s|ms|us|ns)", f"[{times.unit}", name, count=1)
