"""Maximising the bound: from a model and its data to fitted weights and their history.

options       how long and how fast, and on which contexts
batches       which series train together
loop          `train`: the steps, validation, and what happens when one fails
state         what the next step depends on, kept, rolled back and put in a file
checkpoint    the file from which a killed fit goes on
faults        which quantity was not finite, and what in the data is likely why
"""

from latentode.training.checkpoint import Checkpoint, identify
from latentode.training.loop import RESIDUAL_END, train
from latentode.training.options import TrainingOptions, TrainingSettings, usual_kl_weight, usual_max_iter
from latentode.training.state import Record

__all__ = [
    "RESIDUAL_END",
    "Checkpoint",
    "Record",
    "TrainingOptions",
    "TrainingSettings",
    "identify",
    "train",
    "usual_kl_weight",
    "usual_max_iter",
]
