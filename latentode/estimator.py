"""LatentODE: a latent ODE fitted to a DataFrame and asked in DataFrames."""

from __future__ import annotations

import os
import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from numbers import Integral
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from latentode._checks import check_choice, check_device, check_levels, check_number, check_units
from latentode.answers import Answers
from latentode.checkpoint import Checkpoint, identify
from latentode.cuts import TASKS, split_contexts
from latentode.evaluation import RIVALS, Evaluation, Settings, evaluate
from latentode.fitting import Fitted, FittingProblem, fit_model
from latentode.frames import (
    SAMPLE,
    Questions,
    Roles,
    SeriesTable,
    answer,
    answer_rows,
    answers_in_kind,
    ask_ahead,
    ask_rows,
    ask_times,
    float_dtype,
    read_asked,
    read_frame,
)
from latentode.knots import START_SPACING
from latentode.parameters import CONSTRAINTS, check_no_flags
from latentode.persistence import load_fitted, save_fitted
from latentode.residual import KERNELS
from latentode.solve import Solver
from latentode.solver_report import SolverReport

__all__ = ["LatentODE"]

# `score_samples` predicts each row from the others with one row in five hidden at a time.
N_FOLDS = 5

# Fewer series than this with fewer rows in all are fitted with a warning; a long single series is not:
# its parts are many examples of one kind.
FEW_SERIES, FEW_ROWS = 5, 100


class LatentODE(BaseEstimator):
    r"""A latent ODE for irregular series with missing values, fitted to a long DataFrame.

        z0 ~ N(0, I),    dz/dt = f(z),    x(t) = g(z(t)) + r(t) + noise

    A recognition network reads a series' observations and gives q(z0 | x_1..x_N); a neural ODE
    carries z0 to any time; what its smooth trajectory can't pass through is taken up by a
    Gauss-Markov process r, whose limits are the last value carried forward, constant velocity and
    linear interpolation.

    Data are long frames: one row per (series, time), one column per channel, NaN where a channel was
    not observed. A frame with a two-level (series, time) index works too, as does a single series
    whose index is its clock, or an array (whose clock is the row number). Times are numbers,
    datetimes (with time zone) or timedeltas. Rows may come in any order. A row in which every channel
    is NaN is a query: `predict` answers it, and it changes nothing else.

    Args:
        id_col: column (or index level) that says which series a row belongs to; None with a
            two-level index or a single series.
        time_col: column (or index level) of the times; None takes the index.
        value_cols: the channels; None takes every other column.
        task: what the model is to be good at: "interpolate", "extrapolate" or "both". Decides the
            contexts drawn in training and the validation score.
        origin: where z0 stands, at the "first" or the "last" observation of the context.
        likelihood: the observation noise: "gaussian", its scale learned for each channel.
        residual: kernel of the residual process: "ou" (limit: last value, linear interpolation),
            "matern32", "iou" (limit: constant velocity), or one for each channel; "auto" takes for each
            channel what predicts the validation data best; None is the plain latent ODE.
        latent_dim, field_units, encoder_units, decoder_units: sizes of the networks; None chooses by
            the number of channels.
        method, engine, gradient, rtol, atol: the ODE solver, see `Solver`. An adaptive method shares its
            steps in a batch, so that companions change an answer within the tolerance.
        knot_spacing: distance of the solver's knots in model time (the usual span of a series is 1);
            None starts at 1/8 and follows `tolerance` during training.
        tolerance: relative error of the trajectories that the knot spacing has to keep.
        max_iter: optimiser steps at most.
        batch_size, learning_rate: None chooses by the data's and the model's size.
        kl_weight: weight of the KL term in training.
        context_weight: share of the context's own likelihood in training, from 0 to 1; None takes 0.05 for
            task="extrapolate" and 1 otherwise.
        validation_fraction: share of the series withheld to choose the best weights by; with fewer than
            ten series rows are withheld instead. 0 withholds nothing.
        patience: validation checks (forty in max_iter) without improvement before training stops; counted
            from where the residual process has taken over, at 60 % of max_iter.
        n_samples: samples of z0 behind predictions and bands.
        calibrate: adjusts the bands so that they hold what they say on the series withheld for validation, by
            channel and by time since the nearest observation; takes effect where twenty or more are
            withheld. Means, medians, samples and scores stay the model's own.
        dtype: "float32" or "float64".
        device: where torch computes, e.g. "cpu" or "cuda".
        random_state: an int makes a fit repeat bit for bit on one machine; None draws a new seed for
            each fit from the operating system, so that NumPy's and torch's global states stay as they are.
        warm_start: True lets `fit` go on from the weights of the fit before, in its scaling and with its
            kernels, at full weight of KL and residual process; columns, kind of time and networks must be
            the same. False starts anew.
        checkpoint: a file that the state of a fit is kept in while it lasts, every few seconds at most. After a
            kill, a crash or Ctrl-C the same call of `fit`, in a new process too, goes on from it and ends with
            the very weights of an unbroken fit; random_state must be an int. When a fit is through the file is
            removed, so that the next call fits anew. One file serves one fit at a time, not a search; that of
            other data or parameters is refused.
        verbose: 1 shows a progress bar with the ELBO and the validation score. Whatever it is, the logger
            "latentode" is told at level INFO of sizes and kernels chosen, and of how training ended.

    Attributes:
        module_: the fitted `LatentODEModel`.
        history_: DataFrame, one row per check: ELBO and log likelihood in nats per observed value, KL
            in nats per series, validation score (nats per hidden value, scaled), learning rate, share of
            the residual process (it takes over between 30 and 60 % of max_iter), knots, recoveries (steps that
            failed so far), seconds, and in the last row why training `ended`: max_iter, patience or interrupt.
        n_iter_: optimiser steps taken.
        residual_: kernel of each channel's residual process, None without.
        value_cols_, n_features_in_, feature_names_in_: the channels.
        solver_report_: the solver's knots, steps, evaluations of the field, and its error beside a tight
            reference, as it is set now; printed it reads well.
        scaling_: what one unit of each channel and of time is, from training data only.

    Source: Chen et al. 2018, "Neural Ordinary Differential Equations"; Rubanova et al. 2019, "Latent
    ODEs for Irregularly-Sampled Time Series".

    Example:
        >>> from latentode import LatentODE
        >>> from latentode.datasets import make_oscillator
        >>> observed, truth = make_oscillator(n_series=12, seed=0)
        >>> model = LatentODE(id_col="series", time_col="time", max_iter=20, random_state=0)
        >>> model.fit(observed).predict(observed, times=[0.0, 0.5], level=90).columns[2:6].tolist()
        ['position', 'velocity', 'position-lo-90', 'position-hi-90']
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = CONSTRAINTS

    def __init__(
        self,
        id_col: Hashable | None = None,
        time_col: Hashable | None = None,
        value_cols: Sequence[Hashable] | None = None,
        *,
        task: str = "both",
        origin: str = "first",
        likelihood: str = "gaussian",
        residual: str | Sequence[str] | None = "auto",
        latent_dim: int | None = None,
        field_units: Sequence[int] | None = None,
        encoder_units: int | None = None,
        decoder_units: Sequence[int] | None = None,
        method: str = "rk4",
        engine: str = "auto",
        gradient: str = "adjoint",
        rtol: float | None = None,
        atol: float | None = None,
        knot_spacing: float | None = None,
        tolerance: float = 3e-4,
        max_iter: int = 2500,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        kl_weight: float = 0.3,
        context_weight: float | None = None,
        validation_fraction: float = 0.15,
        patience: int = 10,
        n_samples: int = 64,
        calibrate: bool = True,
        dtype: str = "float32",
        device: str = "cpu",
        random_state: int | np.random.RandomState | None = None,
        warm_start: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        verbose: int = 0,
    ) -> None:
        self.id_col = id_col
        self.time_col = time_col
        self.value_cols = value_cols
        self.task = task
        self.origin = origin
        self.likelihood = likelihood
        self.residual = residual
        self.latent_dim = latent_dim
        self.field_units = field_units
        self.encoder_units = encoder_units
        self.decoder_units = decoder_units
        self.method = method
        self.engine = engine
        self.gradient = gradient
        self.rtol = rtol
        self.atol = atol
        self.knot_spacing = knot_spacing
        self.tolerance = tolerance
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.kl_weight = kl_weight
        self.context_weight = context_weight
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.n_samples = n_samples
        self.calibrate = calibrate
        self.dtype = dtype
        self.device = device
        self.random_state = random_state
        self.warm_start = warm_start
        self.checkpoint = checkpoint
        self.verbose = verbose

    # ------------------------------------------------------------------ fitting

    @answers_in_kind
    def fit(self, X: Any, y: Any = None) -> LatentODE:  # noqa: ARG002 - y is scikit-learn's convention
        """Fits the model to a frame of series; a failed fit leaves an earlier one as it was.

        Ctrl-C ends training early: the best weights so far are kept, a warning says so, and the model can be
        used. Before the first check of the validation score, and struck again, it interrupts as ever.

        Raises:
            ValueError, TypeError: for parameters, a frame or a checkpoint that can't be used, before any training.
            FloatingPointError: where steps fail again after repeated rollbacks to sound weights.
            OSError: where the checkpoint can't be written.
        """
        self._check_parameters()
        start = self.fitted_ if self.warm_start and hasattr(self, "fitted_") else None
        table = read_frame(
            X,
            id_col=self.id_col,
            time_col=self.time_col,
            value_cols=self.value_cols,
            like=None if start is None else start.clock,
        )
        _check_observed(table)
        _warn_of_little(table)
        problem = FittingProblem(
            table=table,
            task=self.task,
            origin=self.origin,
            residual=self._kernels(len(table.roles.value_cols)),
            solver=self._solver(self.knot_spacing or START_SPACING),
            fixed_spacing=self.knot_spacing is not None,
            validation_fraction=self.validation_fraction,
            dtype=getattr(torch, self.dtype),
            device=self.device,
            seed=_seed(self.random_state),
            verbose=self.verbose,
            calibrate=self.calibrate,
            start=start,
            checkpoint=self._checkpoint(table, start),
        )
        fitted = fit_model(
            problem,
            sizes={
                "latent_dim": self.latent_dim,
                "field_units": None if self.field_units is None else tuple(self.field_units),
                "encoder_units": self.encoder_units,
                "decoder_units": None if self.decoder_units is None else tuple(self.decoder_units),
            },
            training={
                "max_iter": self.max_iter,
                "batch_size": self.batch_size,
                "learning_rate": self.learning_rate,
                "kl_weight": self.kl_weight,
                "context_weight": self._context_weight(),
                "patience": self.patience,
                "tolerance": self.tolerance,
            },
        )
        self._adopt(fitted)
        return self

    def _adopt(self, fitted: Fitted) -> None:
        roles = fitted.roles
        self.fitted_ = fitted
        self.fit_parameters_ = self.get_params(deep=False)
        self.module_ = fitted.model
        self.scaling_ = fitted.scaling
        self.residual_ = fitted.architecture.residual
        self.history_ = pd.DataFrame([asdict(record) for record in fitted.history])
        self.n_iter_ = fitted.history[-1].iteration
        self.value_cols_ = list(roles.value_cols)
        self.n_features_in_ = len(roles.value_cols)
        if not roles.from_array and all(isinstance(name, str) for name in roles.value_cols):
            self.feature_names_in_ = np.array(roles.value_cols, dtype=object)

    def _check_parameters(self) -> None:
        check_no_flags(self.get_params(deep=False))
        self._validate_params()
        check_units("field_units", self.field_units)
        check_units("decoder_units", self.decoder_units)
        check_device(self.device)
        self._solver(self.knot_spacing or START_SPACING)

    def _checkpoint(self, table: SeriesTable, start: Fitted | None) -> Checkpoint | None:
        if self.checkpoint is None:
            return None
        if not isinstance(self.random_state, Integral):
            raise ValueError(
                f"checkpoint needs an int for random_state; got {self.random_state!r}. A fit that draws another seed "
                "each time can't be gone on with"
            )
        weights = None if start is None else start.model.state_dict()
        parameters = self.get_params(deep=False) | {"value_cols": table.roles.value_cols}
        return Checkpoint(self.checkpoint, identify(parameters, table.collection(), weights))

    def _solver(self, spacing: float) -> Solver:
        return Solver(
            method=self.method,
            spacing=spacing,
            engine=self.engine,
            gradient=self.gradient,
            rtol=self.rtol,
            atol=self.atol,
        )

    def _kernels(self, n_channels: int) -> tuple[str, ...] | Literal["auto"] | None:
        if self.residual is None:
            return None
        if isinstance(self.residual, str) and self.residual == "auto":
            return "auto"
        if not isinstance(self.residual, (str, Sequence, np.ndarray)):
            raise TypeError(
                f"residual must be a kernel's name, a list of them, 'auto' or None; got {self.residual!r}"
            )
        kernels = [self.residual] * n_channels if isinstance(self.residual, str) else list(self.residual)
        if len(kernels) != n_channels:
            raise ValueError(
                f"residual names {len(kernels)} kernels for {n_channels} channels; give one for all, "
                "or one for each"
            )
        for kernel in kernels:
            check_choice("residual", kernel, ("auto", *KERNELS))
            if kernel == "auto":
                raise ValueError(
                    "residual='auto' is for all channels at once; name a kernel for each instead"
                )
        return tuple(kernels)

    def _context_weight(self) -> float:
        if self.context_weight is not None:
            return self.context_weight
        return 0.05 if self.task == "extrapolate" else 1.0

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def set_solver(
        self,
        *,
        method: str | None = None,
        engine: str | None = None,
        gradient: str | None = None,
        rtol: float | None = None,
        atol: float | None = None,
        knot_spacing: float | None = None,
    ) -> LatentODE:
        """Changes the fitted model's solver: precision for speed, or the other way round; nothing is fitted.

        Args:
            method, engine, gradient, rtol, atol, knot_spacing: as in the constructor; None keeps what was,
                but for the tolerances, which go with the method.
        """
        check_is_fitted(self, "module_")
        given = {"method": method, "engine": engine, "gradient": gradient, "spacing": knot_spacing}
        changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        self.module_.solver = replace(self.module_.solver, **changed, rtol=rtol, atol=atol)
        return self

    @property
    def solver_report_(self) -> SolverReport:
        """What the solver, as it is set now, costs and how much it errs on some of the training series."""
        check_is_fitted(self, "module_")
        return self.fitted_.solver_report()

    # ------------------------------------------------------------------ answers

    @answers_in_kind
    def predict(
        self,
        X: Any,
        times: Any = None,
        *,
        level: float | Sequence[float] | None = None,
        n_samples: int | None = None,
        point: str = "mean",
    ) -> Any:
        """The posterior mean of every channel, given all that `X` holds of a series.

        Args:
            X: the observations to condition on, in any layout that `fit` takes.
            times: None answers the rows of X, in their order and with their index. A 1-D list or index
                asks for the same times of every series; a frame with the id and time columns (or
                index levels) of X asks for each series' own.
            level: coverage of central bands in percent, one or several; adds columns such as
                "wind-lo-90" and "wind-hi-90", observation noise included.
            n_samples: samples of z0 in place of the estimator's.
            point: the "mean" or the "median" of the predictive distribution.

        Returns:
            A frame in the layout of X (or of `times`); an array where X is one and no band is asked.

        Raises:
            ValueError, TypeError: for frames or times that don't fit the model, naming what is wrong.
            sklearn.exceptions.NotFittedError: before `fit`.
        """
        check_is_fitted(self, "module_")
        table = self._read(X)
        questions = ask_rows(table) if times is None else ask_times(table, times)
        columns = self._predict(table, questions, level, n_samples, point)
        if times is None and table.roles.from_array and level is None:
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
    ) -> pd.DataFrame:
        """`predict` at `steps` equal steps up to `horizon` beyond each series' last observation.

        Args:
            horizon: a number in the units of numeric times, else a length of time such as "48h".
        """
        check_is_fitted(self, "module_")
        check_number("steps", steps, integer=True)
        table = self._read(X)
        questions = ask_ahead(table, horizon, steps)
        return self._answer(table, questions, self._predict(table, questions, level, n_samples, point))

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

        A series' draws depend on its id and `random_state`, not on what else the frame holds. A series
        of more than 256 observations is read through windows, and its paths are joint within each.

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
            table, questions, n_samples, observation_noise=observation_noise, seed=_seed(random_state)
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
        """New series from the prior, z0 ~ N(0, I), at the given times.

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
            instants, n_series, observation_noise=observation_noise, seed=_seed(random_state)
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

    @answers_in_kind
    def impute(self, X: Any) -> Any:
        """X with its NaN among the channels filled by the posterior mean; observed values stay."""
        predicted = self.predict(X)
        if isinstance(predicted, np.ndarray):
            given = np.asarray(X, dtype=predicted.dtype)
            return np.where(np.isnan(given), predicted, given)
        if isinstance(X, pd.Series):
            return X.astype(float_dtype(X.dtype)).where(X.notna(), predicted[self.value_cols_[0]])
        filled = X.copy()
        for name in self.value_cols_:
            missing = filled[name].isna()
            if missing.any():
                column = filled[name].astype(float_dtype(filled[name].dtype))
                filled[name] = column.where(~missing, predicted[name])
        return filled

    @answers_in_kind
    def encode(self, X: Any) -> pd.DataFrame:
        """Mean and standard deviation of q(z0 | series): one row per series, columns z0_1.. and z0_1_std.."""
        check_is_fitted(self, "module_")
        table = self._read(X)
        values = self._answers.encode(table)
        names = [f"z0_{k + 1}" for k in range(values.shape[1] // 2)]
        columns = [*names, *(f"{name}_std" for name in names)]
        index = table.ids if table.roles.is_single else table.ids.rename(table.roles.id_name)
        return pd.DataFrame(values, index=index, columns=columns)

    @answers_in_kind
    def latent(self, X: Any, times: Any = None) -> pd.DataFrame:
        """z(t) along the orbit through the posterior mean of z0: columns z_1.. in place of the channels.

        Of a series of more than 256 observations each window that it is read through has an orbit of its own.

        Args:
            times: as in `predict`.
        """
        check_is_fitted(self, "module_")
        table = self._read(X)
        questions = ask_rows(table) if times is None else ask_times(table, times)
        states = self._answers.latent(table, questions)
        names = _latent_names(states.shape[1])
        taken = [name for name in names if name in table.roles.key_columns]
        if taken:
            raise ValueError(f"a column is called {taken[0]!r}, as one of the answer's is; rename it first")
        return _lay_out(table, questions, dict(zip(names, states.T, strict=True)), {})

    def velocity(self, Z: Any) -> Any:
        """The learned vector field dz/dt = f(z) at latent states, per unit of numeric times or per second.

        Args:
            Z: an array whose last axis holds the L coordinates, or a frame with columns z_1..z_L such as
                `latent` answers with.

        Returns:
            An array of the shape of Z; of a frame, a frame with its index and columns z_1..z_L.

        Raises:
            ValueError: for states of another dimension than the model's.
        """
        check_is_fitted(self, "module_")
        names = _latent_names(self.module_.encoder.latent_dim)
        if isinstance(Z, pd.DataFrame):
            missing = [name for name in names if name not in Z.columns]
            if missing:
                raise ValueError(f"Z lacks the columns {missing}; a frame of states has {names}")
            found = self._answers.velocity(Z[names].to_numpy(dtype=np.float64))
            return pd.DataFrame(found, index=Z.index, columns=names)
        states = np.asarray(Z, dtype=np.float64)
        if not states.ndim or states.shape[-1] != len(names):
            raise ValueError(
                f"Z has shape {states.shape}, but the last axis of states holds the model's {len(names)} "
                "latent coordinates"
            )
        return self._answers.velocity(states)

    @answers_in_kind
    def score(self, X: Any, y: Any = None) -> float:  # noqa: ARG002 - y is scikit-learn's convention
        """Mean log predictive density of withheld points, in nats per value; higher is better.

        The last third of each series is predicted from what is before it (task "extrapolate"), every
        third row from the others ("interpolate"), or one after the other ("both"); a series of more than
        256 rows counts as several. Densities are per unit of the data, so that scores of two models of
        the same data compare, and those of different data don't.
        """
        check_is_fitted(self, "module_")
        table = self._read(X)
        if not table.observed_rows.any():
            raise ValueError("score needs observed values; the frame has none")
        density, hidden = self._answers.log_density(table, lambda batch: split_contexts(batch, self.task))
        return float(density[hidden].mean())

    @answers_in_kind
    def score_samples(self, X: Any) -> pd.DataFrame:
        """Log predictive density of each observation given the series' other rows, row by row.

        How surprising each value is: the lower, the more. Each row is predicted with one row in five
        hidden, itself among them. NaN where nothing was observed.

        Returns:
            A frame with the index of X and a column for each channel, in nats per unit of the data.
        """
        check_is_fitted(self, "module_")
        table = self._read(X)
        values = self._answers.surprise(table, N_FOLDS)
        return pd.DataFrame(values, index=table.frame.index, columns=pd.Index(self.value_cols_))

    def evaluate(
        self,
        X: Any,
        *,
        task: str | None = None,
        leads: Any = 4,
        horizon: Any = None,
        n_origins: int = 5,
        hide: float = 0.3,
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
        from the model is hidden from the baselines. Evaluate on series that no fit has seen.

        Args:
            task: "extrapolate", "interpolate" or "both"; None takes the model's.
            leads: bins of the time from a hidden row to the nearest row of the context (to extrapolate, the
                last): how many, with about equally many rows in each, or a list of upper edges such as
                ["6h", "12h", "2d"] (numbers where times are), beyond the last of which nothing is scored.
            horizon: with a number of bins, the lead time beyond which nothing is scored.
            n_origins: contexts made of each series: origins, evenly over its rows from a third to the end,
                or random hidings.
            hide: share of a series' rows that is hidden to interpolate; its first and last never are.
            level: coverages of the bands in percent. CRPS is computed from the bands' bounds; without any
                there is none.
            point: which answer the errors are of, the "mean" or the "median".
            baselines: names among "last value", "constant velocity", "linear", "pchip", "series mean",
                "training mean", "ridge"; None takes all that suit a task. Of a channel that a context does
                not show they answer the training mean.
            train: the frame of `fit`, or one like it: "ridge", a regression on features of the context, is
                fitted to it, cut as X is. A model does not keep it.
            n_bootstrap: draws of series behind the intervals of errors and skills; 0 for none.
            random_state: decides what is hidden and the draws.

        Returns:
            an `Evaluation`, which prints as a summary that says where the model does not win; its `table`
            holds every figure.

        Raises:
            ValueError: where nothing can be hidden (every series has a row or two), ridge is asked for without
                `train`, or edges and names make no sense.

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
            level=level,
            baselines=baselines,
            n_bootstrap=n_bootstrap,
            seed=_seed(random_state),
        )
        return evaluate(
            self._read(X),
            lambda table, questions, levels: self._predict(table, questions, levels, None, point),
            settings,
            training=None if train is None else self._read(train),
            default=self.scaling_.center,
        )

    # ------------------------------------------------------------------ files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the fitted model to one file, whole or not at all; it holds no code.

        Raises:
            TypeError: where a parameter or column name is neither text, number nor None.
        """
        check_is_fitted(self, "module_")
        parameters = dict(self.fit_parameters_)
        if isinstance(parameters["random_state"], np.random.RandomState):
            parameters["random_state"] = None  # its state belongs to the fit that is over
        save_fitted(path, parameters, self.fitted_)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str = "cpu") -> LatentODE:
        """Reads a model written by `save`; it predicts the same bits.

        Args:
            device: where it is to compute, whatever device it was fitted on.

        Raises:
            FileNotFoundError, ValueError: where there is no such file, or it is no intact model file.
        """
        check_device(device)
        parameters, fitted = load_fitted(path)
        unknown = sorted(set(parameters) - set(cls._get_param_names()))
        if unknown:
            raise ValueError(
                f"{path} has parameters that this latentode does not know: {unknown}; install a newer one"
            )
        model = cls(**parameters | {"device": device})
        fitted.model.to(model.device)
        model._adopt(fitted)
        return model

    # ------------------------------------------------------------------ between frames and answers

    @property
    def _answers(self) -> Answers:
        return Answers(self.fitted_, self.device)

    def _read(self, X: Any) -> SeriesTable:
        """Reads a frame by the fitted schema: the same channels and the same kind of time."""
        if isinstance(X, (np.ndarray, list)):
            shape = np.shape(X)
            if len(shape) == 2 and shape[1] != self.n_features_in_:
                raise ValueError(
                    f"X has {shape[1]} features, but LatentODE is expecting {self.n_features_in_} "
                    "features as input"
                )
        roles = self.fitted_.roles
        if (
            isinstance(X, pd.DataFrame)
            and not roles.is_single
            and self.id_col is None
            and X.index.nlevels < 2
        ):
            raise ValueError(
                "the model was fitted to a frame with a (series, time) index, and this frame has none; "
                "make it with df.set_index([id column, time column])"
            )
        return read_frame(
            X,
            id_col=self.id_col,
            time_col=self.time_col,
            value_cols=self.value_cols_,
            like=self.fitted_.clock,
        )

    def _predict(
        self, table: SeriesTable, questions: Questions, level: Any, n_samples: int | None, point: str
    ) -> dict[Hashable, np.ndarray]:
        levels = check_levels(level)
        check_number("n_samples", n_samples, integer=True, optional=True)
        check_choice("point", point, ("mean", "median"))
        return self._answers.predict(table, questions, levels, n_samples or self.n_samples, point)

    def _usual_times(self) -> pd.Index:
        elapsed = np.linspace(0.0, self.scaling_.time_unit, 50)
        if self.fitted_.clock.kind == "number":
            return pd.Index(elapsed)
        spans = pd.to_timedelta(elapsed, unit="s")
        if self.fitted_.clock.kind == "timedelta":
            return spans
        return pd.Timestamp("2000-01-01", tz="UTC" if self.fitted_.clock.aware else None) + spans

    def _dtypes(self, table: SeriesTable, columns: Iterable[Hashable]) -> dict[Hashable, Any]:
        """The dtype of each column of an answer: its channel's, if that is a float's; bands likewise."""
        of_channel = {name: float_dtype(table.frame[name].dtype) for name in self.value_cols_}
        of_band = {str(name): dtype for name, dtype in of_channel.items()}
        return {
            name: of_channel[name] if name in of_channel else of_band[str(name).rsplit("-", 2)[0]]
            for name in columns
        }

    def _answer(
        self, table: SeriesTable, questions: Questions, columns: Mapping[Hashable, np.ndarray]
    ) -> pd.DataFrame:
        return _lay_out(table, questions, columns, self._dtypes(table, columns))


def _lay_out(
    table: SeriesTable,
    questions: Questions,
    columns: Mapping[Hashable, np.ndarray],
    dtypes: Mapping[Hashable, Any],
) -> pd.DataFrame:
    if questions.frame is not None:
        return answer_rows(questions.frame, table.roles, columns, dtypes)
    return answer(table.roles, questions.ids, questions.times, columns, dtypes)


def _check_observed(table: SeriesTable) -> None:
    never = np.isnan(table.values).all(axis=0)
    if never.any():
        name = table.roles.value_cols[int(np.flatnonzero(never)[0])]
        raise ValueError(
            f"column {name!r} has no observed value in the whole frame; drop it, or leave it out of "
            "value_cols"
        )


def _latent_names(latent_dim: int) -> list[str]:
    return [f"z_{number + 1}" for number in range(latent_dim)]


def _warn_of_little(table: SeriesTable) -> None:
    observed = table.observed_rows
    n_series, n_rows = len(np.unique(table.codes[observed])), int(observed.sum())
    if n_series < FEW_SERIES and n_rows < FEW_ROWS:
        warnings.warn(
            f"{n_rows} observed rows in {n_series} series are too little to learn from: forecasts may be no "
            "better than the last value carried forward, and their bands far too narrow. Fit more series, or "
            "compare with simple answers on data held back",
            UserWarning,
            stacklevel=4,  # past `fit` and the wrapper around it, to the user's own line
        )


def _seed(random_state: Any) -> int:
    """A number from what scikit-learn takes as random_state; None leaves the global states alone."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    state = check_random_state(random_state)
    if isinstance(random_state, (int, np.integer)):
        return int(random_state)
    return int(state.randint(2**31 - 1))
