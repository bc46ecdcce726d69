"""Sensors that stand still: many readings in a row of one value, in a channel that seldom repeats itself."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from latentode.diagnosis.clocks import time_at, where_in
from latentode.diagnosis.report import Finding
from latentode.frames import SeriesTable

__all__ = ["look_for_standstills"]

# Fewer readings alike than this are no run to speak of.
MIN_READINGS = 10

# Neighbours that are equal, outside of long runs, in more than this share: values are rounded or counted, and runs
# are of their kind.
SELDOM = 0.05

# The same right beside a run. A smooth curve of rounded values repeats itself before and after its peaks.
SELDOM_NEARBY = 0.1

# For each run there are so many neighbours that differ: a setting, or a level that is kept, has few.
CHANGES_A_RUN = 20

# Runs in more series than this share, and more of them than a few, are in the nature of the channel.
FEW_RUNS, SHARE_OF_SERIES = 3, 0.25

# A finding each would be tiring.
MOST_TOLD = 5


@dataclass(frozen=True)
class _Runs:
    """Stretches of equal readings of one channel, in the order of series and time.

    Shapes:
        first, last (n_runs,), numbers of readings, both included; values (n_runs,).
    """

    first: np.ndarray
    last: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    @property
    def lengths(self) -> np.ndarray:
        return self.last - self.first + 1

    def take(self, chosen: np.ndarray) -> _Runs:
        return _Runs(self.first[chosen], self.last[chosen], self.values[chosen])


def look_for_standstills(table: SeriesTable) -> list[Finding]:
    """Findings about runs of one value, the longest of a channel first.

    Bounds are no standstills: zero, the least and the largest value next to others (a limit of detection, the end
    of a scale, a night without sun), and values at which several long runs stand.
    """
    rows, group = table.merged_rows()
    found = []
    for number, name in enumerate(table.roles.value_cols):
        values = table.values[rows, number]
        known = np.flatnonzero(~np.isnan(values))
        # Rows that repeat series and time say the same once more, which is no reading.
        known = known[np.unique(group[known], return_index=True)[1]]
        runs = _standstills(values[known], table.codes[rows[known]])
        longest = np.argsort(-runs.lengths, kind="stable")[:MOST_TOLD]
        for place in longest:
            more = (
                f" (and {len(runs) - MOST_TOLD} more)"
                if place == longest[-1] and len(runs) > MOST_TOLD
                else ""
            )
            first, last = (int(rows[known[edge[place]]]) for edge in (runs.first, runs.last))
            text = _say(table, name, float(runs.values[place]), int(runs.lengths[place]), first, last)
            found.append(Finding("suspect", "standstill", text + more, name))
    return found


def _say(table: SeriesTable, name: Hashable, value: float, n_readings: int, first: int, last: int) -> str:
    return (
        f"{name!r} stands still at {value:g} for {n_readings} readings, from {where_in(table, first)} to "
        f"{time_at(table, last)}, where it seldom repeats a value else; if its sensor was stuck, or gaps were filled "
        f"in, make them NaN: df[{name!r}] = df[{name!r}].mask(df[{name!r}] == {value!r})"
    )


def _standstills(x: np.ndarray, codes: np.ndarray) -> _Runs:
    """The runs that are out of keeping with their channel, of readings (R,) sorted by series and time."""
    same = codes[1:] == codes[:-1]
    alike = same & (x[1:] == x[:-1])
    edges = np.flatnonzero(np.diff(np.concatenate([[False], alike, [False]]).astype(np.int8)))
    first, last = edges[::2], edges[1::2]  # of pairs [first, last), which join the readings first to last
    runs = _Runs(first, last, x[first])
    runs = runs.take(runs.lengths >= MIN_READINGS)
    if not len(runs):
        return runs
    outside = same.copy()
    for start, end in zip(runs.first, runs.last, strict=True):
        outside[start:end] = False
    repeats, changes = int((alike & outside).sum()), int((outside & ~alike).sum())
    if repeats > SELDOM * (repeats + changes):
        return runs.take(np.zeros(len(runs), dtype=bool))
    runs = runs.take(~_at_bounds(x, same, runs))
    runs = runs.take(
        np.array([_stands_out(same, alike, *edge) for edge in zip(runs.first, runs.last, strict=True)], bool)
    )
    few = len(runs) <= max(FEW_RUNS, SHARE_OF_SERIES * len(np.unique(codes)))
    return runs.take(np.full(len(runs), few and changes >= CHANGES_A_RUN * len(runs)))


def _at_bounds(x: np.ndarray, same: np.ndarray, runs: _Runs) -> np.ndarray:
    """Which runs stand at zero, at a value that several do, or at an end of all values with others next to it."""
    values, counts = np.unique(runs.values, return_counts=True)
    bound = (runs.values == 0) | np.isin(runs.values, values[counts > 1])
    steps = np.abs(np.diff(x)[same])
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    for end in (x.min(), x.max()):
        others = x[x != end]
        if len(others) and np.abs(others - end).min() <= usual:
            bound |= runs.values == end
    return bound


def _stands_out(same: np.ndarray, alike: np.ndarray, first: int, last: int) -> bool:
    """Whether neighbours are seldom equal within the length of a run before and after it, in its series."""
    length = last - first
    before, after = slice(max(0, first - length), first), slice(last, last + length)
    # What lies beyond the edge of the series is another's.
    left, right = same[before][::-1], same[after]
    n_left = len(left) if left.all() else int(left.argmin())
    n_right = len(right) if right.all() else int(right.argmin())
    nearby = np.concatenate([alike[before][::-1][:n_left], alike[after][:n_right]])
    return not len(nearby) or float(nearby.mean()) <= SELDOM_NEARBY
