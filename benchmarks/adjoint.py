r"""How exact each way to a gradient is, and what memory it needs, against the number of solver steps.

    python -m benchmarks.adjoint [--quick] [--out FILE]

    continuous adjoint    da/dt = -a^T df/dz integrated backwards beside z (torchdiffeq's odeint_adjoint)
    back-propagation      through the solver's steps (torchdiffeq's odeint)
    discrete adjoint      the fused engine's, with the stages kept, or computed again from the knots
    finite differences    central ones of the fused engine's loss, in float64

Errors are of the whole gradient of a quadratic loss at z(T), in float64: "error" relative to a reference of very
small steps, "of the loss computed" relative to the finite differences of the loss that the same steps compute
(the classic rk4's and, for the engines of torchdiffeq, its 3/8 rule's): what an optimiser would notice.

Memory is the highest sum of bytes that torch's allocator had handed out at once in one solve and its backward
pass, less what was there before (torch.profiler's record of every allocation), in float32. "dopri5" takes the
steps that its tolerance asks for between two knots; fixed steps go from knot to knot, so that the states at the
knots, which are the answer, grow with them in any case.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torchdiffeq
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

import latentode
from benchmarks.timing import show
from latentode import MLPField, Solver
from latentode.solve import integrate
from latentode.solve.fused import fused_solve

HORIZON = 2.0
N_SERIES, LATENT_DIM = 32, 4
SMALL, WIDE = (8,), (64, 64)  # of hidden units: few parameters for the differences, many for the memory
DIFFERENCE = 1e-5  # in float64 the central difference then errs by about 1e-10

FIXED = {
    "discrete adjoint": {"engine": "fused"},
    "back-propagation": {"engine": "torchdiffeq", "gradient": "backprop"},
    "continuous adjoint": {"engine": "torchdiffeq", "gradient": "adjoint"},
}


def problem(hidden: Sequence[int], dtype: torch.dtype) -> tuple[MLPField, Tensor]:
    """A random field, steep enough to turn its trajectories, and initial states."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        field = MLPField(LATENT_DIM, hidden)
        with torch.no_grad():
            for weight in field.mlp.weights:
                weight.mul_(3)
        z0 = torch.randn(N_SERIES, LATENT_DIM)
    return field.to(dtype), z0.to(dtype).requires_grad_()


def solved(field: MLPField, z0: Tensor, solver: Solver, n_knots: int, store_stages: bool | None) -> Tensor:
    """States at all knots of the horizon."""
    if store_stages is None:
        return integrate(field, z0, spacing=solver.spacing, n_steps=n_knots, solver=solver)[0]
    layers = field.mlp.weights, field.mlp.biases
    return fused_solve(
        *layers, z0, spacing=solver.spacing, n_steps=n_knots, method=solver.method, store_stages=store_stages
    )[0]


def loss(states: Tensor) -> Tensor:
    weights = torch.arange(1, LATENT_DIM + 1, dtype=states.dtype)
    return (states[-1] + 0.5 * weights * states[-1].square()).sum()


def gradient(solver: Solver, n_knots: int, store_stages: bool | None = None) -> Tensor:
    """Of the loss to z0 and the parameters, as one vector."""
    field, z0 = problem(SMALL, torch.float64)
    leaves = [z0, *field.parameters()]
    found = torch.autograd.grad(loss(solved(field, z0, solver, n_knots, store_stages)), leaves)
    return torch.cat([each.flatten() for each in found])


@torch.no_grad()
def differences(solver: Solver, n_knots: int) -> Tensor:
    """The same by central differences, one entry after another."""
    field, z0 = problem(SMALL, torch.float64)
    found = []
    for leaf in (z0, *field.parameters()):
        flat = leaf.view(-1)
        for place in range(len(flat)):
            kept, ends = flat[place].clone(), []
            for sign in (1, -1):
                flat[place] = kept + sign * DIFFERENCE
                ends.append(loss(solved(field, z0, solver, n_knots, None)))
            flat[place] = kept
            found.append((ends[0] - ends[1]) / (2 * DIFFERENCE))
    return torch.stack(found)


def errors(step_counts: Sequence[int]) -> list[dict]:
    """Gradient errors of rk4 by number of steps and way to the gradient."""
    truth = gradient(Solver(method="tsit5", spacing=HORIZON / 1024), 1024)

    def relative(found: Tensor, expected: Tensor) -> float:
        return float((found - expected).norm() / expected.norm())

    table = []
    for n in step_counts:
        solvers = {name: Solver(spacing=HORIZON / n, **settings) for name, settings in FIXED.items()}
        by_hand = differences(solvers["discrete adjoint"], n)
        # torchdiffeq's rk4 is another one: its own loss, of which back-propagation is the derivative.
        their_derivative = differences(solvers["back-propagation"], n)
        for name, solver in solvers.items():
            computed = by_hand if name == "discrete adjoint" else their_derivative
            kinds = {", stages kept": True, ", computed again": False} if computed is by_hand else {"": None}
            for suffix, stored in kinds.items():
                found = gradient(solver, n, stored)
                row = {"steps": n, "gradient": name + suffix, "error": relative(found, truth)}
                table.append({**row, "error_of_the_loss_computed": relative(found, computed)})
        table.append({"steps": n, "gradient": "finite differences", "error": relative(by_hand, truth)})
    return table


@dataclass(frozen=True)
class Peak:
    """Bytes at the height of a solve and its backward pass, and what there is to compare them with.

    state_bytes are those of all series' states at one time, hidden_bytes those of all hidden units at one
    evaluation of the field; n_steps were taken forwards, rejected ones included.
    """

    peak: int
    n_steps: int
    state_bytes: int
    hidden_bytes: int


def peak_bytes(solver: Solver, n_knots: int, store_stages: bool | None = None) -> Peak:
    """One solve over the horizon, in n_knots intervals, and its backward pass."""
    field, z0 = problem(WIDE, torch.float32)
    solver = replace(solver, spacing=HORIZON / n_knots)
    n_steps = n_knots
    if solver.is_adaptive:
        counted = []
        handle = field.register_forward_pre_hook(lambda *_: counted.append(1))
        with torch.no_grad():
            solved(field, z0, solver, n_knots, store_stages)
        handle.remove()
        # dopri5 evaluates twice to choose its first step and six times a step; `integrate` once for the slopes.
        n_steps = (len(counted) - 3) // 6
    for parameter in (z0, *field.parameters()):
        parameter.grad = torch.zeros_like(parameter)
    with _quiet_stderr(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        loss(solved(field, z0, solver, n_knots, store_stages)).backward()
    return Peak(
        peak=_peak_of(record),
        n_steps=n_steps,
        state_bytes=z0.numel() * z0.element_size(),
        hidden_bytes=sum(WIDE) * N_SERIES * z0.element_size(),
    )


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Without the lines that the profiler's native part writes at every start and stop."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _peak_of(record: profile) -> int:
    """The highest running sum of the allocations in the profiler's trace, a release counting as negative."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        record.export_chrome_trace(str(path))
        trace = json.loads(path.read_text())["traceEvents"]
    moves = sorted((event["ts"], event["args"]["Bytes"]) for event in trace if event["name"] == "[memory]")
    now = highest = 0
    for _, moved in moves:
        now += moved
        highest = max(highest, now)
    return highest


def memory(step_counts: Sequence[int], tolerances: Sequence[float]) -> list[dict]:
    """Peaks by number of steps and way to the gradient, a kilobyte being 1024 bytes."""
    table = []
    for gradient_, name in (("adjoint", "continuous adjoint"), ("backprop", "back-propagation")):
        for tolerance in tolerances:
            solver = Solver(method="dopri5", gradient=gradient_, rtol=tolerance, atol=tolerance)
            peak = peak_bytes(solver, n_knots=1)
            table.append({"gradient": f"{name}, dopri5", "steps": peak.n_steps, "kib": peak.peak / 1024})
    for name, settings in FIXED.items():
        kinds: dict[str, bool | None] = {"": None}
        if name == "discrete adjoint":
            kinds = {", stages kept": True, ", computed again": False}
        for suffix, stored in kinds.items():
            for n in step_counts:
                peak = peak_bytes(Solver(**settings), n, stored)
                row = {"gradient": f"{name}, rk4{suffix}", "steps": n, "kib": peak.peak / 1024}
                table.append(row)
    return table


def by_steps(table: Sequence[dict]) -> list[dict]:
    """A line a gradient: kilobytes at the fewest and the most steps, and their growth a step."""
    lines = []
    for name in dict.fromkeys(row["gradient"] for row in table):
        rows = [row for row in table if row["gradient"] == name]
        few, many = rows[0], rows[-1]
        growth = (many["kib"] - few["kib"]) / (many["steps"] - few["steps"])
        line = {"gradient": name, "steps": f"{few['steps']}..{many['steps']}", "kib_at_fewest": few["kib"]}
        lines.append({**line, "kib_at_most": many["kib"], "kib_a_step": growth})
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smoke run: fewer points")
    parser.add_argument("--out", type=Path, help="where the figures go (adjoint.json beside this file)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    counts = (16, 32) if options.quick else (8, 16, 32, 64, 128)
    steps = (32, 128) if options.quick else (32, 64, 128, 256, 512)
    tolerances = (1e-3, 1e-8) if options.quick else (1e-3, 1e-5, 1e-7, 1e-9)
    report = {
        "command": "python -m benchmarks.adjoint" + (" --quick" if options.quick else ""),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchdiffeq": torchdiffeq.__version__,
            "latentode": latentode.__version__,
        },
        "problem": {
            "series": N_SERIES,
            "latent_dim": LATENT_DIM,
            "field_for_errors": SMALL,
            "field_for_memory": WIDE,
            "horizon": HORIZON,
        },
    }
    report["errors"] = errors(counts)
    show("rk4: relative error of the gradient", report["errors"])
    report["memory"] = memory(steps, tolerances)
    show("Peak memory, KiB", report["memory"])
    show("Growth of peak memory", by_steps(report["memory"]))
    out = options.out or (None if options.quick else Path(__file__).with_suffix(".json"))
    if out:
        out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
