"""Answers of a fitted model, in chunks of bounded memory: what is predicted, and the latent state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from latentode.calibration import Calibration, elapsed
from latentode.inference.joined import Joined
from latentode.inference.pieces import (
    MAX_QUERIES,
    Queries,
    blocks_of,
    chunks_of,
    chunks_of_blocks,
    long_series,
    most_queries,
    pieces_of,
)
from latentode.model import LatentODEModel, Predictive
from latentode.noise import N_NODES
from latentode.sampling import normal_draws
from latentode.series import SeriesBatch, SeriesCollection, padded_ranges
from latentode.spans import spans_of
from latentode.stacking import Stack

__all__ = [
    "Answer",
    "Predicted",
    "answers_of",
    "encode",
    "latent",
    "moved",
    "numbers_per_row",
    "posterior_samples",
    "predict",
]


def posterior_samples(model: LatentODEModel, context: SeriesBatch, draws: Tensor) -> Tensor:
    """Mu + sigma * eps with the same draws (S, L) for every series: (S, B, L)."""
    posterior = model.posterior(context)
    return posterior.mean + posterior.stddev * draws.to(posterior.mean).unsqueeze(1)


def numbers_per_row(model: LatentODEModel, n_samples: int) -> int:
    """How many numbers a row takes; a law of noise that is not normal has several normals a sample."""
    likelihood = model.likelihood
    n_normals = 1 if likelihood.is_gaussian else N_NODES
    return n_samples * max(model.encoder.latent_dim, n_normals * likelihood.n_channels)


def moved(answer: Predictive, stack: Stack | None, context: SeriesBatch, times: Tensor) -> Predictive:
    """The answer to times (B, M), moved towards the regression where there is one."""
    return answer if stack is None else replace(answer, shift=stack.shift(context, times, answer.mean))


class Answer(NamedTuple):
    """What is said of some queries: their numbers and which are no padding (B, M), and the time since observations."""

    rows: Tensor
    inside: Tensor
    predictive: Predictive
    lead: Tensor
    between: Tensor


def answers_of(
    model: LatentODEModel,
    contexts: SeriesCollection,
    queries: Queries,
    draws: Tensor,
    *,
    reach: float | None,
    device: torch.device | str,
    stack: Stack | None = None,
) -> Iterator[Answer]:
    """All queries in chunks of bounded memory; draws (S, L) are the same for every series.

    What is asked of long series is not moved towards a regression: none was fitted to such contexts.
    """
    spans = spans_of(contexts, reach)
    size = numbers_per_row(model, len(draws))
    most = most_queries(size)
    for chunk in chunks_of(pieces_of(contexts, queries, spans, most), size):
        context = contexts.windows(chunk[:, 0], chunk[:, 1], chunk[:, 4]).to(device)
        rows, inside = padded_ranges(chunk[:, 2], chunk[:, 3])
        times = queries.times[rows].to(context.times)
        answer = model.predictive(context, times, posterior_samples(model, context, draws))
        answer = moved(answer, stack, context, times)
        yield Answer(rows, inside, answer, *elapsed(context, times))
    of_long = long_series(queries, spans)
    if not of_long:
        return
    joined = Joined.read(model, contexts, queries, spans, of_long, device)
    states = joined.shuffled(draws)
    blocks = (block for series in of_long for block in blocks_of(contexts, queries, series, most))
    for some in chunks_of_blocks(blocks, size):
        context, times, rows, inside = joined.laid_out(some)
        answer = model.conditional(context, times, *joined.decoded(some, states, len(draws)))
        yield Answer(rows, inside, answer, *elapsed(context, times))


class Predicted(NamedTuple):
    """What is predicted of Q queries, in scaled units.

    Shapes:
        mean (Q, D); residual, regression (Q, D), its parts that are not of the trajectory: the residual process's, and
        how far the mean is moved towards a regression; quantiles (n_quantiles, Q, D), NaN where not wanted.
    """

    mean: Tensor
    residual: Tensor
    regression: Tensor
    quantiles: Tensor


@torch.no_grad()
def predict(
    model: LatentODEModel,
    contexts: SeriesCollection,
    queries: Queries,
    *,
    n_samples: int,
    quantiles: Sequence[float] = (),
    calibration: Calibration | None = None,
    stack: Stack | None = None,
    reach: float | None = None,
    device: torch.device | str = "cpu",
) -> Predicted:
    """Posterior mean and quantiles of the observations at the queries.

    The samples of z0 are the same quasi-random draws for every series, so that the answer for a
    series depends on that series alone.

    Args:
        calibration: adjusts the quantiles, the median and the mean excepted.
        stack: moves all of them towards a regression.
        reach: the time that one z0 answers for at most, see `spans_of`.
    """
    n_queries, n_channels = len(queries.times), contexts.n_channels
    mean = torch.empty(n_queries, n_channels, dtype=contexts.values.dtype)
    residual, regression = torch.empty_like(mean), torch.zeros_like(mean)
    found = torch.full((len(quantiles), n_queries, n_channels), torch.nan, dtype=contexts.values.dtype)
    wanted = torch.ones(1, 1, dtype=torch.bool) if queries.wanted is None else queries.wanted
    wanted = wanted.expand(n_queries, n_channels)
    draws = normal_draws(n_samples, model.encoder.latent_dim, seed=0)
    standard = torch.special.ndtri(torch.tensor(quantiles, dtype=torch.float64)).tolist()
    for rows, inside, answer, lead, between in answers_of(
        model, contexts, queries, draws, reach=reach, device=device, stack=stack
    ):
        kept = rows[inside]
        mean[kept] = answer.mean.cpu()[inside]
        residual[kept] = answer.residual.mean(0).cpu()[inside]
        if answer.shift is not None:
            regression[kept] = answer.shift.cpu()[inside]
        if not quantiles:
            continue
        place = wanted[rows] & inside.unsqueeze(-1)
        row, channel = rows.unsqueeze(-1).expand(place.shape)[place], torch.nonzero(place)[:, -1]
        place = place.to(device)
        mixture = answer.at(place)
        for number, score in enumerate(standard):
            if calibration is None:
                z = torch.full_like(mixture.means[0], score)
            else:
                z = calibration.adjusted(score, lead, between)[place]
            found[number, row, channel] = mixture.value_at(z).cpu()
    return Predicted(mean, residual, regression, found)


@torch.no_grad()
def encode(
    model: LatentODEModel,
    contexts: SeriesCollection,
    device: torch.device | str = "cpu",
    *,
    reach: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of q(z0 | series) for each series: (n_series, L) each.

    Of a long series those of its first span or, where z0 stands at the last observation, of its last two halves.
    """
    spans = spans_of(contexts, reach)
    own = spans.starts[:-1]
    if model.encoder.origin == "last":
        latest = spans.starts[1:] - 1
        # Unless there is an outage before the last half.
        own = torch.where(spans.last[(latest - 1).clamp(min=0)] == spans.last[latest], latest - 1, latest)
        own = torch.maximum(own, spans.starts[:-1])
    first, last = spans.first[own], spans.last[own]
    number = torch.arange(len(contexts))
    means, stds, order = [], [], []
    for chunk in chunks_of(torch.stack([first, last, number, number, number], 1), 16 * contexts.n_channels):
        posterior = model.posterior(contexts.windows(chunk[:, 0], chunk[:, 1], chunk[:, 4]).to(device))
        means.append(posterior.mean.cpu())
        stds.append(posterior.stddev.cpu())
        order.append(chunk[:, 2])
    back = torch.argsort(torch.cat(order))
    return torch.cat(means)[back], torch.cat(stds)[back]


@torch.no_grad()
def latent(
    model: LatentODEModel,
    contexts: SeriesCollection,
    queries: Queries,
    device: torch.device | str = "cpu",
    *,
    reach: float | None = None,
) -> Tensor:
    """z(t) from the mean of q(z0 | series), at the queries: (Q, L).

    Of a long series each span has a z0, and so an orbit, of its own; that of most weight answers. A mean of two
    orbits would be none.
    """
    latent_dim = model.encoder.latent_dim
    found = torch.empty(len(queries.times), latent_dim, dtype=contexts.values.dtype)
    spans = spans_of(contexts, reach)
    times = queries.times.clone()
    pieces = [pieces_of(contexts, queries, spans)]
    for series in long_series(queries, spans):
        first, last = queries.starts[series], queries.starts[series + 1]
        leading = spans.leading(series, queries.times[first:last])
        times[first:last] = torch.clamp(times[first:last], *spans.followed[leading].to(times).unbind(1))
        # As many at once as of a series of one span.
        some = torch.stack([leading, torch.arange(len(leading)) // MAX_QUERIES])
        (span, _), counts = torch.unique_consecutive(some, dim=1, return_counts=True)
        ends = first + counts.cumsum(0)
        whose = torch.full_like(span, series)
        pieces.append(torch.stack([spans.first[span], spans.last[span], ends - counts, ends, whose], 1))
    for chunk in chunks_of(torch.cat(pieces), latent_dim):
        origins = contexts.origins(chunk[:, 0], chunk[:, 1])
        context = contexts.windows(chunk[:, 0], chunk[:, 1], chunk[:, 4], origins).to(device)
        rows, inside = padded_ranges(chunk[:, 2], chunk[:, 3])
        asked = (times[rows] - origins.unsqueeze(1)).to(context.times)
        asked = asked - model.reference(context).unsqueeze(1)
        path = model.solve(model.posterior(context).mean.unsqueeze(0), asked).at(asked)[0]
        found[rows[inside]] = path.cpu()[inside]
    return found
