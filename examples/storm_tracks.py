# %% [markdown]
# # Where will the storm be, and how strong?
#
#     python -m examples.storm_tracks [--out DIR] [--max-iter N] [--quick]
#
# Fits the Atlantic storms to 2012, forecasts those from 2017 on and prints the errors beside those of trivial
# answers and tuned regressions. Writes to out/: forecasts.csv, errors.csv, the fitted model, and figures of one
# storm's forecast, of the errors by lead time and of the training.

# %%
from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from latentode import LatentODE, plotting
from latentode.datasets import load_storms
from latentode.demo.storm_rivals import RIVALS
from latentode.demo.storm_task import (
    TIME_OF_YEAR,
    error_table,
    forecast_origins,
    great_circle_km,
    split_by_season,
    with_time_of_year,
)

ARGUMENTS = [] if "ipykernel" in sys.modules else sys.argv[1:]  # a notebook's are its own
LEVEL = 90


# %%
def make_model(max_iter: int = 600, random_state: int = 0, verbose: int = 1) -> LatentODE:
    """Forecasts only are asked for; the rest is left to the defaults.

    The central pressure is no target, but says much about the wind to come; where a storm turns depends on the season.
    """
    return LatentODE(
        id_col="storm",
        time_col="time",
        value_cols=["lat", "long", "wind", "pressure"],
        static_cols=TIME_OF_YEAR,
        task="extrapolate",
        max_iter=max_iter,
        random_state=random_state,
        verbose=verbose,
    )


def forecast(model: LatentODE, contexts: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Mean and bands at every (origin, time) of the truth: one series for each origin."""
    history = contexts.drop(columns="storm").rename(columns={"origin": "storm"})
    asked = truth[["origin", "time"]].rename(columns={"origin": "storm"})
    found = model.predict(history, times=asked, level=LEVEL)
    return found.rename(columns={"storm": "origin"})


# %%
def draw_storm(model: LatentODE, storms: pd.DataFrame, name: str, origin: str, path: Path) -> None:
    """The map and the wind of one storm: what was known at the origin, what was forecast, what happened."""
    storm = storms[storms["storm"] == name]
    origin_time = pd.Timestamp(origin, tz="UTC")
    known, later = storm[storm["time"] <= origin_time], storm[storm["time"] > origin_time]
    later = later[later["time"] <= origin_time + pd.Timedelta("72h")]
    times = pd.date_range(origin_time, periods=37, freq="2h")
    paths = model.sample(known, times, n_samples=60)
    mean = model.predict(known, times)

    figure, (track, wind) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained", width_ratios=[1.1, 1])
    for _, path_ in paths.groupby("sample"):
        track.plot(path_["long"], path_["lat"], color="#56B4E9", alpha=0.25, linewidth=0.8)
    track.plot([], [], color="#56B4E9", label="sampled tracks")
    track.plot(mean["long"], mean["lat"], color="#0072B2", linewidth=2, label="mean forecast")
    track.plot(known["long"], known["lat"], "o", color="black", markersize=3.5, label="observed before")
    track.plot(
        later["long"],
        later["lat"],
        "o",
        color="#D55E00",
        markersize=4,
        fillstyle="none",
        label="what happened",
    )
    track.set(
        xlabel="longitude", ylabel="latitude", title=f"{name}, forecast of {origin_time:%-d %B %Hh} UTC"
    )
    track.set_aspect(1 / np.cos(np.radians(known["lat"].iloc[-1])), adjustable="datalim")
    track.legend(frameon=False, fontsize="small")
    plotting.plot_trajectories(
        model,
        known,
        series=[name],
        channels=["wind"],
        horizon="72h",
        truth=later,
        ax=wind,
    )
    wind.set_title("wind (kt)")
    figure.savefig(path, dpi=150)


def draw_errors(table: pd.DataFrame, path: Path) -> None:
    """Errors by lead time as a share of constant velocity's, with their intervals over storms."""
    # Okabe and Ito's colours, told apart by all eyes.
    colours = ["#999999", "#000000", "#009E73", "#E69F00", "#CC79A7", "#0072B2"]
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axes, score, title in zip(
        panels, ("track_km", "wind_kt"), ("track error", "wind error"), strict=True
    ):
        reference = table.loc["constant velocity", score]
        for number, (name, rows) in enumerate(table.groupby(level="model", sort=False)):
            ours = name == "latent ODE"
            rows = rows.droplevel("model")
            share = rows[score] / reference
            spread = (
                rows[[f"{score}-lo", f"{score}-hi"]].sub(rows[score], axis=0).abs().div(reference, axis=0)
            )
            axes.errorbar(
                np.arange(len(share)) + 0.06 * (number - 2.5),
                share,
                yerr=spread.T.to_numpy(),
                label=name,
                color=colours[number],
                marker="o",
                markersize=6 if ours else 4,
                linewidth=2.5 if ours else 1,
                zorder=3 if ours else 2,
            )
        axes.set(xlabel="hours ahead", ylabel=f"{title} / constant velocity's", ylim=(0.55, 1.25))
        axes.set_xticks(np.arange(len(reference)), [str(lead) for lead in reference.index])
    handles, labels = panels[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False, fontsize="small")
    figure.savefig(path, dpi=150)


# %%
def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description="Forecasts Atlantic storms and prints the errors beside those of simpler answers."
    )
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for tables and figures")
    parser.add_argument("--max-iter", type=int, default=600, help="training steps at most")
    parser.add_argument("--quick", action="store_true", help="a smoke run: few steps, few storms")
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)

    # The networks are small: a second thread waits more than it works.
    torch.set_num_threads(1)
    storms = with_time_of_year(load_storms())
    train, _, test = split_by_season(storms)
    if chosen.quick:
        train = train[train["storm"].isin(train["storm"].unique()[:60])]
        test = test[test["storm"].isin(test["storm"].unique()[:12])]
    print(f"{train.storm.nunique()} storms to train on, {test.storm.nunique()} to be forecast")

    began = time.process_time(), time.perf_counter()
    model = make_model(50 if chosen.quick else chosen.max_iter).fit(train)
    spent = time.process_time() - began[0], time.perf_counter() - began[1]
    print(f"fitted in {spent[1]:.0f} s ({spent[0]:.0f} s of processor time), {model.n_iter_} steps")
    model.save(chosen.out / "storms.latentode")

    contexts, truth = forecast_origins(test)
    ours = forecast(model, contexts, truth)
    ours.to_csv(chosen.out / "forecasts.csv", index=False)
    train_contexts, train_truth = forecast_origins(train)
    predictions = {
        name: rival().fit(train_contexts, train_truth).predict(contexts, truth)
        for name, rival in RIVALS.items()
    }
    table = error_table(truth, predictions | {"latent ODE": ours}, level=LEVEL)
    table.to_csv(chosen.out / "errors.csv")
    print(f"\nMean errors over {truth.origin.nunique()} forecasts, by hours ahead")
    for score, unit in (("track_km", "track, km"), ("wind_kt", "wind, kt")):
        print(f"\n{unit}")
        print(table[score].unstack("lead_hours").loc[[*predictions, "latent ODE"]].round(1).to_string())
    inside = [f"{name}-in-{LEVEL}" for name in ("lat", "long", "wind")]
    print(f"\nshare of the truth inside our {LEVEL} % bands")
    print(table.loc["latent ODE", inside].T.round(2).to_string())

    last = ours.merge(truth, on=["origin", "time"], suffixes=("", "-true"))
    worst = great_circle_km(last["lat"], last["long"], last["lat-true"], last["long-true"]).max()
    print(f"\nlargest track error {worst:.0f} km; tables and figures are in {chosen.out}/")
    if not chosen.quick:
        draw_storm(model, storms, "Ian 2022", "2022-09-26 12:00", chosen.out / "storm.png")
    draw_errors(table, chosen.out / "errors.png")
    axes = plotting.plot_history(model)
    np.ravel(axes)[0].figure.savefig(chosen.out / "training.png", dpi=150)


# %%
if __name__ == "__main__":
    main(ARGUMENTS)
