r"""Whether a channel holds more than noise around its mean, or nothing that could be found.

Two things are asked of each channel, in ranks, so that no outlier answers for all:

- Do earlier values tell of a value? r_k is its correlation with the mean of the k before it in its series, for
  k = 1, 4, 16 and all. Of white noise the products that r_k sums are uncorrelated, as a value is independent of
  all before it: r_k has mean 0 and variance 1/n, whatever the lengths of the series and their gaps. It is taken
  twice: with the same weight for every value, and with the same for every series, so that no long series of
  noise speaks for many short ones.
- Does the model? r is the correlation of the values hidden in validation with what was predicted of them, of
  mean 0 and variance 1/n likewise.

There is said to be none where each |r_k| lies two standard errors below LEAST, unless r lies above LEAST and two
standard errors above 0. So of fewer than a hundred values it is never said, and of a channel whose past explains
LEAST^2 of it once in forty times at most. How far the training has come does not matter: what the model has
not learned yet shows in the first question.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import rankdata

from latentode.inference import heldout_mean
from latentode.model import LatentODEModel
from latentode.series import SeriesBatch, SeriesCollection
from latentode.stacking import Stack

__all__ = ["ChannelSignal", "find_signal", "silent_channels"]

# A correlation that is worth having: it explains 4 % of the variance.
LEAST = 0.2

# Values before one that are averaged: all of a series are more than it has.
REACHES = (1, 4, 16, 2**62)

# So many equal values are no chance.
MIN_EQUAL = 10


@dataclass(frozen=True)
class ChannelSignal:
    """What was found in a channel.

    Args:
        values: observed in all series.
        before: the largest |r_k|, NaN where no value has one before it or all are equal.
        hidden: values that the model was asked for in validation, those of two contexts twice.
        predicted: their correlation with its answers, NaN without any or where either does not vary.
        signal: "found"; "none"; "constant", where all values are equal; or "unclear", where they are too few.
    """

    values: int
    before: float
    hidden: int
    predicted: float
    signal: str


def find_signal(
    collection: SeriesCollection,
    model: LatentODEModel,
    validation: Sequence[tuple[SeriesBatch, SeriesBatch]],
    *,
    stack: Stack | None = None,
    device: torch.device | str = "cpu",
    n_repeats: int = 1,
) -> tuple[ChannelSignal, ...]:
    """What was found in each of D channels.

    Args:
        collection: all series, in any units.
        validation: (context, target) pairs as in `train`. Without any the model is not asked.
        stack: moves the model's answers.
        n_repeats: how many of the contexts hide one value, at most.
    """
    asked = [
        (target, heldout_mean(model, context.to(device), target.to(device), stack=stack))
        for context, target in validation
    ]
    found = []
    series = collection.series_of_rows.numpy()
    for channel in range(collection.n_channels):
        seen = collection.mask[:, channel].numpy()
        x = collection.values[:, channel].numpy()[seen]
        actual, answers = [np.empty(0)], [np.empty(0)]
        for target, answer in asked:
            hidden = target.mask[..., channel]
            actual.append(target.values[..., channel][hidden].double().numpy())
            answers.append(answer[..., channel][hidden].double().numpy())
        found.append(
            _judge(x, series[seen], np.concatenate(actual), np.concatenate(answers), n_repeats=n_repeats)
        )
    return tuple(found)


def _judge(
    x: np.ndarray, series: np.ndarray, actual: np.ndarray, answers: np.ndarray, *, n_repeats: int = 1
) -> ChannelSignal:
    """Of values (n,) in the order of time within each series, hidden ones (m,) and answers to these (m,)."""
    before, error = _before(x, series)
    predicted = _correlation(_centred_ranks(actual), _centred_ranks(answers))
    error_of_model = np.sqrt(n_repeats / max(1, len(actual)))
    if len(x) >= MIN_EQUAL and (x == x[0]).all():
        signal = "constant"
    elif predicted > max(LEAST, 2 * error_of_model) or (before > np.maximum(LEAST, 3 * error)).any():
        signal = "found"
    elif (before + 2 * error < LEAST).all():
        signal = "none"
    else:
        signal = "unclear"
    return ChannelSignal(len(x), float(np.fmax.reduce(before)), len(actual), predicted, signal)


def _before(x: np.ndarray, series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest |r_k|, every value or every series weighing the same, and their standard errors: (2,) each."""
    first = np.searchsorted(series, series)
    number = np.arange(len(x))
    later = number > first
    if not later.any():
        return np.full(2, np.nan), np.full(2, np.nan)
    rank = _centred_ranks(x)
    total = np.append(0.0, rank.cumsum())
    number, first, rank = number[later], first[later], rank[later]
    starts = [np.maximum(first, number - reach) for reach in REACHES]
    means = [(total[number] - total[start]) / (number - start) for start in starts]
    _, place, counts = np.unique(series[later], return_inverse=True, return_counts=True)
    found, errors = [], []
    for weight in (np.ones(len(rank)), 1 / counts[place]):
        found.append(np.fmax.reduce([abs(_correlation(rank, mean, weight)) for mean in means]))
        errors.append(np.sqrt(np.square(weight).sum()) / weight.sum())
    return np.array(found), np.array(errors)


def _centred_ranks(x: np.ndarray) -> np.ndarray:
    return rankdata(x) - (len(x) + 1) / 2


def _correlation(x: np.ndarray, y: np.ndarray, weight: np.ndarray | float = 1.0) -> float:
    """Of numbers whose mean is 0; NaN where either does not vary."""
    scale = np.sqrt((weight * x * x).sum() * (weight * y * y).sum())
    return float((weight * x * y).sum() / scale) if scale > 0 else np.nan


def silent_channels(names: Sequence[Hashable], found: Sequence[ChannelSignal]) -> list[str]:
    """The warnings about channels without signal: one about noise, one about constants, as far as there are.

    Of a fit whose file is older than such accounts nothing was `found`, and nothing is said.
    """
    if not found:
        return []
    texts = {
        "none": f"no signal was found in {{}}: neither the values before one in its series nor the model explain "
        f"{LEAST**2:.0%} of what is there, and the answers stay near the mean. It may be noise, or change faster than "
        "it is measured; see signal_, and leave it out of value_cols if it is of no use",
        "constant": "{} never changed in the data: a constant has nothing to learn",
    }
    warnings = []
    for signal, text in texts.items():
        chosen = [repr(name) for name, one in zip(names, found, strict=True) if one.signal == signal]
        if chosen:
            warnings.append(text.format(f"column{'s' * (len(chosen) > 1)} {', '.join(chosen)}"))
    return warnings
