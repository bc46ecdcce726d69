"""Brings values and times to scales a network can learn at; learned from training data only."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import torch

from latentode.series import SeriesCollection

__all__ = ["LARGEST", "Scaling", "location_and_scale"]

# Values farther than one such range beyond the central 99 % count as outliers when location and
# scale are learned, so that a few of any size don't squeeze all the others together. Of fewer than
# two hundred values the central ones are all but the largest and the smallest.
OUTSIDE = 0.005

# Scaled values are cut here, where a float32 can still square them.
LARGEST = 1e15

# The spread of a constant channel, relative to its value: small enough that predictions of it
# equal it to three digits more than they need, large enough for float32.
CONSTANT_SPREAD = 1e-3


@dataclass(frozen=True)
class Scaling:
    """x -> (x - center) / spread for each channel, t -> t / time_unit.

    `time_unit` is the length, in the clock's units, that the model calls 1: the span that nine in
    ten training series stay within, or a twentieth of the longest span where that is longer.

    Shapes:
        center, spread (D,).
    """

    center: np.ndarray
    spread: np.ndarray
    time_unit: float

    @classmethod
    def learn(cls, values: np.ndarray, spans: np.ndarray) -> Scaling:
        """From observed values (R, D), NaN where missing, and the series' spans (n_series,)."""
        centers, spreads = zip(*(location_and_scale(column) for column in values.T), strict=True)
        return cls(np.array(centers), np.array(spreads), _time_unit(spans))

    def scale(self, collection: SeriesCollection, dtype: torch.dtype) -> SeriesCollection:
        """A collection in the data's units (float64), in scaled values and model time, which stays a float64: of a
        second's readings through a year a float32 tells but every other one apart.
        """
        center, spread = torch.from_numpy(self.center), torch.from_numpy(self.spread)
        values = ((collection.values - center) / spread).clamp(-LARGEST, LARGEST)
        return SeriesCollection(
            times=collection.times / self.time_unit,
            values=torch.where(collection.mask, values, 0.0).to(dtype),
            mask=collection.mask,
            starts=collection.starts,
            statics=None if collection.statics is None else collection.statics.to(dtype),
        )

    def unscale(self, values: torch.Tensor) -> np.ndarray:
        """Scaled values (..., D) in the data's units, none beyond the largest number there is."""
        with np.errstate(over="ignore"):
            found = values.double().cpu().numpy() * self.spread + self.center
        return found.clip(-np.finfo(np.float64).max, np.finfo(np.float64).max)


def location_and_scale(column: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of what is not NaN, outliers cut; a small positive number for no deviation."""
    observed = column[~np.isnan(column)]
    # Squares of very large or very small numbers leave float64's range; units of the largest don't.
    unit = float(np.abs(observed).max()) or 1.0
    observed = observed / unit
    outside = min(0.25, max(OUTSIDE, 1 / max(1, len(observed) - 1)))
    low, high = np.quantile(observed, (outside, 1 - outside))
    margin = high - low
    if margin > 0:
        observed = observed.clip(low - margin, high + margin)
    largest = float(np.abs(observed).max()) or 1.0  # which outliers may have dwarfed
    observed, unit = observed / largest, unit * largest
    center, spread = float(observed.mean()), float(observed.std())
    if spread < 1e-9:  # below this the variation is rounding
        spread = CONSTANT_SPREAD * (abs(center) or 1.0)
    return center * unit, max(spread * unit, sys.float_info.min)


def _time_unit(spans: np.ndarray) -> float:
    positive = spans[spans > 0]
    if not len(positive):
        return 1.0
    return float(max(np.quantile(positive, 0.9), positive.max() / 20))
