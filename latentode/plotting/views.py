"""Which times of a series are drawn, and what was observed and withheld of it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from latentode.frames import SeriesTable
from latentode.frames.clock import duration, parse_times
from latentode.frames.columns import shown
from latentode.frames.questions import own_times
from latentode.plotting.time_axis import clock_of

__all__ = ["View", "elapsed", "look"]

N_GRID = 200


@dataclass(frozen=True)
class View:
    """One series as it is drawn: when the model is asked about it, and what stands beside the answer.

    Shapes:
        place, the series' number in its table; times (Q,), sorted, without repeats; last (1,), the last
        observation; observed, unread and withheld: the values of each channel on their times.
    """

    place: int
    times: pd.Index
    last: pd.Index
    observed: dict[Hashable, pd.Series]
    unread: dict[Hashable, pd.Series]
    withheld: dict[Hashable, pd.Series]

    @property
    def clocks(self) -> list[pd.Index]:
        """All times that are drawn; not in one index, whose unit might not hold them."""
        known = [*self.observed.values(), *self.unread.values(), *self.withheld.values()]
        return [self.times, *(one.index for one in known if len(one))]


def look(
    table: SeriesTable,
    place: int,
    truth: SeriesTable | None,
    times: Any,
    horizon: Any,
    usual: SeriesTable | None = None,
) -> View:
    """The view of the series with this place in the table.

    Args:
        usual: the table without the values that the model does not read; None where it reads all.

    Raises:
        ValueError, TypeError: for times or a horizon that don't suit the series.
    """
    rows = table.codes == place
    observed = _by_channel(table, place)
    withheld: dict[Hashable, pd.Series] = {}
    if truth is not None and table.ids[place] in truth.ids:
        for name, known in _by_channel(truth, truth.ids.get_loc(table.ids[place])).items():
            withheld[name] = known[~known.index.isin(observed[name].index)]

    unread: dict[Hashable, pd.Series] = {}
    if usual is not None:
        rest = np.where(np.isnan(usual.values), table.values, np.nan)
        observed, unread = _by_channel(usual, place), _by_channel(replace(table, values=rest), place)

    clock = clock_of(table)
    first, last = clock[table.first_rows()[[place]]], clock[table.last_rows()[[place]]]
    if times is not None:
        asked = _times_asked(table, place, times)
    else:
        lead = _lead(table, place, horizon)
        leads = {name: elapsed(last, known.index) for name, known in withheld.items()}
        if horizon is None:
            lead = max([lead, *(gaps.max(initial=0.0) for gaps in leads.values())])
        grid = _steps(first, table.collection().spans.numpy()[place] + lead, N_GRID)
        # The median bends and the bands narrow where something was observed.
        asked = grid.append(clock[rows & table.observed_rows]).unique().sort_values()
        rounding = 1e-9 * (1 + lead)
        withheld = {name: known[leads[name] <= lead + rounding] for name, known in withheld.items()}
    return View(place, asked, last, observed, unread, withheld)


def _by_channel(table: SeriesTable, place: int) -> dict[Hashable, pd.Series]:
    """What was observed of a series, by channel, in the order of time."""
    rows = table.codes == place
    clock = clock_of(table)[rows]
    found = {}
    for number, name in enumerate(table.roles.value_cols):
        column = pd.Series(table.values[rows, number], index=clock)
        column = column.dropna().sort_index()
        found[name] = column[~column.index.duplicated()]
    return found


def _times_asked(table: SeriesTable, place: int, times: Any) -> pd.Index:
    """The user's times for a series, sorted."""
    asked, nothing = times, "times is empty; give at least one time"
    if isinstance(times, (pd.DataFrame, pd.MultiIndex)):
        frame, roles = own_times(table, times)
        ids, asked = roles.id_of(frame), roles.time_of(frame)
        if ids is not None:
            asked = asked[np.asarray(ids == table.ids[place])]
            nothing = f"times holds none for series {shown(table.ids[place])}; leave it out of series"
    if not len(asked):
        raise ValueError(nothing)
    zone = getattr(clock_of(table), "tz", None)
    return parse_times(asked, "times", like=table.times, zone=zone).unique().sort_values()


def _lead(table: SeriesTable, place: int, horizon: Any) -> float:
    """How far to draw beyond the last observation, in clock units (seconds where times are no numbers)."""
    if horizon is None:
        # A series of a single row has no span of its own.
        return float(table.collection().spans.numpy()[place] or table.collection().spans.numpy().max()) / 5
    if isinstance(horizon, (int, float)) and horizon == 0:
        return 0.0
    return duration(horizon, table.times.kind, "horizon")


def _steps(first: pd.Index, length: float, n_steps: int) -> pd.Index:
    """Times from `first` (1,) over `length` clock units: (n_steps,), or (1,) where there is no length."""
    leads = np.linspace(0.0, length, n_steps) if length > 0 else np.zeros(1)
    start = first.repeat(len(leads))
    if pd.api.types.is_numeric_dtype(first.dtype):
        return start.astype(np.float64) + leads
    # Microseconds reach far beyond the years that nanoseconds hold; short spans need the latter.
    unit, per_second = ("us", 1e6) if length > 1 or length == 0 else ("ns", 1e9)
    return start + pd.TimedeltaIndex(np.round(leads * per_second).astype(f"timedelta64[{unit}]"))


def elapsed(origin: pd.Index, times: pd.Index) -> np.ndarray:
    """Clock units from `origin` (1,) to each of the times."""
    gaps = times - origin[0]
    if isinstance(gaps, pd.TimedeltaIndex):
        gaps = gaps / pd.Timedelta(1, "s")
    return np.asarray(gaps, dtype=np.float64)
