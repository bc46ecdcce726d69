r"""How long a span should be where long series are periodic: a few periods.

A trajectory of many turns is hardly ever learned: what its frequency is wrong by shifts the last turn by more than a
half, and no small step leads to a better one. So a day is looked for in what a sensor measures: of what is left of a
part without its slow movements the share that one frequency explains,

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

# Periods in a span, and the least of its rows. Of hourly values with a daily sine and noise forecasts of two days
# err by 2.4 and 0.95 in spans of two and of four days after 1000 steps, and by 2.3 in those of fifteen after 2500.
PERIODS, LEAST_ROWS = 4.0, 32

# A span is left as long as MAX_ROWS rows take where it would be no shorter than this share of that.
WORTH = 0.75

# Movements of fewer turns in a part are slow.
SLOW = 4.0

# Parts that are looked at, fewer of many channels, and how many values of a channel one needs; of these the farthest
# hundredths are cut, as one spike outweighs all turns.
MOST_PARTS, LEAST_PARTS, MOST_LOOKS, LEAST_VALUES, FARTHEST = 24, 4, 400, 64, 0.01

# A channel is periodic where in half of the parts one frequency explains so much of what is not slow, and so much of
# all there is around a straight line; series are where half of their channels are. White noise of LEAST_VALUES has as
# much of it in one frequency once in thousands of parts.
STRONG, SHARE = 0.35, 0.1

# Of frequencies that explain so much of what the best one does the lowest counts: a day with two peaks is no half day.
OVERTONE = 0.5


def usual_span(series: SeriesCollection) -> float | None:
    """Four periods, in the clock's units, where series of more than `MAX_ROWS` observations are periodic and those
    rows last longer; else None.
    """
    series = series.compact()
    is_long = series.lengths > MAX_ROWS
    if not is_long.any():
        return None
    series = series.select(np.flatnonzero(is_long.numpy()))
    parts = series.cut(MAX_ROWS)
    chosen = np.flatnonzero((parts.lengths >= LEAST_VALUES).numpy())
    if not len(chosen):
        return None
    most = int(np.clip(MOST_LOOKS // series.n_channels, LEAST_PARTS, MOST_PARTS))
    chosen = chosen[np.linspace(0, len(chosen) - 1, min(most, len(chosen))).round().astype(int)]
    lasting = float(np.median(parts.spans.numpy()[chosen]))
    if not lasting > 0:
        return None
    found = []
    for part in chosen:
        first, last = int(parts.starts[part]), int(parts.starts[part + 1])
        times, mask = parts.times[first:last].double().numpy(), parts.mask[first:last].numpy()
        values = parts.values[first:last].double().numpy()
        found.append([_period(times[seen], x[seen]) for x, seen in zip(values.T, mask.T, strict=True)])
    periods = np.array(found)  # (parts, D): NaN where too little was seen, infinite where nothing is periodic
    seen = ~np.isnan(periods)
    periodic = np.isfinite(periods).sum(0) * 2 >= np.maximum(seen.sum(0), 1)
    if not periodic.any() or 2 * periodic.sum() < seen.any(0).sum():
        return None
    of_channel = [np.median(column[np.isfinite(column)]) for column in periods[:, periodic].T]
    span = max(PERIODS * max(of_channel), lasting * LEAST_ROWS / MAX_ROWS)
    return span if span < WORTH * lasting else None


def _period(times: np.ndarray, values: np.ndarray) -> float:
    """The period of values (n,), infinite where they have none that is worth it, NaN where they are too few to tell."""
    lasting = float(np.ptp(times)) if len(times) else 0.0
    if len(values) < LEAST_VALUES or not lasting > 0:
        return np.nan
    clock = (times - times[0]) / lasting
    values = values.clip(*np.quantile(values, [FARTHEST, 1 - FARTHEST]))
    values = values / (float(np.abs(values).max()) or 1.0)
    angles = np.pi * np.arange(1, 2 * SLOW + 1) * clock[:, None]
    line = np.stack([np.ones_like(clock), clock], axis=1)
    around = _without(values, line)
    quick = _without(values, np.concatenate([line, np.cos(angles), np.sin(angles)], axis=1))
    if not np.square(quick).sum() > 1e-12 * np.square(values).sum():  # nothing but rounding
        return np.inf
    turns = np.arange(PERIODS / WORTH, len(values) / 3, 0.25)
    power = lombscargle(clock, quick, 2 * np.pi * turns, normalize=True)
    best = float(power.max())
    if best < STRONG or best * np.square(quick).sum() < SHARE * np.square(around).sum():
        return np.inf
    return lasting / float(turns[power >= OVERTONE * best][0])


def _without(values: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """What least squares leave: (n,), (n, K) -> (n,)."""
    return values - columns @ np.linalg.lstsq(columns, values, rcond=None)[0]
