"""The rivals of the storms' task: persistence, and regressions on what a context shows.

python -m latentode.demo.storm_rivals  tunes them on validation, then prints their scores on test
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from latentode.demo.storm_task import (
    CHANNELS,
    FORECAST,
    angle_of_year,
    error_table,
    errors,
    forecast_origins,
    split_by_season,
    turn,
)

__all__ = [
    "RIVALS",
    "Rival",
    "constant_velocity",
    "gradient_boosting",
    "last_value",
    "linear_regression",
    "quadratic_ridge",
    "relative_error",
]

HISTORY_HOURS = (6, 12, 18, 24)


class Rival(Protocol):
    """fit on contexts and truth of `forecast_origins`, then predict: origin, time, lat, long, wind."""

    def fit(self, contexts: pd.DataFrame, truth: pd.DataFrame) -> "Rival": ...

    def predict(self, contexts: pd.DataFrame, times: pd.DataFrame) -> pd.DataFrame:
        """`times` holds origin and time; more columns are ignored."""


def last_value() -> Rival:
    """The storm stays where it is and as strong as it is."""
    return _Persistence(moves=False)


def constant_velocity() -> Rival:
    """The storm goes on as in the last six hours, in degrees per hour; its wind stays."""
    return _Persistence(moves=True)


def linear_regression() -> Rival:
    """Least squares on recent displacements, position, wind, pressure and season."""
    return _Regression(make_pipeline(StandardScaler(), LinearRegression()))


def quadratic_ridge(alpha: float = 30.0) -> Rival:
    """Ridge regression on the same and their products; alpha is the best on the validation seasons."""
    return _Regression(
        make_pipeline(
            StandardScaler(), PolynomialFeatures(2, include_bias=False), StandardScaler(), Ridge(alpha=alpha)
        )
    )


def gradient_boosting(**settings: Any) -> Rival:
    """Boosted trees on the same; the settings are the best on the validation seasons."""
    chosen = {"learning_rate": 0.05, "max_iter": 150, "max_leaf_nodes": 15, "min_samples_leaf": 60} | settings
    return _Regression(HistGradientBoostingRegressor(random_state=0, **chosen))


RIVALS: dict[str, Callable[..., Rival]] = {
    "last value": last_value,
    "constant velocity": constant_velocity,
    "linear regression": linear_regression,
    "quadratic ridge": quadratic_ridge,
    "gradient boosting": gradient_boosting,
}


def relative_error(rival: Rival, contexts: pd.DataFrame, truth: pd.DataFrame) -> float:
    """Error as a share of the last value's, mean over leads, track and wind: what the rivals are tuned by."""
    scored, trivial = (
        errors(truth, forecaster.predict(contexts, truth))
        .groupby("lead_hours")[["track_km", "wind_kt"]]
        .mean()
        for forecaster in (rival, last_value())
    )
    return float((scored / trivial).to_numpy().mean())


class _Persistence:
    def __init__(self, moves: bool) -> None:
        self.moves = moves

    def fit(self, contexts: pd.DataFrame, truth: pd.DataFrame) -> "_Persistence":  # noqa: ARG002
        return self

    def predict(self, contexts: pd.DataFrame, times: pd.DataFrame) -> pd.DataFrame:
        past = _history(contexts, [6]).loc[times["origin"]].reset_index(drop=True)
        # The displacement of -6 h points backwards, hence the sign.
        steps = -_lead_hours(past, times) / 6 if self.moves else 0.0
        return _predictions(times, past, past[["lat-6h", "long-6h"]].mul(steps, axis=0).assign(wind=0.0))


class _Regression:
    """For each lead a regression per channel: the change since the origin, from what the context shows."""

    def __init__(self, regressor: Any) -> None:
        self.regressor = regressor

    def fit(self, contexts: pd.DataFrame, truth: pd.DataFrame) -> "_Regression":
        past = _history(contexts, HISTORY_HOURS)
        self.fitted: dict[int, list[Any]] = {}
        for lead, rows in truth.groupby("lead_hours"):
            now = past.loc[rows["origin"]].reset_index(drop=True)
            change = rows[FORECAST].reset_index(drop=True) - now[FORECAST]
            change["long"] = turn(change["long"])
            features = _features(now)
            self.fitted[lead] = [clone(self.regressor).fit(features, change[name]) for name in FORECAST]
        return self

    def predict(self, contexts: pd.DataFrame, times: pd.DataFrame) -> pd.DataFrame:
        past = _history(contexts, HISTORY_HOURS).loc[times["origin"]].reset_index(drop=True)
        leads, features = _lead_hours(past, times), _features(past)
        if unknown := set(leads) - set(self.fitted):
            raise ValueError(f"leads of {sorted(unknown)} h were not in the truth it was fitted to")
        change = np.empty((len(times), len(FORECAST)))
        for lead, regressors in self.fitted.items():
            if (asked := (leads == lead).to_numpy()).any():
                change[asked] = np.column_stack([one.predict(features[asked]) for one in regressors])
        return _predictions(times, past, change)


def _history(contexts: pd.DataFrame, hours: Sequence[int]) -> pd.DataFrame:
    """One row per origin: its time and channels, and wind-6h = wind 6 h before minus wind now, and so on.

    Between rows it is interpolated linearly; longitudes are taken relative to the origin's, so that the date
    line is no seam.
    """
    contexts = contexts.sort_values(["origin", "time"])
    number, names = pd.factorize(contexts["origin"])
    now = contexts.groupby("origin").tail(1).set_index("origin")[["time", *CHANNELS]]
    age = (contexts["time"].array - now["time"].array[number]) / pd.Timedelta(hours=1)
    oldest = pd.Series(age).groupby(number).min()
    if (oldest > -max(hours)).any():
        raise ValueError(f"origin {names[oldest.argmax()]!r} has less than {max(hours)} hours behind it")
    # Laid end to end, further apart than any storm lives, a single np.interp does for all origins.
    axis = number * 1e5 + age
    recent = {}
    for name in CHANNELS:
        change = contexts[name].to_numpy() - now[name].to_numpy()[number]
        change = turn(change) if name == "long" else change
        for h in hours:
            recent[f"{name}-{h}h"] = np.interp(np.arange(len(names)) * 1e5 - h, axis, change)
    return now.assign(**recent)


def _features(past: pd.DataFrame) -> pd.DataFrame:
    """Channels and recent changes, and the time of year as an angle."""
    season = angle_of_year(past["time"])
    return past.drop(columns="time").assign(cos_season=np.cos(season), sin_season=np.sin(season))


def _lead_hours(past: pd.DataFrame, times: pd.DataFrame) -> pd.Series:
    return (times["time"].reset_index(drop=True) - past["time"]) / pd.Timedelta(hours=1)


def _predictions(times: pd.DataFrame, past: pd.DataFrame, change: Any) -> pd.DataFrame:
    forecast = past[FORECAST] + np.asarray(change)
    forecast["long"] = turn(forecast["long"])
    return pd.concat([times[["origin", "time"]].reset_index(drop=True), forecast], axis=1)


def main() -> None:
    from latentode.datasets import load_storms

    train, validation, test = map(forecast_origins, split_by_season(load_storms()))
    candidates: dict[str, list[tuple[str, Rival]]] = {name: [("", make())] for name, make in RIVALS.items()}
    candidates["quadratic ridge"] = [
        (f"alpha={alpha}", quadratic_ridge(alpha)) for alpha in (1, 10, 30, 100, 300, 1000)
    ]
    candidates["gradient boosting"] = [
        (
            f"{nodes} leaves of {least} or more",
            gradient_boosting(max_leaf_nodes=nodes, min_samples_leaf=least),
        )
        for nodes in (8, 15, 31)
        for least in (20, 60, 200)
    ]
    predictions = {}
    for name, rivals in candidates.items():
        relative = [relative_error(rival.fit(*train), *validation) for _, rival in rivals]
        settings, best = rivals[int(np.argmin(relative))]
        print(f"{name:18} {settings:24} relative error on validation {min(relative):.3f}")
        predictions[name] = best.predict(test[0], test[1])
    table = error_table(test[1], predictions)
    print(table.round(1).to_string())


if __name__ == "__main__":
    main()
