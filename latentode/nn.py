"""The multilayer perceptron that the field, the posterior's head and the decoder are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ACTIVATIONS", "MLP"]


class _Tanh(torch.autograd.Function):
    """tanh x = 2 sigmoid(2x) - 1 in one new tensor: torch's tanh costs five times its sigmoid on a CPU."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.mul(x, 2).sigmoid_().mul_(2).sub_(1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:  # noqa: ARG004 - torch's signature
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return torch.ops.aten.tanh_backward(cotangent, y)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return tangent * (1 - y * y)


def _tanh(x: Tensor) -> Tensor:
    return torch.tanh(x) if x.is_cuda else _Tanh.apply(x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": _tanh,
    "silu": F.silu,
    "softplus": F.softplus,
    "elu": F.elu,
}


class MLP(nn.Module):
    r"""x -> W_n a(... a(W_1 x + b_1) ...) + b_n: an activation between the layers and none at the end.

    With no hidden units it is one linear layer. "tanh", "silu" and "softplus" are smooth, as the convergence order of
    the ODE solvers asks of a vector field; "elu" has a kink in its second derivative, and a solver whose trajectories
    cross it converges at third order at most. With `shortcut` a linear map of x is added to hidden layers, 0 at the
    start: what is nearly linear is then learned at once, and the layers are left with the rest.

    Shapes:
        (..., n_inputs) -> (..., n_outputs).

    Raises:
        ValueError: for an unknown activation.
    """

    def __init__(
        self,
        n_inputs: int,
        hidden_units: Sequence[int],
        n_outputs: int,
        *,
        activation: str = "tanh",
        shortcut: bool = False,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {sorted(ACTIVATIONS)}; got {activation!r}")
        self.activation = activation
        widths = [n_inputs, *hidden_units, n_outputs]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.shortcut = nn.Parameter(torch.zeros(n_outputs, n_inputs)) if shortcut and hidden_units else None

    @property
    def weights(self) -> list[Tensor]:
        """Weight matrices from the input to the output: (out, in) each."""
        return [layer.weight for layer in self.layers]  # type: ignore[misc]

    @property
    def biases(self) -> list[Tensor]:
        return [layer.bias for layer in self.layers]  # type: ignore[misc]

    def forward(self, x: Tensor) -> Tensor:
        activation = ACTIVATIONS[self.activation]
        *hidden, last = self.layers
        inputs = x
        for layer in hidden:
            x = activation(_apply(layer, x))
        found = _apply(last, x)
        return found if self.shortcut is None else found + F.linear(inputs, self.shortcut)


# A layer widens where it has so many times as many outputs as inputs.
_WIDENS = 4


def _apply(layer: nn.Module, x: Tensor) -> Tensor:
    """The layer of x; one that widens so laid out that autograd forms its weights' gradient as (in, out).

    Of many states a CPU forms a product of many rows and few columns several times as slowly.
    """
    weight: Tensor = layer.weight  # type: ignore[assignment]
    if x.is_cuda or weight.shape[0] < _WIDENS * weight.shape[1]:
        return layer(x)
    return F.linear(x, weight.t().contiguous().t(), layer.bias)  # type: ignore[arg-type]
