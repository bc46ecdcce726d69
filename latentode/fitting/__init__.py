"""From a frame to a fitted model, and what the fit found out about itself.

fit             `fit_model`: the order in which all this happens
period          the period that series have, and how long spans then are
outliers        values taken for mistakes
holdout         what training is not shown
split           what trains and what validates, scaled
kernel_choice   which residual kernel suits each channel
build           the networks, their sizes chosen from the data
progress        the bar
signal          whether a channel holds more than noise
verdict         errors beside trivial answers, bands, and what else only the data at hand can tell
messages        what a fit says when it is through
fitted          the fit as it is kept
"""

from latentode.fitting.build import NetworkSizes
from latentode.fitting.fit import FittingProblem, fit_model
from latentode.fitting.fitted import Fitted
from latentode.fitting.period import find_period, usual_span

__all__ = ["Fitted", "FittingProblem", "NetworkSizes", "find_period", "fit_model", "usual_span"]
