"""Latent ODE models of irregular time series, from a DataFrame to forecasts with honest bands.

    from latentode import LatentODE, plotting

`LatentODE` is the scikit-learn style estimator; the building blocks below it are public too, for
training loops of one's own. Whatever is named here is loaded when it is first used.
"""

from __future__ import annotations

import importlib
import logging
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from latentode._version import __version__

if TYPE_CHECKING:
    from latentode import baselines, datasets, metrics, plotting
    from latentode.diagnosis import Diagnosis, diagnose
    from latentode.dynamics import MLPField
    from latentode.elbo import Bound, elbo
    from latentode.encoders import Encoder, GRUEncoder
    from latentode.estimator import LatentODE
    from latentode.evaluation import Evaluation
    from latentode.likelihoods import GaussianLikelihood, Likelihood
    from latentode.model import LatentODEModel
    from latentode.residual import GaussMarkov
    from latentode.series import SeriesBatch, SeriesCollection
    from latentode.solve import Solver
    from latentode.summary import Summary
    from latentode.training import TrainingOptions, train

__all__ = [
    "Bound",
    "Diagnosis",
    "Encoder",
    "Evaluation",
    "GRUEncoder",
    "GaussMarkov",
    "GaussianLikelihood",
    "LatentODE",
    "LatentODEModel",
    "Likelihood",
    "MLPField",
    "SeriesBatch",
    "SeriesCollection",
    "Solver",
    "Summary",
    "TrainingOptions",
    "__version__",
    "baselines",
    "datasets",
    "diagnose",
    "elbo",
    "metrics",
    "plotting",
    "train",
]

# Where each public name lives; None says that it is a module itself.
_HOMES = {
    "Bound": "elbo",
    "Diagnosis": "diagnosis",
    "Encoder": "encoders",
    "Evaluation": "evaluation",
    "GRUEncoder": "encoders",
    "GaussMarkov": "residual",
    "GaussianLikelihood": "likelihoods",
    "LatentODE": "estimator",
    "LatentODEModel": "model",
    "Likelihood": "likelihoods",
    "MLPField": "dynamics",
    "SeriesBatch": "series",
    "SeriesCollection": "series",
    "Solver": "solve",
    "Summary": "summary",
    "TrainingOptions": "training",
    "baselines": None,
    "datasets": None,
    "diagnose": "diagnosis",
    "elbo": "elbo",
    "metrics": None,
    "plotting": None,
    "train": "training",
}

# What a fit has to say goes to the logger "latentode"; it is heard where the user's program listens.
logging.getLogger("latentode").addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    # torch takes a second to load, scikit-learn half of one: neither `latentode --help` nor a look at
    # the version should wait for them.
    if name not in _HOMES:
        raise AttributeError(f"module 'latentode' has no attribute {name!r}")
    home = _HOMES[name]
    module = importlib.import_module(f"latentode.{home or name}")
    found = module if home is None else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Importing a submodule puts it under its name; where a function has the same one, it is the function's."""

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and _HOMES.get(name) == name:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
