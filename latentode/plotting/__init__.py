"""Pictures of irregular series, of what a model makes of them, and of its training."""

from latentode.plotting.history import plot_history
from latentode.plotting.observations import plot_observations
from latentode.plotting.trajectories import plot_trajectories

__all__ = ["plot_history", "plot_observations", "plot_trajectories"]
