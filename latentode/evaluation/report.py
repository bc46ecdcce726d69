"""An evaluation's table, and what it says in words."""

from __future__ import annotations

import html
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from latentode._checks import check_choice
from latentode.evaluation.tally import ALL_LEADS, INTERVAL, MIN_TO_BOOTSTRAP, MODEL
from latentode.printing import counted, table_text

__all__ = ["MAX_CHANNELS", "Evaluation", "Scope", "is_off"]

# More channels than this are told by one line each, all lead times together.
MAX_CHANNELS = 6

# Sentences of one kind that a summary holds at most.
MAX_SENTENCES = 12

# A band that holds the truth this much more or less often than it says is worth a sentence, where that is more than
# chance: so many standard errors off or, of too few series to have any, so much. Of so few values none is said.
MISS, SURE, MISS_OF_FEW = 0.05, 2.0, 0.25
ENOUGH_VALUES = 100

# A skill that is worse than ten times the rival's error is no number to read.
WORST_TOLD = -9.99

_ALL = "all of them"

TITLES = {
    "extrapolate": ("Extrapolation", "origin", "time since the last row of the context"),
    "interpolate": ("Interpolation", "random hiding", "time to the nearest row of the context"),
}


@dataclass(frozen=True)
class Scope:
    """What was asked in a task: series that took part, those too short to, and contexts made of the former."""

    n_series: int
    n_short: int
    n_contexts: int
    min_rows: int


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Errors, CRPS and coverage by channel and lead time, beside the trivial answers; see `LatentODE.evaluate`.

    Printed, it is a summary that says where the model does not win.

    Attributes:
        table: a tidy frame, one row for each task, channel, lead and predictor, "latent ODE" the first:
            task; channel; lead (label of the bin, or "all" of them); lead_from, lead_to (its edges, the first
            excluded), lead_mean (mean over the values), as numbers where times are, else Timedeltas;
            predictor; n_values (predictions scored) and n_series (that hold them);
            rmse, mae, with their intervals rmse-lo, rmse-hi, mae-lo, mae-hi;
            crps, and for each level coverage-90 (share of the truth in the band), coverage-90-error (its standard
            error over series, NaN of fewer than five) and width-90 (its mean
            width), of the latent ODE only;
            skill = 1 - RMSE of the latent ODE / RMSE of this predictor, skill-lo, skill-hi; the same of the MAE
            as mae_skill, mae_skill-lo, mae_skill-hi; of the rivals only.
            Intervals hold 90 % of a bootstrap over series, the same draws for all predictors; NaN where fewer
            than five series hold a value.
        scopes: how many series and contexts each task had.
        levels: coverages of the bands, in percent.
        after: the time after which rows were asked, None where all were.
    """

    table: pd.DataFrame
    scopes: dict[str, Scope]
    levels: tuple[float, ...]
    after: str | None = None

    def summary(self, metric: str = "rmse") -> str:
        """The evaluation in words and small tables.

        Args:
            metric: "rmse" or "mae", by which the model is compared.
        """
        check_choice("metric", metric, ("rmse", "mae"))
        parts = []
        for task in self.scopes:
            parts += [self._heading(task), "", table_text(self._comparison(task, metric))]
            parts += ["", table_text(self._bands(task))] if self.levels else []
            parts += ["", *(f"{line}" for line in self.verdict(task, metric)), ""]
        return "\n".join(parts).rstrip()

    def verdict(self, task: str, metric: str = "rmse") -> list[str]:
        """Where the model wins, where it does not, and where its bands are off: sentences."""
        rivals = self._told(task)
        rivals = rivals[rivals["predictor"] != MODEL]
        off = self._miscalibrated(task)
        off = ["Bands that are off:", *_some(off)] if off else []
        if rivals.empty:
            return off
        prefix = "skill" if metric == "rmse" else "mae_skill"
        cells = list(rivals.groupby(["channel", "lead"], sort=False, observed=True))
        one_each = len(cells) == rivals["channel"].nunique()
        what = "channels" if one_each else "combinations of channel and lead time"
        sure = not rivals[f"{prefix}-lo"].isna().all()
        judged = [pair for pair in cells if not sure or pair[1]["n_series"].iloc[0] >= MIN_TO_BOOTSTRAP]
        names = list(rivals["predictor"].unique())
        won, lost = dict.fromkeys([*names, _ALL], 0), []
        for (channel, lead), rows in judged:
            least = rows[f"{prefix}-lo"] if sure else rows[prefix]
            for name in rows["predictor"][least > 0]:
                won[name] += 1
            if (least > 0).all():
                won[_ALL] += 1
                continue
            defeat = self._defeat(channel, lead, rows[~(least > 0)], task, metric, prefix)
            lost.append((rows[prefix].min(), defeat))
        if len(lost) > MAX_SENTENCES:  # the worst are told
            lost.sort(key=lambda pair: pair[0])
        if len(names) == 1:
            del won[_ALL]
        counts = [f"{_the(name)} in {count}" for name, count in won.items()]
        listed = counts[0] if len(counts) == 1 else f"{', '.join(counts[:-1])} and {counts[-1]}"
        few = ", for want of series," if rivals["n_series"].max() < MIN_TO_BOOTSTRAP else ""
        how = f"With {INTERVAL} % confidence" if sure else f"Without intervals{few}"
        lines = [f"{how} the {MODEL} beats {listed} of {len(judged)} {what}."]
        if len(judged) < len(cells):
            lines[0] += f" Too few series hold values of {len(cells) - len(judged)} more to tell."
        if lost:
            lines += ["Where it does not:", *_some([defeat for _, defeat in lost])]
        return lines + off

    def _defeat(
        self, channel: Hashable, lead: str, rows: pd.DataFrame, task: str, metric: str, prefix: str
    ) -> str:
        worst = rows.loc[rows[prefix].idxmin()] if rows[prefix].notna().any() else rows.iloc[0]
        ours = self._rows(task, channel, lead, MODEL)[metric].item()
        low, high = worst[f"{prefix}-lo"], worst[f"{prefix}-hi"]
        if high < 0:
            verb = "loses to"
        elif worst[prefix] <= 0 or np.isnan(low):
            verb = "does not beat"
        else:
            verb = "does not clearly beat"
        interval = "" if np.isnan(low) else f" [{_percent(low)}, {_percent(high)}]"
        others = rows[rows["predictor"] != worst["predictor"]]
        unsure = others[prefix] > 0
        also = "".join(
            f"; nor does it {beat} {_joined(names)}"
            for beat, names in (
                ("beat", [*others["predictor"][~unsure]]),
                ("clearly beat", [*others["predictor"][unsure]]),
            )
            if names
        )
        gain = (
            f", skill {_percent(worst[prefix])} %{interval}" if worst[metric] else ""
        )  # no share of nothing
        return (
            f"{_cell(channel, lead)}: {verb} {_the(worst['predictor'])} ({metric.upper()} {ours:.3g} against "
            f"{worst[metric]:.3g}{gain}){also}"
        )

    def _miscalibrated(self, task: str) -> list[str]:
        if not self.levels:
            return []
        level = min(self.levels, key=lambda one: abs(one - 90))
        share = f"coverage-{level:g}"
        ours = self.table[(self.table["task"] == task) & (self.table["predictor"] == MODEL)]
        found = []
        for channel, rows in ours.groupby("channel", sort=False, observed=True):
            off = rows[is_off(rows[share], rows[f"{share}-error"], level / 100, rows["n_values"])]
            whole = off["lead"] == ALL_LEADS
            # All lead times together where none is off by itself.
            off = off[whole] if self._many(task) or whole.all() else off[~whole]
            found += [
                f"{_cell(channel, row['lead'])}: {level:g} % bands hold {100 * row[share]:.0f} %, "
                f"too {'narrow' if row[share] < level / 100 else 'wide'}"
                for _, row in off.iterrows()
            ]
        return found

    def _heading(self, task: str) -> str:
        scope, (title, contexts, clock) = self.scopes[task], TITLES[task]
        short = ""
        if scope.n_short:
            few = f"fewer than {scope.min_rows} rows" if self.after is None else "too few rows after it"
            short = f"; {scope.n_short} series of {few} left out"
        after = "" if self.after is None else f" after {self.after}"
        asked = f"{scope.n_series} series, {counted(scope.n_contexts, contexts)}"
        return f"{title}{after}: {asked}{short}\nBy {clock}:"

    def _comparison(self, task: str, metric: str) -> pd.DataFrame:
        """Errors by channel, lead (rows) and predictor (columns), with the skill against each rival."""
        prefix = "skill" if metric == "rmse" else "mae_skill"
        rows, cells = self._shown(task), []
        for _, row in rows.iterrows():
            gain = "" if row["predictor"] == MODEL else f" ({_percent(row[prefix])} %)"
            cells.append(f"{row[metric]:.3g}{gain}")
        rows = rows.assign(cell=cells)
        wide = rows.pivot(index=["channel", "lead"], columns="predictor", values="cell")
        wide = wide.reindex(_keys(rows)).reindex(columns=rows["predictor"].unique())
        counts = rows[rows["predictor"] == MODEL].set_index(["channel", "lead"])["n_values"]
        wide.insert(0, "values", counts.reindex(wide.index).astype(str))
        return _labelled(wide, f"{metric.upper()} (skill)")

    def _bands(self, task: str) -> pd.DataFrame:
        """CRPS and coverage by channel and lead."""
        rows = self._shown(task)
        rows = rows[rows["predictor"] == MODEL].set_index(["channel", "lead"])
        shown = {"CRPS": [f"{value:.3g}" for value in rows["crps"]]}
        for level in self.levels:
            shown[f"{level:g} % band"] = [f"{100 * share:.0f} %" for share in rows[f"coverage-{level:g}"]]
        return _labelled(pd.DataFrame(shown, index=rows.index), "coverage")

    def _told(self, task: str) -> pd.DataFrame:
        """The rows that sentences are about: those of single bins, or of all together for many channels."""
        rows = self.table[self.table["task"] == task]
        return rows[(rows["lead"] == ALL_LEADS) == self._many(task)]

    def _many(self, task: str) -> bool:
        return self.table.loc[self.table["task"] == task, "channel"].nunique() > MAX_CHANNELS

    def _rows(self, task: str, channel: Hashable, lead: str, predictor: str) -> pd.DataFrame:
        table = self.table
        return table[
            (table["task"] == task)
            & (table["channel"] == channel)
            & (table["lead"] == lead)
            & (table["predictor"] == predictor)
        ]

    def _shown(self, task: str) -> pd.DataFrame:
        rows = self.table[self.table["task"] == task]
        if self._many(task):
            return rows[rows["lead"] == ALL_LEADS]
        single = rows.groupby("channel")["lead"].transform("nunique") == 2  # one bin says what all do
        return rows[~(single & (rows["lead"] == ALL_LEADS))]

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        parts = []
        for task in self.scopes:
            heading, clock = map(html.escape, self._heading(task).split("\n"))
            parts.append(f"<p><b>{heading}</b><br>{clock}</p>")
            frames = [self._comparison(task, "rmse"), *([self._bands(task)] if self.levels else [])]
            parts += [frame.to_html(index=False, border=0) for frame in frames]
            parts.append("<ul>")
            parts += [f"<li>{html.escape(line.strip())}</li>" for line in self.verdict(task)]
            parts.append("</ul>")
        return f"<div>{''.join(parts)}</div>"


def is_off(share: Any, error: Any, level: float, n_values: Any) -> Any:
    """Whether bands of a level hold a share of the truth that is worth a sentence.

    Args:
        error: the share's standard error over series, NaN of too few. Were the bands right, it would be that of the
            level: a share far below it scatters more, one near 1 less.
    """
    share, error = np.asarray(share, dtype=float), np.asarray(error, dtype=float)
    inside = (share > 0) & (share < 1)
    scatter = np.where(inside, share * (1 - share), level * (1 - level))
    error = error * np.sqrt(level * (1 - level) / scatter)
    least = np.where(np.isnan(error), MISS_OF_FEW, np.maximum(MISS, SURE * error))
    return (np.abs(share - level) > least) & (np.asarray(n_values) >= ENOUGH_VALUES)


def _cell(channel: Hashable, lead: str) -> str:
    return f"{channel}" if lead == ALL_LEADS else f"{channel}, {lead}"


def _keys(rows: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(rows[["channel", "lead"]].drop_duplicates())


def _labelled(wide: pd.DataFrame, title: str) -> pd.DataFrame:
    """Channel and lead as columns, a channel's name at its first line only."""
    channels = [str(name) for name in wide.index.get_level_values("channel")]
    repeated = ["", *channels[:-1]]
    names = ["" if name == before else name for name, before in zip(channels, repeated, strict=True)]
    flat = wide.reset_index(drop=True).rename_axis(columns=None)
    flat.insert(0, title, names)
    flat.insert(1, "lead", list(wide.index.get_level_values("lead")))
    return flat


def _some(lines: list[str]) -> list[str]:
    shown = [f"  {line}" for line in lines[:MAX_SENTENCES]]
    more = len(lines) - MAX_SENTENCES
    return shown + ([f"  and {more} more, see .table"] if more > 0 else [])


def _percent(share: Any) -> str:
    """+12, -3, +0.4 or 0: per cent, with its sign."""
    if share < WORST_TOLD:
        return f"below {100 * WORST_TOLD:.0f}"
    if not np.isfinite(share):
        return "nan"
    text = f"{100 * share:+.{0 if abs(share) >= 0.01 else 1}f}"
    return "0" if text in ("+0.0", "-0.0") else text


def _the(predictor: str) -> str:
    return f"the {predictor}" if predictor in ("last value", "series mean", "training mean") else predictor


def _joined(names: list[str]) -> str:
    names = [_the(name) for name in names]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
