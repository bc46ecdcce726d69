"""The series of a picture asked of a model together, so that what it warns of is said once."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from latentode.frames import SeriesTable, answer
from latentode.plotting.views import View

__all__ = ["Question", "said_once"]


@dataclass(frozen=True)
class Question:
    """What is observed of the series drawn, and the times of each, as a model's methods take them.

    `lengths` has the number of times of each series by its place in the table, in the table's order.
    """

    context: Any
    times: pd.DataFrame
    lengths: dict[int, int]

    @classmethod
    def of(cls, table: SeriesTable, views: Sequence[View]) -> Question:
        """The question that holds all views, each series once."""
        asked = {view.place: view.times for view in sorted(views, key=lambda view: view.place)}
        lengths = {place: len(times) for place, times in asked.items()}
        roles = table.roles
        ids = None if roles.is_single else table.ids[list(asked)].repeat(list(lengths.values()))
        first, *others = asked.values()
        rows = np.isin(table.codes, list(asked))
        context = table.frame.to_numpy() if roles.from_array else table.frame[rows]
        return cls(context, answer(roles, ids, first.append(others), {}, {}), lengths)

    def split(self, found: pd.DataFrame, n_samples: int = 1) -> dict[int, pd.DataFrame]:
        """The rows of an answer by the place of their series, which has `n_samples` for each time."""
        ends = np.cumsum(list(self.lengths.values())) * n_samples
        starts = [0, *ends[:-1]]
        return {
            place: found.iloc[start:end] for place, start, end in zip(self.lengths, starts, ends, strict=True)
        }


@contextmanager
def said_once() -> Iterator[None]:
    """Shows at its end the warnings that came within it, each once."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for one in {(one.category, str(one.message)): one for one in caught}.values():
        warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
