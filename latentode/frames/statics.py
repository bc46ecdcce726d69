"""Static columns: what is told of a series as a whole, read from its rows and turned into numbers."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from latentode.frames.clock import as_index
from latentode.frames.columns import read_values, shown
from latentode.frames.remedies import MOMENTS
from latentode.frames.scaling import LARGEST, location_and_scale

__all__ = [
    "CategoryColumn",
    "NumberColumn",
    "StaticValues",
    "Statics",
    "describes_series",
    "is_static",
    "read_static",
]

# More categories than this name things; they don't describe them.
MAX_CATEGORIES = 50

# 0 says that nothing is known. A known number at the very centre stands this far beside it.
BESIDE_ZERO = 1e-6

# So many series have to repeat their value before it counts as theirs.
REPEATING_SERIES = 3


@dataclass(frozen=True)
class StaticValues:
    """What one static column says of each series.

    Shapes:
        values (n_series,): float64 with NaN, or of a categorical column text with None, where nothing is known.
    """

    name: Hashable
    values: np.ndarray

    @property
    def is_category(self) -> bool:
        return self.values.dtype == object

    @property
    def known(self) -> np.ndarray:
        """(n_series,) bool."""
        return ~pd.isna(self.values)

    def take(self, series: np.ndarray) -> StaticValues:
        return StaticValues(self.name, self.values[series])


@dataclass(frozen=True)
class NumberColumn:
    """x -> (x - center) / spread, 0 where unknown; then, if `flagged`, 1 where known and 0 elsewhere.

    A spread of 0 says that all training series are alike: the number then tells nothing and is left out.
    """

    name: Hashable
    center: float
    spread: float
    flagged: bool

    @classmethod
    def learn(cls, found: StaticValues) -> NumberColumn:
        """Center and spread of what is known; of one value, or none, there is no spread."""
        numbers = found.values[found.known]
        flagged = 0 < len(numbers) < len(found.values)
        if not len(numbers) or numbers.min() == numbers.max():
            return cls(found.name, float(numbers[0]) if len(numbers) else 0.0, 0.0, flagged)
        center, spread = location_and_scale(numbers)
        return cls(found.name, center, spread, flagged)

    @property
    def n_features(self) -> int:
        return (self.spread > 0) + self.flagged

    def encode(self, found: StaticValues) -> np.ndarray:
        """Features of each series: (n_series, n_features)."""
        columns = []
        if self.spread > 0:
            with np.errstate(over="ignore"):
                standard = ((found.values - self.center) / self.spread).clip(-LARGEST, LARGEST)
            standard = np.where(np.abs(standard) < BESIDE_ZERO, BESIDE_ZERO, standard)
            columns.append(np.where(found.known, standard, 0.0))
        if self.flagged:
            columns.append(found.known.astype(np.float64))
        return np.column_stack(columns) if columns else np.zeros((len(found.values), 0))


@dataclass(frozen=True)
class CategoryColumn:
    """x -> one-hot of x less the categories' shares, 0 where unknown; then, if `flagged`, 1 where known.

    A category that no training series has counts as unknown: its series is read as the average one. A single
    category tells nothing and is left out.

    Shapes:
        categories, in order, and shares, of the known training series: C each.
    """

    name: Hashable
    categories: tuple[str, ...]
    shares: tuple[float, ...]
    flagged: bool

    @classmethod
    def learn(cls, found: StaticValues) -> CategoryColumn:
        """The categories that are there, and the share of each in what is known."""
        known = found.values[found.known]
        categories, counts = np.unique(known.astype(str), return_counts=True)
        flagged = 0 < len(known) < len(found.values)
        shares = counts / max(1, len(known))
        return cls(found.name, tuple(categories.tolist()), tuple(shares.tolist()), flagged)

    @property
    def n_features(self) -> int:
        return (len(self.categories) if len(self.categories) > 1 else 0) + self.flagged

    def encode(self, found: StaticValues) -> np.ndarray:
        """Features of each series: (n_series, n_features)."""
        place = pd.Index(self.categories, dtype=object).get_indexer(pd.Index(found.values, dtype=object))
        known = place >= 0
        parts = []
        if len(self.categories) > 1:
            hot = (place[:, None] == np.arange(len(self.categories))) - np.array(self.shares)
            parts.append(np.where(known[:, None], hot, 0.0))
        if self.flagged:
            parts.append(known[:, None].astype(np.float64))
        return np.concatenate(parts, axis=1) if parts else np.zeros((len(known), 0))


@dataclass(frozen=True)
class Statics:
    """How static columns become P features of a series; learned from training series only.

    Features have mean 0 over the training series of which they are known, and are 0 where they are not, so
    that nothing known reads like the average series. A column that some training series lack has one more
    feature, whether it is known: without such series no network could learn what to make of that. A row of
    zeros is a series of which nothing is known, and no other row is.
    """

    columns: tuple[NumberColumn | CategoryColumn, ...]

    @classmethod
    def learn(cls, found: Sequence[StaticValues], training: np.ndarray) -> Statics:
        """From the training series, (n_series,) bool."""
        learners = (CategoryColumn if one.is_category else NumberColumn for one in found)
        rows = np.flatnonzero(training)
        return cls(tuple(learner.learn(one.take(rows)) for learner, one in zip(learners, found, strict=True)))

    @property
    def n_features(self) -> int:
        return sum(column.n_features for column in self.columns)

    @property
    def idle(self) -> list[Hashable]:
        """Columns that tell nothing, as all training series are alike."""
        return [column.name for column in self.columns if not column.n_features]

    def encode(self, found: Sequence[StaticValues]) -> np.ndarray:
        """Features of each series: (n_series, P)."""
        pairs = zip(self.columns, found, strict=True)
        return np.concatenate([column.encode(one) for column, one in pairs], axis=1)


def read_static(
    frame: pd.DataFrame,
    name: Hashable,
    ids: pd.Index,
    codes: np.ndarray,
    learned: NumberColumn | CategoryColumn | None = None,
) -> StaticValues:
    """What a column says of each series; rows without a value say nothing.

    Args:
        codes: number of each row's series, (R,).
        learned: the column as a fit knows it, which decides whether it is read as numbers or as categories;
            without, its dtype does.

    Raises:
        TypeError: for what is neither numbers nor text nor categories.
        ValueError: for two values in one series, infinite ones, or, without `learned`, no value at all or more
            than 50 categories.
    """
    column = frame[name]
    if learned is not None and column.isna().all():
        missing = None if isinstance(learned, CategoryColumn) else np.nan
        kind: Any = object if missing is None else np.float64
        return StaticValues(name, np.full(len(ids), missing, dtype=kind))
    if isinstance(learned, CategoryColumn) or (learned is None and not _holds_numbers(column, name)):
        labels = _labels(column, name)
        numbers, texts = pd.factorize(labels)
        at = _of_each_series(np.where(numbers < 0, np.nan, numbers), texts, name, ids, codes)
        values = np.full(len(ids), None, dtype=object)
        known = ~np.isnan(at)
        values[known] = np.asarray(texts, dtype=object)[at[known].astype(np.int64)]
    else:
        if not _holds_numbers(column, name):
            raise TypeError(
                f"static column {name!r} held numbers where the model was fitted, and has dtype {column.dtype} here; "
                "convert it with pd.to_numeric"
            )
        values = _numbers(column, name, ids, codes)
    found = StaticValues(name, values)
    if learned is None:
        _check_learnable(found)
    return found


def _holds_numbers(column: pd.Series, name: Hashable) -> bool:
    """Whether they are numbers, and not categories.

    Raises:
        TypeError: for what is neither.
    """
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return False
    is_object = pd.api.types.is_object_dtype(dtype)
    kind = pd.api.types.infer_dtype(column, skipna=True) if is_object else str(dtype)
    if kind in MOMENTS or (not is_object and (dtype.kind in "mM" or isinstance(dtype, pd.PeriodDtype))):
        raise TypeError(
            f"static column {name!r} holds times ({kind}); give a number in their place, such as an age in years"
        )
    if "decimal" in kind:
        raise TypeError(f"static column {name!r} holds decimal numbers; convert it with astype(float)")
    if "complex" in kind:
        raise TypeError(f"static column {name!r} holds complex numbers; give real ones")
    if is_object:
        return kind in ("integer", "floating", "mixed-integer-float", "boolean", "empty")
    return pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_bool_dtype(dtype)


def _numbers(column: pd.Series, name: Hashable, ids: pd.Index, codes: np.ndarray) -> np.ndarray:
    numbers = read_values(column, name)
    infinite = np.isinf(numbers)
    if infinite.any():
        raise ValueError(
            f"series {shown(ids[codes[int(infinite.argmax())]])}: static column {name!r} is infinite; mark what is "
            "not known as NaN, e.g. df.replace([np.inf, -np.inf], np.nan)"
        )
    return _of_each_series(numbers, None, name, ids, codes)


def _labels(column: pd.Series, name: Hashable) -> np.ndarray:
    """Categories as text, None where missing: (R,). 1, 1.0 and "1" are one category."""
    try:
        numbers, distinct = pd.factorize(as_index(column))
        texts = np.array([*map(_label, distinct), None], dtype=object)
    except TypeError as failure:  # unhashable, or no scalar
        raise TypeError(
            f"static column {name!r} holds what is neither a number nor text nor a category ({failure}); give one of "
            "these, or leave it out of static_cols"
        ) from failure
    return texts[numbers]  # -1 is the last


def _label(value: Any) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) or pd.api.types.is_scalar(value):
        return str(value)
    raise TypeError(f"such as {value!r}")


def _of_each_series(
    numbers: np.ndarray, texts: Any, name: Hashable, ids: pd.Index, codes: np.ndarray
) -> np.ndarray:
    """The one number of each series, NaN where there is none: (R,) -> (n_series,)."""
    known = ~np.isnan(numbers)
    low, high = np.full(len(ids), np.inf), np.full(len(ids), -np.inf)
    np.minimum.at(low, codes[known], numbers[known])
    np.maximum.at(high, codes[known], numbers[known])
    conflict = high > low
    if conflict.any():
        series = int(conflict.argmax())
        rows = np.flatnonzero(known & (codes == series))
        first = numbers[rows[0]]
        other = numbers[rows[numbers[rows] != first][0]]
        one, two = (shown(value if texts is None else texts[int(value)]) for value in (first, other))
        raise ValueError(
            f"series {shown(ids[series])} has two values of static column {name!r}, {one} and {two}; a static "
            "column describes a series as a whole. If it changes in time make it a channel, or keep one value of each "
            "series"
        )
    return np.where(np.isfinite(low), low, np.nan)


def _check_learnable(found: StaticValues) -> None:
    known = found.values[found.known]
    if not len(known):
        raise ValueError(
            f"static column {found.name!r} has no value in the whole frame; leave it out of static_cols"
        )
    n_categories = len(set(known)) if found.is_category else 0
    if n_categories > MAX_CATEGORIES:
        raise ValueError(
            f"static column {found.name!r} has {n_categories} categories in {len(found.values)} series, more than "
            f"{MAX_CATEGORIES}: it looks like an id. Leave it out of static_cols, put rare categories together, or, "
            "if these are numbers, convert it with pd.to_numeric"
        )


def is_static(values: np.ndarray, codes: np.ndarray) -> bool:
    """Whether a channel (R,) differs between the series that codes (R,) number and never changes within one."""
    rows = ~np.isnan(values)
    x, codes = values[rows], codes[rows]
    order = np.lexsort((x, codes))
    x, codes = x[order], codes[order]
    same = codes[1:] == codes[:-1]
    n_repeating = len(np.unique(codes[1:][same]))
    return n_repeating >= REPEATING_SERIES and bool((x[1:] == x[:-1])[same].all() and (x != x[0]).any())


def describes_series(name: Hashable) -> str:
    """What is said of such a channel."""
    return (
        f"{name!r} never changes within a series: it describes the series and is no channel; "
        f"name it in static_cols=[{name!r}]"
    )
