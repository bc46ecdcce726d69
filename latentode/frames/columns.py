"""What one column holds, and how messages show it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd

from latentode.frames.remedies import mostly_numbers, no_numbers, text_values

__all__ = ["read_values", "shown"]


def read_values(column: pd.Series, name: Hashable, ids: pd.Index | None = None) -> np.ndarray:
    """A channel's values, NaN where not observed: (R,) float64.

    Args:
        ids: the series of each row, for messages.

    Raises:
        TypeError, ValueError: for what is no number, naming the column.
    """
    dtype = column.dtype
    if pd.api.types.is_complex_dtype(dtype):
        raise ValueError(f"Complex data not supported: column {name!r} holds complex numbers")
    if pd.api.types.is_object_dtype(dtype):
        kind = pd.api.types.infer_dtype(column, skipna=True)
        if kind not in ("integer", "floating", "mixed-integer-float", "boolean", "empty"):
            told = None if kind == "decimal" else text_values(column, name, ids)
            if told is not None:
                raise TypeError(f"column {name!r} holds text where numbers belong; {told}")
            what = "text" if kind == "string" else kind
            raise TypeError(f"column {name!r} holds {what} where numbers belong; {no_numbers(name, kind)}")
    elif not (pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_bool_dtype(dtype)):
        told = text_values(column, name, ids) if pd.api.types.is_string_dtype(dtype) else None
        if told is not None:
            raise TypeError(f"column {name!r} holds text where numbers belong; {told}")
        remedy = no_numbers(name, _kind_of_time(dtype))
        if isinstance(dtype, pd.CategoricalDtype) and mostly_numbers(column):
            remedy = "convert it with astype(float)"
        raise TypeError(f"column {name!r} has dtype {dtype} where numbers belong; {remedy}")
    if isinstance(dtype, pd.ArrowDtype) and "decimal" in str(dtype):
        raise TypeError(f"column {name!r} holds decimal numbers; convert it with astype(float)")
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _kind_of_time(dtype: Any) -> str:
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return "datetime"
    return "timedelta" if getattr(dtype, "kind", None) == "m" else ""


def shown(name: Any) -> str:
    """A series id for messages: 3, not np.int64(3)."""
    return repr(name.item() if isinstance(name, np.generic) else name)
