"""Checks of a user's arguments, with messages that say what to do."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

__all__ = ["check_choice", "check_device", "check_levels", "check_number", "check_units"]


def check_choice(name: str, value: Any, choices: Sequence[str | None]) -> None:
    """One of some words, or None where that is among them.

    Raises:
        ValueError: for any other, listing them.
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}; got {value!r}")


def check_number(
    name: str,
    value: Any,
    *,
    integer: bool = False,
    optional: bool = False,
    zero: bool = False,
    below: float = math.inf,
    most: float = math.inf,
) -> None:
    """A positive, finite number (an integer where asked); `zero` allows 0, `optional` None."""
    if value is None and optional:
        return
    kind: Any = numbers.Integral if integer else numbers.Real
    what = "an integer" if integer else "a number"
    what = f"{what} of 0 or more" if zero else f"a positive {what.split()[-1]}"
    what += f" below {below:g}" if below < math.inf else ""
    what += f" up to {most:g}" if most < math.inf else ""
    what += " or None" if optional else ""
    if isinstance(value, bool) or not isinstance(value, kind):
        raise TypeError(f"{name} must be {what}; got {value!r}")
    if not (value > 0 or (zero and value == 0)) or not value < below or value > most:
        raise ValueError(f"{name} must be {what}; got {value!r}")


def check_units(name: str, units: Any) -> None:
    """Hidden units of a network: None, or positive integers, one a layer."""
    if units is None:
        return
    if isinstance(units, (str, bytes)) or not isinstance(units, Sequence):
        raise TypeError(f"{name} must be a list of layer widths such as (64, 64), or None; got {units!r}")
    for width in units:
        check_number(f"each width in {name}", width, integer=True)


def check_device(device: Any) -> None:
    """A device that torch knows and finds."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as failure:
        raise ValueError(f"device={device!r} can't be used: {str(failure).splitlines()[0]}") from failure


def check_levels(level: Any) -> list[float]:
    """Coverages of bands in percent, as a list."""
    if level is None:
        return []
    levels = [level] if np.ndim(level) == 0 else list(level)
    for one in levels:
        number: Any = one  # numbers.Real declares no comparison
        if isinstance(one, bool) or not isinstance(one, numbers.Real):
            raise TypeError(f"level must be a coverage in percent such as 90, or several; got {level!r}")
        if not 1 <= number < 100:
            meant = f"; did you mean {100 * number:g}?" if 0 < number < 1 else ""
            raise ValueError(f"level must lie between 1 and 100 percent, e.g. 90; got {one!r}{meant}")
    return levels
