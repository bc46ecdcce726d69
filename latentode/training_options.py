"""How long and how fast to train, and on which contexts."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from latentode.cuts import TASKS

__all__ = ["TrainingOptions"]

MAY_BE_ZERO = ("weight_decay", "kl_weight", "context_weight", "residual_share", "continuity_weight")


@dataclass(frozen=True)
class TrainingOptions:
    """How long and how fast to train.

    Args:
        max_iter: optimiser steps.
        batch_size: series a step; a small collection is gone through several times a step, at other cuts.
        learning_rate: peak of the schedule: linear warm-up over the first 5 %, then a cosine to 1 %.
        scale_rate: learning rate of noise, residual scale and length, as a multiple of the network's.
        weight_decay: AdamW's, on the network's weights only.
        max_norm: clipping of the gradient's norm, of network and scales apart.
        kl_weight: weight of the KL term, reached linearly over the first fifth of the training.
        context_weight: share of the context's own likelihood in the objective, see `elbo`.
        residual_share: share of the residual process in what the trajectory learns from, see `elbo`, reached
            between 30 and 60 % of the training.
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

    Raises:
        ValueError: for sizes that are not positive, or an unknown task.
    """

    max_iter: int = 1000
    batch_size: int = 64
    learning_rate: float = 5e-3
    scale_rate: float = 3.0
    weight_decay: float = 0.01
    max_norm: float = 1.0
    kl_weight: float = 0.1
    context_weight: float = 1.0
    residual_share: float = 1.0
    continuity_weight: float = 0.0
    n_samples: int = 1
    task: str = "both"
    n_checks: int = 40
    patience: int = 10
    tolerance: float = 3e-4
    fixed_spacing: bool = False
    warm: bool = False

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name in ("task", "fixed_spacing", "warm"):
                continue
            if not value > 0 and not (name in MAY_BE_ZERO and value == 0):
                raise ValueError(f"{name} must be positive; got {value}")
        if self.task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(TASKS)}; got {self.task!r}")
