"""What a fit says when it is through: in the log, and as warnings."""

from __future__ import annotations

import logging

import numpy as np

from latentode._warnings import warn_user
from latentode.fitting.fitted import Fitted
from latentode.fitting.signal import silent_channels
from latentode.fitting.verdict import collapse
from latentode.training import Checkpoint, Record, TrainingOptions

__all__ = ["log_end", "warn_of"]

_log = logging.getLogger("latentode")

# A posterior is called collapsed after so many steps, where training did not end by itself, and of so many series:
# before, it may be about to learn, and of fewer there is little to tell apart.
LEAST_STEPS, LEAST_SERIES = 100, 5


def warn_of(fitted: Fitted, options: TrainingOptions, checkpoint: Checkpoint | None) -> None:
    """Warns of what limits a fit: its solver, channels without signal, a collapsed posterior, an interruption."""
    last = fitted.history[-1]
    found = [
        fitted.solver_report().warning,
        *silent_channels(fitted.roles.value_cols, fitted.signal),
        _collapsed(fitted, options),
        _interrupted(last, options, checkpoint) if last.ended == "interrupt" else None,
    ]
    for warning in found:
        if warning is not None:
            warn_user(warning)


def log_end(history: list[Record], options: TrainingOptions) -> None:
    """Says in the log how training ended."""
    last = history[-1]
    if last.ended == "patience":
        _log.info(
            "stopped early at step %d of %d: validation no longer improved", last.iteration, options.max_iter
        )
    if last.recoveries:
        _log.warning(
            "the loss was not finite %d times; training went on from weights before", last.recoveries
        )
    scores = [record.validation for record in history if not np.isnan(record.validation)]
    _log.info(
        "finished after %d steps in %.1f s: ELBO %.3f, %s validation %s nats a value",
        last.iteration,
        last.seconds,
        last.elbo,
        "best" if options.select else "last",
        f"{max(scores) if options.select else scores[-1]:.3f}" if scores else "none",
    )


def _interrupted(last: Record, options: TrainingOptions, checkpoint: Checkpoint | None) -> str:
    message = (
        f"training was interrupted after its check at step {last.iteration} of {options.max_iter}; the model has the "
        f"{'best' if options.select else 'last sound'} weights until then"
    )
    if checkpoint is not None and checkpoint.path.exists():
        message += f". The same call of fit goes on from the checkpoint {checkpoint.path}"
    return message


def _collapsed(fitted: Fitted, options: TrainingOptions) -> str | None:
    """The warning of a posterior that learned nothing of a signal that is there, see `verdict.collapse`."""
    verdict = fitted.verdict
    last = fitted.history[-1]
    trained = last.iteration >= LEAST_STEPS or last.ended == "patience"
    if verdict is None or not trained or verdict.n_series < LEAST_SERIES:
        return None
    if not any(channel.signal == "found" for channel in fitted.signal):
        return None  # what `silent_channels` says of it is the reason
    return collapse(verdict.latent, options.kl_weight, residual=fitted.model.residual is not None)
