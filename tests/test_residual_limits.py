"""Limits of the kernels, gaps and lengths of every size, and what rounding leaves of them."""

import math

import pytest
import torch

from latentode.residual import KERNELS, GaussMarkov
from latentode.residual.kernels import KERNELS as LAWS


def _single(module, times, values, queries, noise=1e-12):
    """Mean and standard deviation of one chain in float64, (M,), (M,)."""
    times, values, queries = (torch.tensor(x, dtype=torch.float64) for x in (times, values, queries))
    mask = torch.ones(1, len(times), 1, dtype=torch.bool)
    mean, variance = module.double().condition(
        times[None], values.view(1, 1, -1, 1), mask, times.new_tensor([noise]), queries[None]
    )
    return mean.flatten(), variance.flatten().sqrt()


def test_long_ou_interpolates_linearly_and_carries_the_last_value():
    # what deviates is of the order gap / length = 1e-6 and noise / (walk below * gap) = 1e-5
    mean, std = _single(
        GaussMarkov(1, "ou", length=1e6), [0.0, 1.0, 3.0], [1.0, 2.0, 6.0], [0.5, 1.5, 2.0, 3.5, 9.0, -2.0]
    )
    expected = torch.tensor([1.5, 3.0, 4.0, 6.0, 6.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(mean, expected, rtol=0, atol=1e-4)
    # a Brownian bridge and a free walk: 2 s^2 / l times 1/4, and times 6
    walk = 2 * 0.3**2 / 1e6
    torch.testing.assert_close(
        std[[0, 4]].square(), torch.tensor([walk / 4, walk * 6], dtype=torch.float64), rtol=1e-2, atol=0
    )


@pytest.mark.parametrize("kernel", ["iou", "matern32"])
def test_long_smooth_kernels_carry_the_velocity_forward(kernel):
    # Of a velocity of standard deviation s / l = 1 per time; what changes it is of the order gap / length.
    module = GaussMarkov(1, kernel, scale=1e3, length=1e3)
    mean, std = _single(module, [0.0, 1.0], [1.0, 3.0], [2.0, 3.0, 0.5, -1.0])
    torch.testing.assert_close(
        mean, torch.tensor([5.0, 7.0, 2.0, -1.0], dtype=torch.float64), rtol=0, atol=0.02
    )
    assert (std < 0.3).all()
    assert std[1] > std[0] > std[2]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_gap_and_length_is_finite(kernel, dtype):
    # one series for each gap, one channel for each length
    module = GaussMarkov(5, kernel, length=[math.exp(k) for k in (-30, -3, 0, 3, 30)]).to(dtype)
    gap = torch.tensor([0.0, 1e-12, 1e-6, 1.0, 1e6, 1e30], dtype=dtype)
    unit = torch.ones_like(gap)
    times = torch.stack([0 * unit, gap, 0.1 * unit, gap, 0 * unit, 0.1 * unit], 1).cumsum(1)
    residuals = torch.tensor([0.1, 0.2, -0.1, 0.3, 0.3, 0.2], dtype=dtype)[None, None, :, None].expand(
        2, 6, 6, 5
    )
    residuals = residuals.clone().requires_grad_()
    mask = torch.ones(6, 6, 5, dtype=torch.bool)
    noise = torch.full((5,), 1e-6, dtype=dtype, requires_grad=True)
    value = module.log_likelihood(times, residuals, mask, noise)
    assert value.isfinite().all()
    for gradient in torch.autograd.grad(value.sum(), (residuals, noise, module.log_scale, module.log_length)):
        assert gradient.isfinite().all()
    mean, variance = module.condition(times, residuals, mask, noise, times + 0.05)
    assert mean.isfinite().all()
    assert (variance >= 0).all()
    paths = module.sample(times, residuals, mask, noise, times + 0.05, torch.Generator().manual_seed(0))
    assert paths.isfinite().all()


@pytest.mark.parametrize("name", LAWS)
def test_transitions_compose(name):
    # Phi(a + b) = Phi(b) Phi(a) and Q(a + b) = Phi(b) Q(a) Phi(b)^T + Q(b), over the seam of the series
    lags = 10 ** torch.linspace(-6, 0, 60, dtype=torch.float64)
    phi, process = LAWS[name].transition(lags)
    phi2, process2 = LAWS[name].transition(2 * lags)

    def matrix(rows):
        xx, xw, ww = rows
        return torch.stack([torch.stack([xx, xw], -1), torch.stack([xw, ww], -1)], -1)

    step = phi.permute(2, 0, 1)
    torch.testing.assert_close(step @ step, phi2.permute(2, 0, 1), rtol=1e-12, atol=1e-14)
    spread = step @ matrix(process) @ step.mT + matrix(process)
    # relative: of lag 1e-6 Q_xx is 1e-18
    torch.testing.assert_close(spread, matrix(process2), rtol=1e-11, atol=0)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("spacing", ["even", "crowded", "repeated", "wild"])
def test_float32_follows_float64_over_long_series(kernel, spacing):
    generator = torch.Generator().manual_seed(0)
    B, N, D, noise = 3, 400, 2, 1e-6
    gaps = torch.rand(B, N, generator=generator, dtype=torch.float64) / N
    if spacing == "crowded":
        gaps *= 1e-3
    elif spacing == "repeated":
        gaps[:, 1::3] = 0.0
    elif spacing == "wild":
        gaps[:, ::40] = 30.0
    times = gaps.cumsum(1).float().double()
    mask = torch.rand(B, N, D, generator=generator) < 0.8
    wide = GaussMarkov(D, kernel).double()
    nothing = (
        torch.zeros(1, B, N, D, dtype=torch.float64),
        torch.zeros_like(mask),
        torch.ones(D, dtype=torch.float64),
    )
    residuals = wide.sample(times, *nothing, times, generator)
    residuals = residuals + math.sqrt(noise) * torch.randn(
        residuals.shape, generator=generator, dtype=torch.float64
    )
    residuals = residuals.float().double()

    def value_and_gradients(module, dtype):
        x = residuals.to(dtype).requires_grad_()
        v = torch.full((D,), noise, dtype=dtype, requires_grad=True)
        value = module.log_likelihood(times.to(dtype), x, mask, v)
        return value, *torch.autograd.grad(value.sum(), (x, v, module.log_scale, module.log_length))

    narrow = value_and_gradients(GaussMarkov(D, kernel), torch.float32)
    # A residual of size s = .3 is rounded by 2e-8, that is 2e-5 of the noise's 1e-3, and after a wild gap by
    # ten times as much; the derivatives by scale and length are differences of sums a hundred times as large.
    for ours, exact in zip(narrow, value_and_gradients(wide, torch.float64), strict=True):
        assert (ours - exact).norm() < 2e-2 * exact.norm()
