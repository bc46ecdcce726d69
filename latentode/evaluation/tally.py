"""Sums of errors by series, lead time and channel, and what a bootstrap over series makes of them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from latentode.evaluation.bins import LeadBins
from latentode.metrics import crps_quantiles, skill

__all__ = ["ALL_LEADS", "INTERVAL", "MIN_TO_BOOTSTRAP", "MODEL", "Tally", "share_error"]

MODEL = "latent ODE"
ALL_LEADS = "all"

# Coverage in percent of the bootstrap's intervals.
INTERVAL = 90

# Fewer series than this say next to nothing of how much series differ; intervals and errors of shares are NaN then.
MIN_TO_BOOTSTRAP = 5

# Bootstrap draws that are weighed at once.
DRAWS_AT_ONCE = 100


class Tally:
    """Adds up errors, and tells them by channel, lead time and predictor.

    Shapes: S series, B bins of lead time, D channels.
    """

    def __init__(
        self,
        n_series: int,
        bins: LeadBins,
        channels: Sequence[Hashable],
        predictors: Sequence[str],
        levels: Sequence[float],
    ) -> None:
        self.bins, self.channels, self.predictors, self.levels = bins, channels, predictors, levels
        shape = (n_series, len(bins), len(channels))
        self.counts = np.zeros(shape)
        self.squares = {name: np.zeros(shape) for name in predictors}
        self.absolutes = {name: np.zeros(shape) for name in predictors}
        self.leads, self.crps = np.zeros(shape[1:]), np.zeros(shape[1:])
        self.inside = {level: np.zeros(shape) for level in levels}
        self.widths = {level: np.zeros(shape[1:]) for level in levels}

    def add(
        self,
        series: np.ndarray,
        lead: np.ndarray,
        truth: np.ndarray,
        predictions: Mapping[str, np.ndarray],
        bands: Mapping[float, tuple[np.ndarray, np.ndarray]],
    ) -> None:
        """Forecasts of Q moments and what happened, NaN where that is not known.

        Shapes:
            series, lead (Q,); truth, predictions, and both bounds of each level's band (Q, D).
        """
        place = self.bins.find(lead)
        kept = place < len(self.bins)
        order = np.flatnonzero(kept)[np.lexsort((place[kept], series[kept]))]
        if not len(order):
            return
        series, place, lead, truth = series[order], place[order], lead[order], truth[order]
        first = np.flatnonzero(np.r_[True, (np.diff(series) != 0) | (np.diff(place) != 0)])
        cell = series[first], place[first]
        observed = ~np.isnan(truth)

        def by_cell(numbers: np.ndarray) -> np.ndarray:
            return np.add.reduceat(np.where(observed, numbers, 0.0), first, axis=0)

        def by_bin(numbers: np.ndarray) -> np.ndarray:
            total = np.zeros(self.leads.shape)
            np.add.at(total, cell[1], by_cell(numbers))
            return total

        self.counts[cell] += by_cell(np.ones(truth.shape))
        for name in self.predictors:
            error = predictions[name][order] - truth
            self.squares[name][cell] += by_cell(error**2)
            self.absolutes[name][cell] += by_cell(np.abs(error))
        self.leads += by_bin(np.broadcast_to(lead[:, None], truth.shape))
        bands = {level: (low[order], high[order]) for level, (low, high) in bands.items()}
        for level, (low, high) in bands.items():
            self.inside[level][cell] += by_cell(((low <= truth) & (truth <= high)).astype(np.float64))
            self.widths[level] += by_bin(high - low)
        if bands:
            self.crps += by_bin(_crps(truth, bands))

    def table(self, task: str, n_bootstrap: int, generator: np.random.Generator) -> pd.DataFrame:
        """One row for each channel, bin (and all together) and predictor; see `Evaluation.table`."""
        estimates, intervals = self._errors(n_bootstrap, generator)
        counts = _with_all(self.counts.sum(0))
        shape = (len(self.predictors), len(self.bins) + 1, len(self.channels))
        of_model = np.zeros(shape, dtype=bool)
        of_model[self.predictors.index(MODEL)] = True
        predictor, bin_, channel = (self._column(place) for place in np.indices(shape))
        edges = self.bins.in_users_units(np.concatenate([[0.0], self.bins.edges]))
        is_all = bin_ == len(self.bins)

        def models_own(numbers: np.ndarray) -> np.ndarray:
            with np.errstate(invalid="ignore", divide="ignore"):
                return self._column(np.where(of_model, _with_all(numbers) / counts, np.nan))

        with np.errstate(invalid="ignore", divide="ignore"):
            lead_means = self._column(_with_all(self.leads) / counts)
        columns: dict[str, Any] = {
            "task": task,
            "channel": [self.channels[number] for number in channel],
            "lead": [[*self.bins.labels, ALL_LEADS][number] for number in bin_],
            "lead_from": edges[np.where(is_all, 0, bin_)],
            "lead_to": edges[np.where(is_all, len(self.bins), bin_ + 1)],
            "lead_mean": self.bins.in_users_units(lead_means),
            "predictor": [self.predictors[number] for number in predictor],
            "n_values": self._column(counts).astype(np.int64),
            "n_series": self._column(self._n_series),
        }
        for measure in ("rmse", "mae"):
            columns |= self._with_interval(measure, estimates[measure], intervals)
        columns["crps"] = models_own(self.crps) if self.levels else np.nan
        for level in self.levels:
            columns[f"coverage-{level:g}"] = models_own(self.inside[level].sum(0))
            error = share_error(_with_all(self.inside[level], axis=1), _with_all(self.counts, axis=1))
            columns[f"coverage-{level:g}-error"] = self._column(np.where(of_model, error, np.nan))
            columns[f"width-{level:g}"] = models_own(self.widths[level])
        for measure, of in (("skill", "rmse"), ("mae_skill", "mae")):
            found = np.where(of_model, np.nan, skill(estimates[of][:1], estimates[of]))
            columns |= self._with_interval(measure, found, intervals)
        table = pd.DataFrame(columns)
        return table[table["n_values"] > 0].reset_index(drop=True)

    @property
    def _n_series(self) -> np.ndarray:
        """Series that hold a value of each bin, and of any: (B + 1, D)."""
        return (_with_all(self.counts, axis=1) > 0).sum(0)

    def _column(self, numbers: np.ndarray) -> np.ndarray:
        """(..., B + 1, D), of each predictor or of all, in the order of the table's rows."""
        shape = (len(self.predictors), len(self.bins) + 1, len(self.channels))
        return np.broadcast_to(numbers, shape).transpose(2, 1, 0).ravel()

    def _with_interval(
        self, measure: str, numbers: np.ndarray, intervals: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        low, high = intervals[measure]
        columns = {"": numbers, "-lo": low, "-hi": high}
        return {f"{measure}{end}": self._column(values) for end, values in columns.items()}

    def _errors(
        self, n_bootstrap: int, generator: np.random.Generator
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """RMSE and MAE (P, B + 1, D), and the bounds of theirs and of the skills' intervals (2, P, B + 1, D).

        Series are drawn, with all they hold, the same ones for every predictor: errors within a series, and
        of two predictors at one moment, go together.
        """
        sums = {"rmse": self.squares, "mae": self.absolutes}
        estimates = {
            measure: _error(
                measure,
                np.stack([_with_all(total.sum(0)) for total in sums[measure].values()]),
                _with_all(self.counts.sum(0)),
            )
            for measure in sums
        }
        shape = (2, len(self.predictors), len(self.bins) + 1, len(self.channels))
        intervals = {name: np.full(shape, np.nan) for name in ("rmse", "mae", "skill", "mae_skill")}
        present = np.flatnonzero(self.counts.any((1, 2)))
        if len(present) < MIN_TO_BOOTSTRAP or not n_bootstrap:
            return estimates, intervals
        few = self._n_series < MIN_TO_BOOTSTRAP
        weights = generator.multinomial(len(present), np.full(len(present), 1 / len(present)), n_bootstrap)
        edges = np.array([(100 - INTERVAL) / 200, (100 + INTERVAL) / 200])
        for channel in range(len(self.channels)):
            counts = _with_all(_weigh(weights, self.counts[present, :, channel]), axis=1)
            for measure, of in (("rmse", "skill"), ("mae", "mae_skill")):
                totals = np.stack(
                    [
                        _with_all(_weigh(weights, total[present, :, channel]), axis=1)
                        for total in sums[measure].values()
                    ]
                )
                errors = _error(measure, totals, counts)  # (P, n_bootstrap, B + 1)
                intervals[measure][..., channel] = _quantiles(errors, edges)
                intervals[of][:, 1:, :, channel] = _quantiles(skill(errors[:1], errors[1:]), edges)
        return estimates, {name: np.where(few, np.nan, bounds) for name, bounds in intervals.items()}


def share_error(inside: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Standard error of the share sum(inside) / sum(counts) over series, whose own values are alike; NaN of too few.

    Shapes:
        (S, ...), numbers of each series -> (...).
    Source: Cochran 1977, "Sampling Techniques", section 6.3, of a ratio.
    """
    n_series, total = (counts > 0).sum(0), counts.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = inside - counts * (inside.sum(0) / total)
        error = np.sqrt((apart**2).sum(0) * n_series / (n_series - 1)) / total
    return np.where(n_series >= MIN_TO_BOOTSTRAP, error, np.nan)


def _crps(truth: np.ndarray, bands: Mapping[float, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """CRPS of each value by the bounds of its bands, 0 where there is no value: (Q, D)."""
    levels = sorted(bands)
    probabilities = [0.5 - level / 200 for level in levels[::-1]] + [0.5 + level / 200 for level in levels]
    bounds = [bands[level][0] for level in levels[::-1]] + [bands[level][1] for level in levels]
    row, column = np.nonzero(~np.isnan(truth))
    found = np.zeros(truth.shape)
    quantiles = np.stack([bound[row, column] for bound in bounds])
    found[row, column] = crps_quantiles(truth[row, column][None], quantiles[:, None], probabilities, axis=0)
    return found


def _with_all(numbers: np.ndarray, axis: int = 0) -> np.ndarray:
    """The bins' numbers, and behind them their sum."""
    return np.concatenate([numbers, numbers.sum(axis, keepdims=True)], axis)


def _weigh(weights: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Weighted sums over the series: (n, S) and (S, B) -> (n, B)."""
    parts = [
        weights[first : first + DRAWS_AT_ONCE].astype(np.float64) @ numbers
        for first in range(0, len(weights), DRAWS_AT_ONCE)
    ]
    return np.concatenate(parts)


def _error(measure: str, totals: np.ndarray, counts: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = totals / counts
    return np.sqrt(mean) if measure == "rmse" else mean


def _quantiles(draws: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Over the second axis, skipping draws of series that hold no value here."""
    found = np.full((len(edges), draws.shape[0], draws.shape[2]), np.nan)
    for place in range(draws.shape[2]):
        known = ~np.isnan(draws[:, :, place]).any(0)
        if len(draws) and known.any():
            # Draws themselves, nothing in between: against a rival without error a skill is -inf.
            ordered = np.sort(draws[:, known, place], axis=1)
            found[:, :, place] = ordered[:, np.round(edges * (known.sum() - 1)).astype(np.int64)].T
    return found
