"""Where will the storm be? The task of examples/storm_tracks.py and its scores; no model is here.

Seasons to 2012 train, 2013-2016 validate, 2017 and later test. A forecast is made at every row at 00, 06, 12
and 18 h UTC that has at least a day and four rows behind it and whose storm lives for at least another day,
from the rows of that storm up to then and nothing else. It is scored 6, 12, 24 and 48 h later, wherever the
storm has a row at exactly that time.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

__all__ = [
    "CHANNELS",
    "FORECAST",
    "LEAD_HOURS",
    "TIME_OF_YEAR",
    "angle_of_year",
    "error_table",
    "errors",
    "forecast_origins",
    "great_circle_km",
    "split_by_season",
    "turn",
    "with_time_of_year",
]

LEAD_HOURS = (6, 12, 24, 48)
CHANNELS = ["lat", "long", "wind", "pressure"]
FORECAST = ["lat", "long", "wind"]
TIME_OF_YEAR = ["cos_of_year", "sin_of_year"]
EARTH_RADIUS_KM = 6371.0
DAY = pd.Timedelta(hours=24)


def split_by_season(storms: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """-> train (to 2012), validation (2013-2016), test (from 2017), by the year of a storm's first row."""
    season = storms.groupby("storm")["time"].transform("min").dt.year
    return storms[season <= 2012], storms[season.between(2013, 2016)], storms[season >= 2017]


def with_time_of_year(storms: pd.DataFrame) -> pd.DataFrame:
    """The same with the columns TIME_OF_YEAR: the day on which each storm's first row lies, as an angle."""
    angle = angle_of_year(storms.groupby("storm")["time"].transform("min"))
    return storms.assign(**dict(zip(TIME_OF_YEAR, (np.cos(angle), np.sin(angle)), strict=True)))


def angle_of_year(times: pd.Series) -> pd.Series:
    """The day of the year in radians, once around a year."""
    return 2 * np.pi * times.dt.day_of_year / 365.25


def forecast_origins(storms: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every moment at which a forecast is made, and what happened next.

    Gives:
        contexts: one series per origin, the storm's rows up to and including it; columns origin (storm and
            time, "Amy 1975 1975-06-28 00h"), storm, time, the channels, and the time of year where it is told.
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
    told = [name for name in TIME_OF_YEAR if name in storms]
    contexts = storms.loc[rows, ["storm", "time", *CHANNELS, *told]].reset_index(drop=True)
    contexts.insert(0, "origin", np.repeat(origins["origin"].to_numpy(), length))

    leads = pd.DataFrame({"lead_hours": LEAD_HOURS})
    wanted = origins.merge(leads, how="cross")
    wanted["time"] += pd.to_timedelta(wanted["lead_hours"], unit="h")
    truth = wanted.merge(storms[["storm", "time", *CHANNELS]], on=["storm", "time"], validate="many_to_one")
    return contexts, truth[["origin", "storm", "time", "lead_hours", *CHANNELS]]


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
                value = both["long-hat"] + turn(value - both["long-hat"])
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


def turn(degrees: Any) -> Any:
    """The same angle within [-180, 180)."""
    return (degrees + 180.0) % 360.0 - 180.0
