"""Scores in a mixture and values at scores are each other's inverse, far out too."""

import torch

from latentode.mixtures import LARGEST_SCORE, mixture_score, value_at_score


def some_mixtures(n, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    means = 3 * torch.randn(16, n, generator=generator, dtype=dtype)
    return means, torch.rand(n, generator=generator, dtype=dtype) * 2 + 0.1


def mixture_quantile(means, std, quantile):
    z = torch.special.ndtri(torch.tensor(quantile, dtype=torch.float64))
    return value_at_score(means, std, z.to(std).expand_as(std))


def test_quantiles_are_the_mixtures():
    means, std = some_mixtures(200)
    for quantile in (0.01, 0.05, 0.5, 0.9):
        x = mixture_quantile(means, std, quantile)
        found = torch.special.ndtr((x - means) / std).mean(0)
        torch.testing.assert_close(found, torch.full_like(found, quantile), rtol=0, atol=1e-9)


def test_quantiles_of_components_far_apart():
    means = 1000 * torch.randn(64, 500, generator=torch.Generator().manual_seed(0))
    std = torch.ones(500)
    for quantile in (0.05, 0.4, 0.95):
        x = mixture_quantile(means, std, quantile)
        found = torch.special.ndtr((x - means) / std).mean(0)
        # Between two components the probability is flat to float32's rounding, and any x there will do.
        assert (found - quantile).abs().max() < 1e-3


def test_quantiles_of_one_component_are_the_normals():
    x = mixture_quantile(torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, dtype=torch.float64), 0.975)
    assert abs(x.item() - 1.959963984540054) < 1e-9


def test_scores_of_one_component_are_its_own_far_into_the_tails():
    z = torch.linspace(-34, 34, 1001, dtype=torch.float64)
    means, std = (
        torch.full((1, 1001), 3.0, dtype=torch.float64),
        torch.full((1001,), 0.1, dtype=torch.float64),
    )
    # One rounding of 3 + 0.1 z is 4e-15 of a score of 34.
    torch.testing.assert_close(mixture_score(means, std, 3 + 0.1 * z), z, rtol=0, atol=1e-11)
    torch.testing.assert_close(value_at_score(means, std, z), 3 + 0.1 * z, rtol=0, atol=1e-11)


def test_values_at_scores_have_these_scores():
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-4)):  # of x alone 1e-6 / 0.1 = 1e-5
        means, std = some_mixtures(2000, dtype)
        z = torch.linspace(-30, 30, 2000, dtype=dtype)
        found = mixture_score(means, std, value_at_score(means, std, z))
        torch.testing.assert_close(found, z.double(), rtol=0, atol=tolerance)


def test_an_entry_is_answered_as_if_it_were_alone():
    for dtype, tolerance in ((torch.float64, 1e-8), (torch.float32, 1e-5)):
        means, std = some_mixtures(60, dtype)
        z = torch.linspace(-20, 20, 60, dtype=dtype)
        together = value_at_score(means, std, z)
        alone = torch.stack([value_at_score(means[:, i], std[i], z[i]) for i in range(60)])
        torch.testing.assert_close(together, alone, rtol=1e-6, atol=tolerance)


def test_scores_end_where_double_precision_does():
    means, std = some_mixtures(3)
    assert (mixture_score(means, std, torch.full((3,), 1e9)) == LARGEST_SCORE).all()
    assert (mixture_score(means, std, torch.full((3,), -1e9)) == -LARGEST_SCORE).all()
    assert torch.isfinite(value_at_score(means, std, torch.full((3,), 1e9))).all()
