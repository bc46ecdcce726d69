"""The filter against dense Gaussian processes, whose covariances are written down here once more."""

import math

import pytest
import torch

from latentode.residual import GaussMarkov

MIXES = ["ou", "matern32", "iou", ("iou", "ou", "matern32")]
SCALE, LENGTH, NOISE = (0.5, 1.0, 2.0), (0.3, 0.1, 1.0), (0.2, 0.05, 0.01)
# Dense covariances of 20 points with the noise above have condition numbers of 1e3: 1e3 roundings of 2e-16,
# times ten for the sums.
DENSE = {"rtol": 1e-9, "atol": 1e-11}


def dense_kernel(name, time, other, first, scale, length):
    """Cov(r(time), r(other)), (n,), (m,) -> (n, m)."""
    lag = (time[:, None] - other[None]).abs() / length
    if name == "ou":
        return scale**2 * torch.exp(-lag)
    if name == "matern32":
        return scale**2 * (1 + math.sqrt(3) * lag) * torch.exp(-math.sqrt(3) * lag)
    # Cov of int_0^u V and int_0^v V with Cov(V(a), V(b)) = exp(-|a - b|): half of the sum of the variances
    # of the two, less the variance of their difference; a stretch a has the variance 2 (a - 1 + exp(-a)).
    u, v = (time[:, None] - first) / length, (other[None] - first) / length

    def stretch(x):
        return 2 * (x.abs() - 1 + torch.exp(-x.abs()))

    return scale**2 * (1 + 0.5 * (stretch(u) + stretch(v) - stretch(u - v)))


class Problem:
    """Irregular times with repetitions, padding, queries everywhere and missing observations."""

    def __init__(self, kernel, n_samples=2, n_series=4, n_rows=9, n_queries=11, seed=0):
        self.generator = torch.Generator().manual_seed(seed)
        self.module = GaussMarkov(3, kernel, scale=SCALE, length=LENGTH).double()
        self.times = self.rand(n_series, n_rows).sort(1).values
        self.times[:, 4] = self.times[:, 3]
        self.times[:, -2:] = self.times[:, -3:-2]
        self.mask = self.rand(n_series, n_rows, 3) < 0.7
        self.mask[:, -2:] = False
        self.mask[0] = False
        self.mask[1, :, 0] = False
        self.mask[2, 0] = False
        self.residuals = self.randn(n_samples, n_series, n_rows, 3)
        self.noise = torch.tensor(NOISE, dtype=torch.float64)
        self.queries = 2 * self.rand(n_series, n_queries) - 0.5
        self.queries[:, 2] = self.times[:, 3]
        self.queries[:, 5] = self.times[:, 0]
        self.queries[:, 7] = self.queries[:, 8]

    def rand(self, *shape):
        return torch.rand(*shape, generator=self.generator, dtype=torch.float64)

    def randn(self, *shape):
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    @property
    def observations(self):
        return self.times, self.residuals, self.mask, self.noise

    def dense(self, b, d, *times):
        """The covariances of chain (b, d) between every two of the given times."""
        seen = self.times[b][self.mask[b, :, d]]
        first = seen[0] if len(seen) else self.times[b, 0]
        scale, length = self.module.log_scale[d].exp(), self.module.log_length[d].exp()
        return [
            dense_kernel(self.module.kernels[d], s, t, first, scale, length)
            for i, s in enumerate(times)
            for t in times[i:]
        ]

    def dense_log_likelihood(self):
        noise = self.noise.expand(self.mask.shape)
        total = torch.zeros(self.residuals.shape[:2], dtype=torch.float64)
        for b, d in self.chains():
            seen = self.mask[b, :, d]
            (K,) = self.dense(b, d, self.times[b][seen])
            normal = torch.distributions.MultivariateNormal(K.new_zeros(len(K)), K + noise[b, seen, d].diag())
            total = total + torch.nn.functional.one_hot(torch.tensor(b), len(self.mask)) * normal.log_prob(
                self.residuals[:, b][:, seen, d]
            ).unsqueeze(1)
        return total

    def dense_condition(self):
        """Mean (S, B, M, D) and covariance (B, D, M, M) at the queries."""
        S, (B, M) = len(self.residuals), self.queries.shape
        mean = torch.zeros(S, B, M, 3, dtype=torch.float64)
        covariance = torch.zeros(B, 3, M, M, dtype=torch.float64)
        for b in range(B):
            for d in range(3):
                seen = self.mask[b, :, d]
                K, across, prior = self.dense(b, d, self.times[b][seen], self.queries[b])
                gain = torch.linalg.solve(K + self.noise[d] * torch.eye(len(K), dtype=K.dtype), across)
                mean[:, b, :, d] = self.residuals[:, b][:, seen, d] @ gain
                covariance[b, d] = prior - across.T @ gain
        return mean.detach(), covariance.detach()

    def chains(self):
        return [(b, d) for b in range(len(self.mask)) for d in range(3) if self.mask[b, :, d].any()]


@pytest.mark.parametrize("kernel", MIXES, ids=str)
@pytest.mark.parametrize("shared_noise", [True, False])
def test_log_likelihood_and_its_gradient_are_those_of_the_dense_process(kernel, shared_noise):
    problem = Problem(kernel)
    if not shared_noise:
        problem.noise = 0.05 + 0.2 * problem.rand(*problem.mask.shape)
    leaves = (problem.residuals, problem.noise, problem.module.log_scale, problem.module.log_length)
    for leaf in leaves:
        leaf.requires_grad_()
    weights = problem.randn(2, len(problem.mask))  # every sample and series counts differently
    ours, theirs = problem.module.log_likelihood(*problem.observations), problem.dense_log_likelihood()
    torch.testing.assert_close(ours, theirs, **DENSE)
    for mine, other in zip(
        torch.autograd.grad((weights * ours).sum(), leaves),
        torch.autograd.grad((weights * theirs).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, **DENSE)


@pytest.mark.parametrize("kernel", MIXES, ids=str)
def test_gradient_is_the_finite_difference(kernel):
    problem = Problem(kernel, n_samples=1, n_series=3, n_rows=6)

    module = problem.module
    leaves = (problem.residuals, problem.noise, module.log_scale, module.log_length)

    def value(residuals, noise, *_):  # gradcheck moves the parameters in place
        return module.log_likelihood(problem.times, residuals, problem.mask, noise)

    # Central differences at gradcheck's step of 1e-6 keep five digits.
    assert torch.autograd.gradcheck(
        value, tuple(leaf.requires_grad_() for leaf in leaves), fast_mode=True, atol=1e-4
    )


@pytest.mark.parametrize("kernel", MIXES, ids=str)
def test_what_is_not_read_is_foretold_and_tells_nothing(kernel):
    """By the dense process: each observation given those before it that are read."""
    problem = Problem(kernel)
    read = problem.mask & (problem.rand(*problem.mask.shape) < 0.6)
    leaves = (problem.residuals, problem.noise, problem.module.log_scale, problem.module.log_length)
    for leaf in leaves:
        leaf.requires_grad_()
    expected = torch.zeros(problem.residuals.shape[:2], dtype=torch.float64)
    for b, d in problem.chains():
        seen = problem.mask[b, :, d]
        (K,) = problem.dense(b, d, problem.times[b][seen])
        noisy = K + problem.noise[d] * torch.eye(len(K), dtype=K.dtype)
        values, known = problem.residuals[:, b][:, seen, d], read[b, seen, d]
        for k in range(len(K)):
            before = torch.nonzero(known[:k]).flatten()
            gain = torch.linalg.solve(noisy[before][:, before], K[before, k])
            law = torch.distributions.Normal(
                values[:, before] @ gain, (noisy[k, k] - K[before, k] @ gain).sqrt()
            )
            of_series = torch.nn.functional.one_hot(torch.tensor(b), len(problem.mask))
            expected = expected + of_series * law.log_prob(values[:, k]).unsqueeze(1)
    ours = problem.module.log_likelihood(*problem.observations, read=read)
    torch.testing.assert_close(ours, expected, **DENSE)
    weights = problem.randn(*expected.shape)
    for mine, other in zip(
        torch.autograd.grad((weights * ours).sum(), leaves),
        torch.autograd.grad((weights * expected).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, **DENSE)
    everything = problem.module.log_likelihood(*problem.observations, read=problem.mask)
    torch.testing.assert_close(everything, problem.module.log_likelihood(*problem.observations), **DENSE)


@pytest.mark.parametrize("kernel", MIXES, ids=str)
def test_a_process_that_is_held_learns_nothing(kernel):
    problem = Problem(kernel)
    held = problem.module.held()
    problem.residuals.requires_grad_()
    density = held.log_likelihood(*problem.observations)
    torch.testing.assert_close(density, problem.module.log_likelihood(*problem.observations), rtol=0, atol=0)
    assert not any(parameter.requires_grad for parameter in held.parameters())
    assert all(parameter.requires_grad for parameter in problem.module.parameters())
    assert torch.autograd.grad(density.sum(), problem.residuals)[0].any()


@pytest.mark.parametrize("kernel", MIXES, ids=str)
def test_condition_is_that_of_the_dense_process(kernel):
    problem = Problem(kernel)
    mean, variance = problem.module.condition(*problem.observations, problem.queries)
    expected, covariance = problem.dense_condition()
    torch.testing.assert_close(mean, expected, **DENSE)
    torch.testing.assert_close(variance, covariance.diagonal(dim1=-2, dim2=-1).transpose(1, 2), **DENSE)


@pytest.mark.parametrize("kernel", MIXES, ids=str)
def test_a_gap_of_a_million_agrees_with_the_dense_process(kernel):
    problem = Problem(kernel)
    problem.times[:, 5:] += 1e6
    problem.queries[:, ::2] += 1e6
    leaves = (problem.residuals, problem.noise, problem.module.log_scale, problem.module.log_length)
    for leaf in leaves:
        leaf.requires_grad_()
    # A clock at 1e6 resolves 1e-10; the dense covariance of iou, 1e7 beside a noise of .05, keeps 7 digits.
    close = {"rtol": 1e-5, "atol": 1e-5}
    ours, theirs = problem.module.log_likelihood(*problem.observations), problem.dense_log_likelihood()
    torch.testing.assert_close(ours, theirs, **close)
    for mine, other in zip(
        torch.autograd.grad(ours.sum(), leaves), torch.autograd.grad(theirs.sum(), leaves), strict=True
    ):
        torch.testing.assert_close(mine, other, **close)
    mean, variance = problem.module.condition(*problem.observations, problem.queries)
    expected, covariance = problem.dense_condition()
    torch.testing.assert_close(mean, expected, **close)
    torch.testing.assert_close(variance, covariance.diagonal(dim1=-2, dim2=-1).transpose(1, 2), **close)


@pytest.mark.parametrize("kernel", MIXES, ids=str)
def test_paths_have_the_joint_posterior_exactly(kernel):
    # A path is linear in its draws: one draw at a time gives the matrix A, and A A^T is its covariance.
    problem = Problem(kernel)
    B, M = problem.queries.shape
    draws = torch.eye(2 * M, dtype=torch.float64).view(2 * M, 1, M, 1, 2).expand(-1, B, -1, 3, -1)
    problem.residuals = problem.residuals[:1].expand(2 * M, -1, -1, -1)
    mean, covariance = problem.dense_condition()
    paths = problem.module.sample(*problem.observations, problem.queries, noise=draws) - mean
    torch.testing.assert_close(torch.einsum("sbmd,sbnd->bdmn", paths, paths), covariance, **DENSE)
    still = problem.module.sample(*problem.observations, problem.queries, noise=torch.zeros_like(draws))
    torch.testing.assert_close(still, mean, **DENSE)


def test_moments_of_paths_from_a_generator():
    problem = Problem(("iou", "ou", "matern32"))
    n = 1000
    problem.residuals = problem.residuals[:1].expand(n, -1, -1, -1)
    paths = problem.module.sample(*problem.observations, problem.queries, problem.generator)
    mean, variance = problem.module.condition(*problem.observations, problem.queries)
    # 132 numbers of each kind: five standard errors of a mean, 1 / sqrt(n), and of a variance, sqrt(2 / n).
    assert ((paths.mean(0) - mean[0]).abs() < 5 * (variance / n).sqrt()).all()
    assert ((paths.var(0) / variance - 1).abs() < 5 * math.sqrt(2 / n)).all()


@pytest.mark.parametrize("kernel", MIXES, ids=str)
def test_nothing_unobserved_has_any_influence(kernel):
    problem = Problem(kernel)
    module, queries = problem.module, problem.queries
    draws = problem.randn(2, *queries.shape, 3, 2)
    B, _, D = problem.mask.shape

    # other values where nothing is observed, longer padding of both, series in another order
    order = torch.tensor([2, 0, 3, 1])
    blank = torch.where(problem.mask, problem.residuals, torch.nan)
    longer = torch.cat([problem.times, problem.times[:, -1:].expand(B, 5)], 1)[order]
    values = torch.cat([blank, torch.full((2, B, 5, D), torch.nan, dtype=torch.float64)], 2)[:, order]
    mask = torch.cat([problem.mask, torch.zeros(B, 5, D, dtype=torch.bool)], 1)[order]
    last = queries.argmax(1, keepdim=True)
    more = torch.cat([queries, queries.gather(1, last).expand(B, 3)], 1)[order]
    more_draws = torch.cat([draws, problem.randn(2, B, 3, D, 2)], 2)[:, order]
    observed = (longer, values, mask, problem.noise)

    same = {"rtol": 1e-12, "atol": 1e-12}  # the same sums, perhaps in another order
    torch.testing.assert_close(
        module.log_likelihood(*observed), module.log_likelihood(*problem.observations)[:, order], **same
    )
    mean, variance = module.condition(*problem.observations, queries)
    mean_again, variance_again = module.condition(*observed, more)
    torch.testing.assert_close(mean_again[:, :, : queries.shape[1]], mean[:, order], **same)
    torch.testing.assert_close(variance_again[:, : queries.shape[1]], variance[order], **same)
    paths = module.sample(*problem.observations, queries, noise=draws)
    paths_again = module.sample(*observed, more, noise=more_draws)
    torch.testing.assert_close(paths_again[:, :, : queries.shape[1]], paths[:, order], **same)

    blank.requires_grad_()
    (gradient,) = torch.autograd.grad(
        module.log_likelihood(problem.times, blank, *problem.observations[2:]).sum(), blank
    )
    assert (gradient[:, ~problem.mask] == 0).all()
    assert (gradient[:, problem.mask] != 0).all()


@pytest.mark.parametrize("kernel", MIXES, ids=str)
def test_clock_and_samples_shift_and_permute(kernel):
    problem = Problem(kernel)
    times, residuals, mask, noise = problem.observations
    shifted = (times + 8.0, residuals.flip(0), mask, noise)
    # 8 costs the times three of their 53 bits
    close = {"rtol": 1e-9, "atol": 1e-9}
    module = problem.module
    torch.testing.assert_close(
        module.log_likelihood(*shifted).flip(0), module.log_likelihood(*problem.observations), **close
    )
    for shift, stay in zip(
        module.condition(*shifted, problem.queries + 8.0),
        module.condition(*problem.observations, problem.queries),
        strict=True,
    ):
        torch.testing.assert_close(shift.flip(0) if shift.ndim == 4 else shift, stay, **close)


@pytest.mark.parametrize("kernel", MIXES, ids=str)
def test_without_observations_there_is_the_prior(kernel):
    problem = Problem(kernel)
    problem.mask[:] = False
    module = problem.module
    problem.residuals.requires_grad_()
    log_likelihood = module.log_likelihood(*problem.observations)
    assert (log_likelihood == 0).all()
    leaves = (problem.residuals, module.log_scale, module.log_length)
    assert all((gradient == 0).all() for gradient in torch.autograd.grad(log_likelihood.sum(), leaves))
    mean, variance = module.condition(*problem.observations, problem.queries)
    assert (mean == 0).all()
    for d, name in enumerate(module.kernels):
        if name != "iou":
            torch.testing.assert_close(variance[..., d], torch.full_like(variance[..., d], SCALE[d] ** 2))
    paths = module.sample(*problem.observations, problem.queries, problem.generator)
    assert paths.isfinite().all()
    none = module.condition(*problem.observations, problem.queries[:, :0])
    assert none[0].shape == (2, 4, 0, 3)
    assert module.sample(*problem.observations, problem.queries[:, :0], problem.generator).shape == (
        2,
        4,
        0,
        3,
    )


def test_a_series_without_rows_has_the_prior():
    problem = Problem(("iou", "ou", "matern32"))
    module, queries, noise = problem.module, problem.queries, problem.noise
    none = (problem.times[:, :0], problem.residuals[:, :, :0], problem.mask[:, :0], noise)
    blank = (
        torch.zeros(4, 1, dtype=torch.float64),
        problem.residuals[:, :, :1],
        problem.mask[:, :1] & False,
        noise,
    )
    assert (module.log_likelihood(*none) == 0).all()
    for ours, expected in zip(
        module.condition(*none, queries), module.condition(*blank, queries), strict=True
    ):
        assert (ours == expected).all()
    draws = problem.randn(2, *queries.shape, 3, 2)
    assert (module.sample(*none, queries, noise=draws) == module.sample(*blank, queries, noise=draws)).all()


def test_short_lengths_and_small_scales_leave_white_noise():
    problem = Problem("matern32")
    normal = torch.distributions.Normal(0.0, problem.noise.sqrt())
    with torch.no_grad():
        problem.module.log_scale.fill_(-40.0)  # cut to exp(-30)
    plain = (normal.log_prob(problem.residuals) * problem.mask).sum((-1, -2))
    torch.testing.assert_close(problem.module.log_likelihood(*problem.observations), plain, **DENSE)
    mean, variance = problem.module.condition(*problem.observations, problem.queries)
    assert mean.abs().max() < 1e-20
    assert variance.max() < 1e-20


@pytest.mark.parametrize("kernel", ["ou", "matern32"])
def test_a_stationary_residual_starts_anew_after_a_long_gap(kernel):
    problem = Problem(kernel, n_series=3)
    times, residuals, mask, noise = problem.observations
    twice = problem.module.log_likelihood(
        torch.cat([times, times + 1e6], 1), torch.cat([residuals] * 2, 2), torch.cat([mask] * 2, 1), noise
    )
    # 1e6 leaves 1e-10 of a time, a hundredth of which is the smallest gap between observations
    torch.testing.assert_close(
        twice, 2 * problem.module.log_likelihood(*problem.observations), rtol=1e-6, atol=1e-6
    )


def test_predictive_variances_in_float32_are_positive_and_posteriors_are_not_above_the_prior():
    for kernel in ("ou", "matern32"):
        generator = torch.Generator().manual_seed(1)
        times = torch.rand(5, 300, generator=generator).sort(1).values
        module = GaussMarkov(2, kernel, length=10.0)
        residuals = torch.zeros(1, 5, 300, 2)
        mask = torch.ones(5, 300, 2, dtype=torch.bool)
        _, variance = module.condition(times, residuals, mask, torch.tensor([1e-6]), times)
        assert (variance > 0).all()
        assert (variance <= 1e-6).all()  # no more than one observation leaves


def test_every_parameter_is_used():
    problem = Problem(("iou", "ou", "matern32"))
    problem.module.log_likelihood(*problem.observations).sum().backward()
    for parameter in problem.module.parameters():
        assert (parameter.grad != 0).all()


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"unknown kernel 'rbf'; choose from ou, matern32, iou"):
        GaussMarkov(2, "rbf")
    with pytest.raises(ValueError, match="1 kernels for 2 channels"):
        GaussMarkov(2, ("ou",))
    with pytest.raises(ValueError, match="scale must be positive"):
        GaussMarkov(2, scale=(1.0, 0.0))
    with pytest.raises(ValueError, match="length must be positive, one number or one for each of 2"):
        GaussMarkov(2, length=(1.0, 1.0, 1.0))
    problem = Problem("ou")
    times, residuals, mask, noise = problem.observations
    with pytest.raises(ValueError, match=r"times must be \(B, N\)"):
        problem.module.log_likelihood(times[:1], residuals, mask, noise)
    with pytest.raises(TypeError, match="mask must be boolean"):
        problem.module.log_likelihood(times, residuals, mask.double(), noise)
    with pytest.raises(ValueError, match="query_times must be"):
        problem.module.condition(*problem.observations, problem.queries[0])
    with pytest.raises(ValueError, match="pass one of the two"):
        problem.module.sample(*problem.observations, problem.queries)
    with pytest.raises(ValueError, match=r"noise must have the shape \(2, 4, 11, 3, 2\)"):
        problem.module.sample(*problem.observations, problem.queries, noise=problem.queries)
