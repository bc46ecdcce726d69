"""A ridge regression on the context beside the model, and how far answers are moved towards it.

weights   how far, by channel and by the time since the channel's last observation
stack     both regressions with their weights: what is added to the model's answers
asked     the contexts and hidden rows that these are learned from
learn     from training and withheld series to a stack
"""

from latentode.stacking.learn import learn_stack
from latentode.stacking.stack import Member, Stack
from latentode.stacking.weights import Weights

__all__ = ["Member", "Stack", "Weights", "learn_stack"]
