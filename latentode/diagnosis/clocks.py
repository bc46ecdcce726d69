"""What is odd about ids and times: units mixed, dates written as numbers, an id forgotten."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pandas as pd

from latentode.diagnosis.report import Finding
from latentode.frames import SeriesTable
from latentode.frames.columns import shown
from latentode.frames.hints import likely_id, run_id

__all__ = ["find_id_column", "look_at_clock", "look_at_ids", "say_length", "time_at", "where_in"]

_UNITS = {"years": 365.25 * 86400.0, "days": 86400.0, "h": 3600.0, "min": 60.0, "s": 1.0}

# Days that numbers of milliseconds look like where they are taken for seconds, and the other way round.
_EPOCH_SECONDS = 60 * 86400.0


def say_length(length: float, kind: str) -> str:
    """A length of time as people write it; numeric clocks have no unit to name."""
    if kind == "number" or not np.isfinite(length):
        return f"{length:.4g}"
    unit = next((name for name, size in _UNITS.items() if length >= 2 * size), "s")
    return f"{length / _UNITS[unit]:.4g} {unit}"


def look_at_clock(table: SeriesTable) -> list[Finding]:
    """Findings about the times of all rows."""
    times = table.times.whole.astype(np.float64) + table.times.part
    if table.times.kind == "number":
        return _numbers(table, times)
    if table.times.kind == "datetime":
        return _dates(table, times)
    return []


def _numbers(table: SeriesTable, times: np.ndarray) -> list[Finding]:
    what = table.roles.describe_time()
    typical = float(np.median(np.abs(times)))
    if typical < 1e7:
        return []
    whole = bool((table.times.part == 0).all())
    if whole and times.min() >= 19000101 and times.max() <= 21001231:
        month, day = (times // 100) % 100, times % 100
        if ((month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)).all():
            text = (
                f"{what} looks like dates written as numbers ({times[0]:.0f}), whose differences are no "
                "lengths of time; read them with pd.to_datetime(df[...].astype(str))"
            )
            return [Finding("suspect", "dates as numbers", text)]
    # Clocks of today count about 1.7 in units of 10^9 seconds, 10^12 milliseconds, 10^15, 10^18.
    power = np.floor((np.log10(np.maximum(np.abs(times), 1.0)) - 9.0) / 3.0)
    kinds, counts = np.unique(power[(power >= 0) & (power <= 3)], return_counts=True)
    units = ("seconds", "milliseconds", "microseconds", "nanoseconds")
    if len(kinds) > 1:
        rarest = kinds[counts.argmin()]
        row = int(np.flatnonzero(power == rarest)[0])
        text = (
            f"{what} mixes {' and '.join(units[int(one)] for one in kinds)}: {counts.min()} rows count in "
            f"{units[int(rarest)]}, the first is row {row} ({times[row]:.0f}); bring them to one unit"
        )
        return [Finding("suspect", "mixed clocks", text)]
    if len(kinds) == 1 and counts[0] == len(times):
        unit = units[int(kinds[0])]
        text = (
            f"{what} looks like {unit} since 1970; pd.to_datetime(df[...], unit={_PANDAS[unit]!r}) makes dates "
            "of them, with horizons such as '48h'"
        )
        return [Finding("note", "epoch", text)]
    return []


_PANDAS = {"seconds": "s", "milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}


def _dates(table: SeriesTable, times: np.ndarray) -> list[Finding]:
    year = 365.25 * 86400.0
    usual = float(np.median(times))
    early = (times > 0) & (times < _EPOCH_SECONDS)
    late = times > 300 * year
    found = []
    for odd, how in (
        (early, "seconds read as milliseconds, or milliseconds as nanoseconds"),
        (late, "milliseconds read as seconds"),
    ):
        if not odd.any() or odd.all() or not 5 * year < usual < 200 * year:
            continue
        # Data that reach back to 1970 have dates next to it.
        if float(np.abs(times[~odd] - np.median(times[odd])).min()) > 2 * year:
            row = int(odd.argmax())
            clock = table.roles.time_of(table.frame)[row]
            text = (
                f"{table.roles.describe_time()} has {int(odd.sum())} dates such as {clock} (row {row}) where the "
                f"others lie around {pd.Timestamp(usual, unit='s'):%Y}: {how}?"
            )
            found.append(Finding("suspect", "mixed clocks", text))
    return found


def look_at_ids(table: SeriesTable, id_col: Hashable | None, candidate: Hashable | None) -> list[Finding]:
    """Findings about which row belongs to which series."""
    if candidate is not None:
        text = (
            f"the rows look like those of several series: times repeat or go back, but not within {candidate!r}; "
            f"was id_col={candidate!r} forgotten?"
        )
        return [Finding("suspect", "id", text)]
    n_rows = len(table)
    if id_col is not None and len(table.ids) == n_rows and n_rows > 3:
        text = (
            f"every row is a series of its own: does {id_col!r} number the rows? "
            "Name the column that names the series"
        )
        return [Finding("suspect", "id", text)]
    return []


def find_id_column(table: SeriesTable) -> Hashable | None:
    """The column that looks like a forgotten id where times repeat or go back within a single series; else None."""
    if not table.roles.is_single:
        return None
    known = table.roles.key_columns
    instants = np.column_stack([table.times.whole, table.times.part])
    if len(np.unique(instants, axis=0)) < len(table):
        found = likely_id(table.frame, known, table.times)
        if found is not None:
            return found
    return run_id(table.frame, known, table.times)


def where_in(table: SeriesTable, row: int) -> str:
    """Which series and time a row is."""
    time = time_at(table, row)
    return time if table.roles.is_single else f"series {shown(table.ids[table.codes[row]])}, {time}"


def time_at(table: SeriesTable, row: int) -> str:
    """The time of a row, with the clock's name."""
    time = table.roles.time_of(table.frame)[row]
    time = f"{time:.6g}" if isinstance(time, float) else time
    return f"{'time' if table.roles.time_name is None else table.roles.time_name}={time}"
