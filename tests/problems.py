"""Models whose answers are known in closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal

from latentode import (
    Encoder,
    GaussianLikelihood,
    GaussMarkov,
    GRUEncoder,
    LatentODEModel,
    MLPField,
    SeriesBatch,
    SeriesCollection,
    Solver,
)
from latentode.cuts import split_contexts
from latentode.elbo import Bound


class LinearField(nn.Module):
    """dz/dt = A z: z(t) = exp(A t) z0."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix.clone())

    def forward(self, t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG002
        return z @ self.matrix.T


class _ExactEncoder(Encoder):
    """The posterior of z0 ~ N(0, 1) given x_n = exp(-rate t_n) z0 + e, e ~ N(0, C)."""

    def __init__(self, problem: ScalarDecay) -> None:
        super().__init__()
        self.origin = "first"
        self.latent_dim = 1
        self.problem = problem

    def forward(self, context: SeriesBatch) -> Normal:
        context = context.shift(context.reference_times())
        gain = torch.exp(-self.problem.rate * context.times)
        precision_times_gain = torch.linalg.solve(self.problem.covariance(context.times), gain.unsqueeze(-1))
        precision = 1 + (gain * precision_times_gain.squeeze(-1)).sum(1)
        mean = (context.values.squeeze(-1) * precision_times_gain.squeeze(-1)).sum(1) / precision
        return Normal(mean.unsqueeze(1), precision.rsqrt().unsqueeze(1))


class ScalarDecay:
    """One latent dimension that decays, seen through noise (and an OU residual, if `scale` is given).

    z0 ~ N(0, 1),  z(t) = exp(-rate t) z0,  x_n = z(t_n) + r(t_n) + noise.
    """

    def __init__(self, rate: float, noise: float, scale: float = 0.0, length: float = 1.0) -> None:
        self.rate, self.noise, self.scale, self.length = rate, noise, scale, length

    def covariance(self, times: Tensor) -> Tensor:
        """Of the residual and the noise: (B, N, N)."""
        gaps = (times.unsqueeze(1) - times.unsqueeze(2)).abs()
        identity = torch.eye(times.shape[1], dtype=times.dtype)
        return self.scale**2 * torch.exp(-gaps / self.length) + self.noise**2 * identity

    def evidence(self, batch: SeriesBatch) -> MultivariateNormal:
        gain = torch.exp(-self.rate * (batch.times - batch.times[:, :1]))
        covariance = gain.unsqueeze(1) * gain.unsqueeze(2) + self.covariance(batch.times)
        return MultivariateNormal(torch.zeros_like(gain), covariance)

    def log_evidence(self, batch: SeriesBatch) -> Tensor:
        return self.evidence(batch).log_prob(batch.values.squeeze(-1))

    def sample(self, n_series: int, n_rows: int = 6, seed: int = 0) -> SeriesBatch:
        generator = torch.Generator().manual_seed(seed)
        times = torch.rand(n_series, n_rows, generator=generator, dtype=torch.float64).sort(1).values
        times = times - times[:, :1]
        empty = SeriesBatch(times, times.unsqueeze(-1), torch.ones(n_series, n_rows, 1, dtype=torch.bool))
        factor = torch.linalg.cholesky(self.evidence(empty).covariance_matrix)
        noise = torch.randn(n_series, n_rows, 1, generator=generator, dtype=torch.float64)
        return SeriesBatch(times, factor @ noise, empty.mask)

    def model(self) -> LatentODEModel:
        likelihood = GaussianLikelihood(1, 1, ())
        residual = None
        with torch.no_grad():
            likelihood.decoder.layers[0].weight.fill_(1.0)
            likelihood.decoder.layers[0].bias.zero_()
            likelihood.raw_noise.fill_(math.log(math.expm1(self.noise - likelihood.min_noise)))
        if self.scale:
            residual = GaussMarkov(1, "ou", scale=self.scale, length=self.length)
        field = LinearField(torch.tensor([[-self.rate]]))
        # At this spacing rk4 and the interpolant err by less than 1e-9, far below Monte Carlo.
        solver = Solver(spacing=1 / 128)
        return LatentODEModel(
            _ExactEncoder(self), field, likelihood, residual=residual, solver=solver
        ).double()


def noisy_waves(n_series: int = 24, n_rows: int = 8, seed: int = 0) -> SeriesCollection:
    """One channel: a sine of random phase at odd times within a span of 1, seen through noise."""
    generator = torch.Generator().manual_seed(seed)
    times = torch.rand(n_series, n_rows, generator=generator).sort(1).values
    phase = 6 * torch.rand(n_series, 1, generator=generator)
    values = torch.sin(6 * times + phase) + 0.1 * torch.randn(n_series, n_rows, generator=generator)
    starts = n_rows * torch.arange(n_series + 1)
    mask = torch.ones(n_series * n_rows, 1, dtype=torch.bool)
    return SeriesCollection(times.flatten(), values.view(-1, 1), mask, starts)


def small_model(field: nn.Module | None = None, solver: Solver | None = None) -> LatentODEModel:
    """A model of one channel that a few dozen steps teach something, a hundred of them in a second."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        return LatentODEModel(
            GRUEncoder(1, 2, 8, (8,)),
            field or MLPField(2, (8,), bound=20.0),
            GaussianLikelihood(2, 1, (8,)),
            residual=GaussMarkov(1, "ou"),
            solver=solver or Solver(spacing=1 / 8),
        )


def held_waves() -> list[tuple[SeriesBatch, SeriesBatch]]:
    """Pairs of context and target of waves that `noisy_waves` of other seeds does not hold."""
    batch = noisy_waves(seed=1).batch(range(24))
    return [(batch.restrict(keep), batch.restrict(~keep)) for keep in split_contexts(batch, "both")]


def times_nan(bound: Bound) -> Bound:
    """What training can't use."""
    return type(bound)(bound.log_likelihood * math.nan, bound.kl, bound.objective * math.nan)
