"""Makes co2.csv, the weekly carbon dioxide at Mauna Loa, from the copy in PyPI's statsmodels.

    pip install statsmodels
    python datasets/make_co2.py

Needs nothing of latentode. See co2.md.
"""

from pathlib import Path

import pandas as pd


def tidy(raw: pd.DataFrame) -> pd.DataFrame:
    """The frame of statsmodels, indexed by week -> time, co2; a week without a measurement stays, empty."""
    return pd.DataFrame({"time": raw.index, "co2": raw["co2"].to_numpy().round(1)})


def main() -> None:
    from statsmodels.datasets import co2

    file = Path(__file__).with_name("co2.csv")
    weeks = tidy(co2.load_pandas().data)
    weeks.to_csv(file, index=False, date_format="%Y-%m-%d", lineterminator="\n")
    print(f"{file.name}: {len(weeks)} weeks, {weeks['co2'].isna().sum()} of them empty")


if __name__ == "__main__":
    main()
