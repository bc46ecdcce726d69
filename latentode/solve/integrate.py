"""Solves dz/dt = f(t, z) on equally spaced knots; the only place that knows torchdiffeq."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from latentode.nn import MLP
from latentode.solve.fused import fused_solve
from latentode.solve.rails import check_field
from latentode.solve.solver import FUSED_METHODS, Solver

__all__ = ["Field", "StiffFieldError", "integrate", "naming_stiffness", "uses_fused"]

# Steps between two knots after which a field counts as stiff; a smooth one takes a handful.
MAX_STEPS = 2000

# The same for LSODA, which says nothing of its steps: evaluations of the field in one solve and its adjoint.
# A Jacobian takes it as many as there are numbers in the state.
MAX_EVALUATIONS, MAX_JACOBIANS = 100_000, 1000

# Order of Adams-Bashforth; torchdiffeq's own, 12, is stable for next to no step.
ADAMS_ORDER = 4

# Methods whose answers between their steps are far less exact than the steps: these end at the knots.
ENDING_AT_KNOTS = ("bosh3", "dopri8")

Field = Callable[[Tensor, Tensor], Tensor]


class StiffFieldError(RuntimeError):
    """An adaptive method gave up: its step size underflowed, or its states were not finite."""


@contextmanager
def naming_stiffness(solver: Solver) -> Iterator[None]:
    """Raises torchdiffeq's assertions about a field that is stiff or diverged as `StiffFieldError`.

    The adjoint solves backwards, so that whoever differentiates a solve needs this as well.
    """
    try:
        yield
    except AssertionError as failure:
        if not any(reason in str(failure) for reason in ("underflow", "non-finite", "max_num_steps")):
            raise
        reason = str(failure).partition(": tensor(")[0]  # of the states only that they are not finite
        other = "" if solver.method == "scipy_solver" else "use method='scipy_solver' (LSODA), "
        raise StiffFieldError(
            f"{solver.method} could not meet rtol, atol = {solver.tolerances}: {reason}. The field is stiff "
            f"or has diverged; loosen the tolerance, {other}or bound the field."
        ) from failure


def uses_fused(field: Field, solver: Solver) -> bool:
    """Whether `integrate` takes the fused engine.

    It needs a field that says it is an MLP of z alone, without a shortcut, with an optional bound: `fusible_forward` is
    the `forward` that `mlp` and `bound` describe, and a subclass that overrides it is no such field. It needs
    a fixed-step method, and the exact discrete adjoint is its only gradient.

    Raises:
        ValueError: where engine="fused" is asked of a field that is no such MLP.
    """
    kind = type(field)
    mlp = getattr(field, "mlp", None)
    fusible = (
        isinstance(mlp, MLP)
        and mlp.shortcut is None
        and getattr(kind, "forward", None) is getattr(kind, "fusible_forward", kind)
    )
    if solver.engine == "fused" and not fusible:
        raise ValueError(
            f"engine='fused' needs the built-in MLPField; got {type(field).__name__}. "
            "Use engine='torchdiffeq' or 'auto'."
        )
    if solver.engine == "torchdiffeq" or solver.method not in FUSED_METHODS:
        return False
    return fusible and (solver.engine == "fused" or solver.gradient == "adjoint")


def integrate(
    field: Field, z0: Tensor, *, spacing: float, n_steps: int, solver: Solver
) -> tuple[Tensor, Tensor]:
    r"""States and slopes at the knots t_k = k * spacing, k = 0..n_steps, from z(0) = z0.

    A negative spacing solves backwards in time. With gradient="adjoint" and engine="torchdiffeq" the
    gradient is the continuous adjoint's: a(t) = dL/dz(t) obeys da/dt = -a^T df/dz and
    dL/dtheta = -int a^T df/dtheta dt, both integrated backwards from the last knot.

    Shapes:
        z0 (M, L) -> states (n_steps + 1, M, L), slopes (n_steps + 1, M, L).

    Raises:
        StiffFieldError: a RuntimeError, where an adaptive method's step size underflows, as it does on a stiff field.
        ValueError: for a field that `check_field` refuses.
    Source: Chen et al. 2018, "Neural Ordinary Differential Equations", section 2.
    """
    if uses_fused(field, solver):
        mlp = field.mlp  # type: ignore[attr-defined]
        return fused_solve(
            mlp.weights,
            mlp.biases,
            z0,
            spacing=spacing,
            n_steps=n_steps,
            method=solver.method,
            activation=mlp.activation,
            bound=field.bound,  # type: ignore[attr-defined]
        )
    if solver.method == "tsit5":
        raise ValueError(
            "method='tsit5' belongs to the fused engine, which needs the built-in MLPField and "
            "gradient='adjoint'; use method='dopri5' or 'rk4' here"
        )
    if torch.is_grad_enabled() and len(z0):
        check_field(field, z0[:1], adjoint=solver.gradient == "adjoint")
    knots = spacing * torch.arange(n_steps + 1, device=z0.device, dtype=z0.dtype)
    states = _solve_with_torchdiffeq(field, z0, knots, solver) if n_steps else z0.unsqueeze(0)
    if getattr(field, "autonomous", False):
        slopes = field(knots[0], states)
    else:
        slopes = torch.stack([field(t, z) for t, z in zip(knots, states, strict=True)])
    if slopes.shape != states.shape:
        raise ValueError(
            f"the field returned shape {tuple(slopes.shape[1:])} for states of shape {tuple(z0.shape)}; "
            "dz/dt must have the shape of z"
        )
    return states, slopes


def _solve_with_torchdiffeq(field: Field, z0: Tensor, knots: Tensor, solver: Solver) -> Tensor:
    # Imported here: it loads half of scipy, which the fused engine has no need of.
    from torchdiffeq import odeint, odeint_adjoint

    settings: dict = {"method": solver.method}
    if solver.method == "scipy_solver":
        settings["options"] = {"solver": "LSODA"}
        field = _Watched(field, MAX_EVALUATIONS + MAX_JACOBIANS * z0.numel())
    elif solver.is_adaptive:
        settings["options"] = {"max_num_steps": MAX_STEPS}
        if solver.method in ENDING_AT_KNOTS:
            settings["options"]["step_t"] = knots
    elif solver.method == "explicit_adams":
        settings["options"] = {"max_order": ADAMS_ORDER}
    elif (
        solver.method == "implicit_adams"
    ):  # what its iteration is to come down to; rounding is more than the default
        settings["rtol"] = settings["atol"] = 10 * torch.finfo(z0.dtype).eps
    if solver.is_adaptive:
        settings["rtol"], settings["atol"] = solver.tolerances
    with naming_stiffness(solver), warnings.catch_warnings():
        # LSODA steps back over the last knot by rounding and torchdiffeq says so at every solve.
        warnings.filterwarnings("ignore", message=".*t is outside of.*")
        if solver.gradient == "backprop":
            return odeint(field, z0, knots, **settings)
        if solver.is_adaptive and solver.method != "scipy_solver":
            # The seminorm leaves the parameters' quadrature out of the error control (Kidger et
            # al. 2021, "Hey, that's not an ODE"): fewer steps backwards at the same gradients.
            settings["adjoint_options"] = {"norm": "seminorm", "max_num_steps": MAX_STEPS}
        if not isinstance(field, nn.Module):
            settings["adjoint_params"] = ()
        return odeint_adjoint(field, z0, knots, **settings)


class _Watched(nn.Module):
    """A field for LSODA, which would go on for ever, its steps ever shorter, where the solution diverges."""

    def __init__(self, field: Field, most: int) -> None:
        super().__init__()
        self.field = field
        self.most = most
        self.n_evaluations = 0

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        velocity = self.field(t, z)
        self.n_evaluations += 1
        # In the words of torchdiffeq's own assertions.
        assert bool(torch.isfinite(velocity).all()), "non-finite values in state `y`"
        assert self.n_evaluations < self.most, f"max_num_steps exceeded ({self.most} evaluations)"
        return velocity
