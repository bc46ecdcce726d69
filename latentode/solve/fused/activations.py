r"""Activations as act(x) = outer phi(inner x) + shift, so that act'(x) = outer inner phi'(inner x).

The layers' weights absorb the three constants; what is left to compute is phi and its slope phi'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["ACTIVATIONS", "Activation"]


@dataclass(frozen=True)
class Activation:
    """phi, its slope and the three constants.

    value(argument, out=) writes phi and slope(argument, value, out=) writes phi'. Unless `keeps_argument`,
    phi's value takes its argument's place in memory and the slope comes from the value alone.
    """

    value: Callable[..., Tensor]
    slope: Callable[..., Tensor]
    keeps_argument: bool = False
    inner: float = 1.0
    outer: float = 1.0
    shift: float = 0.0


def _logistic_slope(_: Tensor, value: Tensor, *, out: Tensor) -> Tensor:
    """Slope phi (1 - phi)."""
    return torch.addcmul(value, value, value, value=-1, out=out)


def _silu_slope(argument: Tensor, value: Tensor, *, out: Tensor) -> Tensor:
    """Slope sigma + phi (1 - sigma), with sigma the logistic function of the argument."""
    return torch.sigmoid(argument, out=out).lerp_(value.new_ones(()), value)


def _softplus_slope(_: Tensor, value: Tensor, *, out: Tensor) -> Tensor:
    """Slope 1 - exp(-phi)."""
    return torch.neg(value, out=out).exp_().neg_().add_(1)


def _elu_slope(_: Tensor, value: Tensor, *, out: Tensor) -> Tensor:
    """Slope 1 + min(phi, 0)."""
    return torch.clamp(value, max=0, out=out).add_(1)


ACTIVATIONS = {
    # tanh x = 2 sigmoid(2x) - 1. On a CPU torch's sigmoid costs a third of its tanh, which was the largest
    # part of a solve.
    "tanh": Activation(torch.sigmoid, _logistic_slope, inner=2.0, outer=2.0, shift=-1.0),
    "silu": Activation(torch.ops.aten.silu.out, _silu_slope, keeps_argument=True),
    "softplus": Activation(torch.ops.aten.softplus.out, _softplus_slope),
    "elu": Activation(torch.ops.aten.elu.out, _elu_slope),
}
