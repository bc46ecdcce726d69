"""How well a model predicts what is hidden from it: log densities and standard scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from latentode.calibration import HiddenScores, elapsed
from latentode.inference.pieces import Queries, chunks_of
from latentode.inference.predictions import answers_of, moved, numbers_per_row, posterior_samples
from latentode.model import LatentODEModel
from latentode.sampling import normal_draws
from latentode.series import SeriesBatch, SeriesCollection, padded_ranges
from latentode.spans import spans_of
from latentode.stacking import Stack

__all__ = ["N_SCORE_SAMPLES", "heldout_log_density", "heldout_mean", "hidden_log_density", "hidden_scores"]

# Samples of z0 behind a log density.
N_SCORE_SAMPLES = 16


def _whole_series(collection: SeriesCollection) -> Tensor:
    """Each series that has rows as a piece that asks about these: (P, 5)."""
    first, last = collection.starts[:-1], collection.starts[1:]
    pieces = torch.stack([first, last, first, last, torch.arange(len(collection))], 1)
    return pieces[collection.lengths > 0]


@torch.no_grad()
def heldout_log_density(
    model: LatentODEModel,
    context: SeriesBatch,
    target: SeriesBatch,
    n_samples: int = N_SCORE_SAMPLES,
    stack: Stack | None = None,
) -> Tensor:
    """Log p(x | context) at each observed entry of the target, in scaled units: (B, M, D).

    A mixture over quasi-random samples of z0, the same for every series, so that the answer depends
    on nothing but the series itself.
    """
    z0 = posterior_samples(model, context, normal_draws(n_samples, model.encoder.latent_dim, seed=0))
    answer = moved(model.predictive(context, target.times, z0), stack, context, target.times)
    return answer.log_prob(target.values, target.mask)


@torch.no_grad()
def heldout_mean(
    model: LatentODEModel,
    context: SeriesBatch,
    target: SeriesBatch,
    n_samples: int = N_SCORE_SAMPLES,
    stack: Stack | None = None,
) -> Tensor:
    """What is predicted from the context at the target's rows, in scaled units: (B, M, D), on the CPU."""
    z0 = posterior_samples(model, context, normal_draws(n_samples, model.encoder.latent_dim, seed=0))
    return moved(model.predictive(context, target.times, z0), stack, context, target.times).mean.cpu()


@torch.no_grad()
def hidden_log_density(
    model: LatentODEModel,
    contexts: SeriesCollection,
    choose: Callable[[SeriesBatch], list[Tensor]],
    *,
    stack: Stack | None = None,
    reach: float | None = None,
    device: torch.device | str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """Log density of what each chosen context hides, in scaled units.

    Args:
        choose: from a batch to the contexts to predict from, (B, N) masks.
        stack: moves what is predicted towards a regression, but of long series.
        reach: the time that one z0 answers for at most, see `spans_of`.

    Shapes:
        -> densities at the collection's rows, 0 where not hidden, and where they were: (n_contexts, R, D).
    """
    densities: list[np.ndarray] = []
    hidden: list[np.ndarray] = []
    counts = spans_of(contexts, reach).counts
    pieces = _whole_series(contexts)
    is_long = counts[pieces[:, 4]] > 1
    alone = pieces[is_long].unsqueeze(1)
    for chunk in chain(chunks_of(pieces[~is_long], numbers_per_row(model, N_SCORE_SAMPLES)), alone):
        rows, inside = padded_ranges(chunk[:, 0], chunk[:, 1])
        batch = contexts.windows(chunk[:, 0], chunk[:, 1], chunk[:, 4])
        for number, keep in enumerate(choose(batch)):
            if number == len(densities):
                densities.append(np.zeros(contexts.values.shape))
                hidden.append(np.zeros(contexts.values.shape, dtype=bool))
            target = batch.restrict(~keep)
            if counts[chunk[0, 4]] > 1:
                of_series = contexts.select(chunk[:, 4])
                density = _joined_log_density(model, of_series.restrict(keep[0]), target, reach, device)
            else:
                context = batch.restrict(keep).to(device)
                density = heldout_log_density(model, context, target.to(device), stack=stack)
            densities[number][rows[inside]] = density.cpu().double()[inside].numpy()
            hidden[number][rows[inside]] = target.mask[inside].numpy()
    return np.stack(densities), np.stack(hidden)


def _joined_log_density(
    model: LatentODEModel,
    context: SeriesCollection,
    target: SeriesBatch,
    reach: float | None,
    device: torch.device | str,
) -> Tensor:
    """`heldout_log_density` of one long series: (1, M, D)."""
    asked = torch.nonzero(target.mask[0].any(1)).flatten()
    queries = Queries(context.times[asked], torch.tensor([0, len(asked)]))
    draws = normal_draws(N_SCORE_SAMPLES, model.encoder.latent_dim, seed=0)
    found = torch.zeros_like(target.values)
    for answer in answers_of(model, context.compact(), queries, draws, reach=reach, device=device):
        row = asked[answer.rows]
        mask = target.mask[0, row] & answer.inside.unsqueeze(-1)
        density = answer.predictive.log_prob(target.values[0, row].to(device), mask.to(device)).cpu()
        found[0, row[answer.inside]] = density[answer.inside]
    return found


@torch.no_grad()
def hidden_scores(
    model: LatentODEModel,
    collection: SeriesCollection,
    contexts: Sequence[Tensor],
    *,
    stack: Stack | None = None,
    device: torch.device | str = "cpu",
) -> HiddenScores:
    """Standard scores of what each context hides, in what is predicted of it.

    Args:
        collection: series of one span each.
        contexts: rows that are shown, (R,) bool each.
    """
    draws = normal_draws(N_SCORE_SAMPLES, model.encoder.latent_dim, seed=0)
    pieces = _whole_series(collection)
    found: list[list[Tensor]] = []
    for chunk in chunks_of(pieces, numbers_per_row(model, N_SCORE_SAMPLES)):
        rows, _ = padded_ranges(chunk[:, 0], chunk[:, 1])
        batch = collection.windows(chunk[:, 0], chunk[:, 1], chunk[:, 4])
        for number, keep in enumerate(contexts):
            context, target = batch.restrict(keep[rows]).to(device), batch.restrict(~keep[rows])
            times = target.times.to(device)
            answer = model.predictive(context, times, posterior_samples(model, context, draws))
            answer = moved(answer, stack, context, times)
            lead, between = elapsed(context, times)
            hidden = target.mask.to(device)
            one, place, channel = torch.nonzero(hidden, as_tuple=True)
            score = answer.at(hidden).score(target.values.to(device)[hidden])
            row, means = rows.to(device)[one, place], [answer.mean, answer.trajectory.mean(0)]
            means.append(torch.zeros_like(means[0]) if answer.shift is None else answer.shift)
            found.append(
                [score, lead[one, place], between[one, place], channel, row]
                + [values[hidden] for values in means]
                + [torch.full_like(row, number)]
            )
    if not found:
        nothing, none = np.zeros(0), np.zeros(0, dtype=np.int64)
        return HiddenScores(nothing, nothing, none.astype(bool), none, none, nothing, nothing, nothing, none)
    joined = [torch.cat(values).cpu().numpy() for values in zip(*found, strict=True)]
    return HiddenScores(*joined)
