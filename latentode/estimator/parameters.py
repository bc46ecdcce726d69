"""What each parameter of the estimator may be, for scikit-learn's own validation."""

from __future__ import annotations

import os
from numbers import Integral, Real
from typing import Any

from sklearn.utils._param_validation import Interval, StrOptions

from latentode.cuts import TASKS
from latentode.likelihoods import SCALES
from latentode.noise import LAWS

__all__ = ["CONSTRAINTS", "check_no_flags"]

_COUNT = Interval(Integral, 1, None, closed="left")
_POSITIVE = Interval(Real, 0, None, closed="neither")
_WEIGHT = Interval(Real, 0, None, closed="left")

# Parameters that are missing here are checked elsewhere: names of columns against the frame, the
# networks' and the residual's sizes one by one, the solver's settings by `Solver`.
CONSTRAINTS: dict[str, list[Any]] = {
    "task": [StrOptions(set(TASKS))],
    "origin": [StrOptions({"first", "last"}), None],
    "likelihood": [StrOptions(set(LAWS)), "array-like"],
    "noise_scale": [StrOptions(set(SCALES))],
    "latent_dim": [_COUNT, None],
    "encoder_units": [_COUNT, None],
    "rtol": [_POSITIVE, None],
    "atol": [_POSITIVE, None],
    "knot_spacing": [_POSITIVE, None],
    "tolerance": [_POSITIVE],
    "max_iter": [_COUNT, None],
    "batch_size": [_COUNT, None],
    "learning_rate": [_POSITIVE, None],
    "kl_weight": [_WEIGHT, None],
    "context_weight": [Interval(Real, 0, 1, closed="both"), None],
    "residual_share": [Interval(Real, 0, 1, closed="both"), None],
    "continuity_weight": [_WEIGHT, None],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "patience": [_COUNT],
    "n_samples": [_COUNT],
    "calibrate": ["boolean"],
    "stacking": ["boolean"],
    "dtype": [StrOptions({"float32", "float64"})],
    "random_state": ["random_state"],
    "warm_start": ["boolean"],
    "checkpoint": [str, os.PathLike, None],
    "verbose": ["verbose"],
}


def check_no_flags(parameters: dict[str, Any]) -> None:
    """True is no number here, although it is an integer to Python and to scikit-learn's intervals.

    Raises:
        TypeError: where a number is asked for and True or False is given.
    """
    for name, value in parameters.items():
        allowed = CONSTRAINTS.get(name, ["boolean"])
        if isinstance(value, bool) and "boolean" not in allowed and "verbose" not in allowed:
            raise TypeError(f"the {name!r} parameter of LatentODE must be a number or a name; got {value!r}")
