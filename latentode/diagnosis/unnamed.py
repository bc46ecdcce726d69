"""Which columns look like the series and the clock of a frame of which neither was named."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd

from latentode.diagnosis.report import Finding
from latentode.frames import Instants, read_times
from latentode.frames.candidates import Candidate, find_candidates, holds_dates, is_text, most_telling
from latentode.frames.clock import as_index

__all__ = ["guess_roles", "say_guess"]


def guess_roles(frame: Any, *chosen: Any) -> dict[str, Hashable]:
    """`id_col` and `time_col` as the columns suggest them; empty where the index says more, or nothing does.

    The clock is a column of datetimes, or of text that reads as such; numbers that rise within each series and not
    over the frame are one too. The series is a column of text, categories or integers that repeats, of several the
    most telling.

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
    clock = next((name for name in frame if holds_dates(frame[name])), None)
    others = [name for name in frame if name != clock]
    times = None if clock is None else _times(frame[clock])
    found = find_candidates(frame, others, times)
    if clock is None:
        rising = (_rises_within(frame, one) for one in _in_turn(found))
        clock = next((name for name in rising if name is not None), None)
        if clock is not None:
            found = find_candidates(frame, [name for name in others if name != clock], _times(frame[clock]))
        elif not any(one.is_text for one in found):
            return {}
    best = most_telling(found)
    named = None if best is None else best.name
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
        elif is_text(column):
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


def _times(column: pd.Series) -> Instants | None:
    """The clock's times, of text those missing that are none; None where they can't be read."""
    if is_text(column):
        column = pd.to_datetime(column, format="ISO8601", errors="coerce", utc=True)
        if column.notna().mean() < 0.5:
            return None
    try:
        return read_times(as_index(column), "the clock")
    except (TypeError, ValueError):
        return None


def _in_turn(found: list[Candidate]) -> list[Candidate]:
    """Those within which a clock may rise, the likelier ones first: text, integers that decide it, blocks of rows."""
    texts = sorted((one for one in found if one.is_text), key=lambda one: (-one.together, -one.n_values))
    whole = [one for one in found if not one.is_text]
    deciding = [any(one.decides(text.codes) for text in texts) for one in whole]
    likely = [(one, more) for one, more in zip(whole, deciding, strict=True) if one.together or more]
    likely.sort(key=lambda pair: (-pair[1], -pair[0].together, -pair[0].n_values))
    return [*texts, *(one for one, _ in likely)]


def _rises_within(frame: pd.DataFrame, series: Candidate) -> Hashable | None:
    """The first column of numbers that rises from row to row of each series, and not from one to the next.

    One that counts the rows is none.
    """
    order = np.argsort(series.codes, kind="stable")
    same = np.diff(series.codes[order]) == 0
    for name in frame.columns:
        if name == series.name or not pd.api.types.is_numeric_dtype(frame[name].dtype):
            continue
        if pd.api.types.is_bool_dtype(frame[name].dtype) or pd.api.types.is_complex_dtype(frame[name].dtype):
            continue
        numbers = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
        steps = np.diff(numbers[order])
        if (steps[same] > 0).all() and not (steps > 0).all() and not (np.diff(numbers) == 1).all():
            return name
    return None
