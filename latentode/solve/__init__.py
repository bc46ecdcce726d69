"""Solving the latent ODE: settings, engines, and a solution that can be read at any time."""

from latentode.solve.integrate import integrate, uses_fused
from latentode.solve.rails import check_field
from latentode.solve.solver import Solver
from latentode.solve.trajectory import Trajectory, solve, step_doubling_error

__all__ = ["Solver", "Trajectory", "check_field", "integrate", "solve", "step_doubling_error", "uses_fused"]
