"""Questions in the channels' own units: predictions, forecasts, samples, filled gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from latentode._checks import check_number
from latentode.estimator.reading import Reading
from latentode.estimator.seeds import seed_of
from latentode.frames import (
    SAMPLE,
    Roles,
    answer,
    answers_in_kind,
    ask_ahead,
    ask_rows,
    ask_times,
    fills_in_kind,
    float_dtype,
    read_asked,
)

__all__ = ["Asking"]


class Asking(Reading):
    """What the channels are at any time: means, bands and draws. Needs of its host what `Reading` names."""

    @answers_in_kind
    def predict(
        self,
        X: Any,
        times: Any = None,
        *,
        level: float | Sequence[float] | None = None,
        n_samples: int | None = None,
        point: str = "mean",
        parts: bool = False,
    ) -> Any:
        """The posterior mean of every channel, given all that `X` holds of a series.

        A value more than twenty spreads from the middle of what the model was fitted to is taken for a mistake, as in
        `fit`: it is not read, and a warning names it, unless most of its series' values lie out there.

        Args:
            X: the observations to condition on, in any layout that `fit` takes.
            times: None answers the rows of X, in their order and with their index. A 1-D list or index
                asks for the same times of every series; a frame with the id and time columns (or
                index levels) of X asks for each series' own. Text is read where it is ISO 8601, with the offset
                where times have a zone.
            level: coverage of central bands in percent, one or several; adds columns such as
                "wind-lo-90" and "wind-hi-90", observation noise included.
            n_samples: samples of z0 in place of the estimator's.
            point: the "mean" or the "median" of the predictive distribution.
            parts: adds columns "wind-trajectory", "wind-residual" and "wind-regression", which sum to the mean: what
                the smooth trajectory says, what the residual process adds to it, and how far that is moved towards
                the regression (`stacking`).

        Returns:
            A frame in the layout of X (or of `times`); an array where X is one and neither bands nor parts are asked.

        Raises:
            ValueError, TypeError: for frames or times that don't fit the model, naming what is wrong.
            sklearn.exceptions.NotFittedError: before `fit`.
        """
        check_is_fitted(self, "module_")
        table = self._read(X)
        questions = ask_rows(table) if times is None else ask_times(table, times)
        columns = self._predict(table, questions, level, n_samples, point, parts=parts)
        if times is None and table.roles.from_array and level is None and not parts:
            dtype = float_dtype(np.asarray(X).dtype)
            return np.column_stack(list(columns.values())).astype(dtype)
        return self._answer(table, questions, columns)

    @answers_in_kind
    def forecast(
        self,
        X: Any,
        horizon: Any,
        steps: int = 10,
        *,
        level: float | Sequence[float] | None = None,
        n_samples: int | None = None,
        point: str = "mean",
        parts: bool = False,
    ) -> pd.DataFrame:
        """`predict` at `steps` equal steps up to `horizon` beyond each series' last observation.

        Args:
            horizon: a number in the units of numeric times, else a length of time such as "48h".
        """
        check_is_fitted(self, "module_")
        check_number("steps", steps, integer=True)
        table = self._read(X)
        questions = ask_ahead(table, horizon, steps)
        columns = self._predict(table, questions, level, n_samples, point, parts=parts)
        return self._answer(table, questions, columns)

    @answers_in_kind
    def sample(
        self,
        X: Any,
        times: Any = None,
        *,
        n_samples: int = 20,
        observation_noise: bool = False,
        random_state: int = 0,
    ) -> pd.DataFrame:
        """Trajectories drawn jointly from the posterior: one row per (series, sample, time).

        A series' draws depend on its id and `random_state`, not on what else the frame holds. Paths are joint over
        the whole of a series, however long.

        Args:
            times: as in `predict`.
            observation_noise: adds the noise of a measurement to each value.
        """
        check_is_fitted(self, "module_")
        check_number("n_samples", n_samples, integer=True)
        table = self._read(X)
        if SAMPLE in (table.roles.id_name, table.roles.time_name, *self.value_cols_):
            raise ValueError(
                f"a column is called {SAMPLE!r}, as the answer's column of sample numbers is; rename it first"
            )
        questions = ask_rows(table) if times is None else ask_times(table, times)
        rows, samples, values = self._answers.sample(
            table, questions, n_samples, observation_noise=observation_noise, seed=seed_of(random_state)
        )
        return answer(
            table.roles,
            None if questions.ids is None else questions.ids[rows],
            questions.times[rows],
            dict(zip(self.value_cols_, values.T, strict=True)),
            self._dtypes(table, self.value_cols_),
            samples=samples,
        )

    def sample_prior(
        self, n_series: int = 10, times: Any = None, *, observation_noise: bool = False, random_state: int = 0
    ) -> pd.DataFrame:
        """New series from the prior, z0 ~ N(0, I), at the given times; nothing static is known of them.

        z0 stands at the first of them, or at the last with origin="last", as in training.

        Args:
            times: 1-D; None takes fifty over the usual span of a training series.
        """
        check_is_fitted(self, "module_")
        check_number("n_series", n_series, integer=True)
        if times is None:
            times = self._usual_times()
        asked, instants = read_asked(times, like=self.fitted_.clock)
        values = self._answers.sample_prior(
            instants, n_series, observation_noise=observation_noise, seed=seed_of(random_state)
        )
        columns = dict(zip(self.value_cols_, values.T, strict=True))
        roles = self.fitted_.roles
        if roles.is_single:  # several new series of a model of one: their number is a column
            name = "series" if "series" not in self.value_cols_ else "new series"
            roles = Roles(name, roles.time_name, roles.value_cols, None, roles.time_level)
        return answer(
            roles,
            pd.Index(np.arange(n_series).repeat(len(asked))),
            asked[np.tile(np.arange(len(asked)), n_series)],
            columns,
            {},
        )

    @fills_in_kind
    def impute(self, X: Any) -> Any:
        """X with its NaN among the channels filled by the posterior mean; observed values stay.

        What another row of the same series and time holds is observed too, and fills the gap.
        """
        check_is_fitted(self, "module_")
        table = self._read(X)
        questions = ask_rows(table)
        mean = self._predict(table, questions, None, None, "mean")
        known = zip(self.value_cols_, table.completed_values().T, strict=True)
        columns = {name: np.where(np.isnan(values), mean[name], values) for name, values in known}
        if table.roles.from_array:
            return np.column_stack(list(columns.values())).astype(float_dtype(np.asarray(X).dtype))
        predicted = self._answer(table, questions, columns)
        if isinstance(X, pd.Series):
            return X.astype(float_dtype(X.dtype)).where(X.notna(), predicted[self.value_cols_[0]])
        filled = X.copy()
        for name in self.value_cols_:
            missing = filled[name].isna()
            if missing.any():
                column = filled[name].astype(float_dtype(filled[name].dtype))
                filled[name] = column.where(~missing, predicted[name])
        return filled

    def _usual_times(self) -> pd.Index:
        elapsed = np.linspace(0.0, self.scaling_.time_unit, 50)
        if self.fitted_.clock.kind == "number":
            return pd.Index(elapsed)
        spans = pd.to_timedelta(elapsed, unit="s")
        if self.fitted_.clock.kind == "timedelta":
            return spans
        return pd.Timestamp("2000-01-01", tz="UTC" if self.fitted_.clock.aware else None) + spans
