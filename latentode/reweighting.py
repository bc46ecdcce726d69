r"""Heavy-tailed noise around a Gauss-Markov residual: each observation weighed by how far out it lies.

A heavy-tailed law is a normal of random variance (`latentode.noise`). With the best variational posterior of
mean weight w_n for each 1 / v_n, and r integrated exactly,

    log p(x | g) >= log Normal(x | g, K + diag(sigma_n^2 / w_n)) + sum_n slack(w_n)

for any weights, and the right side is largest where w_n = weight(E[(x_n - g_n - r_n)^2] / sigma_n^2), the mean
being that of r given all x and the weights. Going there from w = 1 by repetition only ever raises it. At the
fixed point its slope in the weights is 0, so that its gradient is that with the weights held.
"""

from __future__ import annotations

import torch
from torch import Tensor

from latentode.likelihoods import Likelihood
from latentode.residual import GaussMarkov

__all__ = ["log_likelihood", "second_moments", "weights"]

# Repetitions in training and in an answer.
TRAINING_STEPS, ANSWER_STEPS = 2, 10


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
    """Log p(observed | trajectory), or a lower bound of it where noise is not normal: (S, B).

    The weights of S samples differ, and the filter runs for each: they stand as S times as many series.

    Shapes:
        times (B, N), residuals x - g (S, B, N, D), mask (B, N, D), offset of the log scale (S, B, N, D) or
        None.
    """
    S, B, N, D = residuals.shape
    if offset is None and likelihood.is_gaussian:
        return process.log_likelihood(times, residuals, mask, likelihood.scale().square())
    times, mask = times.repeat(S, 1), mask.repeat(S, 1, 1)
    residuals = residuals.reshape(1, S * B, N, D)
    variance = likelihood.scale(None if offset is None else offset.reshape(S * B, N, D)).square()
    if likelihood.is_gaussian:
        return process.log_likelihood(times, residuals, mask, variance).view(S, B)
    weight = weights(likelihood, process, times, residuals, mask, variance, n_steps=n_steps)
    normal = process.log_likelihood(times, residuals, mask, variance / weight)
    slack = torch.where(mask, likelihood.slack(weight), 0.0).sum((-1, -2))
    return (normal + slack).view(S, B)


def weights(
    likelihood: Likelihood,
    process: GaussMarkov,
    times: Tensor,
    residuals: Tensor,
    mask: Tensor,
    variance: Tensor,
    *,
    n_steps: int = ANSWER_STEPS,
) -> Tensor:
    """The weight of each observation; 1 for normal noise. It has no gradient.

    Shapes:
        times (B, N), residuals (1, B, N, D), mask (B, N, D), variance sigma^2 (D,) or (B, N, D) -> (B, N, D).
    """
    variance = variance.detach().expand(mask.shape)
    weight = torch.ones_like(variance)
    if likelihood.is_gaussian or not bool(mask.any()):
        return weight
    for _ in range(n_steps):
        square = second_moments(process, times, residuals, mask, variance / weight) / variance
        with torch.no_grad():
            weight = torch.where(mask, likelihood.weight(square), 1.0)
    return weight


def second_moments(
    process: GaussMarkov, times: Tensor, residuals: Tensor, mask: Tensor, variance: Tensor
) -> Tensor:
    r"""E[(x_n - g_n - r_n)^2], r given all observations: the noise variance itself where nothing is observed.

    It is R_n + 2 R_n^2 dlog N(x | g, K + diag R) / dR_n: the adjoint of the filter is the smoother.

    Shapes:
        residuals x - g (1, B, N, D), variance R (B, N, D) -> (B, N, D).
    """
    with torch.enable_grad():
        leaf = variance.detach().clone().requires_grad_()
        value = process.log_likelihood(times, residuals.detach(), mask, leaf).sum()
        (slope,) = torch.autograd.grad(value, leaf)
    return (variance + 2 * variance.square() * slope).clamp(min=0)
