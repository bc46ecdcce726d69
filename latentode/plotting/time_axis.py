"""Times of any kind on a horizontal axis."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import dates

from latentode.frames import SeriesTable
from latentode.frames.clock import parse_times

__all__ = ["TimeAxis", "clock_of", "unit_of"]

# A timedelta axis counts in the largest of these of which it shows at least three.
_UNITS = {"days": 86400.0, "hours": 3600.0, "minutes": 60.0, "seconds": 1.0}

# Fields of a date, of which the ticks differ in some.
_FIELDS = ("year", "month", "day", "hour", "minute", "second")
_DAYS = _FIELDS.index("day")

# Ticks are years, or each January's is, where times lie so many calendar years apart.
_TICKS_NAME_YEARS = 3


def clock_of(table: SeriesTable) -> pd.Index:
    """The time of each row as a plain pandas index: numbers, datetimes or timedeltas."""
    clock = parse_times(table.roles.time_of(table.frame), table.roles.describe_time(), like=table.times)
    if not pd.api.types.is_extension_array_dtype(clock.dtype) or isinstance(clock.dtype, pd.DatetimeTZDtype):
        return clock
    if table.times.kind == "datetime":
        return pd.DatetimeIndex(clock)
    return pd.Index(clock.to_numpy(dtype=np.float64 if table.times.kind == "number" else None))


def unit_of(reach_seconds: float) -> tuple[str, float]:
    """The largest unit of which a length of time holds three at least, and its seconds."""
    return next(
        ((name, size) for name, size in _UNITS.items() if reach_seconds >= 3 * size), ("seconds", 1.0)
    )


@dataclass(frozen=True)
class TimeAxis:
    """Puts times on an axis: numbers as they are, datetimes as dates, timedeltas in a unit of their size."""

    kind: str
    zone: Any = None
    unit: str = "seconds"

    @classmethod
    def of(cls, table: SeriesTable, rows: np.ndarray) -> TimeAxis:
        """The axis that suits these rows (R,) of a table."""
        clock = clock_of(table)[rows]
        unit = "seconds"
        if table.times.kind == "timedelta":
            reach = float(np.abs(clock / pd.Timedelta(1, "s")).max())
            unit = unit_of(reach)[0]
        return cls(table.times.kind, getattr(clock, "tz", None), unit)

    def place(self, times: pd.Index) -> np.ndarray:
        """Where times (Q,) stand on the axis, as matplotlib counts: (Q,) float64."""
        if self.kind == "datetime":
            plain = times.tz_convert("UTC").tz_localize(None) if times.tz is not None else times
            return np.asarray(dates.date2num(plain.to_numpy()), dtype=np.float64)
        if self.kind == "timedelta":
            return np.asarray(times / pd.Timedelta(1, "s"), dtype=np.float64) / _UNITS[self.unit]
        return times.to_numpy(dtype=np.float64, na_value=np.nan)

    def prepare(self, ax: Any) -> None:
        """Dates in the series' own time zone; to be called before anything is drawn."""
        if self.kind != "datetime":
            return
        ax.xaxis_date(self.zone)
        # With fewer than seven ticks three days less a moment would be too long for twelve-hour steps, and
        # matplotlib warns that it found none.
        locator = dates.AutoDateLocator(tz=self.zone, minticks=3, maxticks=7)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(_Dates(locator, tz=self.zone))

    def label(self, name: Hashable | None, *times: pd.Index) -> str:
        """The name of the user's time column, a timedelta's unit, a date's years and its time zone.

        Args:
            times: all that stand on the axis. The ticks of few years need not name one.
        """
        said = [] if name is None else [str(name)]
        if self.kind == "timedelta":
            return " ".join([*said, f"({self.unit})" if said else self.unit])
        if self.kind != "datetime":
            return " ".join(said)
        first, last = min(one.min() for one in times), max(one.max() for one in times)
        if last.year - first.year < _TICKS_NAME_YEARS:
            said.append(f"{first.year}" if first.year == last.year else f"{first.year} to {last.year}")
        label = ", ".join(said)
        return label if self.zone is None else f"{label} ({_zone_name(self.zone, first)})".lstrip()


class _Dates(dates.ConciseDateFormatter):
    """Short dates, of which the first names its day and month, and so does each that begins another.

    What is named besides stands in a second line, which keeps the labels narrow; the year is the axis label's.
    """

    def __init__(self, locator: Any, tz: Any) -> None:
        super().__init__(locator, tz=tz, show_offset=False)
        self.zone = tz

    def format_ticks(self, values: Any) -> list[str]:
        """A label for each tick."""
        if not len(values):
            return []
        labels = list(super().format_ticks(values))
        # The hour that is not there when summer time begins is the next one's tick once more.
        for repeated in np.flatnonzero(np.diff(values) == 0) + 1:
            labels[repeated] = ""
        ticks = [dates.num2date(value, tz=self.zone) for value in values]
        fields = np.array([tick.timetuple()[:6] for tick in ticks])
        level = max(np.flatnonzero(np.ptp(fields, axis=0)), default=len(_FIELDS) - 1)
        if level < _DAYS:
            return labels
        for number, tick in enumerate(ticks):
            before = ticks[number - 1] if number else None
            if level == _DAYS:
                begins = before is None or before.month != tick.month
                labels[number] = tick.strftime("%d\n%b" if begins else "%d")
            elif (before is None or before.date() != tick.date()) and labels[number] != f"{tick:%b-%d}":
                if before is None and ":" not in labels[number]:
                    labels[number] = f"{tick:%H:%M}:{labels[number]}"  # seconds, of which minute
                labels[number] += f"\n{tick:%b-%d}"
        return labels


def _zone_name(zone: Any, time: pd.Timestamp) -> str:
    """A place where the zone has one, else its offset."""
    named = getattr(zone, "key", None) or getattr(zone, "zone", None) or time.tzname()
    return str(named or f"UTC{time:%z}")
