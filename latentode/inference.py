"""Answers of a fitted model, in chunks of bounded memory: means, quantiles, paths, densities."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import torch
from torch import Tensor

from latentode.calibration import Calibration, HiddenScores, elapsed
from latentode.model import LatentODEModel
from latentode.noise import N_NODES
from latentode.pieces import MAX_ROWS, Queries, chunks_of, most_queries, pieces_of
from latentode.sampling import named_generator, normal_draws
from latentode.series import SeriesBatch, SeriesCollection, padded_ranges

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


@torch.no_grad()
def predict(
    model: LatentODEModel,
    contexts: SeriesCollection,
    queries: Queries,
    *,
    n_samples: int,
    quantiles: Sequence[float] = (),
    calibration: Calibration | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, Tensor]:
    """Posterior mean and quantiles of the observations at the queries, in scaled units.

    The samples of z0 are the same quasi-random draws for every series, so that the answer for a
    series depends on that series alone.

    Args:
        calibration: adjusts the quantiles, the median and the mean excepted.

    Shapes:
        -> mean (Q, D), quantiles (n_quantiles, Q, D), NaN where not wanted.
    """
    n_queries, n_channels = len(queries.times), contexts.n_channels
    mean = torch.empty(n_queries, n_channels, dtype=contexts.values.dtype)
    found = torch.full((len(quantiles), n_queries, n_channels), torch.nan, dtype=contexts.values.dtype)
    wanted = torch.ones(1, 1, dtype=torch.bool) if queries.wanted is None else queries.wanted
    wanted = wanted.expand(n_queries, n_channels)
    draws = normal_draws(n_samples, model.encoder.latent_dim, seed=0)
    standard = torch.special.ndtri(torch.tensor(quantiles, dtype=torch.float64)).tolist()
    numbers_per_row = _numbers_per_row(model, n_samples)
    most = most_queries(numbers_per_row)
    for chunk in chunks_of(pieces_of(contexts, queries, most), numbers_per_row):
        context = contexts.windows(chunk[:, 0], chunk[:, 1], chunk[:, 4]).to(device)
        rows, inside = padded_ranges(chunk[:, 2], chunk[:, 3])
        times = queries.times[rows].to(device)
        answer = model.predictive(context, times, _posterior_samples(model, context, draws))
        kept = rows[inside]
        mean[kept] = answer.mean.cpu()[inside]
        if not quantiles:
            continue
        place = wanted[rows] & inside.unsqueeze(-1)
        row, channel = rows.unsqueeze(-1).expand(place.shape)[place], torch.nonzero(place)[:, -1]
        place = place.to(device)
        mixture = answer.at(place)
        lead, between = elapsed(context, times)
        for number, score in enumerate(standard):
            if calibration is None:
                z = torch.full_like(mixture.means[0], score)
            else:
                z = calibration.adjusted(score, lead, between)[place]
            found[number, row, channel] = mixture.value_at(z).cpu()
    return mean, found


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
    device: torch.device | str = "cpu",
) -> Tensor:
    """Jointly drawn paths at the queries, in scaled units: (S, Q, D).

    A series' draws come from its name and the seed, so that its companions change none of them and
    different series' paths are independent. Where a series is longer than MAX_ROWS, so that it is read
    through windows, paths are joint within a window's share of the queries.
    """
    n_channels = contexts.n_channels
    paths = torch.empty(n_samples, len(queries.times), n_channels, dtype=contexts.values.dtype)
    pieces = pieces_of(contexts, queries, max(1, len(queries.times)))
    for chunk in chunks_of(pieces, 8 * n_samples * n_channels):
        context = contexts.windows(chunk[:, 0], chunk[:, 1], chunk[:, 4]).to(device)
        rows, inside = padded_ranges(chunk[:, 2], chunk[:, 3])
        posterior = model.posterior(context)
        like = posterior.mean
        of_state = np.empty((n_samples, len(chunk), like.shape[-1]))
        of_path = np.zeros((n_samples, *rows.shape, n_channels, 2))
        of_noise = np.zeros((n_samples, *rows.shape, n_channels))
        for place, number in enumerate(chunk[:, 4].tolist()):
            window = int(chunk[place, 0] - contexts.starts[number])
            generator = named_generator((names[number], window), seed)
            n_rows = int(inside[place].sum())
            of_state[:, place] = generator.standard_normal(of_state[:, place].shape)
            of_path[:, place, :n_rows] = generator.standard_normal((n_samples, n_rows, n_channels, 2))
            if observation_noise:
                drawn = generator.standard_normal((n_samples, n_rows, n_channels))
                if not model.likelihood.is_gaussian:
                    drawn *= np.sqrt(model.likelihood.draw_variance(generator, (n_samples, n_rows)))
                of_noise[:, place, :n_rows] = drawn
        z0 = like + posterior.stddev * torch.from_numpy(of_state).to(like)
        found = model.sample_paths(
            context,
            queries.times[rows].to(device),
            z0,
            torch.from_numpy(of_path).to(device),
            observation=torch.from_numpy(of_noise).to(like),
        )
        paths[:, rows[inside]] = found.cpu()[:, inside]
    return paths


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
    model: LatentODEModel, contexts: SeriesCollection, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of q(z0 | series) for each series: (n_series, L) each.

    Of a series longer than MAX_ROWS only the rows nearest to z0 are read.
    """
    first, last = contexts.starts[:-1], contexts.starts[1:]
    if model.encoder.origin == "first":
        last = torch.minimum(last, first + MAX_ROWS)
    else:
        first = torch.maximum(first, last - MAX_ROWS)
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
    model: LatentODEModel, contexts: SeriesCollection, queries: Queries, device: torch.device | str = "cpu"
) -> Tensor:
    """z(t) from the mean of q(z0 | series), at the queries: (Q, L).

    Of a series longer than MAX_ROWS each window has a z0, and so an orbit, of its own.
    """
    latent_dim = model.encoder.latent_dim
    found = torch.empty(len(queries.times), latent_dim, dtype=contexts.values.dtype)
    for chunk in chunks_of(pieces_of(contexts, queries), latent_dim):
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
    device: torch.device | str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """Log density of what each chosen context hides, in scaled units.

    Args:
        choose: from a batch to the contexts to predict from, (B, N) masks.

    Shapes:
        -> densities at the collection's rows, 0 where not hidden, and where they were: (n_contexts, R, D).
    """
    contexts = contexts.cut(MAX_ROWS)
    densities: list[np.ndarray] = []
    hidden: list[np.ndarray] = []
    pieces = _whole_series(contexts)
    for chunk in chunks_of(pieces, N_SCORE_SAMPLES * contexts.n_channels):
        rows, inside = padded_ranges(chunk[:, 0], chunk[:, 1])
        batch = contexts.windows(chunk[:, 0], chunk[:, 1], chunk[:, 4])
        for number, keep in enumerate(choose(batch)):
            if number == len(densities):
                densities.append(np.zeros(contexts.values.shape))
                hidden.append(np.zeros(contexts.values.shape, dtype=bool))
            target = batch.restrict(~keep)
            density = heldout_log_density(model, batch.restrict(keep).to(device), target.to(device))
            densities[number][rows[inside]] = density.cpu().double()[inside].numpy()
            hidden[number][rows[inside]] = target.mask[inside].numpy()
    return np.stack(densities), np.stack(hidden)


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
        collection: series of up to MAX_ROWS rows.
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
