"""Stands for models whose answers and training are known, and what is in a picture of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import dates
from matplotlib.collections import PolyCollection

from latentode.frames import answer, ask_times, float_dtype, read_frame
from tests.conftest import make_frame


class Ramp:
    """Stands for a fitted model: channel k is k + elapsed time, its bands are level / 100 to each side."""

    def __init__(self, df, id_col=None, time_col=None):
        self.id_col, self.time_col = id_col, time_col
        self.value_cols_ = list(read_frame(df, id_col=id_col, time_col=time_col).roles.value_cols)

    def _ask(self, df, times):
        table = read_frame(df, id_col=self.id_col, time_col=self.time_col, value_cols=self.value_cols_)
        questions = ask_times(table, times)
        elapsed = questions.instants.since(table.times[table.first_rows()[questions.codes]])
        return table, questions, elapsed / table.collection().spans.max().item()

    def predict(self, df, times=None, *, level=None, point="mean"):
        table, questions, elapsed = self._ask(df, times)
        offset = 0.001 if point == "median" else 0.0  # to be told apart
        columns = {name: k + elapsed + offset for k, name in enumerate(self.value_cols_)}
        for k, name in enumerate(self.value_cols_):
            for one in level or []:
                columns[f"{name}-lo-{one:g}"] = k + elapsed - one / 100
                columns[f"{name}-hi-{one:g}"] = k + elapsed + one / 100
        dtypes = {name: float_dtype(table.frame[name].dtype) for name in self.value_cols_}
        return answer(table.roles, questions.ids, questions.times, columns, dtypes)

    def sample(self, df, times=None, *, n_samples=20, random_state=0):
        table, questions, elapsed = self._ask(df, times)
        number, place = np.divmod(np.arange(n_samples * len(questions)), len(questions))
        order = np.lexsort((number, questions.codes[place]))  # by series, then by sample
        number, place = number[order], place[order]
        paths = elapsed[place] * (1 + number + random_state)
        ids = None if questions.ids is None else questions.ids[place]
        asked = questions.times[place]
        columns = {name: paths + k for k, name in enumerate(self.value_cols_)}
        return answer(table.roles, ids, asked, columns, {}, samples=number)


CLOCKS = {
    "number": lambda hours: hours,
    "datetime": lambda hours: (
        pd.Timestamp("2024-10-26", tz="Europe/Berlin") + pd.to_timedelta(hours, unit="h")
    ),
    "timedelta": lambda hours: pd.to_timedelta(hours, unit="h"),
}


def as_drawn(clock, times):
    """Where times stand on the axis of a clock."""
    times = pd.Index(times)
    if clock == "datetime":
        return dates.date2num(times.tz_convert("UTC").tz_localize(None).to_numpy())
    return (times / pd.Timedelta("1h") if clock == "timedelta" else times).to_numpy(dtype=float)


def on_clock(clock="number", n_series=4):
    frame = make_frame(n_series=n_series).query("patient != 'p1'")  # p1 has a row or two only
    frame["hours"] = CLOCKS[clock](frame["hours"].to_numpy())
    return frame


def polygons(ax):
    """Lower and upper edge of each band, widest first."""
    edges = []
    for band in ax.collections:
        if isinstance(band, PolyCollection):
            vertices = band.get_paths()[0].vertices[:, 1]
            n = (len(vertices) - 3) // 2  # each edge once, two corners, and the first vertex again
            edges.append((vertices[1 : n + 1], vertices[n + 2 : 2 * n + 2][::-1]))
    return edges


def line(ax, label):
    return next(drawn for drawn in ax.lines if drawn.get_label() == label)


def labels(ax):
    return ax.get_legend_handles_labels()[1]


def cuts(ax):
    """Places of the upright lines that run from edge to edge."""
    return [drawn.get_xdata()[0] for drawn in ax.lines if drawn.get_transform() == ax.get_xaxis_transform()]


class Trained:
    value_cols_ = ("hr",)

    def __init__(self, validation):
        n = len(validation)
        iteration = 10 * np.arange(1, n + 1)
        self.history_ = pd.DataFrame(
            {
                "iteration": iteration,
                "elbo": -1 / iteration,
                "log_likelihood": -0.9 / iteration,
                "validation": validation,
                "kl": np.linspace(1, 5, n),
                "solver_error": np.geomspace(1e-3, 1e-4, n),
                "knot_spacing": np.where(np.arange(n) < n // 2, 1 / 16, 1 / 32),
                "learning_rate": np.linspace(1e-2, 1e-4, n),
                "recoveries": 0,
            }
        )
