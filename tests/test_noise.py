"""Laws of noise: their densities, the bound that reweighting rests on, and the normals they are made of."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from latentode.noise import Gaussian, Laplace, StudentT

LIKE = torch.zeros((), dtype=torch.float64)


def student(nu):
    return StudentT(torch.tensor([nu], dtype=torch.float64))


# Each with its rival from scipy; Laplace's scale is 1 / sqrt(2), so that its variance is 1.
CASES = {
    "gaussian": (Gaussian(), stats.norm()),
    "laplace": (Laplace(), stats.laplace(scale=0.5**0.5)),
    **{f"student_t {nu}": (student(nu), stats.t(nu)) for nu in (2.1, 2.5, 4.0, 10.0, 100.0)},
}
HEAVY = [name for name in CASES if name != "gaussian"]


@pytest.mark.parametrize("name", CASES)
def test_density_and_variance_are_the_laws(name):
    law, expected = CASES[name]
    e = torch.linspace(-30, 30, 601, dtype=torch.float64).unsqueeze(1)
    np.testing.assert_allclose(law.log_prob(e), expected.logpdf(e), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(law.variance, expected.var(), rtol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_no_normal_exceeds_the_density_and_that_of_its_weight_touches_it(name):
    law, _ = CASES[name]
    e = torch.linspace(0.02, 30, 300, dtype=torch.float64).view(-1, 1, 1)
    square = e.square()

    def bound(weight):
        return 0.5 * torch.log(weight / (2 * math.pi)) - 0.5 * weight * square + law.slack(weight)

    torch.testing.assert_close(bound(law.weight(square)), law.log_prob(e), rtol=1e-10, atol=1e-10)
    if name != "gaussian":  # whose weight is 1
        others = torch.logspace(-4, 4, 201, dtype=torch.float64).view(1, -1, 1)
        assert (bound(others) <= law.log_prob(e) + 1e-12).all()


def test_slack_is_what_the_best_gamma_posterior_of_the_precision_leaves():
    """(E log u - log E u) / 2 - KL(q || p) for q = Gamma((nu + 1) / 2) of mean w, p = Gamma(nu / 2, nu / 2)."""
    nu, weight = 5.0, torch.tensor([[0.3], [1.0], [1.19]], dtype=torch.float64)
    shape = torch.full_like(weight, (nu + 1) / 2)
    q = torch.distributions.Gamma(shape, shape / weight)
    p = torch.distributions.Gamma(torch.full_like(weight, nu / 2), torch.full_like(weight, nu / 2))
    mean_log = torch.digamma(shape) - torch.log(shape / weight)
    left = 0.5 * (mean_log - torch.log(weight)) - torch.distributions.kl_divergence(q, p)
    torch.testing.assert_close(student(nu).slack(weight), left)
    for other in (shape - 0.5, shape + 0.5):  # no other shape of the same mean leaves more
        q = torch.distributions.Gamma(other, other / weight)
        mean_log = torch.digamma(other) - torch.log(other / weight)
        assert (0.5 * (mean_log - torch.log(weight)) - torch.distributions.kl_divergence(q, p) < left).all()


@pytest.mark.parametrize("name", HEAVY)
def test_the_nodes_have_the_laws_distribution(name):
    law, expected = CASES[name]
    variance, share = (one.numpy() for one in law.nodes(LIKE))
    np.testing.assert_allclose(share.sum(), 1, rtol=1e-12)
    x = np.concatenate([np.linspace(0, 5, 501), np.geomspace(5, 1000, 100)])
    below = (share * stats.norm.cdf(x / np.sqrt(variance))).sum(0)
    # As the comment at N_NODES says.
    assert np.abs(below - expected.cdf(x)).max() < (1e-3 if name == "student_t 2.1" else 3e-4)
    # A value at a twentieth of the scale to twenty scales has its log density within five hundredths.
    x = x[(x > 0.05) & (x < 20)]
    density = (share * stats.norm.pdf(x, scale=np.sqrt(variance))).sum(0)
    assert np.abs(np.log(density) - expected.logpdf(x)).max() < 0.06


@pytest.mark.parametrize("name", HEAVY)
@pytest.mark.parametrize("latent", [0.2, 1.0])
def test_quantiles_beside_a_normal_are_those_of_the_convolution(name, latent):
    law, expected = CASES[name]
    variance, share = (one.numpy() for one in law.nodes(LIKE))
    for x in (0.3, 1.0, 3.0, 8.0):
        found = (share * stats.norm.cdf(x / np.sqrt(variance + latent**2))).sum()
        true = sum(
            integrate.quad(lambda r, x=x: stats.norm.pdf(r, scale=latent) * expected.cdf(x - r), *piece)[0]
            for piece in pairwise(latent * np.array([-12, -3, 0, 3, 12]))
        )
        assert abs(found - true) < (1e-3 if name == "student_t 2.1" else 3e-4)


@pytest.mark.parametrize("name", CASES)
def test_draws_follow_the_law(name):
    law, expected = CASES[name]
    generator = np.random.default_rng(0)
    variance = law.draw(generator, (20_000, 1))
    e = np.sqrt(variance) * generator.standard_normal((20_000, 1))
    assert stats.kstest(e.ravel(), expected.cdf).pvalue > 1e-3


def test_student_t_of_many_degrees_is_normal():
    law, e = student(1e7), torch.linspace(-4, 4, 81, dtype=torch.float64).unsqueeze(1)
    # (e^2 - 1)^2 / nu is 3e-5 at most here.
    torch.testing.assert_close(law.log_prob(e), Gaussian().log_prob(e), rtol=0, atol=1e-4)
    torch.testing.assert_close(law.weight(e.square()), torch.ones_like(e), rtol=0, atol=1e-5)
    torch.testing.assert_close(law.slack(torch.ones_like(e)), torch.zeros_like(e), rtol=0, atol=1e-6)
