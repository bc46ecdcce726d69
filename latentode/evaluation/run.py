"""Asks a model and the baselines the same questions, and scores what they answer."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from latentode._checks import check_levels, check_number
from latentode._warnings import warn_user
from latentode.baselines import (
    Contexts,
    Ridge,
    constant_velocity,
    last_value,
    linear,
    pchip,
    seasonal_naive,
    series_mean,
    training_mean,
)
from latentode.evaluation.bins import LeadBins
from latentode.evaluation.cuts import MIN_ROWS, Cuts, Observations, cut
from latentode.evaluation.report import Evaluation, Scope
from latentode.evaluation.tally import MODEL, Tally
from latentode.frames import Instants, Questions, SeriesTable, Statics, read_moment
from latentode.frames.columns import shown

__all__ = ["RIVALS", "Settings", "evaluate", "simple_baselines"]

# The rivals in each task, "seasonal naive" where a period is known. Linear and cubic interpolation are the last value
# beyond the last observation.
RIVALS = {
    "extrapolate": (
        "last value",
        "constant velocity",
        "seasonal naive",
        "series mean",
        "training mean",
        "ridge",
    ),
    "interpolate": ("linear", "pchip", "last value", "series mean", "training mean", "ridge"),
}

BASELINES: dict[str, Callable[..., np.ndarray]] = {
    "last value": last_value,
    "constant velocity": constant_velocity,
    "linear": linear,
    "pchip": pchip,
    "series mean": series_mean,
    "training mean": training_mean,
}
SEASONAL = "seasonal naive"


def simple_baselines(period: float | None) -> dict[str, Callable[..., np.ndarray]]:
    """Those that learn nothing, by name; the one that needs a period where there is one."""
    if period is None:
        return BASELINES
    return BASELINES | {SEASONAL: partial(seasonal_naive, period=period)}


# Numbers (rows times channels) that are asked about at once, and that ridge is fitted to.
CHUNK_NUMBERS = 1_000_000
RIDGE_NUMBERS = 4_000_000

# A series that shares a name and this share of its rows with one of the training data is that one.
SAME = 0.5

# From a table of contexts, questions and levels to a column for each channel and each bound of its bands.
Predict = Callable[[SeriesTable, Questions, list[float]], Mapping[Hashable, np.ndarray]]


@dataclass(frozen=True)
class Settings:
    """How to evaluate; see `LatentODE.evaluate`.

    Raises:
        ValueError, TypeError: for what can't be used, saying how to mend it.
    """

    tasks: tuple[str, ...]
    leads: Any = 4
    horizon: Any = None
    n_origins: int = 5
    hide: float = 0.3
    level: Any = (50, 80, 90, 95)
    baselines: Sequence[str] | None = None
    n_bootstrap: int = 1000
    seed: int = 0
    verbose: int = 0
    after: Any = None

    def __post_init__(self) -> None:
        check_number("n_origins", self.n_origins, integer=True)
        check_number("hide", self.hide, below=1.0)
        check_number("n_bootstrap", self.n_bootstrap, integer=True, zero=True)
        check_levels(self.level)
        if isinstance(self.baselines, str):
            raise TypeError(f"baselines must be a list of names; got the text {self.baselines!r}")
        known = dict.fromkeys(name for task in self.tasks for name in RIVALS[task])
        for name in self.baselines or ():
            if name not in known:
                raise ValueError(
                    f"there is no baseline {name!r} for {' and '.join(self.tasks)}; choose among "
                    f"{', '.join(map(repr, known))}"
                )

    def rivals(self, task: str, *, trained: bool, periodic: bool) -> tuple[str, ...]:
        """Those of a task, ridge only with training data and seasonal naive only with a period."""
        if self.baselines is not None:
            return tuple(name for name in RIVALS[task] if name in self.baselines)
        absent = {"ridge": not trained, SEASONAL: not periodic}
        return tuple(name for name in RIVALS[task] if not absent.get(name, False))


def evaluate(
    table: SeriesTable,
    predict: Predict,
    settings: Settings,
    *,
    training: SeriesTable | None,
    default: np.ndarray,
    statics: Statics | None = None,
    period: float | None = None,
) -> Evaluation:
    """Evaluates in every task; `default` (D,) is what baselines know of a channel that a context lacks.

    Args:
        period: of what turns in the series, in the clock's units; None where none is known.
        statics: how static columns become features, which ridge is told as well.

    Raises:
        ValueError: where no series has rows enough, or ridge is asked for without training data, or seasonal naive
            without a period.
        ValueError, TypeError: for an `after` that is no time on the table's clock.
    """
    after = None if settings.after is None else _After(*read_moment(settings.after, "after", table))
    if training is None and "ridge" in (settings.baselines or ()):
        raise ValueError(
            "the baseline 'ridge' is fitted to training data; give them as train=, e.g. the frame of `fit`"
        )
    if period is None and SEASONAL in (settings.baselines or ()):
        raise ValueError(
            f"the baseline {SEASONAL!r} needs a period, and this model has none; say at fit what it is, with period="
        )
    if training is not None:
        _warn_of_overlap(table, training, after)
    observations = Observations.of(table, statics)
    known = None if training is None else Observations.of(training, statics)
    simple = simple_baselines(period)
    tables, scopes = [], {}
    for number, task in enumerate(settings.tasks):
        generator = np.random.default_rng([settings.seed, number])
        cuts, n_short = _cut(observations, task, settings, after)
        if not len(cuts):
            raise ValueError(_nothing_hidden(observations, task, after))
        hidden = ~cuts.shown
        bins = LeadBins.of(settings.leads, settings.horizon, table.times.kind, cuts.lead[hidden])
        rivals: dict[str, Callable[..., np.ndarray]] = {}
        for name in settings.rivals(task, trained=training is not None, periodic=period is not None):
            if name in simple:
                rivals[name] = simple[name]
            elif known is not None:
                rivals[name] = _fit_ridge(known, task, settings, bins, default, generator)
        levels = check_levels(settings.level)
        tally = Tally(len(table.ids), bins, table.roles.value_cols, [MODEL, *rivals], levels)
        with tqdm(total=len(cuts), desc=f"to {task}", disable=not settings.verbose, leave=False) as bar:
            for chunk in cuts.chunks(max(1, CHUNK_NUMBERS // table.values.shape[1])):
                _score(chunk, observations, predict, rivals, default, tally)
                bar.update(len(chunk))
        tables.append(tally.table(task, settings.n_bootstrap, generator))
        scopes[task] = Scope(len(np.unique(cuts.series)), n_short, len(cuts), MIN_ROWS[task])
    asked_after = None if after is None else after.told
    return Evaluation(pd.concat(tables, ignore_index=True), scopes, tuple(levels), asked_after)


@dataclass(frozen=True)
class _After:
    """The time after which rows are asked, as it reads and as instants (1,)."""

    told: str
    instant: Instants


def _nothing_hidden(observations: Observations, task: str, after: _After | None) -> str:
    table, needed = observations.table, f"{MIN_ROWS[task]} observed rows at least"
    if after is not None:
        elapsed = observations.instants.since(after.instant)
        if len(elapsed) and elapsed.max() <= 0:
            last = table.roles.time_of(table.frame)[observations.source[elapsed.argmax()]]
            return f"nothing was observed after {after.told}: the last row that holds a value is at {last}"
        needed = f"{needed}, {MIN_ROWS[task] - 1} of them after {after.told}"
    return f"nothing can be hidden: to {task}, a series needs {needed}, and none of {len(table.ids)} has them"


def _warn_of_overlap(table: SeriesTable, training: SeriesTable, after: _After | None) -> None:
    """Of series that stand in both frames, half their rows at least alike; of their rows after a time, if given.

    Up to it rows are meant to be in both. Behind it a few in train give the series away, however many it lacks.
    """
    common = table.ids.intersection(training.ids)
    if not len(common):
        return
    rows, found = (_rows_of(common, one, after) for one in (table, training))
    alike = rows.merge(found.drop_duplicates())["series"].value_counts()
    share = (alike / (rows if after is None else found)["series"].value_counts()).dropna()
    both = common[share.index[share >= SAME]]
    if not len(both):
        return
    which, such = f"{len(both)} of {len(table.ids)} series to evaluate on", f", such as {shown(both[0])}"
    told = f"{which} are in train as well{such}", "Evaluate on series that no fit has seen"
    if after is not None:
        told = (
            f"{which} have rows after {after.told} in train as well{such}",
            "Fit to rows up to that time, and give these as train",
        )
    warn_user(f"{told[0]}: who was fitted to them, the model or ridge, knows what is hidden. {told[1]}")


def _rows_of(ids: pd.Index, table: SeriesTable, after: _After | None) -> pd.DataFrame:
    """The observed rows of some series, after a time if given: number of the series, time and values."""
    series = ids.get_indexer(table.ids)[table.codes]
    rows = (series >= 0) & table.observed_rows
    if after is not None:
        rows &= table.times.since(after.instant) > 0
    columns = {"series": series, "whole": table.times.whole.astype(np.float64), "part": table.times.part}
    columns |= {f"value {number}": values for number, values in enumerate(table.values.T)}
    return pd.DataFrame({name: column[rows] for name, column in columns.items()})


def _cut(
    observations: Observations, task: str, settings: Settings, after: _After | None = None
) -> tuple[Cuts, int]:
    names = [repr(name) for name in observations.table.ids.tolist()]
    moment = None if after is None else after.instant
    return cut(observations, task, settings.n_origins, settings.hide, names, settings.seed, moment)


@dataclass(frozen=True)
class _Asked:
    """The contexts of some cuts, of which series they are, and the hidden rows that lie within the bins."""

    contexts: Contexts
    series: np.ndarray
    context_rows: np.ndarray
    codes: np.ndarray
    times: np.ndarray
    rows: np.ndarray
    lead: np.ndarray

    @classmethod
    def of(cls, cuts: Cuts, observations: Observations, bins: LeadBins) -> _Asked:
        code = np.repeat(np.arange(len(cuts)), np.diff(cuts.starts))
        shown, asked = cuts.shown, ~cuts.shown & (bins.find(cuts.lead) < len(bins))
        rows = cuts.rows[shown]
        starts = np.searchsorted(code[shown], np.arange(len(cuts) + 1))
        statics = None if observations.statics is None else observations.statics[cuts.series]
        contexts = Contexts(observations.times[rows], observations.values[rows], starts, statics)
        hidden = cuts.rows[asked]
        times = observations.times[hidden]
        return cls(contexts, cuts.series, rows, code[asked], times, hidden, cuts.lead[asked])


def _score(
    cuts: Cuts,
    observations: Observations,
    predict: Predict,
    rivals: Mapping[str, Callable[..., np.ndarray]],
    default: np.ndarray,
    tally: Tally,
) -> None:
    asked = _Asked.of(cuts, observations, tally.bins)
    if not len(asked.rows):
        return
    truth = observations.values[asked.rows]
    found, bands = _ask(asked, observations, predict, tally.levels)
    predictions = {MODEL: found}
    for name, rival in rivals.items():
        predictions[name] = rival(asked.contexts, asked.codes, asked.times, default)
    tally.add(cuts.series[asked.codes], asked.lead, truth, predictions, bands)


def _ask(
    asked: _Asked, observations: Observations, predict: Predict, levels: Sequence[float]
) -> tuple[np.ndarray, dict[float, tuple[np.ndarray, np.ndarray]]]:
    """The model's answers: each context is a series of its own, which holds what is shown and no more."""
    table, contexts = observations.table, asked.contexts
    source = observations.source
    read = SeriesTable(
        # A row is in several contexts, whatever the frame says of its labels.
        frame=table.frame.set_flags(allows_duplicate_labels=True).iloc[source[asked.context_rows]],
        roles=table.roles,
        ids=pd.RangeIndex(len(contexts)),
        codes=contexts.codes,
        times=table.times[source[asked.context_rows]],
        values=contexts.values,
        statics=tuple(one.take(asked.series) for one in table.statics),
    )
    questions = Questions(
        ids=None,
        times=table.roles.time_of(table.frame)[source[asked.rows]],
        codes=asked.codes,
        instants=table.times[source[asked.rows]],
        wanted=~np.isnan(observations.values[asked.rows]),
    )
    columns = predict(read, questions, list(levels))
    names = table.roles.value_cols
    bands = {
        level: (
            np.column_stack([columns[f"{name}-lo-{level:g}"] for name in names]),
            np.column_stack([columns[f"{name}-hi-{level:g}"] for name in names]),
        )
        for level in levels
    }
    return np.column_stack([columns[name] for name in names]), bands


def _fit_ridge(
    known: Observations,
    task: str,
    settings: Settings,
    bins: LeadBins,
    default: np.ndarray,
    generator: np.random.Generator,
) -> Callable[..., np.ndarray]:
    """Ridge, fitted to training series that are cut as those evaluated are, at lead times within the bins.

    All along, whatever is asked of those evaluated: what is in train is known.

    A random part of the cuts where there are more than RIDGE_NUMBERS numbers in their rows.
    """
    cuts, _ = _cut(known, task, settings)
    if not len(cuts):
        raise ValueError(
            f"the baseline 'ridge' can't be fitted: to {task}, a series needs {MIN_ROWS[task]} observed rows at "
            "least, and none in train has them"
        )
    order = generator.permutation(len(cuts))
    n_rows = np.cumsum(np.diff(cuts.starts)[order])
    most = RIDGE_NUMBERS // known.values.shape[1]
    cuts = cuts.take(np.sort(order[: max(1, int(np.searchsorted(n_rows, most, side="right")))]))
    asked = _Asked.of(cuts, known, bins)
    ridge = Ridge(forecasts=task == "extrapolate").fit(
        asked.contexts,
        asked.codes,
        asked.times,
        known.values[asked.rows],
        series=cuts.series[asked.codes],
        default=default,
        generator=generator,
    )
    return ridge.predict
