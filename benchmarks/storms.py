"""Storm tracks: forecast errors of several seeds beside trivial answers and tuned regressions.

    python -m benchmarks.storms [--quick] [--seeds 0 1 2] [--validation] [--merge] [--out FILE]

Trained on the seasons to 2012 and scored on those from 2017, by which no setting was chosen
(`latentode.demo.storm_task` defines the task; with --validation, on those in between). Means over the seeds, by hours
ahead: errors, the share of the truth in the 90 % bands, and how much more the latent ODE errs than the quadratic ridge,
between the bounds of a bootstrap over storms.
"""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

from benchmarks.record import Record, parse_arguments, spread_table
from examples.storm_tracks import LEVEL, forecast, make_model
from latentode.datasets import load_storms
from latentode.demo.storm_rivals import RIVALS
from latentode.demo.storm_task import errors, forecast_origins, split_by_season, with_time_of_year

SCORES = {"track_km": "track error, km", "wind_kt": "wind error, kt"}
OURS = "latent ODE"


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
    return pd.DataFrame(rows)


def by_lead(scores: pd.DataFrame, name: str) -> dict[int, float]:
    return scores.groupby("lead_hours")[name].mean().to_dict()


def main() -> None:
    chosen = parse_arguments(__doc__, file=__file__)
    train, validation, test = split_by_season(with_time_of_year(load_storms()))
    part, asked = ("validation", validation) if chosen.validation else ("test", test)
    if chosen.quick:
        train = train[train["storm"].isin(train["storm"].unique()[:60])]
        asked = asked[asked["storm"].isin(asked["storm"].unique()[:12])]
    contexts, truth = forecast_origins(asked)
    fitting = forecast_origins(train)
    rivals = {
        name: errors(truth, rival().fit(*fitting).predict(contexts, truth)) for name, rival in RIVALS.items()
    }

    about = {"scored_on": part, "quick": chosen.quick, "n_forecasts": int(truth["origin"].nunique())}
    record = Record(chosen.out, about, ["figure", "seed"], merge=chosen.merge)
    for seed in chosen.seeds:
        began = time.process_time()
        model = make_model(random_state=seed, verbose=0)
        if chosen.quick:
            model.set_params(max_iter=20)
        model.fit(train)
        seconds = time.process_time() - began
        ours = errors(truth, forecast(model, contexts, truth))
        figures = {
            "coverage_90": {name: by_lead(ours, f"{name}-in-{LEVEL}") for name in ("lat", "long", "wind")}
        }
        for score in SCORES:
            figures[score] = {name: by_lead(one, score) for name, one in (rivals | {OURS: ours}).items()}
            gap = paired_difference(ours, rivals["quadratic ridge"], score)
            figures[f"{score}_minus_quadratic_ridge"] = {name: row.to_dict() for name, row in gap.iterrows()}
        cost = {"cpu_minutes": seconds / 60, "n_iter": model.n_iter_}
        for number, (figure, rows) in enumerate(figures.items()):
            # All figures are of one fit, whose cost counts once.
            record.add({"figure": figure, "seed": seed, **(cost if number == 0 else {}), "rows": rows})
        print(f"seed {seed}: fitted in {seconds:.0f} CPU s, {model.n_iter_} steps, {model.residual_}")

    scores = record.scores()
    scores["hours"] = scores["score"].astype(int)

    def told(figure: str, decimals: int) -> str:
        its = scores[scores["figure"] == figure]
        return spread_table(its, ["hours"], ours=OURS, decimals=decimals).to_string()

    for score, title in SCORES.items():
        print(f"\n{title}, by hours ahead\n{told(score, 2)}")
        print(f"\n{OURS} minus quadratic ridge, {LEVEL} % interval over storms")
        print(told(f"{score}_minus_quadratic_ridge", 2))
    print(f"\nshare of the truth inside the {LEVEL} % bands\n{told('coverage_90', 3)}")
    print(f"\n{record.summary()}")


if __name__ == "__main__":
    main()
