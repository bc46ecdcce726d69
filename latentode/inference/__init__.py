"""Answers of a fitted model, in chunks of bounded memory: predictions, paths, and how well hidden values are told."""

from latentode.inference.paths import sample, sample_prior
from latentode.inference.pieces import Queries
from latentode.inference.predictions import Predicted, encode, latent, predict
from latentode.inference.withheld import (
    N_SCORE_SAMPLES,
    heldout_log_density,
    heldout_mean,
    hidden_log_density,
    hidden_scores,
)

__all__ = [
    "N_SCORE_SAMPLES",
    "Predicted",
    "Queries",
    "encode",
    "heldout_log_density",
    "heldout_mean",
    "hidden_log_density",
    "hidden_scores",
    "latent",
    "predict",
    "sample",
    "sample_prior",
]
