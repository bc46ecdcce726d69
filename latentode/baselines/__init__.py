"""What a model has to beat: the trivial answers, and a regression on simple features of the context."""

from latentode.baselines.contexts import Contexts, Neighbours
from latentode.baselines.ridge import Ridge
from latentode.baselines.trivial import (
    constant_velocity,
    last_value,
    linear,
    pchip,
    seasonal_naive,
    series_mean,
    training_mean,
)

__all__ = [
    "Contexts",
    "Neighbours",
    "Ridge",
    "constant_velocity",
    "last_value",
    "linear",
    "pchip",
    "seasonal_naive",
    "series_mean",
    "training_mean",
]
