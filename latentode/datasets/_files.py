"""The real data that travels with the package."""

from pathlib import Path

import pandas as pd

__all__ = ["load_co2", "load_storms"]


def load_storms() -> pd.DataFrame:
    """Tracks of 654 Atlantic storms, 1975-2022: one row per (storm, time), six-hourly and at landfalls.

    Columns:
        storm: name and year of the first row, "Amy 1975".
        time: datetime with time zone UTC.
        lat, long: centre, degrees north and east (the Atlantic's longitudes are mostly negative).
        wind: maximum sustained wind, knots.
        pressure: central pressure, hPa.
        status: code of HURDAT2: TD, TS, HU (hurricane), EX (extratropical), SD, SS, LO, WV, DB.
    Source: NOAA's HURDAT2, public domain, by way of dplyr::storms; datasets/storms.md tells the quirks.

    >>> storms = load_storms()
    >>> storms.loc[storms["wind"].idxmax(), "storm"]
    'Allen 1980'
    """
    storms = pd.read_csv(_data_file("storms.csv"))
    storms["time"] = pd.to_datetime(storms["time"], utc=True)
    return storms.astype({"wind": float, "pressure": float})


def load_co2() -> pd.DataFrame:
    """Weekly carbon dioxide in the air at Mauna Loa, 1958-2001: one series, 59 of 2284 weeks missing (NaN).

    Columns:
        station: always "Mauna Loa".
        time: the week's Saturday, a datetime without time zone.
        co2: mole fraction in dry air, ppm.
    Source: Keeling and Whorf 2004, CDIAC, public domain, by way of statsmodels; see datasets/co2.md.
    """
    weeks = pd.read_csv(_data_file("co2.csv"), parse_dates=["time"])
    weeks.insert(0, "station", "Mauna Loa")
    return weeks


def _data_file(name: str) -> Path:
    """In a wheel the data lie beside this file; in a checkout, also an editable one, in its datasets/."""
    here = Path(__file__).resolve()
    places = [here.parent / "data", here.parents[2] / "datasets"]
    for place in places:
        if (place / name).is_file():
            return place / name
    raise FileNotFoundError(
        f"{name} is neither in {places[0]} nor in {places[1]}; reinstall latentode, or make the file again "
        f"with datasets/make_{Path(name).stem}.py of the source"
    )
