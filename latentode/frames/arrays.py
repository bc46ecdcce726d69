"""Arrays as a table of numbers: a row for each time, a column for each channel."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["as_array"]


def as_array(data: Any) -> np.ndarray:
    """Two dimensions of numbers; the messages hold the words that scikit-learn's checks look for.

    Raises:
        TypeError: for sparse data, or what is no number.
        ValueError: for another number of dimensions, or no column.
    """
    if hasattr(data, "toarray"):
        raise TypeError(
            "sparse data can't be read, as 0 and 'not observed' are one in them; make an array of them with "
            ".toarray(), with NaN where nothing was observed"
        )
    if np.ma.is_masked(data):  # not observed; NumPy itself would show what lies behind the mask
        data = data.astype(np.result_type(data.dtype, np.float64)).filled(np.nan)
    try:
        array = np.asarray(data)
    except (ValueError, TypeError, RuntimeError) as failure:
        raise ValueError(f"the data don't make a table of a row for each time: {failure}") from failure
    if array.ndim != 2:
        raise ValueError(
            f"an array must have two dimensions, a row for each time and a column for each channel; "
            f"got {array.ndim}. Reshape your data: x.reshape(-1, 1) makes one channel of a 1-D array"
        )
    if array.shape[1] == 0:
        raise ValueError(f"found 0 feature(s) (shape={array.shape}) while a minimum of 1 is required.")
    if array.dtype == object:
        try:
            return array.astype(np.float64)
        except (TypeError, ValueError) as failure:
            raise type(failure)(f"the array holds more than numbers: {failure}") from failure
    return array
