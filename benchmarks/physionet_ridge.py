"""The rival to beat in intensive care: for each channel, a ridge regression on the first day."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from benchmarks.physionet_task import DAY, Stays

__all__ = ["first_day_features", "predict_by_ridge"]

N_FOLDS = 5
OUTLIER = 5.0  # standard deviations: a pH of 735 should not move a regression of something else
PENALTIES = (30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5)
OWN_PENALTIES = (1.0, 10.0, 100.0)


def first_day_features(stays: Stays) -> pd.DataFrame:
    """One row per stay: each channel's last value, mean and log (1 + number of measurements) of the first
    day, then the descriptors; NaN where there is none.
    """
    names, index = stays.channels, stays.static.index
    known = stays.context.groupby("record_id")[names]
    last, mean = (one.reindex(index) for one in (known.last(), known.mean()))
    count = np.log1p(known.count()).reindex(index).fillna(0.0)
    kind = stays.static["ICUType"]
    units = pd.DataFrame({f"ICUType-{k}": (kind == k).astype(float) for k in (1, 2, 3, 4)})
    numbers = stays.static[["Age", "Gender", "Height", "Weight"]].add_prefix("static-")
    parts = [last.add_suffix("-last"), mean.add_suffix("-mean"), count.add_suffix("-count"), units, numbers]
    return pd.concat(parts, axis=1).astype(float)


def predict_by_ridge(
    train: Stays,
    asked: Stays,
    penalties: Sequence[float] = PENALTIES,
    own_penalties: Sequence[float] = OWN_PENALTIES,
) -> np.ndarray:
    r"""For each channel a linear function of the stay's features, fitted to all its values of the second day.

        x(t) = w . features + v . own + u . own * (t - 36 h) / 24 h + noise
        sum of squared errors + penalty |w|^2 + own_penalty |v, u|^2 is least

    own are the channel's own last value, mean, and whether it lacks them; they are shrunk apart from the
    other channels', of which most tell nothing. Where a channel was not measured its features are those of the
    mean training stay. Both penalties are chosen for each channel by cross-validation over training stays.

    Shapes:
        -> (R, D), for the rows of `asked.truth`; NaN where the truth is.
    """
    raw, raw_asked = first_day_features(train), first_day_features(asked)
    centre, scale = raw.mean(), raw.std().where(lambda one: one > 0, 1.0)
    absent_share = raw.filter(like="-last").isna().to_numpy(dtype=float).mean(axis=0)

    def standardised(features: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Own features unclipped (B, P), whether channels are absent (B, D), inputs (B, 1 + P + D)."""
        numbers = ((features - centre) / scale).fillna(0.0)
        absent = features.filter(like="-last").isna().to_numpy(dtype=float) - absent_share
        clipped = numbers.clip(-OUTLIER, OUTLIER).to_numpy()
        return numbers.to_numpy(), absent, np.column_stack([np.ones(len(numbers)), clipped, absent])

    learned, answered = standardised(raw), standardised(raw_asked)
    D = len(train.channels)
    fold = np.arange(len(raw)) % N_FOLDS
    codes = [one.static.index.get_indexer(one.truth["record_id"]) for one in (train, asked)]
    predicted = np.full((len(asked.truth), D), np.nan)
    for k, name in enumerate(train.channels):
        mine = [1 + k, 1 + D + k]
        others = np.setdiff1d(np.arange(learned[2].shape[1]), mine)

        def own(
            stays: Stays, code: np.ndarray, inputs: tuple, name: str = name, k: int = k
        ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            """Which rows of the truth have a value, whose they are, and what stands for own in them."""
            rows = np.flatnonzero(stays.truth[name].notna())
            of = code[rows]
            late = (stays.truth["time_h"].to_numpy()[rows] - 1.5 * DAY) / DAY
            its = np.column_stack([inputs[0][of, k], inputs[0][of, D + k], inputs[1][of, k]])
            return rows, of, np.column_stack([its, its * late[:, None], late])

        rows, of, features = own(train, codes[0], learned)
        value = train.truth[name].to_numpy(dtype=float)[rows]
        middle = value.mean() if len(value) else 0.0
        inputs = learned[2][:, others]
        sums = [
            _normal_equations(inputs, of[part], features[part], value[part] - middle)
            for part in (fold[of] == number for number in range(N_FOLDS))
        ]
        gram, moment = (sum(one[j] for one in sums) for j in range(2))

        def error(
            shrink: np.ndarray, sums: list = sums, gram: np.ndarray = gram, moment: np.ndarray = moment
        ):
            total = 0.0
            for held_gram, held_moment in sums:
                weights = np.linalg.solve(gram - held_gram + np.diag(shrink), moment - held_moment)
                total += weights @ held_gram @ weights - 2 * weights @ held_moment
            return total

        choices = []
        for penalty in penalties:
            for own_penalty in own_penalties:
                shrink = np.r_[np.full(len(others), penalty), np.full(features.shape[1], own_penalty)]
                shrink[0] = 1e-6  # the level is free
                choices.append(shrink)
        best = min(choices, key=error)
        weights = np.linalg.solve(gram + np.diag(best), moment)
        rows, of, features = own(asked, codes[1], answered)
        across = answered[2][:, others] @ weights[: len(others)]
        predicted[rows, k] = across[of] + features @ weights[len(others) :] + middle
    return predicted


def _normal_equations(
    inputs: np.ndarray, of: np.ndarray, own: np.ndarray, value: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """X'X and X'y of the rows [inputs[of], own], without writing them out: values of a stay share `inputs`."""
    B = len(inputs)
    count, total = np.bincount(of, minlength=B).astype(float), np.bincount(of, value, minlength=B)
    summed = np.column_stack([np.bincount(of, column, minlength=B) for column in own.T])
    corner, side = (inputs * count[:, None]).T @ inputs, inputs.T @ summed
    gram = np.block([[corner, side], [side.T, own.T @ own]])
    return gram, np.r_[inputs.T @ total, own.T @ value]
