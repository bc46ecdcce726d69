r"""Explicit Runge-Kutta steps along a tape, and their exact discrete adjoint.

For a step of length h from the knot state y, with the coefficients of `tableaus`,

    u_j = y + h sum_{i<j} a_ji k_i,    k_j = f(u_j),    y' = y + h sum_j b_j k_j

the gradient of a loss goes from lambda' = dL/dy' to lambda = dL/dy by the transposed recursion

    c_j = h (b_j lambda' + sum_{i>j} a_ij v_i),    v_j = (df/du)(u_j)^T c_j,    lambda = lambda' + sum_j v_j

which is the derivative of what the forward pass computed, not a discretisation of the continuous
adjoint. Gradients of the loss with respect to knots' states join lambda, those with respect to their
slopes f(y) join c_1, since f(y) is a step's first stage.

Source: Hairer, Norsett, Wanner, "Solving Ordinary Differential Equations I", section II.1; Sanz-Serna 2016,
"Symplectic Runge-Kutta schemes for adjoint equations, automatic differentiation, optimal control, and more".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from latentode.solve.fused.field import FusedField, PullBack
from latentode.solve.fused.tape import Tape
from latentode.solve.tableaus import Tableau

__all__ = ["Adjoint", "Coefficients", "advance"]


@dataclass(frozen=True)
class Coefficients:
    """A tableau times the step length, padded with zeros to full rows so that the loops slice nothing.

    stages[j] weighs a step's s outputs in the input of the stage after the j-th, the last row in the next
    state; cotangents[j] weighs (v_1..v_s, lambda') in the j-th c, the last row, all ones, in lambda.
    """

    stages: tuple[Tensor, ...]
    cotangents: tuple[Tensor, ...]

    @staticmethod
    @lru_cache(maxsize=64)  # a GPU would have to wait for a copy from the host at every solve
    def of(
        tableau: Tableau, spacing: float, bound: float | None, dtype: torch.dtype, device: torch.device
    ) -> Coefficients:
        s = tableau.n_stages
        rows = [[*row, *[0.0] * (s - len(row))] for row in (*tableau.a[1:], tableau.b)]
        columns = [[0.0, *(row[j] for row in rows)] for j in range(s)]
        stages = spacing * (bound or 1.0) * torch.tensor(rows, dtype=torch.float64)
        cotangents = spacing * torch.tensor(columns, dtype=torch.float64)
        cotangents = torch.cat([cotangents, torch.ones_like(cotangents[:1])])
        return Coefficients(stages.to(device, dtype).unbind(0), cotangents.to(device, dtype).unbind(0))


def advance(field: FusedField, coefficients: Coefficients, tape: Tape, n_steps: int, *, arrive: bool) -> None:
    """Takes n_steps from the state in the first slot; `arrive` evaluates the field at the last state too."""
    s, addmv, evaluate = len(coefficients.stages), torch.addmv, field.over(tape)
    flat_outputs = tape.outputs.flatten(1)
    flat_states = tape.reads[0].flatten(1)[:, : flat_outputs.shape[1]].unbind(0)
    for start in range(0, n_steps * s, s):
        state, outputs = flat_states[start], flat_outputs[start : start + s].t()
        for j in range(s):
            evaluate(start + j)
            addmv(state, outputs, coefficients.stages[j], out=flat_states[start + j + 1])
    if arrive:
        evaluate(n_steps * s)


class Adjoint:
    """Takes the runs of a solve from the last to the first."""

    def __init__(self, pull_back: PullBack, coefficients: Coefficients, state: Tensor) -> None:
        self.pull_back, self.coefficients = pull_back, coefficients
        # (v_1..v_s, lambda') of the step in hand and of the step before it, in turns.
        self.pulled = state.new_zeros(2, len(coefficients.cotangents), *state.shape)
        self.turn = 0

    @property
    def state_cotangent(self) -> Tensor:
        """dL/dy at the first knot of the run taken last."""
        return self.pulled[self.turn, -1]

    def retreat(self, tape: Tape, states: Tensor, slopes: Tensor, *, arrive: bool) -> None:
        """Undoes `advance`, given the cotangents of the run's knots; of its last knot only if it arrives."""
        s, addmv, weights = len(self.coefficients.stages), torch.addmv, self.coefficients.cotangents
        n_steps = len(states) - arrive
        n_slots = n_steps * s + arrive
        cotangents = self.pull_back.cotangents
        cotangents[:n_slots] = 0
        cotangents[:n_slots:s] = slopes
        pull_back = self.pull_back.over(tape, n_slots)

        here, there = self.turn, 1 - self.turn
        pulled = [each.unbind(0) for each in self.pulled]
        flat_pulled = [each.t() for each in self.pulled.flatten(2)]
        flat_arrivals = self.pulled.flatten(2)[:, s].unbind(0)
        flat_states, flat_cotangents = states.flatten(1).unbind(0), cotangents.flatten(1).unbind(0)
        if arrive:
            pull_back(n_steps * s, pulled[here][s])
            flat_arrivals[here].add_(flat_states[n_steps])
        for k in reversed(range(n_steps)):
            for j in reversed(range(s)):
                c = flat_cotangents[k * s + j]
                addmv(c, flat_pulled[here], weights[j], out=c)
                pull_back(k * s + j, pulled[here][j])
            addmv(flat_states[k], flat_pulled[here], weights[s], out=flat_arrivals[there])
            here, there = there, here
        self.turn = here
        self.pull_back.add_products(tape, n_slots)
