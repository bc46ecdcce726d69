"""What to write in place of text that stands where times or numbers belong."""

from __future__ import annotations

import re
from collections.abc import Hashable

import numpy as np
import pandas as pd

__all__ = ["mostly_numbers", "text_times", "text_values"]

_OFFSET = r"(Z|[+-]\d\d:?\d\d)$"
_DAY_OR_MONTH_FIRST = r"(\d\d?)([./-])(\d\d?)[./-]\d{4}\b.*"


def text_times(index: pd.Index, what: str) -> str:
    """How to read text as times: the first value, and the call that reads them all where one does."""
    known = pd.Series(index).dropna().astype("string").str.strip()
    if not len(known):
        return "none is known"
    column = _expression(what)
    example = f"the first is {known.iloc[0]!r}; "
    if pd.to_numeric(known, errors="coerce").notna().all():
        return f"{example}convert it first with pd.to_numeric({column})"
    if pd.to_datetime(known, format="ISO8601", errors="coerce", utc=True).notna().all():
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
    unread = known[pd.to_datetime(known, format="ISO8601", errors="coerce", utc=True).isna()]
    return (
        f"one is {unread.iloc[0]!r}; convert it first with pd.to_datetime({column}, format=...), pd.to_timedelta or "
        "pd.to_numeric"
    )


def _expression(what: str) -> str:
    """The code that has the times which a message calls `what`."""
    found = re.search(r"column (.+)$", what)
    if found is not None:
        return f"df[{found[1]}]"
    return {"the index": "df.index", "the index's time level": "df.index.get_level_values(1)"}.get(what, what)


def mostly_numbers(column: pd.Series) -> bool:
    """Whether text, or text among numbers, reads as numbers in more than half of the cells that hold something."""
    known = column.dropna()
    return len(known) > 0 and float((_read(known).notna() | _has_comma(known)).mean()) > 0.5


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
    if _has_comma(column)[bad].all():
        return f"{first}, with a decimal comma: read the file with pd.read_csv(..., decimal=',')"
    return f"{first}; df[{name!r}] = pd.to_numeric(df[{name!r}], errors='coerce') makes such cells missing"


def _read(column: pd.Series) -> pd.Series:
    return pd.to_numeric(column, errors="coerce")


def _has_comma(column: pd.Series) -> pd.Series:
    return column.astype(str).str.fullmatch(r"\s*[-+]?\d+,\d+\s*").astype(bool)
