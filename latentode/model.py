"""The generative model: prior, posterior, trajectory, and what they predict."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from latentode.encoders import Encoder
from latentode.expectation_propagation import find_sites
from latentode.likelihoods import Decoded, Likelihood
from latentode.mixtures import NormalMixture
from latentode.noise import Nodes
from latentode.residual import GaussMarkov
from latentode.series import SeriesBatch
from latentode.solve import Solver, Trajectory, solve

__all__ = ["LatentODEModel", "Predictive"]


@dataclass(frozen=True)
class Predictive:
    r"""What is known of M times a series: one component for each sample of z0, their mixture the answer.

    Given z0 the value is Normal(trajectory + residual, latent_variance + noise_variance), or, where noise is
    heavy-tailed, the same for each of J normals that make up its law, noise_variance times their own variance.

    Shapes:
        trajectory, residual (S, B, M, D); latent_variance (B, M, D), the variance that the residual
        process leaves; noise_variance (D,), or (S, B, M, D) where it is predicted; noise, where it is not
        normal, as (J, D) variances and shares; shift (B, M, D), what is added to all components besides.
    """

    trajectory: Tensor
    residual: Tensor
    latent_variance: Tensor
    noise_variance: Tensor
    noise: Nodes | None = None
    shift: Tensor | None = None

    @property
    def component_means(self) -> Tensor:
        """Mean of each component of the mixture: (S, B, M, D)."""
        means = self.trajectory + self.residual
        return means if self.shift is None else means + self.shift

    @property
    def mean(self) -> Tensor:
        """E[x]: (B, M, D)."""
        return self.component_means.mean(0)

    @property
    def variance(self) -> Tensor:
        """Variance of each component, observation noise included: (B, M, D), or (S, B, M, D) where predicted."""
        if self.noise is None:
            return self.latent_variance + self.noise_variance
        return self.latent_variance + self.noise_variance * (self.noise.variance * self.noise.share).sum(0)

    def at(self, place: Tensor) -> NormalMixture:
        """The distribution of the n values that place (B, M, D) marks."""
        means = self.component_means[:, place]
        if self.noise is None:
            variance = self.variance
            return NormalMixture(
                means, (variance[place] if variance.ndim == 3 else variance[:, place]).sqrt()
            )
        S, n = means.shape
        latent, channel = self.latent_variance[place], torch.nonzero(place)[:, -1]
        scaled = self.noise_variance
        scaled = scaled[channel].expand(S, n) if scaled.ndim == 1 else scaled[:, place]
        of_noise = scaled.unsqueeze(1) * self.noise.variance[:, channel]
        std = (latent + of_noise).sqrt()
        share = (self.noise.share[:, channel] / S).expand_as(std)
        return NormalMixture(
            means.unsqueeze(1).expand_as(std).flatten(0, 1), std.flatten(0, 1), share.flatten(0, 1)
        )

    def log_prob(self, values: Tensor, mask: Tensor) -> Tensor:
        """Log density of the mixture at each observed entry, 0 elsewhere: (B, M, D)."""
        if self.noise is None:
            density = self._log_normals(values, self.variance)
        else:
            parts = [
                torch.log(share)
                + self._log_normals(values, self.latent_variance + self.noise_variance * variance)
                for variance, share in zip(*self.noise, strict=True)
            ]
            density = torch.logsumexp(torch.stack(parts), 0)
        return torch.where(mask, density, torch.zeros_like(density))

    def _log_normals(self, values: Tensor, variance: Tensor) -> Tensor:
        components = Normal(self.component_means, variance.sqrt(), validate_args=False)
        n_samples = self.trajectory.shape[0]
        return torch.logsumexp(components.log_prob(values), dim=0) - math.log(n_samples)


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
        likelihood: Likelihood,
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

    def latent_path(self, z0: Tensor, times: Tensor) -> Tensor:
        """z(t) at each series' own times: (S, B, L), (B, N) -> (S, B, N, L)."""
        return self.solve(z0, times).at(times)

    def decoded_path(self, z0: Tensor, times: Tensor) -> Decoded:
        """g(z(t)), and the offset of the noise's log scale where it is predicted: (S, B, N, D) each."""
        return self.likelihood.decode(self.latent_path(z0, times))

    def mean_path(self, z0: Tensor, times: Tensor) -> Tensor:
        """g(z(t)) at each series' own times: (S, B, L), (B, N) -> (S, B, N, D)."""
        return self.decoded_path(z0, times).mean

    def residuals(self, z0: Tensor, target: SeriesBatch) -> Tensor:
        """X - g(z(t)) where observed and 0 elsewhere; clocks are counted from z0: (S, B, N, D)."""
        path = self.mean_path(z0, target.times)
        return (target.values - path) * target.seen

    def predictive(self, context: SeriesBatch, times: Tensor, z0: Tensor) -> Predictive:
        """What each series does at `times`, given its context and samples of its z0.

        The residual process is conditioned on the context with one noise variance for each observation,
        whatever the sample: of a predicted scale the geometric mean over the samples, and of heavy-tailed
        noise that of the site (`latentode.expectation_propagation`) of what is left over in the mean of the
        samples. So the filter's variances are computed once, not for each sample.

        Shapes:
            times (B, M), on the clock of the context; z0 (S, B, L).
        """
        return self.conditional(*self._paths(context, times, z0))

    def conditional(
        self, context: SeriesBatch, queries: Tensor, known: Decoded, asked: Decoded
    ) -> Predictive:
        """`predictive`, from what is decoded at the rows of the context and at the queries, whatever it is from.

        Shapes:
            queries (B, M), on the clock of the context, whose observed rows come first; known (S, B, N, D),
            asked (S, B, M, D).
        """
        noise, nodes = self.likelihood.scale(asked.offset).square(), self.likelihood.nodes()
        trajectory = asked.mean
        if self.residual is None:
            nothing = torch.zeros_like(trajectory)
            return Predictive(trajectory, nothing, nothing[0], noise, nodes)
        left_over, of_context = self._left_over(self.residual, context, known)
        residual, variance = self.residual.condition(
            context.times, left_over, context.mask, of_context, queries
        )
        return Predictive(trajectory, residual, variance, noise, nodes)

    def sample_paths(
        self,
        context: SeriesBatch,
        times: Tensor,
        z0: Tensor,
        noise: Tensor,
        *,
        observation: Tensor | None = None,
    ) -> Tensor:
        """Jointly sampled paths g(z(t)) + r(t), one for each sample of z0, conditioned as in `predictive`.

        Args:
            observation: draws of observation noise of unit scale, which are scaled and added; None for none.

        Shapes:
            times (B, M), z0 (S, B, L), noise: standard normal draws as `GaussMarkov.sample` takes
            them, observation (S, B, M, D) -> (S, B, M, D).
        """
        return self.conditional_paths(*self._paths(context, times, z0), noise=noise, observation=observation)

    def conditional_paths(
        self,
        context: SeriesBatch,
        queries: Tensor,
        known: Decoded,
        asked: Decoded,
        *,
        noise: Tensor,
        observation: Tensor | None = None,
    ) -> Tensor:
        """`sample_paths`, from what is decoded, as `conditional` takes it."""
        path = asked.mean
        if self.residual is not None:
            left_over, of_context = self._left_over(self.residual, context, known)
            path = path + self.residual.sample(
                context.times, left_over, context.mask, of_context, queries, noise=noise
            )
        if observation is not None:
            path = path + self.likelihood.scale(asked.offset) * observation
        return path

    def _paths(
        self, context: SeriesBatch, times: Tensor, z0: Tensor
    ) -> tuple[SeriesBatch, Tensor, Decoded, Decoded]:
        """The context and the times asked for, counted from z0, and what is decoded at each."""
        reference = self.reference(context).unsqueeze(1)
        context = context.compact().shift(reference.squeeze(1))
        queries = times - reference
        n_context = context.times.shape[1]
        mean, offset = self.decoded_path(z0, torch.cat([context.times, queries], dim=1))
        known = Decoded(mean[:, :, :n_context], None if offset is None else offset[:, :, :n_context])
        asked = Decoded(mean[:, :, n_context:], None if offset is None else offset[:, :, n_context:])
        return context, queries, known, asked

    def _left_over(
        self, residual: GaussMarkov, context: SeriesBatch, known: Decoded
    ) -> tuple[Tensor, Tensor]:
        """What the trajectories leave of the context, (S, B, N, D), and its noise variance, (D,) or (B, N, D).

        Where noise is heavy-tailed, of the sites in place of the observations.
        """
        left_over = (context.values - known.mean) * context.mask
        scale = self.likelihood.scale(None if known.offset is None else known.offset.mean(0))
        if self.likelihood.is_gaussian:
            return left_over, scale.square()
        mean = left_over.mean(0)
        sites = find_sites(self.likelihood, residual, context.times, mean, context.mask, scale)
        return left_over + (sites.value - mean), sites.variance
