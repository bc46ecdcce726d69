"""How good the answers are: log densities of what was hidden, and a report beside trivial answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from latentode._checks import check_choice
from latentode.cuts import TASKS, split_contexts
from latentode.estimator.reading import Reading
from latentode.estimator.seeds import seed_of
from latentode.evaluation import RIVALS, Evaluation, Settings, evaluate
from latentode.frames import SeriesTable, answers_in_kind
from latentode.summary import Summary, summarize

__all__ = ["Scoring"]

# `score_samples` predicts each row from the others with one row in five hidden at a time.
N_FOLDS = 5


class Scoring(Reading):
    """Holds answers against what was observed.

    Needs of its host the parameters `task` and `verbose`, `fit_parameters_`, and what `Reading` names.
    """

    task: str
    verbose: int
    fit_parameters_: dict[str, Any]

    def summary(self) -> Summary:
        """What the fit learned; prints as a report, in a notebook as tables.

        How good it is on what it withheld beside the trivial answers, saying where it does not win; whether its
        bands hold; the noise of each channel beside its spread, the residual process and for how long it
        remembers; how much each dimension of z0 tells of a series; the solver; how training went. It was counted
        when the fit ended and is kept in the model's file, so that it needs no data.

        The withheld data also chose the weights, and the figures flatter a little: `evaluate` counts on
        series that no fit has seen, and by lead time.

        Example:
            >>> from latentode import LatentODE
            >>> from latentode.datasets import make_oscillator
            >>> observed, _ = make_oscillator(n_series=24, seed=0)
            >>> report = LatentODE("series", "time", max_iter=20, random_state=0).fit(observed).summary()
            >>> list(report.channels)[:4], report.facts["fitted to"]
            (['center', 'spread', 'noise', 'noise_share'], '20 series, 600 rows in all, 1200 values')
        """
        check_is_fitted(self, "module_")
        return summarize(self.fitted_, self.fit_parameters_)

    @answers_in_kind
    def score(self, X: Any, y: Any = None) -> float:  # noqa: ARG002 - y is scikit-learn's convention
        """Mean log predictive density of withheld points, in nats per value; higher is better.

        The last third of each series is predicted from what is before it (task "extrapolate"), every
        third row from the others ("interpolate"), or one after the other ("both"); to extrapolate, a series
        longer than a span counts as several. Densities are per unit of the data, so that scores of two models of
        the same data compare, and those of different data don't. Values too far out to be read by `predict` are not
        scored, unless there are no others.
        """
        check_is_fitted(self, "module_")
        table = self._read(X)
        if not table.observed_rows.any():
            raise ValueError("score needs observed values; the frame has none")
        usual = self._answers.usual(table)
        densities = self._withheld_densities(usual) if usual.observed_rows.any() else np.zeros(0)
        if not len(densities):
            densities = self._withheld_densities(table)
        return float(densities.mean())

    def _withheld_densities(self, table: SeriesTable) -> np.ndarray:
        answers = replace(self._answers, reads_all=True)
        found = [
            answers.log_density(
                table,
                partial(split_contexts, task=task),
                # To extrapolate from two thirds of a series of any length would be another task than the model's.
                whole=task == "interpolate",
            )
            for task in RIVALS
            if self.task in ("both", task)
        ]
        return np.concatenate([density[hidden] for density, hidden in found])

    @answers_in_kind
    def score_samples(self, X: Any) -> pd.DataFrame:
        """Log predictive density of each observation given the series' other rows, row by row.

        How surprising each value is: the lower, the more. Each row is predicted with one row in five
        hidden, itself among them. NaN where nothing was observed. Values too far out to be read by `predict` are
        scored as well, and the others without them.

        It finds values that jump out of line, and none of a sensor that stands still, whose readings foretell each
        other well; `diagnose` finds these.

        Returns:
            A frame with the index of X and a column for each channel, in nats per unit of the data.
        """
        check_is_fitted(self, "module_")
        table = self._read(X)
        values = self._answers.surprise(table, N_FOLDS)
        return pd.DataFrame(values, index=table.frame.index, columns=pd.Index(self.value_cols_))

    @answers_in_kind
    def evaluate(
        self,
        X: Any,
        *,
        task: str | None = None,
        leads: Any = 4,
        horizon: Any = None,
        n_origins: int = 5,
        hide: float = 0.3,
        after: Any = None,
        level: float | Sequence[float] | None = (50, 80, 90, 95),
        point: str = "mean",
        baselines: Sequence[str] | None = None,
        train: Any = None,
        n_bootstrap: int = 1000,
        random_state: int = 0,
    ) -> Evaluation:
        """Errors, CRPS and coverage by lead time, beside the trivial answers to the same questions.

        To extrapolate, each series is cut at several origins and what follows is predicted from what is
        before; to interpolate, rows are hidden at random and predicted from the others. What is hidden
        from the model is hidden from the baselines. Evaluate on series that no fit has seen, or, of a model that was
        fitted to the rows of long ones up to some time, on what is `after` it. Values too far out to be
        read (`predict`) are neither shown nor scored, and a warning names them.

        Args:
            task: "extrapolate", "interpolate" or "both"; None takes the model's.
            leads: bins of the time from a hidden row to the nearest row of the context (to extrapolate, the
                last): how many, with about equally many rows in each, or a list of upper edges such as
                ["6h", "12h", "48h"] (numbers where times are), beyond the last of which nothing is scored.
            horizon: with a number of bins, the lead time beyond which nothing is scored.
            n_origins: contexts made of each series: origins, evenly over its rows from a third to the end,
                or random hidings.
            hide: share of a series' rows that is hidden to interpolate; its first and last never are.
            after: a time on the clock of X (a number, a datetime or its text, a Timedelta). Only rows later than it
                are hidden, and contexts hold all that was observed up to it: the first origin is at it, and the
                others follow after equal steps of the rows behind it; `hide` is a share of these rows. The model must
                have been fitted to rows up to it alone, as must what is given as `train`. Series without rows
                enough behind it are left out; those that begin later are asked as without it.
            level: coverages of the bands in percent. CRPS is computed from the bands' bounds; without any
                there is none.
            point: which answer the errors are of, the "mean" or the "median".
            baselines: names among "last value", "constant velocity", "seasonal naive" (what was a
                period before), "linear", "pchip", "series mean", "training mean", "ridge"; None takes all that suit a
                task. Of a channel that a context does
                not show they answer the training mean.
            train: the frame of `fit`, or one like it: "ridge", a regression on features of the context, is
                fitted to it, cut as X is without `after`. A model does not keep it. A warning says where series of
                X are in it; with `after`, where rows of theirs that are later than it are.
            n_bootstrap: draws of series behind the intervals of errors and skills; 0 for none.
            random_state: decides what is hidden and the draws.

        Returns:
            an `Evaluation`, which prints as a summary that says where the model does not win; its `table`
            holds every figure.

        Raises:
            ValueError: where nothing can be hidden (every series has a row or two, or none after `after`), ridge is
                asked for without `train`, or edges and names make no sense.
            TypeError: where lead times or `after` are of another kind than the clock of X.

        Example:
            >>> from latentode import LatentODE
            >>> from latentode.datasets import make_oscillator
            >>> observed, _ = make_oscillator(n_series=24, seed=0)
            >>> known, unseen = observed[observed["series"] < 16], observed[observed["series"] >= 16]
            >>> model = LatentODE(id_col="series", time_col="time", max_iter=20, random_state=0).fit(known)
            >>> report = model.evaluate(unseen, task="extrapolate", leads=[1.0, 3.0], train=known)
            >>> report.table.query("channel == 'position' and lead == '1 to 3'")["predictor"].tolist()
            ['latent ODE', 'last value', 'constant velocity', 'series mean', 'training mean', 'ridge']
        """
        check_is_fitted(self, "module_")
        task = self.task if task is None else task
        check_choice("task", task, TASKS)
        check_choice("point", point, ("mean", "median"))
        settings = Settings(
            tasks=tuple(name for name in RIVALS if task in ("both", name)),
            leads=leads,
            horizon=horizon,
            n_origins=n_origins,
            hide=hide,
            after=after,
            level=level,
            baselines=baselines,
            n_bootstrap=n_bootstrap,
            seed=seed_of(random_state),
            verbose=self.verbose,
        )
        # What is not read is settled series by series, before any is cut.
        answers = replace(self._answers, reads_all=True)
        return evaluate(
            self._answers.usual(self._read(X)),
            lambda table, questions, levels: self._predict(
                table, questions, levels, None, point, answers=answers
            ),
            settings,
            training=None if train is None else self._answers.usual(self._read(train)),
            default=self.scaling_.center,
            statics=self.fitted_.statics,
            period=self.fitted_.period,
        )
