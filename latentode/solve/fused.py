r"""Fixed-step Runge-Kutta solve of an autonomous MLP field, with its exact discrete adjoint written by hand.

For a step of length h from the knot state y, with the coefficients of `tableaus`,

    u_j = y + h sum_{i<j} a_ji k_i,    k_j = f(u_j),    y' = y + h sum_j b_j k_j

the gradient of a loss goes from lambda' = dL/dy' to lambda = dL/dy by the transposed recursion

    c_j = h (b_j lambda' + sum_{i>j} a_ij v_i),    v_j = (df/du)(u_j)^T c_j,    lambda = lambda' + sum_j v_j

which is the derivative of what the forward pass computed, not a discretisation of the continuous
adjoint. Gradients of the loss with respect to knots' states join lambda, those with respect to their
slopes f(y) join c_1, since f(y) is a step's first stage.

States are (L, M) inside, with the M series last and a row of ones below them that carries the biases.
Stages lie side by side in the slots of a tape, so that what is not sequential (the activations' slopes,
the products that the weights' gradients are) is one operation over many slots.

Source: Hairer, Norsett, Wanner, "Solving Ordinary Differential Equations I", section II.1; Sanz-Serna 2016,
"Symplectic Runge-Kutta schemes for adjoint equations, automatic differentiation, optimal control, and more".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from latentode.solve.tableaus import TABLEAUS, Tableau

__all__ = ["fused_solve"]

_T = TypeVar("_T")

# A tape up to this size is kept for the backward pass; a larger one is computed again, run by run, which
# costs about a third more time.
_STORED_BYTES = 256 * 2**20

# Passes work through runs of steps whose stages take this much memory: measured on batches of 100, smaller
# runs pay more calls and larger ones leave the processor's cache.
_RUN_BYTES = 2 * 2**20

# A gradient of this many entries or more is summed slot by slot; a smaller one is faster as one batch.
_SUMMED_ENTRIES = 4096


@dataclass(frozen=True)
class _Activation:
    """act(x) = outer phi(inner x) + shift; the three constants are absorbed by the layers' weights.

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
    return torch.addcmul(value, value, value, value=-1, out=out)


def _silu_slope(argument: Tensor, value: Tensor, *, out: Tensor) -> Tensor:
    return torch.sigmoid(argument, out=out).lerp_(value.new_ones(()), value)


def _softplus_slope(_: Tensor, value: Tensor, *, out: Tensor) -> Tensor:
    return torch.neg(value, out=out).exp_().neg_().add_(1)


def _elu_slope(_: Tensor, value: Tensor, *, out: Tensor) -> Tensor:
    return torch.clamp(value, max=0, out=out).add_(1)


_ACTIVATIONS = {
    # tanh x = 2 sigmoid(2x) - 1. On a CPU torch's sigmoid costs a third of its tanh, which was the largest
    # part of a solve.
    "tanh": _Activation(torch.sigmoid, _logistic_slope, inner=2.0, outer=2.0, shift=-1.0),
    "silu": _Activation(torch.ops.aten.silu.out, _silu_slope, keeps_argument=True),
    "softplus": _Activation(torch.ops.aten.softplus.out, _softplus_slope),
    "elu": _Activation(torch.ops.aten.elu.out, _elu_slope),
}


@dataclass(frozen=True)
class _Field:
    """The MLP as the loops want it: a matrix a layer for each direction, the activation's constants inside.

    The forward matrices, (out, in + 1), have the bias as their last column; the backward ones are (in, out).
    """

    forward_maps: Sequence[Tensor]
    backward_maps: Sequence[Tensor]
    activation: _Activation
    bound: float | None

    @classmethod
    def of(
        cls,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        activation: _Activation,
        bound: float | None,
    ) -> _Field:
        forward_maps, backward_maps = [], []
        for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            transposed = weight.t()
            if layer > 0:
                bias = bias + activation.shift * weight.sum(1)
                weight = activation.outer * weight
                transposed = activation.inner * activation.outer * transposed
            scale = activation.inner if layer < len(weights) - 1 else 1 / (bound or 1.0)
            forward_maps.append(torch.cat([weight, bias[:, None]], 1).mul_(scale))
            backward_maps.append(transposed)
        return cls(forward_maps, backward_maps, activation, bound)

    def parameter_gradients(self, products: Sequence[Tensor]) -> list[Tensor]:
        """Those of the weights, then of the biases, from the adjoint's products."""
        for product in products[1:]:
            # The tape holds phi and the layer read outer phi + shift.
            product[:, :-1].mul_(self.activation.outer).add_(product[:, -1:], alpha=self.activation.shift)
        return [product[:, :-1] for product in products] + [product[:, -1] for product in products]


@dataclass(frozen=True)
class _Tape:
    """What steps compute: one slot a stage, and a last one for the state that they arrive at.

    reads[l] (slots, width + 1, M) is what layer l reads, the row of ones included; arguments[l]
    (slots, width, M) is what phi was applied to; outputs (slots, L, M) is the field over its bound.
    """

    reads: list[Tensor]
    arguments: list[Tensor]
    outputs: Tensor

    @classmethod
    def over(cls, memory: Tensor, rows: Sequence[int], n_layers: int) -> _Tape:
        """The tape that lies in `memory`, (slots, rows of all blocks, M)."""
        n_slots, _, M = memory.shape
        blocks = memory.view(-1).split([n_slots * each * M for each in rows])
        *blocks, outputs = (block.view(n_slots, each, M) for block, each in zip(blocks, rows, strict=True))
        reads, arguments = blocks[:n_layers], blocks[n_layers:]
        return cls(reads, arguments or [read[:, :-1] for read in reads[1:]], outputs)

    def begin(self) -> _Tape:
        for read in self.reads:
            read[:, -1] = 1
        # Each stage reads all outputs of its step, and weighs the later ones by zero.
        self.outputs.zero_()
        return self

    @property
    def states(self) -> Tensor:
        return self.reads[0][:, :-1]

    def part(self, slots: slice) -> _Tape:
        return _Tape(
            [read[slots] for read in self.reads],
            [argument[slots] for argument in self.arguments],
            self.outputs[slots],
        )


@dataclass(frozen=True)
class _Coefficients:
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
    ) -> _Coefficients:
        s = tableau.n_stages
        rows = [[*row, *[0.0] * (s - len(row))] for row in (*tableau.a[1:], tableau.b)]
        columns = [[0.0, *(row[j] for row in rows)] for j in range(s)]
        stages = spacing * (bound or 1.0) * torch.tensor(rows, dtype=torch.float64)
        cotangents = spacing * torch.tensor(columns, dtype=torch.float64)
        cotangents = torch.cat([cotangents, torch.ones_like(cotangents[:1])])
        return _Coefficients(stages.to(device, dtype).unbind(0), cotangents.to(device, dtype).unbind(0))


def _advance(field: _Field, coefficients: _Coefficients, tape: _Tape, n_steps: int, *, arrive: bool) -> None:
    """Takes n_steps from the state in the first slot; `arrive` evaluates the field at the last state too."""
    s, mm, addmv, phi = len(coefficients.stages), torch.mm, torch.addmv, field.activation.value
    *hidden_maps, last_map = field.forward_maps
    hidden = [
        zip(repeat(matrix), read.unbind(0), argument.unbind(0), value[:, :-1].unbind(0), strict=False)
        for matrix, read, argument, value in zip(
            hidden_maps, tape.reads[:-1], tape.arguments, tape.reads[1:], strict=True
        )
    ]
    layers = list(zip(*hidden, strict=True)) or [()] * len(tape.outputs)
    last_reads, outputs = tape.reads[-1].unbind(0), tape.outputs.unbind(0)

    def evaluate(slot: int) -> None:
        for matrix, read, argument, value in layers[slot]:
            mm(matrix, read, out=argument)
            phi(argument, out=value)
        mm(last_map, last_reads[slot], out=outputs[slot])
        if field.bound is not None:
            outputs[slot].tanh_()

    flat_outputs = tape.outputs.flatten(1)
    flat_states = tape.reads[0].flatten(1)[:, : flat_outputs.shape[1]].unbind(0)
    for start in range(0, n_steps * s, s):
        state, step = flat_states[start], flat_outputs[start : start + s].t()
        for j in range(s):
            evaluate(start + j)
            addmv(state, step, coefficients.stages[j], out=flat_states[start + j + 1])
    if arrive:
        evaluate(n_steps * s)


class _Adjoint:
    """Takes the runs of a solve from the last to the first, in the memory of one run.

    products[l] sums, over the stages so far, the cotangent of layer l's result times the transpose of what
    the tape says it read: (out, in + 1), the bias's in the last column.
    """

    def __init__(self, field: _Field, coefficients: _Coefficients, n_slots: int, state: Tensor) -> None:
        self.field, self.coefficients = field, coefficients
        self.products = [torch.zeros_like(matrix) for matrix in field.forward_maps]
        self.outputs = state.new_empty(n_slots, *state.shape)
        self.hidden = [
            state.new_empty(n_slots, len(matrix), state.shape[1]) for matrix in field.forward_maps[:-1]
        ]
        hidden = [
            zip(repeat(matrix), repeat(torch.empty_like(cotangent[0])), cotangent.unbind(0), strict=False)
            for matrix, cotangent in zip(field.backward_maps[1:], self.hidden, strict=True)
        ]
        self.layers = list(zip(*reversed(hidden), strict=True)) or [()] * n_slots
        # (v_1..v_s, lambda') of the step in hand and of the step before it, in turns.
        self.pulled = state.new_zeros(2, len(coefficients.cotangents), *state.shape)
        self.turn = 0

    @property
    def state_cotangent(self) -> Tensor:
        """dL/dy at the first knot of the run taken last."""
        return self.pulled[self.turn, -1]

    def retreat(self, tape: _Tape, states: Tensor, slopes: Tensor, *, arrive: bool) -> None:
        """Undoes `_advance`, given the cotangents of the run's knots; of its last knot only if it arrives."""
        s, mm, addmv, field = len(self.coefficients.stages), torch.mm, torch.addmv, self.field
        n_steps = len(states) - arrive
        n_slots = n_steps * s + arrive
        for argument, value, cotangent in zip(tape.arguments, tape.reads[1:], self.hidden, strict=True):
            field.activation.slope(argument[:n_slots], value[:n_slots, :-1], out=cotangent[:n_slots])
        bounding = None if field.bound is None else (1 - tape.outputs.square()).unbind(0)
        self.outputs[:n_slots] = 0
        self.outputs[:n_slots:s] = slopes
        outputs = self.outputs.unbind(0)

        def pull_back(slot: int, out: Tensor) -> None:
            cotangent = outputs[slot]
            if bounding is not None:
                cotangent.mul_(bounding[slot])
            for matrix, scratch, hidden in self.layers[slot]:
                mm(matrix, cotangent, out=scratch)
                cotangent = hidden.mul_(scratch)
            mm(field.backward_maps[0], cotangent, out=out)

        here, there = self.turn, 1 - self.turn
        pulled = [each.unbind(0) for each in self.pulled]
        weighed = [each.t() for each in self.pulled.flatten(2)]
        flat_arrivals = self.pulled.flatten(2)[:, s].unbind(0)
        flat_states, flat_outputs = states.flatten(1).unbind(0), self.outputs.flatten(1).unbind(0)
        if arrive:
            pull_back(n_steps * s, pulled[here][s])
            flat_arrivals[here].add_(flat_states[n_steps])
        for k in reversed(range(n_steps)):
            for j in reversed(range(s)):
                c = flat_outputs[k * s + j]
                addmv(c, weighed[here], self.coefficients.cotangents[j], out=c)
                pull_back(k * s + j, pulled[here][j])
            addmv(flat_states[k], weighed[here], self.coefficients.cotangents[s], out=flat_arrivals[there])
            here, there = there, here
        self.turn = here

        for product, cotangent, read in zip(
            self.products, [*self.hidden, self.outputs], tape.reads, strict=True
        ):
            factors = cotangent[:n_slots], read[:n_slots].transpose(1, 2)
            if product.is_cpu and product.numel() >= _SUMMED_ENTRIES:
                product.addbmm_(*factors)
            else:
                product += torch.bmm(*factors).sum(0)


@dataclass(frozen=True)
class _Plan:
    """The settings of one solve, and how its steps are cut into runs.

    `rows` are those of a slot of the tape, block by block: what layers read, the arguments kept, the output.
    """

    tableau: Tableau
    spacing: float
    n_steps: int
    activation: _Activation
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

    def coefficients(self, like: Tensor) -> _Coefficients:
        return _Coefficients.of(self.tableau, self.spacing, self.bound, like.dtype, like.device)


class _FusedSolve(torch.autograd.Function):
    """States and slopes (K + 1, L, M) from z0 (L, M)."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, z0: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        n_layers, s = len(parameters) // 2, plan.tableau.n_stages
        field = _Field.of(parameters[:n_layers], parameters[n_layers:], plan.activation, plan.bound)
        # One piece of memory, because a process gets and gives back many pieces more slowly.
        memory = z0.new_empty(plan.n_slots(whole=plan.stored), sum(plan.rows), z0.shape[1])
        tape = _Tape.over(memory, plan.rows, n_layers).begin()
        states, slopes = z0.new_empty(plan.n_steps + 1, *z0.shape), z0.new_empty(plan.n_steps + 1, *z0.shape)
        states[0] = z0
        for first, last, arrive in plan.runs():
            run = tape.part(plan.slots(first, last))
            run.states[0] = states[first]
            _advance(field, plan.coefficients(z0), run, last - first, arrive=arrive)
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
        plan: _Plan = ctx.plan
        kept, *maps = ctx.saved_tensors
        n_layers = len(maps) // 2
        field = _Field(maps[:n_layers], maps[n_layers:], plan.activation, plan.bound)
        coefficients, n_slots = plan.coefficients(states), plan.n_slots(whole=False)
        if plan.stored:
            tape = _Tape.over(kept, plan.rows, n_layers)
        else:
            memory = kept.new_empty(n_slots, sum(plan.rows), kept.shape[2])
            tape = _Tape.over(memory, plan.rows, n_layers).begin()
        adjoint = _Adjoint(field, coefficients, n_slots, states[0])
        for first, last, arrive in reversed(list(plan.runs())):
            run = tape.part(plan.slots(first, last))
            if not plan.stored:
                run.states[0] = kept[first]
                _advance(field, coefficients, run, last - first, arrive=arrive)
            knots = slice(first, last + arrive)
            adjoint.retreat(run, states[knots], slopes[knots], arrive=arrive)
        return None, adjoint.state_cotangent.clone(), *field.parameter_gradients(adjoint.products)


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
    tableau, act = _named("method", method, TABLEAUS), _named("activation", activation, _ACTIVATIONS)
    if not math.isfinite(spacing):
        raise ValueError(f"the spacing of the knots must be finite; got {spacing}")
    if n_steps < 0:
        raise ValueError(
            f"n_steps counts the steps from knot to knot, so it can't be negative; got {n_steps}"
        )
    if bound is not None and not bound > 0:
        raise ValueError(f"bound must be positive or None; got {bound}")
    _check_layers(weights, biases, z0)

    widths = [weight.shape[1] for weight in weights]
    kept = widths[1:] if act.keeps_argument else []
    rows = (*(width + 1 for width in widths), *kept, widths[0])
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
