r"""Variances of the filter, which do not depend on the values observed, and their adjoint.

Of the state (x, w) of a chain at an observation: p = Var x, m = Cov(x, w), the determinant D = p q - m^2 of
the covariance, and q = Var w = (D + m^2) / p. To the next observation

    p' = phi_xx^2 p + 2 phi_xx phi_xw m + phi_xw^2 q + Q_xx,      m' = ... likewise
    D' = det(Phi)^2 D + <adj Q, Phi P Phi^T> + det Q

and an observation with noise variance r multiplies p', m' and D' by r / (p' + r). Carrying D instead of q is
what keeps float32 positive: no step takes a difference of nearly equal numbers. (m / p never falls under -1
for any of the kernels, and the correlation of Q stays under .87, so neither quadratic form cancels.)
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from latentode.residual.observed import Observed

__all__ = ["Variances", "covariance_after", "filter_variances", "pull_back_variances"]


class Variances(NamedTuple):
    """The rows p, m, D (only p where the state is x alone) at every observation.

    predicted (3, T) from those before it, filtered (3, T) from this one too. The map from one to the next
    is `forms`: the columns that multiply p, m, q, what is added, (3, T - widths[0]) each, and det(Phi)^2.
    """

    predicted: Tensor
    filtered: Tensor
    forms: tuple[Tensor, ...]


def filter_variances(
    phi: Tensor, process: Tensor, noise: Tensor, velocity: Tensor, observed: Observed
) -> Variances:
    """The variances of chains that start with Var x = 1 and Var w = velocity, as independents.

    phi (2, 2, T), process (3, T), noise (T,) > 0; for a state that is x alone (1, 1, T) and (1, T).
    """
    widths = observed.widths
    first, rest, tail = widths[0], widths[1:], slice(widths[0], None)
    predicted, filtered = torch.empty_like(process), torch.empty_like(process)
    predicted[0, :first] = 1.0
    if len(process) == 3:
        predicted[1, :first] = 0.0
        predicted[2, :first] = velocity[..., :first]
    start = torch.mul(predicted[:, :first], noise[:first] / (1 + noise[:first]), out=filtered[:, :first])
    forms = _forms(phi[..., tail], process[:, tail])
    if rest:
        flat = (noise[tail], predicted[:, tail], filtered[:, tail], *forms)
        scan = _scan_one if len(process) == 1 else _scan_two
        scan(start, [x.split(rest, -1) for x in flat])
    return Variances(predicted, filtered, forms)


def covariance_after(moments: Tensor, phi: Tensor, process: Tensor) -> Tensor:
    """Rows p, m, D (3, ...) -> the same after a transition phi (2, 2, ...), process (3, ...)."""
    p, m, det = moments
    of_p, of_m, of_q, added, shrink = _forms(phi, process)
    ahead = (added + of_p * p).addcmul_(of_m, m).addcmul_(of_q, torch.addcmul(det, m, m) / p)
    ahead[2] += shrink * det
    return ahead


def _forms(phi: Tensor, process: Tensor) -> tuple[Tensor, ...]:
    if len(process) == 1:
        return phi[0].square(), process
    (a, b), (c, d) = phi
    xx, xw, ww = process
    form = phi.new_empty(3, *process.shape)  # of p, m, q; to p', m', D'
    of_p, of_m, of_q = form
    torch.mul(a, a, out=of_p[0])
    torch.mul(a, c, out=of_p[1])
    torch.mul(c, c, out=of_p[2])
    torch.mul(a, b, out=of_m[0])
    torch.mul(a, d, out=of_m[1]).addcmul_(b, c).mul_(0.5)
    torch.mul(c, d, out=of_m[2])
    torch.mul(b, b, out=of_q[0])
    torch.mul(b, d, out=of_q[1])
    torch.mul(d, d, out=of_q[2])
    of_m.mul_(2)
    form[:, 2].mul_(xx).addcmul_(form[:, 0], ww).addcmul_(form[:, 1], xw, value=-2)
    added = process.clone()
    added[2].mul_(xx).addcmul_(xw, xw, value=-1)
    return of_p, of_m, of_q, added, torch.mul(a, d).addcmul_(b, c, value=-1).square_()


def _scan_one(start: Tensor, blocks: list[tuple[Tensor, ...]]) -> None:
    p = start
    for r, ahead, post, of_p, added in zip(*blocks, strict=True):
        torch.addcmul(added, of_p, p[:, : len(r)], out=ahead)
        p = torch.mul(ahead, r / (ahead + r), out=post)


def _scan_two(start: Tensor, blocks: list[tuple[Tensor, ...]]) -> None:
    p, m, det = start.unbind()
    q = torch.addcmul(det, m, m) / p
    for r, ahead, post, of_p, of_m, of_q, added, shrink in zip(*blocks, strict=True):
        width = len(r)
        if len(p) > width:
            p, m, det, q = p[:width], m[:width], det[:width], q[:width]
        torch.addcmul(added, of_p, p, out=ahead).addcmul_(of_m, m).addcmul_(of_q, q)
        p_ahead, _, det_ahead = ahead.unbind()
        det_ahead.addcmul_(shrink, det)
        p, m, det = torch.mul(ahead, r / (p_ahead + r), out=post).unbind()
        q = torch.addcmul(det, m, m).div_(p)


def pull_back_variances(
    variances: Variances, noise: Tensor, to_predicted: Tensor, observed: Observed
) -> tuple[Tensor, Tensor]:
    """The adjoint, by the chain rule from the last observation to the first.

    to_predicted (2 or 1, T): what each predicted p and m is worth by itself. Returns what the predicted rows
    are worth in all, (3 or 1, T), and what the noise is worth through the filtered ones, (T,).
    """
    predicted, filtered, forms = variances
    widths = observed.widths
    rest, tail = widths[1:], slice(widths[0], None)
    total = predicted[0] + noise
    kept = noise / total
    worth = torch.zeros_like(predicted)  # of the filtered rows
    if rest:
        through = _columns(forms, observed.before(filtered))
        base = through[0] * to_predicted[0, tail]
        if len(through) > 1:
            base.addcmul_(through[1], to_predicted[1, tail])
            gain = (predicted[1:, tail] / total[tail]).unsqueeze(1)
            through[1:].addcmul_(gain, through[0], value=-1)
        through.mul_(kept[tail])
        through[0].mul_(kept[tail])
        _scan_back(
            [x.split(rest, -1) for x in (base, *through)], [x.split(widths, -1) for x in (worth, *worth)]
        )
    scaled = (worth * predicted).sum(0).div_(total)
    ahead = worth.mul_(kept)
    ahead[0].addcmul_(scaled, kept, value=-1)
    ahead[: len(to_predicted)].add_(to_predicted)
    return ahead, scaled.mul_(predicted[0]).div_(total)


def _columns(forms: tuple[Tensor, ...], before: Tensor) -> Tensor:
    """(3, 3, T'): what p', m' and D' change by, row by row, with the p, m and D filtered before."""
    if len(before) == 1:
        return forms[0].unsqueeze(0).clone()
    of_p, of_m, of_q, _, shrink = forms
    p, m, det = before
    columns = of_q.new_empty(3, 3, of_q.shape[-1])
    inverse = p.reciprocal()
    slope = m * inverse
    q = torch.addcmul(det, m, m).mul_(inverse)
    torch.addcmul(of_p, of_q, q.mul_(inverse), value=-1, out=columns[:, 0])
    torch.addcmul(of_m, of_q, slope, value=2, out=columns[:, 1])
    torch.mul(of_q, inverse, out=columns[:, 2])
    columns[2, 2].add_(shrink)
    return columns


def _scan_back(blocks: list[tuple[Tensor, ...]], worth: list[tuple[Tensor, ...]]) -> None:
    steps = list(zip(*blocks, strict=True))
    after = list(zip(*worth, strict=True))
    for k in range(len(steps) - 1, -1, -1):
        base, first, *others = steps[k]
        out = after[k][0]
        width = base.shape[-1]
        if out.shape[-1] > width:
            out = out[:, :width]
        _, by_p, *by_others = after[k + 1]
        torch.addcmul(base, first, by_p, out=out)
        for column, by in zip(others, by_others, strict=True):
            out.addcmul_(column, by)
