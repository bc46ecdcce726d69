"""Which columns hold what: series, time, channels and what describes a series."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import pandas as pd

from latentode.frames.clock import as_index
from latentode.frames.levels import find_levels

__all__ = ["Roles", "find_roles"]


@dataclass(frozen=True)
class Roles:
    """Which columns hold what. `id_level` and `time_level` say that the role is the index's.

    Where `id_name` is None the frame is a single series. `from_array` marks a plain array, whose
    clock is the row number.
    """

    id_name: Hashable | None
    time_name: Hashable | None
    value_cols: tuple[Hashable, ...]
    id_level: int | None = None
    time_level: int | None = None
    from_array: bool = False
    static_cols: tuple[Hashable, ...] = ()

    @property
    def is_single(self) -> bool:
        return self.id_name is None and self.id_level is None

    @property
    def key_columns(self) -> list[Hashable]:
        """The id and time columns, where they are columns."""
        columns = []
        if self.id_level is None and self.id_name is not None:
            columns.append(self.id_name)
        if self.time_level is None and self.time_name is not None:
            columns.append(self.time_name)
        return columns

    def id_of(self, frame: pd.DataFrame) -> pd.Index | None:
        """The series of each row, (R,); None for a single series."""
        if self.is_single:
            return None
        if self.id_level is not None:
            return frame.index.get_level_values(self.id_level)
        return as_index(frame[self.id_name])

    def time_of(self, frame: pd.DataFrame) -> pd.Index:
        """The time of each row as the frame holds it, (R,)."""
        if self.time_level is not None:
            return frame.index.get_level_values(self.time_level)
        return as_index(frame[self.time_name])

    def describe_time(self) -> str:
        """Where the times stand, for messages: "time column 'hours'"."""
        if self.time_level is None:
            return f"time column {self.time_name!r}"
        if self.is_single:
            return "the index"
        return "the index's time level" if self.time_level == 1 else f"level {self.time_level} of the index"


def find_roles(
    frame: pd.DataFrame,
    id_col: Hashable | None,
    time_col: Hashable | None,
    value_cols: Sequence[Hashable] | None,
    static_cols: Sequence[Hashable] | None = None,
    *,
    from_array: bool,
    fitted: Roles | None = None,
) -> Roles:
    """What each column is for; a role that is not named is the index's.

    Args:
        value_cols: None takes every column that has no other role.
        from_array: the frame was made of an array.
        fitted: a model's roles, by whose names levels that are not named here are told apart.

    Raises:
        TypeError: where a role is given what is no name, or text in place of a list of names.
        ValueError: for a name that the frame lacks or that has two roles, and where a role can't be told.
    """
    for role, name in (("id_col", id_col), ("time_col", time_col)):
        if not isinstance(name, Hashable):
            raise TypeError(f"{role} must be the name of one column; got {name!r}")
    levels = list(frame.index.names)
    is_multi = isinstance(frame.index, pd.MultiIndex)
    if is_multi and frame.index.nlevels != 2 and (id_col is None or time_col is None):
        raise ValueError(
            f"the index has {frame.index.nlevels} levels; a (series, time) index has two. "
            "Name id_col and time_col, or use reset_index"
        )

    def find(name: Hashable | None, role: str, default: int | None) -> tuple[Hashable | None, int | None]:
        if name is None:
            return (levels[default] if default is not None else None), default
        if name in frame.columns:
            return name, None
        if name in levels:
            return name, levels.index(name)
        raise ValueError(
            f"{role}={name!r} is neither a column nor an index level of the frame"
            f"{_did_you_mean([name], [*frame.columns, *(level for level in levels if level is not None)])}; "
            f"its columns are {_listed(frame.columns)}"
        )

    id_default, time_default = _usual_levels(frame, id_col, time_col, fitted)
    id_name, id_level = find(id_col, "id_col", id_default)
    if time_col is None and not is_multi and id_col is not None and isinstance(frame.index, pd.RangeIndex):
        raise ValueError(
            f"id_col={id_col!r} was given without time_col, and the index only counts the rows; "
            "name the time column with time_col=..."
        )
    time_name, time_level = find(time_col, "time_col", time_default)
    if (id_col is not None and id_col == time_col) or (id_level is not None and id_level == time_level):
        raise ValueError(f"{id_col!r} can't be both the id and the time; name one column for each")
    keys = {id_name if id_level is None else None, time_name if time_level is None else None} - {None}
    statics = _find_statics(frame, static_cols, keys, from_array=from_array)
    if value_cols is None:
        chosen = [column for column in frame.columns if column not in keys and column not in statics]
        if not chosen:
            beside = "id, time and static" if statics else "id and time"
            raise ValueError(f"the frame has no value columns beside its {beside} columns")
    else:
        if isinstance(value_cols, str):
            raise TypeError(f"value_cols must be a list of column names; got the text {value_cols!r}")
        chosen = list(value_cols.tolist() if hasattr(value_cols, "tolist") else value_cols)
        if not chosen:
            raise ValueError("value_cols is empty; name at least one column, or leave it out to take all")
        missing = [column for column in chosen if column not in frame.columns]
        if missing:
            raise ValueError(
                f"the frame lacks the value columns {_listed(missing)}{_did_you_mean(missing, frame.columns)}; "
                f"its columns are {_listed(frame.columns)}"
            )
        if len(set(chosen)) < len(chosen):
            raise ValueError(f"value_cols names a column twice: {_listed(chosen)}")
        both = [column for column in chosen if column in keys]
        if both:
            raise ValueError(f"{both[0]!r} can't be both a value column and the id or time column")
        both = [column for column in chosen if column in statics]
        if both:
            raise ValueError(
                f"{both[0]!r} can't be both a value column and a static one; a static column describes a series and "
                "is not predicted"
            )
    return Roles(id_name, time_name, tuple(chosen), id_level, time_level, from_array, statics)


def _usual_levels(
    frame: pd.DataFrame, id_col: Hashable | None, time_col: Hashable | None, fitted: Roles | None
) -> tuple[int | None, int]:
    """The levels of the ids and of the times where they are not named; None for a frame without ids.

    Those that the fitted model's are called as. Else of two levels the ids come first, unless one of them is named.
    """
    if not isinstance(frame.index, pd.MultiIndex):
        return None, 0
    levels = list(frame.index.names)
    in_levels = {id_col, time_col} - {None, *frame.columns}
    named = [levels.index(name) for name in in_levels if name in levels]
    if len(levels) == 2 and len(named) == 1 and None in (id_col, time_col):
        return 1 - named[0], 1 - named[0]
    usual = {"id": 0, "time": len(levels) - 1}
    if fitted is not None:
        wanted = {"id": fitted.id_name} if id_col is None else {}
        wanted |= {"time": fitted.time_name} if time_col is None else {}
        found = find_levels(list(wanted.values()), levels)
        usual |= zip(wanted, found or (), strict=False)
    return usual["id"], usual["time"]


def _find_statics(
    frame: pd.DataFrame,
    static_cols: Sequence[Hashable] | None,
    keys: set[Hashable | None],
    *,
    from_array: bool,
) -> tuple[Hashable, ...]:
    if isinstance(static_cols, str):
        raise TypeError(f"static_cols must be a list of column names; got the text {static_cols!r}")
    chosen = () if static_cols is None else tuple(static_cols)
    if chosen and from_array:
        raise ValueError(
            f"static_cols={_listed(chosen)} names columns, and an array is one series without any; give a frame"
        )
    missing = [column for column in chosen if column not in frame.columns]
    if missing:
        raise ValueError(
            f"the frame lacks the static columns {_listed(missing)}{_did_you_mean(missing, frame.columns)}; "
            "where they are not known give columns of NaN. "
            f"Its columns are {_listed(frame.columns)}"
        )
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"static_cols names a column twice: {_listed(chosen)}")
    both = [column for column in chosen if column in keys]
    if both:
        raise ValueError(f"{both[0]!r} can't be both a static column and the id or time column")
    return chosen


def _did_you_mean(missing: Iterable[Hashable], known: Iterable[Hashable]) -> str:
    """For messages, the known names that missing ones differ from by their case or a few letters."""
    by_text = {str(name).casefold(): name for name in known}
    alike = [get_close_matches(str(name).casefold(), by_text, n=1) for name in list(missing)[:12]]
    meant = [repr(by_text[one]) for names in alike for one in names]
    return f" (did you mean {', '.join(dict.fromkeys(meant))}?)" if meant else ""


def _listed(names: Any, most: int = 12) -> str:
    names = list(names)
    shown = ", ".join(repr(name) for name in names[:most])
    return f"[{shown}{', ...' if len(names) > most else ''}]"
