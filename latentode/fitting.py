"""From a frame to a fitted model: validation, scaling, sizes, training."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import wraps
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from latentode._warnings import warn_user
from latentode.build import Architecture, build_model
from latentode.calibration import Calibration
from latentode.checkpoint import Checkpoint
from latentode.frames import Instants, Roles, Scaling, SeriesTable, Statics
from latentode.holdout import can_select
from latentode.inference import encode
from latentode.kernel_choice import choose_kernels
from latentode.model import LatentODEModel
from latentode.progress import FitBar
from latentode.series import SeriesCollection
from latentode.signal import ChannelSignal, find_signal, silent_channels
from latentode.solve import Solver
from latentode.solver_report import SolverReport, report_solver
from latentode.split import split_data
from latentode.training import Record, TrainingOptions, train
from latentode.verdict import Verdict, collapse, judge

__all__ = ["Fitted", "FittingProblem", "fit_model"]

_log = logging.getLogger("latentode")

# Series whose trajectories the solver is judged on.
PROBES = 32

# A posterior is called collapsed after so many steps, where training did not end by itself, and of so many series:
# before, it may be about to learn, and of fewer there is little to tell apart.
LEAST_STEPS, LEAST_SERIES = 100, 5


@dataclass(frozen=True)
class FittingProblem:
    """What is to be fitted and on what; see `LatentODE` for the meaning of each.

    `start` is the fit whose weights are to be trained on, None for fresh ones. `checkpoint` keeps the training's
    state while it lasts; it is removed when the fit is through, and stays where it was interrupted. `span` is the time
    that one z0 answers for at most, in the clock's units.
    """

    table: SeriesTable
    task: str
    origin: str
    residual: tuple[str, ...] | Literal["auto"] | None
    solver: Solver
    fixed_spacing: bool
    validation_fraction: float
    dtype: torch.dtype
    device: str
    seed: int
    verbose: int
    calibrate: bool = True
    start: Fitted | None = None
    checkpoint: Checkpoint | None = None
    span: float | None = None


@dataclass(frozen=True)
class Fitted:
    """What a fit learned: all that answers need, and how it went.

    `clock` holds no instants, only the kind of time that frames must have. `probe` holds posterior means of
    z0 of some training series, (P, L), and `span` the longest of them in model time: what the solver is
    judged on, see `solver_report`. `calibration` adjusts the bands, None where they are left as they are.
    `statics` says how static columns become features of a series.
    `signal` says of each channel what was found in it; files of earlier versions hold none of it.
    `verdict` is what was found on the withheld data, None in files that were written before there was one.
    `reach` is the time that one z0 answers for at most, in model time, None for that of 256 rows.
    """

    model: LatentODEModel
    scaling: Scaling
    statics: Statics
    architecture: Architecture
    roles: Roles
    clock: Instants
    history: list[Record]
    probe: Tensor
    span: float
    tolerance: float | None
    calibration: Calibration | None = None
    signal: tuple[ChannelSignal, ...] = ()
    verdict: Verdict | None = None
    reach: float | None = None

    @property
    def dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype

    def collection(self, table: SeriesTable) -> SeriesCollection:
        """What a table observes and tells of its series, in scaled units and model time."""
        return self.scaling.scale(table.collection(self.statics), self.dtype)

    def solver_report(self) -> SolverReport:
        """What the solver, as it is set now, costs and how much it errs."""
        earliest, latest = (0.0, self.span) if self.architecture.origin == "first" else (-self.span, 0.0)
        like = next(self.model.parameters())
        return report_solver(self.model, self.probe.to(like), earliest, latest, tolerance=self.tolerance)


def _on_its_own(fit: Callable[..., Fitted]) -> Callable[..., Fitted]:
    """Fits with gradients whatever the caller has turned off, and leaves the process's warning filters as they were:
    torch imports sympy at its first optimiser, which adds its own.
    """

    @wraps(fit)
    def kept(*arguments: Any, **settings: Any) -> Fitted:
        with warnings.catch_warnings(), torch.inference_mode(False), torch.enable_grad():
            return fit(*arguments, **settings)

    return kept


@_on_its_own
def fit_model(problem: FittingProblem, *, sizes: Mapping[str, Any], training: Mapping[str, Any]) -> Fitted:
    """Withholds validation data, learns the scaling from the rest, builds the model and trains it.

    Args:
        sizes: latent_dim, field_units, encoder_units, decoder_units, likelihood, noise_scale; None leaves the
            choice of a size to `Architecture.choose`.
        training: fields of `TrainingOptions`, as `TrainingOptions.choose` takes them.

    Raises:
        ValueError: where the fit to start from has other columns or other networks.
    """
    began = time.monotonic()
    start = problem.start
    if start is not None:  # before values are held against the scaling of other columns
        names = ("value_cols", "static_cols")
        _check_start(
            *({name: getattr(one, name) for name in names} for one in (start.roles, problem.table.roles))
        )
    generator = torch.Generator().manual_seed(problem.seed)
    data, validation, scaling, statics, held = split_data(
        problem.table,
        generator,
        task=problem.task,
        validation_fraction=problem.validation_fraction,
        dtype=problem.dtype,
        longest=problem.span,
        # The weights that a warm start goes on from mean something in their own units only.
        scaling=None if start is None else start.scaling,
        statics=None if start is None else start.statics,
    )
    _log.info(
        "fitting %d series of %d rows, channels %s; %d validation batches, seed %d",
        len(data),
        len(data.times),
        ", ".join(map(str, problem.table.roles.value_cols)),
        len(validation),
        problem.seed,
    )
    kernels = problem.residual
    if kernels == "auto" and start is not None:
        kernels = start.architecture.residual
    elif kernels == "auto":
        with tqdm(total=1, desc="choosing kernels", disable=not problem.verbose, leave=False) as bar:
            kernels = choose_kernels(data, validation, generator)
            bar.update()
        _log.info("kernels chosen by validation: %s", ", ".join(kernels or ("none",)))
    architecture = Architecture.choose(
        data.n_channels,
        origin=problem.origin,
        residual=kernels,
        typical_gap=_typical_gap(data) if start is None else start.architecture.typical_gap,
        n_statics=statics.n_features,
        **sizes,
    )
    if start is not None:
        _check_start(
            {"dtype": start.dtype} | asdict(start.architecture),
            {"dtype": problem.dtype} | asdict(architecture),
        )
    options = TrainingOptions.choose(
        data,
        architecture.latent_dim,
        task=problem.task,
        origin=problem.origin,
        residual=kernels is not None,
        fixed_spacing=problem.fixed_spacing,
        warm=start is not None,
        # What was trained before is never made worse, whatever little tells.
        select=start is not None or can_select(held, validation),
        **training,
    )
    _log.info(
        "sizes: latent %d, field %s, encoder %d, decoder %s; batches of %d, learning rate %g, at most %d steps",
        architecture.latent_dim,
        architecture.field_units,
        architecture.encoder_units,
        architecture.decoder_units,
        options.batch_size,
        options.learning_rate,
        options.max_iter,
    )
    model = build_model(architecture, problem.solver, seed=problem.seed, dtype=problem.dtype)
    if start is not None:
        model.load_state_dict(start.model.state_dict())
        if not problem.fixed_spacing:
            model.solver = replace(model.solver, spacing=start.model.solver.spacing)

    trained_from = time.monotonic()
    saved = None if problem.checkpoint is None else problem.checkpoint.saved
    before = [] if saved is None else [Record(**record) for record in saved[0]["history"]]
    with FitBar(options, before, shown=problem.verbose > 0) as bar:
        history = train(
            model,
            data,
            options,
            generator,
            validation=validation,
            device=problem.device,
            progress=bar.show,
            checkpoint=problem.checkpoint,
        )
    _log_end(history, options)
    trained_until = time.monotonic()
    calibration, verdict = judge(
        model,
        problem.table,
        data,
        held,
        scaling=scaling,
        statics=statics,
        task=problem.task,
        by_rows=bool(problem.validation_fraction) and not bool(held.any()),
        calibrate=problem.calibrate,
        selected=options.select,
        device=problem.device,
        seed=problem.seed,
        longest=problem.span,
    )
    # The history counts what a run before a kill took as well.
    apart = trained_from - began + time.monotonic() - trained_until
    fitted = Fitted(
        model=model,
        scaling=scaling,
        statics=statics,
        architecture=architecture,
        roles=problem.table.roles,
        clock=Instants.none(problem.table.times.kind, problem.table.times.aware),
        history=history,
        probe=_probe(model, data, problem.device),
        span=max(model.solver.spacing, float(data.spans.max())),
        tolerance=None if problem.fixed_spacing or problem.solver.is_adaptive else options.tolerance,
        signal=find_signal(
            problem.table.collection(),
            model,
            validation,
            device=problem.device,
            n_repeats=2 if problem.task == "both" and bool(held.any()) else 1,
        ),
        calibration=calibration,
        reach=None if problem.span is None else problem.span / scaling.time_unit,
        verdict=replace(verdict, seconds=history[-1].seconds + apart),
    )
    warning = fitted.solver_report().warning
    if warning is not None:
        warn_user(warning)
    for silent in silent_channels(fitted.roles.value_cols, fitted.signal):
        warn_user(silent)
    collapsed = _collapsed(fitted, options)
    if collapsed is not None:
        warn_user(collapsed)
    if history[-1].ended == "interrupt":
        warn_user(_interrupted(history[-1], options, problem.checkpoint))
    elif problem.checkpoint is not None:
        problem.checkpoint.remove()
    return fitted


def _log_end(history: list[Record], options: TrainingOptions) -> None:
    last = history[-1]
    if last.ended == "patience":
        _log.info(
            "stopped early at step %d of %d: validation no longer improved", last.iteration, options.max_iter
        )
    if last.recoveries:
        _log.warning(
            "the loss was not finite %d times; training went on from weights before", last.recoveries
        )
    scores = [record.validation for record in history if not np.isnan(record.validation)]
    _log.info(
        "finished after %d steps in %.1f s: ELBO %.3f, %s validation %s nats a value",
        last.iteration,
        last.seconds,
        last.elbo,
        "best" if options.select else "last",
        f"{max(scores) if options.select else scores[-1]:.3f}" if scores else "none",
    )


def _interrupted(last: Record, options: TrainingOptions, checkpoint: Checkpoint | None) -> str:
    message = (
        f"training was interrupted after its check at step {last.iteration} of {options.max_iter}; the model has the "
        f"{'best' if options.select else 'last sound'} weights until then"
    )
    if checkpoint is not None and checkpoint.path.exists():
        message += f". The same call of fit goes on from the checkpoint {checkpoint.path}"
    return message


def _collapsed(fitted: Fitted, options: TrainingOptions) -> str | None:
    """The warning of a posterior that learned nothing of a signal that is there, see `verdict.collapse`."""
    verdict = fitted.verdict
    last = fitted.history[-1]
    trained = last.iteration >= LEAST_STEPS or last.ended == "patience"
    if verdict is None or not trained or verdict.n_series < LEAST_SERIES:
        return None
    if not any(channel.signal == "found" for channel in fitted.signal):
        return None  # what `silent_channels` says of it is the reason
    return collapse(verdict.latent, options.kl_weight, residual=fitted.model.residual is not None)


def _probe(model: LatentODEModel, data: SeriesCollection, device: str) -> Tensor:
    """Posterior means of z0 of some series, spread over the collection: (P, L), on the CPU."""
    chosen = torch.linspace(0, len(data) - 1, min(PROBES, len(data))).round().to(torch.int64)
    means, _ = encode(model, data.select(chosen), device)
    return means


def _check_start(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Weights fit one set of networks and channels only."""
    changed = [name for name in before if before[name] != after[name]]
    if changed:
        listed = "; ".join(f"{name} was {before[name]!r} and is {after[name]!r}" for name in changed)
        raise ValueError(
            f"warm_start=True goes on from the weights of the fit before, and they don't suit this one: {listed}. "
            "Leave these as they were, or fit anew with warm_start=False"
        )


def _typical_gap(collection: SeriesCollection) -> float:
    """Median time between consecutive observations, in model time; 1 where no series has two."""
    gaps = collection.times.diff()
    inside = torch.ones(len(gaps), dtype=torch.bool)
    inside[collection.starts[1:-1] - 1] = False
    gaps = gaps[inside & (gaps > 0)] if len(gaps) else gaps
    return float(gaps.median()) if len(gaps) else 1.0
