"""A model must be fitted before anything of it can be drawn."""

from __future__ import annotations

from typing import Any

from sklearn.exceptions import NotFittedError

__all__ = ["check_fitted"]


def check_fitted(model: Any) -> None:
    """Refuses a model without channels as its own methods do.

    Raises:
        sklearn.exceptions.NotFittedError: before `fit`.
    """
    if getattr(model, "value_cols_", None) is None:
        raise NotFittedError("the model is not fitted yet; call fit first")
