"""How far answers are moved: weights learned on withheld series, shrunk where few tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Weights", "half_way", "learn_weights"]

# Knots in the lead time behind the one at 0: more among the short ones, where most changes, but so many values at least
# before the first, so that answers leave an observation no faster than something tells how.
N_KNOTS, LEAST_NEAR = 6, 30

# A channel's weights count as if so many more series had been seen for which those of all channels are right, and
# these as if so many more for which a third is.
CHANNEL_PRIOR, PRIOR, PRIOR_WEIGHT = 5.0, 5.0, 1 / 3

# A weight differs from its neighbours' as little as if so many series said that they are one, by their mean square.
SMOOTHNESS = 10.0

# No answer is moved further than this. Of storms some seasons after those that weights were learned from, weights up
# to 1 erred as much in track, and 2 to 6 % more in wind.
MOST = 0.5

# Weights that are not learned rise from 0 to a half up to this quantile of the lead times.
NEAR = 0.1

# Weights that are less than this on average are none.
LEAST = 0.05


@dataclass(frozen=True)
class Weights:
    """Shares between 0 and a half, for each channel piecewise linear in the lead time, and 0 beyond the knots.

    The first knot is at 0 with a weight of 0, so that what is observed stays as it is and nothing jumps beside it.
    The last is at twice the longest lead time that was tried, with a weight of 0: farther out nothing is known of
    the regression.

    Shapes:
        knots (K,), increasing; values (K, D).
    """

    knots: np.ndarray
    values: np.ndarray

    def at(self, lead: np.ndarray) -> np.ndarray:
        """The weights at each channel's lead times: (Q, D) -> (Q, D)."""
        columns = zip(lead.T, self.values.T, strict=True)
        return np.stack([np.interp(times, self.knots, values) for times, values in columns], axis=1)

    @property
    def usual(self) -> np.ndarray:
        """Each channel's mean weight over the lead times that were tried: (D,)."""
        return self.values[1:-1].mean(0)

    def check(self, n_channels: int) -> None:
        """Raises ValueError where these are no weights of so many channels."""
        fits = (
            self.knots.ndim == 1
            and len(self.knots) > 0
            and self.values.shape == (len(self.knots), n_channels)
        )
        if (
            not fits
            or not (np.diff(self.knots) > 0).all()
            or not ((self.values >= 0) & (self.values <= 1)).all()
        ):
            raise ValueError("the weights of a regression make no sense")


def learn_weights(
    gap: np.ndarray,
    difference: np.ndarray,
    lead: np.ndarray,
    channel: np.ndarray,
    series: np.ndarray,
    n_channels: int,
) -> Weights | None:
    r"""The w(lead) of least squares: sum over n values of (gap - w difference)^2, in units of what the gap usually is
    in the channel and at such leads.

    First of all channels together, then of each, both shrunk to what is known without them: of S series the mean of
    what these say, between 0 and 1, and of the prior, weighed S to PRIOR; then cut at a half. Weights at neighbouring
    leads differ the less the fewer series tell. 0 in a channel whose answers would be worse for it, and None where
    they would hardly be moved.

    Args:
        gap: truth minus the model's answer, in scaled units; difference: the regression's minus the model's. (n,)
        series: numbers 0, 1, .. of the series that the values are of.

    Source: Wolpert 1992, "Stacked generalization"; Breiman 1996, "Stacked regressions".
    """
    inner = _inner_knots(lead)
    if not len(inner):
        return None
    hats = _hats(lead, inner)
    unit = _usual_gap(gap, hats, channel, n_channels)
    gap, difference = gap / unit, difference / unit
    prior = np.full(len(inner), PRIOR_WEIGHT)
    everyone = np.ones(len(lead), dtype=bool)
    common = _shrunk(gap, difference, hats, series, everyone, prior, PRIOR)
    own = [
        _shrunk(gap, difference, hats, series, channel == number, common, CHANNEL_PRIOR)
        for number in range(n_channels)
    ]
    values = np.minimum(np.stack(own, axis=1), MOST)
    # The prior alone moves no answer that is the worse for it; a channel of which nothing is known goes by all others.
    left = gap - (hats * values.T[channel]).sum(1) * difference
    gain = np.bincount(channel, gap**2 - left**2, n_channels)
    known = np.bincount(channel, minlength=n_channels) > 0
    values[:, np.where(known, gain, gain.sum()) <= 0] = 0.0
    return None if values.mean() < LEAST else _with_ends(inner, values, float(lead.max()))


def half_way(lead: np.ndarray, n_channels: int) -> Weights | None:
    """w(lead) = min(1, lead / q) / 2, with q the NEAR-quantile of the lead times (n,), in all channels: where nothing
    says what weights should be. None where nothing is asked away from an observation.
    """
    if not len(lead) or not lead.max() > 0:
        return None
    near = np.quantile(lead, NEAR, method="higher")
    inner = np.array([near if near > 0 else lead[lead > 0].min()])
    return _with_ends(inner, np.full((1, n_channels), MOST), float(lead.max()))


def _inner_knots(lead: np.ndarray) -> np.ndarray:
    """The knots of which something is known: (K,), none where nothing is asked away from an observation."""
    if not len(lead) or not lead.max() > 0:
        return np.zeros(0)
    at = np.clip(((np.arange(N_KNOTS) + 0.5) / N_KNOTS) ** 2, min(1.0, LEAST_NEAR / len(lead)), 1.0)
    inner = np.unique(np.quantile(lead, at, method="nearest"))
    inner = inner[np.diff(inner, prepend=0.0) > 1e-3 * inner]  # equal but for the rounding of clocks
    return inner if len(inner) else lead.max(keepdims=True)


def _with_ends(inner: np.ndarray, values: np.ndarray, longest: float) -> Weights:
    """Weights (K, D) at the knots (K,) between those of 0, as `Weights` has them."""
    nothing = np.zeros((1, values.shape[1]))
    knots, inside = np.append(0.0, inner), np.concatenate([nothing, values])
    if longest > inner[-1]:
        knots, inside = np.append(knots, longest), np.concatenate([inside, values[-1:]])
    return Weights(np.append(knots, 2 * longest), np.concatenate([inside, nothing]))


def _hats(lead: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """What each inner knot's weight counts at the lead times, from a weight of 0 at 0: (n, K)."""
    knots = np.append(0.0, inner)
    return np.stack([np.interp(lead, knots, one) for one in np.eye(len(knots))[1:]], axis=1)


def _usual_gap(gap: np.ndarray, hats: np.ndarray, channel: np.ndarray, n_channels: int) -> np.ndarray:
    """Root mean square of the channel's gaps near each one's lead: (n,)."""
    found = np.ones(len(gap))
    for number in range(n_channels):
        own = np.flatnonzero(channel == number)
        square = gap[own] ** 2
        near = hats[own] @ (hats[own].T @ square / np.maximum(hats[own].sum(0), 1e-9))
        found[own] = np.sqrt(np.maximum(near, 1e-6 * square.mean() if len(own) else 0.0))
    return np.where(found > 0, found, 1.0)


def _shrunk(
    gap: np.ndarray,
    difference: np.ndarray,
    hats: np.ndarray,
    series: np.ndarray,
    chosen: np.ndarray,
    prior: np.ndarray,
    n_prior: float,
) -> np.ndarray:
    """Least squares over the chosen values, weighed against the prior's weights: (K,)."""
    n_series = len(np.unique(series[chosen]))
    columns = difference[chosen, None] * hats[chosen]
    gram, moment = columns.T @ columns, columns.T @ gap[chosen]
    if not np.trace(gram) > 0:
        return prior
    # Knots that hardly any value is near stay where the prior is, and those beside one another together where few tell.
    usual = np.trace(gram) / len(gram)
    slack, differences = 1e-3 * usual, np.diff(np.eye(len(gram)), axis=0)
    stiff = slack * np.eye(len(gram)) + SMOOTHNESS / n_series * usual * differences.T @ differences
    found = np.linalg.solve(gram + stiff, moment + slack * prior).clip(0.0, 1.0)
    return (n_series * found + n_prior * prior) / (n_series + n_prior)
