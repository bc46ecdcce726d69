"""What training is not shown: whole series where there are enough, else rows of every series."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from latentode.frames.table import SeriesTable

__all__ = ["MIN_SERIES_TO_WITHHOLD", "withhold_rows", "withhold_series"]

# With fewer series than this, withholding some would cost training more than they tell.
MIN_SERIES_TO_WITHHOLD = 10

# Of few series every seventh row is withheld to compare interpolation by, or the last seventh for
# extrapolation.
EVERY = 7


def withhold_series(n_series: int, fraction: float, random: np.random.RandomState) -> np.ndarray:
    """Which series validate: (n_series,) bool, at least two of them true."""
    chosen = np.zeros(n_series, dtype=bool)
    n_chosen = min(n_series - 1, max(2, round(fraction * n_series)))
    chosen[random.permutation(n_series)[:n_chosen]] = True
    return chosen


def withhold_rows(table: SeriesTable, task: str) -> SeriesTable:
    """The table without the values of the rows that validate; series of under 7 rows keep all.

    For "both" the last fourteenth of a series and every fourteenth row before it are withheld.
    """
    rows = np.flatnonzero(table.observed_rows)
    rows = rows[np.lexsort((table.times.part[rows], table.times.whole[rows], table.codes[rows]))]
    codes = table.codes[rows]
    starts = np.searchsorted(codes, np.arange(len(table.ids) + 1))
    lengths = np.diff(starts)[codes]
    rank = np.arange(len(rows)) - starts[codes]
    every = EVERY if task != "both" else 2 * EVERY
    hidden = np.zeros(len(rows), dtype=bool)
    if task != "interpolate":
        hidden |= rank >= lengths - np.maximum(1, lengths // every)
    if task != "extrapolate":
        hidden |= rank % every == every // 2
    hidden &= lengths >= EVERY
    values = table.values.copy()
    values[rows[hidden]] = np.nan
    return replace(table, values=values)
