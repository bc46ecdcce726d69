r"""The MLP field at one slot of a tape, its pull-back there, and its parameters' gradients from all slots.

    u_1 = u,    x_l = W_l u_l + b_l,    u_{l+1} = act(x_l),    f(u) = x_n  or  bound tanh(x_n / bound)

and from c = dL/df to v = (df/du)^T c by the layers in reverse,

    c_n = c  or  (1 - tanh^2(x_n / bound)) c,    c_l = act'(x_l) W_{l+1}^T c_{l+1},    v = W_1^T c_1
    dL/dW_l = sum c_l u_l^T,    dL/db_l = sum c_l,    over slots and series.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat

import torch
from torch import Tensor

from latentode.solve.fused.activations import Activation
from latentode.solve.fused.tape import Tape

__all__ = ["FusedField", "PullBack"]

# A gradient of this many entries or more is summed slot by slot; a smaller one is faster as one batch.
_SUMMED_ENTRIES = 4096


@dataclass(frozen=True)
class FusedField:
    """The MLP as the loops want it: a matrix a layer for each direction, the activation's constants inside.

    The forward matrices, (out, in + 1), have the bias as their last column; the backward ones are (in, out).
    """

    forward_maps: Sequence[Tensor]
    backward_maps: Sequence[Tensor]
    activation: Activation
    bound: float | None

    @classmethod
    def of(
        cls,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        activation: Activation,
        bound: float | None,
    ) -> FusedField:
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

    def over(self, tape: Tape) -> Callable[[int], None]:
        """evaluate(slot), which writes a slot's output from its state and keeps what lies between."""
        mm, phi, bound = torch.mm, self.activation.value, self.bound
        *hidden_maps, last_map = self.forward_maps
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
            if bound is not None:
                outputs[slot].tanh_()

        return evaluate


class PullBack:
    """The field's transposed derivative, run of stages by run, in the memory of one run.

    Shapes:
        cotangents (slots, L, M), the c of each slot, to be written by the caller; hidden[l]
        (slots, width, M), the c_l; products[l] (out, in + 1), the sum of c_l times the transpose of what the
        tape says that layer l read, the bias's in the last column.
    """

    def __init__(self, field: FusedField, n_slots: int, state: Tensor) -> None:
        self.field = field
        self.products = [torch.zeros_like(matrix) for matrix in field.forward_maps]
        self.cotangents = state.new_empty(n_slots, *state.shape)
        self.hidden = [
            state.new_empty(n_slots, len(matrix), state.shape[1]) for matrix in field.forward_maps[:-1]
        ]
        hidden = [
            zip(repeat(matrix), repeat(torch.empty_like(cotangent[0])), cotangent.unbind(0), strict=False)
            for matrix, cotangent in zip(field.backward_maps[1:], self.hidden, strict=True)
        ]
        self._layers = list(zip(*reversed(hidden), strict=True)) or [()] * n_slots

    def over(self, tape: Tape, n_slots: int) -> Callable[[int, Tensor], None]:
        """pull_back(slot, out), which writes v from a slot's c; the tape's first n_slots are in use."""
        field, layers, mm = self.field, self._layers, torch.mm
        for argument, value, cotangent in zip(tape.arguments, tape.reads[1:], self.hidden, strict=True):
            field.activation.slope(argument[:n_slots], value[:n_slots, :-1], out=cotangent[:n_slots])
        bounding = None if field.bound is None else (1 - tape.outputs.square()).unbind(0)
        cotangents, first_map = self.cotangents.unbind(0), field.backward_maps[0]

        def pull_back(slot: int, out: Tensor) -> None:
            cotangent = cotangents[slot]
            if bounding is not None:
                cotangent.mul_(bounding[slot])
            for matrix, scratch, hidden in layers[slot]:
                mm(matrix, cotangent, out=scratch)
                # Until here hidden holds the activation's slope.
                cotangent = hidden.mul_(scratch)
            mm(first_map, cotangent, out=out)

        return pull_back

    def add_products(self, tape: Tape, n_slots: int) -> None:
        """Adds a run whose slots have all been pulled back."""
        for product, cotangent, read in zip(
            self.products, [*self.hidden, self.cotangents], tape.reads, strict=True
        ):
            factors = cotangent[:n_slots], read[:n_slots].transpose(1, 2)
            if product.is_cpu and product.numel() >= _SUMMED_ENTRIES:
                product.addbmm_(*factors)
            else:
                product += torch.bmm(*factors).sum(0)

    def parameter_gradients(self) -> list[Tensor]:
        """Those of the weights, then of the biases; to be asked once."""
        activation = self.field.activation
        for product in self.products[1:]:
            # The tape holds phi and the layer read outer phi + shift.
            product[:, :-1].mul_(activation.outer).add_(product[:, -1:], alpha=activation.shift)
        return [product[:, :-1] for product in self.products] + [product[:, -1] for product in self.products]
