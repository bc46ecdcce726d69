"""Looks at a frame before it is fitted."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from latentode.diagnosis.channels import look_at_channel
from latentode.diagnosis.clocks import find_id_column, look_at_clock, look_at_ids, say_length, where_in
from latentode.diagnosis.report import Diagnosis, Finding
from latentode.diagnosis.standstill import look_for_standstills
from latentode.diagnosis.statics import find_static_texts, look_at_static, look_for_static
from latentode.diagnosis.unnamed import guess_roles, say_guess
from latentode.fitting.holdout import MIN_TO_WITHHOLD
from latentode.frames import SeriesTable, StaticValues, to_pandas
from latentode.frames.columns import shown
from latentode.frames.kinds import PIVOT_FIRST
from latentode.frames.lenient import read_leniently
from latentode.printing import counted
from latentode.series import MAX_ROWS

__all__ = ["diagnose"]


def diagnose(
    df: Any,
    id_col: Hashable | None = None,
    time_col: Hashable | None = None,
    value_cols: Sequence[Hashable] | None = None,
    static_cols: Sequence[Hashable] | None = None,
) -> Diagnosis:
    """Describes a frame, says what `fit` would refuse and what looks like a mistake, and suggests settings.

    It looks for placeholders such as -999, values and times in other units than the rest, outliers,
    sensors that stand still, duplicates, channels that hold nothing to learn, and a forgotten id column. Where
    neither id nor time is named it says which columns look like them and reads the frame so. It never raises for
    what is wrong with the data, and changes nothing.

    Args:
        df: the data, in any layout that `LatentODE.fit` takes.
        id_col, time_col, value_cols, static_cols: as in `LatentODE`.

    Example:
        >>> from latentode.datasets import load_co2
        >>> report = diagnose(load_co2(), id_col="station", time_col="time")
        >>> report.fits, report.suggested
        (True, {'id_col': 'station', 'time_col': 'time'})
    """
    df = to_pandas(df)
    if id_col is None and time_col is None and (guesses := guess_roles(df, value_cols, static_cols)):
        return _read_as_guessed(df, guesses, value_cols, static_cols)
    table, refused = read_leniently(
        df, id_col=id_col, time_col=time_col, value_cols=value_cols, static_cols=static_cols
    )
    findings = [Finding("refused", "frame", message) for message in refused]
    if table is None:
        facts = {"rows": str(len(df))} if hasattr(df, "__len__") else {}
        return Diagnosis(facts, pd.DataFrame(), pd.DataFrame(), tuple(findings))
    candidate = find_id_column(table)
    findings += look_at_ids(table, id_col, candidate)
    findings += look_at_clock(table)
    for number, name in enumerate(table.roles.value_cols):
        values = table.values[:, number]
        findings += look_at_channel(name, values, partial(where_in, table))
        if not table.roles.is_single:
            findings += look_for_static(name, values, table.codes)
    findings += look_for_standstills(table)
    findings += [finding for one in table.statics for finding in look_at_static(one)]
    series = _by_series(table)
    findings += _look_at_series(table, series)
    findings.sort(key=lambda finding: ("refused", "suspect", "note").index(finding.severity))
    pivoted = any(PIVOT_FIRST in message for message in refused)  # the channels are others then
    suggested, reasons = _suggest(table, findings, candidate, value_cols, pivoted=pivoted)
    return Diagnosis(_facts(table, series), _by_channel(table), series, tuple(findings), suggested, reasons)


def _read_as_guessed(
    df: pd.DataFrame,
    guesses: dict[str, Hashable],
    value_cols: Sequence[Hashable] | None,
    static_cols: Sequence[Hashable] | None,
) -> Diagnosis:
    """The frame with the roles that its columns suggest; nothing else about it where no clock is among them."""
    _, refused = read_leniently(df, value_cols=value_cols, static_cols=static_cols)
    first = say_guess(df, guesses, refused=len(refused) > 0)
    if "time_col" not in guesses:
        return Diagnosis({"rows": str(len(df))}, pd.DataFrame(), pd.DataFrame(), (first,))
    told = diagnose(df, **guesses, value_cols=value_cols, static_cols=static_cols)
    return replace(told, findings=(first, *told.findings))


def _sorted_times(table: SeriesTable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observed rows by series and time, their series, and their time since the series' first one."""
    rows, group = table.merged_rows()
    rows = rows[np.unique(group, return_index=True)[1]]
    codes = table.codes[rows]
    return rows, codes, table.times[rows].since(table.times[table.first_rows()[codes]])


def _by_series(table: SeriesTable) -> pd.DataFrame:
    _, codes, elapsed = _sorted_times(table)
    n_series = len(table.ids)
    span, gap = np.zeros(n_series), np.full(n_series, np.nan)
    np.maximum.at(span, codes, elapsed)
    same = codes[1:] == codes[:-1]
    np.fmax.at(gap, codes[1:][same], np.diff(elapsed)[same])
    observed = np.zeros(n_series, dtype=np.int64)
    np.add.at(observed, table.codes, (~np.isnan(table.values)).sum(axis=1))
    frame = {
        "rows": np.bincount(codes, minlength=n_series),
        "observed": observed,
        "span": span,
        "largest gap": gap,
    }
    return pd.DataFrame(frame, index=table.ids)


def _by_channel(table: SeriesTable) -> pd.DataFrame:
    known = ~np.isnan(table.values)
    lines = {}
    for number, name in enumerate(table.roles.value_cols):
        x = table.values[known[:, number], number]
        counts = np.bincount(table.codes[known[:, number]], minlength=len(table.ids))
        quantiles = np.quantile(x, [0.0, 0.5, 1.0]) if len(x) else np.full(3, np.nan)
        lines[name] = {
            "observed": len(x),
            "missing": 1 - len(x) / len(table),
            "least a series": counts.min(),
            "median a series": float(np.median(counts)),
            "most a series": counts.max(),
            "min": quantiles[0],
            "median": quantiles[1],
            "max": quantiles[2],
        }
    return pd.DataFrame.from_dict(lines, orient="index")


def _facts(table: SeriesTable, series: pd.DataFrame) -> dict[str, str]:
    kind, clock = table.times.kind, table.roles.time_of(table.frame)
    kinds = {"number": "numbers", "timedelta": "lengths of time"}
    said = kinds.get(kind) or (
        f"datetimes, {table.zone}" if table.zone is not None else "datetimes without a time zone"
    )
    _, codes, elapsed = _sorted_times(table)
    gaps = np.diff(elapsed)[codes[1:] == codes[:-1]]
    facts = {
        "rows": f"{len(table)}"
        + ("" if table.observed_rows.all() else f", {(~table.observed_rows).sum()} without a value"),
        "series": "a single one" if table.roles.is_single else str(len(table.ids)),
        "times": f"{said}, {clock.min()} to {clock.max()}",
        "rows a series": _spread(series["rows"].to_numpy(), "{:g}".format),
        "span": _spread(series["span"].to_numpy(), lambda length: say_length(length, kind)),
    }
    if len(gaps):
        largest = series["largest gap"].to_numpy()
        place = int(np.nanargmax(largest))
        whose = "" if table.roles.is_single else f" (series {shown(table.ids[place])})"
        facts["gap"] = (
            f"median {say_length(float(np.median(gaps)), kind)}, "
            f"largest {say_length(float(largest[place]), kind)}{whose}"
        )
    if table.statics:
        facts["static"] = ", ".join(f"{one.name} ({_describe(one)})" for one in table.statics)
    return facts


def _describe(static: StaticValues) -> str:
    """What a static column is, and how often it is missing."""
    kind = f"{len(set(static.values[static.known]))} categories" if static.is_category else "numbers"
    lack = 1 - static.known.mean()
    return kind if not lack else f"{kind}, {100 * lack:.0f} % missing"


def _spread(values: np.ndarray, say: Any) -> str:
    if len(values) == 1:
        return str(say(values[0]))
    low, middle, high = np.quantile(values, [0.0, 0.5, 1.0])
    return f"{say(low)} to {say(high)}, median {say(middle)}"


def _look_at_series(table: SeriesTable, series: pd.DataFrame) -> list[Finding]:
    found = []
    n_merged = int(table.observed_rows.sum() - series["rows"].sum())
    if n_merged:
        text = (
            f"{counted(n_merged, 'row')} {'repeats' if n_merged == 1 else 'repeat'} the series and time of another; "
            "those that agree are merged"
        )
        found.append(Finding("note", "duplicates", text))
    within = int((~_asks_ahead(table)).sum())
    if within:
        text = (
            f"{counted(within, 'row')} without a value among the others: fit passes over such rows, predict answers "
            "them. Where they are questions and no samples that failed, task='interpolate' is for them"
        )
        found.append(Finding("note", "queries", text))
    empty = series["rows"].to_numpy() == 0
    if empty.any():
        text = (
            f"{empty.sum()} series {'has' if empty.sum() == 1 else 'have'} no observed value, "
            f"{shown(table.ids[int(empty.argmax())])} first; training leaves {'it' if empty.sum() == 1 else 'them'} out"
        )
        found.append(Finding("note", "empty series", text))
    lone = series["rows"].to_numpy() == 1
    if lone.mean() > 0.2 and len(series) > 1:
        text = (
            f"{100 * lone.mean():.0f} % of the series have a single observed row; nothing of how things move "
            "can be learned from those"
        )
        found.append(Finding("suspect" if lone.all() else "note", "single rows", text))
    if 1 < len(series) < MIN_TO_WITHHOLD or (len(series) == 1 and series["rows"].iloc[0] < 50):
        n_rows = counted(int(series["rows"].sum()), "row")
        text = (
            f"{len(series)} series with {n_rows} are few: rows or parts of them are withheld for validation "
            "instead of series, and the bands of forecasts can be too narrow"
        )
        found.append(Finding("note", "few series", text))
    longest = int(series["rows"].max())
    if longest > MAX_ROWS:
        text = f"series of more than {MAX_ROWS} rows (the longest has {longest}) have a z0 for each of several spans"
        found.append(Finding("note", "long series", text))
    return found


def _suggest(
    table: SeriesTable,
    findings: list[Finding],
    candidate: Hashable | None,
    chosen: Sequence[Hashable] | None,
    *,
    pivoted: bool,
) -> tuple[dict[str, Any], dict[str, str]]:
    roles = table.roles
    suggested: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    if candidate is not None:
        suggested["id_col"] = candidate
        reasons["id_col"] = "within it times don't repeat"
    elif roles.id_name is not None and roles.id_level is None:
        suggested["id_col"] = roles.id_name
    if roles.time_name is not None and roles.time_level is None:
        suggested["time_col"] = roles.time_name
    useless = {one.column for one in findings if one.kind in ("empty", "constant", "static")} | {candidate}
    useful = [name for name in roles.value_cols if name not in useless]
    read = {*roles.key_columns, *roles.static_cols, *useful}
    others = [name for name in (table.frame.columns if chosen is None else chosen) if name not in read]
    if useful and not pivoted and (others or chosen is not None):
        suggested["value_cols"] = useful
        if any(name != candidate for name in others):
            reasons["value_cols"] = "the other columns hold no numbers that change in time"
    constant = {one.column for one in findings if one.kind == "constant"}
    statics = [one.column for one in findings if one.kind == "static"] + find_static_texts(table)
    statics = [name for name in (*roles.static_cols, *dict.fromkeys(statics)) if name not in constant]
    if statics:
        suggested["static_cols"] = statics
        if len(statics) > len(roles.static_cols):
            reasons["static_cols"] = "they never change within a series"
    task, why = _task(table)
    if task is not None:
        suggested["task"] = task
        reasons["task"] = why
    return suggested, reasons


def _asks_ahead(table: SeriesTable) -> np.ndarray:
    """Which of the rows without a value, in series that have any, stand beyond the last observation."""
    known = np.isin(table.codes, table.codes[table.observed_rows])
    asked = np.flatnonzero(known & ~table.observed_rows)
    return table.times[asked].since(table.times[table.last_rows()[table.codes[asked]]]) > 0


def _task(table: SeriesTable) -> tuple[str | None, str]:
    """What the rows without a value ask for: times beyond the observations, or between them too.

    Those between alone say nothing: they may be samples that failed.
    """
    ahead = _asks_ahead(table)
    if not len(ahead) or ahead.mean() < 0.1:
        return None, ""
    if ahead.mean() > 0.9:
        return "extrapolate", f"{len(ahead)} rows without a value ask for times beyond their series"
    return "both", f"{len(ahead)} rows without a value ask for times within and beyond their series"
