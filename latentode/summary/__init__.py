"""What a fit learned, told after it: how good it is, what it took for noise, what its latent state holds."""

from latentode.summary.report import Summary
from latentode.summary.tell import summarize

__all__ = ["Summary", "summarize"]
