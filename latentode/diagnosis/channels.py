"""What is odd about the values of one channel: placeholders, other units, outliers, nothing to learn."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import numpy as np

from latentode.diagnosis.report import Finding
from latentode.frames.placeholders import placeholders, stands_for_missing
from latentode.printing import counted

__all__ = ["look_at_channel"]

# Fewer observed values than this teach nothing of a channel.
FEW = 10

# Decades: values farther than this from all others are a group of their own, and factors are told apart
# this well.
DECADES_APART, DECADES_ALIKE = 0.3, 0.15

# Outliers lie farther from the median than this many times what nine in ten values of their side do: ten
# standard deviations of a normal, a thousandth of a log-normal.
OUTLYING = 8.0


def look_at_channel(name: Hashable, values: np.ndarray, where: Callable[[int], str]) -> list[Finding]:
    """Findings about one channel.

    Args:
        values: (R,), NaN where not observed.
        where: says of a row's number which series and time it is.
    """
    rows = np.flatnonzero(~np.isnan(values))
    x = values[rows]
    if not len(x):
        text = f"column {name!r} has no observed value in the whole frame; leave it out of value_cols"
        return [Finding("refused", "empty", text, name)]
    found = []
    if len(x) < FEW:
        text = (
            f"{name!r} is nearly empty: {len(x)} of {len(values)} rows have a value; "
            "little can be learned of it"
        )
        found.append(Finding("note", "nearly empty", text, name))
    if (x == x[0]).all():
        text = f"{name!r} is always {x[0]:g}; a constant has nothing to learn: leave it out of value_cols"
        return [*found, Finding("note", "constant", text, name)]
    if len(np.unique(x)) == 2 and len(x) >= FEW:
        text = (
            f"{name!r} has two values only, {x.min():g} and {x.max():g}; every channel is taken as a number "
            "with Gaussian noise"
        )
        return [*found, Finding("note", "categories", text, name)]

    odd = np.zeros(len(x), dtype=bool)
    for placeholder in placeholders(x):
        alike = x == placeholder
        text = stands_for_missing(name, placeholder, x[~odd], where(rows[alike.argmax()]))
        found.append(Finding("suspect", "placeholder", text, name))
        odd |= alike
    for alike, meaning, remedy in _other_units(np.where(odd, np.nan, x)):
        text = (
            f"{name!r} seems to be {meaning} in {_rows(alike)} (such as {x[alike.argmax()]:g}, at "
            f"{where(rows[alike.argmax()])}; the bulk is around {np.median(x[~(odd | alike)]):.3g}); {remedy}"
        )
        found.append(Finding("suspect", "units", text, name))
        odd |= alike
    far = _outlying(np.where(odd, np.nan, x))
    if far.any():
        worst = np.flatnonzero(far)[np.abs(x[far] - np.median(x[~odd])).argmax()]
        text = (
            f"{name!r} has {counted(int(far.sum()), 'outlier')}, the farthest {x[worst]:g} at "
            f"{where(rows[worst])} (median {np.median(x[~odd]):.3g}); set mistakes to NaN, genuine ones can stay"
        )
        found.append(Finding("suspect", "outliers", text, name))
    return found


def _other_units(x: np.ndarray) -> list[tuple[np.ndarray, str, str]]:
    """Groups of values that lie in the bulk once they are converted: which, what they seem, what to do."""
    known = ~np.isnan(x)
    sign = np.sign(np.median(x[known])) if known.any() else 0.0
    usable = known & (x * sign > 0)
    if sign == 0 or usable.sum() < 2 * FEW or usable.sum() < 0.9 * known.sum():
        return []
    order = np.flatnonzero(usable)[np.argsort(np.abs(x[usable]))]
    decades = np.log10(np.abs(x[order]))
    groups = np.split(order, np.flatnonzero(np.diff(decades) > DECADES_APART) + 1)
    bulk = max(groups, key=len)
    if len(bulk) < 0.5 * len(order):
        return []
    low, middle, high = np.quantile(np.log10(np.abs(x[bulk])), [0.02, 0.5, 0.98])
    found = []
    for group in groups:
        if group is bulk:
            continue
        # Near zero decades are short: what is odd stands apart on the plain scale too.
        quarter, three = np.quantile(x[bulk], [0.25, 0.75])
        if np.abs(x[bulk][:, None] - x[[group[0], group[-1]]]).min() < 0.5 * (three - quarter):
            continue
        alike = np.zeros(len(x), dtype=bool)
        alike[group] = True
        ratio = float(np.median(np.log10(np.abs(x[group])))) - middle
        factor = round(ratio)
        if _is_other_scale(x[group], x[bulk]):
            scale = "Fahrenheit" if np.median(x[group]) > np.median(x[bulk]) else "Celsius"
            found.append((alike, f"in degrees {scale}", "bring it to one scale"))
        elif (
            factor
            and low - DECADES_ALIKE
            < float(np.median(np.log10(np.abs(x[group])))) - factor
            < high + DECADES_ALIKE
        ):
            if len(group) < 3 and abs(ratio - factor) > DECADES_ALIKE:
                continue  # one value can be anything
            size = f"{10 ** abs(factor):g} times too {'large' if factor > 0 else 'small'}"
            found.append((alike, size, "check its unit or decimal point"))
    return found


def _is_other_scale(group: np.ndarray, bulk: np.ndarray) -> bool:
    """Whether a group is the bulk in the other of Celsius and Fahrenheit; bodies and rooms, not ovens."""
    low, middle, high = np.quantile(bulk, [0.02, 0.5, 0.98])
    if len(group) < 3 or not -40 <= min(np.median(group), middle) <= 45 or high - low > 0.25 * abs(middle):
        return False
    margin = 0.5 * (high - low)
    warm = np.median(group) > np.median(bulk)
    converted = (group - 32) / 1.8 if warm else group * 1.8 + 32
    return bool(((converted > low - margin) & (converted < high + margin)).mean() > 0.8)


def _outlying(x: np.ndarray) -> np.ndarray:
    known = x[~np.isnan(x)]
    if len(known) < 2 * FEW:
        return np.zeros(len(x), dtype=bool)
    low, middle, high = np.quantile(known, [0.1, 0.5, 0.9])
    below, above = middle - low, high - middle
    if not min(below, above) > 0:  # most values are the same: no side has a scale of its own
        below = above = max(below, above)
    if not below > 0:
        return np.zeros(len(x), dtype=bool)
    with np.errstate(invalid="ignore"):
        far = (x < middle - OUTLYING * below) | (x > middle + OUTLYING * above)
    return far if far.sum() <= 0.01 * len(known) else np.zeros(len(x), dtype=bool)


def _rows(chosen: np.ndarray) -> str:
    return counted(int(chosen.sum()), "row")
