"""Columns of a regression: features standardised, multiplied by one another, and interpolated between knots."""

from __future__ import annotations

import numpy as np

__all__ = [
    "LARGEST_FEATURE",
    "LARGEST_LEVEL",
    "between_knots",
    "choose_centres",
    "factors_of",
    "hats_at",
    "knots_of",
    "location_and_scale",
    "n_factors",
    "n_products",
    "nearness",
    "products",
    "standardise",
]

# Features whose products a forecast sees, a channel's last value and its slope, of all channels that have no more than
# so many in all; and their size beside the other features: they are penalised by its inverse square.
FACTORS, MOST_FACTORS, PRODUCTS_SHARE = (0, 5), 12, 0.08

# How near a moment lies to some of those trained on, in the space of the same features, tells what products can't: a
# storm weakens over land. So many of these at most, and one of so many; fewer than the least are none.
MAX_CENTRES, MOMENTS_A_CENTRE, LEAST_CENTRES = 100, 20, 10

# Positions up to the first knot, at least: what the very nearest few are is chance.
LEAST_NEAR = 30

# Standardised features are cut here: one value gone astray should not be extrapolated from. But the base of an answer
# is a channel's last value, or the line between two, however far out; its way back to the mean is to be learned. So
# the first two of a channel's own features, where it is and how far the mean is from there, are cut farther out.
LARGEST_FEATURE, LARGEST_LEVEL = 6.0, 50.0


def location_and_scale(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over the moments, infinite where nothing varies: (M, D, F) -> (D, F) each."""
    known = ~np.isnan(features)
    count = np.maximum(known.sum(0), 1)
    location = np.where(known, features, 0.0).sum(0) / count
    scale = np.sqrt(np.where(known, (features - location) ** 2, 0.0).sum(0) / count)
    return location, np.where(scale > 1e-12 * np.abs(location), scale, np.inf)


def standardise(
    features: np.ndarray,
    location: np.ndarray,
    scale: np.ndarray,
    largest: np.ndarray | float = LARGEST_FEATURE,
) -> np.ndarray:
    """In standard deviations from the mean, cut at the `largest`; what is unknown stands at the mean: (..., F)."""
    standard = ((features - location) / scale).clip(-largest, largest)
    return np.where(np.isnan(standard), 0.0, standard)


def knots_of(position: np.ndarray, number: int) -> np.ndarray:
    """So many places at most between which coefficients are interpolated, (K,): at the squares of equal shares of the
    positions, as more changes at short leads, but some positions at least up to the first.
    """
    if not len(position):
        return np.zeros(1)
    least = min(1.0, LEAST_NEAR / len(position))
    knots = np.unique(np.quantile(position, np.clip(np.linspace(0, 1, number) ** 2, least, 1.0)))
    # Nearer ones are equal but for the rounding of clocks.
    return knots[np.diff(knots, prepend=-np.inf) > 1e-3 * np.abs(knots)]


def hats_at(position: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Weights (Q, K) of a linear interpolation between the knots, constant outside of them."""
    if len(knots) == 1:
        return np.ones((len(position), 1))
    place = np.clip(np.searchsorted(knots, position, side="right") - 1, 0, len(knots) - 2)
    share = ((position - knots[place]) / (knots[place + 1] - knots[place])).clip(0, 1)
    hats = np.zeros((len(position), len(knots)))
    rows = np.arange(len(position))
    hats[rows, place], hats[rows, place + 1] = 1 - share, share
    return hats


def factors_of(own: np.ndarray, forecasts: bool) -> np.ndarray:
    """All channels' FACTORS: (M, D, 1 + F) -> (M, X)."""
    n_channels = own.shape[1]
    each = n_factors(n_channels, forecasts) // n_channels
    factors = own[:, :, FACTORS[:each]].reshape(len(own), -1)
    return factors.clip(-LARGEST_FEATURE, LARGEST_FEATURE)


def products(factors: np.ndarray) -> np.ndarray:
    """Squares and products of two: (M, X) -> (M, X (X + 1) / 2)."""
    one, other = np.triu_indices(factors.shape[1])
    return PRODUCTS_SHARE * (factors[:, one] * factors[:, other]).clip(-LARGEST_FEATURE, LARGEST_FEATURE)


def choose_centres(factors: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Some of the moments' factors, (M, X) -> (C, X)."""
    number = min(MAX_CENTRES, len(factors) // MOMENTS_A_CENTRE)
    if number < LEAST_CENTRES or not factors.shape[1]:
        return factors[:0]
    return generator.choice(factors, number, replace=False)


def nearness(factors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Radial basis functions around the centres, wider where any two points are farther apart: (M, C)."""
    if not len(centres):
        return np.zeros((len(factors), 0))
    square = (factors**2).sum(1)[:, None] - 2 * factors @ centres.T + (centres**2).sum(1)
    return np.exp(-square / centres.shape[1])


def n_factors(n_channels: int, forecasts: bool) -> int:
    """How many `factors_of` finds in so many channels: as many in each."""
    return n_channels * min(len(FACTORS), MOST_FACTORS // n_channels) if forecasts else 0


def n_products(n_channels: int, forecasts: bool) -> int:
    """How many columns `products` makes of these."""
    number = n_factors(n_channels, forecasts)
    return number * (number + 1) // 2


def between_knots(features: np.ndarray, hats: np.ndarray) -> np.ndarray:
    """Every feature times every hat: (n, F), (n, K) -> (n, F K)."""
    return (features[:, :, None] * hats[:, None, :]).reshape(len(features), -1)
