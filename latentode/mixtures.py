"""A mixture of normals: standard scores of values in it, and the values of given scores."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["LARGEST_SCORE", "NormalMixture", "mixture_score", "value_at_score"]

# Phi is 0 in double precision from -38 on.
LARGEST_SCORE = 35.0

# Phi is 0 in single precision from -13 on; values farther out than this are sought in double.
SINGLE_REACH = 8.0

SQRT_HALF = 0.5**0.5

# Bisection alone gains a digit in three steps; single precision is reached within these.
MAX_STEPS = 80


class NormalMixture(NamedTuple):
    """A mixture for each of n values: means (S, n), std (n,) or (S, n), share (S, n), or None where equal."""

    means: Tensor
    std: Tensor
    share: Tensor | None = None

    def score(self, x: Tensor) -> Tensor:
        """`mixture_score` of x (n,)."""
        return mixture_score(self.means, self.std, x, self.share)

    def value_at(self, z: Tensor) -> Tensor:
        """`value_at_score` of z (n,)."""
        return value_at_score(self.means, self.std, z, self.share)


def mixture_score(means: Tensor, std: Tensor, x: Tensor, share: Tensor | None = None) -> Tensor:
    r"""Z = Phi^-1(F(x)), F(x) = sum_s share_s Phi((x - mean_s) / std_s): how far out x lies, as of one normal.

    Computed in double precision from the nearer tail, so that it is as exact far out as in the middle; at
    most LARGEST_SCORE either way.

    Shapes:
        means (S, ...), std (...) or (S, ...), x (...), share (S, ...) or None for 1 / S -> (...), float64.
    """
    means, std, x = means.double(), std.double(), x.double()
    share = None if share is None else share.double()
    mirror = torch.where(x > _mean(means, share), -1.0, 1.0).to(std)
    below = _mean(_phi(mirror * (x - means) / std), share)
    return mirror * torch.special.ndtri(below).clamp(-LARGEST_SCORE, LARGEST_SCORE)


def _mean(values: Tensor, share: Tensor | None) -> Tensor:
    return values.mean(0) if share is None else (share * values).sum(0)


def _phi(x: Tensor) -> Tensor:
    """Phi(x), exact to all digits far below 0 too, where torch's own ndtr cancels."""
    return 0.5 * torch.erfc(-SQRT_HALF * x)


def value_at_score(means: Tensor, std: Tensor, z: Tensor, share: Tensor | None = None) -> Tensor:
    r"""X with Phi^-1(F(x)) = z, the inverse of `mixture_score`, for each entry on its own.

    Newton's method on Phi^-1(F(x)), which is a straight line where the mixture is one normal, kept inside
    the interval between the smallest and the largest component's own value, where the root must be.
    Where a step has not halved the error (components far apart leave plateaus) the next one bisects. Each
    ends when its score is met to 3e-6 in single and 1e-10 in double precision, or to the rounding of x.

    Shapes:
        means (S, ...), std (...) or (S, ...), z (...), share (S, ...) or None for 1 / S -> (...).
    """
    # What lies above the middle is found as what lies below it in the mirror: Phi is exact near 0 only.
    mirror = torch.where(z > 0, -1.0, 1.0).to(std)
    z = -z.abs().clamp(max=LARGEST_SCORE)
    shape, means = z.shape, (means * mirror).reshape(len(means), -1)
    std = std.flatten() if std.ndim == z.ndim else std.reshape(means.shape)
    share = None if share is None else share.reshape(means.shape)
    z = z.to(std).flatten()
    deep = z < -SINGLE_REACH
    if std.dtype == torch.float64 or not bool(deep.any()):
        found = _find(means, std, z, share)
    elif bool(deep.all()):
        found = _find_in_double(means, std, z, share)
    else:
        found = torch.empty_like(z)
        for place, find in ((~deep, _find), (deep, _find_in_double)):
            of_share = None if share is None else share[:, place]
            found[place] = find(means[:, place], std[..., place], z[place], of_share)
    return mirror * found.view(shape)


def _find_in_double(means: Tensor, std: Tensor, z: Tensor, share: Tensor | None) -> Tensor:
    share = None if share is None else share.double()
    return _find(means.double(), std.double(), z.double(), share).to(std)


def _find(means: Tensor, std: Tensor, z: Tensor, share: Tensor | None) -> Tensor:
    """`value_at_score` for z <= 0: means (S, n), std (n,) or (S, n), z (n,), share (S, n) or None."""
    if std.ndim == 1:
        least = std
        found = means.mean(0) + z * (means.var(0, unbiased=False) + std.square()).sqrt()
        low, high = means.amin(0) + z * std, means.amax(0) + z * std
    else:
        least, middle, at_score = std.amin(0), _mean(means, share), means + z * std
        found = middle + z * _mean((means - middle).square() + std.square(), share).sqrt()
        low, high = at_score.amin(0), at_score.amax(0)
    rounding = torch.finfo(std.dtype).eps * torch.maximum(low.abs(), high.abs()) / least
    tolerance = rounding.clamp(min=3e-6 if std.dtype == torch.float32 else 1e-10)
    left = torch.arange(len(found), device=found.device)
    x, before = found.clamp(low, high), torch.full_like(found, torch.inf)
    for _ in range(MAX_STEPS):
        standardised = (x - means) / std
        normal = torch.special.ndtri(_mean(_phi(standardised), share))
        error = (normal - z).abs()
        found[left] = x
        missed = error >= tolerance
        if not bool(missed.any()):
            break
        if not bool(missed.all()):  # most are met within four steps, and need not wait for the others
            kept = (left, x, z, low, high, normal, error, before, tolerance)
            left, x, z, low, high, normal, error, before, tolerance = (value[missed] for value in kept)
            means, standardised, std = means[:, missed], standardised[:, missed], std[..., missed]
            share = None if share is None else share[:, missed]
        low, high = torch.where(normal < z, x, low), torch.where(normal > z, x, high)
        # d Phi^-1(F) / dx = density / phi(Phi^-1(F)); the factor 1 / sqrt(2 pi) of both cancels, and with
        # the two exponents taken together neither vanishes alone.
        density = torch.exp(0.5 * (normal.square() - standardised.square()))
        slope = density.mean(0) / std if std.ndim == 1 else _mean(density / std, share)
        newton = x - (normal - z) / slope
        good = (newton > low) & (newton < high) & (error <= 0.5 * before)
        x, before = torch.where(good, newton, (low + high) / 2), error
    return found
