"""Solving the latent ODE: settings, engines, and a solution that can be read at any time."""

from latentode.solve.integrate import StiffFieldError, integrate, naming_stiffness, uses_fused
from latentode.solve.rails import NonFiniteFieldError, check_field
from latentode.solve.solver import Solver, best_method
from latentode.solve.trajectory import Trajectory, solve, step_doubling_error

__all__ = [
    "NonFiniteFieldError",
    "Solver",
    "StiffFieldError",
    "Trajectory",
    "best_method",
    "check_field",
    "integrate",
    "naming_stiffness",
    "solve",
    "step_doubling_error",
    "uses_fused",
]
