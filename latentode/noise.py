"""Laws of observation noise: normal, and two with heavier tails that are normals of random variance."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["LAWS", "N_NODES", "Gaussian", "Laplace", "Nodes", "NoiseLaw", "StudentT"]

LAWS = ("gaussian", "student_t", "laplace")

# Normals behind a heavy-tailed density: its distribution function errs by less than 1e-3 anywhere, and by
# less than 3e-4 from 2.5 degrees of freedom on.
N_NODES = 12

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Nodes(NamedTuple):
    """A law as a mixture of J normals around 0: their variances and their shares, (J, D) each."""

    variance: Tensor
    share: Tensor


class NoiseLaw(ABC):
    r"""The law of e = noise / scale, a normal whose variance is drawn anew each time: e | v ~ Normal(0, v).

    Source: Andrews & Mallows 1974, "Scale mixtures of normal distributions".
    """

    @property
    @abstractmethod
    def variance(self) -> Tensor | float:
        """E[v]: a number, or one for each channel (D,)."""

    @abstractmethod
    def log_prob(self, e: Tensor) -> Tensor:
        """Log p(e), for each channel in the last dimension."""

    @abstractmethod
    def weight(self, square: Tensor) -> Tensor:
        """-2 d log p / d(e^2) = E[1 / v | e], from e^2: what a value counts beside a normal one."""

    @abstractmethod
    def nodes(self, like: Tensor) -> Nodes:
        """The mixture as a quadrature of N_NODES normals; (J, 1) where channels don't differ."""

    @abstractmethod
    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Variances v, for each channel in the last dimension."""


@dataclass(frozen=True)
class Gaussian(NoiseLaw):
    """Always the same variance."""

    @property
    def variance(self) -> float:
        return 1.0

    def log_prob(self, e: Tensor) -> Tensor:
        return -0.5 * e.square() - _HALF_LOG_2PI

    def weight(self, square: Tensor) -> Tensor:
        return torch.ones_like(square)

    def nodes(self, like: Tensor) -> Nodes:
        # Alike, none of share 0: its logarithm is taken.
        share = like.new_full((N_NODES, 1), 1 / N_NODES)
        return Nodes(torch.ones_like(share), share)

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:  # noqa: ARG002
        return np.ones(shape)


@dataclass(frozen=True)
class StudentT(NoiseLaw):
    r"""1 / v ~ Gamma(nu / 2, nu / 2): Student's t of nu > 2 degrees of freedom.

    Attributes:
        freedom: nu of each channel, (D,).
    """

    freedom: Tensor

    # The quadrature is even in log 1 / v, down to where this share of v is larger and to where a value of
    # this many scales has its weight, and up to the last four sigmas in the normal approximation of
    # Wilson and Hilferty.
    _MASS, _REACH, _UPPER = 1e-5, 30.0, 3.7

    @property
    def variance(self) -> Tensor:
        return self.freedom / (self.freedom - 2)

    def log_prob(self, e: Tensor) -> Tensor:
        nu = self.freedom
        constant = torch.lgamma((nu + 1) / 2) - torch.lgamma(nu / 2) - 0.5 * torch.log(math.pi * nu)
        return constant - (nu + 1) / 2 * torch.log1p(e.square() / nu)

    def weight(self, square: Tensor) -> Tensor:
        return (self.freedom + 1) / (self.freedom + square)

    def nodes(self, like: Tensor) -> Nodes:
        nu = self.freedom.detach().double()
        a = nu / 2

        def quantile(z: float) -> Tensor:
            return 3 * torch.log((1 - 1 / (9 * a) + z / (3 * a.sqrt())).clamp(min=1e-9))

        # P(1 / v < x) <= (a x)^a / Gamma(a + 1), and about as much where a is small.
        small = (math.log(self._MASS) + torch.lgamma(a + 1)) / a - torch.log(a)
        z = float(torch.special.ndtri(torch.tensor(self._MASS, dtype=torch.float64)))
        low = torch.minimum(torch.maximum(small, quantile(z)), torch.log((nu + 1) / self._REACH**2))
        high = quantile(self._UPPER)
        place = torch.linspace(0, 1, N_NODES, dtype=torch.float64, device=nu.device).unsqueeze(1)
        log_precision = low + (high - low) * place
        # Where the nodes stand is held, what they weigh has its gradient.
        share = torch.softmax(self.freedom.double() / 2 * (log_precision - log_precision.exp()), 0)
        return Nodes(torch.exp(-log_precision).to(like), share.to(like))

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        half = self.freedom.detach().double().cpu().numpy() / 2
        return half / generator.standard_gamma(half, shape)


@dataclass(frozen=True)
class Laplace(NoiseLaw):
    r"""V ~ Exponential(1): p(e) = exp(-sqrt(2) |e|) / sqrt(2), of variance 1."""

    # Where e is 0 the weight is infinite.
    _LEAST_SQUARE = 1e-4

    # Midpoints in v^(1/4) up to v = 25: dense towards 0, where the density has its peak.
    _ROOT, _MOST = 4, 25.0

    @property
    def variance(self) -> float:
        return 1.0

    def log_prob(self, e: Tensor) -> Tensor:
        return -math.sqrt(2) * e.abs() - 0.5 * math.log(2)

    def weight(self, square: Tensor) -> Tensor:
        return math.sqrt(2) * square.clamp(min=self._LEAST_SQUARE).rsqrt()

    def nodes(self, like: Tensor) -> Nodes:
        k = self._ROOT
        root = (
            (torch.arange(N_NODES, dtype=torch.float64).unsqueeze(1) + 0.5) / N_NODES * self._MOST ** (1 / k)
        )
        share = root ** (k - 1) * torch.exp(-(root**k))
        return Nodes((root**k).to(like), (share / share.sum()).to(like))

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return generator.standard_exponential(shape)
