# %% [markdown]
# # What was the carbon dioxide in the weeks that no one measured?
#
#     python -m examples.co2_gaps [--quick]
#
# The record of Mauna Loa lacks 59 of 2284 weeks. We hide four more stretches of ten weeks, fill all gaps, and hold
# the answer for the hidden weeks against a straight line between their neighbours.

# %%
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from latentode import LatentODE, plotting
from latentode.datasets import load_co2

ARGUMENTS = [] if "ipykernel" in sys.modules else sys.argv[1:]  # a notebook's are its own
QUICK = "--quick" in ARGUMENTS
OUT = Path("out")
OUT.mkdir(exist_ok=True)
torch.set_num_threads(1)

# %%
# One series whose index is its clock. Half a year either side of a gap is what it is filled from.
weeks = load_co2().set_index("time")[["co2"]].loc["1962":"1976"]
hidden = pd.Series(False, index=weeks.index)
for start in ("1966-03-01", "1968-09-01", "1971-06-01", "1974-04-01"):
    hidden |= (weeks.index >= start) & (weeks.index < pd.Timestamp(start) + pd.Timedelta(weeks=10))
known = weeks.mask(hidden)

# %%
model = LatentODE(task="interpolate", max_iter=60 if QUICK else 600, random_state=0, verbose=1).fit(known)
filled = model.predict(known, level=90)

# %%
truth = weeks.loc[hidden, "co2"].dropna()
line = known["co2"].interpolate("time")[truth.index]
inside = truth.between(filled.loc[truth.index, "co2-lo-90"], filled.loc[truth.index, "co2-hi-90"])
for name, answer in {"straight line": line, "latent ODE": filled.loc[truth.index, "co2"]}.items():
    print(f"{name:14} root mean square error {np.sqrt(((answer - truth) ** 2).mean()):.2f} ppm")
print(f"{100 * inside.mean():.0f} % of {len(truth)} hidden weeks are inside the 90 % band")

# %%
near = slice("1965-06", "1972-06")
ax = plotting.plot_trajectories(
    model, known.loc[near], truth=weeks.loc[hidden].loc[near], horizon=0, level=90, n_samples=0
)
ax.set(ylabel="carbon dioxide, ppm", xlabel="")
ax.figure.savefig(OUT / "co2_gaps.png", dpi=150)
print(f"figure in {OUT / 'co2_gaps.png'}")
