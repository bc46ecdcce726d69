"""How good a fitted model is on data it has not seen, by lead time, beside the trivial answers."""

from latentode.evaluation.bins import span
from latentode.evaluation.coverage import LEVELS, count_coverage
from latentode.evaluation.packing import pack_evaluation, pack_table, unpack_evaluation, unpack_table
from latentode.evaluation.report import Evaluation, Scope
from latentode.evaluation.run import RIVALS, Settings, evaluate
from latentode.evaluation.withheld import evaluate_withheld

__all__ = [
    "LEVELS",
    "RIVALS",
    "Evaluation",
    "Scope",
    "Settings",
    "count_coverage",
    "evaluate",
    "evaluate_withheld",
    "pack_evaluation",
    "pack_table",
    "span",
    "unpack_evaluation",
    "unpack_table",
]
