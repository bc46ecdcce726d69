"""From the latent state to what is observed: a decoder and an observation model per channel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentode.nn import MLP

__all__ = ["GaussianLikelihood"]


class GaussianLikelihood(nn.Module):
    r"""p(x_d | z) = Normal(g_d(z), sigma_d^2): an MLP decoder g and a learned noise per channel.

    Args:
        min_noise: floor of sigma, in scaled units. Without it a channel that is nearly constant drives
            its noise to zero and its likelihood to infinity, at every other channel's expense.

    Shapes:
        z (..., L) -> mean (..., D); noise_variance (D,).
    """

    def __init__(
        self,
        latent_dim: int,
        n_channels: int,
        hidden_units: Sequence[int] = (32,),
        *,
        initial_noise: float = 0.3,
        min_noise: float = 1e-3,
    ) -> None:
        super().__init__()
        if not 0 < min_noise < initial_noise:
            raise ValueError(f"need 0 < min_noise < initial_noise; got {min_noise} and {initial_noise}")
        self.n_channels = n_channels
        self.decoder = MLP(latent_dim, hidden_units, n_channels)
        self.min_noise = min_noise
        # softplus(raw) + floor is the standard deviation.
        raw = math.log(math.expm1(initial_noise - min_noise))
        self.raw_noise = nn.Parameter(torch.full((n_channels,), raw))

    @property
    def noise_variance(self) -> Tensor:
        """sigma^2 of each channel, in squared scaled units: (D,)."""
        return (self.min_noise + F.softplus(self.raw_noise)).square()

    def mean(self, z: Tensor) -> Tensor:
        """E[x | z]: (..., L) -> (..., D)."""
        return self.decoder(z)

    def log_prob(self, residuals: Tensor, mask: Tensor) -> Tensor:
        """Log p(x | z) of each observed entry, 0 elsewhere.

        Shapes:
            residuals x - g(z) (..., D), mask broadcastable to them -> (..., D).
        """
        variance = self.noise_variance
        density = -0.5 * (residuals.square() / variance + torch.log(2 * math.pi * variance))
        return density * mask

    def log_likelihood(self, residuals: Tensor, mask: Tensor) -> Tensor:
        r"""The sum of `log_prob` over rows and channels, with fewer passes over what may be large.

            -1/2 sum_d [ sum_n r_nd^2 / sigma_d^2 + count_d log(2 pi sigma_d^2) ]

        Shapes:
            residuals (S, B, N, D), 0 where mask (B, N, D) is false -> (S, B).
        """
        variance = self.noise_variance
        squares, counts = residuals.square().sum(-2), mask.view(torch.uint8).to(variance.dtype).sum(-2)
        return -0.5 * (squares @ variance.reciprocal() + counts @ torch.log(2 * math.pi * variance))
