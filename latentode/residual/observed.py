"""The observed entries of a batch, each channel's own in a row."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["ENDLESS", "Observed", "pack"]

# A gap that stands for an infinite one and stays finite in float32, times any length or variance.
ENDLESS = 1e15


@dataclass(frozen=True)
class Observed:
    """Step k holds the k-th observation of every chain that has one; a chain is one channel of one series.

    Chains stand by falling length, so that those alive at step k are the first widths[k] ones, and an
    entry's predecessor has the same place in the step before. What is not observed costs nothing.

    Shapes: T observed entries; R = B D chains. entry (T,) indexes the flattened (B, N, D), row (T,) the
        chains, channel (T,) the channels; gap (T,) is the time since the chain's observation before, 0 at
        its first; chains (R,) names them: b D + d; starts (K + 1,) is where the K steps begin.
    """

    entry: Tensor
    row: Tensor
    channel: Tensor
    gap: Tensor
    chains: Tensor
    starts: Tensor
    widths: tuple[int, ...]

    def before(self, values: Tensor) -> Tensor:
        """(..., T) -> (..., T - widths[0]): at every entry but the first ones, its predecessor's value."""
        blocks = values.split(self.widths, -1)
        return torch.cat(
            [block[..., :width] for block, width in zip(blocks, self.widths[1:], strict=False)], -1
        )


def pack(times: Tensor, mask: Tensor) -> Observed:
    """Order the entries that mask (B, N, D) marks at times (B, N) by step and chain."""
    B, N, D = mask.shape
    device = mask.device
    length, chains = mask.sum(1).flatten().sort(descending=True, stable=True)
    steps = torch.arange(N, device=device)
    alive = torch.searchsorted(-length, -steps)  # as many chains are longer than k
    widths = tuple(width for width in alive.tolist() if width)
    starts = torch.cat([alive.new_zeros(1), alive[: len(widths)].cumsum(0)])
    total = sum(widths)

    # 32-bit indices: half the time of this function
    step = torch.repeat_interleave(steps.int()[: len(widths)], alive[: len(widths)], output_size=total)
    row = torch.arange(total, device=device, dtype=torch.int32) - starts.int().index_select(0, step)
    rank = torch.arange(B * D, device=device)
    series = chains // D
    to_entry = ((series - rank) * N * D + chains % D).int()
    by_chain = mask.transpose(1, 2).reshape(B * D, N).index_select(0, chains).flatten().nonzero().squeeze(1)
    first = (length.cumsum(0) - length).int()
    spot = by_chain.int().index_select(0, first.index_select(0, row).add_(step))
    entry = torch.add(to_entry.index_select(0, row), spot, alpha=D)
    time = times.index_select(0, series).flatten().index_select(0, spot)
    channel = (chains % D).int().index_select(0, row)
    observed = Observed(entry.long(), row.long(), channel, torch.zeros_like(time), chains, starts, widths)
    if len(widths) > 1:
        later = observed.gap[widths[0] :]
        torch.sub(time[widths[0] :], observed.before(time), out=later)
        later.clamp_(max=ENDLESS)
    return observed
