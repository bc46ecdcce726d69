"""Maximises the bound: from a model and its data to fitted weights and their history."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from latentode.cuts import random_contexts, random_starts
from latentode.elbo import elbo
from latentode.inference import heldout_log_density
from latentode.model import LatentODEModel
from latentode.series import SeriesBatch, SeriesCollection
from latentode.solve import (
    check_field,
    naming_stiffness,
    step_doubling_error,
    uses_fused,
)
from latentode.solve.knots import next_spacing
from latentode.training.batches import BatchesOfLikeLength
from latentode.training.checkpoint import Checkpoint
from latentode.training.faults import FAULTS, NonFiniteError, check_finite, likely_cause
from latentode.training.options import TrainingOptions
from latentode.training.state import Record, TrainingState

__all__ = ["RESIDUAL_END", "train"]

# The residual process takes over between these fractions of the training; before, it is fitted to
# what the trajectory leaves without pushing back.
RESIDUAL_START, RESIDUAL_END = 0.3, 0.6

# Rollbacks after which a fit gives up.
MAX_RECOVERIES = 5

# Series that an encoder is prepared on at most, and their entries, padding included.
PREPARING_SERIES, PREPARING_CELLS = 500, 500_000


def train(
    model: LatentODEModel,
    data: SeriesCollection,
    options: TrainingOptions,
    generator: torch.Generator,
    *,
    validation: list[tuple[SeriesBatch, SeriesBatch]] | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[[Record], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> list[Record]:
    """Fits the model in place and returns its history; the best weights by validation are restored, if selected.

    A step whose loss or gradient is not finite, or whose solve fails, goes back to the weights of the last
    check, and training goes on at half the learning rate.

    A KeyboardInterrupt ends training as if it were through: the best weights are restored, where none are
    selected those of the last check, and the last record's `ended` is "interrupt". Before the first
    check, and when it is over, it is raised as ever.

    Args:
        validation: (context, target) pairs; the score is the mean log density of the targets' entries
            given the contexts. Without any, or where `options.select` is False, the last weights stay.
        generator: the only source of randomness.
        progress: called at every check with the newest record, and with the last one where a run goes on.
        checkpoint: where the state is written at checks. What it has saved of a killed run is gone on from,
            with the same model, data, options and a generator of the same seed, to the same weights bit for
            bit as an unbroken run's. It is left there at the end: `Checkpoint.remove`.

    Raises:
        ValueError: where no series has an observation, for times that the values' dtype can't tell apart, or for a
            field that `check_field` refuses.
        FloatingPointError: where steps still fail after repeated rollbacks, saying what was not finite.
        OSError: where the checkpoint can't be written.
    """
    if not len(data) or not bool(data.mask.any()):
        raise ValueError("there is nothing to train on: no series has an observation")
    _check_clocks(data)
    model.to(device).train()
    _check_field(model, device)
    validation = [(c.to(device), t.to(device)) for c, t in validation or []]
    selects = bool(validation) and options.select
    if not options.warm:
        _prepare(model, data, options, generator)
    batches = BatchesOfLikeLength(data.observed_lengths, options.batch_size, generator)
    usual = options.batch_size * float(data.mask.sum()) / len(data)
    check_every = max(1, options.max_iter // options.n_checks)
    state = TrainingState(model, batches, lambda: _optimiser(model, options))
    if checkpoint is not None and checkpoint.saved is not None:
        state.unpack(*checkpoint.saved)
        if progress is not None:
            progress(state.history[-1])
    elif options.warm and selects:
        with contextlib.suppress(*FAULTS):
            state.best_score = _score(model, validation)
            _record(state, options, state.best_score, math.nan)

    try:
        while state.iteration < options.max_iter and not state.ended:
            state.iteration += 1
            check = state.iteration % check_every == 0 or state.iteration == options.max_iter
            context, target = _drawn(model, data.drawn(next(batches), generator), options, generator)
            context, target = context.to(device), target.to(device)
            error = score = math.nan
            sound = True
            try:
                _step(state, context, target, options, generator, usual)
                if check:
                    error = _adapt_spacing(model, context, target, options)
                    score = _score(model, validation)
            except FAULTS as fault:
                sound = False
                _recover(state, fault, target, options)
            if not check:
                continue
            _record(state, options, score, error)
            _compare(state, options, score, sound=sound, validated=bool(validation))
            if progress is not None:
                progress(state.history[-1])
            if checkpoint is not None and (state.ended or checkpoint.is_due):
                checkpoint.write(*state.pack())
    except KeyboardInterrupt:
        if not state.history or not state.history[-1].iteration:
            raise
        # Where it struck is not known: perhaps amid an update of the weights, which are not kept.
        state.good.restore(model)
        state.end("interrupt")

    if selects and math.isfinite(state.best_score):
        state.best.restore(model)
    model.eval()
    return state.history


def _prepare(
    model: LatentODEModel, data: SeriesCollection, options: TrainingOptions, generator: torch.Generator
) -> None:
    """Shows the encoder what it will read."""
    cells = max(1, int(data.lengths.max())) * data.n_channels
    n_series = min(PREPARING_SERIES, max(options.batch_size, PREPARING_CELLS // cells))
    chosen = torch.randperm(len(data), generator=generator)[:n_series]
    context, _ = _drawn(model, data.batch(chosen), options, generator)
    model.encoder.prepare(context.to(next(model.parameters()).device))


def _drawn(
    model: LatentODEModel, batch: SeriesBatch, options: TrainingOptions, generator: torch.Generator
) -> tuple[SeriesBatch, SeriesBatch]:
    """What the encoder reads of some series, and what it is to predict of them."""
    target = batch.compact()
    if model.encoder.origin == "first":  # at the last observation z0 stands anywhere already
        target = target.restrict(random_starts(target, generator))
    return target.restrict(random_contexts(target, options.task, generator)), target


def _step(
    state: TrainingState,
    context: SeriesBatch,
    target: SeriesBatch,
    options: TrainingOptions,
    generator: torch.Generator,
    usual: float,
) -> None:
    """One step of the optimiser; `usual` is what a usual batch observes.

    Raises:
        FAULTS: where it can't be taken; the weights are as they were.
    """
    progressed = _progressed(state, options)
    kl_weight = options.kl_weight * _ramp(progressed, 0.0, 0.2)
    for group in state.optimiser.param_groups:
        group["lr"] = _rate(state, options) * group["multiple"]
    bound = elbo(
        state.model,
        context,
        target,
        n_samples=options.n_samples,
        generator=generator,
        residual_share=options.residual_share * _ramp(progressed, RESIDUAL_START, RESIDUAL_END),
        context_weight=options.context_weight,
        pointwise=options.pointwise,
        restarts=options.continuity_weight > 0,
    )
    # Divided by what a usual batch observes, not by what this one does, every series weighs the same
    # whatever the lengths of its companions.
    loss = (kl_weight * bound.kl - bound.objective).sum() / usual
    if bound.restart is not None:
        loss = loss - options.continuity_weight * bound.restart.sum() / usual
    state.optimiser.zero_grad()
    with naming_stiffness(state.model.solver):  # the adjoint solves as well
        loss.backward()
    norms = {
        group["what"]: nn.utils.clip_grad_norm_(group["params"], options.max_norm)
        for group in state.optimiser.param_groups
    }
    check_finite(bound, loss, norms)
    state.optimiser.step()
    n_observed = target.mask.sum().clamp(min=1)
    state.means.add(bound.log_likelihood.sum(), bound.kl.sum(), n_observed, len(bound.kl))


def _recover(state: TrainingState, fault: Exception, target: SeriesBatch, options: TrainingOptions) -> None:
    rate = _rate(state, options)
    state.roll_back()
    if state.recoveries > MAX_RECOVERIES:
        raise FloatingPointError(
            f"training failed {state.recoveries} times, though it went back to sound weights and halved its steps "
            f"each time; last at step {state.iteration} of {options.max_iter}, at a learning rate of {rate:.2g}: "
            f"{fault}. {likely_cause(target)}."
        ) from fault


def _record(state: TrainingState, options: TrainingOptions, score: float, error: float) -> None:
    share = options.residual_share * _ramp(_progressed(state, options), RESIDUAL_START, RESIDUAL_END)
    state.history.append(
        Record(
            iteration=state.iteration,
            **state.means.take(),
            validation=score,
            learning_rate=_rate(state, options),
            residual_share=share if state.model.residual is not None else 0.0,
            knot_spacing=state.model.solver.spacing,
            solver_error=error,
            recoveries=state.recoveries,
            seconds=state.seconds,
            ended="",
        )
    )


def _compare(
    state: TrainingState, options: TrainingOptions, score: float, *, sound: bool, validated: bool
) -> None:
    """Keeps the weights where they are sound or the best so far, and ends training where it is through."""
    if sound:
        state.keep_good()
    if validated and options.select:
        if score > state.best_score:
            state.keep_best(score)
        elif options.warm or state.iteration > RESIDUAL_END * options.max_iter:
            state.checks_since_best += 1
            if state.checks_since_best >= options.patience:
                state.end("patience")
    if state.iteration == options.max_iter and not state.ended:
        state.end("max_iter")


def _check_clocks(data: SeriesCollection) -> None:
    """Times that differ must still do so in a batch, whose clocks are as precise as its values."""
    steps, read = data.times.diff(), data.times.to(data.values.dtype).diff()
    inside = torch.ones(len(steps), dtype=torch.bool)
    inside[(data.starts[1:-1] - 1).clamp(min=0, max=max(0, len(steps) - 1))] = False
    if bool((inside & (steps > 0) & (read <= 0)).any()):
        raise ValueError(
            f"times differ by less than {data.values.dtype} can tell; count each series' time from its first "
            "observation"
        )


def _check_field(model: LatentODEModel, device: torch.device | str) -> None:
    """At states from the prior, by a generator of its own so that it changes no draw of the training."""
    z = torch.randn(8, model.encoder.latent_dim, generator=torch.Generator().manual_seed(0))
    like = next(model.parameters())
    continuous = model.solver.gradient == "adjoint" and not uses_fused(model.field, model.solver)
    check_field(model.field, z.to(device, like.dtype), adjoint=continuous)


def _score(model: LatentODEModel, validation: list[tuple[SeriesBatch, SeriesBatch]]) -> float:
    """Mean log density of a validation value; NaN without any.

    Raises:
        NonFiniteError: where it is not finite.
    """
    total, count = 0.0, 0
    for context, target in validation:
        total += float(heldout_log_density(model, context, target).sum())
        count += int(target.mask.sum())
    if not math.isfinite(total):
        raise NonFiniteError(f"the validation score was {total:g}")
    return total / count if count else math.nan


def _adapt_spacing(
    model: LatentODEModel, context: SeriesBatch, target: SeriesBatch, options: TrainingOptions
) -> float:
    """Moves the knot spacing towards what the tolerance needs; returns the solver's error as it was."""
    with torch.no_grad():
        z0 = model.posterior(context).mean
        first, last = torch.aminmax(target.shift(model.reference(context)).times)
    earliest, latest = min(0.0, float(first)), max(model.solver.spacing, float(last))
    error = step_doubling_error(model.field, z0, earliest, latest, model.solver)
    if not options.fixed_spacing:
        spacing = next_spacing(
            model.solver.spacing,
            error,
            tolerance=model.solver.reachable(options.tolerance),
            span=latest - earliest,
        )
        model.solver = replace(model.solver, spacing=spacing)
    return error


def _optimiser(model: LatentODEModel, options: TrainingOptions) -> torch.optim.AdamW:
    """AdamW with the scales (noise, residual) apart: a higher rate, no decay, clipped on their own; and the field with
    them where its rate is not the network's.
    """
    scales: list[nn.Parameter] = model.likelihood.scale_parameters
    if model.residual is not None:
        scales += list(model.residual.parameters())
    field = list(model.field.parameters()) if options.field_rate != 1 else []
    apart = {id(parameter) for parameter in (*scales, *field)}
    network = [parameter for parameter in model.parameters() if id(parameter) not in apart]
    groups: list[dict[str, Any]] = [
        {"params": network, "what": "the network's weights", "multiple": 1.0},
        {"params": field, "what": "the field's weights", "multiple": options.field_rate},
        {"params": scales, "what": "the scales of noise and residual", "multiple": options.scale_rate},
    ]
    for group in groups:
        group["weight_decay"] = 0.0 if group["params"] is scales else options.weight_decay
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=options.learning_rate, fused=True
    )


def _progressed(state: TrainingState, options: TrainingOptions) -> float:
    return 1.0 if options.warm else state.iteration / options.max_iter


def _rate(state: TrainingState, options: TrainingOptions) -> float:
    return state.slowdown * _schedule(state.iteration, options)


def _ramp(fraction: float, start: float, end: float) -> float:
    return min(1.0, max(0.0, (fraction - start) / (end - start)))


def _schedule(iteration: int, options: TrainingOptions) -> float:
    fraction = iteration / options.max_iter
    if fraction < 0.05:
        return options.learning_rate * fraction / 0.05
    decay = 0.5 * (1 + math.cos(math.pi * (fraction - 0.05) / 0.95))
    return options.learning_rate * (0.01 + 0.99 * decay)
