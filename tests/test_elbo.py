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
        return elbo(decay.model(), context, target, generator=generator, **settings).log_likelihood

    conditional = log_likelihood(batch, context_weight=0.0)
    torch.testing.assert_close(conditional, log_likelihood(batch) - log_likelihood(context))
    with pytest.raises(ValueError, match="needs a context on the target's rows"):
        elbo(decay.model(), context.compact(), batch, context_weight=0.5)


def test_residual_share_zero_keeps_the_residual_from_the_trajectory():
    """At share 0 the trajectory's gradient is the white-noise bound's, and the residual's is its own."""
    decay = PROBLEMS["residual"]
    batch = decay.sample(n_series=8)
    model = decay.model()
    for share in (0.0, 1.0):
        model.zero_grad()
        generator = torch.Generator().manual_seed(0)
        elbo(model, batch, batch, residual_share=share, generator=generator).log_likelihood.sum().backward()
        grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        if share == 0.0:
            first = grads
    kernel = [name for name in first if name.startswith("residual.")]
    assert kernel
    for name in kernel:
        torch.testing.assert_close(first[name], grads[name])
    assert not torch.allclose(first["field.matrix"], grads["field.matrix"])
