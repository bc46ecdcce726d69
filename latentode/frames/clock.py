"""Times of any kind, size and unit, without loss of precision."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from latentode.frames.remedies import add_zone, mixed_zones, other_kind, reads_as_date, text_times

__all__ = ["Instants", "as_index", "duration", "parse_times", "read_times"]

_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


@dataclass(frozen=True)
class Instants:
    """Points in time as whole units and a part of a unit, so that differences are exact.

    Nanoseconds since 1970 don't fit into a float64 and Julian days lose milliseconds in one; the
    whole parts are subtracted first. The unit is the second for datetimes and timedeltas, and the
    user's own for numbers.

    Shapes:
        whole (R,), int64 where the input was integral and float64 else; part (R,) in [0, 1).
    """

    whole: np.ndarray
    part: np.ndarray
    kind: str
    aware: bool = False

    def __len__(self) -> int:
        return len(self.whole)

    def __getitem__(self, rows: Any) -> Instants:
        return Instants(self.whole[rows], self.part[rows], self.kind, self.aware)

    @classmethod
    def none(cls, kind: str, aware: bool) -> Instants:
        """No instant at all, of a kind that others can be held against."""
        return cls(np.empty(0, dtype=np.int64), np.empty(0), kind, aware)

    def since(self, origin: Instants) -> np.ndarray:
        """Elapsed units from `origin`, row by row: (R,) float64."""
        exact = (self.whole - origin.whole).astype(np.float64)
        rough = self.whole.astype(np.float64) - origin.whole.astype(np.float64)
        # Beyond, the difference of two int64 may wrap, and is no more exact as a float64.
        whole = np.where(np.abs(rough) < 2.0**62, exact, rough)
        return whole + (self.part - origin.part)


def as_index(column: Any) -> pd.Index:
    """A column's values, or a tensor's, as an index of their dtype; pandas has none of half precision."""
    if type(column).__module__.partition(".")[0] == "torch":  # pandas takes no tensor
        column = column.detach().cpu().numpy()
    dtype = getattr(column, "dtype", None)
    if dtype == np.float16:
        column = column.astype(np.float32)
    # Left to itself pandas 2 looks into objects for another dtype, and warns that pandas 3 won't.
    return pd.Index(column, dtype=object if pd.api.types.is_object_dtype(dtype) else None)


def parse_times(times: Any, what: str, *, like: Instants | None = None, zone: Any = None) -> pd.Index:
    """Numbers, datetimes or timedeltas as an index of a proper dtype.

    Text and bare objects are read as the kind of `like`. Periods stand for their start.

    Args:
        zone: of the data at hand, which datetimes without one are not taken to be of.

    Raises:
        TypeError: for what can't be read as times.
    """
    index = _parsed(times, what, like)
    if zone is not None and isinstance(index, pd.DatetimeIndex) and index.tz is None:
        raise TypeError(_other_awareness(what, aware=False, zone=zone))
    return index


def _parsed(times: Any, what: str, like: Instants | None) -> pd.Index:
    if np.ndim(times) != 1:
        raise TypeError(f"{what} must be a list or index of times; got {times!r}")
    index = as_index(times)
    if index.dtype == object or pd.api.types.is_string_dtype(index.dtype):
        index = _from_objects(index, what, like)
    if isinstance(index, pd.PeriodIndex):
        return index.to_timestamp()
    if isinstance(index.dtype, pd.ArrowDtype):
        if "decimal" in str(index.dtype):
            raise TypeError(f"{what} holds decimal numbers; convert it with astype(float)")
        if pd.api.types.is_datetime64_any_dtype(index.dtype):
            return pd.DatetimeIndex(index.array.__arrow_array__().to_pandas())
        if pd.api.types.is_timedelta64_dtype(index.dtype) or index.dtype.kind == "m":
            return pd.TimedeltaIndex(index.array.__arrow_array__().to_pandas())
    return index


def read_times(times: Any, what: str, *, like: Instants | None = None, zone: Any = None) -> Instants:
    """Reads a column, index or list of numbers, datetimes, timedeltas or periods.

    Args:
        what: how messages call it, e.g. "column 'hours'".
        like: instants whose kind the result must share.
        zone: as in `parse_times`.

    Raises:
        TypeError: for times of no known kind, or of another kind than `like`.
        ValueError: for integers that 64 bits with a sign don't hold.
    """
    index = parse_times(times, what, zone=zone)
    if pd.api.types.is_datetime64_any_dtype(index.dtype):
        kind, aware = "datetime", getattr(index, "tz", None) is not None
    elif pd.api.types.is_timedelta64_dtype(index.dtype):
        kind, aware = "timedelta", False
    elif pd.api.types.is_numeric_dtype(index.dtype) and not pd.api.types.is_bool_dtype(index.dtype):
        kind, aware = "number", False
        if pd.api.types.is_complex_dtype(index.dtype):
            raise TypeError(f"{what} holds complex numbers; times must be real")
    else:
        raise TypeError(
            f"{what} has dtype {index.dtype}, which is no time; use numbers, datetimes or timedeltas "
            "(pd.to_datetime reads text)"
        )
    if like is not None:
        _check_kind(kind, aware, like, what)
    if kind == "number":
        return _numbers(index, what)
    return _ticks(index, kind, aware)


def _numbers(index: pd.Index, what: str) -> Instants:
    if pd.api.types.is_integer_dtype(index.dtype) and not index.hasnans:
        numbers = index.to_numpy()
        if len(numbers) and numbers.max() > np.iinfo(np.int64).max:
            raise ValueError(
                f"{what} holds integers above 2**63 - 1; subtract a common origin from them first"
            )
        return Instants(numbers.astype(np.int64), np.zeros(len(numbers)), "number")
    numbers = index.to_numpy(dtype=np.float64, na_value=np.nan)
    whole = np.floor(numbers)
    with np.errstate(invalid="ignore"):  # inf - inf: refused by the reader, with the series' name
        return Instants(whole, numbers - whole, "number")


def _ticks(index: pd.Index, kind: str, aware: bool) -> Instants:
    missing = index.isna()
    per_second = 10**9 // _NANOSECONDS[index.unit]
    whole, part = np.divmod(index.asi8, per_second)
    part = part / per_second
    if missing.any():
        whole = np.where(missing, np.nan, whole.astype(np.float64))
    return Instants(whole, part, kind, aware)


def _from_objects(index: pd.Index, what: str, like: Instants | None) -> pd.Index:
    inferred = index.infer_objects()
    if inferred.dtype != object and not pd.api.types.is_string_dtype(inferred.dtype):
        return inferred
    kind = pd.api.types.infer_dtype(index, skipna=True)
    wanted = None if like is None else like.kind
    try:
        if kind in ("datetime", "date", "datetime64") or wanted == "datetime":
            return _from_dates(index)
        if kind in ("timedelta", "timedelta64") or wanted == "timedelta":
            return _from_lengths(index)
        if kind in ("integer", "floating", "mixed-integer-float"):
            return pd.Index(index.to_numpy(dtype=np.float64))
    except (ValueError, TypeError) as failure:
        told = mixed_zones(index, what)
        if kind == "string":
            proper = "ISO 8601 date" if wanted == "datetime" else "length of time"
            told = f"{what} holds text that is no {proper}; {text_times(index, what, wanted)}"
        raise TypeError(told or f"{what} can't be read as times: {failure}") from failure
    if kind == "string":
        raise TypeError(f"{what} holds text, not times; {text_times(index, what, wanted)}")
    remedy = "pd.to_datetime, pd.to_timedelta or pd.to_numeric"
    if kind == "decimal":
        remedy = "astype(float)"
    raise TypeError(f"{what} holds {kind}, not times; convert it first with {remedy}")


def _from_dates(index: pd.Index) -> pd.DatetimeIndex:
    """Datetimes, and ISO 8601 text; pandas would read "now" too.

    Raises:
        ValueError: for other text, and as pandas.
    """
    found = pd.DatetimeIndex(pd.to_datetime(index, format="ISO8601"))
    texts = pd.Series([time if isinstance(time, str) else None for time in index], dtype="string")
    odd = (found.notna() & texts.notna() & ~reads_as_date(texts)).to_numpy()
    if odd.any():
        raise ValueError(f"{texts[int(odd.argmax())]!r} is no date")
    return found


def _from_lengths(index: pd.Index) -> pd.TimedeltaIndex:
    """Timedeltas, and text with a unit; pandas would take numbers for nanoseconds.

    Raises:
        ValueError: for numbers, and as pandas.
    """
    bare = [length for length in index if _is_bare_number(length)]
    if bare:
        raise ValueError(f"{bare[0]!r} has no unit")
    return pd.TimedeltaIndex(pd.to_timedelta(index))


def _check_kind(kind: str, aware: bool, like: Instants, what: str) -> None:
    if kind != like.kind:
        raise TypeError(
            f"{what} holds times of kind {kind!r}, where the model's are of kind {like.kind!r}; "
            f"{other_kind(what, like.kind)}"
        )
    if aware != like.aware:
        raise TypeError(_other_awareness(what, aware=aware))


def _other_awareness(what: str, *, aware: bool, zone: Any = None) -> str:
    have, want = ("with", "without") if aware else ("without", "with")
    remedy = "tz_convert(None) takes it off" if aware else add_zone(what, zone)
    fitted = f"those that the model was fitted to are {want} one"
    return f"{what} holds datetimes {have} a time zone, where {fitted}; {remedy}"


def duration(length: Any, kind: str, what: str) -> float:
    """A length of time in the clock's units: a number, or anything pd.Timedelta reads.

    Raises:
        TypeError: where the length does not suit the kind of time.
        ValueError: where it is not finite and positive.
    """
    if isinstance(length, np.timedelta64):  # a number to numpy
        length = pd.Timedelta(length)
    if kind == "number":
        if isinstance(length, bool) or not isinstance(length, (int, float, np.number)):
            raise TypeError(f"{what} must be a number, as the times are; got {length!r}")
        value = float(length)
    else:
        # pandas takes text without a unit, as a command line hands it on, for nanoseconds.
        if isinstance(length, (int, float, np.number)) or _is_bare_number(length):
            raise TypeError(
                f"{what} must be a length of time such as '48h' or a Timedelta, as the times are {kind}s; "
                f"got {length!r}"
            )
        try:
            value = pd.Timedelta(_in_todays_units(length)) / pd.Timedelta(1, "s")
        except ValueError as failure:
            raise ValueError(
                f"{what}={length!r} is no length of time: {failure}; {_remedy(length)}"
            ) from failure
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{what} must be positive and finite; got {length!r}")
    return value


def _is_bare_number(length: Any) -> bool:
    if not isinstance(length, str):
        return False
    try:
        float(length)
    except ValueError:
        return False
    return length.strip().lower() != "nan"


# Letters that pandas used to take for these; it warns of some and refuses others.
_FORMER = {"d": "D", "w": "W", "H": "h", "T": "min", "S": "s", "L": "ms", "U": "us", "N": "ns"}


def _in_todays_units(length: Any) -> Any:
    if not isinstance(length, str):
        return length
    return re.sub(r"(?<=\d)(\s*)([dwHTSLUN])(?![A-Za-z])", lambda found: found[1] + _FORMER[found[2]], length)


def _remedy(length: Any) -> str:
    """What to write in place of a length that pandas can't read."""
    found = re.fullmatch(r"\s*(\d+\.?\d*)\s*(weeks?|months?|years?|[MYy])\s*", str(length))
    if found is None:
        return "write a number and its unit, e.g. '90min', '48h' or '14D'"
    days = {"w": 7, "m": 30, "y": 365}[found[2][0].lower()] * float(found[1])
    unlike = "" if found[2].startswith("w") else " (months and years are of no one length)"
    return f"write '{days:g}D'{unlike}"
