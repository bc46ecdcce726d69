"""Scores what a fit predicted of its own validation data, beside the trivial answers to the same questions."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentode.baselines import Contexts
from latentode.calibration import HiddenScores, elapsed
from latentode.evaluation.bins import LeadBins
from latentode.evaluation.report import Evaluation, Scope
from latentode.evaluation.run import RIVALS, simple_baselines
from latentode.evaluation.tally import MODEL, Tally
from latentode.frames import Scaling
from latentode.series import SeriesCollection

__all__ = ["evaluate_withheld"]

# Draws of series behind the intervals: their ends are then known to a tenth of their width.
N_BOOTSTRAP = 500


def evaluate_withheld(
    hidden: HiddenScores,
    contexts: Sequence[Tensor],
    parts: SeriesCollection,
    series: np.ndarray,
    *,
    scaling: Scaling,
    channels: Sequence[Hashable],
    kind: str,
    tasks: Sequence[str],
    seed: int,
    period: float | None = None,
) -> Evaluation | None:
    """Errors of predictions that are made already, all lead times together; None where nothing was asked.

    What lies between two rows of its context is told as interpolation, what lies beyond them as extrapolation.
    Of contexts that show nothing, and of bands, nothing is told.

    Args:
        hidden: what was predicted of the rows that each of the contexts, (R,) bool, does not show.
        parts: the series in scaled units and model time, in double precision; only what is observed there is
            scored. `series` (R,) says which one a row is of: the parts of a long one are one.
        kind: of time, see `Instants`.
        tasks: those of RIVALS that are told.
        period: of what turns in the series, in model time; None where none is known.
    """
    known = simple_baselines(period)
    asked = [_Asked(parts, shown) for shown in contexts]
    tables, scopes = [], {}
    for number, task in enumerate(tasks):
        chosen = [one.chosen(between=task == "interpolate") for one in asked]
        rows = np.concatenate(chosen)
        if not len(rows):
            continue
        leads = [one.lead[there] * scaling.time_unit for one, there in zip(asked, chosen, strict=True)]
        bins = LeadBins.of(1, None, kind, np.concatenate(leads))
        rivals = [name for name in RIVALS[task] if name in known]
        tally = Tally(int(series.max()) + 1, bins, channels, [MODEL, *rivals], [])
        for context, (one, there, lead) in enumerate(zip(asked, chosen, leads, strict=True)):
            predictions = {MODEL: _predicted(hidden, context, parts)[there]}
            with np.errstate(all="ignore"):  # of times that only rounding tells apart
                for name in rivals:
                    rival = known[name](one.contexts, one.part[there], one.times[there], one.nothing)
                    predictions[name] = rival
                tally.add(series[there], lead, one.values[there], predictions, {})
        table = tally.table(task, N_BOOTSTRAP, np.random.default_rng([seed, number]))
        if table.empty:  # all that is hidden lies too far out to be scored
            continue
        tables.append(_in_units_of_the_data(table, dict(zip(channels, scaling.spread, strict=True))))
        n_contexts = sum(len(np.unique(one.part[there])) for one, there in zip(asked, chosen, strict=True))
        scopes[task] = Scope(len(np.unique(series[rows])), 0, n_contexts, 2)
    return Evaluation(pd.concat(tables, ignore_index=True), scopes, ()) if tables else None


class _Asked:
    """A context of every part, and the rows that it hides.

    Shapes:
        part (R,), number of each row's part; times, lead (R,), the time to the nearest row shown; values (R, D),
        NaN where not observed; nothing (D,), what the mean is of scaled values.
    """

    def __init__(self, parts: SeriesCollection, shown: Tensor) -> None:
        self.part, self.times = parts.series_of_rows.numpy(), parts.times.numpy()
        self.values = torch.where(parts.mask, parts.values, torch.nan).numpy()
        self.nothing = np.zeros(parts.n_channels)
        keep = shown.numpy()
        starts = np.concatenate([[0], np.cumsum(np.bincount(self.part[keep], minlength=len(parts)))])
        self.contexts = Contexts(self.times[keep], self.values[keep], starts)
        everyone = torch.arange(len(parts))
        mask = (shown & parts.mask.any(1)).unsqueeze(1)
        clocks = SeriesCollection(
            parts.times, torch.zeros_like(mask, dtype=torch.float64), mask, parts.starts
        )
        _, inside = parts.rows(everyone)
        context = clocks.batch(everyone)
        lead, between = elapsed(context, context.times)
        self.lead, self._between = lead[inside].numpy(), between[inside].numpy()
        self._hidden = ~keep & np.isfinite(self.lead)

    def chosen(self, *, between: bool) -> np.ndarray:
        """The hidden rows that lie between two of the context, or else beyond them."""
        return np.flatnonzero(self._hidden & (self._between == between))


def _predicted(hidden: HiddenScores, context: int, parts: SeriesCollection) -> np.ndarray:
    """What was predicted of each row that a context hides, NaN elsewhere: (R, D)."""
    found = np.full(parts.values.shape, np.nan)
    here = hidden.context == context
    found[hidden.row[here], hidden.channel[here]] = hidden.mean[here]
    return found


def _in_units_of_the_data(table: pd.DataFrame, spread: dict[Hashable, float]) -> pd.DataFrame:
    unit = table["channel"].map(spread).to_numpy(dtype=np.float64)
    errors = [f"{measure}{bound}" for measure in ("rmse", "mae") for bound in ("", "-lo", "-hi")]
    with np.errstate(over="ignore"):
        return table.assign(**{name: table[name].to_numpy() * unit for name in errors})
