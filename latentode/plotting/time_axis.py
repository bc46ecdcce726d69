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
        """Concise dates in the series' own time zone; to be called before anything is drawn."""
        if self.kind != "datetime":
            return
        ax.xaxis_date(self.zone)
        # With fewer than seven ticks three days less a moment would be too long for twelve-hour steps, and
        # matplotlib warns that it found none.
        locator = dates.AutoDateLocator(tz=self.zone, minticks=3, maxticks=7)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz=self.zone))

    def label(self, name: Hashable | None) -> str:
        """The name of the user's time column; a timedelta's also says its unit."""
        if self.kind != "timedelta":
            return "" if name is None else str(name)
        return self.unit if name is None else f"{name} ({self.unit})"
