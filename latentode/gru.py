r"""A gated recurrent unit over padded series that answers with each series' last state.

    r_n = sigmoid(W_ir x_n + b_ir + W_hr h_{n-1} + b_hr)
    z_n = sigmoid(W_iz x_n + b_iz + W_hz h_{n-1} + b_hz)
    m_n = tanh(W_im x_n + b_im + r_n (W_hm h_{n-1} + b_hm))
    h_n = (1 - z_n) m_n + z_n h_{n-1},    h_0 = 0

On a CPU this is a hand-written `autograd.Function` that runs on g = (h + 1) / 2. Since tanh x =
2 sigmoid(2x) - 1, the recursion keeps its form, g_n = (1 - z_n) s_n + z_n g_{n-1}, and the candidate s_n =
(m_n + 1) / 2 is a sigmoid too, at a third of the cost of torch's tanh; weights absorb the constants. Behind
a series' end its z is 1, which holds the state and stops the gradient, so that ragged lengths cost no
operation of their own. Rows of memory are ordered q, r, z, s with q = 2 (W_hm h + b_hm): the first three
read the state, the last three the inputs.

Source: Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder", in the variant of
`torch.nn.GRU`, whose reset gate acts behind the matrix.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = ["GRU", "gru_last_state"]

# The backward pass works through runs of steps that take this much memory: measured on batches of 100,
# smaller runs pay more calls and larger ones leave the processor's cache.
_RUN_BYTES = 2 * 2**20


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


class _LastState(torch.autograd.Function):
    """Time-major and transposed inside, (N, rows, B), so that every step is one piece of memory."""

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
        B, N, I = inputs.shape  # noqa: E741
        H = weight_hh.shape[1]
        # A row of ones below the inputs carries the biases of r, z and s.
        reads = inputs.new_empty(N, I + 1, B)
        reads[:, :I] = inputs.permute(1, 2, 0)
        reads[:, I] = 1
        input_map, state_map = _maps(weight_ih, weight_hh)
        at_rest = bias_hh - weight_hh.sum(1)
        bias = torch.cat([bias_ih[: 2 * H] + at_rest[: 2 * H], 2 * bias_ih[2 * H :]])
        gates = inputs.new_empty(N, 4 * H, B)
        gates[:, :H] = 2 * at_rest[2 * H :, None]
        torch.matmul(torch.cat([input_map, bias[:, None]], 1), reads, out=gates[:, H:])
        ended = torch.arange(N, device=inputs.device)[:, None, None] >= lengths
        gates[:, 2 * H : 3 * H].masked_fill_(ended, math.inf)

        states = inputs.new_empty(N + 1, H, B)
        states[0] = 0.5
        addends, rz = gates[:, : 3 * H].unbind(0), gates[:, H : 3 * H].unbind(0)
        q, r, z, s = (each.unbind(0) for each in gates.split(H, 1))
        state = states.unbind(0)
        for n in range(N):
            addends[n].addmm_(state_map, state[n])
            rz[n].sigmoid_()
            candidate = s[n].addcmul_(r[n], q[n]).sigmoid_()
            torch.lerp(candidate, state[n], z[n], out=state[n + 1])
        ctx.save_for_backward(reads, gates, states, weight_ih, weight_hh)
        return (2 * states[N] - 1).t()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        reads, gates, states, weight_ih, weight_hh = ctx.saved_tensors
        N, rows, B = reads.shape
        H = weight_hh.shape[1]
        input_map, state_map = _maps(weight_ih, weight_hh)
        back = state_map.t().contiguous()
        input_product = reads.new_zeros(3 * H, rows)
        state_product = reads.new_zeros(3 * H, H)
        rest = reads.new_zeros(H)
        d_inputs = reads.new_empty(N, rows - 1, B) if ctx.needs_input_grad[0] else None

        length = max(1, min(N, _RUN_BYTES // (5 * H * B * reads.element_size())))
        # Rows q, r, z, s, and one more for dL/dg of the step before.
        memory = reads.new_empty(length, 5, H, B)
        d_state = 2 * cotangent.t()
        for start in reversed(range(0, N, length)):
            run = slice(start, min(start + length, N))
            q, r, z, s = gates[run].split(H, 1)
            deltas = memory[: len(q)]
            _sensitivities(q, r, z, s, states[run], out=deltas)
            d_gates = deltas[:, :4].flatten(1, 2)
            step, carry, d_read = deltas.unbind(0), deltas[:, 4].unbind(0), d_gates[:, : 3 * H].unbind(0)
            for n in reversed(range(len(q))):
                step[n].mul_(d_state)
                d_state = carry[n].addmm_(back, d_read[n])
            d_state = d_state.clone()
            state_product.addbmm_(d_gates[:, : 3 * H], states[run].transpose(1, 2))
            input_product.addbmm_(d_gates[:, H:], reads[run].transpose(1, 2))
            rest += d_gates[:, :H].sum((0, 2))
            if d_inputs is not None:
                torch.matmul(input_map.t(), d_gates[:, H:], out=d_inputs[run])

        # Undo q, r, z -> r, z, m and the constants that _maps absorbed.
        d_bias_ih = torch.cat([input_product[: 2 * H, -1], 2 * input_product[2 * H :, -1]])
        d_bias_hh = torch.cat([d_bias_ih[: 2 * H], 2 * rest])
        d_weight_ih = torch.cat([input_product[: 2 * H, :-1], 2 * input_product[2 * H :, :-1]])
        d_weight_hh = torch.cat([2 * state_product[H:], 4 * state_product[:H]]) - d_bias_hh[:, None]
        d_inputs = None if d_inputs is None else d_inputs.permute(2, 0, 1)
        return d_inputs, None, d_weight_ih, d_weight_hh, d_bias_ih, d_bias_hh


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
