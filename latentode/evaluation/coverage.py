"""How often bands hold what they say on withheld series, before and after their adjustment."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import fields

import numpy as np
import pandas as pd
import torch

from latentode.calibration import Calibration, Curves, HiddenScores, fit_calibration

__all__ = ["LEVELS", "count_coverage"]

# In percent.
LEVELS = (50, 80, 90, 95)


def count_coverage(
    hidden: HiddenScores,
    series: np.ndarray,
    *,
    channels: Sequence[Hashable],
    tasks: Sequence[str],
    adjusted: bool,
) -> pd.DataFrame:
    """Share of the hidden values within bands of LEVELS, for each task and channel that has any.

    The adjusted bands of a series are learned from the other half of the series only, so that the same values
    neither make nor judge them; those in use are learned from all. NaN where not `adjusted`, or where a half has
    too few series to learn from.

    Shapes:
        series (n,), of each score.

    Returns:
        Columns task, channel, n_values, own-50, ..., adjusted-50, ...
    """
    scores = np.array([_score(level) for level in LEVELS])
    own = np.abs(hidden.score)[:, None] <= scores
    found = np.full(own.shape, np.nan)
    if adjusted:
        _, half_of = np.unique(series, return_inverse=True)
        for half in (0, 1):
            judged = half_of % 2 == half
            calibration = fit_calibration(_take(hidden, ~judged), series[~judged], len(channels))
            if calibration is not None:
                for place, score in enumerate(scores):
                    bounds = _bounds(calibration, float(score), _take(hidden, judged), len(channels))
                    found[judged, place] = np.abs(hidden.score[judged]) <= bounds
    rows = []
    for task in tasks:
        asked = np.isfinite(hidden.lead) & (hidden.between == (task == "interpolate"))
        for number, name in enumerate(channels):
            chosen = asked & (hidden.channel == number)
            if chosen.any():
                row = {"task": task, "channel": name, "n_values": int(chosen.sum())}
                for kind, inside in (("own", own), ("adjusted", found)):
                    shares = inside[chosen].mean(axis=0)  # NaN where half of it is not known
                    row |= {
                        f"{kind}-{level}": float(share) for level, share in zip(LEVELS, shares, strict=True)
                    }
                rows.append(row)
    return pd.DataFrame(rows)


def _score(level: float) -> float:
    return float(torch.special.ndtri(torch.tensor(0.5 + level / 200, dtype=torch.float64)))


def _take(hidden: HiddenScores, chosen: np.ndarray) -> HiddenScores:
    return HiddenScores(*(getattr(hidden, one.name)[chosen] for one in fields(HiddenScores)))


def _bounds(calibration: Calibration, score: float, hidden: HiddenScores, n_channels: int) -> np.ndarray:
    """The adjusted standard score at each hidden value: (n,)."""
    found = np.empty(len(hidden.score))
    lead, between = torch.from_numpy(hidden.lead).double(), torch.from_numpy(hidden.between)
    for number in range(n_channels):
        own = Calibration(*(_only(curves, number) for curves in (calibration.ahead, calibration.between)))
        chosen = hidden.channel == number
        place = torch.from_numpy(chosen)
        found[chosen] = own.adjusted(score, lead[place][None], between[place][None])[0, :, 0].numpy()
    return found


def _only(curves: Curves, number: int) -> Curves:
    return Curves(curves.leads, curves.scores[:, number : number + 1])
