"""LatentODE: a latent ODE fitted to a DataFrame and asked in DataFrames.

Here are its parameters and what they mean; its methods are in the modules beside, by what they do.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator

from latentode.estimator.asking import Asking
from latentode.estimator.devices import whatever_the_default_device
from latentode.estimator.files import Files
from latentode.estimator.fitting import Fitting
from latentode.estimator.latents import Latents
from latentode.estimator.parameters import CONSTRAINTS
from latentode.estimator.scoring import Scoring
from latentode.estimator.solving import Solving

__all__ = ["LatentODE"]


@whatever_the_default_device
class LatentODE(Fitting, Solving, Asking, Latents, Scoring, Files, BaseEstimator):
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
    is NaN is a query: `predict` answers it, and it changes nothing else (what its static columns say counts).

    Args:
        id_col: column (or index level) that says which series a row belongs to; None with a
            two-level index or a single series.
        time_col: column (or index level) of the times; None takes the index.
        value_cols: the channels; None takes every other column.
        static_cols: columns that describe a series as a whole, such as age and sex, and inform z0: numbers, truth
            values, text or categories. The value of a series is that of its rows that have one; where none has it
            is not known. A number is standardised; of text and categories each one found in training (fifty at
            most) has an input of its own, and another one, met later, counts as not known.
        task: what the model is to be good at: "interpolate", "extrapolate" or "both". Decides the
            contexts drawn in training and the validation score.
        origin: where z0 stands, at the "first" or the "last" observation of the context; None takes the last for
            task="extrapolate", from where a forecast is nearest, and else the first.
        likelihood: the law of the observation noise: "gaussian", "student_t" (heavy tails; its degrees of
            freedom are learned) or "laplace", or one for each channel. Under a heavy-tailed one values that lie
            far out count for less.
        noise_scale: "learned" for each channel, or "predicted" by the decoder besides, from where the
            trajectory is: for noise that is larger at some times or in some series than in others.
        residual: kernel of the residual process: "ou" (limit: last value, linear interpolation),
            "matern32", "iou" (limit: constant velocity), or one for each channel; "auto" takes for each
            channel which predicts the validation data best, "iou" by a margin; None is the plain latent ODE.
        period: with which the series repeat themselves, a day or a year, a number in the units of numeric times or a
            length of time such as "1D". Latent states then turn so from the start, which training would hardly find by
            itself, and the posterior's head sees the wave that each channel was last on. "auto" looks for one that
            repeats four times in series of 24 observations or more (`summary` says what was found; a warm start keeps
            that of the fit before); None leaves all to training.
        span: the time that one z0 answers for, a number in the units of numeric times or a length of time such as
            "30D"; longer series are read through spans that overlap by half and are joined without a jump, and
            trained on in parts of that length, which begin elsewhere each time. What lies ahead is foretold from the
            last half: take twice the time that a forecast is to reach, and more than one period of what is
            periodic. None makes it as long as 256 observations take, which a span never exceeds, or four periods
            where there is a period and series, or 256 observations of them, last longer (`summary` says how long; a
            warm start keeps the spans of the fit before). Where one series is long, spans of all are that short. No
            span reads across a gap of more than half of it, or of more time than 256 rows take.
        latent_dim, field_units, encoder_units, decoder_units: sizes of the networks; None chooses by
            the number of channels.
        method, engine, gradient, rtol, atol: the ODE solver, see `Solver`; method="auto" takes "tsit5" with the
            fused engine and "rk4" with torchdiffeq, which has no other. An adaptive method shares its
            steps in a batch, so that companions change an answer within the tolerance.
        knot_spacing: distance of the solver's knots in model time (the usual span of a series is 1);
            None starts at 1/8 and follows `tolerance` during training.
        tolerance: relative error of the trajectories that the knot spacing has to keep.
        max_iter: optimiser steps at most; None takes 4000 where up to six latent dimensions learn from 3000 values or
            more, in series of 80 at most on average, and task is not "extrapolate", else 2500.
        batch_size, learning_rate: None chooses by the data's and the model's size.
        kl_weight: weight of the KL term in training; None takes 0.03 for task="extrapolate" with a residual process
            and 0.1 otherwise.
        context_weight: share of the context's own likelihood in training, from 0 to 1; None takes 0.05 for
            task="extrapolate" and 1 otherwise, of fewer than 1000 training values a share of 1 in proportion,
            0.05 at least.
        residual_share: share of the residual process in what the trajectory learns from at the end of training,
            from 0 to 1; the rest is the likelihood of white noise, which keeps the trajectory from leaving its
            work to the residual. None takes 1 for task="extrapolate" and 0.5 otherwise.
        continuity_weight: weight of the log density of a trajectory's states under the posteriors of the same
            series begun later, which carries forecasts beyond the span of the training series; None takes 0.3
            where z0 stands at the first observation and task is not "interpolate", in proportion less where
            series have fewer than 60 values on average, else 0.
        validation_fraction: share of the series withheld to choose the best weights by; of fewer than ten one
            part in seven is withheld instead where they are long, or one row in seven, and if these hold fewer
            than a hundred values the last weights are kept, of a warm start excepted. 0 withholds nothing.
        patience: validation checks (forty in max_iter) without improvement before training stops; counted
            from where the residual process has taken over, at 60 % of max_iter.
        n_samples: samples of z0 behind predictions and bands.
        calibrate: adjusts the bands so that they hold what they say on the series withheld for validation, by
            channel and by time since the nearest observation. By fewer than twenty series or parts of long ones,
            or by withheld rows, they are widened by one factor, if they seem too narrow. Means, medians, samples
            and scores stay the model's own.
        stacking: moves answers towards a ridge regression on what the context shows (last values, slopes, means,
            neighbours, other channels, static columns; ahead, where channels are few, their products and radial
            basis functions), by up to half the way, as far as that makes them better on the series withheld for
            validation, by channel and by the time since the last row or to the nearest observation; mean, bands,
            samples and scores alike. Of fewer than ten series, of which none are withheld, answers between
            observations go half the way; with fewer than four, and with series longer than a span, there is none.
            A fit takes seconds more or, with ten channels or more, some minutes; Ctrl-C then ends it without.
            False leaves answers to the latent ODE.
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
        verbose: 1 shows a progress bar with the ELBO and the validation score, and one of `evaluate`. Whatever it
            is, the logger "latentode" is told at level INFO of sizes and kernels chosen, and of how training ended.

    Attributes:
        module_: the fitted `LatentODEModel`.
        history_: DataFrame, one row per check, and of a warm start one of before its first step: ELBO and
            log likelihood in nats per observed value, KL in nats per series, validation score (nats per hidden
            value, scaled), learning rate, share of the residual process (it takes over between 30 and 60 % of
            max_iter), knots, recoveries (steps that failed so far), seconds, and in the last row why training
            `ended`: max_iter, patience or interrupt.
        n_iter_: optimiser steps taken.
        residual_: kernel of each channel's residual process, None without.
        value_cols_, n_features_in_, feature_names_in_: the channels.
        static_cols_: the static columns.
        signal_: DataFrame, a row for each channel: how many values, the strongest rank correlation with those
            before them in their series, how many were hidden from the model in validation, their rank
            correlation with its answers, and the verdict: signal "found", "none", "constant", or "unclear" where
            too few values tell. A warning of `fit` names channels without signal.
        stacking_: DataFrame, a row for each channel: how far answers ahead of the last row, and between two
            observations, are moved towards the regression, from 0 to a half, on average over the withheld values'
            lead times. Not there where they are left to the latent ODE.
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
        static_cols: Sequence[Hashable] | None = None,
        task: str = "both",
        origin: str | None = None,
        likelihood: str | Sequence[str] = "gaussian",
        noise_scale: str = "learned",
        residual: str | Sequence[str] | None = "auto",
        period: Any = "auto",
        span: Any = None,
        latent_dim: int | None = None,
        field_units: Sequence[int] | None = None,
        encoder_units: int | None = None,
        decoder_units: Sequence[int] | None = None,
        method: str = "auto",
        engine: str = "auto",
        gradient: str = "adjoint",
        rtol: float | None = None,
        atol: float | None = None,
        knot_spacing: float | None = None,
        tolerance: float = 3e-4,
        max_iter: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        kl_weight: float | None = None,
        context_weight: float | None = None,
        residual_share: float | None = None,
        continuity_weight: float | None = None,
        validation_fraction: float = 0.15,
        patience: int = 10,
        n_samples: int = 64,
        calibrate: bool = True,
        stacking: bool = True,
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
        self.static_cols = static_cols
        self.task = task
        self.origin = origin
        self.likelihood = likelihood
        self.noise_scale = noise_scale
        self.residual = residual
        self.period = period
        self.span = span
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
        self.residual_share = residual_share
        self.continuity_weight = continuity_weight
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.n_samples = n_samples
        self.calibrate = calibrate
        self.stacking = stacking
        self.dtype = dtype
        self.device = device
        self.random_state = random_state
        self.warm_start = warm_start
        self.checkpoint = checkpoint
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
