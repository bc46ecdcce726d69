"""Gauss-Markov residuals: exact likelihood, conditional and paths in O(N) a channel.

`kernels` has the laws, `mix` gives each channel its own, `observed` orders the observations by channel;
`variances` and `means` are the filter with its adjoint, from which `likelihood` has its gradient;
`information` looks back from the future, and with it `posterior` and `paths` answer queries.
"""

from latentode.residual.gauss_markov import GaussMarkov
from latentode.residual.kernels import KERNELS

__all__ = ["KERNELS", "GaussMarkov"]
