"""A look at the data before a fit: what there is, what `fit` would refuse, what looks like a mistake."""

from latentode.diagnosis.diagnose import diagnose
from latentode.diagnosis.report import Diagnosis, Finding

__all__ = ["Diagnosis", "Finding", "diagnose"]
