"""What a vector field must be before a solver may trust it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["NonFiniteFieldError", "check_field"]


class NonFiniteFieldError(ValueError):
    """The field returned NaN or infinity."""


def check_field(field: Callable[[Tensor, Tensor], Tensor], z: Tensor, *, adjoint: bool) -> None:
    """Calls the field once at z and refuses one that no solve or no gradient can be right of.

    Args:
        adjoint: whether gradients are to come from the adjoint equation, which integrates dL/dtheta for the
            parameters it is told of and leaves those of all others at zero.

    Shapes:
        z (M, L): a few ordinary states.

    Raises:
        TypeError: where the answer is no tensor.
        ValueError: where it has another shape than z, is not finite, does not depend on z, or, with
            adjoint=True, depends on parameters that `field.parameters()` does not list.
    """
    z = z.detach().requires_grad_()
    with torch.enable_grad():
        velocity = field(torch.zeros((), device=z.device, dtype=z.dtype), z)
    if not isinstance(velocity, Tensor):
        raise TypeError(f"the field must return a tensor, dz/dt; got {type(velocity).__name__}")
    if velocity.shape != z.shape:
        raise ValueError(
            f"the field returned shape {tuple(velocity.shape)} for states of shape {tuple(z.shape)}; "
            "dz/dt must have the shape of z"
        )
    if not bool(torch.isfinite(velocity).all()):
        raise NonFiniteFieldError(
            "the field returned NaN or infinity at ordinary states; look for a division, logarithm or root "
            "in it, and at its initial weights"
        )
    leaves = _leaves(velocity)
    if not any(leaf is z for leaf in leaves):
        raise ValueError(
            "the field ignores its input: its output does not depend on z (is the state detached, or taken "
            "from elsewhere?); dz/dt = f(t, z) must be computed from the z it is given"
        )
    if adjoint:
        listed = {id(p) for p in field.parameters()} if isinstance(field, nn.Module) else set()
        hidden = [leaf for leaf in leaves if leaf is not z and id(leaf) not in listed]
        if hidden:
            raise ValueError(
                f"the field depends on {len(hidden)} tensors with gradients that are not among its parameters "
                f"(the first of shape {tuple(hidden[0].shape)}); the adjoint would leave their gradients at "
                "zero. Make them nn.Parameters of an nn.Module (nn.ParameterList or nn.ModuleList for lists), "
                "or use gradient='backprop'"
            )


def _leaves(output: Tensor) -> list[Tensor]:
    """The tensors whose gradients a backward pass from the output would reach."""
    found, seen, waiting = [], set(), [output.grad_fn]
    if output.grad_fn is None and output.requires_grad:
        return [output]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        waiting += [parent for parent, _ in node.next_functions]
    return found
