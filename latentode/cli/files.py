"""Tables and models in files, and text as times."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from latentode.frames import Roles

__all__ = [
    "arrange",
    "check_exists",
    "check_folder",
    "is_model",
    "read_clock",
    "read_table",
    "same",
    "write_table",
]

_TEXT = {".csv": ",", ".csv.gz": ",", ".tsv": "\t", ".tsv.gz": "\t"}
_PARQUET = (".parquet", ".pq")


def is_model(path: str) -> bool:
    """Whether a file is one that `LatentODE.save` wrote."""
    if path == "-" or not Path(path).is_file():
        return False
    with Path(path).open("rb") as file:
        return file.read(16) == b"latentode model "


def read_table(path: str, *, id_col: Any = None, time_col: Any = None) -> pd.DataFrame:
    """A table of a file; ids of text files stay the text they are, even NA, times are numbers or datetimes.

    Raises:
        OSError, ValueError: where the file can't be read, or its times can't.
        ImportError: for Parquet, where nothing that reads it is installed.
    """
    if is_model(path):
        raise ValueError(f"{path} is a saved model, where a table belongs")
    suffix = _suffix(path)
    if suffix in _PARQUET:
        check_exists(path)
        _check_parquet(path)
        frame = pd.read_parquet(path)
    else:
        source: Any = sys.stdin if path == "-" else path
        check_exists(path)
        # An id may be a number with leading zeros, or a word that pandas takes for a missing value if it is not marked.
        marked = {} if id_col is None else {id_col: "=".__add__}
        try:
            frame = pd.read_csv(source, sep=_TEXT[suffix], converters=marked)
        except ValueError as failure:
            raise ValueError(f"{path} can't be read as a table: {failure}") from failure
        if id_col in frame.columns:
            ids = frame[id_col].str[1:]
            frame[id_col] = ids.where(ids != "")
    if time_col is not None and time_col in frame.columns:
        frame[time_col] = read_clock(frame[time_col], f"column {time_col!r} of {path}")
    return frame


def read_clock(times: Any, what: str) -> Any:
    """Text as numbers, ISO 8601 datetimes (with time zones as UTC, if they differ) or lengths of time.

    Raises:
        ValueError: naming the first that is none.
    """
    column = pd.Series(times)
    if not (pd.api.types.is_object_dtype(column.dtype) or pd.api.types.is_string_dtype(column.dtype)):
        return column
    known = column.dropna()
    for read in (
        pd.to_numeric,
        _of_one_zone,
        lambda text: pd.to_datetime(text, format="ISO8601", utc=True),
        pd.to_timedelta,
    ):
        try:
            read(known)
        except (ValueError, TypeError, FutureWarning):
            continue
        return read(column)
    dates = pd.to_datetime(known.astype("string"), format="ISO8601", errors="coerce", utc=True)
    bad = known[dates.isna()] if dates.notna().any() else known
    raise ValueError(
        f"{what} holds {bad.iloc[0]!r} (row {bad.index[0]}), which is neither a number nor an ISO 8601 date such "
        "as 2026-03-01T12:00"
    )


def _of_one_zone(text: pd.Series) -> pd.Series:
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)  # of pandas 2, which reads several zones as objects
        return pd.to_datetime(text, format="ISO8601")


def arrange(frame: pd.DataFrame, roles: Roles) -> pd.DataFrame:
    """The frame in the layout a model was fitted to: ids and times as columns, or as the index.

    They may be either in the frame, as Parquet keeps an index.

    Raises:
        ValueError: where that layout has no names, as an array has none.
    """
    stored = [
        name for name in frame.index.names if name is not None and name in (roles.id_name, roles.time_name)
    ]
    frame = frame.reset_index(stored) if stored else frame
    levels = []
    for name, level in ((roles.id_name, roles.id_level), (roles.time_name, roles.time_level)):
        if level is None:
            continue
        if name is None or roles.from_array:
            raise ValueError(
                "the model was fitted to an array or to an index without a name, so that no column of a file can "
                "be its times; fit it to a frame with names, or ask it in Python"
            )
        if name not in frame.columns:
            raise ValueError(f"the table lacks the column {name!r}; it has {list(frame.columns)}")
        levels.append(name)
    return frame.set_index(levels) if levels else frame


def write_table(frame: pd.DataFrame, path: str) -> None:
    """Writes an answer by the suffix of its file; index levels that have names become columns."""
    if frame.index.nlevels > 1 or frame.index.name is not None:
        frame = frame.reset_index()
    suffix = _suffix(path)
    if suffix in _PARQUET:
        frame.to_parquet(path, index=False)
    else:
        target: Any = sys.stdout if path == "-" else path
        frame.to_csv(target, sep=_TEXT[suffix], index=False)


def check_folder(path: str, suffixes: Sequence[str] = ()) -> None:
    """Finds before the work what would stop its result from being written.

    Raises:
        FileNotFoundError, ValueError: for a folder that is not there, or an unknown suffix.
        ImportError: for Parquet, where nothing that writes it is installed.
    """
    if path == "-":
        return
    if not suffixes:
        _check_parquet(path)
    if suffixes and Path(path).suffix not in suffixes:
        raise ValueError(f"{path}: the file must end in {', '.join(suffixes)}")
    if not Path(path).absolute().parent.is_dir():
        raise FileNotFoundError(
            f"{Path(path).parent} is no folder; make it before writing {Path(path).name} there"
        )


def _check_parquet(path: str) -> None:
    engines = ("pyarrow", "fastparquet")  # those of pandas
    if path.lower().endswith(_PARQUET) and not any(find_spec(engine) for engine in engines):
        raise ImportError(
            f"{path}: Parquet files need pyarrow; install it with pip install 'latentode[parquet]'"
        )


def same(names: Sequence[str] | None, known: Any) -> list[Any] | None:
    """Names as the command line has them, in the type that the table has.

    Raises:
        ValueError: for a name that is not there.
    """
    if names is None:
        return None
    by_text = {str(name): name for name in np.asarray(pd.unique(known), dtype=object)}
    missing = [name for name in names if name not in by_text]
    if missing:
        raise ValueError(
            f"series {missing[0]!r} is not in the table, which has {', '.join(list(by_text)[:8])} ..."
        )
    return [by_text[name] for name in names]


def _suffix(path: str) -> str:
    if path == "-":
        return ".csv"
    name = Path(path).name.lower()
    for suffix in (*_TEXT, *_PARQUET):
        if name.endswith(suffix):
            return suffix
    raise ValueError(f"{path}: tables are {', '.join((*_TEXT, *_PARQUET))} files, by their suffix")


def check_exists(path: str) -> None:
    """Raises FileNotFoundError where there is no such file; - is standard input."""
    if path != "-" and not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}")
