"""How long and how fast to train, and on which contexts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from numbers import Integral
from typing import Any

from latentode.cuts import TASKS
from latentode.series import SeriesCollection

__all__ = ["TrainingOptions", "TrainingSettings", "usual_kl_weight", "usual_max_iter"]

# Latent dimensions up to which a model is small.
SMALL_LATENT = 6

# Steps, and those of small latent states that fill gaps, of series that hold up to so many values and many in all:
# there a step is cheap, and on spirals the rest of them takes a sixth off the error of what lies beyond. Of few values
# nothing is gained.
STEPS, MORE_STEPS, SHORT, MANY_VALUES = 2500, 4000, 80, 3000

# Weight of the context's own likelihood for forecasts, and the training values from which it is whole for other
# tasks. Few values are soon known by heart, and what is read back from a context says nothing of what it hides.
CONTEXT, CONTEXT_VALUES = 0.05, 1000

# What the trajectory learns from the residual process in the end where gaps are asked about; the rest is white noise.
SHARE = 0.5

# Weight of the KL: values that are foretold one by one say less of z0 than their joint density.
KL, POINTWISE_KL = 0.1, 0.03

# A field that starts from turns of the right period is to keep them: at the network's own rate it unlearns them before
# the encoder has learned to tell where in a turn a series is.
TURNING_RATE = 0.02

# Weight of the term that lets trajectories go on beyond the training series, where these hold so many values each.
# It is worth what a latent state is, however few these are: of ten blood samples a patient it would be the most of
# the objective, and be served best by trajectories that are all alike.
CONTINUITY, CONTINUITY_VALUES = 0.3, 60

MAY_BE_ZERO = ("weight_decay", "kl_weight", "context_weight", "residual_share", "continuity_weight")
SHARES = ("context_weight", "residual_share")
COUNTS = ("max_iter", "batch_size", "n_samples", "n_checks", "patience")


@dataclass(frozen=True)
class TrainingSettings:
    """What a user says of a training; None leaves it to `TrainingOptions.choose`."""

    max_iter: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    kl_weight: float | None = None
    context_weight: float | None = None
    residual_share: float | None = None
    continuity_weight: float | None = None
    patience: int = 10
    tolerance: float = 3e-4


@dataclass(frozen=True)
class TrainingOptions:
    """How long and how fast to train.

    Args:
        max_iter: optimiser steps.
        batch_size: series a step; a small collection is gone through several times a step, at other cuts.
        learning_rate: peak of the schedule: linear warm-up over the first 5 %, then a cosine to 1 %.
        scale_rate: learning rate of noise, residual scale and length, as a multiple of the network's.
        field_rate: learning rate of the field, as a multiple of the network's.
        weight_decay: AdamW's, on the weights of network and field only.
        max_norm: clipping of the gradient's norm, of network and scales apart, and of a field of another rate.
        kl_weight: weight of the KL term, reached linearly over the first fifth of the training.
        context_weight: share of the context's own likelihood in the objective, see `elbo`.
        residual_share: share of the residual process in what the trajectory learns from, see `elbo`, reached
            between 30 and 60 % of the training.
        pointwise: whether the trajectory learns from values beyond the context one by one, see `elbo`.
        continuity_weight: weight of `restart_density`, for models whose z0 stands at the first observation.
        n_samples: samples of z0 a series and step.
        task: which contexts are drawn: "both", "interpolate" or "extrapolate".
        n_checks: how often the validation score and the solver's error are looked at.
        patience: checks without a better validation score after which training stops, counted from
            where the residual process has taken over.
        tolerance: relative error of the trajectories that the knot spacing has to keep.
        fixed_spacing: keeps the knot spacing that the model came with, whatever its error.
        warm: trains a model on that is trained already: KL and residual process are at full weight from
            the first step, and no weights are kept that validate worse than those it came with.
        select: keeps the weights that validate best, and stops early; else the last ones stay, whatever they score.

    Raises:
        ValueError: for sizes that are not positive, shares above 1, or an unknown task.
        TypeError: for a number of steps, series, samples or checks that is not whole.
    """

    max_iter: int = 1000
    batch_size: int = 64
    learning_rate: float = 5e-3
    scale_rate: float = 3.0
    field_rate: float = 1.0
    weight_decay: float = 0.01
    max_norm: float = 1.0
    kl_weight: float = 0.1
    context_weight: float = 1.0
    residual_share: float = 1.0
    pointwise: bool = False
    continuity_weight: float = 0.0
    n_samples: int = 1
    task: str = "both"
    n_checks: int = 40
    patience: int = 10
    tolerance: float = 3e-4
    fixed_spacing: bool = False
    warm: bool = False
    select: bool = True

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name in ("task", "pointwise", "fixed_spacing", "warm", "select"):
                continue
            if not value > 0 and not (name in MAY_BE_ZERO and value == 0):
                raise ValueError(f"{name} must be positive; got {value}")
            if name in SHARES and value > 1:
                raise ValueError(f"{name} is a share, from 0 to 1; got {value}")
            if name in COUNTS and not isinstance(value, Integral):
                raise TypeError(f"{name} must be a whole number; got {value!r}")
        if self.task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(TASKS)}; got {self.task!r}")

    @classmethod
    def choose(
        cls,
        data: SeriesCollection,
        latent_dim: int,
        settings: TrainingSettings,
        *,
        task: str,
        origin: str,
        residual: bool = True,
        fixed_spacing: bool = False,
        warm: bool = False,
        select: bool = True,
        turning: bool = False,
    ) -> TrainingOptions:
        """What suits N training series of V values in all and the size of the latent state, where a setting is None.

        Args:
            origin: where z0 stands, "first" or "last".
            residual: whether there is a residual process.
            fixed_spacing, warm, select: as they will be.
            turning: whether the field starts from turns of the right period.

        Settings:
            max_iter: see `usual_max_iter`.
            batch_size: N, at least 32 and at most 100.
            learning_rate: 0.02 for up to six latent dimensions, else 0.01.
            pointwise: for task="extrapolate" with a residual process.
            field_rate: 0.02 where turning, else 1.
            kl_weight: 0.03 where pointwise, else 0.1.
            context_weight: 0.05 for task="extrapolate", else V / 1000, at least 0.05 and at most 1.
            residual_share: 1 for task="extrapolate", else 0.5.
            continuity_weight: 0.3, in proportion less where V / N is under 60; 0 for origin="last" or
                task="interpolate", which go on beyond no series.

        Raises:
            ValueError: as the class itself.
        """
        pointwise = _is_pointwise(task, residual=residual)
        n_series, n_values = max(1, len(data)), float(data.mask.sum())
        context_share = 0.0 if task == "extrapolate" else n_values / CONTEXT_VALUES
        goes_on = origin == "first" and task != "interpolate"
        chosen: dict[str, Any] = {
            "max_iter": usual_max_iter(task, latent_dim, n_series, n_values),
            # Few series are gone through several times a step, at other cuts each time.
            "batch_size": min(100, max(32, n_series)),
            "learning_rate": 2e-2 if latent_dim <= SMALL_LATENT else 1e-2,
            "field_rate": TURNING_RATE if turning else 1.0,
            "kl_weight": usual_kl_weight(task, residual=residual),
            "context_weight": min(1.0, max(CONTEXT, context_share)),
            "residual_share": 1.0 if task == "extrapolate" else SHARE,
            "continuity_weight": goes_on * CONTINUITY * min(1.0, n_values / n_series / CONTINUITY_VALUES),
        }
        given = {name: value for name, value in asdict(settings).items() if value is not None}
        return cls(
            **chosen | given,
            task=task,
            pointwise=pointwise,
            fixed_spacing=fixed_spacing,
            warm=warm,
            select=select,
        )


def usual_max_iter(task: str, latent_dim: int, n_series: int, n_values: float) -> int:
    """What `max_iter` is where it is None: 4000 where at most six latent dimensions learn to fill gaps, or both, from
    3000 values or more in series of 80 at most on average; else 2500.
    """
    short = MANY_VALUES <= n_values <= SHORT * n_series
    return MORE_STEPS if short and latent_dim <= SMALL_LATENT and task != "extrapolate" else STEPS


def usual_kl_weight(task: str, *, residual: bool) -> float:
    """What `kl_weight` is where it is None."""
    return POINTWISE_KL if _is_pointwise(task, residual=residual) else KL


def _is_pointwise(task: str, *, residual: bool) -> bool:
    return task == "extrapolate" and residual
