"""From a frame to a fitted model: validation, scaling, sizes, training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from latentode.build import Architecture, build_model
from latentode.cuts import split_contexts
from latentode.frames import Instants, Roles, Scaling, SeriesTable
from latentode.frames.holdout import MIN_SERIES_TO_WITHHOLD, withhold_rows, withhold_series
from latentode.model import LatentODEModel
from latentode.series import SeriesBatch, SeriesCollection
from latentode.solve import Solver
from latentode.training import Record, TrainingOptions, train

__all__ = ["Fitted", "FittingProblem", "fit_model"]

# Training targets farther out than this many spreads are brought to it: under a normal likelihood
# one value a million spreads out would outweigh all the others together.
LARGEST_TARGET = 20.0

# Observed values that one validation batch may hold, padding included.
VALIDATION_CELLS = 50_000

# Series that validate at most: their score is then known to a few hundredths of a nat.
MAX_VALIDATION_SERIES = 300


@dataclass(frozen=True)
class FittingProblem:
    """What is to be fitted and on what; see `LatentODE` for the meaning of each."""

    table: SeriesTable
    task: str
    origin: str
    residual: tuple[str, ...] | None
    solver: Solver
    fixed_spacing: bool
    validation_fraction: float
    dtype: torch.dtype
    device: str
    seed: int
    verbose: int


@dataclass(frozen=True)
class Fitted:
    """What a fit learned: all that answers need, and how it went.

    `clock` holds no instants, only the kind of time that frames must have.
    """

    model: LatentODEModel
    scaling: Scaling
    architecture: Architecture
    roles: Roles
    clock: Instants
    history: list[Record]

    @property
    def dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype


def fit_model(problem: FittingProblem, *, sizes: Mapping[str, Any], training: Mapping[str, Any]) -> Fitted:
    """Withholds validation data, learns the scaling from the rest, builds the model and trains it.

    Args:
        sizes: latent_dim, field_units, encoder_units, decoder_units; None leaves the choice to
            `Architecture.choose`.
        training: fields of `TrainingOptions`; batch_size and learning_rate may be None.
    """
    data, validation, scaling = _split(problem)
    architecture = Architecture.choose(
        data.n_channels,
        origin=problem.origin,
        residual=problem.residual,
        typical_gap=_typical_gap(data),
        **sizes,
    )
    settings = dict(training)
    if settings["batch_size"] is None:
        # Small collections are gone through several times a step, at other cuts each time.
        settings["batch_size"] = int(np.clip(len(data), 32, 100))
    if settings["learning_rate"] is None:
        settings["learning_rate"] = 1e-2 if architecture.latent_dim <= 6 else 5e-3
    options = TrainingOptions(task=problem.task, fixed_spacing=problem.fixed_spacing, **settings)
    model = build_model(architecture, problem.solver, seed=problem.seed, dtype=problem.dtype)

    with tqdm(
        total=options.max_iter, desc="fitting", disable=not problem.verbose, unit="step", dynamic_ncols=True
    ) as bar:

        def show(record: Record) -> None:
            bar.update(record.iteration - bar.n)
            bar.set_postfix_str(f"ELBO {record.elbo:.3f}, validation {record.validation:.3f}")

        history = train(
            model,
            data,
            options,
            torch.Generator().manual_seed(problem.seed),
            validation=validation,
            device=problem.device,
            progress=show,
        )
    return Fitted(
        model=model,
        scaling=scaling,
        architecture=architecture,
        roles=problem.table.roles,
        clock=Instants.none(problem.table.times.kind, problem.table.times.aware),
        history=history,
    )


def _split(
    problem: FittingProblem,
) -> tuple[SeriesCollection, list[tuple[SeriesBatch, SeriesBatch]], Scaling]:
    """Training series, validation pairs of context and target, and the scaling learned from the former."""
    table = problem.table
    n_series = len(table.ids)
    validating = np.zeros(n_series, dtype=bool)
    shown = table
    if problem.validation_fraction and n_series >= MIN_SERIES_TO_WITHHOLD:
        random = np.random.RandomState(problem.seed % 2**32)
        fraction = min(problem.validation_fraction, MAX_VALIDATION_SERIES / n_series)
        validating = withhold_series(n_series, fraction, random)
    elif problem.validation_fraction:
        shown = withhold_rows(table, problem.task)

    training_rows = ~validating[table.codes]
    values = np.where(training_rows[:, None], shown.values, np.nan)
    never = np.isnan(values).all(axis=0)
    if never.any():
        # A channel seen in validation series only is better scaled by them than not at all.
        values[:, never] = shown.values[:, never]
    scaling = Scaling.learn(values, table.spans()[~validating])

    everything = shown.collection(scaling, problem.dtype)
    data = _clip(_not_empty(everything.select(np.flatnonzero(~validating))))
    if validating.any():
        kept = _not_empty(everything.select(np.flatnonzero(validating)))
        pairs = []
        for batch in _batches(kept):
            for keep in split_contexts(batch, problem.task):
                context = batch.restrict(keep)
                pairs.append((context.compact(), batch.restrict(~keep & keep.any(1, keepdim=True))))
        return data, pairs, scaling
    if shown is table:
        return data, [], scaling
    full = table.collection(scaling, problem.dtype)
    pairs = []
    for batch, visible in zip(_batches(full), _batches(_visible(table, shown, full)), strict=True):
        hidden = batch.mask & ~visible.mask
        if hidden.any():
            pairs.append((batch.restrict(visible.mask).compact(), batch.restrict(hidden)))
    return data, pairs, scaling


def _visible(table: SeriesTable, shown: SeriesTable, full: SeriesCollection) -> SeriesCollection:
    """The full collection with the withheld values unobserved."""
    marked = replace(table, values=np.where(np.isnan(shown.values) & ~np.isnan(table.values), 1.0, 0.0))
    flags = marked.values
    flags = np.where(np.isnan(table.values), np.nan, flags)
    neutral = Scaling(np.zeros(flags.shape[1]), np.ones(flags.shape[1]), 1.0)
    withheld = replace(table, values=flags).collection(neutral, torch.float64)
    return SeriesCollection(full.times, full.values, full.mask & (withheld.values == 0), full.starts)


def _batches(collection: SeriesCollection) -> list[SeriesBatch]:
    """The whole collection in padded batches of bounded size, in order."""
    cells = max(1, int(collection.lengths.max())) * collection.n_channels if len(collection) else 1
    size = max(1, VALIDATION_CELLS // cells)
    return [
        collection.batch(list(range(start, min(start + size, len(collection)))))
        for start in range(0, len(collection), size)
    ]


def _not_empty(collection: SeriesCollection) -> SeriesCollection:
    return collection.select(torch.nonzero(collection.lengths > 0).flatten())


def _clip(collection: SeriesCollection) -> SeriesCollection:
    values = collection.values.clamp(-LARGEST_TARGET, LARGEST_TARGET)
    return SeriesCollection(collection.times, values, collection.mask, collection.starts)


def _typical_gap(collection: SeriesCollection) -> float:
    """Median time between consecutive observations, in model time; 1 where no series has two."""
    gaps = collection.times.diff()
    inside = torch.ones(len(gaps), dtype=torch.bool)
    inside[collection.starts[1:-1] - 1] = False
    gaps = gaps[inside & (gaps > 0)] if len(gaps) else gaps
    return float(gaps.median()) if len(gaps) else 1.0
