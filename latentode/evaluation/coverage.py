"""How often bands hold what they say on withheld series, before and after their adjustment."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import fields

import numpy as np
import pandas as pd
import torch
from scipy.special import ndtri

from latentode.calibration import MIN_SERIES, Calibration, Curves, HiddenScores, fit_calibration
from latentode.evaluation.tally import share_error

__all__ = ["LEVELS", "count_coverage"]

# In percent, and the standard scores that they reach to.
LEVELS = (50, 80, 90, 95)
_SCORES = ndtri(0.5 + np.array(LEVELS) / 200)


def count_coverage(
    hidden: HiddenScores,
    series: np.ndarray,
    *,
    channels: Sequence[Hashable],
    tasks: Sequence[str],
    adjusted: bool,
) -> pd.DataFrame:
    """Share of the hidden values within bands of LEVELS, for each task and channel that has any.

    The adjusted bands of a series are learned from other series only (the other half, or more where half are too
    few to learn from), so that the same values neither make nor judge them; those in use are learned from all.
    NaN where not `adjusted`, or where there is no series more than it takes to learn from.

    Shapes:
        series (n,), of each score.

    Returns:
        Columns task, channel, n_values, own-50, ..., adjusted-50, ..., and own-90-error and adjusted-90-error, the
        standard errors of these over series, NaN of fewer than five.
    """
    own = np.abs(hidden.score)[:, None] <= _SCORES
    found = _judge_adjusted(hidden, series, len(channels)) if adjusted else np.full(own.shape, np.nan)
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
                for kind, inside in (("own", own), ("adjusted", found)):
                    row[f"{kind}-90-error"] = _error(inside[chosen, LEVELS.index(90)], series[chosen])
                rows.append(row)
    return pd.DataFrame(rows)


def _error(inside: np.ndarray, series: np.ndarray) -> float:
    _, number = np.unique(series, return_inverse=True)
    return float(share_error(np.bincount(number, inside), np.bincount(number)))


def _judge_adjusted(hidden: HiddenScores, series: np.ndarray, n_channels: int) -> np.ndarray:
    """1 where a hidden value is within the bands that other series adjusted, else 0, NaN unknown: (n, levels)."""
    found = np.full((len(series), len(LEVELS)), np.nan)
    for kind in (False, True):
        of_kind = np.flatnonzero((hidden.between == kind) & np.isfinite(hidden.lead))
        names, number = np.unique(series[of_kind], return_inverse=True)
        spare = len(names) - MIN_SERIES
        if spare < 1:
            continue
        n_folds = max(2, -(-len(names) // spare))
        for fold in range(n_folds):
            judged, other = of_kind[number % n_folds == fold], of_kind[number % n_folds != fold]
            calibration = fit_calibration(_take(hidden, other), series[other], n_channels)
            assert calibration is not None
            for place, score in enumerate(_SCORES):
                bounds = _bounds(calibration, float(score), _take(hidden, judged), n_channels)
                found[judged, place] = np.abs(hidden.score[judged]) <= bounds
    return found


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
