"""Which columns look like the series and the clock of a frame of which neither was named."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd

from latentode.diagnosis.report import Finding
from latentode.frames.clock import as_index

__all__ = ["guess_roles", "say_guess"]

# So many values say whether a column of text holds dates.
LOOK = 200


def guess_roles(frame: Any, *chosen: Any) -> dict[str, Hashable]:
    """`id_col` and `time_col` as the columns suggest them; empty where the index says more, or nothing does.

    The clock is a column of datetimes, or of text that reads as such. The series is a column of text,
    categories or integers that repeats; of several one whose rows lie together, then the one of most values.
    Numbers that rise within each series and not over the frame are a clock too.

    Args:
        chosen: lists of columns that have another role, or None.
    """
    if not isinstance(frame, pd.DataFrame) or not frame.columns.is_unique or len(frame) < 4:
        return {}
    index = frame.index
    if isinstance(index, pd.MultiIndex) or index.name is not None or index.dtype.kind not in "iu":
        return {}
    taken = [name for names in chosen if isinstance(names, (list, tuple)) for name in names]
    frame = frame.drop(columns=[name for name in taken if name in frame.columns])
    clock = next((name for name in frame if _holds_dates(frame[name])), None)
    texts = [name for name in frame if name != clock and _is_text(frame[name])]
    named = _most_telling(frame, [name for name in texts if not _holds_numbers(frame[name])])
    whole = [name for name in frame if pd.api.types.is_integer_dtype(frame[name].dtype)]
    if named is None:
        named = _most_telling(frame, whole, together=True)
        if named is not None and clock is None:
            clock = _rises_within(frame, named)
            named = None if clock is None else named
    elif clock is None:
        clock = _rises_within(frame, named)
    guesses = {"id_col": named, "time_col": clock}
    return {role: name for role, name in guesses.items() if name is not None}


def say_guess(frame: pd.DataFrame, guesses: dict[str, Hashable], *, refused: bool) -> Finding:
    """What the guesses rest on, as the first thing to read."""
    said = []
    clock = guesses.get("time_col")
    if clock is not None:
        column = frame[clock]
        if pd.api.types.is_datetime64_any_dtype(column.dtype):
            said.append(f"{clock!r} holds datetimes: if it is the clock, name it with time_col={clock!r}")
        elif _is_text(column):
            said.append(
                f"{clock!r} holds text that reads as dates: if it is the clock, name it with time_col={clock!r} "
                f"and read it first with df[{clock!r}] = pd.to_datetime(df[{clock!r}])"
            )
        else:
            said.append(
                f"{clock!r} rises within each series: if it is the clock, name it with time_col={clock!r}"
            )
    named = guesses.get("id_col")
    if named is not None:
        said.append(
            f"{named!r} repeats: if it says which series a row belongs to, name it with id_col={named!r}"
        )
    end = "this report reads them so" if clock is not None else "then the clock with time_col=..."
    text = f"neither series nor clock were named. {'; '.join(said)}; {end}"
    return Finding("refused" if refused else "suspect", "roles", text)


def _is_text(column: pd.Series) -> bool:
    kind = column.dtype
    if isinstance(kind, pd.CategoricalDtype):
        return True
    return pd.api.types.is_string_dtype(kind) and pd.api.types.infer_dtype(column, skipna=True) == "string"


def _holds_dates(column: pd.Series) -> bool:
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return True
    if isinstance(column.dtype, pd.CategoricalDtype) or not _is_text(column):
        return False
    known = column.dropna().astype("string")[:LOOK]
    dated = known[known.str.fullmatch(r"\d{4}-\d\d?-\d\d?([T ].*)?|\d\d?[./-]\d\d?[./-]\d{4}( .*)?")]
    return len(dated) > 0.5 * len(known)


def _holds_numbers(column: pd.Series) -> bool:
    """Whether text is mostly numbers with a point, comma or sign: measurements rather than names."""
    known = column.dropna().astype("string")[:LOOK]
    return bool(known.str.fullmatch(r"\s*[<>]?\s*[-+]?\d*[.,]\d+\s*").mean() > 0.5) if len(known) else True


def _most_telling(frame: pd.DataFrame, names: list[Hashable], *, together: bool = False) -> Hashable | None:
    """The column that most likely names series; with `together` only one whose rows lie together."""
    found: list[tuple[bool, int, Hashable]] = []
    for name in names:
        codes, ids = pd.factorize(as_index(frame[name]))
        in_runs = int((np.diff(codes) != 0).sum()) == len(ids) - 1
        if 1 < len(ids) <= len(frame) / 2 and (codes >= 0).all() and (in_runs or not together):
            found.append((in_runs, len(ids), name))
    return max(found, key=lambda one: one[:2])[2] if found else None


def _rises_within(frame: pd.DataFrame, named: Hashable) -> Hashable | None:
    """The first column of numbers that rises from row to row of each series, and not from one to the next."""
    codes = pd.factorize(as_index(frame[named]))[0]
    order = np.argsort(codes, kind="stable")
    same = np.diff(codes[order]) == 0
    for name in frame.columns:
        if name == named or not pd.api.types.is_numeric_dtype(frame[name].dtype):
            continue
        if pd.api.types.is_bool_dtype(frame[name].dtype) or pd.api.types.is_complex_dtype(frame[name].dtype):
            continue
        steps = np.diff(frame[name].to_numpy(dtype=np.float64, na_value=np.nan)[order])
        if (steps[same] > 0).all() and not (steps > 0).all():
            return name
    return None
