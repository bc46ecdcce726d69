"""The bound is a bound, and it is tight where the posterior is exact."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from latentode import SeriesBatch, elbo
from tests.problems import ScalarDecay

PROBLEMS = {
    "white noise": ScalarDecay(rate=0.7, noise=0.3),
    "residual": ScalarDecay(rate=0.7, noise=0.2, scale=0.5, length=0.4),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_elbo_is_the_evidence_at_the_exact_posterior(name):
    decay = PROBLEMS[name]
    batch = decay.sample(n_series=64)
    generator = torch.Generator().manual_seed(1)
    bounds = torch.stack(
        [elbo(decay.model(), batch, batch, n_samples=50, generator=generator).elbo for _ in range(40)]
    )
    gap = bounds.mean(0) - decay.log_evidence(batch)
    # Monte Carlo error of the mean over 40 x 50 draws, from the spread between the forty bounds.
    standard_error = bounds.std(0) / 40**0.5
    assert (gap.mean().abs() < 4 * standard_error.square().mean().sqrt() / 64**0.5).all()
    assert (gap.abs() < 5 * standard_error).all()


def test_a_wrong_posterior_gives_a_smaller_bound():
    decay = PROBLEMS["white noise"]
    batch = decay.sample(n_series=64)
    model = decay.model()
    exact = model.encoder.forward
    model.encoder.forward = lambda context: Normal(exact(context).mean + 0.5, exact(context).stddev * 2)
    bound = elbo(model, batch, batch, n_samples=500, generator=torch.Generator().manual_seed(1)).elbo
    assert (bound < decay.log_evidence(batch)).all()


def test_kl_is_the_normals():
    decay = PROBLEMS["white noise"]
    batch = decay.sample(n_series=8)
    posterior = decay.model().posterior(batch)
    prior = Normal(torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    expected = kl_divergence(posterior, prior).sum(-1)
    torch.testing.assert_close(elbo(decay.model(), batch, batch).kl, expected)


def test_only_observed_targets_count():
    decay = PROBLEMS["residual"]
    batch = decay.sample(n_series=8)
    keep = torch.ones(8, 6, dtype=torch.bool)
    keep[:, 4:] = False
    fewer = SeriesBatch(batch.times[:, :4], batch.values[:, :4], batch.mask[:, :4])
    bounds = [
        elbo(decay.model(), fewer, target, generator=torch.Generator().manual_seed(0)).log_likelihood
        for target in (batch.restrict(keep), fewer)
    ]
    torch.testing.assert_close(bounds[0], bounds[1])


def test_context_weight_zero_leaves_the_conditional_density():
    """Log p(hidden | visible, z0) is what the likelihoods of all and of the visible differ by."""
    decay = PROBLEMS["residual"]
    batch = decay.sample(n_series=8)
    keep = torch.zeros(8, 6, dtype=torch.bool)
    keep[:, :3] = True
    context = batch.restrict(keep)

    def log_likelihood(target, **settings):
        generator = torch.Generator().manual_seed(0)
        return elbo(decay.model(), context, target, generator=generator, **settings).objective

    conditional = log_likelihood(batch, context_weight=0.0)
    torch.testing.assert_close(conditional, log_likelihood(batch) - log_likelihood(context))
    with pytest.raises(ValueError, match="needs a context on the target's rows"):
        elbo(decay.model(), context.compact(), batch, context_weight=0.5)


def test_residual_share_zero_keeps_the_residual_from_the_trajectory():
    """At share 0 the trajectory's gradient is the white-noise bound's, and the residual's is its own."""
    decay = PROBLEMS["residual"]
    batch = decay.sample(n_series=8)

    def gradients(**settings):
        model = decay.model()
        bound = elbo(model, batch, batch, generator=torch.Generator().manual_seed(0), **settings)
        bound.objective.sum().backward()
        grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        return bound, model, grads

    start, model, first = gradients(residual_share=0.0)
    full, _, last = gradients(residual_share=1.0)
    kernel = [name for name in first if name.startswith("residual.")]
    assert kernel
    for name in kernel:
        torch.testing.assert_close(first[name], last[name])
    torch.testing.assert_close(start.log_likelihood, full.log_likelihood)  # the same bound either way

    posterior = model.posterior(batch)
    noise = torch.randn(1, 8, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    residuals = model.residuals(posterior.mean + posterior.stddev * noise, batch)
    variance = residuals.detach().square().mean((0, 1, 2))
    white = -0.5 * (residuals.square() / variance).sum()
    (expected,) = torch.autograd.grad(white, model.field.matrix)
    torch.testing.assert_close(first["field.matrix"], expected)
