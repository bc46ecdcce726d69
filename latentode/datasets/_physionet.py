"""The PhysioNet/Computing in Cardiology Challenge 2012: 48 hours of 12 000 stays in intensive care.

The data are open (ODC-By, https://physionet.org/content/challenge-2012/1.0.0/) but not part of this package;
both loaders take the folder in which they lie.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

__all__ = ["load_physionet2012", "load_physionet2012_parquet"]

DESCRIPTORS = ["Age", "Gender", "Height", "ICUType", "Weight"]

# fmt: off
CHANNELS = [
    "ALP", "ALT", "AST", "Albumin", "BUN", "Bilirubin", "Cholesterol", "Creatinine", "DiasABP", "FiO2", "GCS",
    "Glucose", "HCO3", "HCT", "HR", "K", "Lactate", "MAP", "MechVent", "Mg", "NIDiasABP", "NIMAP", "NISysABP",
    "Na", "PaCO2", "PaO2", "Platelets", "RespRate", "SaO2", "SysABP", "Temp", "TroponinI", "TroponinT",
    "Urine", "WBC", "Weight", "pH",
]
# fmt: on

NOT_MEASURED = -1


def load_physionet2012(
    folder: str | Path, outcomes: str | Path | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reads the publisher's text files, e.g. the folder set-a and the file Outcomes-a.txt.

    Each file <RecordID>.txt holds rows Time,Parameter,Value with Time as hh:mm since admission; the rows at
    00:00 open with the stay's descriptors. -1 means not measured. Values of one parameter in one minute are
    averaged. What else looks wrong (a pH of 735, a temperature of -17.8 C) is left as it was recorded.

    Gives:
        (series, static). Series: record_id, time_h (hours since admission), the 37 channels, NaN where not
        measured; the weight at admission is a descriptor and also the first value of channel Weight. A stay
        without any measurement is in static only. Static: one row per stay, record_id, Age (years), Gender (0
        female, 1 male), Height (cm), ICUType (1 coronary, 2 cardiac surgery recovery, 3 medical, 4 surgical),
        Weight (kg), and with `outcomes` the publisher's columns, In-hospital_death among them, as they are.

    Source: Silva et al. 2012, "Predicting in-hospital mortality of ICU patients".
    """
    rows = _read_records(Path(folder))
    descriptor = rows["Parameter"].isin(DESCRIPTORS)
    static = (
        rows[descriptor]
        .drop_duplicates(["record_id", "Parameter"])  # the first weight describes, later ones are measured
        .pivot_table(index="record_id", columns="Parameter", values="Value", aggfunc="first")
        .reindex(index=rows["record_id"].unique(), columns=DESCRIPTORS)
        .rename_axis(columns=None)
        .reset_index()
    )
    series = (
        rows[rows["Parameter"].isin(CHANNELS) & rows["Value"].notna()]
        .pivot_table(index=["record_id", "time_h"], columns="Parameter", values="Value", aggfunc="mean")
        .reindex(columns=CHANNELS)
        .rename_axis(columns=None)
        .reset_index()
    )
    if outcomes is not None:
        results = pd.read_csv(outcomes).rename(columns={"RecordID": "record_id"})
        static = static.merge(results, on="record_id", how="left", validate="one_to_one")
    return series, static


def load_physionet2012_parquet(folder: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reads the three sets a, b, c gathered into two files, in a fraction of the time the text files take.

    The folder holds physionet2012_timeseries.parquet and physionet2012_static_outcomes.csv.gz. Needs pyarrow.

    Gives:
        (series, static) in the layout of `load_physionet2012`, outcomes included; static has a column `set`
        (a, b, c) besides, and the channels are float32.
    """
    folder = Path(folder)
    measurements = folder / "physionet2012_timeseries.parquet"
    descriptors = folder / "physionet2012_static_outcomes.csv.gz"
    for file in (measurements, descriptors):
        if not file.is_file():
            raise FileNotFoundError(f"{folder} has no {file.name}")
    if find_spec("pyarrow") is None:
        raise ImportError("reading parquet needs pyarrow: pip install pyarrow")

    stored = pd.read_parquet(measurements, engine="pyarrow")
    channels = stored[CHANNELS]
    series = pd.concat(
        [
            # Stored as float32, in which a minute is not a minute; clocks read hh:mm.
            pd.DataFrame(
                {"record_id": stored["record_id"].astype("int64"), "time_h": _whole_minutes(stored["time_h"])}
            ),
            channels.where(channels != NOT_MEASURED),
        ],
        axis=1,
    )
    return series.dropna(subset=CHANNELS, how="all").reset_index(drop=True), pd.read_csv(descriptors)


def _read_records(folder: Path) -> pd.DataFrame:
    """All files of a folder -> record_id, time_h, Parameter, Value, in their order."""
    files = sorted(folder.glob("[0-9]*.txt"))
    if not files:
        raise FileNotFoundError(f"{folder} has no <RecordID>.txt; give the folder of one set, such as set-a")
    records = []
    for file in files:
        record = pd.read_csv(file, dtype={"Time": str, "Parameter": str, "Value": float})
        if list(record.columns) != ["Time", "Parameter", "Value"]:
            raise ValueError(
                f"{file.name}: expected the columns Time,Parameter,Value, got {list(record.columns)}"
            )
        records.append(record.assign(record_id=int(file.stem)))
    rows = pd.concat(records, ignore_index=True)
    # Some files of the publisher have a row whose parameter is empty.
    rows = rows[rows["Parameter"].notna()].reset_index(drop=True)
    unknown = ~rows["Parameter"].isin([*CHANNELS, *DESCRIPTORS, "RecordID"])
    if unknown.any():
        first = rows[unknown].iloc[0]
        raise ValueError(f"{first['record_id']}.txt: unknown parameter {first['Parameter']!r}")
    clock = rows["Time"].str.extract(r"^(\d+):(\d\d)$").astype(float)
    if clock.isna().any(axis=None):
        first = rows[clock.isna().any(axis=1)].iloc[0]
        raise ValueError(f"{first['record_id']}.txt: time {first['Time']!r} is not hh:mm")
    return rows.assign(
        time_h=_whole_minutes(clock[0] + clock[1] / 60),
        Value=rows["Value"].where(rows["Value"] != NOT_MEASURED),
    )


def _whole_minutes(hours: pd.Series) -> pd.Series:
    return np.rint(hours.astype(float) * 60) / 60
