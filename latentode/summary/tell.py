"""From a fit to its summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from latentode.calibration import MIN_SERIES
from latentode.evaluation import span
from latentode.evaluation.report import is_off
from latentode.evaluation.tally import ALL_LEADS
from latentode.fitting import Fitted
from latentode.fitting.signal import silent_channels
from latentode.fitting.verdict import Verdict, collapse
from latentode.frames import CategoryColumn, NumberColumn
from latentode.likelihoods import Likelihood
from latentode.printing import counted
from latentode.stacking import Stack
from latentode.summary.report import Summary
from latentode.training import usual_kl_weight, usual_max_iter

__all__ = ["summarize"]

_CLOCKS = {"number": "numbers", "datetime": "datetimes", "timedelta": "lengths of time"}

# Nats of KL a series under which a dimension of its z0 tells next to nothing of it.
IDLE = 0.05

# Share of the model's error under which its trajectories alone err by much less.
IN_THE_WAY = 0.95

# Noise of this share of a channel's spread leaves nothing to predict.
ALL_NOISE = 0.9


def summarize(fitted: Fitted, parameters: Mapping[str, Any]) -> Summary:
    """What a fit learned, from its parameters and what it kept."""
    channels, latent = _channels(fitted), _latent(fitted)
    verdict = fitted.verdict
    coverage = None if verdict is None else verdict.coverage
    remarks = [
        *_of_training(fitted),
        *_of_calibration(fitted, parameters),
        *_of_bands(coverage, calibrated=fitted.calibration is not None),
        *_of_latent(fitted, parameters),
        *_of_residual(verdict),
        *silent_channels(fitted.roles.value_cols, fitted.signal),
        *_of_noise(channels),
    ]
    return Summary(
        facts=_facts(fitted, parameters),
        validation=None if verdict is None else verdict.validation,
        coverage=coverage,
        channels=channels,
        latent=latent,
        solver=fitted.solver_report(),
        remarks=tuple(remarks),
        calibrated=fitted.calibration is not None,
        kind=fitted.clock.kind,
        time_unit=fitted.scaling.time_unit,
    )


def _facts(fitted: Fitted, parameters: Mapping[str, Any]) -> dict[str, str]:
    roles, sizes = fitted.roles, fitted.architecture
    clock = _CLOCKS[fitted.clock.kind] + (" with a time zone" if fitted.clock.aware else "")
    n_weights = sum(weights.numel() for weights in fitted.model.parameters())
    return {
        "series": "a single one" if roles.is_single else f"named by {roles.id_name!r}",
        "times": f"{clock}, in {roles.time_name!r}" if roles.time_name is not None else clock,
        **({"static": ", ".join(map(_static, fitted.statics.columns))} if roles.static_cols else {}),
        **(
            {}
            if fitted.longest is None
            else {"spans": f"{span(fitted.longest, fitted.clock.kind)} each, at most"}
        ),
        **(
            {}
            if fitted.period is None
            else {"period": f"{span(fitted.period, fitted.clock.kind)}, from which the field started"}
        ),
        "task": f"{parameters['task']}, z0 at the {sizes.origin} observation",
        "latent": f"{sizes.latent_dim} dimensions; field {_layers(sizes.field_units)}, encoder {sizes.encoder_units}, "
        f"decoder {_layers(sizes.decoder_units)}; {n_weights} weights in {parameters['dtype']}",
        **_data(fitted),
        "trained": _training(fitted, parameters),
        "best": _best(fitted),
        **({} if fitted.stack is None else {"stacking": _stacking(fitted.stack)}),
    }


def _stacking(stack: Stack) -> str:
    parts = []
    for kind, weights in stack.usual().items():
        low, high = (f"{100 * edge:.0f}" for edge in (weights.min(), weights.max()))
        if high != "0":
            parts.append(f"{low if low == high else f'{low} to {high}'} % {kind}")
    return f"answers moved towards a ridge regression, by {' and '.join(parts)}"


def _static(column: NumberColumn | CategoryColumn) -> str:
    if not column.n_features:
        return f"{column.name} (ignored, the same in all series)"
    if isinstance(column, CategoryColumn):
        return f"{column.name} ({', '.join(column.categories)})"
    return f"{column.name} (numbers)"


def _data(fitted: Fitted) -> dict[str, str]:
    verdict = fitted.verdict
    if verdict is None:
        return {"fitted to": "not recorded; the file was written by an earlier version"}
    series = f"{verdict.n_series} series"
    withheld = {
        "series": f"{verdict.n_withheld} series. They chose the weights too: new series will do a little worse",
        "parts": f"{counted(verdict.n_withheld, 'part')} of these series"
        + (", which chose the weights too" if verdict.selected else "")
        + ": new series will do worse",
        "rows": f"{counted(verdict.n_withheld, 'row')} of these series"
        + (", which chose the weights too" if verdict.selected else "")
        + ": new series will do worse",
        "nothing": "nothing; how good the model is was not looked at",
    }
    return {
        "fitted to": f"{series}, {counted(verdict.n_rows, 'row')} in all, {counted(verdict.n_values, 'value')}",
        "withheld": withheld[verdict.withheld],
    }


def _training(fitted: Fitted, parameters: Mapping[str, Any]) -> str:
    last, verdict = fitted.history[-1], fitted.verdict
    most = parameters["max_iter"]
    if most is None:
        n_series, n_values = (0, 0) if verdict is None else (verdict.n_series, verdict.n_values)
        most = usual_max_iter(parameters["task"], fitted.architecture.latent_dim, n_series, n_values)
    ended = {
        "max_iter": "all that max_iter allows",
        "patience": f"of {most} at most; validation no longer improved"
        if last.iteration < most
        else "all that max_iter allows; validation had stopped improving",
        "interrupt": f"of {most}; interrupted there",
    }
    steps = counted(last.iteration, "step")
    if last.ended in ended:  # the first files don't say
        steps += f", {ended[last.ended]}"
    whole = "" if verdict is None else f" of {verdict.seconds:.0f} s for the whole fit"
    return f"{steps}; {last.seconds:.0f} s{whole}"


def _best(fitted: Fitted) -> str:
    checks = [record for record in fitted.history if not np.isnan(record.validation)]
    if not checks:
        return "the last weights, for want of validation"
    if fitted.verdict is not None and not fitted.verdict.selected:
        return (
            f"the last weights, for too little validation: {checks[-1].validation:.3f} nats a withheld value"
        )
    best = max(checks, key=lambda record: record.validation)
    which = f"step {best.iteration}" if best.iteration else "the weights that it started from"
    return f"{which}: {best.validation:.3f} nats a withheld value, in scaled units"


def _channels(fitted: Fitted) -> pd.DataFrame:
    scaling, module = fitted.scaling, fitted.model
    noise = fitted.noise_variance().detach().sqrt().double().cpu().numpy()
    found = {
        "center": scaling.center,
        "spread": scaling.spread,
        "noise": noise * scaling.spread,
        "noise_share": noise,
        "noise_law": _laws(module.likelihood),
        "signal": [one.signal for one in fitted.signal] or None,  # not recorded in older files
    }
    n_channels, residual = len(noise), module.residual
    if residual is None:
        nothing = np.full(n_channels, np.nan)
        found |= {"kernel": [None] * n_channels, "scale": nothing, "length": nothing}
    else:
        scale, length = (
            values.detach().double().exp().cpu().numpy()
            for values in (residual.log_scale, residual.log_length)
        )
        found |= {
            "kernel": list(residual.kernels),
            "scale": scale * scaling.spread,
            "length": length * scaling.time_unit,
        }
    index = pd.Index(list(fitted.roles.value_cols), name="channel", tupleize_cols=False)
    return pd.DataFrame(found, index=index)


def _laws(likelihood: Likelihood) -> list[str]:
    freedom = iter(likelihood.freedom.tolist() if "student_t" in likelihood.laws else [])
    of_scale = ", scale predicted" if likelihood.noise_scale == "predicted" else ""
    return [
        (f"student_t of {next(freedom):.3g} degrees" if law == "student_t" else law) + of_scale
        for law in likelihood.laws
    ]


def _latent(fitted: Fitted) -> pd.DataFrame | None:
    if fitted.verdict is None:
        return None
    kl, between, within = fitted.verdict.latent.numpy()
    index = pd.RangeIndex(len(kl), name="dimension")
    return pd.DataFrame({"kl": kl, "between": between, "within": within}, index=index)


def _of_training(fitted: Fitted) -> list[str]:
    last = fitted.history[-1]
    found = []
    if last.ended == "interrupt":
        found.append("training was interrupted; a whole one may do better")
    if last.recoveries:
        found.append(
            f"training was taken back to sound weights {last.recoveries} times, at half the steps each time; look "
            "for outliers and wrong units with diagnose(df)"
        )
    return found


def _of_calibration(fitted: Fitted, parameters: Mapping[str, Any]) -> list[str]:
    verdict = fitted.verdict
    if verdict is None or not parameters["calibrate"]:
        return []
    n = verdict.n_withheld
    withheld = {
        "series": f"the {n} withheld series" if n > 1 else "the withheld series",
        "parts": f"the {n} withheld parts of few series" if n > 1 else "the withheld part of few series",
        "rows": "the rows withheld of few series, and for others may be too narrow by far",
        "nothing": "",
    }[verdict.withheld]
    needed = f"adjusting them by lead time and channel takes {MIN_SERIES} withheld series"
    if not withheld:
        return [f"bands are the model's own: {needed}, and nothing was withheld"]
    if fitted.calibration is None:
        return [
            f"bands are the model's own, which were not too narrow on {withheld}; {needed}",
            *_farthest(verdict),
        ]
    if fitted.calibration.factor is None:
        return []
    factor = f"{fitted.calibration.factor:.2g}"
    widened = "hardly widened" if factor == "1" else f"widened {factor} times"
    return [f"bands are {widened}, by how narrow they were on {withheld}; {needed}", *_farthest(verdict)]


def _farthest(verdict: Verdict) -> list[str]:
    """How far ahead what few series withheld had to be foretold."""
    if verdict.validation is None or "extrapolate" not in verdict.validation.scopes:
        return []
    table = verdict.validation.table
    asked = table.loc[(table["task"] == "extrapolate") & (table["lead"] != ALL_LEADS), "lead"].iloc[-1]
    return [f"forecasts were tried {asked} ahead; of errors and bands farther ahead nothing is known"]


def _of_bands(coverage: pd.DataFrame | None, *, calibrated: bool) -> list[str]:
    if coverage is None:
        return []
    kind = "adjusted-90" if calibrated and bool(coverage["adjusted-90"].notna().any()) else "own-90"
    before = " before they were widened" if calibrated and kind == "own-90" else ""
    if f"{kind}-error" not in coverage:  # in the files of earlier versions
        return []
    told = coverage[is_off(coverage[kind], coverage[f"{kind}-error"], 0.9, coverage["n_values"])]
    return [
        f"{row['channel']}, to {row['task']}: 90 % bands hold {100 * row[kind]:.0f} % of the withheld values{before}, "
        f"too {'narrow' if row[kind] < 0.9 else 'wide'}"
        for _, row in told.iterrows()
    ]


def _of_latent(fitted: Fitted, parameters: Mapping[str, Any]) -> list[str]:
    verdict = fitted.verdict
    if verdict is None:
        return []
    residual = fitted.model.residual is not None
    kl_weight = parameters["kl_weight"]
    if kl_weight is None:
        kl_weight = usual_kl_weight(parameters["task"], residual=residual)
    collapsed = collapse(verdict.latent, kl_weight, residual=residual)
    if collapsed is not None:
        return [collapsed]
    kl = verdict.latent[0]
    idle = int((kl < IDLE).sum())
    if idle:
        return [f"{idle} of {len(kl)} latent dimensions hold nothing; a smaller latent_dim would do as well"]
    return []


def _of_residual(verdict: Verdict | None) -> list[str]:
    if verdict is None:
        return []
    return [
        f"to {task}, the trajectories alone err by {100 * (1 - share):.0f} % less than with the residual process, as "
        "predict(..., parts=True) tells them apart: residual=None may do better"
        for task, share in verdict.without_residual.items()
        if share < IN_THE_WAY
    ]


def _of_noise(channels: pd.DataFrame) -> list[str]:
    """Of channels that have more to say than what `silent_channels` says of the others."""
    told = channels["signal"].isin(["none", "constant"])
    names = [str(name) for name, share in channels.loc[~told, "noise_share"].items() if share > ALL_NOISE]
    if not names:
        return []
    return [
        f"what the model predicts of {', '.join(names)} is next to nothing: the noise is as large as the spread"
    ]


def _layers(units: tuple[int, ...]) -> str:
    return "-".join(map(str, units)) or "linear"
