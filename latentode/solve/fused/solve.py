r"""`fused_solve`: the sweep and its adjoint as one differentiable function.

The steps are cut into runs whose tape fits the processor's cache. What the backward pass needs of every stage
is kept where it is small; else only the knots' states are, and each run is swept again before it is undone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from latentode.solve.fused.activations import ACTIVATIONS, Activation
from latentode.solve.fused.field import FusedField, PullBack
from latentode.solve.fused.runge_kutta import Adjoint, Coefficients, advance
from latentode.solve.fused.tape import Tape, slot_rows
from latentode.solve.tableaus import TABLEAUS, Tableau

__all__ = ["fused_solve"]

_T = TypeVar("_T")

# A tape up to this size is kept for the backward pass; a larger one is computed again, run by run, which
# costs about a third more time.
_STORED_BYTES = 256 * 2**20

# Passes work through runs of steps whose stages take this much memory: measured on batches of 100, smaller
# runs pay more calls and larger ones leave the processor's cache.
_RUN_BYTES = 2 * 2**20


@dataclass(frozen=True)
class _Plan:
    """The settings of one solve, and how its steps are cut into runs; `rows` are the tape's `slot_rows`."""

    tableau: Tableau
    spacing: float
    n_steps: int
    activation: Activation
    bound: float | None
    rows: tuple[int, ...]
    stored: bool
    steps_per_run: int

    def runs(self) -> Iterator[tuple[int, int, bool]]:
        """First and last knot of each run, and whether it is the run that arrives at the end."""
        for first in range(0, max(self.n_steps, 1), self.steps_per_run):
            last = min(first + self.steps_per_run, self.n_steps)
            yield first, last, last == self.n_steps

    def n_slots(self, *, whole: bool) -> int:
        """Of the tape of the whole solve, or of the longest run."""
        n_steps = self.n_steps if whole else min(self.steps_per_run, self.n_steps)
        return n_steps * self.tableau.n_stages + 1

    def slots(self, first: int, last: int) -> slice:
        """Where the run between two knots lies in the tape."""
        s, start = self.tableau.n_stages, first if self.stored else 0
        return slice(start * s, (start + last - first) * s + 1)

    def coefficients(self, like: Tensor) -> Coefficients:
        return Coefficients.of(self.tableau, self.spacing, self.bound, like.dtype, like.device)


class _FusedSolve(torch.autograd.Function):
    """States and slopes (K + 1, L, M) from z0 (L, M)."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, z0: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        n_layers, s = len(parameters) // 2, plan.tableau.n_stages
        field = FusedField.of(parameters[:n_layers], parameters[n_layers:], plan.activation, plan.bound)
        # One piece of memory, because a process gets and gives back many pieces more slowly.
        memory = z0.new_empty(plan.n_slots(whole=plan.stored), sum(plan.rows), z0.shape[1])
        tape = Tape.over(memory, plan.rows, n_layers).clear()
        states, slopes = z0.new_empty(plan.n_steps + 1, *z0.shape), z0.new_empty(plan.n_steps + 1, *z0.shape)
        states[0] = z0
        for first, last, arrive in plan.runs():
            run = tape.part(plan.slots(first, last))
            run.states[0] = states[first]
            advance(field, plan.coefficients(z0), run, last - first, arrive=arrive)
            states[first + 1 : last + 1] = run.states[s::s]
            slopes[first : last + arrive] = run.outputs[::s][: last - first + arrive]
        if plan.bound is not None:
            slopes *= plan.bound
        ctx.plan = plan
        ctx.save_for_backward(memory if plan.stored else states, *field.forward_maps, *field.backward_maps)
        return states, slopes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, states: Tensor, slopes: Tensor) -> tuple[Tensor | None, ...]:
        """Cotangents of z0 and the parameters, from those of the states and slopes."""
        plan: _Plan = ctx.plan
        kept, *maps = ctx.saved_tensors
        n_layers = len(maps) // 2
        field = FusedField(maps[:n_layers], maps[n_layers:], plan.activation, plan.bound)
        coefficients, n_slots = plan.coefficients(states), plan.n_slots(whole=False)
        if plan.stored:
            tape = Tape.over(kept, plan.rows, n_layers)
        else:
            memory = kept.new_empty(n_slots, sum(plan.rows), kept.shape[2])
            tape = Tape.over(memory, plan.rows, n_layers).clear()
        pull_back = PullBack(field, n_slots, states[0])
        adjoint = Adjoint(pull_back, coefficients, states[0])
        for first, last, arrive in reversed(list(plan.runs())):
            run = tape.part(plan.slots(first, last))
            if not plan.stored:
                run.states[0] = kept[first]
                advance(field, coefficients, run, last - first, arrive=arrive)
            knots = slice(first, last + arrive)
            adjoint.retreat(run, states[knots], slopes[knots], arrive=arrive)
        return None, adjoint.state_cotangent.clone(), *pull_back.parameter_gradients()


def fused_solve(
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    z0: Tensor,
    *,
    spacing: float,
    n_steps: int,
    method: str = "rk4",
    activation: str = "tanh",
    bound: float | None = None,
    store_stages: bool | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Solves dz/dt = f(z), z(0) = z0, by one Runge-Kutta step between neighbouring knots t_k = k spacing.

        y = W_n act(... act(W_1 z + b_1) ...) + b_n
        f(z) = y,  or  bound tanh(y / bound)  where there is a bound

    Returns the states z(t_k) and the slopes f(z(t_k)), k = 0..n_steps. Gradients reach the weights, biases
    and z0 through both, and can be taken once: there is no second derivative.

    Args:
        weights: of the layers in order, (out, in) each as in `nn.Linear`; a single one is a linear field.
        biases: of the same layers, (out,) each.
        z0: the states at t = 0.
        spacing: the time from knot to knot; negative to solve backwards.
        n_steps: K; with 0 the answer is z0 and its slope.
        method: "euler", "midpoint", "rk4" or "tsit5".
        activation: "tanh", "silu", "softplus" or "elu".
        bound: the largest slope; None for none.
        store_stages: whether to keep what the backward pass needs of every stage, or only the states at the
            knots and to compute the stages again. Gradients are the same; None stores up to 256 MiB. Where
            no gradient is wanted nothing is kept in any case.

    Shapes:
        z0 (M, L) -> states (n_steps + 1, M, L), slopes (n_steps + 1, M, L).

    Raises:
        ValueError: for an unknown method or activation, layers that fit neither each other nor z0, a spacing
            that is not finite, a negative n_steps, or a bound that is not positive.
    """
    tableau, act = _named("method", method, TABLEAUS), _named("activation", activation, ACTIVATIONS)
    if not math.isfinite(spacing):
        raise ValueError(f"the spacing of the knots must be finite; got {spacing}")
    if n_steps < 0:
        raise ValueError(
            f"n_steps counts the steps from knot to knot, so it can't be negative; got {n_steps}"
        )
    if bound is not None and not bound > 0:
        raise ValueError(f"bound must be positive or None; got {bound}")
    _check_layers(weights, biases, z0)

    rows = slot_rows([weight.shape[1] for weight in weights], keeps_argument=act.keeps_argument)
    step_bytes = max(1, tableau.n_stages * sum(rows) * len(z0) * z0.element_size())
    # A GPU gains nothing from short runs and pays for every call.
    run_bytes = _RUN_BYTES if z0.is_cpu else _STORED_BYTES
    stored = n_steps * step_bytes <= _STORED_BYTES if store_stages is None else store_stages
    differentiated = any(each.requires_grad for each in (z0, *weights, *biases))
    plan = _Plan(
        tableau=tableau,
        spacing=float(spacing),
        n_steps=n_steps,
        activation=act,
        bound=bound,
        rows=rows,
        stored=stored and differentiated and torch.is_grad_enabled(),
        steps_per_run=max(1, run_bytes // step_bytes),
    )
    states, slopes = _FusedSolve.apply(plan, z0.t().contiguous(), *weights, *biases)
    return states.transpose(1, 2), slopes.transpose(1, 2)


def _named(kind: str, name: str, table: Mapping[str, _T]) -> _T:
    if name not in table:
        raise ValueError(f"unknown {kind} {name!r}; choose one of {', '.join(table)}")
    return table[name]


def _check_layers(weights: Sequence[Tensor], biases: Sequence[Tensor], z0: Tensor) -> None:
    if z0.ndim != 2:
        raise ValueError(f"z0 must be (M, L), a row a series; got shape {tuple(z0.shape)}")
    if len(weights) != len(biases) or not weights:
        raise ValueError(f"a field has a bias a weight; got {len(weights)} weights and {len(biases)} biases")
    width = z0.shape[1]
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        if weight.ndim != 2 or weight.shape[1] != width or bias.shape != weight.shape[:1]:
            raise ValueError(
                f"layer {layer} reads {width} values; got a weight of shape {tuple(weight.shape)} "
                f"and a bias of shape {tuple(bias.shape)}"
            )
        width = weight.shape[0]
    if width != z0.shape[1]:
        raise ValueError(f"dz/dt has {z0.shape[1]} components as z has; the last layer gives {width}")
