"""The evidence lower bound."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latentode.continuity import restart_density
from latentode.expectation_propagation import foretold, joint_and_foretold
from latentode.expectation_propagation import log_likelihood as residual_log_likelihood
from latentode.likelihoods import Likelihood
from latentode.model import LatentODEModel
from latentode.residual import GaussMarkov
from latentode.series import SeriesBatch

__all__ = ["Bound", "elbo"]

# The white-noise bound estimates its variance from the residuals themselves; this keeps a perfect
# fit of a batch finite.
MIN_WHITE_VARIANCE = 1e-4
# Repetitions towards the scale of white noise that is not normal; they halve what is missing at least.
N_WHITE_STEPS = 5


@dataclass(frozen=True)
class Bound:
    """The two parts of the bound, a number for each series: log_likelihood (B,), kl (B,).

    `objective` (B,) is what training maximises in place of the log likelihood; at residual_share 1 and
    context_weight 1, and not pointwise, it is the log likelihood itself. `restart` (B,) is `restart_density`, None
    unless asked for.
    """

    log_likelihood: Tensor
    kl: Tensor
    objective: Tensor
    restart: Tensor | None = None

    @property
    def elbo(self) -> Tensor:
        """E_q[log p(x | z0)] - KL(q || p), in nats: (B,)."""
        return self.log_likelihood - self.kl


def elbo(
    model: LatentODEModel,
    context: SeriesBatch,
    target: SeriesBatch,
    *,
    n_samples: int = 1,
    generator: torch.Generator | None = None,
    residual_share: float = 1.0,
    context_weight: float = 1.0,
    pointwise: bool = False,
    restarts: bool = False,
) -> Bound:
    r"""ELBO = E_q(z0 | context)[ log p(target | z0) ] - KL(q(z0 | context) || N(0, I)).

    With a residual process log p(target | z0) = log N(x | g(z(t)), K + sigma^2 I), over all targets of
    a series at once. `residual_share` a < 1 mixes in the plain bound, in which what the trajectory
    misses is white noise:

        a-weighted gradient of log N(x | g, K + sigma^2 I) to the trajectory
            + (1 - a) log N(x | g, v I),    v the mean squared residual of the channel in the batch.

    The residual's own parameters see the full likelihood at every a. Training starts with a = 0:
    a residual process that may explain everything from the first step leaves the trajectory idle. A predicted
    noise scale is held back from the trajectory in the same way. Around a residual process the likelihood under
    noise that is not normal is that of `latentode.expectation_propagation`, near the exact one and no bound.
    `context_weight` w < 1 leaves out a share of what the context itself is worth,

        log N(target | z0) - (1 - w) log N(context | z0),

    which at w = 0 is the log density of the hidden entries given the visible ones and z0. A model that
    is asked for forecasts only then spends its trajectory on what comes, not on what was.

    `pointwise` lets the trajectory learn from values beyond the context one by one, sum log p(x_n | context, z0), in
    place of their joint density. In that each is foretold from those just before it, which no forecast knows: a
    trajectory that learns from it is good for one step ahead, and leaves the rest to the residual process.

    All three change the `objective` only; `log_likelihood` is the bound's own whatever they are.

    Args:
        context, target: on the same clock; the target usually holds the context's entries too. With
            context_weight < 1, or pointwise, the context must have the target's rows (`SeriesBatch.restrict`).
        restarts: finds `restart` too, at the price of reading the target once more.

    Shapes:
        (B, N) and (B, M) rows -> two numbers a series.
    Source: Chen et al. 2018, section 5, for the bound; the residual and its start are ours.
    """
    posterior = model.posterior(context)
    device = posterior.mean.device
    # Drawn where the generator lives, so that a seed means the same numbers on every device.
    noise = torch.randn(
        (n_samples, *posterior.mean.shape),
        generator=generator,
        device=device if generator is None else generator.device,
        dtype=posterior.mean.dtype,
    ).to(device)
    z0 = posterior.mean + posterior.stddev * noise
    target = target.shift(model.reference(context))
    states = model.latent_path(z0, target.times)
    mean, offset = model.likelihood.decode(states)
    residuals = (target.values - mean) * target.seen
    hidden = 1 - context_weight
    if (hidden or pointwise) and context.mask.shape != target.mask.shape:
        raise ValueError(
            "context_weight < 1 and pointwise=True need a context on the target's rows; make it with "
            "target.restrict(keep)"
        )
    passed_on = residuals
    if model.residual is not None and residual_share < 1:
        passed_on = residual_share * residuals + (1 - residual_share) * residuals.detach()
        if offset is not None:
            offset = residual_share * offset + (1 - residual_share) * offset.detach()
    if pointwise and model.residual is not None and residual_share > 0:
        log_likelihood, objective = _one_by_one(
            model, model.residual, context, target, passed_on, offset, context_weight
        )
    else:
        log_likelihood = objective = _log_likelihood(model, target, passed_on, target.mask, offset)
        if hidden:
            objective = objective - hidden * _of_context(model, context, target, passed_on, offset)
    if model.residual is not None and residual_share < 1:
        objective = objective + (1 - residual_share) * _white_noise(model.likelihood, residuals, target.mask)
    # KL between normals: (mu^2 + sigma^2 - 1) / 2 - log sigma.
    variance = posterior.variance
    kl = 0.5 * (posterior.mean.square() + variance - 1 - variance.log()).sum(-1)
    restart = restart_density(model, states, target, generator) if restarts else None
    return Bound(log_likelihood.mean(0), kl, objective.mean(0), restart)


def _one_by_one(
    model: LatentODEModel,
    process: GaussMarkov,
    context: SeriesBatch,
    target: SeriesBatch,
    residuals: Tensor,
    offset: Tensor | None,
    context_weight: float,
) -> tuple[Tensor, Tensor]:
    """The joint log likelihood, and what is maximised in its place: (S, B) each."""
    read = _up_to_context(context, target)
    given = model.likelihood, process, target.times, residuals, target.mask, read, offset
    if model.likelihood.is_gaussian and torch.equal(read, context.mask):
        # Of what begins with the whole context each observation's own density says what that one is worth.
        weight = 1 - (1 - context_weight) * read.to(residuals.dtype)
        joint, alone = joint_and_foretold(*given)
        learned = (weight * joint).sum((-1, -2))
        return joint.sum((-1, -2)), (weight * alone).sum((-1, -2)) + learned - learned.detach()
    log_likelihood = _log_likelihood(model, target, residuals.detach(), target.mask, offset)
    objective = foretold(*given) + log_likelihood - log_likelihood.detach()
    if context_weight < 1:
        of_context = _of_context(model, context, target, residuals, offset)
        objective = objective - (1 - context_weight) * of_context
    return log_likelihood, objective


def _of_context(
    model: LatentODEModel,
    context: SeriesBatch,
    target: SeriesBatch,
    residuals: Tensor,
    offset: Tensor | None,
) -> Tensor:
    """Log p(context | z0): (S, B)."""
    return _log_likelihood(model, target, residuals * context.seen, context.mask, offset)


def _up_to_context(context: SeriesBatch, target: SeriesBatch) -> Tensor:
    """Entries of the target up to the context's last row: (B, N, D)."""
    follows = context.observed_rows.flip(1).cumsum(1).flip(1) > 0
    return target.mask & follows.unsqueeze(-1)


def _log_likelihood(
    model: LatentODEModel, target: SeriesBatch, residuals: Tensor, mask: Tensor, offset: Tensor | None
) -> Tensor:
    """Log p of the entries that `mask` marks, given z0, or near it where noise is not normal: (S, B).

    Residuals are 0 elsewhere.
    """
    if model.residual is None:
        return model.likelihood.log_likelihood(residuals, mask, offset)
    return residual_log_likelihood(model.likelihood, model.residual, target.times, residuals, mask, offset)


def _white_noise(likelihood: Likelihood, residuals: Tensor, mask: Tensor) -> Tensor:
    """Sum log p(r) under white noise of the channel's law, its scale the batch's own: (S, B).

    For normal noise its square is the mean square; else what maximises the density, by repetition.
    """
    count = mask.sum((0, 1)).clamp(min=1)
    square = residuals.detach().square()
    variance = (square.mean(0).sum((0, 1)) / count).clamp(min=MIN_WHITE_VARIANCE)
    if likelihood.is_gaussian:
        density = -0.5 * (residuals.square() / variance + torch.log(2 * torch.pi * variance))
        return (density * mask).sum((-1, -2))
    for _ in range(N_WHITE_STEPS):
        weighed = (likelihood.weight(square / variance).detach() * square).mean(0).sum((0, 1)) / count
        variance = weighed.clamp(min=MIN_WHITE_VARIANCE)
    return likelihood.log_prob(residuals, mask, variance.sqrt()).sum((-1, -2))
