"""Maximises the bound: from a model and its data to fitted weights and their history."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn

from latentode.batches import batches_of_like_length
from latentode.cuts import TASKS, random_contexts
from latentode.elbo import elbo
from latentode.inference import heldout_log_density
from latentode.knots import next_spacing
from latentode.model import LatentODEModel
from latentode.series import SeriesBatch, SeriesCollection
from latentode.solve import check_field, step_doubling_error, uses_fused

__all__ = ["Record", "TrainingOptions", "train"]

# The residual process takes over between these fractions of the training; before, it is fitted to
# what the trajectory leaves without pushing back.
RESIDUAL_START, RESIDUAL_END = 0.3, 0.6

# Rollbacks after which a fit gives up.
MAX_RECOVERIES = 5


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
    weight_decay: float = 0.1
    max_norm: float = 1.0
    kl_weight: float = 0.1
    context_weight: float = 1.0
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
            if not value > 0 and not (name in ("weight_decay", "kl_weight", "context_weight") and value == 0):
                raise ValueError(f"{name} must be positive; got {value}")
        if self.task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(TASKS)}; got {self.task!r}")


@dataclass(frozen=True)
class Record:
    """One line of the training history; likelihoods are nats per observed value, KL nats per series."""

    iteration: int
    elbo: float
    log_likelihood: float
    kl: float
    validation: float
    learning_rate: float
    residual_share: float
    knot_spacing: float
    solver_error: float
    recoveries: int
    seconds: float


def train(
    model: LatentODEModel,
    data: SeriesCollection,
    options: TrainingOptions,
    generator: torch.Generator,
    *,
    validation: list[tuple[SeriesBatch, SeriesBatch]] | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[[Record], None] | None = None,
) -> list[Record]:
    """Fits the model in place and returns its history; the best weights by validation are restored.

    Args:
        validation: (context, target) pairs; the score is the mean log density of the targets' entries
            given the contexts. Without any, the last weights stay.
        generator: the only source of randomness.
        progress: called at every check with the newest record.

    Raises:
        ValueError: where no series has an observation, or for a field that `check_field` refuses.
        FloatingPointError: where the loss stays non-finite after repeated recoveries.
    """
    if not len(data) or not bool(data.mask.any()):
        raise ValueError("there is nothing to train on: no series has an observation")
    model.to(device).train()
    _check_field(model, device)
    validation = [(c.to(device), t.to(device)) for c, t in validation or []]
    optimiser = _optimiser(model, options)
    batches = batches_of_like_length(data.observed_lengths, options.batch_size, generator)
    usual = options.batch_size * float(data.mask.sum()) / len(data)
    check_every = max(1, options.max_iter // options.n_checks)
    history: list[Record] = []
    best_score, best, checks_since_best = -math.inf, _snapshot(model), 0
    if options.warm and validation:
        best_score = _score(model, validation)
    good, recoveries, slowdown = best, 0, 1.0
    running = _Means()
    started = time.monotonic()

    for iteration in range(1, options.max_iter + 1):
        target = data.batch(next(batches)).compact()
        context = target.restrict(random_contexts(target, options.task, generator)).to(device)
        target = target.to(device)
        progressed = 1.0 if options.warm else iteration / options.max_iter
        share = _ramp(progressed, RESIDUAL_START, RESIDUAL_END)
        kl_weight = options.kl_weight * _ramp(progressed, 0.0, 0.2)
        rate = slowdown * _schedule(iteration, options)
        for group in optimiser.param_groups:
            group["lr"] = rate * group["multiple"]

        bound = elbo(
            model,
            context,
            target,
            n_samples=options.n_samples,
            generator=generator,
            residual_share=share,
            context_weight=options.context_weight,
        )
        n_observed = target.mask.sum().clamp(min=1)
        # Divided by what a usual batch observes, not by what this one does, every series weighs the same
        # whatever the lengths of its companions.
        loss = (kl_weight * bound.kl - bound.objective).sum() / usual
        optimiser.zero_grad()
        loss.backward()
        norms = [
            nn.utils.clip_grad_norm_(group["params"], options.max_norm) for group in optimiser.param_groups
        ]
        finite = bool(torch.isfinite(loss)) and all(bool(torch.isfinite(norm)) for norm in norms)
        if finite:
            optimiser.step()
            running.add(bound.log_likelihood.sum(), bound.kl.sum(), n_observed, len(bound.kl))
        else:
            recoveries += 1
            if recoveries > MAX_RECOVERIES:
                raise FloatingPointError(
                    f"the loss or its gradient was not finite {recoveries} times, last at iteration "
                    f"{iteration} (loss {loss.item():.3g}). Look for outliers or wrong units in the "
                    f"data, or lower learning_rate (now {rate:.2g})."
                )
            _restore(model, good)
            optimiser = _optimiser(model, options)
            slowdown /= 2
            continue

        if iteration % check_every and iteration < options.max_iter:
            continue
        error = _adapt_spacing(model, context, target, options)
        score = _score(model, validation)
        history.append(
            Record(
                iteration=iteration,
                **running.take(),
                validation=score,
                learning_rate=rate,
                residual_share=share if model.residual is not None else 0.0,
                knot_spacing=model.solver.spacing,
                solver_error=error,
                recoveries=recoveries,
                seconds=time.monotonic() - started,
            )
        )
        if all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters()):
            good = _snapshot(model)
        if progress is not None:
            progress(history[-1])
        if score > best_score:
            best_score, best, checks_since_best = score, _snapshot(model), 0
        elif options.warm or iteration > RESIDUAL_END * options.max_iter:
            checks_since_best += 1
            if checks_since_best >= options.patience and validation:
                break

    if validation and math.isfinite(best_score):
        _restore(model, best)
    model.eval()
    return history


def _check_field(model: LatentODEModel, device: torch.device | str) -> None:
    """At states from the prior, by a generator of its own so that it changes no draw of the training."""
    z = torch.randn(8, model.encoder.latent_dim, generator=torch.Generator().manual_seed(0))
    like = next(model.parameters())
    continuous = model.solver.gradient == "adjoint" and not uses_fused(model.field, model.solver)
    check_field(model.field, z.to(device, like.dtype), adjoint=continuous)


def _score(model: LatentODEModel, validation: list[tuple[SeriesBatch, SeriesBatch]]) -> float:
    total, count = 0.0, 0
    for context, target in validation:
        total += float(heldout_log_density(model, context, target).sum())
        count += int(target.mask.sum())
    return total / count if count else math.nan


def _adapt_spacing(
    model: LatentODEModel, context: SeriesBatch, target: SeriesBatch, options: TrainingOptions
) -> float:
    """Moves the knot spacing towards what the tolerance needs; returns the solver's error as it was."""
    if model.solver.is_adaptive:
        return math.nan
    with torch.no_grad():
        z0 = model.posterior(context).mean
        first, last = torch.aminmax(target.shift(model.reference(context)).times)
    earliest, latest = min(0.0, float(first)), max(model.solver.spacing, float(last))
    error = step_doubling_error(model.field, z0, earliest, latest, model.solver)
    if not options.fixed_spacing:
        spacing = next_spacing(
            model.solver.spacing, error, tolerance=options.tolerance, span=latest - earliest
        )
        model.solver = replace(model.solver, spacing=spacing)
    return error


def _optimiser(model: LatentODEModel, options: TrainingOptions) -> torch.optim.AdamW:
    """AdamW with the scales (noise, residual) apart: a higher rate, no decay, clipped on their own."""
    scales = [model.likelihood.raw_noise]
    if model.residual is not None:
        scales += list(model.residual.parameters())
    apart = {id(parameter) for parameter in scales}
    network = [parameter for parameter in model.parameters() if id(parameter) not in apart]
    return torch.optim.AdamW(
        [
            {"params": network, "multiple": 1.0, "weight_decay": options.weight_decay},
            {"params": scales, "multiple": options.scale_rate, "weight_decay": 0.0},
        ],
        lr=options.learning_rate,
        fused=True,
    )


def _ramp(fraction: float, start: float, end: float) -> float:
    return min(1.0, max(0.0, (fraction - start) / (end - start)))


def _schedule(iteration: int, options: TrainingOptions) -> float:
    fraction = iteration / options.max_iter
    if fraction < 0.05:
        return options.learning_rate * fraction / 0.05
    decay = 0.5 * (1 + math.cos(math.pi * (fraction - 0.05) / 0.95))
    return options.learning_rate * (0.01 + 0.99 * decay)


Snapshot = tuple[dict[str, Tensor], object]


def _snapshot(model: LatentODEModel) -> Snapshot:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}, model.solver


def _restore(model: LatentODEModel, snapshot: Snapshot) -> None:
    model.load_state_dict(snapshot[0])
    model.solver = snapshot[1]  # type: ignore[assignment]


class _Means:
    """Running sums between two checks; they stay on the device until they are read."""

    def __init__(self) -> None:
        self.sums: list[Tensor] = []
        self.n_series = 0

    def add(self, log_likelihood: Tensor, kl: Tensor, n_observed: Tensor, n_series: int) -> None:
        self.sums.append(torch.stack([log_likelihood.detach(), kl.detach(), n_observed.to(kl.dtype)]))
        self.n_series += n_series

    def take(self) -> dict[str, float]:
        if not self.sums:
            return {"elbo": math.nan, "log_likelihood": math.nan, "kl": math.nan}
        log_likelihood, kl, n_observed = torch.stack(self.sums).sum(0).tolist()
        means = {
            "elbo": (log_likelihood - kl) / n_observed,
            "log_likelihood": log_likelihood / n_observed,
            "kl": kl / self.n_series,
        }
        self.sums, self.n_series = [], 0
        return means
