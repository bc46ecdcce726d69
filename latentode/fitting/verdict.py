"""What a fit finds out about itself while it has its data at hand; the model file keeps it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentode._warnings import warn_user
from latentode.calibration import Calibration, HiddenScores, fit_calibration
from latentode.evaluation import (
    RIVALS,
    Evaluation,
    count_coverage,
    evaluate_withheld,
    pack_evaluation,
    pack_table,
    unpack_evaluation,
    unpack_table,
)
from latentode.fitting.holdout import shown_rows
from latentode.fitting.outliers import far_out
from latentode.fitting.split import Split
from latentode.frames import SeriesTable
from latentode.hiding import hiding_contexts
from latentode.inference import encode, hidden_scores
from latentode.model import LatentODEModel
from latentode.series import SeriesCollection, SlidingParts
from latentode.spans import MAX_ROWS
from latentode.stacking import Stack, learn_stack

__all__ = ["Verdict", "collapse", "judge"]

# Training series whose posteriors are looked at.
N_ENCODED = 200

# Nats of KL a series under which its z0 tells next to nothing of it.
COLLAPSED = 1.0


@dataclass(frozen=True)
class Verdict:
    """How good a fit is on what it withheld, and what its latent state holds.

    The withheld data also chose the weights, where `selected`, and the residual's kernels: on new series the figures
    are a little worse, and `LatentODE.evaluate` counts there.

    Attributes:
        n_series, n_rows, n_values: of the training data.
        withheld: "series", "parts" of long ones, "rows" of the training series, or "nothing"; n_withheld, how many.
        seconds: of the whole fit, choosing kernels, adjusting bands and this account included.
        latent: KL of q(z0 | series) to the prior in nats, standard deviation of its means between series, and
            its own mean standard deviation, by latent dimension, over training series: (3, L).
        without_residual: RMSE of the trajectories without the residual process as a share of the model's, all
            channels in scaled units together, by task; empty where there is no such process or nothing was asked.
        selected: whether the weights are those that validated best, see `TrainingOptions.select`.
        validation: errors beside the trivial answers; None where nothing was withheld or could be asked.
        coverage: see `count_coverage`; None likewise.
    """

    n_series: int
    n_rows: int
    n_values: int
    withheld: str
    n_withheld: int
    seconds: float
    latent: Tensor
    validation: Evaluation | None
    coverage: Any
    without_residual: Mapping[str, float] = field(default_factory=dict)
    selected: bool = True

    def pack(self, channels: Sequence[Hashable]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """As plain data and tensors."""
        names = ("n_series", "n_rows", "n_values", "withheld", "n_withheld", "seconds", "selected")
        description: dict[str, Any] = {name: getattr(self, name) for name in names}
        description["without_residual"] = dict(self.without_residual)
        tensors = {"latent": self.latent}
        if self.validation is not None:
            description["validation"], tensors["validation"] = pack_evaluation(self.validation, channels)
            description["coverage"], tensors["coverage"] = pack_table(self.coverage, channels)
        return description, tensors

    @classmethod
    def unpack(
        cls,
        description: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
        channels: Sequence[Hashable],
        *,
        kind: str,
        latent_dim: int,
    ) -> Verdict:
        """What `pack` gave.

        Raises:
            ValueError, KeyError, IndexError, TypeError: where the parts don't belong together.
        """
        plain: dict[str, Any] = {"without_residual": {}} | dict(description)
        if not isinstance(plain["without_residual"], dict):
            raise TypeError("what its verdict says of the trajectories alone is no table")
        told = plain.pop("validation", None), plain.pop("coverage", None)
        validation = coverage = None
        if None not in told:
            validation = unpack_evaluation(told[0], tensors["validation"], channels, kind)
            coverage = unpack_table(told[1], tensors["coverage"], channels)
        if tensors["latent"].shape != (3, latent_dim):
            raise ValueError("its verdict tells of other latent dimensions")
        return cls(**plain, latent=tensors["latent"], validation=validation, coverage=coverage)


def judge(
    model: LatentODEModel,
    table: SeriesTable,
    split: Split,
    *,
    task: str,
    calibrate: bool,
    stacking: bool,
    selected: bool,
    device: str,
    seed: int,
    longest: float | None = None,
    period: float | None = None,
) -> tuple[Stack | None, Calibration | None, Verdict]:
    """Asks the fitted model about what it withheld: how far a regression helps it, how its bands are to be adjusted,
    and how good it is.

    Args:
        split: of the table, what it was trained on and what was withheld.
        calibrate: False leaves the bands to the model.
        stacking: False leaves the answers to the model.
        selected: see `Verdict`.
        longest: as `split_data` takes it.
        period: of what turns in the series, in model time; None where none is known.

    Returns:
        None in place of a stack where answers are left as they are, and of a calibration where bands are; a verdict
        whose seconds are NaN.
    """
    data, scaling, holdout = split.data, split.scaling, split.holdout
    raw = table.collection(split.statics)
    parts = raw.cut(MAX_ROWS, longest)
    far = far_out(scaling.scale(parts, torch.float64))
    parts = replace(parts, mask=parts.mask & ~far)  # these trained nothing, and no answer reads them
    series = raw.series_of_rows  # all parts of a long series are one series
    n_series = len(series[~holdout.rows].unique())
    if holdout.unit == "rows":
        contexts = [shown_rows(parts, holdout.rows)]
    else:
        parts = parts.select(parts.series_of_rows[holdout.rows].unique())
        series = series[holdout.rows].unique(return_inverse=True)[1]
        contexts = hiding_contexts(parts, torch.Generator().manual_seed(seed), task, fewer=not calibrate)
    # Where there are but a few long series their parts are as near as can be to series that are independent.
    of_unit = parts.series_of_rows if holdout.unit == "parts" else series
    n_withheld = int(holdout.rows.sum()) if holdout.unit == "rows" else len(of_unit.unique())
    scaled = scaling.scale(parts, data.values.dtype)
    stack = None
    # Regressions learn from whole series, and answer for those that one z0 answers for.
    if stacking and not isinstance(data, SlidingParts):
        withheld = scaled if holdout.unit == "series" else None
        ask = partial(hidden_scores, model, device=device)
        try:
            stack = learn_stack(data, withheld, ask, task=task, seed=seed)
        except KeyboardInterrupt:
            warn_user(
                "learning the regressions beside the model was interrupted after training; answers are left to the "
                "latent ODE"
            )
    hidden = hidden_scores(model, scaled, contexts, stack=stack, device=device)
    units = of_unit.numpy()[hidden.row]
    calibration = None
    if calibrate:
        calibration = fit_calibration(hidden, units, raw.n_channels)
    channels = table.roles.value_cols
    tasks = [name for name in RIVALS if task in ("both", name)]
    validation = evaluate_withheld(
        hidden,
        contexts,
        scaling.scale(parts, torch.float64),
        series.numpy(),
        scaling=scaling,
        channels=channels,
        kind=table.times.kind,
        tasks=tasks,
        seed=seed,
        period=period,
    )
    coverage = None
    if validation is not None:
        coverage = count_coverage(
            hidden,
            units,
            channels=channels,
            tasks=list(validation.scopes),
            adjusted=calibration is not None,
        )
    verdict = Verdict(
        n_series=n_series,
        n_rows=int(data.mask.any(1).sum()),
        n_values=int(data.mask.sum()),
        withheld=holdout.unit,
        n_withheld=n_withheld,
        seconds=np.nan,
        latent=_latent(model, data, device),
        validation=validation,
        coverage=coverage,
        without_residual={} if model.residual is None else _without_residual(hidden, scaled, tasks),
        selected=selected,
    )
    return stack, calibration, verdict


def _without_residual(
    hidden: HiddenScores, parts: SeriesCollection, tasks: Sequence[str]
) -> dict[str, float]:
    """See `Verdict.without_residual`."""
    truth = parts.values.numpy()[hidden.row, hidden.channel]
    found = {}
    for task in tasks:
        asked = hidden.between == (task == "interpolate")
        own, alone = (
            float(np.square(one[asked].astype(np.float64) - truth[asked]).sum())
            for one in (hidden.mean - hidden.shift, hidden.trajectory)
        )
        if own > 0:
            found[task] = float(np.sqrt(alone / own))
    return found


def collapse(latent: Tensor, kl_weight: float, *, residual: bool) -> str | None:
    """What is to be said of a posterior that is the prior for every series, see `Verdict.latent`; None of others.

    Args:
        residual: whether there is a residual process, which forecasts have left then.
    """
    total = float(latent[0].sum())
    if total >= COLLAPSED:
        return None
    added = " and what the residual process adds" if residual else ""
    return (
        f"the KL is {total:.2g} nats a series, under {COLLAPSED:g}: z0 tells next to nothing of one series from "
        f"another (posterior collapse). Forecasts are then the same trajectory for all{added}, and `encode` has "
        "little to say. That is right where series differ by chance alone; else "
        f"try a smaller kl_weight (it was {kl_weight:g}) or more training"
    )


def _latent(model: LatentODEModel, data: SeriesCollection, device: str) -> Tensor:
    """See `Verdict.latent`."""
    chosen = torch.linspace(0, len(data) - 1, min(N_ENCODED, len(data))).round().to(torch.int64)
    means, stds = (values.double() for values in encode(model, data.select(chosen), device))
    kl = 0.5 * (means.square() + stds.square() - 1) - stds.log()
    return torch.stack([kl.mean(0), means.std(0, correction=0), stds.mean(0)])
