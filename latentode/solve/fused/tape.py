"""What the stages of a solve compute, side by side: one slot a stage.

A step reads and writes single slots, one after another. What is not sequential (the activations' slopes, the
products that the weights' gradients are) is one operation over many slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Tape", "slot_rows"]


def slot_rows(widths: Sequence[int], *, keeps_argument: bool) -> tuple[int, ...]:
    """Rows that a slot takes, block by block: what each layer reads, the arguments kept, the output.

    Args:
        widths: inputs of each layer; the first is L, and so is the output's.
        keeps_argument: whether the activation's slope needs what the activation was applied to.
    """
    arguments = widths[1:] if keeps_argument else ()
    return (*(width + 1 for width in widths), *arguments, widths[0])


@dataclass(frozen=True)
class Tape:
    """The slots of some stages, and a last one for the state that they arrive at.

    Shapes:
        reads[l] (slots, width + 1, M) is what layer l reads, the row of ones included; arguments[l]
        (slots, width, M) is what the activation behind layer l was applied to, in the same memory as its
        value unless arguments are kept; outputs (slots, L, M) is the field over its bound.
    """

    reads: list[Tensor]
    arguments: list[Tensor]
    outputs: Tensor

    @classmethod
    def over(cls, memory: Tensor, rows: Sequence[int], n_layers: int) -> Tape:
        """The tape that lies in `memory`, (slots, sum of `slot_rows`, M)."""
        n_slots, _, M = memory.shape
        blocks = memory.view(-1).split([n_slots * each * M for each in rows])
        *blocks, outputs = (block.view(n_slots, each, M) for block, each in zip(blocks, rows, strict=True))
        reads, arguments = blocks[:n_layers], blocks[n_layers:]
        return cls(reads, arguments or [read[:, :-1] for read in reads[1:]], outputs)

    def clear(self) -> Tape:
        """Makes fresh memory ready to be written."""
        for read in self.reads:
            read[:, -1] = 1
        # Each stage reads all outputs of its step, and weighs the later ones by zero.
        self.outputs.zero_()
        return self

    @property
    def states(self) -> Tensor:
        """What the field was evaluated at: (slots, L, M)."""
        return self.reads[0][:, :-1]

    def part(self, slots: slice) -> Tape:
        return Tape(
            [read[slots] for read in self.reads],
            [argument[slots] for argument in self.arguments],
            self.outputs[slots],
        )
