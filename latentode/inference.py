"""Answers of a fitted model, in chunks of bounded memory: means, quantiles, paths, densities."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from latentode.calibration import Calibration, HiddenScores, elapsed
from latentode.joined import Joined, SpanPosteriors
from latentode.model import LatentODEModel, Predictive
from latentode.noise import N_NODES
from latentode.pieces import (
    MAX_QUERIES,
    Queries,
    blocks_of,
    chunks_of,
    chunks_of_blocks,
    long_series,
    most_queries,
    pieces_of,
    whole_block,
)
from latentode.sampling import named_generator, normal_draws
from latentode.series import SeriesBatch, SeriesCollection, padded_ranges
from latentode.spans import Spans, spans_of

__all__ = [
    "encode",
    "heldout_log_density",
    "heldout_mean",
    "hidden_log_density",
    "hidden_scores",
    "latent",
    "predict",
    "sample",
    "sample_prior",
]

# Samples of z0 behind a log density.
N_SCORE_SAMPLES = 16


def _posterior_samples(model: LatentODEModel, context: SeriesBatch, draws: Tensor) -> Tensor:
    """Mu + sigma * eps with the same draws (S, L) for every series: (S, B, L)."""
    posterior = model.posterior(context)
    return posterior.mean + posterior.stddev * draws.to(posterior.mean).unsqueeze(1)


def _numbers_per_row(model: LatentODEModel, n_samples: int) -> int:
    """How many numbers a row takes; a law of noise that is not normal has several normals a sample."""
    likelihood = model.likelihood
    n_normals = 1 if likelihood.is_gaussian else N_NODES
    return n_samples * max(model.encoder.latent_dim, n_normals * likelihood.n_channels)


class _Answer(NamedTuple):
    """What is said of some queries: their numbers and which are no padding (B, M), and the time since observations."""

    rows: Tensor
    inside: Tensor
    predictive: Predictive
    lead: Tensor
    between: Tensor


def _answers(
    model: LatentODEModel,
    contexts: SeriesCollection,
    queries: Queries,
    draws: Tensor,
    *,
    reach: float | None,
    device: torch.device | str,
) -> Iterator[_Answer]:
    """All queries in chunks of bounded memory; draws (S, L) are the same for every series."""
    spans = spans_of(contexts, reach)
    numbers_per_row = _numbers_per_row(model, len(draws))
    most = most_queries(numbers_per_row)
    for chunk in chunks_of(pieces_of(contexts, queries, spans, most), numbers_per_row):
        context = contexts.windows(chunk[:, 0], chunk[:, 1], chunk[:, 4]).to(device)
        rows, inside = padded_ranges(chunk[:, 2], chunk[:, 3])
        times = queries.times[rows].to(device)
        answer = model.predictive(context, times, _posterior_samples(model, context, draws))
        yield _Answer(rows, inside, answer, *elapsed(context, times))
    of_long = long_series(queries, spans)
    if not of_long:
        return
    joined = _join(model, contexts, queries, spans, of_long, device)
    states = joined.shuffled(draws)
    blocks = (block for series in of_long for block in blocks_of(contexts, queries, series, most))
    for some in chunks_of_blocks(blocks, numbers_per_row):
        context, times, rows, inside = joined.laid_out(some)
        answer = model.conditional(context, times, *joined.decoded(some, states, len(draws)))
        yield _Answer(rows, inside, answer, *elapsed(context, times))


def _join(
    model: LatentODEModel,
    contexts: SeriesCollection,
    queries: Queries,
    spans: Spans,
    series: list[int],
    device: torch.device | str,
) -> Joined:
    only = torch.nonzero(torch.isin(spans.series_of_spans, torch.tensor(series))).flatten()
    posteriors = SpanPosteriors.read(model, contexts, spans, device, only)
    return Joined(model, contexts, queries, spans, posteriors, device)


class Predicted(NamedTuple):
    """What is predicted of Q queries, in scaled units.

    Shapes:
        mean (Q, D); residual (Q, D), its part that is not of the trajectory; quantiles (n_quantiles, Q, D),
        NaN where not wanted.
    """

    mean: Tensor
    residual: Tensor
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
    reach: float | None = None,
    device: torch.device | str = "cpu",
) -> Predicted:
    """Posterior mean and quantiles of the observations at the queries.

    The samples of z0 are the same quasi-random draws for every series, so that the answer for a
    series depends on that series alone.

    Args:
        calibration: adjusts the quantiles, the median and the mean excepted.
        reach: the time that one z0 answers for at most, see `spans_of`.
    """
    n_queries, n_channels = len(queries.times), contexts.n_channels
    mean = torch.empty(n_queries, n_channels, dtype=contexts.values.dtype)
    residual = torch.empty_like(mean)
    found = torch.full((len(quantiles), n_queries, n_channels), torch.nan, dtype=contexts.values.dtype)
    wanted = torch.ones(1, 1, dtype=torch.bool) if queries.wanted is None else queries.wanted
    wanted = wanted.expand(n_queries, n_channels)
    draws = normal_draws(n_samples, model.encoder.latent_dim, seed=0)
    standard = torch.special.ndtri(torch.tensor(quantiles, dtype=torch.float64)).tolist()
    for rows, inside, answer, lead, between in _answers(
        model, contexts, queries, draws, reach=reach, device=device
    ):
        kept = rows[inside]
        mean[kept] = answer.mean.cpu()[inside]
        residual[kept] = answer.residual.mean(0).cpu()[inside]
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
    return Predicted(mean, residual, found)


@torch.no_grad()
def sample(
    model: LatentODEModel,
    contexts: SeriesCollection,
    queries: Queries,
    names: Sequence[Hashable],
    *,
    n_samples: int,
    observation_noise: bool,
    seed: int,
    reach: float | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Jointly drawn paths at the queries, in scaled units: (S, Q, D).

    A series' draws come from its name and the seed, so that its companions change none of them and
    different series' paths are independent. Of a long series each span has its own z0, drawn by the name and the
    span's number; the residual's path is one over the whole of it.
    """
    n_channels = contexts.n_channels
    paths = torch.empty(n_samples, len(queries.times), n_channels, dtype=contexts.values.dtype)
    spans = spans_of(contexts, reach)
    pieces = pieces_of(contexts, queries, spans, max(1, len(queries.times)))
    for chunk in chunks_of(pieces, 8 * n_samples * n_channels):
        context = contexts.windows(chunk[:, 0], chunk[:, 1], chunk[:, 4]).to(device)
        rows, inside = padded_ranges(chunk[:, 2], chunk[:, 3])
        own = [names[number] for number in chunk[:, 4].tolist()]
        drawn = _Draws.make(model, own, inside, n_samples, observation_noise=observation_noise, seed=seed)
        posterior = model.posterior(context)
        like = posterior.mean
        found = model.sample_paths(
            context,
            queries.times[rows].to(device),
            like + posterior.stddev * torch.from_numpy(drawn.of_state).to(like),
            torch.from_numpy(drawn.of_path).to(device),
            observation=torch.from_numpy(drawn.of_noise).to(like),
        )
        paths[:, rows[inside]] = found.cpu()[:, inside]
    of_long = long_series(queries, spans)
    if of_long:
        joined = _join(model, contexts, queries, spans, of_long, device)
    for series in of_long:
        block = whole_block(contexts, queries, series)
        context, times, rows, inside = joined.laid_out([block])
        own = [names[series]]
        drawn = _Draws.make(model, own, inside, n_samples, observation_noise=observation_noise, seed=seed)
        states = joined.named(series, names[series], n_samples, seed)
        found = model.conditional_paths(
            context,
            times,
            *joined.decoded([block], states, n_samples),
            noise=torch.from_numpy(drawn.of_path).to(device),
            observation=torch.from_numpy(drawn.of_noise).to(context.values),
        )
        paths[:, rows[0]] = found[:, 0].cpu()
    return paths


class _Draws(NamedTuple):
    """Standard draws behind B series' paths: (S, B, L), (S, B, M, D, 2) and, of unit scale, (S, B, M, D).

    A series' own come from its name and the seed, in this order; 0 where it has no query and no noise is wanted.
    """

    of_state: np.ndarray
    of_path: np.ndarray
    of_noise: np.ndarray

    @classmethod
    def make(
        cls,
        model: LatentODEModel,
        names: Sequence[Hashable],
        inside: Tensor,
        n_samples: int,
        *,
        observation_noise: bool,
        seed: int,
    ) -> _Draws:
        n_channels = model.likelihood.n_channels
        drawn = cls(
            np.empty((n_samples, len(names), model.encoder.latent_dim)),
            np.zeros((n_samples, *inside.shape, n_channels, 2)),
            np.zeros((n_samples, *inside.shape, n_channels)),
        )
        for place, name in enumerate(names):
            generator = named_generator((name, 0), seed)
            n_rows = int(inside[place].sum())
            drawn.of_state[:, place] = generator.standard_normal((n_samples, drawn.of_state.shape[-1]))
            drawn.of_path[:, place, :n_rows] = generator.standard_normal((n_samples, n_rows, n_channels, 2))
            if observation_noise:
                noise = generator.standard_normal((n_samples, n_rows, n_channels))
                if not model.likelihood.is_gaussian:
                    noise *= np.sqrt(model.likelihood.draw_variance(generator, (n_samples, n_rows)))
                drawn.of_noise[:, place, :n_rows] = noise
        return drawn


@torch.no_grad()
def sample_prior(
    model: LatentODEModel,
    times: Tensor,
    n_series: int,
    *,
    observation_noise: bool,
    seed: int,
    device: torch.device | str = "cpu",
) -> Tensor:
    """New series at `times` (M,), z0 ~ N(0, I) standing at time 0, in scaled units: (n_series, M, D)."""
    nothing = torch.zeros(0, model.likelihood.n_channels, dtype=times.dtype)
    contexts = SeriesCollection(
        times[:0], nothing, nothing.bool(), torch.zeros(n_series + 1, dtype=torch.int64)
    )
    queries = Queries(times.repeat(n_series), torch.arange(n_series + 1) * len(times))
    paths = sample(
        model,
        contexts,
        queries,
        [f"prior {number}" for number in range(n_series)],
        n_samples=1,
        observation_noise=observation_noise,
        seed=seed,
        device=device,
    )
    return paths[0].view(n_series, len(times), -1)


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
        own = torch.maximum(own, spans.starts[1:] - 2)
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
    pieces = [pieces_of(contexts, queries, spans)]
    for series in long_series(queries, spans):
        first, last = queries.starts[series], queries.starts[series + 1]
        leading = spans.leading(series, queries.times[first:last])
        # As many at once as of a series of one span.
        some = torch.stack([leading, torch.arange(len(leading)) // MAX_QUERIES])
        (span, _), counts = torch.unique_consecutive(some, dim=1, return_counts=True)
        ends = first + counts.cumsum(0)
        whose = torch.full_like(span, series)
        pieces.append(torch.stack([spans.first[span], spans.last[span], ends - counts, ends, whose], 1))
    for chunk in chunks_of(torch.cat(pieces), latent_dim):
        context = contexts.windows(chunk[:, 0], chunk[:, 1], chunk[:, 4]).to(device)
        rows, inside = padded_ranges(chunk[:, 2], chunk[:, 3])
        asked = queries.times[rows].to(device) - model.reference(context).unsqueeze(1)
        path = model.solve(model.posterior(context).mean.unsqueeze(0), asked).at(asked)[0]
        found[rows[inside]] = path.cpu()[inside]
    return found


def _whole_series(collection: SeriesCollection) -> Tensor:
    """Each series that has rows as a piece that asks about these: (P, 5)."""
    first, last = collection.starts[:-1], collection.starts[1:]
    pieces = torch.stack([first, last, first, last, torch.arange(len(collection))], 1)
    return pieces[collection.lengths > 0]


@torch.no_grad()
def heldout_log_density(
    model: LatentODEModel, context: SeriesBatch, target: SeriesBatch, n_samples: int = N_SCORE_SAMPLES
) -> Tensor:
    """Log p(x | context) at each observed entry of the target, in scaled units: (B, M, D).

    A mixture over quasi-random samples of z0, the same for every series, so that the answer depends
    on nothing but the series itself.
    """
    z0 = _posterior_samples(model, context, normal_draws(n_samples, model.encoder.latent_dim, seed=0))
    return model.predictive(context, target.times, z0).log_prob(target.values, target.mask)


@torch.no_grad()
def heldout_mean(
    model: LatentODEModel, context: SeriesBatch, target: SeriesBatch, n_samples: int = N_SCORE_SAMPLES
) -> Tensor:
    """What is predicted from the context at the target's rows, in scaled units: (B, M, D), on the CPU."""
    z0 = _posterior_samples(model, context, normal_draws(n_samples, model.encoder.latent_dim, seed=0))
    return model.predictive(context, target.times, z0).mean.cpu()


@torch.no_grad()
def hidden_log_density(
    model: LatentODEModel,
    contexts: SeriesCollection,
    choose: Callable[[SeriesBatch], list[Tensor]],
    *,
    reach: float | None = None,
    device: torch.device | str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """Log density of what each chosen context hides, in scaled units.

    Args:
        choose: from a batch to the contexts to predict from, (B, N) masks.
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
    for chunk in chain(chunks_of(pieces[~is_long], N_SCORE_SAMPLES * contexts.n_channels), alone):
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
                density = heldout_log_density(model, batch.restrict(keep).to(device), target.to(device))
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
    queries = Queries(target.times[0, asked], torch.tensor([0, len(asked)]))
    draws = normal_draws(N_SCORE_SAMPLES, model.encoder.latent_dim, seed=0)
    found = torch.zeros_like(target.values)
    for answer in _answers(model, context.compact(), queries, draws, reach=reach, device=device):
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
    device: torch.device | str = "cpu",
) -> HiddenScores:
    """Standard scores of what each context hides, in what is predicted of it.

    Args:
        collection: series of one span each.
        contexts: rows that are shown, (R,) bool each.
    """
    draws = normal_draws(N_SCORE_SAMPLES, model.encoder.latent_dim, seed=0)
    pieces = _whole_series(collection)
    numbers_per_row = _numbers_per_row(model, N_SCORE_SAMPLES)
    found: list[list[Tensor]] = []
    for chunk in chunks_of(pieces, numbers_per_row):
        rows, _ = padded_ranges(chunk[:, 0], chunk[:, 1])
        batch = collection.windows(chunk[:, 0], chunk[:, 1], chunk[:, 4])
        for number, keep in enumerate(contexts):
            context, target = batch.restrict(keep[rows]).to(device), batch.restrict(~keep[rows])
            times = target.times.to(device)
            answer = model.predictive(context, times, _posterior_samples(model, context, draws))
            lead, between = elapsed(context, times)
            hidden = target.mask.to(device)
            one, place, channel = torch.nonzero(hidden, as_tuple=True)
            score = answer.at(hidden).score(target.values.to(device)[hidden])
            row, mean = rows.to(device)[one, place], answer.mean[hidden]
            number_of = torch.full_like(row, number)
            found.append([score, lead[one, place], between[one, place], channel, row, mean, number_of])
    if not found:
        nothing, none = np.zeros(0), np.zeros(0, dtype=np.int64)
        return HiddenScores(nothing, nothing, none.astype(bool), none, none, nothing, none)
    joined = [torch.cat(values).cpu().numpy() for values in zip(*found, strict=True)]
    return HiddenScores(*joined)
