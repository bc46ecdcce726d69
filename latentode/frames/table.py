"""The rows of a frame, read: which series each belongs to, when, and what was observed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from latentode.frames.clock import Instants, parse_times
from latentode.frames.roles import Roles
from latentode.frames.statics import Statics, StaticValues
from latentode.series import SeriesCollection

__all__ = ["SeriesTable"]


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
    def zone(self) -> Any:
        """The time zone of the clock, whatever its dtype; None where it has none."""
        first = self.roles.time_of(self.frame)[:1]
        return getattr(parse_times(first, self.roles.describe_time(), like=self.times), "tz", None)

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
        return self._by_time(np.flatnonzero(self.observed_rows))

    def completed_values(self) -> np.ndarray:
        """The values of each row, and what other rows of its series and time hold of those it lacks: (R, D)."""
        rows, group = self._by_time(np.arange(len(self)))
        completed = np.empty_like(self.values)
        completed[rows] = self._merged(rows, group)[group]
        return completed

    def _by_time(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = rows[np.lexsort((self.times.part[rows], self.times.whole[rows], self.codes[rows]))]
        new = np.ones(len(rows), dtype=bool)
        new[1:] = (
            (np.diff(self.codes[rows]) != 0)
            | (np.diff(self.times.whole[rows]) != 0)
            | (np.diff(self.times.part[rows]) != 0)
        )
        return rows, np.cumsum(new) - 1

    def _merged(self, rows: np.ndarray, group: np.ndarray) -> np.ndarray:
        """What is observed in each group of rows, (n_groups, D)."""
        values = np.full((group[-1] + 1 if len(group) else 0, self.values.shape[1]), np.nan)
        row, column = np.nonzero(~np.isnan(self.values[rows]))
        values[group[row], column] = self.values[rows][row, column]
        return values

    def collection(self, statics: Statics | None = None) -> SeriesCollection:
        """The observed rows, sorted, rows of equal time merged, in the data's units and float64.

        Time is counted from each series' first observation.

        Args:
            statics: how static columns become features; without, the collection holds none.
        """
        rows, group = self.merged_rows()
        values = self._merged(rows, group)
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
