"""A model must be fitted before anything of it can be drawn, and reads frames by the columns of its fit.

Of what it reads, `without_unread` leaves out values that it takes for mistakes.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError

from latentode.frames import Instants, Roles, SeriesTable, read_frame

__all__ = ["check_fitted", "read_for", "roles_of", "without_unread"]


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
    return read_frame(
        df,
        id_col=model.id_col,
        time_col=model.time_col,
        value_cols=channels,
        like=like,
        fitted=roles_of(model),
    )


def roles_of(model: Any) -> Roles | None:
    """Where the frame of the fit has ids and times; None for a model that does not say so."""
    fitted = getattr(model, "fitted_", None)
    return None if fitted is None else fitted.roles


def without_unread(model: Any, table: SeriesTable, series: Sequence[int]) -> SeriesTable:
    """A table that lacks the values of these series which the model takes for mistakes and does not read.

    The model warns of them when it is asked, and not here. One that reads whatever it is shown needs no `_answers`.

    Args:
        series: places in the table.

    Raises:
        TypeError, ValueError: for a frame that the model can't read, as where it lacks a static column.
    """
    answers = getattr(model, "_answers", None)
    if answers is None:
        return table
    rows = np.isin(table.codes, series)
    context = table.frame.to_numpy() if table.roles.from_array else table.frame[rows]
    values = table.values.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values[rows] = answers.usual(model._read(context)).values
    return replace(table, values=values)
