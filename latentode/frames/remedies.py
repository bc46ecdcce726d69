"""What to write in place of text that stands where times or numbers belong."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd

__all__ = [
    "MOMENTS",
    "add_zone",
    "mistyped",
    "mixed_zones",
    "mostly_numbers",
    "no_numbers",
    "numbers_among",
    "other_kind",
    "reads_as_date",
    "text_times",
    "text_values",
]

# What pandas calls objects that are times.
MOMENTS = ("datetime", "datetime64", "date", "time", "timedelta", "timedelta64", "period")

# What messages call times that a user asks by; all others are those of a frame.
_ASKED = ("times", "after")

_OFFSET = r"(Z|[+-]\d\d:?\d\d)$"
_DAY_OR_MONTH_FIRST = r"(\d\d?)([./-])(\d\d?)[./-]\d{4}\b.*"


def text_times(index: pd.Index, what: str, kind: str | None = None) -> str:
    """How to read text as times: the first value, and the call that reads them all where one does.

    Args:
        kind: of the model's times; None where they are still to be learned.
    """
    known = pd.Series(index).dropna().astype("string").str.strip()
    if not len(known):
        return "none is known"
    column = _expression(what)
    example = f"the first is {known.iloc[0]!r}; "
    if kind in (None, "number") and pd.to_numeric(known, errors="coerce").notna().all():
        return f"{example}convert it first with pd.to_numeric({column})"
    if what in _ASKED and kind in ("number", "timedelta"):
        return f"{example}{other_kind(what, kind)}"
    iso = reads_as_date(known)
    if iso.all():
        offsets = known.str.extract(_OFFSET)[0]
        if offsets.nunique(dropna=False) > 1:
            other = known[offsets.fillna("") != offsets.fillna("").iloc[0]].iloc[0]
            return (
                f"{example}its distance to UTC is not that of {other!r}; convert it first with "
                f"pd.to_datetime({column}, utc=True, format='ISO8601')"
            )
        return f"{example}convert it first with pd.to_datetime({column}, format='ISO8601')"
    fields = known.str.extract(_DAY_OR_MONTH_FIRST)
    if fields[0].notna().all():
        first, sign, second = fields[0].astype(int), fields[1].iloc[0], fields[2].astype(int)
        if (first > 12).any():
            example = f"one is {known[first > 12].iloc[0]!r}; "
            return f"{example}convert it first with pd.to_datetime({column}, dayfirst=True, format='mixed')"
        if (second > 12).any():
            example = f"one is {known[second > 12].iloc[0]!r}; "
            return f"{example}convert it first with pd.to_datetime({column}, format='mixed')"
        return (
            f"{example}convert it first with pd.to_datetime({column}, format='%d{sign}%m{sign}%Y'), or '%m{sign}%d"
            f"{sign}%Y' where months stand first"
        )
    unread = known[~iso].iloc[0]
    if kind == "datetime":
        ahead = f"; for a length of time ahead use forecast(horizon={unread!r})"
        return (
            f"one is {unread!r}; write dates such as '2026-03-29 12:00', or convert it first with "
            f"pd.to_datetime({column}, format=...){ahead if _is_length(unread) and what == 'times' else ''}"
        )
    return (
        f"one is {unread!r}; convert it first with pd.to_datetime({column}, format=...), pd.to_timedelta or "
        "pd.to_numeric"
    )


def reads_as_date(texts: pd.Series) -> pd.Series:
    """Which are ISO 8601 dates; pandas takes "now" and years of other than four digits for some."""
    found = pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=True)
    return found.notna() & texts.str.match(r"\s*\d{4}").fillna(False).astype(bool)


def _is_length(text: str) -> bool:
    return re.fullmatch(r"[\d.]+ ?[A-Za-z]+", text) is not None


def mixed_zones(index: pd.Index, what: str) -> str | None:
    """What is said of datetimes that make no index, as their zones differ or some have none; None of others."""
    aware = [getattr(time, "tzinfo", None) is not None for time in index if not pd.isna(time)]
    if not any(aware):
        return None
    if all(aware):
        mend = f"pd.to_datetime({_expression(what)}, utc=True)"
        return f"{what} holds datetimes of several time zones; {mend} makes them one"
    return (
        f"{what} holds datetimes with a time zone and others without one; give those theirs with tz_localize"
    )


def other_kind(what: str, wanted: str) -> str:
    """What to give in place of times of another kind than the model's."""
    if what == "after":
        return {
            "datetime": "write a date such as '2026-03-29 12:00'",
            "number": "give a number in the unit of the data's times",
            "timedelta": "give a length of time such as pd.Timedelta('48h')",
        }[wanted]
    if what != "times":
        return "use the same kind of time for fitting and predicting"
    return {
        "datetime": "write dates such as '2026-03-29 12:00'; for a length of time ahead use forecast(horizon='48h'), "
        "or add it, as pd.Timedelta('48h'), to the last time",
        "number": "give numbers in the unit of the data's times; for a length of time ahead use forecast with that "
        "number as horizon",
        "timedelta": "give lengths of time such as pd.Timedelta('48h')",
    }[wanted]


def add_zone(what: str, zone: Any) -> str:
    """How datetimes get the time zone that they lack; `zone` is that of the data at hand, or None."""
    column = _expression(what)
    if what in _ASKED:
        column = "pd.to_datetime(times)" if what == "times" else f"pd.Timestamp({what})"
    elif column.startswith("df["):
        column += ".dt"
    if zone is None:
        return f"{column}.tz_localize(...), with the zone that they are of, adds it"
    offset = "write the offset, e.g. '2026-03-29 12:00+00:00', or " if what in _ASKED else ""
    return f"{offset}{column}.tz_localize({str(zone)!r}), if they are of the data's zone, adds it"


def _expression(what: str) -> str:
    """The code that has the times which a message calls `what`."""
    found = re.search(r"column (.+)$", what)
    if found is not None:
        return f"df[{found[1]}]"
    found = re.fullmatch(r"level (\d+) of the index", what)
    if found is not None:
        return f"df.index.get_level_values({found[1]})"
    return {"the index": "df.index", "the index's time level": "df.index.get_level_values(1)"}.get(what, what)


def mostly_numbers(column: pd.Series) -> bool:
    """Whether text, or text among numbers, reads as numbers in more than half of the cells that hold something."""
    known = column.dropna()
    return len(known) > 0 and float((_read(known).notna() | _has_comma(known)).mean()) > 0.5


def no_numbers(name: Hashable, kind: str) -> str:
    """What to do with a column whose values are of a kind, as pandas infers it, that is no number."""
    if kind == "decimal":
        return "convert it with astype(float)"
    drop = "drop it, or leave it out of value_cols"
    if kind in ("datetime", "datetime64", "date"):
        times = f"pd.to_datetime(df[{name!r}])"
        return f"{drop}. ({times} - reference) / pd.Timedelta('1h') makes hours of it, from a datetime of reference on"
    if kind in ("timedelta", "timedelta64"):
        return f"pd.to_timedelta(df[{name!r}]) / pd.Timedelta('1h') makes hours of it"
    return drop


def text_values(column: pd.Series, name: Hashable, ids: pd.Index | None) -> str | None:
    """Where the first cell is that holds no number, and the call that mends it; None where most hold none."""
    known = column.notna().to_numpy()
    if not mostly_numbers(column):
        return None
    bad = known & _read(column).isna().to_numpy()
    if not bad.any():
        return f"it holds numbers as text: df[{name!r}] = pd.to_numeric(df[{name!r}])"
    row = int(np.flatnonzero(bad)[0])
    where = f"row {row}" if ids is None else f"row {row}, series {ids[row : row + 1].tolist()[0]!r}"
    first = f"the first that is none is {column.iloc[row]!r} ({where})"
    if _has_comma(column).iloc[row]:
        return f"{first}, with a decimal comma: read the file with pd.read_csv(..., decimal=',')"
    if re.fullmatch(r"\s*[<>]=?\s*[-+\d.,eE]+\s*", str(column.iloc[row])):
        return (
            f"{first}, a limit of detection. Made missing it would be lost, and answers too high: put a number there, "
            f"e.g. the limit with df[{name!r}] = pd.to_numeric(df[{name!r}].astype(str).str.strip('<>= '))"
        )
    return f"{first}; df[{name!r}] = pd.to_numeric(df[{name!r}], errors='coerce') makes such cells missing"


def mistyped(column: pd.Series) -> bool:
    """Whether a column is of numbers, but for some cells of text."""
    if isinstance(column.dtype, pd.PeriodDtype) or pd.api.types.infer_dtype(column, skipna=True) in MOMENTS:
        return False
    return mostly_numbers(column) and _read(column).isna().sum() > column.isna().sum()


def numbers_among(column: pd.Series) -> np.ndarray:
    """Its numbers, NaN where there is none, of which a comma may stand for the point: (R,)."""
    cells = zip(column, _has_comma(column), strict=True)
    mended = pd.Series([cell.replace(",", ".") if comma else cell for cell, comma in cells], dtype=object)
    return _read(mended).to_numpy(dtype=np.float64, na_value=np.nan)


def _read(column: pd.Series) -> pd.Series:
    return pd.to_numeric(column, errors="coerce")


def _has_comma(column: pd.Series) -> pd.Series:
    found = [re.fullmatch(r"\s*[-+]?\d+,\d+\s*", str(cell)) is not None for cell in column]
    return pd.Series(found, index=column.index, dtype=bool)
