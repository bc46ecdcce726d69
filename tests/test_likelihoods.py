"""What is said of a value is its channel's law, at its scale, around the trajectory and the residual."""

import numpy as np
import pytest
import torch
from scipy import stats

from latentode import GaussianLikelihood, GaussMarkov, Likelihood, SeriesBatch, elbo
from latentode.likelihoods import MOST_OFFSET
from latentode.model import Predictive
from tests.problems import ScalarDecay

LAWS = ["gaussian", "student_t", "laplace"]
RIVALS = [stats.norm(), stats.t(6.0), stats.laplace(scale=0.5**0.5)]


def seeded(seed=0):
    return {"generator": torch.Generator().manual_seed(seed), "dtype": torch.float64}


def test_channels_of_different_laws_have_each_its_own_density():
    likelihood = Likelihood(2, 3, noise=LAWS, initial_noise=0.4).double()
    residuals = torch.randn(2, 5, 3, **seeded())
    mask = torch.rand(5, 3, **seeded(1)) < 0.6
    found = likelihood.log_prob(residuals, mask).detach().numpy()
    for channel, law in enumerate(RIVALS):
        expected = law.logpdf(residuals[..., channel].numpy() / 0.4) - np.log(0.4)
        np.testing.assert_allclose(found[..., channel], expected * mask[:, channel].numpy(), atol=1e-6)


def test_noise_variance_is_that_of_draws():
    likelihood = Likelihood(2, 3, noise=LAWS, initial_noise=0.4).double()
    np.testing.assert_allclose(
        likelihood.noise_variance.detach(), [0.4**2 * law.var() for law in RIVALS], rtol=1e-6
    )
    drawn = likelihood.draw_variance(np.random.default_rng(0), (50_000,))
    # Student's v has a standard deviation of 1.5 at six degrees: five standard errors of the mean.
    np.testing.assert_allclose(drawn.mean(0), [law.var() for law in RIVALS], atol=5 * 1.5 / 50_000**0.5)


def test_a_predicted_scale_starts_as_the_learned_one():
    likelihood = Likelihood(4, 2, noise_scale="predicted")
    z = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    mean, offset = likelihood.decode(z)
    assert mean.shape == offset.shape == (7, 2)
    assert mean.std() > 0
    assert (offset == 0).all()
    torch.testing.assert_close(likelihood.scale(offset), likelihood.scale().expand(7, 2))


def test_a_predicted_scale_keeps_to_its_bounds():
    likelihood = Likelihood(4, 2, noise_scale="predicted", min_noise=0.01)
    with torch.no_grad():
        likelihood.decoder.biases[-1][2:] = torch.tensor([1e6, -1e6])
    _, offset = likelihood.decode(torch.zeros(1, 4))
    torch.testing.assert_close(offset, torch.tensor([[MOST_OFFSET, -MOST_OFFSET]]))
    assert (likelihood.scale(offset) > 0.01).all()
    assert (likelihood.scale(torch.full((1, 2), -1e3)) == 0.01).all()


def test_normal_noise_is_the_same_by_either_name():
    torch.manual_seed(0)
    one = GaussianLikelihood(3, 2)
    other = Likelihood(3, 2, noise=["gaussian", "gaussian"])
    other.load_state_dict(one.state_dict())
    z, x = torch.randn(4, 3), torch.randn(4, 2)
    assert torch.equal(one.mean(z), other.mean(z))
    assert torch.equal(one.log_prob(x, x > 0), other.log_prob(x, x > 0))
    assert other.nodes() is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": "cauchy"}, "noise must be one of 'gaussian', 'student_t', 'laplace'; got 'cauchy'"),
        ({"noise": ["laplace"]}, "1 noise laws for 2 channels; give one for all or one for each"),
        ({"noise_scale": "fixed"}, "noise_scale must be one of 'learned', 'predicted'; got 'fixed'"),
        ({"initial_noise": 1e-4}, "need 0 < min_noise < initial_noise"),
    ],
)
def test_what_makes_no_sense_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Likelihood(2, 2, **settings)


# ---------------------------------------------------------------- the predictive distribution


def predictive(latent=0.0, *, predicted=False):
    """Of one series at five times: four samples of z0, three channels of a law each."""
    likelihood = Likelihood(2, 3, noise=LAWS, initial_noise=0.4).double()
    trajectory, residual = torch.randn(2, 4, 1, 5, 3, **seeded()).unbind()
    offset = 0.5 * torch.randn(4, 1, 5, 3, **seeded(1)) if predicted else None
    variance = likelihood.scale(offset).square().detach()
    spread = torch.full((1, 5, 3), latent**2, dtype=torch.float64)
    with torch.no_grad():
        nodes = likelihood.nodes()
    return Predictive(trajectory, residual, spread, variance, nodes)


@pytest.mark.parametrize("predicted", [False, True])
def test_density_and_scores_are_those_of_the_mixture_of_the_laws(predicted):
    found = predictive(predicted=predicted)
    values = 2 * torch.randn(1, 5, 3, **seeded(2))
    mask = torch.ones(1, 5, 3, dtype=torch.bool)
    scale = found.noise_variance.expand(4, 1, 5, 3).sqrt()
    e = ((values - found.component_means) / scale).numpy()
    density, score = found.log_prob(values, mask).numpy(), found.at(mask).score(values[mask]).view(1, 5, 3)
    for channel, law in enumerate(RIVALS):
        one = np.log((law.pdf(e[..., channel]) / scale[..., channel].numpy()).mean(0))
        # The quadrature errs by less than 1e-2 in log density and 3e-4 in distribution, tests/test_noise.py.
        np.testing.assert_allclose(density[..., channel], one, atol=1e-2)
        below = stats.norm.cdf(score[..., channel])
        np.testing.assert_allclose(below, law.cdf(e[..., channel]).mean(0), atol=3e-4)


def test_values_at_scores_have_them_and_variances_are_the_laws():
    found = predictive(latent=0.3, predicted=True)
    place = torch.rand(1, 5, 3, **seeded(3)) < 0.7
    mixture = found.at(place)
    z = torch.linspace(-6, 6, int(place.sum()), dtype=torch.float64)
    torch.testing.assert_close(mixture.score(mixture.value_at(z)), z, rtol=0, atol=1e-8)
    expected = 0.09 + found.noise_variance * torch.tensor([law.var() for law in RIVALS]).double()
    # Of Student's variance the quadrature keeps all but what lies beyond thirty scales.
    torch.testing.assert_close(found.variance, expected, rtol=5e-3, atol=0)


def test_normal_channels_beside_others_are_answered_as_by_themselves():
    found = predictive(latent=0.3)
    mask = torch.zeros(1, 5, 3, dtype=torch.bool)
    mask[..., 0] = True
    plain = Predictive(found.trajectory, found.residual, found.latent_variance, found.noise_variance)
    z = torch.tensor([-5.0, -1.0, 0.0, 2.0, 4.0], dtype=torch.float64)
    torch.testing.assert_close(found.at(mask).value_at(z), plain.at(mask).value_at(z), rtol=1e-8, atol=1e-8)
    values = torch.randn(1, 5, 3, **seeded(2))
    torch.testing.assert_close(found.log_prob(values, mask), plain.log_prob(values, mask))


# ---------------------------------------------------------------- in the model


def model_with(noise, residual=None, **settings):
    """One decaying state, seen exactly: what is asked is the noise."""
    model = ScalarDecay(rate=0.7, noise=0.2).model()
    likelihood = Likelihood(1, 1, (), noise=noise, initial_noise=0.2, **settings).double()
    with torch.no_grad():
        likelihood.decoder.weights[0][0] = 1.0
        likelihood.decoder.biases[0][0] = 0.0
    model.likelihood, model.residual = likelihood, residual
    return model


def test_an_outlier_moves_a_forecast_less_under_heavy_tails():
    batch = ScalarDecay(rate=0.7, noise=0.2).sample(n_series=1)
    spoilt = SeriesBatch(batch.times, batch.values.clone(), batch.mask)
    spoilt.values[0, -1] += 3.0
    times = batch.times[:, -1:] + 0.05
    z0 = torch.zeros(1, 1, 1, dtype=torch.float64)
    moved = {}
    for noise in LAWS:
        model = model_with(noise, GaussMarkov(1, "ou", scale=0.5, length=1.0).double())
        with torch.no_grad():
            clean, changed = (model.predictive(one, times, z0).mean for one in (batch, spoilt))
        moved[noise] = (changed - clean).abs().item()
    assert moved["student_t"] < 0.3 * moved["gaussian"]
    assert moved["laplace"] < 0.5 * moved["gaussian"]


def test_an_answer_is_the_same_where_torch_keeps_no_gradients():
    batch = ScalarDecay(rate=0.7, noise=0.2).sample(n_series=3)
    model = model_with("student_t", GaussMarkov(1, "ou", scale=0.5, length=1.0).double())
    z0 = torch.randn(4, 3, 1, **seeded())
    found = []
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            found.append(model.predictive(batch, batch.times + 0.1, z0).mean.clone())
    assert torch.equal(*found)


@pytest.mark.parametrize("noise", ["student_t", "laplace"])
def test_without_a_residual_process_the_bound_has_the_exact_density(noise):
    batch = ScalarDecay(rate=0.7, noise=0.2).sample(n_series=8)
    model = model_with(noise)
    generator = torch.Generator().manual_seed(0)
    found = elbo(model, batch, batch, n_samples=2, generator=generator).log_likelihood
    posterior = model.posterior(batch)
    eps = torch.randn(2, 8, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    residuals = model.residuals(posterior.mean + posterior.stddev * eps, batch)
    law = RIVALS[LAWS.index(noise)]
    expected = (law.logpdf(residuals.detach() / 0.2) - np.log(0.2)).sum((-1, -2)).mean(0)
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-6)


def test_a_predicted_scale_is_held_back_with_the_trajectory():
    """At share 0 the field has no gradient through the scale, as it has none through the residual process."""
    batch = ScalarDecay(rate=0.7, noise=0.2).sample(n_series=8)
    gradients = {}
    for share in (0.0, 1.0):
        model = model_with("gaussian", GaussMarkov(1, "ou").double(), noise_scale="predicted")
        with torch.no_grad():
            model.likelihood.decoder.weights[0][1] = 0.7
        bound = elbo(model, batch, batch, generator=torch.Generator().manual_seed(0), residual_share=share)
        bound.objective.sum().backward()
        gradients[share] = model.likelihood.decoder.weights[0].grad[1].abs().item()
    assert gradients[0.0] == 0
    assert gradients[1.0] > 0


@pytest.mark.parametrize("noise", LAWS)
def test_white_noise_of_the_start_has_the_scale_that_maximises_its_density(noise):
    batch = ScalarDecay(rate=0.7, noise=0.2).sample(n_series=200)
    model = model_with(noise, GaussMarkov(1, "ou").double())

    def start(share):
        generator = torch.Generator().manual_seed(0)
        return elbo(model, batch, batch, generator=generator, residual_share=share).objective.sum()

    white = (start(0.0) - elbo_at(model, batch)).item()
    posterior = model.posterior(batch)
    eps = torch.randn(1, 200, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    residuals = model.residuals(posterior.mean + posterior.stddev * eps, batch).detach()
    scales = torch.linspace(0.05, 1.0, 400, dtype=torch.float64)
    mask = torch.ones(1, dtype=torch.bool)
    best = max(model.likelihood.log_prob(residuals, mask, scale.view(1)).sum().item() for scale in scales)
    assert abs(white - best) < 1e-4 * abs(best)


def elbo_at(model, batch):
    generator = torch.Generator().manual_seed(0)
    return elbo(model, batch, batch, generator=generator).log_likelihood.sum()
