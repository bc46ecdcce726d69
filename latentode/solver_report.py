"""What the solver costs a fitted model, and whether it or the data limits the accuracy."""

from __future__ import annotations

import contextlib
import copy
import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from latentode.model import LatentODEModel
from latentode.printing import facts_text
from latentode.solve import Solver, StiffFieldError, solve, uses_fused

__all__ = ["SolverReport", "report_solver"]

# The reference takes steps this many times shorter, in double precision: at fourth order its own error
# is four thousand times smaller.
FINER = 8

# The method for stiff fields, on which it is the reference too.
FOR_STIFF = "scipy_solver"

# A solver's error of this share of the observation noise is felt in the predictions.
LARGEST_NOISE_SHARE = 0.1


@dataclass(frozen=True)
class SolverReport:
    """One solve over the usual span of a series, beside a tight reference.

    Args:
        method, engine: as in `Solver`, the engine being the one taken.
        knot_spacing: in model time; span is the solve's length in it.
        n_knots, n_steps, n_evaluations: of the whole solve; one evaluation is of the field at all states.
        error: largest root mean square error of the states at any time, relative to the states'.
        noise_share: root mean square error of the decoded trajectories, in units of the observation noise of
            the channel where that is largest.
        tolerance: what `error` should be at most; None where the user fixed the knots or the method adapts.
    """

    method: str
    engine: str
    knot_spacing: float
    span: float
    n_knots: int
    n_steps: int
    n_evaluations: int
    error: float
    noise_share: float
    tolerance: float | None

    @property
    def warning(self) -> str | None:
        """In plain words, that the solver limits the accuracy and what helps; None where it does not."""
        if not math.isfinite(self.error):
            other = "" if self.method == FOR_STIFF else f", or method={FOR_STIFF!r}"
            return (
                f"the solver ({self.method}) diverges at its knot spacing of {self.knot_spacing:.3g}: the learned "
                "field is stiff. Predictions can't be trusted; take shorter steps by "
                f"set_solver(knot_spacing=...){other}, and look for outliers and wrong units in the data"
            )
        if self.noise_share > LARGEST_NOISE_SHARE:
            return (
                f"the solver, not the data, limits the accuracy: {self.method} errs by {self.noise_share:.0%} of "
                f"the observation noise at its knot spacing of {self.knot_spacing:.3g}. Take shorter steps by "
                "set_solver(knot_spacing=...), or a method of higher order or a tighter rtol"
            )
        if self.tolerance is not None and self.error > 4 * self.tolerance:
            return (
                f"tolerance={self.tolerance:g} was not met: the trajectories err by {self.error:.1e} at a knot "
                f"spacing of {self.knot_spacing:.3g}. Give a looser tolerance, or more training for the spacing "
                "to follow"
            )
        return None

    @property
    def facts(self) -> dict[str, str]:
        """What is printed, by name."""
        facts = {
            "solver": f"{self.method}, engine {self.engine}",
            "knots": f"{self.n_knots}, every {self.knot_spacing:.4g} of a span of {self.span:.4g} (model time)",
            "work": f"{self.n_steps} steps, {self.n_evaluations} evaluations of the field",
            "error": f"{self.error:.1e} of the trajectories, {self.noise_share:.1e} of the observation noise",
        }
        return facts if self.warning is None else facts | {"warning": self.warning}

    def __str__(self) -> str:
        return facts_text(self.facts, width=11)


class _Counting(nn.Module):
    """A field that counts its evaluations."""

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.field = field
        self.autonomous = getattr(field, "autonomous", False)
        self.n_calls = 0

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        self.n_calls += 1
        return self.field(t, z)


@torch.no_grad()
def report_solver(
    model: LatentODEModel, z0: Tensor, earliest: float, latest: float, *, tolerance: float | None
) -> SolverReport:
    """Solves from some series' z0 with the model's solver, and again far more finely.

    Shapes:
        z0 (M, L), standing at time 0; the solves cover the times from `earliest` to `latest`.
    """
    solver = model.solver
    fused = uses_fused(model.field, solver)
    try:
        found = solve(model.field, z0, earliest, latest, solver)
    except StiffFieldError:
        return _diverged(solver, earliest, latest, tolerance, fused=fused)
    n_steps, n_evaluations = _work(model.field, z0, earliest, latest, solver, len(found.states) - 1)

    field, likelihood = copy.deepcopy(model.field).double(), copy.deepcopy(model.likelihood).double()
    finer = Solver(method="rk4", spacing=solver.spacing / FINER)
    reference = solve(field, z0.double(), earliest, latest, finer)
    if solver.method == FOR_STIFF or not bool(torch.isfinite(reference.states).all()):
        # On a field that is stiff short steps are not the better answer.
        finer = replace(finer, method=FOR_STIFF, rtol=1e-8, atol=1e-10)
        with contextlib.suppress(StiffFieldError):
            reference = solve(field, z0.double(), earliest, latest, finer)
    # What is read between the knots counts as much as the knots themselves.
    true = reference.states
    times = reference.start + finer.spacing * torch.arange(len(true), device=z0.device)
    times = times.clamp(min=found.start, max=found.start + solver.spacing * (len(found.states) - 1)).to(z0)
    states = found.at(times.expand(len(z0), -1))[0].transpose(0, 1).double()
    error = (states - true).square().mean((1, 2)).sqrt().max() / true.square().mean().sqrt()
    decoded = (likelihood.mean(states) - likelihood.mean(true)).square().mean((0, 1)).sqrt()
    share = (decoded / likelihood.scale()).max()
    return SolverReport(
        method=solver.method,
        engine="fused" if fused else "torchdiffeq",
        knot_spacing=solver.spacing,
        span=latest - earliest,
        n_knots=len(found.states),
        n_steps=n_steps,
        n_evaluations=n_evaluations,
        error=_finite(error),
        noise_share=_finite(share),
        tolerance=tolerance,
    )


def _work(
    field: nn.Module, z0: Tensor, earliest: float, latest: float, solver: Solver, n_intervals: int
) -> tuple[int, int]:
    """Steps and evaluations of one solve."""
    counting = _Counting(field)
    plain = solver
    if solver.method == "tsit5":  # six stages a step, and the slope at the last knot
        return n_intervals, 6 * n_intervals + 1
    if solver.engine == "fused":
        plain = replace(solver, engine="auto")
    solve(counting, z0, earliest, latest, plain)
    # The slopes at the knots, which the interpolant needs, are found on either side of z0 apart.
    n_sides = 2 if earliest < 0 else 1
    calls = counting.n_calls - (n_sides if counting.autonomous else n_intervals + n_sides)
    if not solver.is_adaptive:
        return n_intervals, calls
    per_step = {"dopri5": 6, "dopri8": 13, "bosh3": 3, "fehlberg2": 2, "adaptive_heun": 1}.get(solver.method)
    return (calls if per_step is None else -(-calls // per_step)), calls


def _diverged(
    solver: Solver, earliest: float, latest: float, tolerance: float | None, *, fused: bool
) -> SolverReport:
    n_knots = math.ceil((latest - earliest) / solver.spacing) + 1
    return SolverReport(
        method=solver.method,
        engine="fused" if fused else "torchdiffeq",
        knot_spacing=solver.spacing,
        span=latest - earliest,
        n_knots=n_knots,
        n_steps=0,
        n_evaluations=0,
        error=math.inf,
        noise_share=math.inf,
        tolerance=tolerance,
    )


def _finite(value: Tensor) -> float:
    return float(value) if bool(torch.isfinite(value)) else math.inf
