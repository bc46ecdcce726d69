"""What a baseline may read: many contexts row after row, and where in them a time falls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

__all__ = ["Contexts", "Neighbours"]


@dataclass(frozen=True)
class Contexts:
    """C contexts of unequal lengths; context i owns rows starts[i] to starts[i + 1].

    Shapes:
        times (R,), increasing within a context; values (R, D), NaN where not observed; starts (C + 1,);
        statics (C, P), features of each context's series as a whole, 0 where not known, or None.
    """

    times: np.ndarray
    values: np.ndarray
    starts: np.ndarray
    statics: np.ndarray | None = None

    @classmethod
    def of(cls, series: Sequence[tuple[Any, Any]]) -> Contexts:
        """From pairs of times (N,) and values (N, D)."""
        lengths = [len(times) for times, _ in series]
        return cls(
            np.concatenate([np.asarray(times, dtype=np.float64) for times, _ in series]),
            np.concatenate([np.asarray(values, dtype=np.float64) for _, values in series]),
            np.concatenate([[0], np.cumsum(lengths)]),
        )

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def n_channels(self) -> int:
        return self.values.shape[1]

    @cached_property
    def codes(self) -> np.ndarray:
        """Number of each row's context: (R,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    @cached_property
    def ends(self) -> np.ndarray:
        """Time of each context's last row, NaN where it has none: (C,)."""
        filled = np.diff(self.starts) > 0
        found = np.full(len(self), np.nan)
        found[filled] = self.times[self.starts[1:][filled] - 1]
        return found

    @cached_property
    def latest(self) -> np.ndarray:
        """Row of each channel's last observation up to each row, -1 where there is none: (R, D)."""
        rows = np.where(np.isnan(self.values), -1, np.arange(len(self.times))[:, None])
        rows = np.maximum.accumulate(rows, axis=0)
        return np.where(rows >= self.starts[self.codes][:, None], rows, -1)

    @cached_property
    def soonest(self) -> np.ndarray:
        """Row of each channel's first observation from each row on, -1 where there is none: (R, D)."""
        n_rows = len(self.times)
        rows = np.where(np.isnan(self.values), n_rows, np.arange(n_rows)[:, None])
        rows = np.minimum.accumulate(rows[::-1], axis=0)[::-1]
        return np.where(rows < self.starts[1:][self.codes][:, None], rows, -1)

    @cached_property
    def means(self) -> np.ndarray:
        """Mean of what each context shows of each channel, NaN where nothing: (C, D)."""
        observed = ~np.isnan(self.values)
        sums, counts = self.sum(np.where(observed, self.values, 0.0)), self.sum(observed)
        return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)

    def sum(self, numbers: np.ndarray) -> np.ndarray:
        """The sum over each context's rows: (R, D) -> (C, D)."""
        total = np.zeros((len(self), self.n_channels))
        filled = np.diff(self.starts) > 0
        if filled.any():
            total[filled] = np.add.reduceat(numbers, self.starts[:-1][filled], axis=0, dtype=np.float64)
        return total

    def place(self, codes: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Rows of the context that are no later than each query, counted in the whole table: (Q,).

        Rows starts[code] to place, the latter excluded, are before or at the query, the others behind it.
        """
        n_rows = len(self.times)
        all_times, all_codes = np.concatenate([self.times, times]), np.concatenate([self.codes, codes])
        is_query = np.arange(len(all_times)) >= n_rows  # a row sorts before a query of its own time
        order = np.lexsort((is_query, all_times, all_codes))
        rows_so_far = np.cumsum(~is_query[order])
        found = np.empty(len(all_times), dtype=np.int64)
        found[order] = rows_so_far
        return found[n_rows:]

    def before(self, codes: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Row of each channel's last observation before `place`, -1 where there is none: (Q, D)."""
        if not len(self.times):
            return np.full((len(codes), self.n_channels), -1)
        inside = place > self.starts[codes]
        return np.where(inside[:, None], self.latest[np.maximum(place - 1, 0)], -1)

    def behind(self, codes: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Row of each channel's first observation from `place` on, -1 where there is none: (Q, D)."""
        if not len(self.times):
            return np.full((len(codes), self.n_channels), -1)
        inside = place < self.starts[codes + 1]
        return np.where(inside[:, None], self.soonest[np.minimum(place, len(self.times) - 1)], -1)

    @cached_property
    def _edges(self) -> np.ndarray:
        """True at each context's first row, and one past the last: (R + 1,)."""
        edges = np.zeros(len(self.times) + 1, dtype=bool)
        edges[self.starts] = True
        return edges

    def previous(self, rows: np.ndarray) -> np.ndarray:
        """Row of the same channel's observation before each of `rows` (Q, D); -1 stays -1."""
        if not len(self.times):
            return rows
        channel = np.arange(rows.shape[1])
        inside = (rows >= 0) & ~self._edges[rows]
        return np.where(inside, self.latest[np.maximum(rows - 1, 0), channel], -1)

    def following(self, rows: np.ndarray) -> np.ndarray:
        """Row of the same channel's observation after each of `rows` (Q, D); -1 stays -1."""
        if not len(self.times):
            return rows
        channel = np.arange(rows.shape[1])
        inside = (rows >= 0) & ~self._edges[rows + 1]
        return np.where(inside, self.soonest[np.minimum(rows + 1, len(self.times) - 1), channel], -1)

    def at(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Times and values of each channel's `rows` (Q, D), NaN for -1."""
        if not len(self.times):
            nothing = np.full(rows.shape, np.nan)
            return nothing, nothing
        there = rows >= 0
        channel = np.arange(rows.shape[1])
        return (
            np.where(there, self.times[rows], np.nan),
            np.where(there, self.values[rows, channel], np.nan),
        )


class Neighbours:
    """The observations around each query, channel by channel: up to two on either side.

    Shapes:
        rows -> times and values (Q, D) each, NaN where there is no such observation.
    """

    def __init__(self, contexts: Contexts, codes: np.ndarray, times: np.ndarray) -> None:
        place = contexts.place(codes, times)
        left, right = contexts.before(codes, place), contexts.behind(codes, place)
        self.time = times[:, None]
        self.left_time, self.left = contexts.at(left)
        self.right_time, self.right = contexts.at(right)
        self._contexts, self._rows = contexts, (left, right)

    @cached_property
    def second_left(self) -> tuple[np.ndarray, np.ndarray]:
        """Time and value of the observation before the left one."""
        return self._contexts.at(self._contexts.previous(self._rows[0]))

    @cached_property
    def second_right(self) -> tuple[np.ndarray, np.ndarray]:
        """Time and value of the observation after the right one."""
        return self._contexts.at(self._contexts.following(self._rows[1]))
