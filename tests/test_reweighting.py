"""Around a residual process the bound of heavy-tailed noise is a bound, tight where noise is normal."""

import itertools
import math

import pytest
import torch

from latentode import GaussMarkov, Likelihood
from latentode.reweighting import log_likelihood, second_moments, weights

KERNELS = ("ou", "matern32", "iou")


class Problem:
    """Three channels with a process each, rows at odd times, a third of the entries missing."""

    def __init__(self, noise, *, n_samples=1, freedom=None):
        generator = torch.Generator().manual_seed(0)
        double = {"generator": generator, "dtype": torch.float64}
        self.process = GaussMarkov(3, KERNELS, scale=0.6, length=0.3).double()
        self.likelihood = Likelihood(2, 3, noise=noise).double()
        if freedom is not None:
            self.likelihood.raw_freedom.data.fill_(freedom)
        self.times = torch.rand(4, 9, **double).sort(1).values
        self.mask = torch.rand(4, 9, 3, **double) < 0.7
        self.residuals = torch.randn(n_samples, 4, 9, 3, **double)

    def value(self, *, n_steps=60, offset=None):
        observed = (self.times, self.residuals, self.mask)
        return log_likelihood(self.likelihood, self.process, *observed, offset, n_steps=n_steps)


def test_second_moments_are_the_smoothers():
    problem = Problem("laplace")
    variance = 0.1 + torch.rand(4, 9, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    observed = (problem.times, problem.residuals, problem.mask, variance)
    mean, spread = problem.process.condition(*observed, problem.times)
    found = second_moments(problem.process, *observed)
    expected = (problem.residuals - mean)[0].square() + spread
    torch.testing.assert_close(found[problem.mask], expected[problem.mask], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found[~problem.mask], variance[~problem.mask])


@pytest.mark.parametrize("noise", ["student_t", "laplace"])
@pytest.mark.parametrize("values", [(0.2, -0.1), (0.3, 2.5), (-1.5, 1.5)])
def test_the_bound_is_below_the_evidence_and_near_it(noise, values):
    """Of two observations the evidence is an integral over the plane of r at their times."""
    times, scale, length = torch.tensor([[0.0, 0.4]], dtype=torch.float64), 0.5, 0.6
    process = GaussMarkov(1, "ou", scale=scale, length=length).double()
    likelihood = Likelihood(1, 1, noise=noise, initial_noise=0.4).double()
    residuals = torch.tensor(values, dtype=torch.float64).view(1, 1, 2, 1)
    grid = torch.linspace(-8 * scale, 8 * scale, 801, dtype=torch.float64)
    r = torch.stack(torch.meshgrid(grid, grid, indexing="ij"), -1)
    fade = math.exp(-0.4 / length)
    covariance = scale**2 * torch.tensor([[1.0, fade], [fade, 1.0]], dtype=torch.float64)
    prior = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=torch.float64), covariance)
    x = torch.tensor(values, dtype=torch.float64)
    density = likelihood.log_prob((x - r).unsqueeze(-1), torch.ones(1, dtype=torch.bool)).sum((-1, -2))
    cell = 2 * torch.log(grid[1] - grid[0])
    evidence = torch.logsumexp((prior.log_prob(r) + density).flatten(), 0) + cell

    mask = torch.ones(1, 2, 1, dtype=torch.bool)
    bounds = [
        log_likelihood(likelihood, process, times, residuals, mask, n_steps=k).item()
        for k in (0, 1, 2, 5, 100)
    ]
    # The kinks of Laplace's density cost the sum about the square of the cells' width, 1e-2.
    assert bounds[-1] < evidence + 1e-4
    assert all(after > before - 1e-9 for before, after in itertools.pairwise(bounds))
    # A posterior that is independent of the weights: it costs up to 0.3 nats a value.
    assert evidence - bounds[-1] < 0.6


@pytest.mark.parametrize("noise", ["student_t", "laplace"])
def test_repetition_never_lowers_the_bound_and_soon_ends(noise):
    problem = Problem(noise)
    bounds = torch.stack([problem.value(n_steps=k) for k in (0, 1, 2, 3, 5, 10, 20, 60)])
    assert (bounds.diff(dim=0) > -1e-9).all()
    n_values = problem.mask.sum((1, 2))
    # What an answer's ten repetitions leave is nothing beside a nat, what training's two leave is little.
    assert ((bounds[-1] - bounds[5]) / n_values < 1e-3).all()
    assert ((bounds[-1] - bounds[2]) / n_values < 0.05).all()


def test_many_degrees_of_freedom_leave_the_normal_evidence():
    problem = Problem("student_t", freedom=1e7)
    normal = problem.process.log_likelihood(
        problem.times, problem.residuals, problem.mask, problem.likelihood.scale().square()
    )
    torch.testing.assert_close(problem.value(), normal, rtol=0, atol=1e-3)


@pytest.mark.parametrize("noise", ["student_t", "laplace", ["laplace", "gaussian", "student_t"]])
def test_the_gradient_is_that_of_the_bound_with_its_best_weights(noise):
    problem = Problem(noise)
    offset = 0.3 * torch.randn(1, 4, 9, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    offset.requires_grad_()
    problem.residuals.requires_grad_()
    leaves = [problem.residuals, offset, *problem.process.parameters(), *problem.likelihood.scale_parameters]
    found = torch.autograd.grad(problem.value(offset=offset).sum(), leaves)
    generator = torch.Generator().manual_seed(3)
    for leaf, gradient in zip(leaves, found, strict=True):
        direction = torch.randn(leaf.shape, generator=generator, dtype=torch.float64)
        values = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                leaf += step * direction
                values.append(problem.value(offset=offset).sum())
                leaf -= step * direction
        slope = (values[0] - values[1]) / 2e-5
        # Central differences err by 1e-10 times the third derivative, and by rounding over 1e-5.
        torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-6, atol=1e-6)


def test_channels_of_different_laws_are_as_each_alone():
    laws = ["student_t", "gaussian", "laplace"]
    problem = Problem(laws)
    together = problem.value()
    alone = 0
    for channel, law in enumerate(laws):
        process = GaussMarkov(1, KERNELS[channel], scale=0.6, length=0.3).double()
        one = (problem.residuals[..., [channel]], problem.mask[..., [channel]])
        alone = alone + log_likelihood(
            Likelihood(2, 1, noise=law).double(), process, problem.times, *one, n_steps=200
        )
    torch.testing.assert_close(together, alone)


def test_samples_are_weighed_each_by_its_own_residuals():
    problem = Problem("student_t", n_samples=3)
    together, samples = problem.value(), problem.residuals
    for number in range(3):
        problem.residuals = samples[[number]]
        torch.testing.assert_close(problem.value()[0], together[number])


def test_what_is_not_observed_changes_nothing():
    problem = Problem("laplace")
    expected = problem.value()
    pad = torch.nn.functional.pad
    problem.times = pad(problem.times, (0, 2), value=1.0)
    problem.mask = pad(problem.mask, (0, 0, 0, 2))
    problem.residuals = pad(problem.residuals, (0, 0, 0, 2), value=7.0)
    torch.testing.assert_close(problem.value(), expected)
    problem.mask = torch.zeros_like(problem.mask)
    assert (problem.value() == 0).all()


def test_an_outlier_is_weighed_down_and_its_neighbours_are_not():
    process = GaussMarkov(1, "matern32", scale=1.0, length=0.5).double()
    times = torch.linspace(0, 1, 11, dtype=torch.float64).unsqueeze(0)
    values = torch.sin(3 * times).view(1, 1, 11, 1).clone()
    values[0, 0, 5] += 4.0
    mask = torch.ones(1, 11, 1, dtype=torch.bool)
    for noise in ("student_t", "laplace"):
        likelihood = Likelihood(1, 1, noise=noise, initial_noise=0.1).double()
        found = weights(likelihood, process, times, values, mask, likelihood.scale().square())[0, :, 0]
        assert found[5] < 0.05
        assert (found[[0, 1, 2, 8, 9, 10]] > 0.7).all()
