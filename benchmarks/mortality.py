"""Intensive care: who dies in hospital, told from the latent state and from simple summaries.

    python -m benchmarks.mortality [--data FOLDER] [--quick] [--seeds 0 1 2] [--validation] [--merge] [--out FILE]

The task is `benchmarks.mortality_task`. The latent ODE never sees an outcome: it is fitted to the training
stays' series, `encode` gives mean and standard deviation of z0 for each stay, and a classifier of scikit-learn
does the rest. The published models were trained with the outcomes. The data: see benchmarks/physionet_task.py.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pandas as pd

from benchmarks import mortality_task, physionet_task
from benchmarks.physionet import NO_DATA
from benchmarks.record import Record, parse_arguments, spread_table
from latentode import LatentODE


def make_model(random_state: int = 0, **settings: object) -> LatentODE:
    """The defaults."""
    return LatentODE(id_col="record_id", time_col="time_h", random_state=random_state, **settings)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, help="the folder of the parquet file")
    parser.add_argument("--max-iter", type=int, help="other than the estimator's default")
    chosen = parse_arguments(__doc__, file=__file__, parser=parser)
    folder = physionet_task.data_folder(chosen.data)
    if folder is None:
        print(NO_DATA)
        return
    part = "validation" if chosen.validation else "test"
    max_iter = chosen.max_iter or (15 if chosen.quick else None)
    settings = {} if max_iter is None else {"max_iter": max_iter}
    stays = physionet_task.load(folder)
    if chosen.quick:
        stays = stays.only(stays.static.index.to_numpy()[:400])
    died = mortality_task.outcome(stays)

    about = {"scored_on": part, "quick": chosen.quick, "max_iter": max_iter}
    record = Record(chosen.out, about, ["seed"], merge=chosen.merge)
    for seed in chosen.seeds:
        train, asked = mortality_task.split(stays, seed, validation=chosen.validation)
        began = time.process_time()
        model = make_model(seed, **settings).fit(train.series)
        fitted = time.process_time()
        features = [
            {
                "descriptors": mortality_task.descriptors(one),
                "descriptors, summaries": mortality_task.descriptors(one).join(mortality_task.summaries(one)),
                "latent ODE": encoded,
                "latent ODE, descriptors": mortality_task.descriptors(one).join(encoded),
                "latent ODE, descriptors, summaries": mortality_task.descriptors(one)
                .join(mortality_task.summaries(one))
                .join(encoded),
            }
            for one, encoded in ((one, _encode(model, one)) for one in (train, asked))
        ]
        rows = mortality_task.areas(features[0], features[1], died)
        record.add(
            {
                "seed": seed,
                "cpu_minutes": (fitted - began) / 60,
                "n_iter": model.n_iter_,
                "residual": model.residual_,
                "rows": rows,
            }
        )
        ours = {name: round(value, 3) for name, value in rows["latent ODE, descriptors"].items()}
        print(f"seed {seed}: {(fitted - began) / 60:.1f} CPU min, {model.n_iter_} steps, {ours}", flush=True)

    print(f"\narea under the ROC curve on {part} data, {len(died)} stays, {died.mean():.3f} of them died")
    table = spread_table(record.scores(), ["score"], ours="latent ODE", decimals=3)
    print(table.to_string())
    for name, area in mortality_task.PUBLISHED.items():
        print(f"published, other splits, trained with the outcomes: {name} {area}")
    print(f"\n{record.summary()}")


def _encode(model: LatentODE, stays: physionet_task.Stays, stays_at_once: int = 1000) -> pd.DataFrame:
    record_ids = stays.static.index.to_numpy()
    found = [
        model.encode(stays.series[stays.series["record_id"].isin(record_ids[first : first + stays_at_once])])
        for first in range(0, len(record_ids), stays_at_once)
    ]
    return pd.concat(found).loc[record_ids]


if __name__ == "__main__":
    main()
