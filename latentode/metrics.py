"""How good forecasts are: errors of points, scores of distributions, coverage of bands.

Every function takes arrays that broadcast against each other and gives the weighted mean over the entries at
which `truth` was observed, skipping its NaN; with `axis=None` a number, else an array without that axis.
Lower is better, but for `coverage` and `skill`. A forecast that is NaN where the truth is not makes the mean NaN.
Weights that are negative or not finite raise ValueError.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

__all__ = [
    "coverage",
    "crps_ensemble",
    "crps_mixture",
    "crps_normal",
    "crps_quantiles",
    "interval_score",
    "mae",
    "pinball",
    "rmse",
    "skill",
]

# Levels at which `crps_quantiles` sums: its relative error for a normal is then 5e-4 on average.
N_LEVELS = 40


def _mean(scores: np.ndarray, truth: np.ndarray, weights: Any, axis: Any) -> Any:
    """Weighted mean over observed entries, NaN where there is none (or they weigh nothing)."""
    scores, truth = np.broadcast_arrays(scores, truth)
    observed = ~np.isnan(truth)
    weight = observed.astype(np.float64)
    if weights is not None:
        given = np.asarray(weights, dtype=np.float64)
        if not (np.isfinite(given).all() and (given >= 0).all()):
            raise ValueError("weights must be finite and not negative")
        weight = weight * given
    total = weight.sum(axis=axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (np.where(observed, scores, 0.0) * weight).sum(axis=axis) / total
    return float(mean) if np.ndim(mean) == 0 else mean


def _floats(*arrays: Any) -> tuple[np.ndarray, ...]:
    return tuple(np.asarray(array, dtype=np.float64) for array in arrays)


def rmse(truth: Any, predicted: Any, *, weights: Any = None, axis: Any = None) -> Any:
    """sqrt(mean (x - y)^2).

    >>> rmse([1.0, 2.0, float("nan")], [4.0, 5.0, 9.0])
    3.0
    """
    truth, predicted = _floats(truth, predicted)
    root = np.sqrt(_mean((predicted - truth) ** 2, truth, weights, axis))
    return float(root) if np.ndim(root) == 0 else root


def mae(truth: Any, predicted: Any, *, weights: Any = None, axis: Any = None) -> Any:
    """Mean |x - y|, smallest at the median."""
    truth, predicted = _floats(truth, predicted)
    return _mean(np.abs(predicted - truth), truth, weights, axis)


def skill(error: Any, reference: Any) -> Any:
    """1 - error / reference: 0 is as good as the reference, 1 perfect, below 0 worse.

    Where both are 0 there is nothing to gain and the skill is 0.
    """
    error, reference = _floats(error, reference)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where((error == 0) & (reference == 0), 0.0, 1 - error / reference)
    return float(found) if np.ndim(found) == 0 else found


def pinball(truth: Any, quantiles: Any, probability: Any, *, weights: Any = None, axis: Any = None) -> Any:
    r"""Mean of (p - 1[y < q]) (y - q), smallest where q is the quantile of probability p.

    Args:
        probability: p of each quantile, between 0 and 1; broadcast like the others.

    Raises:
        ValueError: for a probability outside of these.
    Source: Koenker and Bassett 1978, "Regression quantiles".
    """
    truth, quantiles, probability = _floats(truth, quantiles, probability)
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError(f"probability must lie between 0 and 1; got {probability}")
    return _mean(_pinball(truth, quantiles, probability), truth, weights, axis)


def _pinball(truth: np.ndarray, quantile: np.ndarray, probability: Any) -> np.ndarray:
    above = truth - quantile
    return np.maximum(probability * above, (probability - 1) * above)


def coverage(truth: Any, low: Any, high: Any, *, weights: Any = None, axis: Any = None) -> Any:
    """Share of the truth in [low, high]: 0.9 for a 90 % band that is honest."""
    truth, low, high = _floats(truth, low, high)
    inside = ((low <= truth) & (truth <= high)).astype(np.float64)
    inside = np.where(np.isnan(low) | np.isnan(high), np.nan, inside)
    return _mean(inside, truth, weights, axis)


def interval_score(
    truth: Any, low: Any, high: Any, level: Any, *, weights: Any = None, axis: Any = None
) -> Any:
    r"""Winkler's score of a central band: its width, and 2 / (1 - level) for every unit outside.

        (u - l) + 2 / a * max(l - y, 0) + 2 / a * max(y - u, 0),    a = 1 - level / 100

    Args:
        level: the band's coverage in percent, as `predict` takes it.

    Raises:
        ValueError: for a level that does not lie between 0 and 100.
    Source: Winkler 1972; Gneiting and Raftery 2007, "Strictly proper scoring rules", section 6.2.
    """
    truth, low, high, level = _floats(truth, low, high, level)
    if not ((level > 0) & (level < 100)).all():
        raise ValueError(f"level must lie between 0 and 100 percent; got {level}")
    outside = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
    return _mean(high - low + 2 / (1 - level / 100) * outside, truth, weights, axis)


def crps_ensemble(
    truth: Any, ensemble: Any, *, fair: bool = True, weights: Any = None, axis: Any = None
) -> Any:
    r"""Continuous ranked probability score of S samples, the first axis of `ensemble` (S, ...).

        mean_s |x_s - y| - 1 / (2 S (S - 1)) sum_s sum_t |x_s - x_t|

    Args:
        fair: as above, so that few samples score on average as their distribution does; False divides
            by 2 S^2 instead and scores the samples as the distribution, which favours many.

    Raises:
        ValueError: for a fair score of fewer than two samples.
    Source: Gneiting and Raftery 2007, equation 21; Ferro 2014, "Fair scores for ensemble forecasts".
    """
    truth, ensemble = _floats(truth, ensemble)
    n_samples = len(ensemble)
    if n_samples < 1 + fair:
        raise ValueError(
            f"a {'fair ' if fair else ''}CRPS needs {1 + fair} samples at least; got {n_samples}"
        )
    # sum_{s < t} (x_t - x_s) of sorted samples: x_s is the larger one s times, the smaller S - 1 - s times.
    ordered = np.sort(ensemble, axis=0)
    times = 2.0 * np.arange(n_samples) - n_samples + 1
    pairs = np.tensordot(times, ordered, axes=1)
    spread = pairs / (n_samples * (n_samples - 1 if fair else n_samples))
    return _mean(np.abs(ensemble - truth).mean(axis=0) - spread, truth, weights, axis)


def crps_normal(truth: Any, mean: Any, std: Any, *, weights: Any = None, axis: Any = None) -> Any:
    r"""CRPS of Normal(mean, std^2):  std (w (2 Phi(w) - 1) + 2 phi(w) - 1 / sqrt(pi)),  w = (y - mean) / std.

    Raises:
        ValueError: for a negative std; with std 0 it is the absolute error.
    Source: Gneiting et al. 2005, "Calibrated probabilistic forecasting using EMOS", equation 5.
    """
    truth, mean, std = _floats(truth, mean, std)
    _check_spread(std)
    return _mean(_mean_distance(truth - mean, std) - std / np.sqrt(np.pi), truth, weights, axis)


def crps_mixture(
    truth: Any, means: Any, stds: Any, *, shares: Any = None, weights: Any = None, axis: Any = None
) -> Any:
    r"""CRPS of sum_s p_s Normal(mean_s, std_s^2), in closed form; costs S^2 / 2.

        sum_s p_s A(y - mean_s, std_s) - 1/2 sum_s sum_t p_s p_t A(mean_s - mean_t, sqrt(std_s^2 + std_t^2))

    with A(m, s) = E|Normal(m, s^2)|.

    Args:
        means, stds: (S, ...), or of a shape that broadcasts to it with S first.
        shares: p (S,), summing to 1; None makes them equal.

    Raises:
        ValueError: for a negative std, and for shares that are negative, do not sum to 1 or are not S.
    Source: Grimit et al. 2006, "The continuous ranked probability score for circular variables", equation 5.
    """
    truth, means, stds = _floats(truth, means, stds)
    _check_spread(stds)
    means, stds = np.broadcast_arrays(means, stds)
    n_components = len(means)
    shares = np.full(n_components, 1 / n_components) if shares is None else _floats(shares)[0]
    if shares.shape != (n_components,) or (shares < 0).any() or abs(shares.sum() - 1) > 1e-6:
        raise ValueError(f"shares must be {n_components} numbers of 0 or more that sum to 1; got {shares}")
    score: Any = np.zeros(())
    for one in range(n_components):
        score = score + shares[one] * _mean_distance(truth - means[one], stds[one])
        score = score - shares[one] ** 2 * stds[one] / np.sqrt(np.pi)
        for other in range(one):
            spread = np.hypot(stds[one], stds[other])
            score = score - shares[one] * shares[other] * _mean_distance(means[one] - means[other], spread)
    return _mean(score, truth, weights, axis)


def _mean_distance(mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """E|Normal(mean, std^2)|; |mean| where std is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        w = np.where(std > 0, mean / std, 0.0)
    density = np.exp(-0.5 * w * w) / np.sqrt(2 * np.pi)
    return np.where(std > 0, mean * (2 * ndtr(w) - 1) + 2 * std * density, np.abs(mean))


def _check_spread(std: np.ndarray) -> None:
    if (std < 0).any():
        raise ValueError("standard deviations must not be negative")


def crps_quantiles(
    truth: Any, quantiles: Any, probabilities: Sequence[float], *, weights: Any = None, axis: Any = None
) -> Any:
    r"""CRPS of a distribution known by its quantiles:  2 int_0^1 pinball_p(y, q_p) dp.

    Between the given ones, and beyond the outermost, q is taken to be linear in Phi^-1(p): exact for a
    normal from any two quantiles, and close for what resembles one.

    Args:
        quantiles: (K, ...), the first axis going with `probabilities` (K,), which increase; K >= 2.

    Raises:
        ValueError: for fewer than two quantiles, another number of probabilities, and for ones that do not
            increase between 0 and 1.
    Source: Gneiting and Ranjan 2011, "Comparing density forecasts", equation 12.
    """
    truth, quantiles = _floats(truth, quantiles)
    known = np.asarray(probabilities, dtype=np.float64)
    if known.ndim != 1 or len(known) < 2 or len(known) != len(quantiles):
        raise ValueError(
            f"quantiles (K, ...) need as many probabilities, two at least; "
            f"got {len(quantiles)} quantiles and probabilities of shape {known.shape}"
        )
    if not ((known > 0) & (known < 1)).all() or not (np.diff(known) > 0).all():
        raise ValueError(f"probabilities must increase between 0 and 1; got {known}")
    z = ndtri(known)
    levels = (np.arange(N_LEVELS) + 0.5) / N_LEVELS
    place = np.clip(np.searchsorted(known, levels) - 1, 0, len(known) - 2)
    share = (ndtri(levels) - z[place]) / (z[place + 1] - z[place])
    score: Any = np.zeros(())
    for level, k, u in zip(levels, place, share, strict=True):
        quantile = (1 - u) * quantiles[k] + u * quantiles[k + 1]
        score = score + _pinball(truth, quantile, level)
    return _mean(2 / N_LEVELS * score, truth, weights, axis)
