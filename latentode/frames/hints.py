"""What a column that was left among the values may be instead."""

from __future__ import annotations

from collections.abc import Collection, Hashable

import numpy as np
import pandas as pd

from latentode.frames.candidates import find_candidates, finest, is_text, most_telling
from latentode.frames.clock import Instants, as_index
from latentode.frames.remedies import MOMENTS, mostly_numbers

__all__ = ["better_id", "likely_id", "role_hint", "run_id"]


def role_hint(column: pd.Series, *, single: bool, by_index: bool) -> str:
    """The end of a message about a column that holds no numbers: the role it may have been meant for.

    Args:
        single: no column says which series a row belongs to.
        by_index: the index is the clock.
    """
    if by_index and column.dtype.kind in "mM":
        return f". If it is the clock, name it with time_col={column.name!r}"
    texts = pd.api.types.is_string_dtype(column.dtype) or isinstance(column.dtype, pd.CategoricalDtype)
    texts = texts and pd.api.types.infer_dtype(column, skipna=True) not in MOMENTS
    if texts and mostly_numbers(column):
        return ""  # a channel with a few words in it
    if single and texts:
        return f". If it says which series a row belongs to, name it with id_col={column.name!r}"
    if texts:
        return f". If it describes a series as a whole, name it in static_cols=[{column.name!r}]"
    return ""


def better_id(
    frame: pd.DataFrame, name: Hashable, known: Collection[Hashable], times: Instants | None
) -> Hashable | None:
    """The column that looks like a forgotten id where `name`, which holds words, was taken for a channel.

    None where that may be the id itself, or no order of the rows and no constancy within series speaks against it.
    """
    column = frame[name]
    if not is_text(column) or mostly_numbers(column):
        return None
    best = most_telling(find_candidates(frame, [one for one in frame.columns if one not in known], times))
    if best is None or best.name == name:
        return None
    codes = pd.factorize(as_index(column))[0] + 1  # 0 where missing
    return best.name if best.stacked or best.decides(codes) else None


def likely_id(frame: pd.DataFrame, known: Collection[Hashable], times: Instants) -> Hashable | None:
    """The column that looks like a forgotten id: no row shares both its value and its time with another.

    Of several the most telling is taken, else the one of fewest distinct values. Floats are measured rather than named.
    """
    found: dict[Hashable, int] = {}
    for name in frame.columns:
        if name in known or pd.api.types.is_float_dtype(frame[name].dtype):
            continue
        codes, ids = pd.factorize(as_index(frame[name]))
        rows = np.column_stack([codes, times.whole, times.part])
        alone = len(np.unique(rows, axis=0)) == len(rows)
        if alone and 2 * len(ids) <= len(rows) and (codes >= 0).all():
            found[name] = len(ids)
    best = most_telling(find_candidates(frame, found, times))
    return min(found, key=found.__getitem__, default=None) if best is None else best.name


def run_id(frame: pd.DataFrame, known: Collection[Hashable], times: Instants) -> Hashable | None:
    """The column that looks like a forgotten id, whether times collide or not: series stand one below the other.

    It is of integers, text or categories, keeps its value while times rise, changes wherever they go back and
    never returns to a value. Its values mix once the rows are in the order of time; of one series that was
    written down in blocks, the latest first, they do not. Where rows of several series take turns within its values, as
    patients do within a ward, the column that tells those apart is taken.
    """
    back = times[1:].since(times[:-1]) < 0
    n_runs = int(back.sum()) + 1
    if not 1 < n_runs <= len(times) / 2:
        return None
    in_time = np.lexsort((times.part, times.whole))
    for name in frame.columns:
        if name in known or not _may_name(frame[name]):
            continue
        codes, ids = pd.factorize(as_index(frame[name]))
        mixed = int((np.diff(codes[in_time]) != 0).sum()) >= n_runs
        if mixed and len(ids) == n_runs and (codes >= 0).all() and ((np.diff(codes) != 0) == back).all():
            found = find_candidates(frame, [one for one in frame.columns if one not in known], times)
            return next((finest(one, found).name for one in found if one.name == name), name)
    return None


def _may_name(column: pd.Series) -> bool:
    kind = column.dtype
    return (
        pd.api.types.is_integer_dtype(kind)
        or pd.api.types.is_string_dtype(kind)
        or isinstance(kind, pd.CategoricalDtype)
    )
