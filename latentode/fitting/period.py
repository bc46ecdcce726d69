r"""How long a span should be where long series are periodic: a few periods.

A trajectory of many turns is hardly ever learned: a small error of its frequency shifts the last turn by more than half
a period, and no small step leads to a better one. So a day is looked for in what a sensor measures: of what is left of
a part without its slow movements the share that one frequency explains,

    power(f) = 1 - min over c, s of |x(t) - c cos(2 pi f t) - s sin(2 pi f t)|^2 / |x|^2.

Source: Lomb 1976, "Least-squares frequency analysis of unequally spaced data"; Scargle 1982, "Studies in astronomical
time series analysis. II".
"""

from __future__ import annotations

import numpy as np
from scipy.signal import lombscargle

from latentode.series import SeriesCollection
from latentode.spans import MAX_ROWS

__all__ = ["usual_span"]

# Periods in a span, and the least of its rows.
PERIODS, LEAST_ROWS = 4.0, 32

# A span is left as long as MAX_ROWS rows take where it would be no shorter than this share of that.
WORTH = 0.75

# Movements of fewer turns in a part are slow.
SLOW = 4.0

# Parts and channels that are looked at, spread over all, so that none takes more than seconds.
MOST_PARTS, MOST_CHANNELS, MOST_LOOKS = 24, 50, 200

# What a channel shows of a part at fewer moments tells of no period; those of one burst are one.
LEAST_MOMENTS = 64

# So large a share of the values is cut at either end, as one spike outweighs all turns.
FARTHEST = 0.01

# A channel is periodic where in half of the parts one frequency explains so much of what is not slow, and so much of
# all there is around a straight line; series are where half of their channels are. White noise of LEAST_MOMENTS has as
# much of it in one frequency once in hundreds of parts.
STRONG, SHARE = 0.35, 0.1

# Of peaks that explain so much of what the best one does the slowest counts: a day with two peaks is no half day.
OVERTONE = 0.5

# What varies by less, beside its size, is equal but for rounding.
ROUNDING = 1e-9


def usual_span(series: SeriesCollection) -> float | None:
    """Four periods, in the clock's units, where series of more than `MAX_ROWS` observations are periodic and as many
    rows last longer; else None.
    """
    series = series.compact()
    is_long = series.lengths > MAX_ROWS
    if not is_long.any():
        return None
    parts = series.cut(MAX_ROWS)
    whose = series.series_of_rows[parts.starts[:-1].clamp(max=len(series.times) - 1)]
    chosen = np.flatnonzero((is_long[whose] & (parts.lengths >= LEAST_MOMENTS)).numpy())
    if not len(chosen):
        return None
    channels = np.argsort(-parts.mask.sum(0).numpy(), kind="stable")[:MOST_CHANNELS]
    most = min(MOST_PARTS, MOST_LOOKS // len(channels), len(chosen))
    chosen = chosen[np.linspace(0, len(chosen) - 1, most).round().astype(int)]
    of_row = float(np.median((parts.spans / (parts.lengths - 1).clamp(min=1)).numpy()[chosen]))
    if not of_row > 0:
        return None
    slowest = WORTH / PERIODS * MAX_ROWS * of_row
    periods = np.empty((len(chosen), len(channels)))
    for number, part in enumerate(chosen):
        rows = slice(int(parts.starts[part]), int(parts.starts[part + 1]))
        times, mask, values = (one[rows].numpy() for one in (parts.times, parts.mask, parts.values))
        for place, channel in enumerate(channels):
            seen = mask[:, channel]
            periods[number, place] = _period(
                times[seen].astype(np.float64), values[seen, channel].astype(np.float64), slowest
            )
    told, found = ~np.isnan(periods), np.isfinite(periods)
    periodic = (2 * found.sum(0) >= told.sum(0)) & found.any(0)
    if not periodic.any() or 2 * periodic.sum() < told.any(0).sum():
        return None
    of_channel = [np.median(column[np.isfinite(column)]) for column in periods[:, periodic].T]
    return float(max(PERIODS * max(of_channel), LEAST_ROWS * of_row))


def _period(times: np.ndarray, values: np.ndarray, slowest: float) -> float:
    """The period of values (n,) up to the slowest, infinite without one, NaN where they are too few to tell."""
    lasting = float(np.ptp(times)) if len(times) else 0.0
    if not lasting > 0:
        return np.nan
    clock = (times - times[0]) / lasting
    n_moments = len(np.unique((len(clock) * clock).round()))
    if n_moments < LEAST_MOMENTS:
        return np.nan
    values = _scaled(values)
    values = _scaled(values.clip(*np.quantile(values, [FARTHEST, 1 - FARTHEST])))
    angles = np.pi * np.arange(1, 2 * SLOW + 1) * clock[:, None]
    line = np.stack([np.ones_like(clock), clock], axis=1)
    around = _without(values, line)
    quick = _without(values, np.concatenate([line, np.cos(angles), np.sin(angles)], axis=1))
    turns = np.arange(max(SLOW, lasting / slowest), n_moments / 3, 0.25)
    if not len(turns) or not np.square(quick).sum() > ROUNDING**2 * np.square(values).sum():
        return np.inf
    power = lombscargle(clock, quick, 2 * np.pi * turns, normalize=True)
    best = float(power.max())
    if not (best >= STRONG and best * np.square(quick).sum() >= SHARE * np.square(around).sum()):
        return np.inf
    peak = int(np.flatnonzero(power >= OVERTONE * best)[0])
    while peak + 1 < len(power) and power[peak + 1] > power[peak]:
        peak += 1
    return lasting / float(turns[peak])


def _scaled(values: np.ndarray) -> np.ndarray:
    """Up to 1 in size, so that no square of them overflows."""
    return values / (float(np.abs(values).max()) or 1.0)


def _without(values: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """What least squares leave: (n,), (n, K) -> (n,)."""
    return values - columns @ np.linalg.lstsq(columns, values, rcond=None)[0]
