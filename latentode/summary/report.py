"""A fit's account of itself, as text, as HTML, and as tables to go on with."""

from __future__ import annotations

import html
from dataclasses import dataclass

import numpy as np
import pandas as pd

from latentode.evaluation import LEVELS, Evaluation, span
from latentode.evaluation.report import MAX_CHANNELS
from latentode.printing import facts_html, facts_text, list_html, list_text, table_text
from latentode.solver_report import SolverReport

__all__ = ["Summary"]

# Lengths of memory beyond so many spans of a usual series are all the same.
LONGEST = 100.0

_ABOUT = "What was withheld, beside the trivial answers"
_TASKS = {"extrapolate": "extrapolation", "interpolate": "interpolation"}


@dataclass(frozen=True, eq=False, repr=False)
class Summary:
    """What a fit learned; see `LatentODE.summary`. Prints as a report.

    Attributes:
        facts: name and value of what describes the model and its training.
        validation: errors on the withheld data beside the trivial answers, an `Evaluation` (its `table` has the
            figures); None where nothing was withheld, or the file is older than such accounts.
        coverage: DataFrame, a row for each task and channel: n_values, and for each level in percent own-90, the
            share of withheld values in the model's own bands, and adjusted-90, the share in bands that others of
            the withheld series adjusted (NaN where bands are not, or there are no more series than that takes).
            None as `validation`.
        channels: DataFrame, a row for each channel: center and spread of the training data, noise (standard
            deviation), noise_share (of the spread), noise_law; signal, as `LatentODE.signal_` has it; kernel of the
            residual process, its scale (standard deviation) and length (in clock units, seconds for datetimes),
            None and NaN without one.
        latent: DataFrame, a row for each dimension of z0: kl to the prior in nats, mean over training series,
            between (standard deviation of the posterior means of the series) and within (mean standard deviation
            of a posterior); None for older files.
        solver: the `SolverReport`, as the solver is set now.
        remarks: what a reader should not miss, in sentences.
        calibrated: whether the bands in use are adjusted.
        kind, time_unit: of the clock, "number", "datetime" or "timedelta", and how long the model's unit of time
            is on it.
    """

    facts: dict[str, str]
    validation: Evaluation | None
    coverage: pd.DataFrame | None
    channels: pd.DataFrame
    latent: pd.DataFrame | None
    solver: SolverReport
    remarks: tuple[str, ...]
    calibrated: bool
    kind: str
    time_unit: float

    def __str__(self) -> str:
        parts = [facts_text(self.facts)]
        if self.validation is not None:
            parts += [f"{_ABOUT}\n{self.validation}"]
        for heading, table in self._tables():
            parts.append(f"{heading}\n{table_text(table, n_left=1)}")
        parts.append(str(self.solver))
        if self.remarks:
            parts.append(list_text("worth knowing:", self.remarks, "!"))
        return "\n\n".join(parts)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        parts = [facts_html(self.facts)]
        if self.validation is not None:
            parts.append(f"<p><b>{_ABOUT}</b></p>{self.validation._repr_html_()}")
        for heading, table in self._tables():
            parts.append(f"<p><b>{html.escape(heading)}</b></p>{table.to_html(index=False, border=0)}")
        parts.append(facts_html(self.solver.facts))
        if self.remarks:
            parts.append(list_html("<b>worth knowing</b>", self.remarks))
        return f"<div>{''.join(parts)}</div>"

    def _tables(self) -> list[tuple[str, pd.DataFrame]]:
        """What is printed below a heading each."""
        found = []
        if self.coverage is not None:
            both = bool(self.coverage["adjusted-90"].notna().any())
            how = "as adjusted by other series (before that)" if both else "as the model has them"
            if self.calibrated and not both:
                how = "before they were adjusted by these very series"
            found.append((f"Share of the withheld values in bands, {how}", self._coverage(both)))
        found.append(("Noise, and the residual process with its memory", self._channels()))
        if self.latent is not None:
            total = self.latent["kl"].sum()
            found.append((f"Latent state: KL {total:.3g} nats a series", self._latent()))
        return found

    def _coverage(self, both: bool) -> pd.DataFrame:
        assert self.coverage is not None
        table = self.coverage
        if table["channel"].nunique() > MAX_CHANNELS:
            table = _over_channels(table)
        else:
            table = table.assign(channel=[str(name) for name in table["channel"]])
        shown = {"": [f"{row.channel}, {_TASKS[row.task]}" for row in table.itertuples()]}
        shown["values"] = [str(count) for count in table["n_values"]]
        for level in LEVELS:
            own, adjusted = (table[f"{kind}-{level}"] for kind in ("own", "adjusted"))
            cells = [_percent(share) for share in own]
            if both:
                cells = [f"{_percent(share)} ({cell})" for share, cell in zip(adjusted, cells, strict=True)]
            shown[f"{level} %"] = cells
        return pd.DataFrame(shown)

    def _channels(self) -> pd.DataFrame:
        table = self.channels
        shown = {
            "": [str(name) for name in table.index],
            "spread": [f"{value:.3g}" for value in table["spread"]],
            "noise": [f"{row.noise:.3g} ({_percent(row.noise_share)})" for row in table.itertuples()],
        }
        if (table["noise_law"] != "gaussian").any():
            shown["law"] = list(table["noise_law"])
        if table["kernel"].notna().any():
            shown["residual"] = [f"{row.kernel} {row.scale:.3g}" for row in table.itertuples()]
            shown["memory"] = [self._memory(length) for length in table["length"]]
        return pd.DataFrame(shown)

    def _memory(self, length: float) -> str:
        longest = LONGEST * self.time_unit
        return f"over {span(longest, self.kind)}" if length > longest else span(length, self.kind)

    def _latent(self) -> pd.DataFrame:
        assert self.latent is not None
        shown = {"dimension": [str(number) for number in self.latent.index]}
        shown["KL"] = [f"{value:.2f}" for value in self.latent["kl"]]
        shown["spread of means"] = [f"{value:.2f}" for value in self.latent["between"]]
        shown["own spread"] = [f"{value:.2f}" for value in self.latent["within"]]
        return pd.DataFrame(shown)


def _over_channels(table: pd.DataFrame) -> pd.DataFrame:
    """One row a task: shares of all channels' values."""
    rows = []
    for task, group in table.groupby("task", sort=False):
        counts = group["n_values"].to_numpy()
        row = {"task": task, "channel": "all channels", "n_values": int(counts.sum())}
        for name in group.columns[3:]:
            shares = group[name].to_numpy()
            known = ~np.isnan(shares)
            row[name] = float(np.average(shares[known], weights=counts[known])) if known.any() else np.nan
        rows.append(row)
    return pd.DataFrame(rows)


def _percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{100 * share:.0f} %"
