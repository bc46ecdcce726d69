"""Bins of lead time, and how they are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from latentode._checks import check_number
from latentode.frames.clock import duration

__all__ = ["LeadBins", "in_users_units", "span"]

# Length in seconds from which lead times are told in this unit.
UNITS = ((3 * 86400.0, "d", 86400.0), (7200.0, "h", 3600.0), (120.0, "min", 60.0), (0.0, "s", 1.0))

# Seconds that pandas counts nanoseconds in; 290 years.
LONGEST = 9.1e9


@dataclass(frozen=True)
class LeadBins:
    """Bins (0, e_1], (e_1, e_2], ... of lead time; what lies beyond the last edge is not scored.

    Shapes:
        edges (n_bins,), in the clock's units.
    """

    edges: np.ndarray
    kind: str

    @classmethod
    def of(cls, leads: Any, horizon: Any, kind: str, lead_times: np.ndarray) -> LeadBins:
        """Bins by the user's edges, or as many as asked with about equally many of the lead times in each.

        Raises:
            ValueError, TypeError: for edges that don't increase or don't suit the kind of time, for both edges
                and a horizon, and where no lead time lies within them.
        """
        if np.ndim(leads) == 0 and not isinstance(leads, str):
            check_number("leads", leads, integer=True)
            farthest = np.inf if horizon is None else duration(horizon, kind, "horizon")
            within = lead_times[lead_times <= farthest * (1 + 1e-9)]
            if not len(within):
                raise ValueError(
                    f"no hidden observation lies within horizon={horizon!r}; the nearest is "
                    f"{span(float(lead_times.min()), kind)} away"
                )
            edges = np.quantile(within, np.arange(1, leads + 1) / leads, method="higher")
            return cls(np.unique([min(_rounded(edge, kind), farthest) for edge in edges]), kind)
        if horizon is not None:
            raise ValueError(
                "leads names the edges of the bins, the last of which is the horizon; leave one out"
            )
        if isinstance(leads, str) or not isinstance(leads, (Sequence, np.ndarray, pd.Index)):
            raise TypeError(f"leads must be a number of bins or a list of their edges; got {leads!r}")
        edges = np.array([duration(edge, kind, "each edge in leads") for edge in leads])
        if not len(edges) or not (np.diff(edges) > 0).all():
            raise ValueError(f"the edges in leads must increase; got {list(leads)!r}")
        if not (lead_times <= edges[-1] * (1 + 1e-9)).any():
            raise ValueError(
                f"no hidden observation lies within the last edge of leads, {leads[-1]!r}; the nearest is "
                f"{span(float(lead_times.min()), kind)} away"
            )
        return cls(edges, kind)

    def __len__(self) -> int:
        return len(self.edges)

    def find(self, lead_times: np.ndarray) -> np.ndarray:
        """Number of each lead time's bin, len(self) beyond the last."""
        # Differences of times carry rounding, and what is meant to fall on an edge belongs below it.
        return np.searchsorted(self.edges * (1 + 1e-9), lead_times)

    @property
    def labels(self) -> list[str]:
        """What each bin is called, such as "6h to 12h"."""
        for digits in (3, 6, 9, 17):
            ends = [span(float(edge), self.kind, digits) for edge in self.edges]
            if len(set(ends)) == len(ends):
                break
        return [f"up to {ends[0]}", *(f"{a} to {b}" for a, b in pairwise(ends))]

    def in_users_units(self, spans: np.ndarray) -> Any:
        """Lengths of time as numbers where times are, else as Timedeltas."""
        return in_users_units(spans, self.kind)


def in_users_units(spans: np.ndarray, kind: str) -> Any:
    """Lengths in the clock's units as numbers where times are, else as Timedeltas."""
    if kind == "number":
        return spans
    if np.nan_to_num(spans).max(initial=0.0) > LONGEST:
        return pd.TimedeltaIndex(np.asarray(spans).round().astype("timedelta64[s]"))
    return pd.to_timedelta(spans, unit="s")


def _unit(length: float, kind: str) -> tuple[str, float]:
    if kind == "number":
        return "", 1.0
    return next((name, unit) for least, name, unit in UNITS if length >= least)


def span(length: float, kind: str, digits: int = 3) -> str:
    """A length of time to read: "1.5h", or a number where times are."""
    name, unit = _unit(length, kind)
    whole = digits == 3 and length / unit >= 1000
    return f"{length / unit:.0f}{name}" if whole else f"{length / unit:.{digits}g}{name}"


def _rounded(length: float, kind: str) -> float:
    """A round length, no shorter: as it is where it has three digits, else to two."""
    if length == 0:
        return 0.0
    _, unit = _unit(length, kind)
    number = length / unit
    if abs(float(f"{number:.3g}") - number) <= 1e-9 * number:
        return float(f"{number:.3g}") * unit
    step = 10.0 ** (np.floor(np.log10(number)) - 1)
    return float(f"{np.ceil(number / step) * step:.2g}") * unit
