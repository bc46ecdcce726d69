"""Data of any library: read as a frame of pandas, answered in kind."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

import pandas as pd

from latentode.frames.arrays import as_array

__all__ = ["answers_in_kind", "as_frame", "fills_in_kind", "in_kind", "to_pandas"]

# Libraries whose frames narwhals reads and that lie in memory as a whole.
LIBRARIES = ("polars", "pyarrow", "modin", "cudf")

Method = TypeVar("Method", bound=Callable[..., Any])


def answers_in_kind(method: Method) -> Method:
    """A method of pandas frames that takes polars' and others' too, and answers with a frame of that library.

    Such frames have no index: what pandas keeps there is a column of the answer.

    Raises:
        TypeError: for a frame that is not in memory yet.
        ValueError: for a frame without an index where the estimator names no time column.
    """

    def back(self: Any, given: Any, read: pd.DataFrame, found: pd.DataFrame) -> Any:  # noqa: ARG001
        return in_kind(given, found, [self.id_col, self.time_col])

    return _asks_in_pandas(method, back)


def fills_in_kind(method: Method) -> Method:
    """As `answers_in_kind`, for a method that fills gaps: columns without any, and those of no channel, stay as given.

    Raises:
        TypeError, ValueError: as `answers_in_kind`.
    """

    def back(self: Any, given: Any, read: pd.DataFrame, found: pd.DataFrame) -> Any:
        gappy = [name for name in self.value_cols_ if read[name].isna().any()]
        nw = _narwhals(given)
        frame, filled = (
            nw.from_native(one, eager_only=True) for one in (given, in_kind(given, found[gappy]))
        )
        answer = frame.with_columns(*(filled[name] for name in gappy)).to_native()
        if all(filled[name].dtype == frame[name].dtype for name in gappy):
            return answer
        return _without_dtypes_of_pandas(answer)

    return _asks_in_pandas(method, back)


def _asks_in_pandas(method: Method, back: Callable[..., Any]) -> Method:
    """The method, asked of a frame of pandas; `back` makes a frame of the library of its answer."""

    @wraps(method)
    def asked(self: Any, X: Any, *arguments: Any, **settings: Any) -> Any:
        arguments = tuple(to_pandas(value) for value in arguments)
        settings = {name: to_pandas(value) for name, value in settings.items()}
        if not _is_foreign(X):
            return method(self, X, *arguments, **settings)
        if self.time_col is None:
            raise ValueError(
                f"a frame of {_library(X)} has no index to be its clock; name the time column with time_col=..."
            )
        read = to_pandas(X)
        found = method(self, read, *arguments, **settings)
        return back(self, X, read, found) if isinstance(found, pd.DataFrame) else found

    return cast(Method, asked)


def to_pandas(data: Any) -> Any:
    """A frame or series of another library as pandas'; anything else as it is."""
    if not _is_foreign(data):
        return data
    read = _narwhals(data).from_native(data, eager_only=True, allow_series=True)
    if hasattr(read, "columns"):
        return read.to_pandas()
    return read.alias("times").to_frame().to_pandas()["times"]  # by way of a frame zones are kept


def as_frame(data: Any) -> tuple[pd.DataFrame, bool]:
    """A frame, series or array of any library as a frame of pandas, and whether it was an array.

    Raises:
        TypeError: for anything else.
        ValueError: where two columns share a name, or there is no row.
    """
    data = to_pandas(data)
    if isinstance(data, pd.DataFrame):
        frame, from_array = data, False
    elif isinstance(data, pd.Series):
        frame, from_array = data.to_frame("value" if data.name is None else data.name), False
    elif isinstance(data, list) or hasattr(data, "__array__") or hasattr(data, "toarray"):
        frame, from_array = pd.DataFrame(as_array(data)), True
    elif isinstance(data, (str, os.PathLike)):
        raise TypeError(
            f"expected a pandas DataFrame, one of polars or an array; got the {type(data).__name__} {str(data)!r}. "
            f"Read a file first: df = pd.read_csv({str(data)!r})"
        )
    else:
        raise TypeError(f"expected a pandas DataFrame, one of polars or an array; got {type(data).__name__}")
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise ValueError(f"two columns are called {twice!r}; column names must be unique")
    if len(frame) == 0:
        raise ValueError("the frame is empty: it has no rows")
    return frame, from_array


def _library(data: Any) -> str:
    return type(data).__module__.partition(".")[0]


def _is_foreign(data: Any) -> bool:
    if _library(data) not in LIBRARIES:
        return False
    if type(data).__name__ == "LazyFrame":
        raise TypeError("a LazyFrame is not computed yet; call .collect() on it first")
    return type(data).__name__ in ("DataFrame", "Series", "Table", "ChunkedArray")


def _narwhals(data: Any) -> Any:
    try:
        import narwhals  # needed for other libraries' frames only
    except ImportError as failure:
        library = _library(data)
        raise ImportError(
            f"frames of {library} are read through narwhals; install it with pip install 'latentode[polars]'"
        ) from failure
    return narwhals


def _without_dtypes_of_pandas(table: Any) -> Any:
    """A table without the note of pyarrow's on which dtypes its columns had in pandas; of another library as it is."""
    if _library(table) != "pyarrow":
        return table
    notes = {name: note for name, note in (table.schema.metadata or {}).items() if name != b"pandas"}
    return table.replace_schema_metadata(notes)


def in_kind(given: Any, found: pd.DataFrame, keys: Sequence[Any] = ()) -> Any:
    """A pandas frame in the library of `given`, its key columns in their dtypes where nothing is lost by it."""
    if not _is_foreign(given):
        return found
    import pyarrow as pa  # what pandas and the other library both speak

    if found.index.nlevels > 1 or found.index.name is not None:
        found = found.reset_index()
    nw = _narwhals(given)
    like = nw.from_native(given, eager_only=True)
    answer = nw.from_arrow(pa.Table.from_pandas(found, preserve_index=False), backend=like.implementation)
    for name in keys:
        if name in answer.columns and name in like.columns and answer[name].dtype != like[name].dtype:
            cast_column = answer[name].cast(like[name].dtype)
            if (cast_column.cast(answer[name].dtype) == answer[name]).all():
                answer = answer.with_columns(cast_column)
    return answer.to_native()
