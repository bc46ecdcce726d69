# %% [markdown]
# # How many predators were there, when hardly anyone counted?
#
#     python -m examples.predator_prey [--quick]
#
# Cycles of Lotka and Volterra, each counted a dozen times over two cycles, and each time only one of the two kinds.
# A model of many such series fills in the rest of each, and finds the cycle.

# %%
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from latentode import LatentODE, plotting
from latentode.datasets import make_lotka_volterra

ARGUMENTS = [] if "ipykernel" in sys.modules else sys.argv[1:]  # a notebook's are its own
QUICK = "--quick" in ARGUMENTS
OUT = Path("out")
OUT.mkdir(exist_ok=True)
torch.set_num_threads(1)
SPECIES = ["prey", "predator"]

# %%
n_series = 40 if QUICK else 300
counted, truth = make_lotka_volterra(n_series, 14, noise=0.1, horizon=13.0)
# At each visit one kind is counted, the other is not.
choice = np.random.default_rng(1).random(len(counted)) < 0.5
counted.loc[choice, "prey"], counted.loc[~choice, "predator"] = np.nan, np.nan
test = counted["series"] >= 0.8 * n_series
clean = truth[truth["series"] >= 0.8 * n_series]

# %%
model = LatentODE(
    id_col="series",
    time_col="time",
    task="interpolate",
    max_iter=60 if QUICK else 1200,
    random_state=0,
    verbose=1,
).fit(counted[~test])

# %%
answer = model.predict(counted[test], times=clean[["series", "time"]], level=90)
for species in SPECIES:
    lines = [
        np.interp(curve["time"], own["time"], own[species])
        for (_, curve), (_, own) in zip(
            clean.groupby("series"), counted[test].dropna(subset=[species]).groupby("series"), strict=True
        )
    ]
    errors = {"straight lines": np.concatenate(lines), "latent ODE": answer[species].to_numpy()}
    for name, values in errors.items():
        miss = np.sqrt(np.mean((values - clean[species].to_numpy()) ** 2))
        print(f"{species:9} {name:15} root mean square error {miss:.3f}")

# %%
figure = plt.figure(figsize=(10.5, 4.4), layout="constrained")
grid = figure.add_gridspec(2, 2, width_ratios=[1.2, 1])
panels = np.array([[figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])]])
first = clean.groupby("series")["prey"].max().idxmax()
plotting.plot_trajectories(
    model, counted[test], series=[first], horizon=0, n_samples=0, truth=None, ax=panels
)
for ax, species in zip(panels[0], SPECIES, strict=True):
    curve = clean[clean["series"] == first]
    ax.plot(curve["time"], curve[species], color="#D55E00", lw=1.1, ls=(0, (4, 2)), label="truth")
    ax.set_title("")
panels[0, 0].legend(frameon=False, fontsize="small", ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.25))
panels[0, 0].autoscale(axis="y")  # the legend that stood within is gone
panels[0, 0].set_xlabel("")
portrait = figure.add_subplot(grid[:, 1])
plotting.plot_latent(
    model, counted[test], color="prey", series=list(clean["series"].unique()[:8]), ax=portrait
)
figure.savefig(OUT / "predator_prey.png", dpi=150)
print(f"figure in {OUT / 'predator_prey.png'}")
