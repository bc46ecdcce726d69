"""A solution that can be read at any time: Hermite interpolation between the knots."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from latentode.solve.integrate import Field, integrate
from latentode.solve.solver import MAX_KNOTS, Solver

__all__ = ["Trajectory", "solve", "step_doubling_error"]


# Three knots carry the interpolant.
_FEWEST_STEPS = 2

# Where a gradient is wanted and the knots are this few, all of them times a matrix of weights are read faster
# than those that count are fetched.
_FEW_KNOTS = 32


@dataclass(frozen=True)
class Trajectory:
    r"""z(t) for M initial states, from the states z_k and slopes f_k at shared knots t_k, h apart.

    Between two knots z(t) is the polynomial of fifth degree that passes with the right slope through three:
    the two, and the next one on the side of time 0 (between 0 and its neighbours, the next one outwards).
    With x = (t - t_k) / h counted from the middle one,

        z(t) = sum_i w_i(x) z_{k+i} + h v_i(x) f_{k+i},    i = -1, 0, 1
        w_0 = (1 - x^2)^2,    w_{+-1} = x^2 (4 +- 5x - 2x^2 -+ 3x^3) / 4
        v_0 = x (1 - x^2)^2,    v_{+-1} = x^2 (x^2 - 1) (x +- 1) / 4

    which errs by h^6 max|z^(6)| / 4860 at most: less than the steps do. Which knots are read depends on t alone,
    not on where the solve ends. Reading costs the same however many distinct times are asked for.

    Shapes:
        states, slopes (K + 1, M, L), with at least two steps on a side of t = 0 that has any; `start` is the time of
        the first knot, a multiple of `spacing`.
    Source: Hairer, Norsett, Wanner, "Solving Ordinary Differential Equations I", section II.6.
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
        n_series, n_times = times.shape
        n_samples = n_states // n_series
        rows, weights = self._reading(times)
        # Of each series a table of all it has at the knots: states, and below them slopes.
        table = torch.cat([self.states, self.slopes]).view(2 * n_knots, n_samples, n_series, n_latent)
        table = table.permute(2, 0, 1, 3).reshape(n_series, 2 * n_knots, n_samples * n_latent)
        if n_knots <= _FEW_KNOTS and table.requires_grad:
            matrix = weights.new_zeros(n_series, 2 * n_knots, n_times).scatter(1, rows, weights)
            # Wide times narrow: several times as fast as the other way round.
            z = torch.bmm(table.transpose(1, 2), matrix).transpose(1, 2).contiguous()
        else:
            table = table.flatten(0, 1)
            rows = rows + 2 * n_knots * torch.arange(n_series, device=times.device).view(-1, 1, 1)
            z = table.new_zeros(n_series * n_times, table.shape[1])
            # One after another, so that the companions in a batch move not even the last bit.
            for row, weight in zip(rows.unbind(1), weights.unbind(1), strict=True):
                z = torch.addcmul(z, table.index_select(0, row.flatten()), weight.flatten().unsqueeze(1))
        return z.view(n_series, n_times, n_samples, n_latent).permute(2, 0, 1, 3)

    def _reading(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of the table and their weights: (B, 6, N) each."""
        n_knots, h = len(self.states), self.spacing
        position = (times - self.start) / h
        left = position.detach().floor().clamp_(0, n_knots - 2)
        zero = round(-self.start / h)
        if zero:
            middle = torch.where(left >= zero, left.clamp(min=zero + 1), (left + 1).clamp(max=zero - 1))
        else:
            middle = left.clamp_(min=1)
        x = position - middle
        y = x * x
        out, rest = y - 1, y * (0.25 * (y - 1))
        even, odd = y * (1 - 0.5 * y), x * y * (1.25 - 0.75 * y)
        inner = out * out
        parts = [even - odd, inner, even + odd, h * rest * (x - 1), h * x * inner, h * rest * (x + 1)]
        row = middle.to(torch.int64)
        rows = [row - 1, row, row + 1, row + n_knots - 1, row + n_knots, row + n_knots + 1]
        return torch.stack(rows, 1), torch.stack(parts, 1)


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
    n_backward = _n_steps(-earliest, spacing)
    n_forward = _n_steps(latest, spacing) if n_backward else max(_FEWEST_STEPS, _n_steps(latest, spacing))
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


def _n_steps(span: float, spacing: float) -> int:
    return max(_FEWEST_STEPS, math.ceil(span / spacing - 1e-6)) if span > 0 else 0


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
    # What the coarse solve says at the knots of the finer one that both cover.
    first, last = round(coarse.start / fine.spacing), round(fine.start / fine.spacing)
    n_common = min(first + 2 * (len(coarse.states) - 1), last + len(fine.states) - 1) - max(first, last) + 1
    places = max(first, last) + torch.arange(n_common, device=z0.device)
    read = coarse.at((fine.spacing * places).to(z0.dtype).unsqueeze(0)).squeeze(1).transpose(0, 1)
    difference = read - fine.states[places - last]
    scale = fine.states.square().mean().sqrt().clamp(min=torch.finfo(z0.dtype).tiny)
    return float(difference.square().mean((1, 2)).sqrt().max() / scale)
