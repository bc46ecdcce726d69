"""What each ingredient is worth: validation error with one setting changed at a time.

    python -m benchmarks.ablations [--problems storms spirals physionet] [--variants ...] [--data FOLDER]
                                   [--quick] [--seeds 0] [--merge] [--out FILE]

Nothing here reads test data: storms are scored on 2013-2016, spirals (n = 50) on the 200 validation series,
intensive care (fitted to 1500 stays, split 42) on 500 validation stays. The first row has the settings of the
benchmarks; every other differs from it in what the row says. Where a row says what the benchmark does anyway,
it is left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import physionet, physionet_rivals, physionet_task, spiral_task, spirals
from benchmarks.record import Record, parse_arguments, spread_table
from examples.storm_tracks import forecast
from examples.storm_tracks import make_model as make_storm_model
from latentode import LatentODE
from latentode.datasets import load_storms
from latentode.demo.storm_rivals import last_value
from latentode.demo.storm_task import errors, forecast_origins, split_by_season, with_time_of_year

AS_USED = "as used"
Settings = Mapping[str, Any]
VARIANTS: dict[str, Settings] = {
    AS_USED: {},
    "residual=None": {"residual": None},
    "residual='ou'": {"residual": "ou"},
    "residual='matern32'": {"residual": "matern32"},
    "residual='iou'": {"residual": "iou"},
    "kl_weight=1": {"kl_weight": 1.0},
    "kl_weight=0.1": {"kl_weight": 0.1},
    "kl_weight=0.03": {"kl_weight": 0.03},
    "context_weight=1": {"context_weight": 1.0},
    "context_weight=0.05": {"context_weight": 0.05},
    "residual_share=0.5": {"residual_share": 0.5},
    "residual_share=1": {"residual_share": 1.0},
    "continuity_weight=0": {"continuity_weight": 0.0},
    "origin='first'": {"origin": "first"},
    "origin='last'": {"origin": "last"},
    "task='both', origin='last'": {"task": "both", "origin": "last"},
    "task='interpolate'": {"task": "interpolate"},
    "task='extrapolate'": {"task": "extrapolate"},
    # The literature's model: white noise, the whole KL, z0 at the first observation, no regression beside it.
    "residual=None, kl_weight=1, origin='first', stacking=False": {
        "residual": None,
        "kl_weight": 1.0,
        "origin": "first",
        "stacking": False,
    },
    "stacking=False": {"stacking": False},
    "likelihood='student_t'": {"likelihood": "student_t"},
    "likelihood='laplace'": {"likelihood": "laplace"},
    "noise_scale='predicted'": {"noise_scale": "predicted"},
    "static_cols=None": {"static_cols": None},
    "max_iter halved": {"max_iter": 0.5},
    "max_iter doubled": {"max_iter": 2.0},
}


def fit_storms(settings: Settings, seed: int, quick: bool) -> dict[str, float]:
    """Errors on 2013-2016: means over leads as a share of the last value's, and the track at 48 h."""
    train, validation, _ = split_by_season(with_time_of_year(load_storms()))
    if quick:
        train, validation = (
            one[one["storm"].isin(one["storm"].unique()[:40])] for one in (train, validation)
        )
    contexts, truth = forecast_origins(validation)
    model, spent = _fit(make_storm_model(random_state=seed, verbose=0), settings, quick, train)
    of = ["track_km", "wind_kt"]
    ours, its = (
        errors(truth, one).groupby("lead_hours")[of].mean()
        for one in (forecast(model, contexts, truth), last_value().predict(contexts, truth))
    )
    relative = (ours / its).mean()
    return spent | {
        "track / last value": relative["track_km"],
        "wind / last value": relative["wind_kt"],
        "track at 48 h, km": ours.loc[48, "track_km"],
    }


def fit_spirals(settings: Settings, seed: int, quick: bool) -> dict[str, float]:
    """RMSE against the clean curve and coverage on the 200 validation series, n = 50."""
    train = spiral_task.load(50, split="train", seed=seed, n_series=40 if quick else None)
    asked = spiral_task.load(50, split="validation", seed=seed, n_series=20 if quick else None)
    model, spent = _fit(spirals.make_model(seed), settings, quick, train.frame)
    return spent | spiral_task.scores(asked.clean, *spirals.answers(model, asked))


def fit_physionet(settings: Settings, seed: int, quick: bool, folder: Path) -> dict[str, float]:
    """Errors on 500 validation stays over the channels that have 300 values, as a share of the last value's."""
    n_train, n_asked = (100, 40) if quick else (1500, 500)
    task = physionet_task.split(physionet_task.load(folder), 42, n_train)
    asked = task.validation.only(task.validation.static.index.to_numpy()[:n_asked])
    train = task.train.series
    frame = train if "static_cols" in settings else task.train.described(train)
    model, spent = _fit(physionet.make_model(seed), settings, quick, frame)
    truth = asked.truth[asked.channels].to_numpy(dtype=float)
    mean, band = physionet.answers(model, asked)
    ours = physionet_task.scores(truth, mean, task.span, band)
    its = physionet_task.scores(truth, physionet_rivals.last_value(task.train, asked)["predicted"], task.span)
    scored = {f"{name} / last value": ours[name] / its[name] for name in ("mse_common", "mae_common")}
    return spent | scored | {"coverage": ours["coverage"]}


def _fit(model: LatentODE, settings: Settings, quick: bool, frame: Any) -> tuple[LatentODE, dict[str, float]]:
    """A copy of the model with the settings changed, fitted; max_iter is a factor."""
    changed = dict(settings)
    if "max_iter" in changed:
        usual = model.max_iter or 2500  # of data as large as these
        changed["max_iter"] = int(changed["max_iter"] * usual)
    if quick:
        changed["max_iter"] = 10
    model.set_params(**changed)
    began = time.process_time()
    model.fit(frame)
    return model, {"CPU minutes": (time.process_time() - began) / 60}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--problems", nargs="+", choices=["storms", "spirals", "physionet"])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, metavar="VARIANT")
    parser.add_argument("--data", type=Path, help="folder of the PhysioNet data")
    chosen = parse_arguments(__doc__, file=__file__, seeds=(0,), parser=parser)
    folder = physionet_task.data_folder(chosen.data)
    problems: dict[str, tuple[LatentODE, Callable[[Settings, int, bool], dict[str, float]]]] = {
        "storms": (make_storm_model(), fit_storms),
        "spirals": (spirals.make_model(), fit_spirals),
        "physionet": (
            physionet.make_model(),
            lambda settings, seed, quick: fit_physionet(settings, seed, quick, folder),
        ),
    }
    if folder is None:
        print(physionet.NO_DATA)
        del problems["physionet"]
    variants = chosen.variants or (list(VARIANTS)[:2] if chosen.quick else list(VARIANTS))

    record = Record(
        chosen.out,
        {"scored_on": "validation", "quick": chosen.quick},
        ["problem", "variant", "seed"],
        merge=chosen.merge,
    )
    for name in chosen.problems or problems:
        if name not in problems:
            continue
        usual, fit = problems[name]
        for variant in variants:
            settings = VARIANTS[variant]
            if settings and _is_usual(usual, settings):
                continue
            for seed in chosen.seeds:
                scores = {k: float(v) for k, v in fit(settings, seed, chosen.quick).items()}
                record.add({"problem": name, "variant": variant, "seed": seed, "rows": {variant: scores}})
                print(
                    f"{name}, {variant}, seed {seed}: { {k: round(v, 4) for k, v in scores.items()} }",
                    flush=True,
                )

    scores = record.scores()
    order = {variant: number for number, variant in enumerate(VARIANTS)}
    scores = scores.sort_values("variant", key=lambda one: one.map(order), kind="stable")
    for name in scores["problem"].unique():
        print(f"\n{name}, validation data, seeds {chosen.seeds}")
        its = scores[scores["problem"] == name]
        columns = list(its["score"].unique())
        print(spread_table(its, ["score"], ours=AS_USED, decimals=4)[columns].to_string())


def _is_usual(model: LatentODE, settings: Settings) -> bool:
    """Whether the benchmark's own settings are these already."""
    now = model.get_params()
    forecasts = model.task == "extrapolate"
    now |= {
        "origin": model._origin(),
        "context_weight": 0.05 if forecasts else 1.0,  # of data as large as these
        "residual_share": 1.0 if forecasts else 0.5,
        "kl_weight": 0.03 if forecasts else 0.1,
        "continuity_weight": None if model._origin() == "first" else 0.0,
    }
    return all(now[name] == value for name, value in settings.items())


if __name__ == "__main__":
    main()
