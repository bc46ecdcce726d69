"""The bound is a bound, and it is tight where the posterior is exact."""

from copy import deepcopy

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from latentode import Likelihood, SeriesBatch, elbo
from latentode.expectation_propagation import find_sites
from latentode.noise import Nodes
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
    with pytest.raises(ValueError, match="need a context on the target's rows"):
        elbo(decay.model(), context.compact(), batch, context_weight=0.5)


def _first_half(batch):
    keep = torch.zeros(batch.mask.shape[:2], dtype=torch.bool)
    keep[:, : keep.shape[1] // 2] = True
    return batch.restrict(keep)


@pytest.mark.parametrize("noise", ["gaussian", "student_t"])
def test_pointwise_the_trajectory_learns_from_each_forecast_by_itself(noise):
    """Its gradient is that of sum log p(x_n | context, z0), in which the residual is conditioned on the context."""
    decay = PROBLEMS["residual"]
    batch = decay.sample(n_series=8)
    context = _first_half(batch)
    model = decay.model()
    decoder = model.likelihood.decoder
    model.likelihood = Likelihood(1, 1, (), noise=noise, initial_noise=0.2).double()
    model.likelihood.decoder = decoder

    def gradient(objective):
        return torch.autograd.grad(objective.sum(), model.field.matrix)[0]

    generator = torch.Generator().manual_seed(0)
    bound = elbo(model, context, batch, generator=generator, context_weight=0.0, pointwise=True)
    ours = gradient(bound.objective)

    posterior = model.posterior(context)
    draws = torch.randn(1, 8, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    residuals = model.residuals(posterior.mean + posterior.stddev * draws, batch)
    # The mean foretold is linear in what is left over of the context: its matrix, row by row.
    n_rows = batch.mask.shape[1]
    one_by_one = torch.eye(n_rows, dtype=torch.float64).view(n_rows, 1, n_rows, 1) * context.mask
    left_over, scale = residuals.detach()[0] * context.mask, model.likelihood.scale().detach()
    sites = find_sites(
        model.likelihood, model.residual, batch.times, left_over, context.mask, scale, n_steps=2
    )
    weights, variance = model.residual.condition(
        batch.times, one_by_one, context.mask, sites.variance, batch.times
    )
    known = residuals * context.mask + sites.value - left_over
    ahead = residuals - torch.einsum("nbmd,sbnd->sbmd", weights, known)
    nodes = model.likelihood.nodes() or Nodes(torch.ones(1, 1), torch.ones(1, 1))
    parts = [
        share.log() + Normal(0.0, (variance + of_node * scale.square()).sqrt()).log_prob(ahead)
        for of_node, share in zip(*nodes, strict=True)
    ]
    expected = gradient(torch.logsumexp(torch.stack(parts), 0) * (batch.mask & ~context.mask))
    # What the context itself is worth is left out exactly for normal noise only.
    close = {"rtol": 1e-9, "atol": 1e-9} if noise == "gaussian" else {"rtol": 1e-2, "atol": 0.0}
    torch.testing.assert_close(ours, expected, **close)


@pytest.mark.parametrize("noise_scale", ["learned", "predicted"])
@pytest.mark.parametrize("noise", ["gaussian", "student_t"])
def test_pointwise_the_scales_learn_from_the_joint_density(noise, noise_scale):
    decay = PROBLEMS["residual"]
    batch = decay.sample(n_series=8)

    likelihood = Likelihood(1, 1, (), noise=noise, noise_scale=noise_scale, shortcut=False).double()

    def found(**settings):
        model = decay.model()
        model.likelihood = deepcopy(likelihood)
        scales = [*model.residual.parameters(), *model.likelihood.scale_parameters]
        generator = torch.Generator().manual_seed(0)
        bound = elbo(model, _first_half(batch), batch, generator=generator, **settings)
        bound.objective.sum().backward()
        # The decoder's outputs beyond the mean are the predicted scale's alone.
        of_offset = model.likelihood.decoder.weights[-1].grad[1:]
        return bound, [*(scale.grad for scale in scales), of_offset]

    (joint, of_joint), (pointwise, of_pointwise) = found(), found(pointwise=True)
    torch.testing.assert_close(of_pointwise, of_joint)
    torch.testing.assert_close(pointwise.log_likelihood, joint.log_likelihood)
    assert (pointwise.objective != joint.objective).all()


def test_pointwise_what_lies_within_the_context_is_taken_together():
    decay = PROBLEMS["residual"]
    batch = decay.sample(n_series=8)
    keep = torch.zeros(8, 6, dtype=torch.bool)
    keep[:, [0, 2, 5]] = True

    def objective(**settings):
        generator = torch.Generator().manual_seed(0)
        return elbo(decay.model(), batch.restrict(keep), batch, generator=generator, **settings).objective

    torch.testing.assert_close(objective(pointwise=True), objective())


@pytest.mark.parametrize("noise_scale", ["learned", "predicted"])
def test_pointwise_a_cut_needs_no_look_of_its_own_at_the_context(monkeypatch, noise_scale):
    """What the context is worth is found on the way; as by itself, in value and gradient."""
    decay = PROBLEMS["residual"]
    batch = decay.sample(n_series=8)
    likelihood = Likelihood(1, 1, (), noise_scale=noise_scale, shortcut=False).double()

    def found():
        model = decay.model()
        model.likelihood = deepcopy(likelihood)
        generator = torch.Generator().manual_seed(0)
        bound = elbo(
            model, _first_half(batch), batch, generator=generator, context_weight=0.3, pointwise=True
        )
        bound.objective.sum().backward()
        return bound, [parameter.grad for parameter in model.parameters() if parameter.grad is not None]

    at_once, its_gradient = found()
    monkeypatch.setattr(torch, "equal", lambda *_: False)
    by_itself, expected = found()
    torch.testing.assert_close(at_once.objective, by_itself.objective)
    torch.testing.assert_close(at_once.log_likelihood, by_itself.log_likelihood)
    torch.testing.assert_close(its_gradient, expected)


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
