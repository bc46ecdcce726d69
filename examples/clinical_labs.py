# %% [markdown]
# # What will the next day's values be, and who is in danger?
#
#     python -m examples.clinical_labs FOLDER [--quick]
#
# The first 48 hours of intensive care stays (PhysioNet 2012: 12 000 stays, free from
# https://physionet.org/content/challenge-2012/). FOLDER holds the files of `load_physionet2012_parquet`, or the text
# files of one set, set-a, beside its Outcomes-a.txt. Without it the example says so and ends.
#
# From the first day of each stay we forecast the second, and ask a logistic regression how much the first day's
# embeddings say of the outcome.

# %%
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from latentode import LatentODE, plotting
from latentode.datasets import load_physionet2012, load_physionet2012_parquet

ARGUMENTS = [] if "ipykernel" in sys.modules else sys.argv[1:]  # a notebook's are its own
QUICK = "--quick" in ARGUMENTS
OUT = Path("out")
OUT.mkdir(exist_ok=True)
torch.set_num_threads(1)
given = [argument for argument in ARGUMENTS if not argument.startswith("-")]
FOLDER = Path(given[0]) if given else Path("physionet2012")
CHANNELS = [
    "HR",
    "MAP",
    "RespRate",
    "Temp",
    "GCS",
    "Creatinine",
    "BUN",
    "HCO3",
    "K",
    "Na",
    "Glucose",
    "Lactate",
]
if not FOLDER.is_dir():
    print(f"this example needs the PhysioNet 2012 data, and there is no folder {FOLDER}; skipped")
    raise SystemExit(0)

# %%
if (FOLDER / "physionet2012_timeseries.parquet").is_file():
    values, stays = load_physionet2012_parquet(FOLDER)
else:
    values, stays = load_physionet2012(FOLDER / "set-a", FOLDER / "Outcomes-a.txt")
died = stays.set_index(stays.columns[0])["In-hospital_death"]
ids = np.random.default_rng(0).permutation(values["record_id"].unique())[: 150 if QUICK else 3000]
values = values[values["record_id"].isin(ids)][["record_id", "time_h", *CHANNELS]]
# Zeros and the like are no vital signs; `latentode.diagnose` points at them.
values.loc[values["MAP"] < 20, "MAP"] = np.nan
values.loc[values["Temp"] < 25, "Temp"] = np.nan
values = values.dropna(subset=CHANNELS, how="all")
test = values["record_id"].isin(ids[: len(ids) // 4])
first_day = values["time_h"] < 24

# %%
model = LatentODE(
    id_col="record_id",
    time_col="time_h",
    value_cols=CHANNELS,
    task="extrapolate",
    max_iter=30 if QUICK else 500,
    random_state=0,
    verbose=1,
).fit(values[~test])

# %%
known, later = values[test & first_day], values[test & ~first_day]
later = later[later["record_id"].isin(known["record_id"])]
answer = model.predict(known, times=later[["record_id", "time_h"]])
last = known.groupby("record_id")[CHANNELS].last().reindex(later["record_id"]).set_axis(later.index)
last = last.fillna(values.loc[~test, CHANNELS].mean())
spread = values.loc[~test, CHANNELS].std()
table = pd.DataFrame(
    {
        name: (found.set_axis(later.index)[CHANNELS] - later[CHANNELS]).abs().mean() / spread
        for name, found in {"last value": last, "latent ODE": answer}.items()
    }
)
print("mean absolute error of the second day's values, in standard deviations of each channel")
print(table.round(3).to_string())

# %%
# Both see the first day only: z0 of each stay, or each channel's last value, mean and number of measurements.
day = values[first_day]
embedding = model.encode(day)
by_stay = day.groupby("record_id")[CHANNELS]
simple = pd.concat([by_stay.last(), by_stay.mean(), by_stay.count()], axis=1)
simple.columns = [f"feature {number}" for number in range(simple.shape[1])]
tested = embedding.index.isin(ids[: len(ids) // 4])
for name, features in {"embeddings": embedding, "last values, means, counts": simple}.items():
    features = features.reindex(embedding.index)
    outcome = died.reindex(features.index)
    judge = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    judge.fit(features[~tested], outcome[~tested])
    area = roc_auc_score(outcome[tested], judge.predict_proba(features[tested])[:, 1])
    print(f"area under the ROC curve for death in hospital, {name:27} {area:.3f}")

# %%
figure, (map_, *panels) = plt.subplots(
    1, 3, figsize=(12, 3.8), layout="constrained", width_ratios=[1, 1.1, 1.1]
)
outcome = died.map({0: "survived", 1: "died"}).rename("outcome")
plotting.plot_embedding(model, day, color=outcome, ax=map_)
map_.set_title("stays by their first day")
longest = known.groupby("record_id").size().idxmax()
plotting.plot_trajectories(
    model,
    known,
    series=[longest],
    channels=["HR", "MAP"],
    horizon=24,
    truth=later[later["record_id"] == longest],
    n_samples=4,
    ax=np.array([panels]),
)
for ax in panels:
    ax.set_title(f"stay {longest}")
figure.savefig(OUT / "clinical_labs.png", dpi=150)
print(f"figure in {OUT / 'clinical_labs.png'}")
