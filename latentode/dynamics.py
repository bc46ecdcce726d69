"""Vector fields f of the latent ODE dz/dt = f(z)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from latentode.nn import MLP

__all__ = ["MLPField"]

# What the first layer's weights are multiplied by where a field is to be nearly linear: at twice a unit from zero turns
# are then slower by about a hundredth.
NEAR_LINEAR = 0.15


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

    @torch.no_grad()
    def start_turning(self, speed: float, n_pairs: int = 1) -> None:
        """Sets the weights so that near zero pairs of components turn in circles, and others stand still.

        dz/dt is A z but for terms of third order in z, with A of a rotation at `speed` radians a unit of time in each
        of the first pairs and 0 elsewhere. The random weights of the hidden layers remain, those of the first made so
        small that 2 is near zero.

        Raises:
            ValueError: for an activation other than tanh, more pairs than there are, and hidden layers that are
                narrower than the state, through which no rotation goes.
        """
        weights, biases = self.mlp.weights, self.mlp.biases
        latent_dim = len(biases[-1])
        if self.mlp.activation != "tanh":
            raise ValueError(f"turns start from a field of tanh; got {self.mlp.activation!r}")
        if not 1 <= n_pairs <= latent_dim // 2:
            raise ValueError(f"{latent_dim} components have no {n_pairs} pairs")
        if any(len(bias) < latent_dim for bias in biases):
            raise ValueError(f"turns of {latent_dim} components don't go through a narrower layer")
        for bias in biases:
            bias.zero_()
        if len(weights) > 1:
            weights[0].mul_(NEAR_LINEAR)
        turning = torch.zeros(latent_dim, latent_dim, dtype=torch.float64)
        for first in range(0, 2 * n_pairs, 2):
            turning[first, first + 1], turning[first + 1, first] = -speed, speed
        hidden = torch.eye(latent_dim, dtype=torch.float64)
        for weight in weights[:-1]:
            hidden = weight.cpu().double() @ hidden
        weights[-1].copy_(turning @ torch.linalg.pinv(hidden))

    # The fused engine solves what `mlp` and `bound` say; a subclass with another forward is solved as it is.
    fusible_forward = forward
