"""How far off a model is, and how often its bands hold the truth, by lead time."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from latentode._checks import check_choice
from latentode.plotting.palette import BAND, OTHERS, categories, gradient, ink, model_colour
from latentode.plotting.panels import choose
from latentode.plotting.time_axis import unit_of

__all__ = ["plot_calibration", "plot_errors"]

# The label of the rows of an evaluation that pool all lead times.
_ALL_LEADS = "all"

# Errors up to this many times those of the model, or of its best rival where that is worse, are in the frame.
CLEAR = 2.5

_METRICS = {"rmse": "root mean square error", "mae": "mean absolute error"}

# Told apart in grey print too.
_STYLES = [
    (0, (4, 1.5)),
    (0, (1, 1.2)),
    (0, (5, 1.2, 1, 1.2)),
    (0, (7, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (2, 2)),
]

# A rival looks the same in every task; of those of one place no two are asked in one.
_PLACES = {
    "constant velocity": 1,
    "pchip": 1,
    "last value": 0,
    "series mean": 2,
    "training mean": 3,
    "ridge": 4,
    "linear": 5,
    "seasonal naive": 5,
}


def plot_errors(
    evaluation: Any, *, metric: str = "rmse", task: str | None = None, channels: Any = None, ax: Any = None
) -> Any:
    """Draws the errors of a model and of the trivial answers against lead time, a panel a channel.

    Bars and the shade are the table's intervals over series. What errs by a multiple of the model and of the
    best of the others runs out of the frame. Errors of all lead times together stand side by side.

    Args:
        evaluation: what `model.evaluate` gave, or `model.summary().validation`.
        metric: "rmse" or "mae".
        task: "extrapolate" or "interpolate"; None takes the first that was evaluated.
        channels: a channel or a list of them; None takes all.
        ax: an Axes (for one channel), or an array of as many as channels; None makes a figure.

    Returns:
        The Axes of a single channel, else an array of Axes (n_channels,).

    Raises:
        TypeError: for anything but an evaluation.
        ValueError: for a task or channel that was not evaluated, or a wrong number of Axes.
    """
    _check_evaluation(evaluation)
    check_choice("metric", metric, tuple(_METRICS))
    table, names = _rows(evaluation, task, channels)
    panels, own = _panels(ax, len(names))
    leads, label = _lead_axis(table["lead_mean"])
    table = table.assign(x=leads)
    predictors = list(table["predictor"].unique())
    if table["lead"].nunique() == 1:
        for panel, name in zip(panels, names, strict=True):
            _draw_side_by_side(panel, table[table["channel"] == name], metric, predictors)
        panels[0].set_ylabel(_METRICS[metric])
        return panels[0] if len(names) == 1 else panels
    for panel, name in zip(panels, names, strict=True):
        own_rows = table[table["channel"] == name]
        for number, predictor in enumerate(predictors):
            rows = own_rows[own_rows["predictor"] == predictor].sort_values("x")
            low, high = (rows[f"{metric}-{side}"].to_numpy(dtype=np.float64) for side in ("lo", "hi"))
            x, y = rows["x"].to_numpy(), rows[metric].to_numpy(dtype=np.float64)
            if number == 0:
                panel.plot(x, y, "o-", color=model_colour(), lw=2.0, ms=4.5, zorder=4, label=predictor)
                panel.fill_between(x, low, high, color=model_colour(), alpha=BAND, lw=0, zorder=1)
            else:
                colour, style = _look(predictor, number)
                panel.plot(x, y, color=colour, lw=1.2, ls=style, marker=".", zorder=3, label=predictor)
                panel.errorbar(x, y, _bars(y, low, high), fmt="none", ecolor=colour, elinewidth=0.7)
        panel.set(xlabel=label, ylim=(0, _top(own_rows, metric, predictors)))
        panel.set_title(str(name))
    panels[0].set_ylabel(_METRICS[metric])
    _legend(panels[0], own)
    return panels[0] if len(names) == 1 else panels


def plot_calibration(
    evaluation: Any, *, task: str | None = None, channels: Any = None, ax: Any = None
) -> Any:
    """Draws how often the bands hold the truth against how often they say so, a panel a channel.

    On the diagonal bands are honest; below it they are too narrow. A line a bin of lead time, the
    earliest darkest.

    Args:
        evaluation: what `model.evaluate` gave, with one level at least; three and more show a curve.
        task, channels, ax: as in `plot_errors`.

    Returns:
        The Axes of a single channel, else an array of Axes (n_channels,).

    Raises:
        TypeError: for anything but an evaluation.
        ValueError: as in `plot_errors`, and for an evaluation without bands.
    """
    _check_evaluation(evaluation)
    levels = sorted(evaluation.levels)
    if not levels:
        raise ValueError("the evaluation has no bands; evaluate with level=90 or several levels")
    table, names = _rows(evaluation, task, channels)
    table = table[table["predictor"] == table["predictor"].iloc[0]]
    panels, own = _panels(ax, len(names), square=True)
    x = np.array(levels, dtype=np.float64)
    bins = list(table.sort_values("lead_mean")["lead"].unique())
    colours = gradient()(np.linspace(0.0, 1.0, max(len(bins), 2)))
    for panel, name in zip(panels, names, strict=True):
        panel.plot([0, 100], [0, 100], color=ink(), lw=0.8, alpha=0.5, zorder=1)
        for colour, lead in zip(colours, bins, strict=False):
            rows = table[(table["channel"] == name) & (table["lead"] == lead)]
            if len(rows):
                y = 100 * rows[[f"coverage-{level:g}" for level in levels]].iloc[0].to_numpy(dtype=np.float64)
                panel.plot(x, y, "o-", color=colour, lw=1.2, ms=4.5, zorder=3, label=lead)
        panel.set(xlabel="band, %", xlim=(0, 102), ylim=(0, 102), aspect="equal")
        panel.set_title(str(name))
    panels[0].set_ylabel("truth inside, %")
    _legend(panels[0], own, title="lead time")
    return panels[0] if len(names) == 1 else panels


def _check_evaluation(evaluation: Any) -> None:
    if not (hasattr(evaluation, "table") and hasattr(evaluation, "levels")):
        raise TypeError(
            f"evaluation must be what model.evaluate(...) returned; got a {type(evaluation).__name__}. "
            "Evaluate first, e.g. report = model.evaluate(df), and pass report"
        )


def _look(predictor: str, number: int) -> tuple[str, Any]:
    """Colour and dashes of a rival, the `number`-th of its task."""
    palette = [*(colour for colour in categories() if colour != model_colour()), OTHERS]
    place = _PLACES.get(predictor, number - 1)
    return palette[place % len(palette)], _STYLES[place % len(_STYLES)]


def _bars(error: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Lengths below and above: (2, n). Rounding may put the ends of an interval on the error's other side."""
    return np.maximum([error - low, high - error], 0.0)


def _draw_side_by_side(ax: Any, rows: pd.DataFrame, metric: str, predictors: list[str]) -> None:
    rows = rows.set_index("predictor").reindex(predictors)
    low, high = (rows[f"{metric}-{side}"].to_numpy(dtype=np.float64) for side in ("lo", "hi"))
    error = rows[metric].to_numpy(dtype=np.float64)
    bars = _bars(error, low, high)
    for number, predictor in enumerate(predictors):
        colour = _look(predictor, number)[0] if number else model_colour()
        size = 4.5 if number else 6
        ax.errorbar(number, error[number], bars[:, [number]], fmt="o", ms=size, color=colour, label=predictor)
    ax.set_xticks(range(len(predictors)), predictors, rotation=40, ha="right", rotation_mode="anchor")
    top = _top(rows.reset_index(), metric, predictors)
    ax.set(xlim=(-0.6, len(predictors) - 0.4), ylim=(0, top))
    for number in np.flatnonzero(error > (np.inf if top is None else top)).tolist():
        ax.annotate(
            f"↑ {error[number]:.3g}",
            (number, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, -10),
            textcoords="offset points",
            ha="center",
            fontsize="small",
        )
    ax.set_title(str(rows["channel"].iloc[0]))


def _rows(evaluation: Any, task: str | None, channels: Any) -> tuple[pd.DataFrame, list[Any]]:
    """The rows of a task by bin of lead time, and the channels to draw."""
    table = evaluation.table
    tasks = list(table["task"].unique())
    if task is None:
        task = tasks[0]
    if len(tasks) == 1 and task != tasks[0]:
        raise ValueError(f"the evaluation was made with task={tasks[0]!r} alone; got task={task!r}")
    check_choice("task", task, tasks)
    table = table[(table["task"] == task) & (table["lead"] != _ALL_LEADS)]
    known = list(table["channel"].unique())
    names = [known[place] for place in choose(channels, known, "channel")]
    return table[table["channel"].isin(names)], names


def _top(rows: pd.DataFrame, metric: str, predictors: list[str]) -> float | None:
    """Upper limit of the errors: one hopeless rival must not flatten all the others."""
    worst = rows.groupby("predictor")[metric].max()
    ours, rivals = worst[predictors[0]], worst.drop(predictors[0])
    upper = rows[[metric, f"{metric}-hi"]].max(axis=None)
    known = [ours, *([rivals.min()] if len(rivals) else [])]
    top = min(1.05 * upper, CLEAR * max(known))
    return float(top) if np.isfinite(top) and top > 0 else None


def _lead_axis(leads: pd.Series) -> tuple[np.ndarray, str]:
    if pd.api.types.is_timedelta64_dtype(leads.dtype):
        seconds = leads.dt.total_seconds().to_numpy()
        unit, size = unit_of(float(seconds.max()))
        return seconds / size, f"lead time, {unit}"
    return leads.to_numpy(dtype=np.float64), "lead time"


def _panels(ax: Any, n_panels: int, *, square: bool = False) -> tuple[np.ndarray, bool]:
    if ax is None:
        n_columns = min(n_panels, 4)
        n_rows = -(-n_panels // n_columns)
        width = 3.0 if n_panels > 1 else 4.6
        size = (width * n_columns + 0.4, (width if square else 2.6) * n_rows + (1.1 if square else 0.6))
        _, grid = plt.subplots(n_rows, n_columns, figsize=size, squeeze=False, layout="constrained")
        for spare in grid.flat[n_panels:]:
            spare.remove()
        return grid.ravel()[:n_panels], True
    panels = np.array([ax], dtype=object).ravel()
    if len(panels) != n_panels:
        raise ValueError(
            f"ax holds {len(panels)} Axes, but {n_panels} channels make {n_panels} panels; choose with channels=..."
        )
    return panels, False


def _legend(panel: Any, own: bool, title: str | None = None) -> None:
    handles, labels = panel.get_legend_handles_labels()
    look = {"title": title, "frameon": False, "fontsize": "small", "title_fontsize": "small"}
    if own:
        ncols = max(1, min(len(labels), int(panel.figure.get_figwidth() / 1.7)))
        panel.figure.legend(handles, labels, loc="outside lower center", ncols=ncols, **look)
    else:
        panel.legend(**look)
