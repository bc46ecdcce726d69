"""How good a fitted model is on data it has not seen, by lead time, beside the trivial answers."""

from latentode.evaluation.report import Evaluation, Scope
from latentode.evaluation.run import RIVALS, Settings, evaluate

__all__ = ["RIVALS", "Evaluation", "Scope", "Settings", "evaluate"]
