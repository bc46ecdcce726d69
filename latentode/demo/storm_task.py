"""Where will the storm be? The task of examples/storm_tracks.py, its scores and the rivals; no model is here.

Seasons to 2012 train, 2013-2016 validate, 2017 and later test. A forecast is made at every row at 00, 06, 12
and 18 h UTC that has at least a day and four rows behind it and whose storm lives for at least another day,
from the rows of that storm up to then and nothing else. It is scored 6, 12, 24 and 48 h later, wherever the
storm has a row at exactly that time.

    python -m latentode.demo.storm_task  tunes the rivals on validation, then prints their scores on test
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

__all__ = [
    "CHANNELS",
    "FORECAST",
    "LEAD_HOURS",
    "RIVALS",
    "constant_velocity",
    "error_table",
    "errors",
    "forecast_origins",
    "gradient_boosting",
    "great_circle_km",
    "last_value",
    "linear_regression",
    "quadratic_ridge",
    "relative_error",
    "split_by_season",
]

LEAD_HOURS = (6, 12, 24, 48)
CHANNELS = ["lat", "long", "wind", "pressure"]
HISTORY_HOURS = (6, 12, 18, 24)
FORECAST = ["lat", "long", "wind"]
EARTH_RADIUS_KM = 6371.0
DAY = pd.Timedelta(hours=24)


# The task -----------------------------------------------------------------


def split_by_season(storms: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """-> train (to 2012), validation (2013-2016), test (from 2017), by the year of a storm's first row."""
    season = storms.groupby("storm")["time"].transform("min").dt.year
    return storms[season <= 2012], storms[season.between(2013, 2016)], storms[season >= 2017]


def forecast_origins(storms: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every moment at which a forecast is made, and what happened next.

    Gives:
        contexts: one series per origin, the storm's rows up to and including it; columns origin (storm and
            time, "Amy 1975 1975-06-28 00h"), storm, time and the channels.
        truth: origin, storm, time, lead_hours and the channels, one row per origin and lead that has a row.
    """
    storms = storms.sort_values(["storm", "time"], ignore_index=True)
    by_storm = storms.groupby("storm")["time"]
    time, rows_behind = storms["time"], by_storm.cumcount()
    on_the_hour = time == time.dt.floor("6h")
    lived = time - by_storm.transform("min") >= DAY
    lives_on = by_storm.transform("max") - time >= DAY
    at = np.flatnonzero(on_the_hour & lived & (rows_behind >= 4) & lives_on)

    origins = storms.loc[at, ["storm", "time"]].reset_index(drop=True)
    origins.insert(0, "origin", origins["storm"] + origins["time"].dt.strftime(" %Y-%m-%d %Hh"))

    # Rows first..at of the storm, for all origins at once: a ramp that begins again at each origin.
    length = rows_behind.to_numpy()[at] + 1
    first_of_series = np.cumsum(length) - length
    ramp = np.arange(length.sum()) - np.repeat(first_of_series, length)
    rows = np.repeat(at - length + 1, length) + ramp
    contexts = storms.loc[rows, ["storm", "time", *CHANNELS]].reset_index(drop=True)
    contexts.insert(0, "origin", np.repeat(origins["origin"].to_numpy(), length))

    leads = pd.DataFrame({"lead_hours": LEAD_HOURS})
    wanted = origins.merge(leads, how="cross")
    wanted["time"] += pd.to_timedelta(wanted["lead_hours"], unit="h")
    truth = wanted.merge(storms[["storm", "time", *CHANNELS]], on=["storm", "time"], validate="many_to_one")
    return contexts, truth[["origin", "storm", "time", "lead_hours", *CHANNELS]]


# Scores -------------------------------------------------------------------


def great_circle_km(lat: Any, long: Any, other_lat: Any, other_long: Any) -> Any:
    """Haversine distance, exact also across the date line and for points close together."""
    lat, long, other_lat, other_long = (np.radians(angle) for angle in (lat, long, other_lat, other_long))
    a = (
        np.sin((other_lat - lat) / 2) ** 2
        + np.cos(lat) * np.cos(other_lat) * np.sin((other_long - long) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(a, 0.0, 1.0)))


def errors(truth: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Errors of single forecasts: origin, storm, lead_hours, track_km, wind_kt.

    Predictions have the columns origin, time, lat, long, wind, one row for each row of the truth at least.
    Where they have bands, columns such as wind-lo-90 and wind-hi-90, a column wind-in-90 says which held the
    truth.
    """
    both = truth.merge(predictions, on=["origin", "time"], how="left", suffixes=("", "-hat"), validate="1:1")
    forecast = both[[f"{name}-hat" for name in FORECAST]]
    if forecast.isna().any(axis=None):
        lacking = both[forecast.isna().any(axis=1)].iloc[0]
        raise ValueError(
            f"no prediction of origin {lacking['origin']!r} at {lacking['time']}; all of truth is scored"
        )
    scores = truth[["origin", "storm", "lead_hours"]].reset_index(drop=True)
    scores["track_km"] = great_circle_km(both["lat"], both["long"], both["lat-hat"], both["long-hat"])
    scores["wind_kt"] = (both["wind-hat"] - both["wind"]).abs()
    for low in both.columns:
        if band := re.fullmatch(r"(lat|long|wind)-lo-(.+)", str(low)):
            name, level = band.groups()
            value = both[name]
            if name == "long":
                value = both["long-hat"] + _turn(value - both["long-hat"])
            scores[f"{name}-in-{level}"] = value.between(both[low], both[f"{name}-hi-{level}"])
    return scores


def error_table(
    truth: pd.DataFrame,
    predictions: Mapping[str, pd.DataFrame],
    *,
    level: int = 90,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean errors (and coverages) by model and lead, each with a `level` % interval by bootstrap over storms.

    Origins of one storm share its weather, so that storms are drawn, not origins. All models are scored on
    the same draws. Columns: a score's name, and name-lo, name-hi; index: model, lead_hours.
    """
    storms = pd.Index(truth["storm"].unique())
    draws = np.random.default_rng(seed).multinomial(
        len(storms), np.full(len(storms), 1 / len(storms)), n_bootstrap
    )
    edges = [(100 - level) / 200, (100 + level) / 200]
    table = {}
    for model, predicted in predictions.items():
        for lead, scores in errors(truth, predicted).groupby("lead_hours"):
            values = scores.drop(columns=["origin", "lead_hours"]).groupby("storm")
            sums = values.sum().reindex(storms, fill_value=0).astype(float)
            counts = values.size().reindex(storms, fill_value=0).to_numpy()
            with np.errstate(invalid="ignore"):  # a draw of none but storms too short for this lead
                means = (draws @ sums.to_numpy()) / (draws @ counts)[:, None]
            low, high = np.nanquantile(means, edges, axis=0)
            row: dict[Any, Any] = {}
            for k, name in enumerate(sums.columns):
                row |= {name: sums[name].sum() / counts.sum(), f"{name}-lo": low[k], f"{name}-hi": high[k]}
            table[model, lead] = row
    return pd.DataFrame.from_dict(table, orient="index").rename_axis(["model", "lead_hours"])


# The rivals ---------------------------------------------------------------


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
            change["long"] = _turn(change["long"])
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
        change = _turn(change) if name == "long" else change
        for h in hours:
            recent[f"{name}-{h}h"] = np.interp(np.arange(len(names)) * 1e5 - h, axis, change)
    return now.assign(**recent)


def _features(past: pd.DataFrame) -> pd.DataFrame:
    """Channels and recent changes, and the time of year as an angle."""
    season = 2 * np.pi * past["time"].dt.day_of_year / 365.25
    return past.drop(columns="time").assign(cos_season=np.cos(season), sin_season=np.sin(season))


def _lead_hours(past: pd.DataFrame, times: pd.DataFrame) -> pd.Series:
    return (times["time"].reset_index(drop=True) - past["time"]) / pd.Timedelta(hours=1)


def _predictions(times: pd.DataFrame, past: pd.DataFrame, change: Any) -> pd.DataFrame:
    forecast = past[FORECAST] + np.asarray(change)
    forecast["long"] = _turn(forecast["long"])
    return pd.concat([times[["origin", "time"]].reset_index(drop=True), forecast], axis=1)


def _turn(degrees: Any) -> Any:
    """The same angle within [-180, 180)."""
    return (degrees + 180.0) % 360.0 - 180.0


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
