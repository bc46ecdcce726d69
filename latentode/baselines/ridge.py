"""Ridge regression on what a context shows: the rival that is fitted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from latentode.baselines.contexts import Contexts
from latentode.baselines.features import LAGS, Features, of_contexts, of_queries, typical_gaps

__all__ = ["Ridge"]

# Values that a channel is fitted to at most, and all channels together where none has fewer than FEWEST for it.
MAX_VALUES, MAX_OF_ALL, FEWEST = 60_000, 600_000, 5_000

# A channel with fewer values than this in training is answered by the base alone.
MIN_VALUES = 20

# Knots in the lead time between which coefficients change linearly, at equal shares of the queries.
N_KNOTS = 6

# Other channels whose features a channel's regression sees, and columns that these may make, no more than one for so
# many values.
MAX_OTHERS = 30
MAX_COLUMNS, VALUES_A_COLUMN = 360, 4

N_FOLDS = 5

# What `Ridge.fit` learns, and how many features a channel tells of itself and of the others, by whether it forecasts.
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
    "coefficients",
    "others_coefficients",
)
N_FEATURES = {True: (5 + 2 * len(LAGS), 5), False: (9, 5)}

# Features whose products a forecast sees, a channel's last value and its slope, of all channels that have no more than
# so many in all; and their size beside the other features: they are penalised by its inverse square.
FACTORS, MOST_FACTORS, PRODUCTS_SHARE = (0, 5), 12, 0.08

# Penalties tried, per value; features are standardised.
PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)

# Standardised features are cut here: one value gone astray should not be extrapolated from. But the base of an answer
# is a channel's last value, or the line between two, however far out; its way back to the mean is to be learned. So
# the first two of a channel's own features, where it is and how far the mean is from there, are cut farther out.
LARGEST_FEATURE, LARGEST_LEVEL = 6.0, 50.0


class Ridge:
    """What a linear regression makes of the context: the trivial answers and corrections to them.

    For forecasts it adds to the last value: a linear combination of the channel's last value, mean, age of
    the last value, slopes to the four observations before it, changes since one to four usual gaps ago, of
    the other channels' values, means, slopes and changes, and where channels are few of products of two last
    values or slopes. Coefficients change with the lead time, linearly between six knots. For interpolation it
    adds to the linear one: of the difference to the cubic one, the neighbours, slopes beyond them, the mean,
    and the other channels' interpolated values; here coefficients change with the distance to the nearest
    row. In both it sees the static features of a series, where contexts hold them. So last value, constant
    velocity, means, linear and cubic interpolation are among its answers.

    One regression a channel, on at most 60 000 values, of which each counts by how far those of its lead time
    usually are from the base; its penalty has the least squared error in five-fold cross-validation over
    series.

    Args:
        forecasts: whether queries lie behind their contexts, or among them.
    """

    def __init__(self, forecasts: bool) -> None:
        self.forecasts = forecasts

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
        self.location, self.scale = _location_and_scale(features.own)
        self.others_location, self.others_scale = _location_and_scale(features.others)
        self.statics_location, self.statics_scale = _location_and_scale(features.statics)
        n_channels = contexts.n_channels
        by_use = np.argsort(-(~np.isnan(contexts.values)).sum(0), kind="stable")
        self.seen = np.sort(by_use[: MAX_OTHERS + 1])
        n_columns = features.others.shape[2] * max(1, min(MAX_OTHERS, n_channels - 1))
        n_columns += features.statics.shape[1] + _n_products(len(self.seen), self.forecasts)
        self.knots = _knots(features.position, N_KNOTS)
        most = min(MAX_COLUMNS, int((~np.isnan(truth)).sum(0).max(initial=0)) // VALUES_A_COLUMN)
        self.others_knots = _knots(features.position, int(np.clip(most // n_columns, 2, N_KNOTS)))
        own, others = self._standardised(features)
        n_own, n_others = own.shape[2] * len(self.knots), others.shape[1] * len(self.others_knots)
        self.coefficients = np.zeros((n_channels, n_own))
        self.others_coefficients = np.zeros((n_channels, n_others))
        hats, others_hats = _hats(features.position, self.knots), _hats(features.position, self.others_knots)
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
            columns = np.concatenate(
                [
                    _times(own[moment, channel], hats[rows]),
                    _times(self._without(others, channel)[moment], others_hats[rows]),
                ],
                axis=1,
            )
            columns /= unit[:, None]
            present, number = np.unique(series[rows], return_inverse=True)
            folds = generator.permutation(len(present))[number] % N_FOLDS
            if len(present) < N_FOLDS:  # of few series, stretches of queries
                folds = np.arange(len(rows)) * N_FOLDS // len(rows)
            found = _ridge(columns, target / unit, folds, n_free=len(self.knots))
            self.coefficients[channel], self.others_coefficients[channel] = found[:n_own], found[n_own:]
        return self

    def predict(
        self, contexts: Contexts, codes: np.ndarray, times: np.ndarray, default: np.ndarray
    ) -> np.ndarray:
        """Answers to the queries: (Q, D)."""
        features = self._features(contexts, codes, times, default)
        own, others = self._standardised(features)
        hats, others_hats = _hats(features.position, self.knots), _hats(features.position, self.others_knots)
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
        ridge = cls(forecasts)
        for name in LEARNED:
            setattr(ridge, name, np.asarray(learned[name]))
        n_own, n_others = N_FEATURES[forecasts]
        n_columns = n_others * len(ridge.seen) + len(ridge.statics_scale)
        n_columns += _n_products(len(ridge.seen), forecasts)
        shapes = {
            "gap": (n_channels,),
            "location": (n_channels, n_own),
            "scale": (n_channels, n_own),
            "others_location": (n_channels, n_others),
            "others_scale": (n_channels, n_others),
            "statics_location": ridge.statics_scale.shape,
            "coefficients": (n_channels, (1 + n_own) * len(ridge.knots)),
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
            if np.isnan(getattr(ridge, name)).any() or (
                "scale" in name and not (getattr(ridge, name) > 0).all()
            ):
                raise ValueError(f"a regression's {name} make no sense")
        return ridge

    def _features(
        self, contexts: Contexts, codes: np.ndarray, times: np.ndarray, default: np.ndarray
    ) -> Features:
        if self.forecasts:
            return of_contexts(contexts, codes, times, default, self.gap)
        return of_queries(contexts, codes, times, default, self.gap)

    def _standardised(self, features: Features) -> tuple[np.ndarray, np.ndarray]:
        """Own features (M, D, 1 + F) behind a constant, others' in one row with what is static (M, D' F + P)."""
        largest = np.where(np.arange(features.own.shape[2]) < 2, LARGEST_LEVEL, LARGEST_FEATURE)
        own = _standardise(features.own, self.location, self.scale, largest)
        others = _standardise(features.others, self.others_location, self.others_scale)[:, self.seen]
        statics = _standardise(features.statics, self.statics_location, self.statics_scale)
        constant = np.ones((*own.shape[:2], 1))
        products = _products(own[:, self.seen], self.forecasts)
        others = np.concatenate([others.reshape(len(others), -1), statics, products], axis=1)
        return np.concatenate([constant, own], axis=2), others

    def _without(self, others: np.ndarray, channel: int) -> np.ndarray:
        """What the other channels tell: a channel's own columns are 0, and so will be their coefficients."""
        place = np.flatnonzero(self.seen == channel)
        if not len(place):
            return others
        n_features = self.others_scale.shape[1]
        others = others.copy()
        others[:, place[0] * n_features : (place[0] + 1) * n_features] = 0.0
        return others


def _location_and_scale(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over the moments; 0 and 1 where nothing varies: (D, F) each."""
    known = ~np.isnan(features)
    count = np.maximum(known.sum(0), 1)
    location = np.where(known, features, 0.0).sum(0) / count
    scale = np.sqrt(np.where(known, (features - location) ** 2, 0.0).sum(0) / count)
    return location, np.where(scale > 1e-12 * np.abs(location), scale, np.inf)


def _standardise(
    features: np.ndarray,
    location: np.ndarray,
    scale: np.ndarray,
    largest: np.ndarray | float = LARGEST_FEATURE,
) -> np.ndarray:
    """What is unknown stands at the mean, 0."""
    standard = ((features - location) / scale).clip(-largest, largest)
    return np.where(np.isnan(standard), 0.0, standard)


def _knots(position: np.ndarray, number: int) -> np.ndarray:
    return np.unique(np.quantile(position, np.linspace(0, 1, number))) if len(position) else np.zeros(1)


def _hats(position: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Weights (Q, K) of a linear interpolation between the knots, constant outside of them."""
    if len(knots) == 1:
        return np.ones((len(position), 1))
    place = np.clip(np.searchsorted(knots, position, side="right") - 1, 0, len(knots) - 2)
    share = ((position - knots[place]) / (knots[place + 1] - knots[place])).clip(0, 1)
    hats = np.zeros((len(position), len(knots)))
    rows = np.arange(len(position))
    hats[rows, place], hats[rows, place + 1] = 1 - share, share
    return hats


def _unit(target: np.ndarray, hats: np.ndarray) -> np.ndarray:
    """How large the target usually is near each one's position, root mean square: (n,)."""
    square = hats @ (hats.T @ target**2 / np.maximum(hats.sum(0), 1e-9))
    least = 1e-6 * square.max(initial=0.0)
    return np.sqrt(np.maximum(square, least)) if least > 0 else np.ones(len(target))


def _products(own: np.ndarray, forecasts: bool) -> np.ndarray:
    """Squares and products of two of all channels' FACTORS: (M, D, F) -> (M, X)."""
    factors = own[:, :, FACTORS[: _n_factors(own.shape[1], forecasts)]].reshape(len(own), -1)
    one, other = np.triu_indices(factors.shape[1])
    return PRODUCTS_SHARE * (factors[:, one] * factors[:, other]).clip(-LARGEST_FEATURE, LARGEST_FEATURE)


def _n_factors(n_channels: int, forecasts: bool) -> int:
    """How many of each channel's features have products."""
    return min(len(FACTORS), MOST_FACTORS // n_channels) if forecasts else 0


def _n_products(n_channels: int, forecasts: bool) -> int:
    n_factors = n_channels * _n_factors(n_channels, forecasts)
    return n_factors * (n_factors + 1) // 2


def _times(features: np.ndarray, hats: np.ndarray) -> np.ndarray:
    """Every feature times every hat: (n, F), (n, K) -> (n, F K)."""
    return (features[:, :, None] * hats[:, None, :]).reshape(len(features), -1)


def _ridge(columns: np.ndarray, target: np.ndarray, folds: np.ndarray, n_free: int) -> np.ndarray:
    """Coefficients of least squares with a penalty, chosen by cross-validation; the first `n_free` go free.

    The sums of squares and products of each fold say all: every penalty's error on a fold left out
    follows from them without another pass over the data. By torch, whose threads a user can set.
    """
    grams, moments, squares, counts = [], [], [], []
    for fold in np.unique(folds):
        part, values = (torch.from_numpy(one[folds == fold]) for one in (columns, target))
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
