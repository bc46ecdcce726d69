"""`fit`: from parameters and a frame to what the model has learned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator

from latentode._checks import check_choice, check_device, check_units
from latentode._warnings import warn_user
from latentode.estimator.parameters import check_no_flags
from latentode.estimator.seeds import seed_of
from latentode.fitting import Fitted, FittingProblem, NetworkSizes, find_period, fit_model, usual_span
from latentode.frames import SeriesTable, answers_in_kind, read_frame
from latentode.frames.clock import duration
from latentode.frames.placeholders import UNMISTAKABLE, placeholders, stands_for_missing
from latentode.frames.statics import describes_series, is_static
from latentode.noise import LAWS
from latentode.printing import counted
from latentode.residual import KERNELS
from latentode.solve import Solver, best_method
from latentode.solve.knots import START_SPACING
from latentode.training import Checkpoint, TrainingSettings, identify

__all__ = ["Fitting"]

# Fewer series than this with fewer rows in all are fitted with a warning; a long single series is not:
# its parts are many examples of one kind.
FEW_SERIES, FEW_ROWS = 5, 100

# Attributes that not every fit has; those of an earlier one must not outlast it.
OPTIONAL = ("signal_", "stacking_", "feature_names_in_")


class Fitting(BaseEstimator):
    """Fits, once the parameters have been looked at, and keeps what was learned in attributes with a final "_".

    Needs of its host: every parameter of the constructor of `LatentODE`, in an attribute of its name.
    """

    # What an interrupted fit started from, whose checkpoint a further call goes on from.
    _unfinished: tuple[Fitted | None] | None = None

    @answers_in_kind
    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002 - y is scikit-learn's convention
        """Fits the model to a frame of series; a failed fit leaves an earlier one as it was.

        Ctrl-C ends training early: the best weights so far are kept (the last ones where validation is too little
        to choose by), a warning says so, and the model can be used. Before the first check of the validation
        score, and struck again, it interrupts as ever.

        Raises:
            ValueError, TypeError: for parameters, a frame or a checkpoint that can't be used, before any training.
            FloatingPointError: where steps fail again after repeated rollbacks to sound weights.
            OSError: where the checkpoint can't be written.
        """
        self._check_parameters()
        start = self._start()
        table = read_frame(
            X,
            id_col=self.id_col,
            time_col=self.time_col,
            value_cols=self.value_cols,
            static_cols=self.static_cols,
            like=None if start is None else start.clock,
            statics=None if start is None else start.statics,
            fitted=None if start is None else start.roles,
        )
        _check_observed(table)
        _warn_of_little(table)
        _warn_of_statics(table)
        _warn_of_placeholders(table)
        n_channels = len(table.roles.value_cols)
        period = self._period(table, start)
        problem = FittingProblem(
            table=table,
            task=self.task,
            origin=self._origin(),
            residual=self._kernels(n_channels),
            solver=self._solver(self.knot_spacing or START_SPACING),
            fixed_spacing=self.knot_spacing is not None,
            validation_fraction=self.validation_fraction,
            dtype=getattr(torch, self.dtype),
            device=self.device,
            seed=seed_of(self.random_state),
            verbose=self.verbose,
            calibrate=self.calibrate,
            stacking=self.stacking,
            start=start,
            checkpoint=self._checkpoint(table, start),
            span=self._span(table, start, period),
            period=period,
            period_is_told=not self._finds_period,
            sizes=NetworkSizes(
                latent_dim=self.latent_dim,
                field_units=None if self.field_units is None else tuple(self.field_units),
                encoder_units=self.encoder_units,
                decoder_units=None if self.decoder_units is None else tuple(self.decoder_units),
                likelihood=self._laws(n_channels),
                noise_scale=self.noise_scale,
            ),
            training=TrainingSettings(
                max_iter=self.max_iter,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                kl_weight=self.kl_weight,
                context_weight=self.context_weight,
                residual_share=self._residual_share(),
                continuity_weight=self._continuity_weight(),
                patience=self.patience,
                tolerance=self.tolerance,
            ),
        )
        self._adopt(fit_model(problem))
        self._unfinished = (start,) if self._has_checkpoint() else None
        return self

    def _start(self) -> Fitted | None:
        """The fit to train on: the one before, or where that was interrupted the one that it had started from."""
        if not self.warm_start or not hasattr(self, "fitted_"):
            return None
        if self._unfinished is not None and self._has_checkpoint():
            return self._unfinished[0]
        return self.fitted_

    def _has_checkpoint(self) -> bool:
        return self.checkpoint is not None and Path(self.checkpoint).exists()

    def _adopt(self, fitted: Fitted) -> None:
        roles = fitted.roles
        for name in OPTIONAL:
            self.__dict__.pop(name, None)
        self.fitted_ = fitted
        self.fit_parameters_ = self.get_params(deep=False)
        self.module_ = fitted.model
        self.scaling_ = fitted.scaling
        self.residual_ = fitted.architecture.residual
        self.history_ = pd.DataFrame([asdict(record) for record in fitted.history])
        if fitted.signal:
            self.signal_ = pd.DataFrame(
                [asdict(one) for one in fitted.signal], index=pd.Index(roles.value_cols, tupleize_cols=False)
            )
        if fitted.stack is not None:
            self.stacking_ = pd.DataFrame(
                fitted.stack.usual(), index=pd.Index(roles.value_cols, tupleize_cols=False)
            )
        self.n_iter_ = fitted.history[-1].iteration
        self.value_cols_ = list(roles.value_cols)
        self.static_cols_ = list(roles.static_cols)
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
        roles = table.roles
        parameters = self.get_params(deep=False)
        parameters |= {"value_cols": roles.value_cols, "static_cols": roles.static_cols}
        return Checkpoint(self.checkpoint, identify(parameters, table.collection(), weights, table.statics))

    def _solver(self, spacing: float) -> Solver:
        return Solver(
            method=best_method(self.engine, self.gradient) if self.method == "auto" else self.method,
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
        if isinstance(self.residual, str):
            check_choice("residual", self.residual, ("auto", *KERNELS, None))
            return (self.residual,) * n_channels
        kernels = list(self.residual)
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

    def _laws(self, n_channels: int) -> str | tuple[str, ...]:
        """The laws of the channels' noise, one name where they agree."""
        if isinstance(self.likelihood, str):
            return self.likelihood
        laws = list(self.likelihood)
        if len(laws) != n_channels:
            raise ValueError(
                f"likelihood names {len(laws)} laws for {n_channels} channels; give one for all, or one for each"
            )
        for law in laws:
            check_choice("likelihood", law, LAWS)
        return laws[0] if len(set(laws)) == 1 else tuple(laws)

    @property
    def _finds_period(self) -> bool:
        return isinstance(self.period, str) and self.period == "auto"

    def _period(self, table: SeriesTable, start: Fitted | None) -> float | None:
        """In the clock's units; None where nothing turns."""
        if self._finds_period:
            return find_period(table.collection()) if start is None else start.period
        period = None
        if isinstance(self.period, str) and self.period.strip().lower() in ("auto", "none"):
            raise ValueError(f"period must be a length of time, 'auto' or None; got {self.period!r}")
        if self.period is not None:
            period = duration(self.period, table.times.kind, "period")
        if start is not None and not math.isclose(period or 0.0, start.period or 0.0, rel_tol=1e-9):
            was = "none" if start.period is None else f"{start.period:g}"
            raise ValueError(
                f"warm_start=True goes on from a fit whose period was {was}, and period={self.period!r}; "
                "leave it 'auto'"
            )
        return period

    def _span(self, table: SeriesTable, start: Fitted | None, period: float | None) -> float | None:
        """In the clock's units; None for as long as some rows take."""
        if self.span is None and start is not None:
            return start.longest
        if self.span is None:
            return None if period is None else usual_span(table.collection(), period)
        span = duration(self.span, table.times.kind, "span")
        data = table.collection()
        together = data.series_of_rows.diff() == 0
        if bool(together.any()) and not bool((data.times.diff()[together] <= span).any()):
            raise ValueError(
                f"span={self.span!r} is shorter than the time between any two observations of a series, so that each "
                "would be a series by itself; give the time that some tens of them take, or leave it None"
            )
        return span

    def _origin(self) -> str:
        if self.origin is not None:
            return self.origin
        return "last" if self.task == "extrapolate" else "first"

    def _residual_share(self) -> float | None:
        if self.residual_share is not None and self.residual is None:
            raise ValueError(
                "residual_share is that of the residual process, and with residual=None there is none; leave it None"
            )
        return self.residual_share

    def _continuity_weight(self) -> float | None:
        if self.continuity_weight and self._origin() == "last":
            raise ValueError(
                "continuity_weight is for origin='first': a z0 at the last observation has no later start to be "
                "continuous with; leave it None"
            )
        return self.continuity_weight


def _check_observed(table: SeriesTable) -> None:
    never = np.isnan(table.values).all(axis=0)
    if never.any():
        name = table.roles.value_cols[int(np.flatnonzero(never)[0])]
        raise ValueError(
            f"column {name!r} has no observed value in the whole frame; drop it, or leave it out of "
            "value_cols"
        )


def _warn_of_little(table: SeriesTable) -> None:
    observed = table.observed_rows
    counts = np.unique(table.codes[observed], return_counts=True)[1]
    n_series, n_rows = len(counts), int(counts.sum())
    if n_series > 1 and counts.max() == 1:
        warn_user(
            f"each of {n_series} series has a single observed row, so that nothing of how things move can be "
            "learned: does id_col name the series, and not the rows?"
        )
    elif n_series < FEW_SERIES and n_rows < FEW_ROWS:
        warn_user(
            f"{counted(n_rows, 'observed row')} in {n_series} series {'is' if n_rows == 1 else 'are'} too little to "
            "learn from: forecasts may be no better than the last value carried forward, and their bands far too "
            "narrow. Fit more series, or compare with simple answers on data held back"
        )


def _warn_of_statics(table: SeriesTable) -> None:
    for name, values in zip(table.roles.value_cols, table.values.T, strict=True):
        if is_static(values, table.codes):
            warn_user(f"column {describes_series(name)}")


def _warn_of_placeholders(table: SeriesTable) -> None:
    """They would be learned as values, and be the most of a column's spread."""
    for name, column in zip(table.roles.value_cols, table.values.T, strict=True):
        values = column[~np.isnan(column)]
        for placeholder in placeholders(values):
            if abs(placeholder) >= UNMISTAKABLE:
                warn_user(stands_for_missing(name, placeholder, values))
                values = values[values != placeholder]
