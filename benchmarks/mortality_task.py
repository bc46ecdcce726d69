"""Who dies in hospital? From the 48 hours of a stay in intensive care: the task of benchmarks/mortality.py and
its rivals; no latent ODE is here.

PhysioNet/Computing in Cardiology Challenge 2012, sets a, b and c, the 11 990 stays that have a series; 80 % train
and 20 % test, stratified by the outcome; scored by the area under the ROC curve.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer

from benchmarks.physionet_task import Stays

__all__ = ["CLASSIFIERS", "PUBLISHED", "areas", "descriptors", "outcome", "split", "summaries"]

# AUC as published; these models were trained with the labels.
PUBLISHED = {"latent ODE": 0.829, "ODE-RNN": 0.833, "mTAND": 0.858}

CLASSIFIERS: dict[str, Callable[[], Any]] = {
    # Ranks, so that a temperature of -17.8 is no lever.
    "logistic regression": lambda: make_pipeline(
        QuantileTransformer(n_quantiles=100, output_distribution="normal", random_state=0),
        SimpleImputer(add_indicator=True),
        LogisticRegression(C=0.01, max_iter=2000),
    ),
    "gradient boosting": lambda: HistGradientBoostingClassifier(
        learning_rate=0.05, max_iter=200, max_leaf_nodes=8, min_samples_leaf=40, random_state=0
    ),
}


def outcome(stays: Stays) -> pd.Series:
    """1 where the patient died in hospital; of the stays that have a series."""
    recorded = stays.static.index.isin(stays.series["record_id"])
    return stays.static.loc[recorded, "In-hospital_death"].astype(int)


def split(stays: Stays, seed: int, *, validation: bool = False) -> tuple[Stays, Stays]:
    """-> train, asked: 80 % and 20 %; with `validation` the 80 % are split again and the rest is not touched."""
    died = outcome(stays)
    train, asked = train_test_split(died.index, test_size=0.2, stratify=died, random_state=seed)
    if validation:
        train, asked = train_test_split(train, test_size=0.2, stratify=died[train], random_state=seed)
    return stays.only(train.to_numpy()), stays.only(asked.to_numpy())


def descriptors(stays: Stays) -> pd.DataFrame:
    """Age, sex, height, weight and the kind of unit, one row per stay."""
    kind = stays.static["ICUType"]
    units = pd.DataFrame({f"ICUType-{k}": (kind == k).astype(float) for k in (1, 2, 3, 4)})
    return pd.concat([stays.static[["Age", "Gender", "Height", "Weight"]], units], axis=1).astype(float)


def summaries(stays: Stays) -> pd.DataFrame:
    """Last, mean, least, greatest and number of each channel's measurements, one row per stay."""
    grouped = stays.series.groupby("record_id")[stays.channels]
    parts = {name: getattr(grouped, name)() for name in ("last", "mean", "min", "max", "count")}
    joined = pd.concat([part.add_suffix(f"-{name}") for name, part in parts.items()], axis=1)
    return joined.reindex(stays.static.index).astype(float)


def areas(
    train: Mapping[str, pd.DataFrame], asked: Mapping[str, pd.DataFrame], died: pd.Series
) -> dict[str, dict[str, float]]:
    """-> name of the features -> classifier -> area under the ROC curve.

    Args:
        train, asked: name -> features by record id; every classifier is fitted to the training stays alone.
        died: by record id.
    """
    found: dict[str, dict[str, float]] = {}
    for name, features in train.items():
        found[name] = {}
        for kind, make in CLASSIFIERS.items():
            classifier = make().fit(features.to_numpy(), died.loc[features.index].to_numpy())
            risk = classifier.predict_proba(asked[name].to_numpy())[:, 1]
            found[name][kind] = float(roc_auc_score(died.loc[asked[name].index], np.asarray(risk)))
    return found
