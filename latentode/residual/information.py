r"""What the observations at and after a point say about the state there.

The likelihood of a state u as a quadratic, u^T J u, with J = j (1, b)^T (1, b) + f (0, 1)^T (0, 1). Carried
back over a transition it becomes Phi^T (J^-1 + Q)^-1 Phi, which exists where J or Q has no inverse, and every
variance made of it is a quotient of sums that do not cancel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from latentode.residual.observed import Observed

__all__ = ["carry_back", "combine", "gather_information", "observe"]


def carry_back(information: Tensor, phi: Tensor, process: Tensor) -> Tensor:
    """Rows j, b, f (3, ...) after a transition -> rows J_xx, J_xw, J_ww, det J (4, ...) before it."""
    j, b, f = information
    (a, c), (d, e) = phi
    xx, xw, ww = process
    damped = 1 + f * ww
    total = damped + j * (xx + 2 * b * xw + b * b * ww) + j * f * (xx * ww - xw * xw)
    j, b, f = j * damped / total, (b - f * xw) / damped, f / damped
    by_x, by_w = a + b * d, c + b * e
    return torch.stack(
        [
            j * by_x * by_x + f * d * d,
            j * by_x * by_w + f * d * e,
            j * by_w * by_w + f * e * e,
            j * f * (a * e - c * d).square(),
        ]
    )


def observe(information: Tensor, precision: Tensor | float) -> Tensor:
    """Add an observation of x: rows J_xx, J_xw, J_ww, det J (4, ...) -> rows j, b, f (3, ...)."""
    xx, xw, ww, det = information
    j = xx + precision
    # where nothing is known of x nothing is known of w either
    divisor = j.clamp(min=torch.finfo(j.dtype).tiny)
    return torch.stack([j, xw / divisor, (det + ww * precision) / divisor])


def unfold(information: Tensor) -> Tensor:
    """Rows j, b, f (3, ...) -> rows J_xx, J_xw, J_ww, det J (4, ...)."""
    j, b, f = information
    return torch.stack([j, j * b, j * b * b + f, j * f])


def combine(moments: Tensor, information: Tensor) -> Tensor:
    """(P^-1 + J)^-1: rows p, m, D (3, ...) and J_xx, J_xw, J_ww, det J (4, ...) -> rows p, m, D."""
    p, m, det = moments
    xx, xw, ww, det_information = information
    q = torch.addcmul(det, m, m) / p
    total = 1 + (xx * p + 2 * xw * m + ww * q) + det_information * det
    return torch.stack([p + det * ww, m - det * xw, det]) / total


def gather_information(phi: Tensor, process: Tensor, noise: Tensor, observed: Observed) -> Tensor:
    """Rows j, b, f (3, T) of each observation and those after it.

    phi (2, 2, T), process (3, T) and noise (T,), packed.
    """
    widths = observed.widths
    precision = noise.reciprocal().split(widths)
    phis, processes = phi.split(widths, -1), process.split(widths, -1)
    gathered = torch.empty_like(process)
    out = gathered.split(widths, -1)
    later = phi.new_zeros(4, 0)
    for k in range(len(widths) - 1, -1, -1):
        before = phi.new_zeros(4, widths[k])
        before[:, : later.shape[-1]] = later
        out[k].copy_(observe(before, precision[k]))
        later = carry_back(out[k], phis[k], processes[k])
    return gathered
