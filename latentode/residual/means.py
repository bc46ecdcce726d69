r"""Means of the filter given its variances, and their adjoint.

    m_k = Phi m_{k-1} + K e_k,    e_k = y_k - (Phi m_{k-1})_x,    K = (p', m') / (p' + r)

solved in closed loop, m_k = (I - K H) Phi m_{k-1} + K y_k, so that one step is one small product.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from latentode.residual.observed import Observed

__all__ = ["Means", "filter_means", "pull_back_means"]


class Means(NamedTuple):
    """predicted (S, n, T), the mean before each observation, 0 before the first; surprise (S, T) is e."""

    predicted: Tensor
    filtered: Tensor
    surprise: Tensor
    gain: Tensor
    loop: Tensor


def filter_means(phi: Tensor, predicted: Tensor, noise: Tensor, values: Tensor, observed: Observed) -> Means:
    """The means from phi (n, n, T), predicted variances (3 or 1, T), noise (T,) and values (S, T)."""
    n, widths = len(phi), observed.widths
    rest, tail = widths[1:], slice(widths[0], None)
    total = predicted[0] + noise
    gain = predicted[:n] / total
    # 1 - K_x would cancel where the noise is small
    loop = phi * (noise / total)
    if n == 2:
        torch.addcmul(phi[1], gain[1], phi[0], value=-1, out=loop[1])
    filtered = gain * values.unsqueeze(1)
    if rest:
        filtered_to = filtered.split(widths, -1)
        loops = [loop[:, j, tail].split(rest, -1) for j in range(n)]
        states = [filtered[:, j : j + 1].split(widths, -1) for j in range(n)]
        for k, width in enumerate(rest):
            for column, state in zip(loops, states, strict=True):
                before = state[k]
                if before.shape[-1] > width:
                    before = before[..., :width]
                filtered_to[k + 1].addcmul_(column[k], before)
    ahead = torch.zeros_like(filtered)
    if rest:
        before = observed.before(filtered)
        torch.mul(phi[:, 0, tail], before[:, :1], out=ahead[..., tail])
        if n == 2:
            ahead[..., tail].addcmul_(phi[:, 1, tail], before[:, 1:])
    return Means(ahead, filtered, values - ahead[:, 0], gain, loop)


def pull_back_means(
    phi: Tensor, means: Means, to_surprise: Tensor, observed: Observed
) -> tuple[Tensor, Tensor]:
    """The adjoint, from the last observation to the first.

    to_surprise (S, T): what each surprise is worth by itself. Returns what the filtered means are worth to
    what comes after, (S, n, T), and what the surprises, and so the values, are worth in all, (S, T).
    """
    n, widths = len(phi), observed.widths
    rest, tail = widths[1:], slice(widths[0], None)
    worth = torch.zeros_like(means.filtered)
    if rest:
        base = (phi[0, :, tail] * to_surprise[:, None, tail]).neg_().split(rest, -1)
        loops = [means.loop[i, :, tail].split(rest, -1) for i in range(n)]
        rows = [worth[:, i : i + 1].split(widths, -1) for i in range(n)]
        back = worth.split(widths, -1)
        for k in range(len(rest) - 1, -1, -1):
            out = back[k]
            if out.shape[-1] > rest[k]:
                out = out[..., : rest[k]]
            torch.addcmul(base[k], loops[0][k], rows[0][k + 1], out=out)
            if n == 2:
                out.addcmul_(loops[1][k], rows[1][k + 1])
    to_values = torch.addcmul(to_surprise, means.gain[0], worth[:, 0])
    if n == 2:
        to_values.addcmul_(means.gain[1], worth[:, 1])
    return worth, to_values
