# %% [markdown]
# # How large must the latent state be, and does the residual process earn its place?
#
#     python -m examples.model_selection [--out DIR] [--max-iter N] [--jobs N] [--quick]
#
# Predators and prey go through the same cycles from different beginnings, seen at irregular times with noise.
# scikit-learn's GridSearchCV tries sizes and residual kernels; GroupKFold holds whole series back, never rows of a
# series that is trained on. Prints the table of scores and what the chosen model scores on series that had no part in
# the choice, and writes scores.csv and model_selection.png to out/.

# %%
from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold

from latentode import LatentODE, plotting
from latentode.datasets import make_lotka_volterra

ARGUMENTS = [] if "ipykernel" in sys.modules else sys.argv[1:]  # a notebook's are its own
LATENT_DIMS = [2, 4, 8]
RESIDUALS = [None, "ou", "matern32"]
N_FOLDS = 3

# Okabe and Ito's colours, told apart by all eyes.
COLOURS = {"no residual": "#000000", "ou": "#E69F00", "matern32": "#0072B2"}


# %%
# Series to choose by, and series that are looked at once.
def make_data(quick: bool) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Series to search on, series to test on, and the latter's clean curves."""
    n_series = 18 if quick else 60
    observed, truth = make_lotka_volterra(n_series, n_observed=20, noise=0.1, seed=0)
    held = observed["series"] >= 2 * n_series // 3
    return observed[~held], observed[held], truth[truth["series"] >= 2 * n_series // 3]


# %%
# Every candidate sees the same folds, and a fold is a set of series.
def search(train: pd.DataFrame, grid: dict[str, list], max_iter: int, jobs: int) -> GridSearchCV:
    """Scores are log densities of each series' last third, given what is before it, in nats per value."""
    model = LatentODE(id_col="series", time_col="time", task="extrapolate", max_iter=max_iter, random_state=0)
    found = GridSearchCV(model, grid, cv=GroupKFold(N_FOLDS), n_jobs=jobs, error_score="raise")
    return found.fit(train, groups=train["series"])


def score_table(found: GridSearchCV) -> pd.DataFrame:
    """One row for each candidate: its settings, the score in each fold and their mean."""
    results = pd.DataFrame(found.cv_results_)
    folds = [f"split{fold}_test_score" for fold in range(N_FOLDS)]
    table = results[["param_latent_dim", "param_residual", *folds, "mean_test_score", "mean_fit_time"]]
    table = table.rename(columns=lambda name: name.removeprefix("param_"))
    kernels = table["residual"].astype(object)
    return table.assign(residual=kernels.where(kernels.notna(), "no residual"))


# %%
# Scores by size and kernel, and a forecast of the chosen model.
def draw(table: pd.DataFrame, model: LatentODE, test: pd.DataFrame, truth: pd.DataFrame, path: Path) -> None:
    figure, (scores, forecast) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for name, rows in table.groupby("residual", sort=False):
        rows = rows.sort_values("latent_dim")
        sizes = rows["latent_dim"].astype(int)
        scores.plot(sizes, rows["mean_test_score"], "o-", color=COLOURS[name], label=name)
        folds = rows.filter(regex=r"^split\d+_test_score$")
        scores.plot(sizes, folds, ".", color=COLOURS[name], alpha=0.35)
    scores.set_xscale("log", base=2)
    tried = sorted(table["latent_dim"].unique())
    scores.set_xticks(tried, [str(size) for size in tried])
    scores.set(xlabel="latent dimensions", ylabel="score on series held back (nats a value)")
    scores.legend(frameon=False, title="residual process")

    name = test["series"].iloc[0]
    known = test[(test["series"] == name) & (test["time"] < 10)]
    plotting.plot_trajectories(
        model, known, series=[name], channels=["prey"], horizon=5.0, truth=truth[::6], ax=forecast
    )
    forecast.set_title("the chosen model and a series it never saw")
    figure.savefig(path, dpi=150)


# %%
def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description="Chooses sizes and residual kernels by cross-validation over series."
    )
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the table and the figure")
    parser.add_argument("--max-iter", type=int, default=200, help="training steps of each fit at most")
    parser.add_argument("--jobs", type=int, default=1, help="fits at a time")
    parser.add_argument("--quick", action="store_true", help="a smoke run: few steps, few series")
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)

    # The networks are small: a second thread waits more than it works.
    torch.set_num_threads(1)
    train, test, truth = make_data(chosen.quick)
    began = time.perf_counter()
    grid = {"latent_dim": LATENT_DIMS, "residual": RESIDUALS}
    if chosen.quick:
        grid = {name: values[:2] for name, values in grid.items()}
    found = search(train, grid, 5 if chosen.quick else chosen.max_iter, chosen.jobs)
    spent = time.perf_counter() - began
    table = score_table(found)
    table.to_csv(chosen.out / "scores.csv", index=False)
    print(f"{len(table)} candidates, {N_FOLDS} folds of {train['series'].nunique()} series, {spent:.0f} s")
    print("\nmean score on series held back (nats a value; higher is better)")
    print(table.pivot(index="residual", columns="latent_dim", values="mean_test_score").round(3).to_string())

    defaults = clone(found.best_estimator_).set_params(latent_dim=None, residual="auto").fit(train)
    print(f"\nchosen: {found.best_params_}")
    print(f"on {test['series'].nunique()} series that had no part in the choice: {found.score(test):.3f}")
    print(f"the defaults there, without any search: {defaults.score(test):.3f}")
    draw(table, found.best_estimator_, test, truth, chosen.out / "model_selection.png")
    print(f"\ntable and figure are in {chosen.out}/")


# %%
if __name__ == "__main__":
    main(ARGUMENTS)
