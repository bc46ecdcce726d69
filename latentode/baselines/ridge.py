"""Ridge regression on what a context shows: the rival that is fitted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from latentode.baselines.contexts import Contexts
from latentode.baselines.design import (
    LARGEST_FEATURE,
    LARGEST_LEVEL,
    between_knots,
    choose_centres,
    factors_of,
    hats_at,
    knots_of,
    location_and_scale,
    n_factors,
    n_products,
    nearness,
    products,
    standardise,
)
from latentode.baselines.features import N_FEATURES, Features, of_contexts, of_queries, typical_gaps

__all__ = ["Ridge"]

# Values that a channel is fitted to at most, and all channels together where none has fewer than FEWEST for it.
MAX_VALUES, MAX_OF_ALL, FEWEST = 60_000, 600_000, 5_000

# A channel with fewer values than this in training is answered by the base alone.
MIN_VALUES = 20

# Knots in the lead time between which coefficients change linearly.
N_KNOTS = 6

# Other channels whose features a channel's regression sees. Their coefficients have more knots than two while these
# make no more columns, and no more than one for so many values; those of the centres come on top.
MAX_OTHERS = 30
MAX_COLUMNS, VALUES_A_COLUMN = 360, 4

N_FOLDS = 5

# What `Ridge.fit` learns.
LEARNED = (
    "gap",
    "location",
    "scale",
    "others_location",
    "others_scale",
    "statics_location",
    "statics_scale",
    "seen",
    "knots",
    "others_knots",
    "centres",
    "coefficients",
    "others_coefficients",
)

# Penalties tried, per value; features are standardised.
PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)


class Ridge:
    """What a linear regression makes of the context: the trivial answers and corrections to them.

    For forecasts it adds to the last value: a linear combination of the channel's last value, mean, age of
    the last value, slopes to the four observations before it, changes since one to four usual gaps ago, of
    the other channels' values, means, slopes and changes, and where channels are few of products of two last
    values or slopes. Coefficients change with the lead time, linearly between six knots (others' two to six).
    For interpolation it adds to the linear one: of the difference to the cubic one, the neighbours, slopes
    beyond them, the mean, and the other channels' interpolated values; here coefficients change with the
    distance to the nearest row. In both it sees the static features of a series, where contexts hold them.
    So last value, constant velocity, means, linear and cubic interpolation are among its answers.

    One regression a channel, on at most 60 000 values, of which each counts by how far those of its lead time
    usually are from the base; its penalty has the least squared error in five-fold cross-validation over
    series.

    Args:
        forecasts: whether queries lie behind their contexts, or among them.
        radial: adds to forecasts, where channels are few, radial basis functions of all last values and slopes, a
            hundred at most, around moments of the training.

    Raises:
        ValueError: for radial basis functions without forecasts.

    Source: Broomhead & Lowe 1988, "Multivariable functional interpolation and adaptive networks", for these.
    """

    def __init__(self, forecasts: bool, *, radial: bool = False) -> None:
        if radial and not forecasts:
            raise ValueError("radial basis functions are of what a forecast sees; leave out radial=True")
        self.forecasts, self.radial = forecasts, radial

    def fit(
        self,
        contexts: Contexts,
        codes: np.ndarray,
        times: np.ndarray,
        truth: np.ndarray,
        *,
        series: np.ndarray,
        default: np.ndarray,
        generator: np.random.Generator,
    ) -> Ridge:
        """Fits every channel to the truth at the queries.

        Shapes:
            codes, times (Q,), truth (Q, D), NaN where unknown, series (Q,), to whom the queries belong: none
            is on both sides of the cross-validation; default (D,).
        """
        self.gap = typical_gaps(contexts)
        features = self._features(contexts, codes, times, default)
        self.location, self.scale = location_and_scale(features.own)
        self.others_location, self.others_scale = location_and_scale(features.others)
        self.statics_location, self.statics_scale = location_and_scale(features.statics)
        n_channels = contexts.n_channels
        by_use = np.argsort(-(~np.isnan(contexts.values)).sum(0), kind="stable")
        self.seen = np.sort(by_use[: MAX_OTHERS + 1])
        n_values = int((~np.isnan(truth)).sum(0).max(initial=0))
        factors = self._factors(self._own(features))
        self.centres = factors[:0]
        if self.radial:
            self.centres = choose_centres(factors[np.unique(features.moment)], generator)
        n_columns = features.others.shape[2] * max(1, min(MAX_OTHERS, n_channels - 1))
        n_columns += n_products(len(self.seen), self.forecasts) + len(self.centres)
        n_columns += features.statics.shape[1]
        self.knots = knots_of(features.position, N_KNOTS)
        most = min(MAX_COLUMNS + N_KNOTS * len(self.centres), n_values // VALUES_A_COLUMN)
        self.others_knots = knots_of(features.position, int(np.clip(most // n_columns, 2, N_KNOTS)))
        own, others = self._standardised(features)
        n_own, n_others = own.shape[2] * len(self.knots), others.shape[1] * len(self.others_knots)
        self.coefficients = np.zeros((n_channels, n_own))
        self.others_coefficients = np.zeros((n_channels, n_others))
        hats, others_hats = (hats_at(features.position, knots) for knots in (self.knots, self.others_knots))
        most = min(MAX_VALUES, max(FEWEST, MAX_OF_ALL // n_channels))
        for channel in range(n_channels):
            rows = np.flatnonzero(~np.isnan(truth[:, channel]))
            if len(rows) < MIN_VALUES:
                continue
            if len(rows) > most:
                rows = np.sort(generator.choice(rows, most, replace=False))
            moment = features.moment[rows]
            target = truth[rows, channel] - features.base[moment, channel]
            unit = _unit(target, hats[rows])
            told = others[moment]
            told[:, self._columns_of(channel)] = 0.0  # and so will be their coefficients
            columns = np.concatenate(
                [
                    between_knots(own[moment, channel], hats[rows]),
                    between_knots(told, others_hats[rows]),
                ],
                axis=1,
            )
            columns /= unit[:, None]
            folds = _folds(series[rows], times[rows], generator)
            found = _ridge(columns, target / unit, folds, n_free=len(self.knots))
            self.coefficients[channel], self.others_coefficients[channel] = found[:n_own], found[n_own:]
        return self

    def predict(
        self, contexts: Contexts, codes: np.ndarray, times: np.ndarray, default: np.ndarray
    ) -> np.ndarray:
        """Answers to the queries: (Q, D)."""
        features = self._features(contexts, codes, times, default)
        own, others = self._standardised(features)
        hats, others_hats = (hats_at(features.position, knots) for knots in (self.knots, self.others_knots))
        # Products at the moments first, at each knot: (D, M, K); a moment of a forecast answers many queries.
        by_knot = self.coefficients.reshape(contexts.n_channels, -1, len(self.knots))
        at_knots = np.matmul(own.transpose(1, 0, 2), by_knot)
        by_knot = self.others_coefficients.reshape(contexts.n_channels, -1, len(self.others_knots))
        at_others = others @ by_knot.transpose(1, 0, 2).reshape(others.shape[1], -1)
        at_others = at_others.reshape(len(others), contexts.n_channels, -1)
        found = features.base[features.moment]
        for channel in range(contexts.n_channels):
            found[:, channel] += np.einsum("qk,qk->q", at_knots[channel, features.moment], hats)
            found[:, channel] += np.einsum("qk,qk->q", at_others[features.moment, channel], others_hats)
        return found

    def learned(self) -> dict[str, np.ndarray]:
        """All that a fit found, for `restored`."""
        return {name: getattr(self, name) for name in LEARNED}

    @classmethod
    def restored(cls, forecasts: bool, learned: Mapping[str, np.ndarray], n_channels: int) -> Ridge:
        """The regression of which `learned` is all that was found.

        Raises:
            KeyError: where something lacks.
            ValueError: where parts don't belong together, or are not finite.
        """
        if not len(learned["seen"]):
            raise ValueError("a regression sees no channels")
        no_centres = np.zeros((0, n_factors(len(learned["seen"]), forecasts)))
        learned = {"centres": no_centres, **learned}  # files of before hold none
        ridge = cls(forecasts, radial=len(learned["centres"]) > 0)
        for name in LEARNED:
            setattr(ridge, name, np.asarray(learned[name]))
        n_own, n_others = N_FEATURES[forecasts]
        n_columns = n_others * len(ridge.seen) + len(ridge.statics_scale) + len(ridge.centres)
        n_columns += n_products(len(ridge.seen), forecasts)
        shapes = {
            "gap": (n_channels,),
            "location": (n_channels, n_own),
            "scale": (n_channels, n_own),
            "others_location": (n_channels, n_others),
            "others_scale": (n_channels, n_others),
            "statics_location": ridge.statics_scale.shape,
            "coefficients": (n_channels, (1 + n_own) * len(ridge.knots)),
            "centres": (len(ridge.centres), no_centres.shape[1]),
            "others_coefficients": (n_channels, n_columns * len(ridge.others_knots)),
        }
        for name, shape in shapes.items():
            if getattr(ridge, name).shape != shape:
                raise ValueError(
                    f"a regression's {name} have shape {getattr(ridge, name).shape}, not {shape}"
                )
        if ridge.seen.dtype.kind != "i" or not np.isin(ridge.seen, np.arange(n_channels)).all():
            raise ValueError("a regression sees channels that there are not")
        for name in ("knots", "others_knots"):
            knots = getattr(ridge, name)
            if knots.ndim != 1 or not len(knots) or not (np.diff(knots) > 0).all():
                raise ValueError("a regression's knots do not increase")
        for name in LEARNED:
            array = getattr(ridge, name)
            # A scale is infinite where nothing varies.
            if not (array > 0 if "scale" in name else np.isfinite(array)).all():
                raise ValueError(f"a regression's {name} make no sense")
        return ridge

    def _features(
        self, contexts: Contexts, codes: np.ndarray, times: np.ndarray, default: np.ndarray
    ) -> Features:
        if self.forecasts:
            return of_contexts(contexts, codes, times, default, self.gap)
        return of_queries(contexts, codes, times, default, self.gap)

    def _standardised(self, features: Features) -> tuple[np.ndarray, np.ndarray]:
        """Own features behind a constant, (M, D, 1 + F); in one row others', what is static, products, and nearness to
        the centres, (M, D' F + P + X (X + 1) / 2 + C).
        """
        own = self._own(features)
        others = standardise(
            features.others[:, self.seen], self.others_location[self.seen], self.others_scale[self.seen]
        )
        statics = standardise(features.statics, self.statics_location, self.statics_scale)
        constant = np.ones((*own.shape[:2], 1))
        factors = self._factors(own)
        told = [others.reshape(len(others), -1), statics, products(factors), nearness(factors, self.centres)]
        return np.concatenate([constant, own], axis=2), np.concatenate(told, axis=1)

    def _own(self, features: Features) -> np.ndarray:
        """Standardised: (M, D, F)."""
        largest = np.where(np.arange(features.own.shape[2]) < 2, LARGEST_LEVEL, LARGEST_FEATURE)
        return standardise(features.own, self.location, self.scale, largest)

    def _factors(self, own: np.ndarray) -> np.ndarray:
        return factors_of(own[:, self.seen], self.forecasts)

    def _columns_of(self, channel: int) -> slice:
        """What the channel tells among the columns of all others."""
        n_features = self.others_scale.shape[1]
        place = np.flatnonzero(self.seen == channel)
        return slice(place[0] * n_features, (place[0] + 1) * n_features) if len(place) else slice(0)


def _folds(series: np.ndarray, times: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Which of N_FOLDS each value is in: whole series, or of fewer of these stretches of time, so that what is asked
    from several contexts lies in one: (n,).
    """
    present, number = np.unique(series, return_inverse=True)
    folds = generator.permutation(len(present))[number] % N_FOLDS
    if len(present) < N_FOLDS:
        values, place = np.unique(np.stack([series, times]), axis=1, return_inverse=True)
        folds = place.ravel() * N_FOLDS // values.shape[1]
    return folds


def _unit(target: np.ndarray, hats: np.ndarray) -> np.ndarray:
    """How large the target usually is near each one's position, root mean square: (n,)."""
    square = hats @ (hats.T @ target**2 / np.maximum(hats.sum(0), 1e-9))
    least = 1e-6 * square.max(initial=0.0)
    return np.sqrt(np.maximum(square, least)) if least > 0 else np.ones(len(target))


def _ridge(columns: np.ndarray, target: np.ndarray, folds: np.ndarray, n_free: int) -> np.ndarray:
    """Coefficients of least squares with a penalty, chosen by cross-validation; the first `n_free` go free.

    The sums of squares and products of each fold say all: every penalty's error on a fold left out
    follows from them without another pass over the data. By torch, whose threads a user can set.
    """
    grams, moments, squares, counts = [], [], [], []
    for fold in np.unique(folds):
        its = np.flatnonzero(folds == fold)
        part, values = (torch.from_numpy(one[its]) for one in (columns, target))
        grams.append(part.T @ part)
        moments.append(part.T @ values)
        squares.append(values @ values)
        counts.append(len(values))
    gram, moment, count = torch.stack(grams).sum(0), torch.stack(moments).sum(0), sum(counts)
    penalised = torch.ones(len(moment), dtype=moment.dtype)
    penalised[:n_free] = 1e-6 * min(PENALTIES)
    penalties = torch.tensor(PENALTIES, dtype=moment.dtype)
    errors = torch.zeros_like(penalties)
    for held_gram, held_moment, held_square, n_held in zip(grams, moments, squares, counts, strict=True):
        rest = (count - n_held) * penalties.unsqueeze(1) * penalised
        found = _solve(gram - held_gram, moment - held_moment, rest)
        errors += held_square - 2 * found @ held_moment + ((found @ held_gram) * found).sum(1)
    best = penalties[errors.argmin()]
    return _solve(gram, moment, count * best * penalised.unsqueeze(0))[0].numpy()


def _solve(gram: Tensor, moment: Tensor, penalties: Tensor) -> Tensor:
    """For each of some penalties (P, n), by Cholesky's decomposition, or where rounding left none by Gauss': (P, n)."""
    matrices = gram + torch.diag_embed(penalties + 1e-12 * gram.max())
    factors, failed = torch.linalg.cholesky_ex(matrices)
    if failed.any():
        return torch.linalg.solve(matrices, moment)
    return torch.cholesky_solve(moment.unsqueeze(1), factors)[..., 0]
