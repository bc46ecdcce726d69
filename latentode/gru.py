r"""A gated recurrent unit over padded series that answers with each series' last state.

    r_n = sigmoid(W_ir x_n + b_ir + W_hr h_{n-1} + b_hr)
    z_n = sigmoid(W_iz x_n + b_iz + W_hz h_{n-1} + b_hz)
    m_n = tanh(W_im x_n + b_im + r_n (W_hm h_{n-1} + b_hm))
    h_n = (1 - z_n) m_n + z_n h_{n-1},    h_0 = 0

On a CPU this is a hand-written `autograd.Function` that runs on g = (h + 1) / 2. Since tanh x =
2 sigmoid(2x) - 1, the recursion keeps its form, g_n = (1 - z_n) s_n + z_n g_{n-1}, and the candidate s_n =
(m_n + 1) / 2 is a sigmoid too, at a third of the cost of torch's tanh; weights absorb the constants. Series are
taken by falling length, and their steps in runs, each as wide as there are series left. Where one ends within a
run its z is 1 from there, which holds the state and stops the gradient. Rows of memory are ordered q, r, z, s
with q = 2 (W_hm h + b_hm): the first three read the state, the last three the inputs.

Source: Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder", in the variant of
`torch.nn.GRU`, whose reset gate acts behind the matrix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = ["GRU", "gru_last_state"]

# A run of steps takes this much memory: measured on batches of 100, smaller ones pay more calls and larger ones
# leave the processor's cache.
_RUN_BYTES = 2 * 2**20

# A run ends where so few of its series are left, but takes some steps at least: each costs some calls by itself.
_SHARE_LEFT, _FEWEST_STEPS = 0.9, 8

# Added to a gate's sum it makes its sigmoid 1, whatever the sum.
_HOLDS = 1e30


def gru_last_state(
    inputs: Tensor, lengths: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor
) -> Tensor:
    """The state after each series' last step; zeros for a series of length 0.

    Parameters are laid out as in `torch.nn.GRUCell`: gates r, z and m below each other. What stands behind a
    series' length must be finite and has no influence. Gradients reach the inputs too, and can be taken once.

    Shapes:
        inputs (B, N, I), lengths (B,), weight_ih (3H, I), weight_hh (3H, H), biases (3H,) -> (B, H).

    Raises:
        ValueError: for shapes that don't fit each other.
    """
    if inputs.ndim != 3 or lengths.shape != inputs.shape[:1]:
        raise ValueError(
            f"inputs must be (B, N, I) and lengths (B,); got {tuple(inputs.shape)} and {tuple(lengths.shape)}"
        )
    H = weight_hh.shape[-1]
    shapes = [tuple(each.shape) for each in (weight_ih, weight_hh, bias_ih, bias_hh)]
    expected = [(3 * H, inputs.shape[2]), (3 * H, H), (3 * H,), (3 * H,)]
    if shapes != expected:
        raise ValueError(
            f"a GRU of {H} units over {inputs.shape[2]} inputs has parameters {expected}; got {shapes}"
        )
    if inputs.is_cuda:
        return _padded_run(inputs, lengths, weight_ih, weight_hh, bias_ih, bias_hh)
    return _LastState.apply(inputs, lengths, weight_ih, weight_hh, bias_ih, bias_hh)


class GRU(nn.Module):
    """Owns the parameters of `gru_last_state`, named and initialised as those of `torch.nn.GRUCell`.

    Shapes:
        inputs (B, N, I), lengths (B,) -> (B, H).
    """

    def __init__(self, n_inputs: int, n_units: int) -> None:
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(3 * n_units, n_inputs))
        self.weight_hh = nn.Parameter(torch.empty(3 * n_units, n_units))
        self.bias_ih = nn.Parameter(torch.empty(3 * n_units))
        self.bias_hh = nn.Parameter(torch.empty(3 * n_units))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -1 / math.sqrt(n_units), 1 / math.sqrt(n_units))

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        return gru_last_state(inputs, lengths, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)

    def extra_repr(self) -> str:
        return f"n_inputs={self.weight_ih.shape[1]}, n_units={self.weight_hh.shape[1]}"


def _padded_run(inputs: Tensor, lengths: Tensor, *parameters: Tensor) -> Tensor:
    """The same through torch's own kernel, which on a GPU is cuDNN's: all steps, then one gather."""
    B, _, _ = inputs.shape
    H = parameters[1].shape[1]
    # cuDNN wants its weights in one piece of memory, and warns where they are not.
    flat = torch.cat([each.flatten() for each in parameters]).split([each.numel() for each in parameters])
    pieces = [piece.view_as(each) for piece, each in zip(flat, parameters, strict=True)]
    # Its backward pass exists in training mode only; without dropout the modes agree.
    states, _ = torch.gru(inputs, inputs.new_zeros(1, B, H), pieces, True, 1, 0.0, True, False, True)
    ends = (lengths - 1).clamp(min=0).view(B, 1, 1).expand(B, 1, H)
    return states.gather(1, ends).squeeze(1).masked_fill((lengths == 0).unsqueeze(1), 0.0)


@dataclass(frozen=True)
class _Run:
    """Steps `start` to `stop` of the `width` longest series; `ragged` where some of them end before `stop`."""

    start: int
    stop: int
    width: int
    ragged: bool


def _runs(lengths: Sequence[int], step_bytes: int) -> list[_Run]:
    """The runs over series of these falling lengths, whose steps take `step_bytes` a series."""
    runs: list[_Run] = []
    n_steps, start, width = lengths[0] if lengths else 0, 0, len(lengths)
    while start < n_steps:
        while lengths[width - 1] <= start:
            width -= 1
        most = max(1, _RUN_BYTES // (step_bytes * width))
        thinned = lengths[int(_SHARE_LEFT * width)]
        stop = min(start + most, max(start + _FEWEST_STEPS, thinned), n_steps)
        runs.append(_Run(start, stop, width, lengths[width - 1] < stop))
        start = stop
    return runs


class _LastState(torch.autograd.Function):
    """Time-major and transposed inside, a piece of memory (steps, rows, width) for every run."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        lengths: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
    ) -> Tensor:
        B, N, _ = inputs.shape
        H = weight_hh.shape[1]
        lengths, falling = lengths.clamp(max=N).sort(descending=True, stable=True)
        runs = _runs(lengths.tolist(), 5 * H * inputs.element_size())
        order = falling if runs and (runs[-1].width < B or runs[-1].ragged) else None
        if order is not None:
            inputs = inputs.index_select(0, order)
        # In inference mode a view or a small product takes a fifth less; nothing made in it is given away.
        with torch.inference_mode():
            kept, state = _sweep(runs, inputs, lengths, weight_ih, weight_hh, bias_ih, bias_hh)
        ctx.save_for_backward(weight_ih, weight_hh)
        ctx.order, ctx.kept, ctx.runs, ctx.shape = order, kept, runs, inputs.shape
        state = (2 * state - 1).t()
        return state if order is None else torch.empty_like(state).index_copy_(0, order, state)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        weight_ih, weight_hh = ctx.saved_tensors
        H, order = weight_hh.shape[1], ctx.order
        if order is not None:
            cotangent = cotangent.index_select(0, order)
        d_inputs = cotangent.new_zeros(ctx.shape) if ctx.needs_input_grad[0] else None
        with torch.inference_mode():
            input_product, state_product, rest = _sweep_back(
                ctx.runs, ctx.kept, 2 * cotangent.t(), *_maps(weight_ih, weight_hh), d_inputs
            )
        # Undo q, r, z -> r, z, m and the constants that _maps absorbed.
        d_bias_ih = torch.cat([input_product[: 2 * H, -2], 2 * input_product[2 * H :, -2]])
        d_bias_hh = torch.cat([d_bias_ih[: 2 * H], 2 * rest])
        d_weight_ih = torch.cat([input_product[: 2 * H, :-2], 2 * input_product[2 * H :, :-2]])
        d_weight_hh = torch.cat([2 * state_product[H:], 4 * state_product[:H]]) - d_bias_hh[:, None]
        if d_inputs is not None and order is not None:
            d_inputs = torch.empty_like(d_inputs).index_copy_(0, order, d_inputs)
        return d_inputs, None, d_weight_ih, d_weight_hh, d_bias_ih, d_bias_hh


@dataclass(frozen=True)
class _Kept:
    """What a run computed: reads (steps, I + 2, width), gates (steps, 4H, width), states (steps + 1, H, width)."""

    reads: Tensor
    gates: Tensor
    states: Tensor


def _sweep(
    runs: Sequence[_Run],
    inputs: Tensor,
    lengths: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
) -> tuple[list[_Kept], Tensor]:
    """The runs of series by falling length, and g after each series' last step, (H, B)."""
    B, _, I = inputs.shape  # noqa: E741
    H = weight_hh.shape[1]
    input_map, state_map = _maps(weight_ih, weight_hh)
    at_rest = bias_hh - weight_hh.sum(1)
    bias = torch.cat([bias_ih[: 2 * H] + at_rest[: 2 * H], 2 * bias_ih[2 * H :]])
    ended = torch.zeros_like(bias)
    ended[H : 2 * H] = _HOLDS
    input_map = torch.cat([input_map, bias[:, None], ended[:, None]], 1)

    state = inputs.new_full((H, B), 0.5)
    kept, last = [], []
    for run in runs:
        n_steps, width = run.stop - run.start, run.width
        # Below the inputs a row of ones, which carries the biases of r, z and s, and one that says who ended.
        reads = inputs.new_empty(n_steps, I + 2, width)
        reads[:, :I] = inputs[:width, run.start : run.stop].permute(1, 2, 0)
        reads[:, I] = 1
        if run.ragged:
            step = torch.arange(run.start, run.stop, device=inputs.device)
            reads[:, I + 1] = step[:, None] >= lengths[:width]
        else:
            reads[:, I + 1] = 0
        gates = inputs.new_empty(n_steps, 4 * H, width)
        gates[:, :H] = 2 * at_rest[2 * H :, None]
        states = inputs.new_empty(n_steps + 1, H, width)
        last.append(state[:, width:])
        states[0] = state[:, :width]
        _step_through(reads, gates, states, input_map, state_map)
        state = states[n_steps]
        kept.append(_Kept(reads, gates, states))
    return kept, torch.cat([state, *reversed(last)], 1)


def _step_through(reads: Tensor, gates: Tensor, states: Tensor, input_map: Tensor, state_map: Tensor) -> None:
    """From what is read, the bias of q and the first state to the gates and all states."""
    H = states.shape[1]
    given, addends, rz = gates[:, H:].unbind(0), gates[:, : 3 * H].unbind(0), gates[:, H : 3 * H].unbind(0)
    read = reads.unbind(0)
    q, r, z, s = (each.unbind(0) for each in gates.split(H, 1))
    state = states.unbind(0)
    for n in range(len(gates)):
        torch.mm(input_map, read[n], out=given[n])
        addends[n].addmm_(state_map, state[n])
        rz[n].sigmoid_()
        candidate = s[n].addcmul_(r[n], q[n]).sigmoid_()
        torch.lerp(candidate, state[n], z[n], out=state[n + 1])


def _sweep_back(
    runs: Sequence[_Run],
    kept: Sequence[_Kept],
    cotangent: Tensor,
    input_map: Tensor,
    state_map: Tensor,
    d_inputs: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """From dL/dg after each series' last step, (H, B), to the gradients of the maps and of q's bias.

    Writes those of the inputs into d_inputs, where they are asked for.
    """
    H = state_map.shape[1]
    back = state_map.t().contiguous()
    input_product = input_map.new_zeros(3 * H, input_map.shape[1] + 2)
    state_product, rest = torch.zeros_like(state_map), state_map.new_zeros(H)
    # Rows q, r, z, s, and one more for dL/dg of the step before.
    memory = cotangent.new_empty(max((5 * H * (run.stop - run.start) * run.width for run in runs), default=0))
    d_state = cotangent[:, :0]
    for run, made in zip(reversed(runs), reversed(kept), strict=True):
        d_state = torch.cat([d_state, cotangent[:, d_state.shape[1] : run.width]], 1)
        shape = (run.stop - run.start, 5, H, run.width)
        deltas = memory[: math.prod(shape)].view(shape)
        q, r, z, s = made.gates.split(H, 1)
        _sensitivities(q, r, z, s, made.states[:-1], out=deltas)
        d_gates = deltas[:, :4].flatten(1, 2)
        step, carry = deltas.unbind(0), deltas[:, 4].unbind(0)
        d_read, d_given = d_gates[:, : 3 * H].unbind(0), d_gates[:, H:].unbind(0)
        state, read = made.states.transpose(1, 2).unbind(0), made.reads.transpose(1, 2).unbind(0)
        for n in reversed(range(len(step))):
            step[n].mul_(d_state)
            d_state = carry[n].addmm_(back, d_read[n])
            # At once, while they are in the processor's cache.
            state_product.addmm_(d_read[n], state[n])
            input_product.addmm_(d_given[n], read[n])
        rest += d_gates[:, :H].sum((0, 2))
        if d_inputs is not None:
            d_reads = torch.matmul(input_map.t(), d_gates[:, H:])
            d_inputs[: run.width, run.start : run.stop] = d_reads.permute(2, 0, 1)
    return input_product, state_product, rest


def _maps(weight_ih: Tensor, weight_hh: Tensor) -> tuple[Tensor, Tensor]:
    """From the inputs to r, z, s and from g to q, r, z: h = 2g - 1, and q and s are what tanh doubles."""
    H = weight_hh.shape[1]
    input_map = torch.cat([weight_ih[: 2 * H], 2 * weight_ih[2 * H :]])
    return input_map, torch.cat([4 * weight_hh[2 * H :], 2 * weight_hh[: 2 * H]])


def _sensitivities(q: Tensor, r: Tensor, z: Tensor, s: Tensor, before: Tensor, *, out: Tensor) -> None:
    """How g_n answers to the sums under q, r, z and s, and directly to `before`, g_{n-1}."""
    d_q, d_r, d_z, d_s, carry = out.unbind(1)
    torch.sub(1, z, out=carry)
    torch.addcmul(s, s, s, value=-1, out=d_s).mul_(carry)
    torch.sub(before, s, out=d_z).mul_(z).mul_(carry)
    torch.mul(d_s, r, out=d_q)
    torch.sub(1, r, out=d_r).mul_(q).mul_(d_q)
    carry.copy_(z)
