"""Around a residual process the likelihood under heavy-tailed noise is near the exact one, and so is its gradient."""

import math

import numpy as np
import pytest
import torch

from latentode import GaussMarkov, Likelihood, expectation_propagation
from latentode.expectation_propagation import find_sites, foretold, joint_and_foretold, log_likelihood

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


@pytest.mark.parametrize("noise", ["student_t", "laplace"])
@pytest.mark.parametrize("values", [(0.2, -0.1), (0.3, 2.5), (-1.5, 1.5), (0.8, 0.3)])
def test_it_is_near_the_evidence(noise, values):
    """Of two observations that is an integral over the plane of r at their times."""
    times, scale, length = torch.tensor([[0.0, 0.4]], dtype=torch.float64), 0.5, 0.6
    process = GaussMarkov(1, "ou", scale=scale, length=length).double()
    likelihood = Likelihood(1, 1, noise=noise, initial_noise=0.4).double()
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
    observed = (likelihood, process, times, x.view(1, 1, 2, 1), mask)
    # The least precision and the quadrature of the noise have their share of it.
    assert abs(log_likelihood(*observed, n_steps=30) - evidence) < 2e-3
    assert abs(log_likelihood(*observed) - evidence) < 2e-2


@pytest.mark.parametrize("noise", ["student_t", "laplace"])
def test_it_settles_in_the_rounds_of_an_answer(noise):
    problem = Problem(noise)
    n_values = problem.mask.sum((1, 2))
    end = problem.value(n_steps=200)
    assert ((problem.value(n_steps=10) - end).abs() / n_values < 1e-4).all()
    assert ((problem.value() - end).abs() / n_values < 1e-2).all()


@pytest.mark.parametrize("noise", ["student_t", "laplace"])
def test_it_settles_beside_gross_outliers(noise):
    problem = Problem(noise)
    problem.residuals[0, :, 4] += 30.0
    end = problem.value(n_steps=200)
    assert torch.isfinite(end).all()
    assert ((problem.value(n_steps=10) - end).abs() / problem.mask.sum((1, 2)) < 1e-3).all()
    problem.process, problem.likelihood = problem.process.float(), problem.likelihood.float()
    problem.times, problem.residuals = problem.times.float(), problem.residuals.float()
    # In single precision the weight beside the outlier's own square must not be lost.
    torch.testing.assert_close(problem.value().double(), end, rtol=1e-3, atol=1e-2)


def test_many_degrees_of_freedom_leave_the_normal_evidence():
    problem = Problem("student_t", freedom=1e5)
    normal = problem.process.log_likelihood(
        problem.times, problem.residuals, problem.mask, problem.likelihood.scale().square()
    )
    # What is left falls as 1 / nu, from 0.5 nats at a thousand.
    torch.testing.assert_close(problem.value(), normal, rtol=0, atol=1e-2)


def slopes(problem, n_steps):
    """By the gradient, and by central differences of the settled value, along a random direction of each leaf."""
    offset = 0.3 * torch.randn(1, 4, 9, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    offset.requires_grad_()
    problem.residuals.requires_grad_()
    leaves = [problem.residuals, offset, *problem.process.parameters(), *problem.likelihood.scale_parameters]
    gradients = torch.autograd.grad(problem.value(offset=offset, n_steps=n_steps).sum(), leaves)
    generator, found = torch.Generator().manual_seed(3), []
    for leaf, gradient in zip(leaves, gradients, strict=True):
        direction = torch.randn(leaf.shape, generator=generator, dtype=torch.float64)
        values = []
        for step in (1e-4, -1e-4):
            with torch.no_grad():
                leaf += step * direction
                values.append(problem.value(offset=offset, n_steps=50).sum())
                leaf -= step * direction
        found.append(torch.stack([(gradient * direction).sum(), (values[0] - values[1]) / 2e-4]))
    return torch.stack(found, 1)


@pytest.mark.parametrize("noise", ["student_t", "laplace", ["laplace", "gaussian", "student_t"]])
def test_the_gradient_is_that_of_the_value_with_its_sites_found_anew(noise, monkeypatch):
    # Where no site is held at the least precision. Student's t asks for less than none beside outliers.
    monkeypatch.setattr(expectation_propagation, "LEAST_PRECISION", 1e-4)
    problem = Problem(noise)
    problem.residuals *= 0.2
    by_gradient, by_differences = slopes(problem, n_steps=50)
    # The nodes of Student's t and of a Laplace near its peak are a quadrature.
    torch.testing.assert_close(by_gradient, by_differences, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("noise", ["student_t", "laplace"])
def test_the_gradient_in_training_is_near_it_on_a_gross_misfit(noise):
    by_gradient, by_differences = slopes(Problem(noise), n_steps=2)  # residuals of more than three scales
    assert (by_gradient - by_differences).norm() < 0.05 * by_differences.norm()


def test_channels_of_different_laws_are_as_each_alone():
    laws = ["student_t", "gaussian", "laplace"]
    problem = Problem(laws)
    together = problem.value()
    alone = 0
    for channel, law in enumerate(laws):
        process = GaussMarkov(1, KERNELS[channel], scale=0.6, length=0.3).double()
        one = (problem.residuals[..., [channel]], problem.mask[..., [channel]])
        alone = alone + log_likelihood(
            Likelihood(2, 1, noise=law).double(), process, problem.times, *one, n_steps=60
        )
    torch.testing.assert_close(together, alone)


def test_samples_have_sites_of_their_own():
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


def test_the_site_of_normal_noise_is_the_observation():
    problem = Problem(["gaussian", "laplace", "gaussian"])
    scale = problem.likelihood.scale()
    sites = find_sites(
        problem.likelihood, problem.process, problem.times, problem.residuals[0], problem.mask, scale
    )
    normal = [0, 2]
    torch.testing.assert_close(sites.value[..., normal], problem.residuals[0][..., normal])
    torch.testing.assert_close(
        sites.variance[..., normal], scale.square().expand(problem.mask.shape)[..., normal]
    )


def test_an_outlier_says_little_and_its_neighbours_what_they_say():
    process = GaussMarkov(1, "matern32", scale=1.0, length=0.5).double()
    times = torch.linspace(0, 1, 11, dtype=torch.float64).unsqueeze(0)
    values = torch.sin(3 * times).view(1, 11, 1).clone()
    values[0, 5] += 4.0
    mask = torch.ones(1, 11, 1, dtype=torch.bool)
    off = {}
    for noise in ("gaussian", "student_t", "laplace"):
        likelihood = Likelihood(1, 1, noise=noise, initial_noise=0.1).double()
        scale = likelihood.scale().detach()
        sites = find_sites(likelihood, process, times, values, mask, scale)
        mean, _ = process.condition(times, sites.value.unsqueeze(0), mask, sites.variance, times)
        off[noise] = (mean[0, 0, :, 0] - torch.sin(3 * times[0])).abs().max().item()
        count = (scale.square() / sites.variance)[0, :, 0]
        assert noise == "gaussian" or count[5] < 0.05
        assert (count[[0, 1, 2, 3, 7, 8, 9, 10]] > 0.5).all()
    assert off["student_t"] < 0.1 * off["gaussian"]
    assert off["laplace"] < 0.3 * off["gaussian"]


@pytest.mark.parametrize(("noise", "true"), [("student_t", 4.0), ("laplace", None)])
def test_scale_and_tails_are_recovered(noise, true):
    """From two hundred series of a known process, the noise half as large as what it moves in a step."""
    generator = torch.Generator().manual_seed(0)
    double = {"generator": generator, "dtype": torch.float64}
    times = 2 * torch.rand(200, 20, **double).sort(1).values
    gaps = (times.unsqueeze(1) - times.unsqueeze(2)).abs()
    root = torch.linalg.cholesky(torch.exp(-gaps / 0.5) + 1e-9 * torch.eye(20, dtype=torch.float64))
    r = root @ torch.randn(200, 20, 1, **double)
    truth = Likelihood(1, 1, noise=noise).double()
    if true is not None:
        truth.raw_freedom.data.fill_(math.log(math.expm1(true - 2.1)))
    drawn = torch.from_numpy(truth.draw_variance(np.random.default_rng(0), (200, 20))).sqrt()
    residuals = (r + 0.2 * drawn * torch.randn(200, 20, 1, **double)).unsqueeze(0)
    mask = torch.ones(200, 20, 1, dtype=torch.bool)
    process, likelihood = GaussMarkov(1, "ou").double(), Likelihood(1, 1, noise=noise).double()
    optimiser = torch.optim.Adam([*process.parameters(), *likelihood.scale_parameters], lr=0.1)
    for _ in range(100):
        loss = -log_likelihood(likelihood, process, times, residuals, mask).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    # 4000 values in 200 series: the scale's standard error is about 0.01, the process's about 0.03.
    assert abs(likelihood.scale().item() - 0.2) < 0.03
    assert abs(process.log_scale.exp().item() - 1) < 0.1
    assert abs(process.log_length.exp().item() - 0.5) < 0.1
    if true is not None:
        assert 2.8 < likelihood.freedom.item() < 6


@pytest.mark.parametrize("predicted", [False, True])
def test_both_densities_found_at_once_are_those_of_each_and_so_are_their_gradients(predicted):
    problem = Problem("gaussian", n_samples=2)
    random = torch.Generator().manual_seed(1)
    read = problem.mask & (torch.arange(9) < torch.tensor([5, 1, 9, 3]).unsqueeze(1)).unsqueeze(-1)
    offset = (
        torch.randn(problem.residuals.shape, generator=random, dtype=torch.float64) if predicted else None
    )
    if predicted:
        problem.likelihood = Likelihood(2, 3, noise_scale="predicted").double()
        offset.requires_grad_()
    problem.residuals.requires_grad_()
    leaves = [problem.residuals, *problem.process.parameters(), *problem.likelihood.scale_parameters]
    leaves += [offset] if predicted else []
    given = problem.likelihood, problem.process, problem.times
    joint, alone = joint_and_foretold(*given, problem.residuals, problem.mask, read, offset)
    assert joint.shape == alone.shape == problem.residuals.shape
    assert not joint[:, ~problem.mask].any()
    assert not alone[:, ~problem.mask].any()
    expected = log_likelihood(*given, problem.residuals.detach(), problem.mask, offset)
    expected_alone = foretold(*given, problem.residuals, problem.mask, read, offset)
    for ours, its in ((joint, expected), (alone, expected_alone)):
        ours = ours.sum((-1, -2))
        torch.testing.assert_close(ours, its)
        found, true = (
            torch.autograd.grad(
                one.sum(), leaves, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            for one in (ours, its)
        )
        for mine, other in zip(found, true, strict=True):
            torch.testing.assert_close(mine, other)
    # Up to the last that is read both are the same.
    torch.testing.assert_close(joint[:, read], alone[:, read])
