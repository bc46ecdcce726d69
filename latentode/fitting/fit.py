"""From a frame to a fitted model: validation, scaling, sizes, training."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import wraps
from typing import Any, Literal

import torch
from torch import Tensor
from tqdm.auto import tqdm

from latentode._warnings import warn_user
from latentode.fitting.build import Architecture, NetworkSizes, build_model, start_turning
from latentode.fitting.fitted import Fitted
from latentode.fitting.holdout import Holdout, can_select
from latentode.fitting.kernel_choice import choose_kernels
from latentode.fitting.messages import log_end, warn_of
from latentode.fitting.progress import FitBar
from latentode.fitting.signal import find_signal
from latentode.fitting.split import Split, split_data
from latentode.fitting.verdict import judge
from latentode.frames import Instants, SeriesTable
from latentode.inference import encode
from latentode.model import LatentODEModel
from latentode.series import SeriesCollection
from latentode.solve import Solver
from latentode.solve.knots import spacing_of_turns
from latentode.training import Checkpoint, Record, TrainingOptions, TrainingSettings, train

__all__ = ["FittingProblem", "fit_model"]

_log = logging.getLogger("latentode")

# Series whose trajectories the solver is judged on.
PROBES = 32

# Turns that a trajectory can be solved for in a bearable time, and periods that it is too short to tell of.
MOST_TURNS, LONGEST_PERIOD = 64, 4.0


@dataclass(frozen=True)
class FittingProblem:
    """What is to be fitted and on what; see `LatentODE` for the meaning of each.

    `start` is the fit whose weights are to be trained on, None for fresh ones. `checkpoint` keeps the training's
    state while it lasts; it is removed when the fit is through, and stays where it was interrupted. `span` is the time
    that one z0 answers for at most, and `period` that with which the series repeat themselves, both in the clock's
    units; one that was not told, but found, is left to training where no model can use it.
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
    stacking: bool = True
    start: Fitted | None = None
    checkpoint: Checkpoint | None = None
    span: float | None = None
    period: float | None = None
    period_is_told: bool = False
    sizes: NetworkSizes = field(default_factory=NetworkSizes)
    training: TrainingSettings = field(default_factory=TrainingSettings)


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
def fit_model(problem: FittingProblem) -> Fitted:
    """Withholds validation data, learns the scaling from the rest, builds the model and trains it.

    Raises:
        ValueError: where the fit to start from has other columns or other networks.
    """
    began = time.monotonic()
    generator = torch.Generator().manual_seed(problem.seed)
    split = _split(problem, generator)
    architecture = _architecture(problem, split, _kernels(problem, split, generator))
    options = _options(problem, split, architecture)
    model = _model(problem, architecture)

    trained_from = time.monotonic()
    history = _train(problem, split, model, options, generator)
    trained_until = time.monotonic()
    with tqdm(total=1, desc="asking withheld data", disable=not problem.verbose, leave=False) as bar:
        stack, calibration, verdict = judge(
            model,
            problem.table,
            split,
            task=problem.task,
            calibrate=problem.calibrate,
            stacking=problem.stacking,
            selected=options.select,
            device=problem.device,
            seed=problem.seed,
            longest=problem.span,
            period=architecture.period,
        )
        bar.update()
    # The history counts what a run before a kill took as well.
    apart = trained_from - began + time.monotonic() - trained_until
    fitted = Fitted(
        model=model,
        scaling=split.scaling,
        statics=split.statics,
        architecture=architecture,
        roles=problem.table.roles,
        clock=Instants.none(problem.table.times.kind, problem.table.times.aware),
        history=history,
        probe=_probe(model, split.data, problem.device),
        span=max(model.solver.spacing, float(split.data.spans.max())),
        tolerance=None if problem.fixed_spacing else problem.solver.reachable(options.tolerance),
        signal=find_signal(
            problem.table.collection(),
            model,
            split.validation,
            stack=stack,
            device=problem.device,
            n_repeats=_n_repeats(problem.task, split.holdout),
        ),
        calibration=calibration,
        stack=stack,
        reach=None if problem.span is None else problem.span / split.scaling.time_unit,
        verdict=replace(verdict, seconds=history[-1].seconds + apart),
    )
    warn_of(fitted, options, problem.checkpoint)
    if problem.checkpoint is not None and history[-1].ended != "interrupt":
        problem.checkpoint.remove()
    return fitted


def _split(problem: FittingProblem, generator: torch.Generator) -> Split:
    start, roles = problem.start, problem.table.roles
    if start is not None:  # before values are held against the scaling of other columns
        names = ("value_cols", "static_cols")
        _check_start(*({name: getattr(one, name) for name in names} for one in (start.roles, roles)))
    split = split_data(
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
        len(split.data),
        len(split.data.times),
        ", ".join(map(str, roles.value_cols)),
        len(split.validation),
        problem.seed,
    )
    return split


def _kernels(problem: FittingProblem, split: Split, generator: torch.Generator) -> tuple[str, ...] | None:
    if problem.residual != "auto":
        return problem.residual
    if problem.start is not None:
        return problem.start.architecture.residual
    with tqdm(total=1, desc="choosing kernels", disable=not problem.verbose, leave=False) as bar:
        kernels = choose_kernels(split.data, split.validation, generator)
        bar.update()
    _log.info("kernels chosen by validation: %s", ", ".join(kernels))
    return kernels


def _architecture(problem: FittingProblem, split: Split, kernels: tuple[str, ...] | None) -> Architecture:
    start = problem.start
    period = _period(problem, split)
    architecture = Architecture.choose(
        split.data.n_channels,
        problem.sizes,
        origin=problem.origin,
        residual=kernels,
        typical_gap=_typical_gap(split.data) if start is None else start.architecture.typical_gap,
        n_statics=split.statics.n_features,
        period=period,
    )
    if period is not None and architecture.period is None:
        warn_user(
            f"the series repeat themselves, with a period of {problem.period:g}, and a model of these sizes can't "
            "start from that: leave latent_dim at 2 or more and no layer of field_units narrower, or say period=None"
        )
    if start is not None:
        _check_start(
            {"dtype": start.dtype} | asdict(start.architecture),
            {"dtype": problem.dtype} | asdict(architecture),
        )
    return architecture


def _period(problem: FittingProblem, split: Split) -> float | None:
    """In model time; of a warm start that of the fit before, to the last digit.

    Raises:
        ValueError: for a period that a model has no steps for, or that no series comes near to.
    """
    if problem.start is not None:
        return problem.start.architecture.period
    if problem.period is None:
        return None
    period = problem.period / split.scaling.time_unit
    longest = float(split.data.spans.max())
    if period * MOST_TURNS < longest:
        if not problem.period_is_told:  # found in series that are far shorter than others
            return None
        raise ValueError(
            f"period={problem.period:g} is too short: what one z0 answers for, {longest * split.scaling.time_unit:g}, "
            f"would hold {longest / period:.3g} of it, and {MOST_TURNS} are the most. Say a shorter `span` as well, or "
            "period=None"
        )
    if period > LONGEST_PERIOD * longest:
        raise ValueError(
            f"period={problem.period:g} is too long: no series lasts more than {longest * split.scaling.time_unit:g}, "
            "which tells nothing of it. Leave it out, or say period=None"
        )
    return period


def _options(problem: FittingProblem, split: Split, architecture: Architecture) -> TrainingOptions:
    options = TrainingOptions.choose(
        split.data,
        architecture.latent_dim,
        problem.training,
        task=problem.task,
        origin=problem.origin,
        residual=architecture.residual is not None,
        fixed_spacing=problem.fixed_spacing,
        warm=problem.start is not None,
        turning=architecture.period is not None,
        # What was trained before is never made worse, whatever little tells.
        select=problem.start is not None or can_select(split.holdout, split.validation),
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
    return options


def _model(problem: FittingProblem, architecture: Architecture) -> LatentODEModel:
    """Freshly initialised, or with the weights and knots to start from."""
    model = build_model(architecture, problem.solver, seed=problem.seed, dtype=problem.dtype)
    if problem.start is None:
        start_turning(model, architecture)
        if architecture.period is not None and not problem.fixed_spacing:
            spacing = spacing_of_turns(architecture.period, model.solver.spacing)
            model.solver = replace(model.solver, spacing=spacing)
    else:
        model.load_state_dict(problem.start.model.state_dict())
        if not problem.fixed_spacing:
            model.solver = replace(model.solver, spacing=problem.start.model.solver.spacing)
    return model


def _train(
    problem: FittingProblem,
    split: Split,
    model: LatentODEModel,
    options: TrainingOptions,
    generator: torch.Generator,
) -> list[Record]:
    saved = None if problem.checkpoint is None else problem.checkpoint.saved
    before = [] if saved is None else [Record(**record) for record in saved[0]["history"]]
    with FitBar(options, before, shown=problem.verbose > 0) as bar:
        history = train(
            model,
            split.data,
            options,
            generator,
            validation=split.validation,
            device=problem.device,
            progress=bar.show,
            checkpoint=problem.checkpoint,
        )
    log_end(history, options)
    return history


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


def _n_repeats(task: str, holdout: Holdout) -> int:
    """How many of the contexts of `split_data` hide one value, at most."""
    if not holdout.whole:
        return 1
    n_ahead = 0 if task == "interpolate" else holdout.n_contexts
    n_between = 0 if task == "extrapolate" else 1  # these hide other rows each
    return n_ahead + n_between


def _typical_gap(collection: SeriesCollection) -> float:
    """Median time between consecutive observations, in model time; 1 where no series has two."""
    gaps = collection.times.diff()
    inside = torch.ones(len(gaps), dtype=torch.bool)
    inside[collection.starts[1:-1] - 1] = False
    gaps = gaps[inside & (gaps > 0)] if len(gaps) else gaps
    return float(gaps.median()) if len(gaps) else 1.0
