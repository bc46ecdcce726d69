"""Arrays of equally long series -> one long frame."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

__all__ = ["long_frame"]


def long_frame(times: np.ndarray, values: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Times (B, N) and values (B, N, D) -> columns series (0..B-1), time and the D names, B * N rows."""
    B, N, D = values.shape
    frame = pd.DataFrame({"series": np.repeat(np.arange(B), N), "time": times.reshape(-1)})
    frame[list(names)] = values.reshape(B * N, D)
    return frame
