"""Paths of the residual through any times, given the residuals observed."""

from __future__ import annotations

import torch
from torch import Tensor

from latentode.residual.information import carry_back, observe, unfold
from latentode.residual.posterior import Posterior

__all__ = ["deviations"]


def deviations(posterior: Posterior, query_times: Tensor, moments: Tensor, noise: Tensor) -> Tensor:
    r"""What joint paths add to the posterior mean.

    Given all observations the state is still Markov. From one point to the next, with J the information
    of what comes after, carried back to the second,

        u' given u and the observations ~ Normal((I + Q J)^-1 Phi u + ..., (Q^-1 + J)^-1)

    so the walk goes once through the queries and observations in the order of time, joins the transitions
    between two queries into one, and then draws the queries alone.

    Shapes:
        query_times (B, M), moments the covariances there (3, B, M, D), noise (S, B, M, D, 2), two standard
        normal draws for each query -> (S, B, M, D).
    """
    B, N = posterior.times.shape
    M, D = noise.shape[2:4]
    moment, order = torch.cat([posterior.times, query_times], 1).sort(dim=1, stable=True)
    asked = order >= N
    steps, spread = _transitions(posterior, moment, order)
    step, spreads = _join(steps, spread, asked)

    spot = asked.nonzero()[:, 1].view(B, M)
    rank = (order.gather(1, spot) - N).unsqueeze(-1).expand(B, M, D)  # from the order of time to the caller's
    walk = spot.unsqueeze(-1).expand(B, M, D)
    step = step.gather(3, walk.expand(2, 2, B, M, D))
    spreads = spreads.gather(2, walk.expand(3, B, M, D))
    p, m, det = moments.gather(2, rank.expand(3, B, M, D))
    start = torch.stack([p, m, (det + m * m) / p])
    spreads[:, :, :1] = start[:, :, :1]
    step[..., :1, :] = 0.0
    draws = noise.gather(2, rank.unsqueeze(-1).expand_as(noise))
    return torch.empty_like(draws[..., 0]).scatter_(
        2, rank.expand_as(draws[..., 0]), _walk(step, spreads, draws)
    )


def _transitions(posterior: Posterior, moment: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """(I + Q J)^-1 Phi (2, 2, B, K, D) and (Q^-1 + J)^-1 as rows xx, xw, ww (3, B, K, D) into every point."""
    place, N = posterior.place, posterior.times.shape[1]
    seen = posterior.seen
    empty = seen[:, -1] == 0
    # A chain without observations is tied to its anchor, which counts as one at its first row.
    marks = seen.diff(dim=1).bool()
    marks[:, 0] |= empty
    at = order.clamp(max=N - 1).unsqueeze(-1).expand(*order.shape, place.shape[1])
    here = marks.gather(1, at) & (order < N).unsqueeze(-1)
    rank = here.cumsum(1) - here.long()
    right, exists = posterior.neighbour(rank)
    tied = empty.unsqueeze(1) & (rank == 0)

    # x of a kernel without a stationary law is tied to the first observation by its variance of 1 there.
    wander = posterior.mix.per_channel("wander", moment) > 0
    tie = (wander & (rank == 0) & (exists | tied)).to(moment.dtype)
    information = observe(unfold(posterior.information[:, right]), tie)
    gap = (posterior.time[right] - moment.unsqueeze(-1)).clamp(min=0)
    xx, xw, ww, det = carry_back(information, *posterior.transition(gap))

    phi, (q_xx, q_xw, q_ww) = posterior.transition(
        moment.diff(dim=1, prepend=moment[:, :1]).unsqueeze(-1).expand_as(gap)
    )
    q_det = q_xx * q_ww - q_xw * q_xw
    total = 1 + (xx * q_xx + 2 * xw * q_xw + ww * q_ww) + det * q_det
    spread = torch.stack([q_xx + q_det * ww, q_xw - q_det * xw, q_ww + q_det * xx]) / total
    back = (
        torch.stack(
            [
                torch.stack([1 + q_xw * xw + q_ww * ww, -(q_xx * xw + q_xw * ww)]),
                torch.stack([-(q_xw * xx + q_ww * xw), 1 + q_xx * xx + q_xw * xw]),
            ]
        )
        / total
    )
    return _product(back, phi), spread


def _product(left: Tensor, right: Tensor) -> Tensor:
    return (left.unsqueeze(2) * right.unsqueeze(0)).sum(1)


def _join(steps: Tensor, spread: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
    """The transition into every point from the last query before it."""
    steps, spread = steps.clone(), spread.clone()
    for k in range(1, asked.shape[1]):
        # after a query a new transition begins
        goes_on = (~asked[:, k - 1]).to(spread.dtype).unsqueeze(-1)
        (a, b), (c, d) = steps[:, :, :, k]
        xx, xw, ww = spread[:, :, k - 1] * goes_on
        spread[0, :, k] += a * a * xx + 2 * a * b * xw + b * b * ww
        spread[1, :, k] += a * c * xx + (a * d + b * c) * xw + b * d * ww
        spread[2, :, k] += c * c * xx + 2 * c * d * xw + d * d * ww
        joined = _product(steps[:, :, :, k], steps[:, :, :, k - 1])
        steps[:, :, :, k] = torch.lerp(steps[:, :, :, k], joined, goes_on)
    return steps, spread


def _walk(steps: Tensor, spread: Tensor, draws: Tensor) -> Tensor:
    """Draw x at one query after the other, (S, B, M, D)."""
    xx, xw, ww = spread
    by_x = xx.clamp(min=0).sqrt()
    across = xw / by_x.clamp(min=torch.finfo(xx.dtype).tiny)
    by_w = (ww - across * across).clamp(min=0).sqrt()
    new_x = by_x * draws[..., 0]
    new_w = across * draws[..., 0] + by_w * draws[..., 1]
    x = w = new_x.new_zeros(())
    path = torch.empty_like(new_x)
    for k in range(path.shape[2]):
        (a, b), (c, d) = steps[..., k, :]
        x, w = a * x + b * w + new_x[:, :, k], c * x + d * w + new_w[:, :, k]
        path[:, :, k] = x
    return path
