"""A model must be fitted before anything of it can be drawn, and reads frames by the columns of its fit."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from sklearn.exceptions import NotFittedError

from latentode.frames import Instants, SeriesTable, read_frame

__all__ = ["check_fitted", "read_for"]


def check_fitted(model: Any) -> None:
    """Refuses a model without channels as its own methods do.

    Raises:
        sklearn.exceptions.NotFittedError: before `fit`.
    """
    if getattr(model, "value_cols_", None) is None:
        raise NotFittedError("the model is not fitted yet; call fit first")


def read_for(
    model: Any, df: Any, channels: Sequence[Hashable] | None = None, *, like: Instants | None = None
) -> SeriesTable:
    """The frame as the model reads it.

    Args:
        channels: those to read; None takes all that the model has.
        like: instants whose kind of time the frame must share.

    Raises:
        sklearn.exceptions.NotFittedError: for a model that is not fitted.
        TypeError, ValueError: for a frame that can't be read.
    """
    check_fitted(model)
    channels = model.value_cols_ if channels is None else channels
    return read_frame(df, id_col=model.id_col, time_col=model.time_col, value_cols=channels, like=like)
