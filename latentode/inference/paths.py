"""Jointly drawn paths of a fitted model, from the posterior and from the prior."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from latentode.inference.joined import Joined
from latentode.inference.pieces import Queries, chunks_of, long_series, most_queries, pieces_of, whole_block
from latentode.inference.predictions import numbers_per_row, posterior_samples
from latentode.model import LatentODEModel
from latentode.sampling import named_generator, normal_draws
from latentode.series import SeriesBatch, SeriesCollection, padded_ranges
from latentode.spans import spans_of
from latentode.stacking import Stack

__all__ = ["sample", "sample_prior"]

# Samples of z0 behind the mean that paths are moved from towards a regression, all paths of a series alike.
N_MOVING_SAMPLES = 64


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
    stack: Stack | None = None,
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
    moving = normal_draws(N_MOVING_SAMPLES, model.encoder.latent_dim, seed=0)
    pieces = pieces_of(contexts, queries, spans, max(1, len(queries.times)))
    size = 8 * n_samples * n_channels
    if stack is not None:
        size = max(size, numbers_per_row(model, N_MOVING_SAMPLES))
    for chunk in chunks_of(pieces, size):
        context = contexts.windows(chunk[:, 0], chunk[:, 1], chunk[:, 4]).to(device)
        rows, inside = padded_ranges(chunk[:, 2], chunk[:, 3])
        own = [names[number] for number in chunk[:, 4].tolist()]
        drawn = _Draws.make(model, own, inside, n_samples, observation_noise=observation_noise, seed=seed)
        posterior = model.posterior(context)
        like = posterior.mean
        times = queries.times[rows].to(context.times)
        found = model.sample_paths(
            context,
            times,
            like + posterior.stddev * torch.from_numpy(drawn.of_state).to(like),
            torch.from_numpy(drawn.of_path).to(device),
            observation=torch.from_numpy(drawn.of_noise).to(like),
        )
        if stack is not None:
            found = found + _shift(stack, model, context, times, posterior_samples(model, context, moving))
        paths[:, rows[inside]] = found.cpu()[:, inside]
    of_long = long_series(queries, spans)
    if of_long:
        joined = Joined.read(model, contexts, queries, spans, of_long, device)
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


def _shift(stack: Stack, model: LatentODEModel, context: SeriesBatch, times: Tensor, z0: Tensor) -> Tensor:
    """`Stack.shift` of all queries, (B, M, D); not all at once, as each takes the mean of more paths than are drawn."""
    most = most_queries(numbers_per_row(model, len(z0)))
    means = (model.predictive(context, some, z0).mean for some in times.split(most, dim=1))
    return stack.shift(context, times, torch.cat(list(means), dim=1))


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
