"""A fitted model in a file, and back."""

from __future__ import annotations

import os
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from latentode._checks import check_device
from latentode.fitting import Fitted
from latentode.persistence import load_fitted, save_fitted

__all__ = ["Files"]


class Files(BaseEstimator):
    """Writes a fitted model to a file and reads it.

    Needs of its host: `fitted_` and `fit_parameters_`, which `_adopt` makes, and to be made by its parameters.
    """

    fitted_: Fitted
    fit_parameters_: dict[str, Any]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the fitted model to one file, whole or not at all; it holds no code.

        Raises:
            TypeError: where a parameter or column name is neither text, number nor None, nor a tuple of these.
        """
        check_is_fitted(self, "module_")
        parameters = dict(self.fit_parameters_)
        if isinstance(parameters["random_state"], np.random.RandomState):
            parameters["random_state"] = None  # its state belongs to the fit that is over
        save_fitted(path, parameters, self.fitted_)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str = "cpu") -> Self:
        """Reads a model written by `save`; it predicts the same bits.

        Args:
            device: where it is to compute, whatever device it was fitted on.

        Raises:
            FileNotFoundError, ValueError: where there is no such file, or it is no intact model file.
        """
        check_device(device)
        parameters, fitted = load_fitted(path)
        unknown = sorted(set(parameters) - set(cls._get_param_names()))
        if unknown:
            raise ValueError(
                f"{path} has parameters that this latentode does not know: {unknown}; install a newer one"
            )
        model = cls(**parameters | {"device": device})
        fitted.model.to(model.device)
        model._adopt(fitted)
        return model
