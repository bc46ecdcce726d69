"""Intensive care: the second day of a stay from the first, beside rivals and published figures.

    python -m benchmarks.physionet [--data FOLDER] [--quick] [--seeds 42 0 1 2 3] [--validation] [--merge] [--out FILE]
        [--no-static]

The task is `benchmarks.physionet_task`; a seed is a split. The model is fitted to both days of the training
stays. A few rarely measured channels dominate the mean of squared errors, and splits differ by more than
methods do: read the ratios to the last value and the paired differences to the ridge regression.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import physionet_rivals, physionet_task
from benchmarks.record import Record, parse_arguments, spread_table
from latentode import LatentODE

OURS = "latent ODE"
SCORES = ["mse", "mae", "mse_common", "mae_common"]
# The data are no part of the project; without them there is nothing to do.
NO_DATA = (
    "skipped: the PhysioNet 2012 data are not there. Give --data FOLDER, or name the folder in the environment "
    "variable LATENTODE_PHYSIONET; it holds physionet2012_timeseries.parquet and "
    "physionet2012_static_outcomes.csv.gz (see latentode.datasets.load_physionet2012_parquet)"
)


def make_model(random_state: int = 0, **settings: object) -> LatentODE:
    """Forecasts only are asked for, and what is told of a stay is used; the rest is left to the defaults."""
    static_cols = physionet_task.STATIC_COLS
    chosen = {"task": "extrapolate", "static_cols": static_cols} | settings
    return LatentODE(id_col="record_id", time_col="time_h", random_state=random_state, **chosen)


def answers(
    model: LatentODE, asked: physionet_task.Stays, stays_at_once: int = 400
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Mean and 90 % band for the rows of `asked.truth`, (R, 37) each."""
    found = []
    for record_ids in np.array_split(asked.static.index, -(-len(asked.static) // stays_at_once)):
        known, rows = (one[one["record_id"].isin(record_ids)] for one in (asked.context, asked.truth))
        known = known[known["record_id"].isin(rows["record_id"])]  # of some stays nothing is asked
        known = asked.described(known) if model.static_cols else known
        found.append(model.predict(known, rows[["record_id", "time_h"]], level=90))
    frame = pd.concat(found, ignore_index=True)
    suffixes = "", "-lo-90", "-hi-90"
    mean, low, high = (frame[[f"{name}{end}" for name in asked.channels]].to_numpy(float) for end in suffixes)
    return mean, (low, high)


def coverage_by_hour(
    asked: physionet_task.Stays, band: tuple[np.ndarray, np.ndarray], hours: int = 6
) -> dict[str, float]:
    """Share of values inside the band, by hours since the origin."""
    truth = asked.truth[asked.channels].to_numpy(dtype=float)
    inside = np.where(np.isnan(truth), np.nan, (band[0] <= truth) & (truth <= band[1]))
    late = (asked.truth["time_h"].to_numpy() - physionet_task.DAY).clip(max=physionet_task.DAY - 1e-9)
    block = (late // hours).astype(int)
    return {
        f"{k * hours}-{(k + 1) * hours} h": float(np.nanmean(inside[block == k])) for k in np.unique(block)
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, help="the folder of the parquet file")
    parser.add_argument("--n-train", type=int, help="fits to so many of the training stays only")
    parser.add_argument("--max-iter", type=int, help="fewer steps than the estimator's default")
    parser.add_argument("--no-static", action="store_true", help="leaves out what is told of each stay")
    chosen = parse_arguments(__doc__, file=__file__, seeds=(42, 0, 1, 2, 3), parser=parser)
    folder = physionet_task.data_folder(chosen.data)
    if folder is None:
        print(NO_DATA)
        return
    part = "validation" if chosen.validation else "test"
    n_train = chosen.n_train or (150 if chosen.quick else None)
    max_iter = chosen.max_iter or (15 if chosen.quick else None)
    settings: dict[str, object] = {} if max_iter is None else {"max_iter": max_iter}
    if chosen.no_static:
        settings["static_cols"] = None
    stays = physionet_task.load(folder)

    about = {
        "scored_on": part,
        "quick": chosen.quick,
        "n_train": n_train,
        "max_iter": max_iter,
        "static": not chosen.no_static,
    }
    record = Record(chosen.out, about, ["seed"], merge=chosen.merge)
    for seed in chosen.seeds:
        task = physionet_task.split(stays, seed, n_train)
        asked = getattr(task, part)
        if chosen.quick:
            asked = asked.only(asked.static.index.to_numpy()[:60])
        truth = asked.truth[asked.channels].to_numpy(dtype=float)
        rows = {
            name: physionet_task.scores(
                truth,
                found["predicted"],
                task.span,
                (found["low"], found["high"]) if "low" in found else None,
            )
            for name, found in physionet_rivals.predictions_of_rivals(task, asked).items()
        }
        began = time.process_time()
        train = task.train.series
        model = make_model(seed, **settings).fit(train if chosen.no_static else task.train.described(train))
        fitted = time.process_time()
        mean, band = answers(model, asked)
        rows[OURS] = physionet_task.scores(truth, mean, task.span, band)
        record.add(
            {
                "seed": seed,
                "cpu_minutes": (fitted - began) / 60,
                "cpu_minutes_of_answers": (time.process_time() - fitted) / 60,
                "n_iter": model.n_iter_,
                "residual": model.residual_,
                "coverage_by_hour": coverage_by_hour(asked, band),
                "rows": rows,
            }
        )
        ours = {name: round(value, 3) for name, value in rows[OURS].items()}
        print(f"split {seed}: {(fitted - began) / 60:.1f} CPU min, {model.n_iter_} steps, {ours}", flush=True)
    _report(record, part)


def _report(record: Record, part: str) -> None:
    scores = record.scores()
    covers = scores["score"].str.startswith("coverage")
    table = scores[~covers].pivot(index=["row", "seed"], columns="score", values="value")
    print(
        f"\nMSE x 1e-3, MAE x 1e-2 on {part} data, means over splits; common: channels with 300 values or more"
    )
    print(spread_table(scores[~covers], ["score"], ours=OURS, decimals=3).reindex(columns=SCORES).to_string())
    for name, (mse, mae) in physionet_task.PUBLISHED.items():
        print(f"published, other splits: {name} {mse} {mae}")

    def compared(other: str, how: str) -> pd.DataFrame:
        ours, its = table.loc[OURS], table.loc[other]
        by_split = (ours / its if how == "ratio" else ours - its)[SCORES]
        return pd.concat([by_split, by_split.agg(["mean", "std"])])

    print(
        f"\n{OURS}, ratio to the last value, by split\n{compared('last value', 'ratio').round(3).to_string()}"
    )
    print(f"\n{OURS} minus ridge, by split\n{compared('ridge', 'difference').round(3).to_string()}")
    print("\nshare of values inside the 90 % bands (mean: of the channels' shares)")
    print(spread_table(scores[covers], ["score"], ours=OURS, decimals=3).to_string())
    hours = pd.DataFrame([run["coverage_by_hour"] for run in record.runs]).mean().round(3).to_dict()
    print(f"{OURS}, by hours ahead: {hours}")
    print(f"\n{record.summary()}")


if __name__ == "__main__":
    main()
