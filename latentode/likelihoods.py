"""From the latent state to what is observed: a decoder and an observation model per channel."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentode.nn import MLP
from latentode.noise import LAWS, N_NODES, Gaussian, Laplace, Nodes, NoiseLaw, StudentT

__all__ = ["SCALES", "Decoded", "GaussianLikelihood", "Likelihood"]

# Where a channel's noise scale comes from.
SCALES = ("learned", "predicted")

# Degrees of freedom that training starts from, and what they stay above: at 2 the variance is infinite.
INITIAL_FREEDOM, LEAST_FREEDOM = 6.0, 2.1

# A predicted scale is the learned one times exp of something between -3 and 3, 1/20 to 20.
MOST_OFFSET = 3.0


class Decoded(NamedTuple):
    """What a latent state says of the channels: mean (..., D), and what is added to their log scale or None."""

    mean: Tensor
    offset: Tensor | None


class Likelihood(nn.Module):
    r"""x_d = g_d(z) + sigma_d e: an MLP decoder g, and noise of a law and scale for each channel.

        gaussian    e ~ Normal(0, 1)
        student_t   e ~ Student's t, its degrees of freedom (above 2) learned for each channel
        laplace     e ~ Laplace of variance 1

    sigma_d is learned; with `noise_scale="predicted"` it is the learned one times exp(h_d(z)), where h is as
    many more outputs of the decoder, between -3 and 3 and 0 at the start.

    Args:
        noise: a law for all channels or one for each.
        min_noise: floor of sigma, in scaled units. Without it a channel that is nearly constant drives
            its noise to zero and its likelihood to infinity, at every other channel's expense.
        shortcut: adds a linear path to the decoder.

    Shapes:
        z (..., L) -> mean (..., D), offset h (..., D) or None; scale (D,) or (..., D).

    Raises:
        ValueError: for an unknown law or scale, or another number of laws than channels.
    """

    def __init__(
        self,
        latent_dim: int,
        n_channels: int,
        hidden_units: Sequence[int] = (32,),
        *,
        noise: str | Sequence[str] = "gaussian",
        noise_scale: str = "learned",
        initial_noise: float = 0.3,
        min_noise: float = 1e-3,
        shortcut: bool = True,
    ) -> None:
        super().__init__()
        if not 0 < min_noise < initial_noise:
            raise ValueError(f"need 0 < min_noise < initial_noise; got {min_noise} and {initial_noise}")
        laws = (noise,) * n_channels if isinstance(noise, str) else tuple(noise)
        if len(laws) != n_channels:
            raise ValueError(
                f"{len(laws)} noise laws for {n_channels} channels; give one for all or one for each"
            )
        for law in laws:
            if law not in LAWS:
                raise ValueError(f"noise must be one of {', '.join(map(repr, LAWS))}; got {law!r}")
        if noise_scale not in SCALES:
            raise ValueError(
                f"noise_scale must be one of {', '.join(map(repr, SCALES))}; got {noise_scale!r}"
            )
        self.n_channels, self.laws, self.noise_scale = n_channels, laws, noise_scale
        predicted = noise_scale == "predicted"
        n_outputs = 2 * n_channels if predicted else n_channels
        self.decoder = MLP(latent_dim, hidden_units, n_outputs, shortcut=shortcut)
        if predicted:
            with torch.no_grad():
                self.decoder.weights[-1][n_channels:].zero_()
                self.decoder.biases[-1][n_channels:].zero_()
        self.min_noise = min_noise
        # softplus(raw) + floor is the scale.
        self.raw_noise = nn.Parameter(torch.full((n_channels,), _before_softplus(initial_noise - min_noise)))
        n_student = laws.count("student_t")
        if n_student:
            raw = _before_softplus(INITIAL_FREEDOM - LEAST_FREEDOM)
            self.raw_freedom = nn.Parameter(torch.full((n_student,), raw))

    def extra_repr(self) -> str:
        return f"{', '.join(self.laws)}; scale {self.noise_scale}"

    @property
    def is_gaussian(self) -> bool:
        """Whether all channels have normal noise."""
        return all(law == "gaussian" for law in self.laws)

    @property
    def scale_parameters(self) -> list[nn.Parameter]:
        """What says how large and how heavy-tailed the noise is: learned at a rate of its own."""
        return [self.raw_noise, self.raw_freedom] if "student_t" in self.laws else [self.raw_noise]

    @property
    def freedom(self) -> Tensor:
        """Degrees of freedom of the channels with Student's t."""
        return LEAST_FREEDOM + F.softplus(self.raw_freedom)

    @property
    def noise_variance(self) -> Tensor:
        """Variance of the noise of each channel, at its learned scale, in squared scaled units: (D,)."""
        return self.variance()

    def variance(self, offset: Tensor | None = None) -> Tensor:
        """Variance of the noise, in squared scaled units: (D,), or the offset's (..., D)."""
        variance = self.scale(offset).square()
        if self.is_gaussian:
            return variance
        of_law = torch.ones_like(variance)
        for law, channels in self._by_law():
            of_law[channels] = law.variance
        return variance * of_law

    def decode(self, z: Tensor) -> Decoded:
        """E[x | z] and the offset of the log scale: (..., L) -> (..., D) each, None where it is learned alone."""
        found = self.decoder(z)
        if self.noise_scale == "learned":
            return Decoded(found, None)
        mean, raw = found.split(self.n_channels, -1)
        return Decoded(mean, MOST_OFFSET * torch.tanh(raw / MOST_OFFSET))

    def mean(self, z: Tensor) -> Tensor:
        """E[x | z]: (..., L) -> (..., D)."""
        return self.decode(z).mean

    def scale(self, offset: Tensor | None = None) -> Tensor:
        """Sigma, in scaled units: (D,), or the offset's (..., D)."""
        learned = F.softplus(self.raw_noise)
        return self.min_noise + (learned if offset is None else learned * torch.exp(offset))

    def log_prob(self, residuals: Tensor, mask: Tensor, scale: Tensor | None = None) -> Tensor:
        """Log p(x | z) of each observed entry, 0 elsewhere.

        Shapes:
            residuals x - g(z) (..., D), mask broadcastable to them, scale (D,) or (..., D) -> (..., D).
        """
        scale = self.scale() if scale is None else scale
        if self.is_gaussian:
            variance = scale.square()
            return -0.5 * (residuals.square() / variance + torch.log(2 * math.pi * variance)) * mask
        density = self._per_channel(lambda law, e: law.log_prob(e), residuals / scale)
        return (density - torch.log(scale)) * mask

    def log_likelihood(self, residuals: Tensor, mask: Tensor, offset: Tensor | None = None) -> Tensor:
        r"""The sum of `log_prob` over rows and channels; of normal noise of one scale, with fewer passes:

            -1/2 sum_d [ sum_n r_nd^2 / sigma_d^2 + count_d log(2 pi sigma_d^2) ]

        Shapes:
            residuals (S, B, N, D), 0 where mask (B, N, D) is false, offset of their shape or None -> (S, B).
        """
        if offset is not None or not self.is_gaussian:
            return self.log_prob(residuals, mask, self.scale(offset)).sum((-1, -2))
        variance = self.noise_variance
        squares, counts = residuals.square().sum(-2), mask.view(torch.uint8).to(variance.dtype).sum(-2)
        return -0.5 * (squares @ variance.reciprocal() + counts @ torch.log(2 * math.pi * variance))

    def weight(self, square: Tensor) -> Tensor:
        """`NoiseLaw.weight` of each channel: E[(noise / scale)^2] (..., D) -> (..., D)."""
        return self._per_channel(lambda law, e: law.weight(e), square)

    def nodes(self) -> Nodes | None:
        """The noise of unit scale as a mixture of normals, (J, D) each; None where it is one normal."""
        if self.is_gaussian:
            return None
        variance = self.raw_noise.new_empty(N_NODES, self.n_channels)
        share = torch.empty_like(variance)
        for law, channels in self._by_law():
            variance[:, channels], share[:, channels] = law.nodes(variance)
        return Nodes(variance, share)

    def draw_variance(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Variances of the noise of unit scale, one for each measurement: shape (..., D)."""
        drawn = np.empty((*shape, self.n_channels))
        for law, channels in self._by_law():
            drawn[..., channels] = law.draw(generator, (*shape, len(channels)))
        return drawn

    def _by_law(self) -> list[tuple[NoiseLaw, list[int]]]:
        found: list[tuple[NoiseLaw, list[int]]] = []
        for name in LAWS:
            channels = [number for number, law in enumerate(self.laws) if law == name]
            if channels:
                law = {"gaussian": Gaussian, "laplace": Laplace}.get(name, lambda: StudentT(self.freedom))()
                found.append((law, channels))
        return found

    def _per_channel(self, compute: Callable[[NoiseLaw, Tensor], Tensor], values: Tensor) -> Tensor:
        by_law = self._by_law()
        if len(by_law) == 1:
            return compute(by_law[0][0], values)
        parts = [compute(law, values[..., channels]) for law, channels in by_law]
        order = [channel for _, channels in by_law for channel in channels]
        return torch.cat(parts, -1)[..., np.argsort(order).tolist()]


class GaussianLikelihood(Likelihood):
    r"""p(x_d | z) = Normal(g_d(z), sigma_d^2): a `Likelihood` of normal noise, its scale learned.

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
        shortcut: bool = True,
    ) -> None:
        super().__init__(
            latent_dim,
            n_channels,
            hidden_units,
            initial_noise=initial_noise,
            min_noise=min_noise,
            shortcut=shortcut,
        )


def _before_softplus(value: float) -> float:
    return math.log(math.expm1(value))
