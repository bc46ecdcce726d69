"""Which column of a frame looks like the one that names its series, by the order of its rows and by what it decides."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from latentode.frames.clock import Instants, as_index

__all__ = ["Candidate", "find_candidates", "finest", "holds_dates", "is_text", "most_telling"]

# So many values say whether a column of text holds dates.
LOOK = 200

# Of the rows where times go back at least so many begin another series; the others are slips.
EXPLAINED = 0.9

# A column is constant within another by chance with a probability of less than exp(-5).
BY_CHANCE = 5.0


@dataclass(frozen=True, eq=False)
class Candidate:
    """A column of text, categories or integers that repeats, and how well it does as the id.

    Args:
        together: the rows of each value lie together.
        stacked: they do, times hardly go back but where another value begins, and values mix in the order of time.
        exact: times go back wherever another value begins, and nowhere else.
        rises: times never go back within a value.
        moves: the rows of some value differ in time.

    Shapes:
        codes (R,), the number of each row's value.
    """

    name: Hashable
    codes: np.ndarray
    n_values: int
    is_text: bool
    together: bool
    stacked: bool = False
    exact: bool = False
    rises: bool = True
    moves: bool = True

    def decides(self, codes: np.ndarray) -> bool:
        """Whether another column is constant within each value of this one, and would hardly be by chance."""
        counts = np.bincount(codes)
        differ = 1 - ((counts / len(codes)) ** 2).sum()
        pairs = self.codes * len(counts) + codes
        return (len(codes) - self.n_values) * differ >= BY_CHANCE and len(np.unique(pairs)) == self.n_values


def most_telling(found: Sequence[Candidate]) -> Candidate | None:
    """The column that most likely names series; None where nothing speaks for any.

    One whose series stand one below the other comes first; then text, rather one whose rows lie together, then the
    one of most values. Integers alone count only where their rows lie together. A finer one may take its place.
    """
    ranked = [one for one in found if one.is_text or one.together]
    if not ranked:
        return None

    def rank(one: Candidate) -> tuple[bool, bool, bool, bool, int]:
        return one.stacked, one.is_text, one.stacked and one.exact, one.together, one.n_values

    return finest(max(ranked, key=rank), found)


def finest(best: Candidate, found: Sequence[Candidate]) -> Candidate:
    """The candidate that decides the value of `best`, as a patient decides the ward, or `best` where none does.

    One that parts the rows of a series into stretches is no series.
    """
    whole = best.together and (best.stacked or best.rises)
    finer = [
        one
        for one in found
        if one.n_values > best.n_values
        and one.moves
        and not (whole and one.together)
        and one.decides(best.codes)
    ]
    return max(finer, key=lambda one: (one.stacked, one.is_text, one.n_values), default=best)


def find_candidates(
    frame: pd.DataFrame, names: Iterable[Hashable], times: Instants | None
) -> list[Candidate]:
    """Those of some columns that may name series: neither one for all rows nor one for each, and none missing.

    Args:
        times: of each row; None where they are not known.
    """
    found = []
    for name in names:
        column = frame[name]
        texts = is_text(column)
        if not texts and not pd.api.types.is_integer_dtype(column.dtype):
            continue
        if texts and (_holds_numbers(column) or holds_dates(column)):
            continue
        codes, values = pd.factorize(as_index(column))
        if 1 < len(values) <= len(frame) / 2 and (codes >= 0).all():
            found.append(_candidate(name, codes, len(values), texts, times))
    return found


def _candidate(
    name: Hashable, codes: np.ndarray, n_values: int, texts: bool, times: Instants | None
) -> Candidate:
    changes = np.diff(codes) != 0
    together = int(changes.sum()) == n_values - 1
    if times is None:
        return Candidate(name, codes, n_values, texts, together)
    by_row, order = times[1:].since(times[:-1]), np.argsort(codes, kind="stable")
    steps = times[order[1:]].since(times[order[:-1]])[np.diff(codes[order]) == 0]
    if (by_row < 0).sum() > (by_row > 0).sum():  # the latest first
        by_row, steps = -by_row, -steps
    back = by_row < 0
    mixed = (np.diff(codes[np.lexsort((times.part, times.whole))]) != 0).sum() >= n_values
    return Candidate(
        name,
        codes,
        n_values,
        texts,
        together,
        stacked=bool(together and mixed and back.any() and changes[back].mean() >= EXPLAINED),
        exact=bool((changes == back).all()),
        rises=bool((steps >= 0).all()),
        moves=bool((steps != 0).any()),
    )


def is_text(column: pd.Series) -> bool:
    """Whether a column is of text or categories."""
    kind = column.dtype
    if isinstance(kind, pd.CategoricalDtype):
        return True
    return pd.api.types.is_string_dtype(kind) and pd.api.types.infer_dtype(column, skipna=True) == "string"


def holds_dates(column: pd.Series) -> bool:
    """Whether a column is of datetimes, or of text that mostly reads as such."""
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return True
    if isinstance(column.dtype, pd.CategoricalDtype) or not is_text(column):
        return False
    known = column.dropna().astype("string")[:LOOK]
    dated = known[known.str.fullmatch(r"\d{4}-\d\d?-\d\d?([T ].*)?|\d\d?[./-]\d\d?[./-]\d{4}( .*)?")]
    return len(dated) > 0.5 * len(known)


def _holds_numbers(column: pd.Series) -> bool:
    """Whether text is mostly numbers with a point, comma or sign: measurements rather than names."""
    known = column.dropna().astype("string")[:LOOK]
    return bool(known.str.fullmatch(r"\s*[<>]?\s*[-+]?\d*[.,]\d+\s*").mean() > 0.5) if len(known) else True
