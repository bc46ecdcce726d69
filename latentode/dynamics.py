"""Vector fields f of the latent ODE dz/dt = f(z)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from latentode.nn import MLP

__all__ = ["MLPField"]


class MLPField(nn.Module):
    r"""dz/dt = MLP(z), or bound * tanh(MLP(z) / bound): an autonomous neural vector field.

    The bound keeps every component of the velocity below `bound` latent units per unit of model
    time, so that a trajectory grows at most linearly however far it is continued. Near zero the
    bounded field is the plain one.

    Any `nn.Module` with the same call can stand in its place.

    Shapes:
        t (), z (..., L) -> dz/dt (..., L).

    Raises:
        ValueError: for a bound that is not positive, or an unknown activation.
    Source: Chen et al. 2018, "Neural Ordinary Differential Equations", section 5.
    """

    autonomous = True  # one call serves the states of all knots

    def __init__(
        self,
        latent_dim: int,
        hidden_units: Sequence[int] = (64, 64),
        *,
        activation: str = "tanh",
        bound: float | None = None,
    ) -> None:
        super().__init__()
        if bound is not None and not bound > 0:
            raise ValueError(f"bound must be positive or None; got {bound}")
        self.mlp = MLP(latent_dim, hidden_units, latent_dim, activation=activation)
        self.bound = bound

    def forward(self, t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG002 - autonomous: the clock is not read
        velocity = self.mlp(z)
        if self.bound is None:
            return velocity
        return self.bound * torch.tanh(velocity / self.bound)

    # The fused engine solves what `mlp` and `bound` say; a subclass with another forward is solved as it is.
    fusible_forward = forward
