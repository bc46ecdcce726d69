"""Latent ODE models of irregular time series, from a DataFrame to forecasts with honest bands.

    from latentode import LatentODE, plotting

`LatentODE` is the scikit-learn style estimator; the building blocks below it are public too, for
training loops of one's own. `latentode.datasets` and `latentode.plotting` are loaded when used.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from latentode._version import __version__
from latentode.dynamics import MLPField
from latentode.elbo import Bound, elbo
from latentode.encoders import Encoder, GRUEncoder
from latentode.estimator import LatentODE
from latentode.likelihoods import GaussianLikelihood
from latentode.model import LatentODEModel
from latentode.residual import GaussMarkov
from latentode.series import SeriesBatch, SeriesCollection
from latentode.solve import Solver
from latentode.training import TrainingOptions, train

__all__ = [
    "Bound",
    "Encoder",
    "GRUEncoder",
    "GaussMarkov",
    "GaussianLikelihood",
    "LatentODE",
    "LatentODEModel",
    "MLPField",
    "SeriesBatch",
    "SeriesCollection",
    "Solver",
    "TrainingOptions",
    "__version__",
    "datasets",
    "elbo",
    "plotting",
    "train",
]


def __getattr__(name: str) -> ModuleType:
    # matplotlib is not loaded, nor are the data read, by those who only fit and predict.
    if name in ("datasets", "plotting"):
        return importlib.import_module(f"latentode.{name}")
    raise AttributeError(f"module 'latentode' has no attribute {name!r}")
