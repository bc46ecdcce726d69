"""log N(y | 0, K + noise) of every observation given those before it, with its gradient by hand."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from latentode.residual.means import Means, filter_means, pull_back_means
from latentode.residual.mix import KernelMix
from latentode.residual.observed import Observed
from latentode.residual.variances import Variances, filter_variances, pull_back_variances

__all__ = ["PredictiveDensity"]

# The noise variance of an entry that the filter learns nothing from: beside it every variance of a process is lost
# to rounding, and in float32 it is finite.
NOTHING_LEARNED = 1e30


class PredictiveDensity(torch.autograd.Function):
    r"""log Normal(y_k | mean_k, p_k + noise_k) given the chain's observations before, one step at a time.

    The sum over a chain is log N(y | 0, K + diag noise). Its gradient is the adjoint of the filter: two
    more scans, from the last observation to the first, one for the means and one for the variances.
    Entries that `unread` marks are foretold and then passed over: they tell nothing of those after them.

    Shapes:
        lag, noise (T,), values (S, T), unread (T,) or None, packed as in `Observed` -> (S, T).
    Source: Rauch, Tung & Striebel 1965 for the backward recursion; Hartikainen & Sarkka 2010 for Matern
        processes as linear state spaces.
    """

    @staticmethod
    def forward(
        ctx: Any,
        lag: Tensor,
        noise: Tensor,
        values: Tensor,
        mix: KernelMix,
        observed: Observed,
        unread: Tensor | None = None,
    ) -> Tensor:
        ctx.mix, ctx.observed, ctx.unread = mix, observed, unread
        ctx.save_for_backward(lag, noise, values)
        density = torch.zeros_like(values)
        if observed.widths:
            # In inference mode a view or a small product takes a fifth less; nothing made in it is given away.
            with torch.inference_mode():
                ctx.kept = _filter(lag, _learned_from(noise, unread), values, mix, observed)
                _, means, variances = ctx.kept
                total = variances.predicted[0] + noise
                torch.mul(means.surprise, means.surprise, out=density).div_(total).add_(torch.log(total))
                density.add_(math.log(2 * math.pi)).mul_(-0.5)
        return density

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        lag, noise, values = ctx.saved_tensors
        if not ctx.observed.widths:
            return torch.zeros_like(lag), torch.zeros_like(noise), torch.zeros_like(values), None, None, None
        with torch.inference_mode():
            phi, means, variances = ctx.kept
            found = _pull_back(grad, lag, noise, phi, means, variances, ctx.mix, ctx.observed, ctx.unread)
        return *(each.clone() for each in found), None, None, None


def _learned_from(noise: Tensor, unread: Tensor | None) -> Tensor:
    """The noise variance by which the filter learns from each entry."""
    return noise if unread is None else noise.masked_fill(unread, NOTHING_LEARNED)


def _filter(
    lag: Tensor, noise: Tensor, values: Tensor, mix: KernelMix, observed: Observed
) -> tuple[Tensor, Means, Variances]:
    """Transitions (n, n, T), means and variances, of n states."""
    phi, process = mix.transition(lag, observed.channel)
    if mix.one_state:
        phi, process = phi[:1, :1], process[:1]
    velocity = mix.per_channel("velocity", lag).index_select(0, observed.channel[: observed.widths[0]])
    variances = filter_variances(phi, process, noise, velocity, observed)
    return phi, filter_means(phi, variances.predicted, noise, values, observed), variances


def _pull_back(
    grad: Tensor,
    lag: Tensor,
    noise: Tensor,
    phi: Tensor,
    means: Means,
    variances: Variances,
    mix: KernelMix,
    observed: Observed,
    unread: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """What lag, noise (T,) and values (S, T) are worth."""
    total = variances.predicted[0] + noise
    scaled = means.surprise / total
    later, to_values = pull_back_means(phi, means, -grad * scaled, observed)
    to_total = (grad * torch.addcmul(total.reciprocal(), scaled, scaled, value=-1)).sum(0).mul_(-0.5)

    # The gain (p', m') / total is made of the predicted variances and of the noise it is learned from with.
    learned_from = _learned_from(noise, unread)
    if unread is not None:
        total = variances.predicted[0] + learned_from
    to_gain = (later * means.surprise.unsqueeze(1)).sum(0)
    to_learning = (to_gain * means.gain).sum(0).div_(total).neg_()
    to_predicted = to_gain.div_(total)
    to_predicted[0].add_(to_total).add_(to_learning)
    to_variances, to_noise = pull_back_variances(variances, learned_from, to_predicted, observed)
    to_noise.add_(to_learning)
    if unread is not None:
        to_noise.masked_fill_(unread, 0.0)

    later[:, 0].sub_(to_values)  # now what the predicted means are worth
    flow = (later.unsqueeze(2) * means.predicted.unsqueeze(1)).sum(0)
    to_lag = mix.slope(lag, observed.channel, variances.predicted, to_variances, flow)
    return to_lag, to_noise.add_(to_total), to_values
