"""The generative model: prior, posterior, trajectory, and what they predict."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from latentode.encoders import Encoder
from latentode.likelihoods import GaussianLikelihood
from latentode.residual import GaussMarkov
from latentode.series import SeriesBatch
from latentode.solve import Solver, Trajectory, solve

__all__ = ["LatentODEModel", "Predictive"]


@dataclass(frozen=True)
class Predictive:
    r"""What is known of M times a series: one normal for each sample of z0, their mixture the answer.

    Given z0 the value is Normal(trajectory + residual, latent_variance + noise_variance).

    Shapes:
        trajectory, residual (S, B, M, D); latent_variance (B, M, D), the variance that the residual
        process leaves; noise_variance (D,).
    """

    trajectory: Tensor
    residual: Tensor
    latent_variance: Tensor
    noise_variance: Tensor

    @property
    def component_means(self) -> Tensor:
        """Mean of each component of the mixture: (S, B, M, D)."""
        return self.trajectory + self.residual

    @property
    def mean(self) -> Tensor:
        """E[x]: (B, M, D)."""
        return self.component_means.mean(0)

    @property
    def variance(self) -> Tensor:
        """Variance of each component, observation noise included: (B, M, D)."""
        return self.latent_variance + self.noise_variance

    def log_prob(self, values: Tensor, mask: Tensor) -> Tensor:
        """Log density of the mixture at each observed entry, 0 elsewhere: (B, M, D)."""
        components = Normal(self.component_means, self.variance.sqrt(), validate_args=False)
        n_samples = self.trajectory.shape[0]
        density = torch.logsumexp(components.log_prob(values), dim=0) - math.log(n_samples)
        return torch.where(mask, density, torch.zeros_like(density))


class LatentODEModel(nn.Module):
    r"""A latent ODE with a Gauss-Markov residual.

        z0 ~ N(0, I),    dz/dt = f(z),    x(t) = g(z(t)) + r(t) + noise

    r is a Gauss-Markov process per channel that takes up what one smooth trajectory can't pass
    through; with `residual=None` this is the model of Chen et al. 2018. All times are counted from
    each series' reference, where its z0 stands: the first (or last) observation of the context.

    Shapes: B series, N rows, D channels, L latent dimensions, S samples.
    Source: Chen et al. 2018, "Neural Ordinary Differential Equations", section 5; Rubanova et al.
    2019, "Latent ODEs for Irregularly-Sampled Time Series".
    """

    def __init__(
        self,
        encoder: Encoder,
        field: nn.Module,
        likelihood: GaussianLikelihood,
        *,
        residual: GaussMarkov | None = None,
        solver: Solver | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.field = field
        self.likelihood = likelihood
        self.residual = residual
        self.solver = solver or Solver()

    def posterior(self, context: SeriesBatch) -> Normal:
        """q(z0 | context): batch of shape (B, L)."""
        return self.encoder(context)

    def reference(self, context: SeriesBatch) -> Tensor:
        """The time at which each series' z0 stands: (B,)."""
        return context.reference_times(self.encoder.origin)

    def solve(self, z0: Tensor, times: Tensor) -> Trajectory:
        """The trajectories from z0 (S, B, L) over the span of `times` (B, N), counted from z0."""
        earliest, latest = torch.aminmax(times.detach()) if times.numel() else (0.0, 0.0)
        return solve(self.field, z0.flatten(0, 1), float(earliest), float(latest), self.solver)

    def mean_path(self, z0: Tensor, times: Tensor) -> Tensor:
        """g(z(t)) at each series' own times: (S, B, L), (B, N) -> (S, B, N, D)."""
        return self.likelihood.mean(self.solve(z0, times).at(times))

    def residuals(self, z0: Tensor, target: SeriesBatch) -> Tensor:
        """X - g(z(t)) where observed and 0 elsewhere; clocks are counted from z0: (S, B, N, D)."""
        path = self.mean_path(z0, target.times)
        return (target.values - path) * target.seen

    def predictive(self, context: SeriesBatch, times: Tensor, z0: Tensor) -> Predictive:
        """What each series does at `times`, given its context and samples of its z0.

        Shapes:
            times (B, M), on the clock of the context; z0 (S, B, L).
        """
        reference = self.reference(context).unsqueeze(1)
        context = context.compact().shift(reference.squeeze(1))
        queries = times - reference
        n_context = context.times.shape[1]
        path = self.mean_path(z0, torch.cat([context.times, queries], dim=1))
        trajectory = path[:, :, n_context:]
        noise = self.likelihood.noise_variance
        if self.residual is None:
            return Predictive(
                trajectory, torch.zeros_like(trajectory), torch.zeros_like(trajectory[0]), noise
            )
        left_over = (context.values - path[:, :, :n_context]) * context.mask
        residual, variance = self.residual.condition(context.times, left_over, context.mask, noise, queries)
        return Predictive(trajectory, residual, variance, noise)

    def sample_paths(self, context: SeriesBatch, times: Tensor, z0: Tensor, noise: Tensor) -> Tensor:
        """Jointly sampled paths g(z(t)) + r(t), one for each sample of z0, without observation noise.

        Shapes:
            times (B, M), z0 (S, B, L), noise: standard normal draws as `GaussMarkov.sample` takes
            them -> (S, B, M, D).
        """
        reference = self.reference(context).unsqueeze(1)
        context = context.compact().shift(reference.squeeze(1))
        queries = times - reference
        n_context = context.times.shape[1]
        path = self.mean_path(z0, torch.cat([context.times, queries], dim=1))
        if self.residual is None:
            return path[:, :, n_context:]
        left_over = (context.values - path[:, :, :n_context]) * context.mask
        return path[:, :, n_context:] + self.residual.sample(
            context.times, left_over, context.mask, self.likelihood.noise_variance, queries, noise=noise
        )
