r"""Heavy-tailed noise around a Gauss-Markov residual: each observation stands for a normal one of its own.

p(x_n | r_n) is replaced by a site Normal(y_n | r_n, R_n), so that r has a normal posterior, of O(N). With
Normal(m_n, P_n) what all other sites say of r_n (the cavity), a site is such that

    Normal(r | m_n, P_n) p(x_n | r)    and    Normal(r | m_n, P_n) Normal(y_n | r, R_n)

have the same mean and variance. An outlier gets a large R_n: beside its neighbours it says nothing. Then

    log p(x) ~ log Normal(y | 0, K + diag R) + sum_n log int Normal(r | m_n, P_n) p(x_n | r) dr
                                             - sum_n log Normal(y_n | m_n, P_n + R_n),

and at these sites its slope in y, R, m and P is 0: its gradient is that with all of them held. For normal noise
y = x, R is the noise's variance, and the sum is exact. For others it is no bound, but near: of two
observations within 2e-3 nats (tests/test_expectation_propagation.py). The variational bound with one weight
for each observation lost .03 to .3 nats a value there, and learned Laplace noise of .44 where .3 was true and
9.6 degrees of freedom where 3 were; this learned .30 and 3.4.

Source: Minka 2001, "Expectation propagation for approximate Bayesian inference"; Jylanki, Vanhatalo & Vehtari
2011, "Robust Gaussian process regression with a Student-t likelihood".
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from latentode.likelihoods import Likelihood
from latentode.noise import Nodes
from latentode.residual import GaussMarkov

__all__ = ["Sites", "find_sites", "foretold", "joint_and_foretold", "log_likelihood"]

# Rounds over all sites at once, in training and in an answer: two leave 1e-2 nats a value at most, ten nothing.
TRAINING_STEPS, ANSWER_STEPS = 2, 10

# Share of the way that sites go in a round after the first. Going all of it, neighbours that answer the same
# misfit can overshoot for ever.
STEP = 0.7

# Least precision of a site, of that of the noise: an outlier's may ask for less than none. Its mean is matched
# all the same; a least one of 1e-3 settles three times as slowly and changes the evidence by 1e-4 nats a value.
LEAST_PRECISION = 0.03

# The smoother is asked about values this much smaller: beside an outlier's own square the variances would
# be lost to rounding.
SHRINK = 1e-3


class Sites(NamedTuple):
    """Normal observations in place of those seen: their values y and variances R, (B, N, D) each."""

    value: Tensor
    variance: Tensor


def log_likelihood(
    likelihood: Likelihood,
    process: GaussMarkov,
    times: Tensor,
    residuals: Tensor,
    mask: Tensor,
    offset: Tensor | None = None,
    *,
    n_steps: int = TRAINING_STEPS,
) -> Tensor:
    """Log p(observed | trajectory), exact for normal noise and near it otherwise: (S, B).

    The sites of S samples differ, and the filter runs for each: they stand as S times as many series.

    Shapes:
        times (B, N), residuals x - g (S, B, N, D), mask (B, N, D), offset of the log scale (S, B, N, D) or
        None.
    """
    if offset is None and likelihood.is_gaussian:
        return process.log_likelihood(times, residuals, mask, likelihood.scale().square())
    S, B, N, D = residuals.shape
    times, mask = times.repeat(S, 1), mask.repeat(S, 1, 1)
    residuals = residuals.reshape(1, S * B, N, D)
    scale = likelihood.scale(None if offset is None else offset.reshape(S * B, N, D))
    nodes = likelihood.nodes()
    if nodes is None:
        return process.log_likelihood(times, residuals, mask, scale.square()).view(S, B)
    sites = find_sites(likelihood, process, times, residuals[0], mask, scale, n_steps=n_steps)
    mean, variance = _cavities(process, times, mask, sites)
    of_sites = process.log_likelihood(times, sites.value.unsqueeze(0), mask, sites.variance)
    seen = torch.logsumexp(_log_parts(nodes, residuals[0] - mean, variance, scale), 0)
    ratio = seen - _log_normal(sites.value - mean, variance + sites.variance)
    return (of_sites + torch.where(mask, ratio, 0.0).sum((-1, -2))).view(S, B)


def foretold(
    likelihood: Likelihood,
    process: GaussMarkov,
    times: Tensor,
    residuals: Tensor,
    mask: Tensor,
    read: Tensor,
    offset: Tensor | None = None,
    *,
    n_steps: int = TRAINING_STEPS,
) -> Tensor:
    r"""Sum log p(r_n | those before it that `read` marks), where only what comes last may be unread: (S, B).

    It has the gradient to the residuals alone; the process and the scale of the noise, learned or predicted, are held.
    What heavy-tailed noise makes of an unread value, a mixture of normals around the Normal(m, P) foretold, has the
    slope of one normal: that of variance R + P with 1 / (R + P) the mean of 1 / (v_j sigma^2 + P), given the value.

    Shapes:
        as in `log_likelihood`; read (B, N, D).
    """
    process = process.held()
    if offset is None and likelihood.is_gaussian:
        noise = likelihood.scale().detach().square()
        return process.log_likelihood(times, residuals, mask, noise, read=read)
    S, B, N, D = residuals.shape
    times, mask, read = times.repeat(S, 1), mask.repeat(S, 1, 1), read.repeat(S, 1, 1)
    residuals = residuals.reshape(1, S * B, N, D)
    scale = likelihood.scale(None if offset is None else offset.reshape(S * B, N, D)).detach()
    nodes = likelihood.nodes()
    if nodes is None:
        return process.log_likelihood(times, residuals, mask, scale.square(), read=read).view(S, B)
    with torch.no_grad():
        sites = find_sites(likelihood, process, times, residuals[0], mask & read, scale, n_steps=n_steps)
        known = sites.value.unsqueeze(0), mask & read, sites.variance
        mean, variance = process.condition(times, *known, times)
        ahead = residuals[0] - mean[0]
        weight = torch.softmax(_log_parts(nodes, ahead, variance, scale), 0)
        of_node = _by_node(nodes.variance, ahead) * scale.square()
        total = (weight / (variance + of_node)).sum(0).reciprocal()
        noise = torch.where(read, sites.variance, total - variance)
        moved = torch.where(read, sites.value - residuals[0], 0.0)
    return process.log_likelihood(times, residuals + moved, mask, noise, read=read).view(S, B)


def joint_and_foretold(
    likelihood: Likelihood,
    process: GaussMarkov,
    times: Tensor,
    residuals: Tensor,
    mask: Tensor,
    read: Tensor,
    offset: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """What `log_likelihood` and `foretold` are sums of, under normal noise: (S, B, N, D) each.

    The first has a gradient to the process and the scale of the noise alone, the second to the residuals alone. Both
    are found at once, as twice as many series, which takes little longer than one of them.
    """
    shape = residuals.shape
    noise = likelihood.scale().square()
    if offset is not None:
        S, B, N, D = shape
        times, mask, read = times.repeat(S, 1), mask.repeat(S, 1, 1), read.repeat(S, 1, 1)
        residuals = residuals.reshape(1, S * B, N, D)
        noise = likelihood.scale(offset.reshape(S * B, N, D)).square().repeat(2, 1, 1)
    n_series = len(times)
    both = process.log_densities(
        times.repeat(2, 1),
        torch.cat([residuals.detach(), residuals], 1),
        mask.repeat(2, 1, 1),
        noise,
        read=torch.cat([torch.ones_like(read), read]),
        held=torch.arange(2 * n_series, device=mask.device) >= n_series,
    )
    joint, alone = both.chunk(2, 1)
    return joint.reshape(shape), alone.reshape(shape)


@torch.no_grad()
def find_sites(
    likelihood: Likelihood,
    process: GaussMarkov,
    times: Tensor,
    residuals: Tensor,
    mask: Tensor,
    scale: Tensor,
    *,
    n_steps: int = ANSWER_STEPS,
) -> Sites:
    """The site of each observation; for normal noise the observation itself. They have no gradient.

    Shapes:
        times (B, N), residuals and mask (B, N, D), scale (D,) or (B, N, D).
    """
    noise = scale.square().expand(mask.shape)
    sites = itself = Sites(residuals.detach().clone(), noise.clone())
    nodes = likelihood.nodes()
    if nodes is None or not bool(mask.any()):
        return itself
    for number in range(n_steps):
        mean, variance = _cavities(process, times, mask, sites)
        ahead = residuals - mean
        weight = torch.softmax(_log_parts(nodes, ahead, variance, scale), 0)
        # Of each of the normals that the noise is made of: mean and variance of r, counted from the cavity's.
        of_node = _by_node(nodes.variance, ahead) * noise
        part = variance / (variance + of_node)
        middle = (weight * part).sum(0) * ahead
        spread = (weight * (part * of_node + (part * ahead - middle).square())).sum(0)
        precision = torch.maximum(1 / spread - 1 / variance, LEAST_PRECISION / noise)
        value = mean + middle * (1 + 1 / (variance * precision))
        step = STEP if number else 1.0
        old, new = (1 - step) / sites.variance, step * precision
        value = (old * sites.value + new * value) / (old + new)
        sites = Sites(
            torch.where(mask, value, itself.value), torch.where(mask, 1 / (old + new), itself.variance)
        )
    return sites


def _cavities(process: GaussMarkov, times: Tensor, mask: Tensor, sites: Sites) -> tuple[Tensor, Tensor]:
    r"""Mean and variance of each r_n given all sites but its own: (B, N, D) each.

    With C = K + diag R the value predicted is y_n - (C^-1 y)_n / (C^-1)_nn, with the variance 1 / (C^-1)_nn,
    and both are slopes of log Normal(y | 0, C): the adjoint of the filter is the smoother.
    """
    value, variance = sites
    with torch.inference_mode(False), torch.enable_grad():
        y = (SHRINK * value).unsqueeze(0).requires_grad_()
        R = variance.clone().requires_grad_()
        density = process.log_likelihood(times, y, mask, R).sum()
        to_value, to_variance = torch.autograd.grad(density, (y, R))
    solved = -to_value[0]
    # 1 / R is the most there can be, but for rounding.
    precision = torch.minimum((solved.square() - 2 * to_variance), 1 / variance)
    precision = precision.clamp(min=torch.finfo(variance.dtype).eps ** 2)
    mean = value - solved / (SHRINK * precision)
    left = torch.maximum(1 / precision - variance, 1e-5 * variance)
    return torch.where(mask, mean, 0.0), torch.where(mask, left, 1.0)


def _by_node(values: Tensor, like: Tensor) -> Tensor:
    """(J, D) -> (J, 1, ..., D)."""
    return values.view(len(values), *[1] * (like.ndim - 1), -1)


def _log_parts(nodes: Nodes, ahead: Tensor, variance: Tensor, scale: Tensor) -> Tensor:
    """Log share_j Normal(x | m, P + v_j scale^2) of each node, x - m being `ahead`: (J, B, N, D)."""
    of_node = _by_node(nodes.variance, ahead) * scale.square()
    return torch.log(_by_node(nodes.share, ahead)) + _log_normal(ahead, variance + of_node)


def _log_normal(x: Tensor, variance: Tensor) -> Tensor:
    return -0.5 * (x.square() / variance + torch.log(2 * math.pi * variance))
