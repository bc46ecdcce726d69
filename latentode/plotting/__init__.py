"""Pictures of irregular series, of what a model makes of them, of its latent space, and of its training."""

from latentode.plotting.embedding import plot_embedding
from latentode.plotting.errors import plot_calibration, plot_errors
from latentode.plotting.history import plot_history
from latentode.plotting.observations import plot_observations
from latentode.plotting.portrait import plot_latent
from latentode.plotting.prior import plot_prior
from latentode.plotting.trajectories import plot_trajectories

__all__ = [
    "plot_calibration",
    "plot_embedding",
    "plot_errors",
    "plot_history",
    "plot_latent",
    "plot_observations",
    "plot_prior",
    "plot_trajectories",
]
