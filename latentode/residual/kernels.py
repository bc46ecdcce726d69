"""The laws a residual can follow, in units of its own scale and length."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["FORGOTTEN", "KERNELS", "Kernel"]

# (1 + 40) exp(-40) < 2e-16: past this lag nothing is remembered, in float64 either.
FORGOTTEN = 40.0
# Under this lag Q_xx, which is O(lag^3), is summed as a series.
_SHORT = 0.5


@dataclass(frozen=True)
class Kernel:
    r"""A linear stochastic differential equation of a state (x, w), whose x is the residual.

        d(x, w) = drift (x, w) da + diag(diffusion)^(1/2) dW,     a = rate * gap / length
        (x, w)(a) given (x, w)(0) ~ Normal(Phi(a) (x, w)(0), Q(a))

    At the first observation x has variance 1, w has the variance `velocity`, and they are independent.

    Attributes:
        transition: lags (T,) >= 0 -> Phi (2, 2, T) and Q (3, T), its rows Q_xx, Q_xw, Q_ww.
        wander: variance of x gained per unit of lag once the rest is forgotten; above 0 x has no
            stationary law, and is tied to the first observation instead.
    """

    rate: float
    drift: tuple[tuple[float, float], tuple[float, float]]
    diffusion: tuple[float, float]
    velocity: float
    wander: float
    transition: Callable[[Tensor], tuple[Tensor, Tensor]]


def _ou(lag: Tensor) -> tuple[Tensor, Tensor]:
    """Phi_xx = exp(-a), Q_xx = 1 - exp(-2 a); w is 0."""
    phi, process = lag.new_zeros(2, 2, *lag.shape), lag.new_zeros(3, *lag.shape)
    torch.exp(-lag, out=phi[0, 0])
    phi[1, 1] = 1.0
    torch.expm1(-2 * lag, out=process[0]).neg_()
    return phi, process


def _matern32(lag: Tensor) -> tuple[Tensor, Tensor]:
    """Phi = exp(-a) ((1 + a, a), (-a, 1 - a)), Q = I - Phi Phi^T; w is dx/da."""
    lag = lag.clamp(max=FORGOTTEN)  # inf * exp(-inf)
    phi, process = lag.new_empty(2, 2, *lag.shape), lag.new_empty(3, *lag.shape)
    decay = torch.exp(-lag)
    torch.mul(decay, lag, out=phi[0, 1])
    torch.neg(phi[0, 1], out=phi[1, 0])
    torch.add(decay, phi[0, 1], out=phi[0, 0])
    torch.sub(decay, phi[0, 1], out=phi[1, 1])
    torch.mul(phi[0, 1], phi[0, 1], out=process[1]).mul_(2)
    lost = torch.expm1(-2 * lag).neg_()
    torch.addcmul(lost, phi[0, 1], phi[1, 1], value=2, out=process[2])
    # 1 - exp(-x) (1 + x + x^2/2) = exp(-x) (x^3/6) (1 + x/4 (1 + x/5 (1 + ...))), x = 2 a
    short = 2 * lag.clamp(max=_SHORT)
    one, series = short.new_ones(()), torch.ones_like(short)
    for k in range(_terms(lag.dtype), 3, -1):
        torch.addcmul(one, series, short, value=1 / k, out=series)
    decay.mul_(short)
    series.mul_(decay).mul_(decay).mul_(short).mul_(1 / 6)
    process[0] = _choose(lag, series, lost.addcmul_(phi[0, 1], phi[0, 0], value=-2))
    return phi, process


def _iou(lag: Tensor) -> tuple[Tensor, Tensor]:
    """Phi = ((1, 1 - exp(-a)), (0, exp(-a))); w is an OU process, x its integral."""
    phi, process = lag.new_zeros(2, 2, *lag.shape), lag.new_empty(3, *lag.shape)
    gone = torch.expm1(-lag).neg_()
    phi[0, 0] = 1.0
    phi[0, 1] = gone
    torch.exp(-lag, out=phi[1, 1])
    torch.mul(gone, gone, out=process[1])
    torch.sub(2 * gone, process[1], out=process[2])
    # 2 (a - u) - u^2 with u = 1 - exp(-a) is the sum over k >= 3 of (-1)^(k+1) (2^k - 4) a^k / k!
    short = lag.clamp(max=_SHORT)
    series = torch.zeros_like(short)
    for k in range(_terms(lag.dtype), 2, -1):
        series.mul_(short).add_((-1) ** (k + 1) * (2**k - 4) / math.factorial(k))
    series.mul_(short).mul_(short).mul_(short)
    process[0] = _choose(lag, series, (lag - gone).mul_(2).sub_(process[1]))
    return phi, process


def _terms(dtype: torch.dtype) -> int:
    # The first term left out is under the dtype's rounding at the lag _SHORT.
    return 20 if dtype == torch.float64 else 11


def _choose(lag: Tensor, series: Tensor, closed: Tensor) -> Tensor:
    # torch.where is an order of magnitude slower on a CPU
    return torch.lerp(closed, series, (lag < _SHORT).to(lag.dtype))


KERNELS = {
    "ou": Kernel(1.0, ((-1.0, 0.0), (0.0, 0.0)), (2.0, 0.0), 0.0, 0.0, _ou),
    "matern32": Kernel(math.sqrt(3.0), ((0.0, 1.0), (-1.0, -2.0)), (0.0, 4.0), 1.0, 0.0, _matern32),
    "iou": Kernel(1.0, ((0.0, 1.0), (0.0, -1.0)), (0.0, 2.0), 1.0, 2.0, _iou),
}
