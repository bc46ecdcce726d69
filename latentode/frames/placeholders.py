"""Numbers that stand for "not measured"."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from latentode.printing import counted

__all__ = ["UNMISTAKABLE", "placeholders", "stands_for_missing"]

# What programs write for it, and how single precision has it.
_WRITTEN = (
    *(0.0, -1.0, -9.0),
    *(sign * number for number in (99.0, 999.0, 9999.0, 99999.0) for sign in (-1, 1)),
    *(sign * number for number in (99.9, 99.99, 99.999, 999.9, 999.99, 9999.9) for sign in (-1, 1)),
    -999.25,
)
PLACEHOLDERS = frozenset(_WRITTEN) | frozenset(float(np.float32(number)) for number in _WRITTEN)

# Those of at least this size are hardly anything else where they stand apart.
UNMISTAKABLE = 99.0


def placeholders(x: np.ndarray) -> list[float]:
    """Numbers of the usual suspects that stand apart from all other values, outermost first."""
    found: list[float] = []
    rest = x
    while len(rest) > 2:
        known = [s for s in (rest.min(), rest.max()) if s in PLACEHOLDERS and _stands_apart(rest, s)]
        if not known:
            break
        # The larger is taken first: it blurs what the other stands apart from.
        found.append(float(max(known, key=abs)))
        rest = rest[rest != found[-1]]
    return found


def _stands_apart(x: np.ndarray, placeholder: float) -> bool:
    rest = x[x != placeholder]
    count = len(x) - len(rest)
    if len(rest) < 5:
        return False
    inner = rest
    for other in PLACEHOLDERS:  # one placeholder must not hide another
        if other in (rest.min(), rest.max()) and abs(other) >= abs(placeholder):
            inner = inner[inner != other]
    if len(inner) < 5:
        return False
    low, quarter, three, high = np.quantile(inner, [0.05, 0.25, 0.75, 0.95])
    distance = float(np.abs(inner - placeholder).min())
    if placeholder < 0 <= inner.min():  # the only negative number
        return count >= 2 or distance > 5 * (high - low)
    if placeholder == 0:
        return count >= 3 and inner.min() > 0 and distance > three - quarter
    return (count >= 2 and distance > 2 * (three - quarter)) or distance > 5 * (high - low)


def stands_for_missing(
    name: Hashable, placeholder: float, values: np.ndarray, first: str | None = None
) -> str:
    """What is to be said of a column of observed values (n,) in which one may be a placeholder."""
    alike = values == placeholder
    place = "" if first is None else f", first at {first}"
    return (
        f"{name!r} is {placeholder:g} in {counted(int(alike.sum()), 'row')}, far from its other values "
        f"({values[~alike].min():g} to {values[~alike].max():g}){place}; if it stands for 'not measured', make it "
        f"NaN: df[{name!r}] = df[{name!r}].replace({placeholder:g}, float('nan'))"
    )
