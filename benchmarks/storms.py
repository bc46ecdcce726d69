"""Storm tracks: forecast errors of several seeds beside trivial answers and tuned regressions.

    python -m benchmarks.storms [--quick] [--seeds 3] [--out FILE]

Trained on the seasons to 2012 and scored on those from 2017, by which no setting was chosen
(`latentode.demo.storm_task` defines the task). Prints the table and saves it as JSON: means over the seeds,
their spread, the difference to the quadratic ridge with a bootstrap interval over storms, coverage,
and CPU seconds of one thread.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import latentode
from examples.storm_tracks import LEVEL, forecast, make_model
from latentode.datasets import load_storms
from latentode.demo.storm_task import RIVALS, error_table, errors, forecast_origins, split_by_season

SCORES = {"track_km": "track error, km", "wind_kt": "wind error, kt"}


def paired_difference(
    ours: pd.DataFrame, rival: pd.DataFrame, score: str, n_bootstrap: int = 1000
) -> pd.DataFrame:
    """Ours minus the rival's mean error by lead, with a 90 % interval from drawing storms again."""
    both = ours[["storm", "lead_hours"]].assign(difference=ours[score] - rival[score])
    random = np.random.default_rng(0)
    rows = {}
    for lead, scores in both.groupby("lead_hours"):
        by_storm = scores.groupby("storm").difference.agg(["sum", "size"]).to_numpy()
        draws = random.multinomial(len(by_storm), np.full(len(by_storm), 1 / len(by_storm)), n_bootstrap)
        sums = draws @ by_storm
        low, high = np.quantile(sums[:, 0] / sums[:, 1], [0.05, 0.95])
        rows[lead] = {"difference": scores.difference.mean(), "low": low, "high": high}
    return pd.DataFrame(rows).T


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument(
        "--quick", action="store_true", help="a smoke run: few steps, few storms, two seeds"
    )
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    chosen = arguments.parse_args()
    n_seeds = 2 if chosen.quick else chosen.seeds
    torch.set_num_threads(1)

    train, _, test = split_by_season(load_storms())
    if chosen.quick:
        train = train[train["storm"].isin(train["storm"].unique()[:60])]
        test = test[test["storm"].isin(test["storm"].unique()[:12])]
    contexts, truth = forecast_origins(test)
    fitting = forecast_origins(train)
    rivals = {name: rival().fit(*fitting).predict(contexts, truth) for name, rival in RIVALS.items()}
    table = error_table(truth, rivals, level=LEVEL)

    ours, seconds = [], []
    for seed in range(n_seeds):
        began = time.process_time()
        model = make_model(random_state=seed, verbose=0)
        if chosen.quick:
            model.set_params(max_iter=20)
        model.fit(train)
        seconds.append(time.process_time() - began)
        ours.append(errors(truth, forecast(model, contexts, truth)))
        print(f"seed {seed}: fitted in {seconds[-1]:.0f} CPU s, {model.n_iter_} steps, {model.residual_}")

    by_seed = pd.concat(
        {
            seed: one.drop(columns=["origin", "storm"]).groupby("lead_hours").mean()
            for seed, one in enumerate(ours)
        },
        names=["seed"],
    )
    mean, spread = by_seed.groupby("lead_hours").mean(), by_seed.groupby("lead_hours").std()
    result: dict = {
        "command": "python -m benchmarks.storms" + (" --quick" if chosen.quick else ""),
        "versions": {
            "latentode": latentode.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "seeds": n_seeds,
        "cpu_seconds": seconds,
        "n_forecasts": int(truth["origin"].nunique()),
        "coverage_90": {name: mean[f"{name}-in-{LEVEL}"].to_dict() for name in ("lat", "long", "wind")},
    }
    average = sum(one[list(SCORES)] for one in ours) / n_seeds
    mean_scores = ours[0].assign(**{score: average[score] for score in SCORES})
    for score, title in SCORES.items():
        shown = table[score].unstack("lead_hours")
        shown.loc["latent ODE"] = mean[score]
        shown.loc["  spread of seeds"] = spread[score]
        rival = errors(truth, rivals["quadratic ridge"])
        gap = paired_difference(mean_scores, rival, score)
        print(f"\n{title}, by hours ahead\n{shown.round(2).to_string()}")
        print(
            f"\nlatent ODE minus quadratic ridge, {LEVEL} % interval over storms\n{gap.T.round(2).to_string()}"
        )
        result[score] = {name: row.to_dict() for name, row in shown.iterrows()}
        result[score]["minus_quadratic_ridge"] = {lead: row.to_dict() for lead, row in gap.iterrows()}
    coverage = pd.DataFrame(result["coverage_90"]).T
    print(f"\nshare of the truth inside the {LEVEL} % bands\n{coverage.round(3).to_string()}")
    chosen.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
