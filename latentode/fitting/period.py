r"""The period of what turns many times in a series: a day in what a sensor measures, a year in monthly counts.

A trajectory of many turns is hardly ever learned by itself: a small error of its frequency shifts the last turn by more
than half a period, and no small step leads to a better one. So a period is looked for in what is left of a series
without its slow movements: the share of it that one frequency explains is

    power(f) = 1 - min over c, s of |x(t) - c cos(2 pi f t) - s sin(2 pi f t)|^2 / |x|^2.

Source: Lomb 1976, "Least-squares frequency analysis of unequally spaced data"; Scargle 1982, "Studies in astronomical
time series analysis. II".
"""

from __future__ import annotations

import numpy as np
from scipy.signal import lombscargle

from latentode.series import SeriesCollection
from latentode.spans import MAX_ROWS

__all__ = ["find_period", "usual_span"]

# Periods in a span, and the least of its rows.
PERIODS, LEAST_ROWS = 4.0, 32

# A span is left as long as a series, or MAX_ROWS rows of it, where it would be no shorter than this share of that.
WORTH = 0.75

# A part holds so many periods. Of its slow movements so many half turns are taken away first, and a peak is looked for
# from so many turns on: what wanders has its strongest among the slowest, where no period is.
LEAST_TURNS, SLOW_HALF_TURNS, FROM_TURNS = 3.75, 5, 3.0

# How long a period is is fitted beside fewer of them: in four turns all of them put it off by half as much again.
BESIDE_HALF_TURNS = 2

# Parts and channels that are looked at, spread over all, so that none takes more than seconds.
MOST_PARTS, MOST_CHANNELS, MOST_LOOKS = 24, 50, 200

# What a channel shows of a part at fewer moments tells of no period; those of one burst are one.
LEAST_MOMENTS = 24

# So large a share of the values is cut at either end, as one spike outweighs all turns.
FARTHEST = 0.01

# One frequency has to explain so much of what is not slow: STRONG, A_MOMENT over the number of moments, and FEW_TURNS
# besides at LEAST_TURNS, nothing more from MANY_TURNS on. Of white noise, of random walks and of what lies between, of
# 24 to 256 rows, up to two series in a hundred do. And SHARE of all there is around a straight line: where slow
# movements are the most, a day's beside a six-hourly swing in spans of half a day, a field that turns learns them late.
STRONG, A_MOMENT, FEW_TURNS, MANY_TURNS, SHARE = 0.27, 5.0, 0.4, 8.0, 0.3

# Of peaks that explain so much of what the best one does the slowest counts: a day with two peaks is no half day.
OVERTONE = 0.5

# A channel is periodic where half of the parts are, with periods whose logarithms are within so much of one; or
# where half of SEVERAL or more would be if that share of the above were enough, and agree more closely. Series are
# periodic where half of their channels are.
ALIKE = 0.3
SEVERAL, ENOUGH, MUCH_ALIKE = 6, 0.6, 0.1

# What varies by less, beside its size, is equal but for rounding.
ROUNDING = 1e-9


def find_period(series: SeriesCollection) -> float | None:
    """The period of series that hold `LEAST_TURNS` of it, in the clock's units; None where they are not periodic.

    Series of more than `MAX_ROWS` observations are looked at in parts of so many.
    """
    parts = series.compact().cut(MAX_ROWS)
    chosen = np.flatnonzero((parts.lengths >= LEAST_MOMENTS).numpy())
    if not len(chosen):
        return None
    channels = np.argsort(-parts.mask.sum(0).numpy(), kind="stable")[:MOST_CHANNELS]
    most = min(MOST_PARTS, MOST_LOOKS // len(channels), len(chosen))
    chosen = chosen[np.linspace(0, len(chosen) - 1, most).round().astype(int)]
    looks = np.empty((len(channels), len(chosen), 2))
    for number, part in enumerate(chosen):
        rows = slice(int(parts.starts[part]), int(parts.starts[part + 1]))
        times, mask, values = (one[rows].numpy() for one in (parts.times, parts.mask, parts.values))
        for place, channel in enumerate(channels):
            seen = mask[:, channel]
            looks[place, number] = _look(
                times[seen].astype(np.float64), values[seen, channel].astype(np.float64)
            )
    told = [_agreed(look[~np.isnan(look[:, 1])]) for look in looks if not np.isnan(look[:, 1]).all()]
    found = [period for period in told if period is not None]
    return max(found) if found and 2 * len(found) >= len(told) else None


def usual_span(series: SeriesCollection, period: float) -> float | None:
    """Four periods, in the clock's units, where a series, or `MAX_ROWS` observations of one, last longer; else None."""
    series = series.compact()
    lasting = series.spans > 0
    if not lasting.any():
        return None
    of_row = float((series.spans[lasting] / (series.lengths[lasting] - 1)).median())
    span = max(PERIODS * period, LEAST_ROWS * of_row)
    most = min(MAX_ROWS * of_row, float(series.spans.max()))
    return span if span <= WORTH * most else None


def _agreed(looks: np.ndarray) -> float | None:
    """The period of a channel by its parts' (n, 2), see `_look`; None where half of them have no like ones."""
    half = -(-len(looks) // 2)
    for enough, alike in ((1.0, ALIKE), (ENOUGH, MUCH_ALIKE))[: 2 if len(looks) >= SEVERAL else 1]:
        found = np.sort(looks[looks[:, 1] >= enough, 0])
        if len(found) < half:
            continue
        widths = np.log(found[half - 1 :] / found[: len(found) - half + 1])
        first = int(np.argmin(widths))
        if widths[first] <= 2 * alike:
            return float(np.median(found[first : first + half]))
    return None


def _look(times: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """What may be the period of values (n,), and how strong it is, 1 where just enough; NaN where they are too few to
    tell.
    """
    lasting = float(np.ptp(times)) if len(times) else 0.0
    if not lasting > 0:
        return np.nan, np.nan
    clock = (times - times[0]) / lasting
    n_moments = len(np.unique((len(clock) * clock).round()))
    if n_moments < LEAST_MOMENTS:
        return np.nan, np.nan
    values = _scaled(values)
    values = _scaled(values.clip(*np.quantile(values, [FARTHEST, 1 - FARTHEST])))
    line = np.stack([np.ones_like(clock), clock], axis=1)
    slow = np.cos(np.pi * np.arange(1, SLOW_HALF_TURNS + 1) * clock[:, None])
    around, quick = _without(values, line), _without(values, np.concatenate([line, slow], axis=1))
    turns = np.arange(FROM_TURNS, n_moments / 3, 0.25)
    if not np.square(quick).sum() > ROUNDING**2 * np.square(values).sum():
        return np.inf, 0.0
    power = lombscargle(clock, quick, 2 * np.pi * turns, normalize=True)
    best = float(power.max())
    peak = int(np.flatnonzero(power >= OVERTONE * best)[0])
    while peak + 1 < len(power) and power[peak + 1] > power[peak]:
        peak += 1
    slowest = np.concatenate([line, slow[:, :BESIDE_HALF_TURNS]], axis=1)
    n_turns = _refined(clock, values, slowest, float(turns[peak]))
    if n_turns < LEAST_TURNS or best * np.square(quick).sum() < SHARE * np.square(around).sum():
        return np.inf, 0.0
    few = np.interp(n_turns, [LEAST_TURNS, MANY_TURNS], [FEW_TURNS, 0.0])
    return lasting / n_turns, best / (STRONG + A_MOMENT / n_moments + few)


def _refined(clock: np.ndarray, values: np.ndarray, slow: np.ndarray, n_turns: float) -> float:
    """The number of turns near one that, fitted beside what is slow, leaves least."""
    near = n_turns + np.linspace(-0.5, 0.5, 51)
    left = []
    for one in near:
        wave = 2 * np.pi * one * clock[:, None]
        left.append(
            np.square(_without(values, np.concatenate([slow, np.cos(wave), np.sin(wave)], axis=1))).sum()
        )
    return float(near[int(np.argmin(left))])


def _scaled(values: np.ndarray) -> np.ndarray:
    """Up to 1 in size, so that no square of them overflows."""
    return values / (float(np.abs(values).max()) or 1.0)


def _without(values: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """What least squares leave: (n,), (n, K) -> (n,)."""
    return values - columns @ np.linalg.lstsq(columns, values, rcond=None)[0]
