"""A solution that can be read at any time: cubic Hermite interpolation between the knots."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from latentode.solve.integrate import Field, integrate
from latentode.solve.solver import MAX_KNOTS, Solver

__all__ = ["Trajectory", "solve", "step_doubling_error"]


@dataclass(frozen=True)
class Trajectory:
    r"""z(t) for M initial states, from the states and slopes at shared knots.

    Between the knots t_k and t_{k+1} = t_k + h, with u = (t - t_k) / h,

        z(t) = (1 + 2u)(1 - u)^2 z_k + u^2 (3 - 2u) z_{k+1} + h u (1 - u)^2 f_k - h u^2 (1 - u) f_{k+1},

    of fourth order in h, as the rk4 steps themselves are. Reading costs the same however many
    distinct times are asked for.

    Shapes:
        states, slopes (K + 1, M, L); `start` is the time of the first knot.
    """

    states: Tensor
    slopes: Tensor
    start: float
    spacing: float

    def at(self, times: Tensor) -> Tensor:
        """Z at each state's own times, which must lie between the first knot and the last.

        Shapes:
            times (B, N), where M = S * B and states lie sample by sample -> (S, B, N, L).
        """
        n_knots, n_states, n_latent = self.states.shape
        n_series = times.shape[0]
        n_samples = n_states // n_series
        position = (times - self.start) / self.spacing
        left = position.detach().floor().clamp(0, max(0, n_knots - 2)).to(torch.int64)
        u = (position - left).unsqueeze(-1)
        right = (left + 1).clamp(max=n_knots - 1)

        knots = torch.cat([self.states, self.spacing * self.slopes], dim=-1)
        knots = knots.view(n_knots, n_samples, n_series, 2 * n_latent).permute(2, 0, 1, 3)
        knots = knots.reshape(n_series * n_knots, n_samples * 2 * n_latent)
        first = torch.arange(n_series, device=times.device).unsqueeze(1) * n_knots
        shape = (n_series, times.shape[1], n_samples, 2 * n_latent)
        low = knots.index_select(0, (first + left).flatten()).view(shape)
        high = knots.index_select(0, (first + right).flatten()).view(shape)

        u = u.unsqueeze(-1)
        v = 1 - u
        z = (
            (1 + 2 * u) * v * v * low[..., :n_latent]
            + u * u * (3 - 2 * u) * high[..., :n_latent]
            + u * v * (v * low[..., n_latent:] - u * high[..., n_latent:])
        )
        return z.permute(2, 0, 1, 3)


def solve(field: Field, z0: Tensor, earliest: float, latest: float, solver: Solver) -> Trajectory:
    """One solve from z(0) = z0 that covers every time from `earliest` to `latest`.

    Times before 0 are reached by solving backwards. The knots are multiples of the solver's spacing,
    so that what else is in a batch moves none of them.

    Shapes:
        z0 (M, L).

    Raises:
        ValueError: where the span would take more than MAX_KNOTS knots.
    """
    spacing = solver.spacing
    n_forward = max(1, math.ceil(max(0.0, latest) / spacing - 1e-6))
    n_backward = math.ceil(max(0.0, -earliest) / spacing - 1e-6)
    if n_forward + n_backward > MAX_KNOTS:
        raise ValueError(
            f"times from {earliest:.3g} to {latest:.3g} in model time take {n_forward + n_backward} knots of "
            f"spacing {spacing:.3g}, more than {MAX_KNOTS}: are they in the units the model was fitted with?"
        )
    states, slopes = integrate(field, z0, spacing=spacing, n_steps=n_forward, solver=solver)
    if n_backward:
        past_states, past_slopes = integrate(field, z0, spacing=-spacing, n_steps=n_backward, solver=solver)
        states = torch.cat([past_states[1:].flip(0), states])
        slopes = torch.cat([past_slopes[1:].flip(0), slopes])
    return Trajectory(states, slopes, start=-n_backward * spacing, spacing=spacing)


@torch.no_grad()
def step_doubling_error(field: Field, z0: Tensor, earliest: float, latest: float, solver: Solver) -> float:
    """Relative error of a fixed-step solve, from the same solve at half the spacing.

    The largest root mean square difference at any knot of the finer solve, half of which are read off the
    coarser one's interpolant, over the root mean square of all states.

    Shapes:
        z0 (M, L), standing at time 0; the solves cover the times from `earliest` to `latest`.
    """
    coarse = solve(field, z0, earliest, latest, solver)
    fine = solve(field, z0, earliest, latest, replace(solver, spacing=solver.spacing / 2))
    # Both have a knot at 0; on either side of it every second fine knot is a coarse one, or may lack the last.
    offset = round(-fine.start / fine.spacing) - 2 * round(-coarse.start / coarse.spacing)
    n_knots = 2 * len(coarse.states) - 1
    read = coarse.states.new_empty(n_knots, *z0.shape)
    read[::2] = coarse.states
    states, slopes = coarse.states, coarse.spacing * coarse.slopes
    read[1::2] = (states[:-1] + states[1:]) / 2 + (slopes[:-1] - slopes[1:]) / 8  # Hermite's middle
    places = offset + torch.arange(n_knots, device=z0.device)
    common = (places >= 0) & (places < len(fine.states))
    difference = read[common] - fine.states[places[common]]
    scale = fine.states.square().mean().sqrt().clamp(min=torch.finfo(z0.dtype).tiny)
    return float(difference.square().mean((1, 2)).sqrt().max() / scale)
