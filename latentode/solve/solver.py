"""How an ODE is to be solved: every power of the method as one frozen setting."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["ADAPTIVE_METHODS", "FIXED_METHODS", "FUSED_METHODS", "Solver", "best_method"]

FUSED_METHODS = ("euler", "midpoint", "rk4", "tsit5")
FIXED_METHODS = ("euler", "midpoint", "heun2", "heun3", "rk4", "tsit5", "explicit_adams", "implicit_adams")
ADAPTIVE_METHODS = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun", "scipy_solver")

ENGINES = ("auto", "fused", "torchdiffeq")
GRADIENTS = ("adjoint", "backprop")

DEFAULT_RTOL, DEFAULT_ATOL = 1e-5, 1e-6

# Past this many knots a horizon is a mistake of units rather than a forecast, and it is said so.
MAX_KNOTS = 50_000


@dataclass(frozen=True)
class Solver:
    """Settings of the solver; changing them changes precision and cost, never the model.

    Args:
        method: a fixed-step method takes one step from knot to knot; an adaptive one as many as its
            tolerance asks for.
        spacing: distance between knots, in model time. The knots are multiples of it, whatever the
            batch, so that a long forecast is as accurate as a short one and passes through the same
            states.
        engine: "fused", "torchdiffeq", or "auto": fused for the built-in field and fixed steps.
        gradient: "adjoint" solves the adjoint equation backwards in time in memory that does not
            grow with the number of steps; "backprop" differentiates through the solver's steps.
        rtol, atol: tolerances of the adaptive methods (1e-5 and 1e-6 where None).

    Raises:
        ValueError: for unknown names, a spacing that is not positive, or a setting that the chosen
            method or engine can't use.
    """

    method: str = "rk4"
    spacing: float = 1 / 16
    engine: str = "auto"
    gradient: str = "adjoint"
    rtol: float | None = None
    atol: float | None = None

    def __post_init__(self) -> None:
        known = FIXED_METHODS + ADAPTIVE_METHODS
        if self.method not in known:
            raise ValueError(f"unknown solver method {self.method!r}; choose one of {', '.join(known)}")
        if self.engine not in ENGINES:
            raise ValueError(f"unknown engine {self.engine!r}; choose one of {', '.join(ENGINES)}")
        if self.gradient not in GRADIENTS:
            raise ValueError(f"unknown gradient {self.gradient!r}; choose one of {', '.join(GRADIENTS)}")
        if isinstance(self.spacing, str) or not 0 < self.spacing < math.inf:
            raise ValueError(f"the knot spacing must be positive and finite; got {self.spacing!r}")
        if self.engine == "fused" and self.gradient == "backprop":
            raise ValueError(
                "engine='fused' has its own exact gradient; use engine='torchdiffeq' or 'auto' with "
                "gradient='backprop'"
            )
        if self.engine == "fused" and self.method not in FUSED_METHODS:
            raise ValueError(
                f"engine='fused' takes fixed steps ({', '.join(FUSED_METHODS)}); got method={self.method!r}. "
                "Use engine='torchdiffeq' or 'auto'."
            )
        if self.engine == "torchdiffeq" and self.method == "tsit5":
            raise ValueError("torchdiffeq has no 'tsit5'; use method='dopri5', or engine='fused' or 'auto'")
        if self.gradient == "backprop" and self.method == "scipy_solver":
            raise ValueError("scipy's solvers can't be differentiated through; use gradient='adjoint'")
        for name in ("rtol", "atol"):
            tolerance = getattr(self, name)
            if tolerance is None:
                continue
            if not self.is_adaptive:
                raise ValueError(
                    f"{name} is for the adaptive methods ({', '.join(ADAPTIVE_METHODS)}); "
                    f"method={self.method!r} takes its precision from spacing"
                )
            if not tolerance > 0:
                raise ValueError(f"{name} must be positive; got {tolerance}")

    @property
    def is_adaptive(self) -> bool:
        return self.method in ADAPTIVE_METHODS

    @property
    def tolerances(self) -> tuple[float, float]:
        """(rtol, atol) of an adaptive solve."""
        return (self.rtol or DEFAULT_RTOL, self.atol or DEFAULT_ATOL)

    def reachable(self, tolerance: float) -> float:
        """The relative error that knots can be held to: at least ten times the tolerance of an adaptive method."""
        return max(tolerance, 10 * self.tolerances[0]) if self.is_adaptive else tolerance


def best_method(engine: str, gradient: str) -> str:
    """The fixed-step method that meets a tolerance at the least cost, for the built-in field.

    For gradients exact to 1e-3 or 1e-4 tsit5 takes some 60 to 75 % of rk4's evaluations; torchdiffeq has it not.
    """
    return "rk4" if engine == "torchdiffeq" or gradient == "backprop" else "tsit5"
