"""What a trajectory misses, as a Gauss-Markov process of each channel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from latentode.residual.likelihood import PredictiveDensity
from latentode.residual.mix import KernelMix
from latentode.residual.observed import Observed, pack
from latentode.residual.paths import deviations
from latentode.residual.posterior import Posterior, condition

__all__ = ["GaussMarkov"]

# exp(30) squared is still a float32.
_LIMIT = 30.0


class GaussMarkov(nn.Module):
    r"""x(t) = trajectory + r(t) + noise, with r a Gauss-Markov process of each channel by itself.

    With the scale s, the length l and the distance a of two times in lengths, |t - t'| / l, the covariance
    of r(t) and r(t') is

        ou          s^2 exp(-a)
        matern32    s^2 (1 + sqrt(3) a) exp(-sqrt(3) a)
        iou         s^2 (1 + v(t) + v(t') - v(t - t')),    v(t) = |t - t_1| / l - 1 + exp(-|t - t_1| / l)

    The last is the integral of an Ornstein-Uhlenbeck velocity of standard deviation s / l, from a position
    of standard deviation s at the first observation t_1 of the channel (at the first time of the series
    where it has none, at 0 where the series has no times).

    Limits, with little noise: an `ou` residual of great length interpolates linearly and carries the last
    value forward; `iou` carries the velocity forward, as `matern32` does up to a part of its length;
    between observations both follow a cubic. With s -> 0 only white noise remains.

    What conditions r and what is asked of it are separate: p(hidden | visible) is the difference of two
    log-likelihoods, and has its gradient; `condition` and `sample` have none, and compute in float64.

    Attributes:
        log_scale, log_length: parameters (D,), lengths in model time; cut to +-30 where used.

    Shapes:
        times (B, N), not decreasing in each series, equal times allowed; residuals (S, B, N, D), read only
        where mask (B, N, D) is true; noise_variance > 0, (D,) or anything that broadcasts to (B, N, D);
        query_times (B, M) in any order.
    Source: Hartikainen & Sarkka 2010, "Kalman filtering and smoothing solutions to temporal Gaussian
        process regression models"; Rauch, Tung & Striebel 1965 for the backward pass.

    >>> residual = GaussMarkov(1, "ou", length=1e6)
    >>> times, mask = torch.tensor([[0.0, 1.0]]), torch.ones(1, 2, 1, dtype=torch.bool)
    >>> values = torch.tensor([1.0, 3.0]).view(1, 1, 2, 1)
    >>> noise, queries = torch.tensor([1e-12]), torch.tensor([[0.25, 9.0]])
    >>> mean, variance = residual.condition(times, values, mask, noise, queries)
    >>> [round(x, 3) for x in mean.flatten().tolist()]  # linear between, the last value beyond
    [1.5, 3.0]
    """

    def __init__(
        self,
        n_channels: int,
        kernel: str | Sequence[str] = "matern32",
        *,
        scale: float | Sequence[float] = 0.3,
        length: float | Sequence[float] = 0.1,
    ) -> None:
        super().__init__()
        names = (kernel,) * n_channels if isinstance(kernel, str) else tuple(kernel)
        if len(names) != n_channels:
            raise ValueError(
                f"{len(names)} kernels for {n_channels} channels; give one name or one per channel"
            )
        self._mix = KernelMix(names)
        self.log_scale = nn.Parameter(_log("scale", scale, n_channels))
        self.log_length = nn.Parameter(_log("length", length, n_channels))

    @property
    def kernels(self) -> tuple[str, ...]:
        """The kernel of each channel."""
        return self._mix.names

    def extra_repr(self) -> str:
        return ", ".join(self.kernels)

    def held(self) -> GaussMarkov:
        """The same process with its parameters held: what is computed with it has no gradient to them."""
        other = GaussMarkov(len(self.kernels), self.kernels)
        for name, parameter in self.named_parameters():
            setattr(other, name, nn.Parameter(parameter.detach(), requires_grad=False))
        return other

    def log_likelihood(
        self,
        times: Tensor,
        residuals: Tensor,
        mask: Tensor,
        noise_variance: Tensor,
        *,
        read: Tensor | None = None,
    ) -> Tensor:
        """Log Normal(residuals observed | 0, K + diag noise_variance) -> (S, B), the sum of `log_densities`.

        0 where none is observed. Differentiable in the residuals, the noise variance and the parameters, not in the
        times.
        """
        return self.log_densities(times, residuals, mask, noise_variance, read=read).sum((-1, -2))

    def log_densities(
        self,
        times: Tensor,
        residuals: Tensor,
        mask: Tensor,
        noise_variance: Tensor,
        *,
        read: Tensor | None = None,
        held: Tensor | None = None,
    ) -> Tensor:
        """Of each observation given those of its channel before it, 0 where there is none: (S, B, N, D).

        Args:
            read: (B, N, D) bool; nothing is learned from an observation that it does not mark, so that each of
                several in a row is foretold by itself.
            held: (B,) bool, series whose densities have a gradient to the residuals alone.
        """
        self._check(times, residuals, mask)
        S, B, N, D = residuals.shape
        observed = pack(times.detach(), mask)
        rate, scale = self._rate_and_scale(residuals.dtype)
        lag, noise, inverse = _per_entry(observed, rate, scale, noise_variance.to(residuals.dtype), (B, N, D))
        if held is not None:
            of_entry = held.index_select(0, observed.chains // D).index_select(0, observed.row)
            lag, noise, inverse = (torch.where(of_entry, one.detach(), one) for one in (lag, noise, inverse))
        values = residuals.reshape(S, -1).gather(1, observed.entry.expand(S, -1)) * inverse
        unread = None if read is None else ~read.flatten().index_select(0, observed.entry)
        density = PredictiveDensity.apply(lag, noise, values, self._mix, observed, unread)
        nothing = density.new_zeros(S, B * N * D)
        return nothing.index_copy(1, observed.entry, density + torch.log(inverse)).view(S, B, N, D)

    @torch.no_grad()
    def condition(
        self, times: Tensor, residuals: Tensor, mask: Tensor, noise_variance: Tensor, query_times: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean (S, B, M, D) and variance (B, M, D) of r at the queries, without observation noise."""
        _, scale, mean, moments = self._posterior(times, residuals, mask, noise_variance, query_times)
        return (mean * scale).to(residuals.dtype), (moments[0] * scale.square()).to(residuals.dtype)

    @torch.no_grad()
    def sample(
        self,
        times: Tensor,
        residuals: Tensor,
        mask: Tensor,
        noise_variance: Tensor,
        query_times: Tensor,
        generator: torch.Generator | None = None,
        *,
        noise: Tensor | None = None,
    ) -> Tensor:
        """One path of r through the queries for each of S, given the observations: (S, B, M, D).

        Either from a generator or from standard normal draws `noise` (S, B, M, D, 2), two for each query.
        The same draws give the same path whatever the companions and however long the padding: a series'
        draws are all its own, and a query that repeats the time of one before it uses none. So padded
        queries should repeat a time of their series; elsewhere they are points of the path too.
        """
        S, (B, M), D = len(residuals), query_times.shape, mask.shape[-1]
        if (generator is None) == (noise is None):
            raise ValueError(
                "paths are drawn either with a generator or from given noise; pass one of the two"
            )
        if noise is None:
            assert generator is not None
            noise = torch.randn(
                S, B, M, D, 2, generator=generator, device=generator.device, dtype=torch.float64
            )
        if noise.shape != (S, B, M, D, 2):
            raise ValueError(
                f"noise must have the shape {(S, B, M, D, 2)} (S, B, M, D, 2), not {tuple(noise.shape)}"
            )
        posterior, scale, mean, moments = self._posterior(times, residuals, mask, noise_variance, query_times)
        path = mean + deviations(posterior, query_times.to(mean), moments, noise.to(mean))
        return (path * scale).to(residuals.dtype)

    def _posterior(
        self, times: Tensor, residuals: Tensor, mask: Tensor, noise_variance: Tensor, query_times: Tensor
    ) -> tuple[Posterior, Tensor, Tensor, Tensor]:
        # In float64: of two long gaps in float32 the posterior mean keeps too little.
        self._check(times, residuals, mask)
        if query_times.ndim != 2 or len(query_times) != len(times):
            raise ValueError(
                f"query_times must be (B, M) with B = {len(times)}, not {tuple(query_times.shape)}"
            )
        rate, scale = self._rate_and_scale(torch.float64)
        if not times.shape[1]:  # a row at time 0 in which nothing is observed
            pad = torch.nn.functional.pad
            times, mask, residuals = pad(times, (0, 1)), pad(mask, (0, 0, 0, 1)), pad(residuals, (0, 0, 0, 1))
        values = torch.where(mask, residuals.double(), 0.0) / scale
        noise = noise_variance.double().expand(mask.shape) / scale.square()
        posterior = condition(times.double(), values, mask, noise, self._mix, rate)
        return posterior, scale, *posterior.at(query_times.double())

    def _rate_and_scale(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        length = self.log_length.to(dtype).clamp(-_LIMIT, _LIMIT)
        scale = self.log_scale.to(dtype).clamp(-_LIMIT, _LIMIT).exp()
        return self._mix.per_channel("rate", length) * torch.exp(-length), scale

    def _check(self, times: Tensor, residuals: Tensor, mask: Tensor) -> None:
        B, N, D = mask.shape
        if len(self.kernels) != D or times.shape != (B, N) or residuals.shape[1:] != mask.shape:
            raise ValueError(
                "times must be (B, N), residuals (S, B, N, D) and mask (B, N, D) "
                f"with D = {len(self.kernels)}; they are "
                f"{tuple(times.shape)}, {tuple(residuals.shape)} and {tuple(mask.shape)}"
            )
        if mask.dtype != torch.bool:
            raise TypeError(f"mask must be boolean, not {mask.dtype}")


def _per_entry(
    observed: Observed, rate: Tensor, scale: Tensor, noise: Tensor, shape: tuple[int, int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Lag, noise variance and 1 / scale of every packed entry, in units of the process."""
    shared = noise.ndim < 2  # over series and times
    inverse = scale.reciprocal()
    variance = inverse.square() * noise if shared else inverse.square()
    of_chain = torch.stack([rate, variance, inverse]).index_select(1, observed.chains % shape[-1])
    by_rate, variance, inverse = of_chain.index_select(1, observed.row).unbind()
    if not shared:
        variance = variance * noise.expand(shape).flatten().gather(0, observed.entry)
    return observed.gap.to(rate.dtype) * by_rate, variance, inverse


def _log(name: str, value: float | Sequence[float], n_channels: int) -> Tensor:
    # On the CPU also where modules are made without memory, on the meta device: the numbers are looked at.
    given = torch.as_tensor(value, dtype=torch.get_default_dtype(), device="cpu")
    if given.ndim > 1 or (given.ndim == 1 and len(given) != n_channels) or not bool((given > 0).all()):
        raise ValueError(
            f"{name} must be positive, one number or one for each of {n_channels} channels, not {value}"
        )
    return given.expand(n_channels).log().clone()
