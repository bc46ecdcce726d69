"""What one training step costs, beside the same step done by others, and how wrong its gradient is.

    python -m benchmarks.speed [--quick] [--union] [--out FILE]

A step is what training repeats on a batch: encoder, solve, likelihood, KL, backward pass and AdamW. Times are
medians of CPU time on one thread, over rounds in which all rows of a table take turns, so that what else the
machine does falls on all of them. The rows of a workload share weights, batch and draws of z0; each stands
beside the relative error of its whole gradient against a float64 solve with an eighth of the knot spacing.
The row "arithmetic alone" does the step's matrix products and activations only, see `benchmarks.arithmetic`.

diffrax and torchode run in environments of their own, which `make rivals` makes; a rival whose environment is
missing is left out. Beside a rival whose tolerance is loose stands our step on the fewest knots that make its
gradient at least as exact: the row "fused" has the knots that training chose, which are more. Ratios to rivals stand
beside what this project set out to reach.

--quick is a smoke run: batches of 100, less training, fewer points and rounds, no rivals, nothing written but to
--out.
--union adds the solve over the union of all times, half a minute and more for a single step, and our own step with
the likelihood taken series by series and channel by channel.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torchdiffeq
from torch import Tensor

import latentode
from benchmarks.arithmetic import Arithmetic
from benchmarks.solvers.client import RIVALS, Rival, environment
from benchmarks.steps import Step, UnionGridModel, reference_gradient, with_parts
from benchmarks.timing import Timed, interleaved, show, summary
from benchmarks.workloads import (
    WORKLOADS,
    make_series,
    oscillations,
    trained_model,
)
from latentode import GaussMarkov, LatentODEModel, SeriesBatch, SeriesCollection

# Steps of training before anything is measured: a fresh field is trivially easy to solve.
WARM_UP_STEPS, QUICK_WARM_UP_STEPS = 300, 100

UNION, ARITHMETIC = "union grid, packed GRU", "arithmetic alone"
LOOPED = "likelihood by a loop"
COARSER, FINER = 4 / 3, 2 / 3  # of the knot spacing that training settled on
OURS = "fused"  # the start of our rows' names


@dataclass(frozen=True)
class Goal:
    """How many times as long as our step a row should take, at least (or at most), by workload.

    With `as_exact` ours is the fastest row whose gradient is at least as exact as the rival's; where none is, the
    most exact.
    """

    row: str
    times: tuple[float, float, float]
    at_least: bool = True
    as_exact: bool = False


GOALS = (
    Goal("torchode 1e-6", (8, 4, 7)),
    Goal("torchode 1e-6, packed GRU", (8, 4, 7)),
    Goal("diffrax 1e-4", (1.5, 2.5, 2.5), as_exact=True),
    Goal("diffrax 1e-4, one solve", (1.5, 2.5, 2.5), as_exact=True),
    Goal(UNION, (1000, 40, 400)),
    Goal(ARITHMETIC, (6, 2.3, 2.8), at_least=False),
)


def first_series(data: SeriesCollection, n_series: int) -> SeriesBatch:
    return data.batch(range(n_series)).compact()


def relative_error(step: Timed, truth: Tensor) -> float:
    """Of the gradient of the step done last."""
    return float((step.gradient() - truth).norm() / truth.norm())


def on_fewest_knots(model: LatentODEModel, batch: SeriesBatch, truth: Tensor, error: float) -> Step:
    """Our step at the first spacing of 1/4, 1/5, 1/6 and so on whose gradient errs by no more."""
    for n in range(4, 65):
        step = Step(with_parts(model, spacing=1 / n), batch)
        step()
        if relative_error(step, truth) <= error:
            break
    return step


def engines(
    name: str,
    model: LatentODEModel,
    sizes: Sequence[int],
    rounds: int,
    *,
    rivals: Sequence[Rival],
    union: bool,
) -> list[dict]:
    """The step by engine and rival, at several batch sizes."""
    workload = WORKLOADS[name]
    data = make_series(workload, max(sizes), seed=2)
    table = []
    for size in sizes:
        batch = first_series(data, size)
        truth = reference_gradient(model, batch)
        spacing = model.solver.spacing
        models = {
            "fused, coarser": with_parts(model, spacing=COARSER * spacing),
            "fused": with_parts(model),
            "fused, finer": with_parts(model, spacing=FINER * spacing),
            # torchdiffeq has no tsit5; its rk4 takes twice the steps to be as exact.
            "torchdiffeq": with_parts(model, engine="torchdiffeq", method="rk4", spacing=spacing / 2),
            "torchdiffeq, packed GRU": with_parts(
                model, packed=True, engine="torchdiffeq", method="rk4", spacing=spacing / 2
            ),
        }
        steps: dict[str, Timed] = {row: Step(each, batch) for row, each in models.items()}
        steps[ARITHMETIC] = Arithmetic(model, batch)
        for rival in rivals:
            steps |= rival.open(name, model, batch)
        for row in [goal.row for goal in GOALS if goal.as_exact and goal.row in steps]:
            steps[row].timed()
            error = relative_error(steps[row], truth)
            steps[f"{OURS}, as exact as {row}"] = on_fewest_knots(model, batch, truth, error)
        spent = interleaved(steps, rounds if size <= 100 else max(3, rounds // 3))
        if union and size == min(sizes):
            steps[UNION] = Step(with_parts(model, packed=True, kind=UnionGridModel), batch)
            spent[UNION] = summary([steps[UNION].timed()])  # once: it is that slow
            # What else a research script does: beside ours this tells what of its time is that.
            steps[LOOPED] = Step(with_parts(model, looped=True), batch)
            spent |= interleaved({LOOPED: steps[LOOPED]}, 3)
        for row, step in steps.items():
            line = {"series": size, "row": row, **spent[row]}
            if row != ARITHMETIC:
                line["gradient_error"] = relative_error(step, truth)
            table.append(line)
    return table


def ratios(name: str, table: Sequence[Mapping]) -> list[dict]:
    """What was reached of the goals at each batch size: times of rivals over our own."""
    sizes = dict.fromkeys(row["series"] for row in table)
    return [one for size in sizes for one in _ratios(name, [row for row in table if row["series"] == size])]


def _ratios(name: str, table: Sequence[Mapping]) -> list[dict]:
    rows = {row["row"]: row for row in table}
    reached = []
    for goal in (goal for goal in GOALS if goal.row in rows):
        rival, ours = rows[goal.row], rows[OURS]
        if goal.as_exact:
            candidates = [row for each, row in rows.items() if each.startswith(OURS)]
            exact = [row for row in candidates if row["gradient_error"] <= rival["gradient_error"]]
            ours = (
                min(exact, key=lambda row: row["ms"])
                if exact
                else min(candidates, key=lambda row: row["gradient_error"])
            )
        ratio = rival["ms"] / ours["ms"] if goal.at_least else ours["ms"] / rival["ms"]
        bound = goal.times[list(WORKLOADS).index(name)]
        met = ratio >= bound if goal.at_least else ratio <= bound
        if goal.as_exact:
            met = met and ours["gradient_error"] <= rival["gradient_error"]
        reached.append(
            {
                "workload": name,
                "series": table[0]["series"],
                "of": goal.row if goal.at_least else "ours",
                "over": ours["row"] if goal.at_least else goal.row,
                "ratio": ratio,
                "goal": f"{'at least' if goal.at_least else 'at most'} {bound:g}",
                "met": "yes" if met else "MISSED",
                "error_ours": ours["gradient_error"],
                "error_theirs": rival.get("gradient_error"),
            }
        )
    return reached


def distinct_times(model: LatentODEModel, rounds: int) -> list[dict]:
    """The same step where 100 series of 50 rows share one grid of times, ten, or none."""
    generator = torch.Generator().manual_seed(3)
    n_series, n_rows = 100, 50
    steps, counts = {}, {}
    for n_grids in (1, 10, n_series):
        grids = torch.rand(n_grids, n_rows, generator=generator).sort(1).values
        grids[:, 0], grids[:, -1] = 0, 1
        times = grids[torch.arange(n_series) % n_grids]
        owner = torch.arange(n_series).repeat_interleave(n_rows)
        values = oscillations(times.flatten(), owner, 2, generator).view(n_series, n_rows, 2)
        batch = SeriesBatch(times, values, torch.ones_like(values, dtype=torch.bool))
        steps[n_grids], counts[n_grids] = Step(with_parts(model), batch), len(times.unique())
    spent = interleaved(steps, rounds)
    return [{"grids": n, "distinct_times": counts[n], **spent[n]} for n in steps]


def residual_share(models: Mapping[str, LatentODEModel], rounds: int) -> list[dict]:
    """The step with a Matern-3/2 residual process beside the one without, to fill gaps and to foretell."""
    table = []
    for name, model in models.items():
        workload = WORKLOADS[name]
        batch = first_series(make_series(workload, 100, seed=2), 100)
        process = GaussMarkov(workload.n_channels, "matern32")
        parts, kinds = {"without": None, "with": process}, {"jointly": False, "one by one": True}
        steps = {
            (learns, part): Step(with_parts(model, residual=residual), batch, forecasts=forecasts)
            for learns, forecasts in kinds.items()
            for part, residual in parts.items()
        }
        spent = interleaved(steps, rounds)
        for learns in kinds:
            without, whole = (spent[learns, part]["ms"] for part in parts)
            table.append(
                {
                    "workload": name,
                    "learns": learns,
                    "ms_without": without,
                    "ms_with": whole,
                    "share": 1 - without / whole,
                }
            )
    return table


def growth(model: LatentODEModel, rounds: int, *, quick: bool) -> dict[str, list[dict]]:
    """The W1 step against the number of series, and with 100 of them against observations and length of each."""
    workload = WORKLOADS["W1"]
    n_series = (10, 100, 1000) if quick else (10, 30, 100, 300, 1000, 3000)
    n_rows = (10, 50, 200) if quick else (10, 25, 50, 100, 200, 400)
    horizons = (1, 8) if quick else (1, 2, 4, 8)
    data = make_series(workload, max(n_series), seed=2)
    wide = {n: Step(with_parts(model), first_series(data, n)) for n in n_series}
    long = {
        n: Step(with_parts(model), first_series(make_series(replace(workload, n_rows=n), 100, seed=2), 100))
        for n in n_rows
    }
    batch = first_series(data, 100)
    far = {n: Step(with_parts(model), replace(batch, times=n * batch.times)) for n in horizons}
    by_series, by_rows, by_horizon = (interleaved(steps, rounds) for steps in (wide, long, far))
    return {
        "series": [{"series": n, **by_series[n]} for n in wide],
        "observations": [{"observations": n, **by_rows[n]} for n in long],
        "horizon": [{"horizon": n, **by_horizon[n]} for n in far],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smoke run")
    parser.add_argument("--union", action="store_true", help="also solve over the union of times (slow)")
    parser.add_argument("--out", type=Path, help="where the figures go (speed.json beside this file)")
    options = parser.parse_args(arguments)
    if options.quick and options.union:
        parser.error("--union takes minutes; --quick is the smoke run")
    torch.set_num_threads(1)
    rounds = 9 if options.quick else 15
    n_steps = QUICK_WARM_UP_STEPS if options.quick else WARM_UP_STEPS
    flags = "".join(f" --{name}" for name in ("quick", "union") if getattr(options, name))
    report: dict = {
        "command": "python -m benchmarks.speed" + flags,
        "settings": {"threads": 1, "rounds": rounds, "warm_up_steps": n_steps},
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchdiffeq": torchdiffeq.__version__,
            "latentode": latentode.__version__,
        },
        "workloads": {},
    }
    missing = [name for name in RIVALS if not environment(name).exists()]
    if missing and not options.quick:
        print(f"left out: {', '.join(missing)}; `make rivals` makes their environments")
    models = {}
    with ExitStack() as stack:
        absent = RIVALS if options.quick else missing
        rivals = [stack.enter_context(Rival(name)) for name in RIVALS if name not in absent]
        for name, workload in WORKLOADS.items():
            model = models[name] = trained_model(workload, n_steps)
            sizes = (100,) if options.quick else (100, 1000)
            table = engines(name, model, sizes, rounds, rivals=rivals, union=options.union)
            spacing, reached = model.solver.spacing, ratios(name, table)
            report["workloads"][name] = {
                **asdict(workload),
                "knot_spacing": spacing,
                "rows": table,
                "goals": reached,
            }
            show(f"{name}, knots every 1/{1 / spacing:g}: CPU ms a step", table)
            show(f"{name}: times as long", reached)
        for rival in rivals:
            report["versions"] |= {f"{rival.name}: {key}": each for key, each in rival.versions.items()}
    report["distinct_times"] = distinct_times(models["W1"], rounds)
    show("100 series of 50 rows: CPU ms a step by distinct times", report["distinct_times"])
    report["residual"] = residual_share(models, rounds)
    show("Residual process, 100 series: CPU ms a step", report["residual"])
    report["growth"] = growth(models["W1"], max(5, rounds // 3), quick=options.quick)
    for table in report["growth"].values():
        show("Growth on W1: CPU ms a step", table)

    out = options.out or (None if options.quick else Path(__file__).with_name("speed.json"))
    if out:
        out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
