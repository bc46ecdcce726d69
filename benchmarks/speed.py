"""What one training step costs, beside the same step done with stock parts, and how wrong its gradient is.

    python -m benchmarks.speed [--quick] [--union] [--out FILE]

A step is what training repeats on a batch: encoder, solve, likelihood, KL, backward pass and AdamW. Times are
medians of CPU time on one thread, over rounds in which all rows of a table take turns, so that what else the
machine does falls on all of them. The rows of a workload share weights, batch and draws of z0; each stands
beside the relative error of its whole gradient against a float64 solve with an eighth of the knot spacing.

--quick is a smoke run: batches of 100, less training, fewer points and rounds, nothing written but to --out.
--union adds the solve over the union of all times, half a minute and more for a single step.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
import torchdiffeq
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import latentode
from benchmarks.workloads import (
    WORKLOADS,
    Workload,
    make_series,
    oscillations,
    trained_model,
)
from latentode import (
    GaussMarkov,
    LatentODEModel,
    SeriesBatch,
    SeriesCollection,
    elbo,
)

# Steps of training before anything is measured: a fresh field is trivially easy to solve.
WARM_UP_STEPS, QUICK_WARM_UP_STEPS = 300, 100
# Knots of the reference for one of the rows': a method of order 4 errs 1/4096 as much.
REFERENCE_REFINEMENT = 8
NOISE_SEED = 7  # of the draws of z0, the same in all rows and in the reference

# The method of Rubanova et al. 2019, at tolerances that bring its gradient to the other rows' precision.
# Looser ones, 1e-3 and 1e-4, were no faster on W2, and its gradient was 9 % off.
UNION_SETTINGS = {"method": "dopri5", "rtol": 1e-5, "atol": 1e-6}


class PackedGRU(nn.Module):
    """torch's GRU over packed sequences, in the place of the package's own and with its weights."""

    def __init__(self, own: nn.Module) -> None:
        super().__init__()
        n_units, n_inputs = own.weight_hh.shape[1], own.weight_ih.shape[1]
        self.gru = nn.GRU(n_inputs, n_units, batch_first=True)
        self.gru.load_state_dict({f"{name}_l0": weight for name, weight in own.state_dict().items()})

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return self.gru(packed)[1][0]


class UnionGridModel(LatentODEModel):
    """Solves over the sorted union of all times in the batch, as Rubanova et al. 2019 do."""

    def mean_path(self, z0: Tensor, times: Tensor) -> Tensor:
        S, B, L = z0.shape
        union, place = torch.unique(times, return_inverse=True)
        states = torchdiffeq.odeint_adjoint(self.field, z0.flatten(0, 1), union, **UNION_SETTINGS)
        z = states.view(len(union), S, B, L)[place, :, torch.arange(B).unsqueeze(1)]
        return self.likelihood.mean(z.permute(2, 0, 1, 3))


def with_parts(
    model: LatentODEModel,
    *,
    packed: bool = False,
    residual: nn.Module | None = None,
    kind: type[LatentODEModel] = LatentODEModel,
    **solver: object,
) -> LatentODEModel:
    """A copy of the model with some parts exchanged and the weights kept."""
    model = copy.deepcopy(model)
    if packed:
        model.encoder.gru = PackedGRU(model.encoder.gru)
    return kind(
        model.encoder,
        model.field,
        model.likelihood,
        residual=residual,
        solver=replace(model.solver, **solver),
    )


def loss_of(bound: latentode.Bound, batch: SeriesBatch) -> Tensor:
    return (bound.kl - bound.log_likelihood).sum() / batch.mask.sum()


def gradient(model: nn.Module) -> Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).double()


class Step:
    """One training step, again and again from the same weights: the learning rate is 0."""

    def __init__(self, model: LatentODEModel, batch: SeriesBatch) -> None:
        self.model, self.batch = model, batch
        self.optimiser = torch.optim.AdamW(model.parameters(), lr=0.0)
        self.generator = torch.Generator()

    def __call__(self) -> None:
        self.generator.manual_seed(NOISE_SEED)
        bound = elbo(self.model, self.batch, self.batch, generator=self.generator)
        self.optimiser.zero_grad()
        loss_of(bound, self.batch).backward()
        self.optimiser.step()


def reference_gradient(model: LatentODEModel, batch: SeriesBatch) -> Tensor:
    """The bound written down once more, in float64, on a fine grid, with stock parts and the rows' z0."""
    model = with_parts(model, packed=True, engine="torchdiffeq")
    model.solver = replace(model.solver, spacing=model.solver.spacing / REFERENCE_REFINEMENT)
    model.double()
    batch = SeriesBatch(batch.times.double(), batch.values.double(), batch.mask)
    posterior = model.posterior(batch)
    shape = (1, *posterior.mean.shape)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(NOISE_SEED), dtype=torch.float32)
    z0 = posterior.mean + posterior.stddev * noise
    residuals = model.residuals(z0, batch.shift(model.reference(batch)))
    log_likelihood = model.likelihood.log_prob(residuals, batch.mask).sum((-1, -2)).mean(0)
    prior = torch.distributions.Normal(0.0, 1.0)
    kl = torch.distributions.kl_divergence(posterior, prior).sum(-1)
    loss_of(latentode.Bound(log_likelihood, kl, log_likelihood), batch).backward()
    return gradient(model)


def cpu_ms(step: Callable[[], None]) -> tuple[float, float]:
    """CPU time of one step, and the part of it that the system spent, mostly on fresh memory."""
    system = resource.getrusage(resource.RUSAGE_SELF).ru_stime
    started = time.process_time()
    step()
    ended = time.process_time()
    system = resource.getrusage(resource.RUSAGE_SELF).ru_stime - system
    return 1e3 * (ended - started), 1e3 * system


def summary(spent: Sequence[tuple[float, float]]) -> dict[str, float]:
    whole, system = zip(*spent, strict=True)
    return {
        "ms": statistics.median(whole),
        "ms_min": min(whole),
        "ms_max": max(whole),
        "ms_system": statistics.median(system),
    }


def interleaved(steps: Mapping[object, Callable[[], None]], rounds: int) -> dict[object, dict[str, float]]:
    """CPU time of each step, all of them in turn, after one that is not counted."""
    for step in steps.values():
        step()
    spent: dict[object, list[tuple[float, float]]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            spent[name].append(cpu_ms(step))
    return {name: summary(each) for name, each in spent.items()}


def first_series(data: SeriesCollection, n_series: int) -> SeriesBatch:
    return data.batch(range(n_series)).compact()


def engines(
    workload: Workload, model: LatentODEModel, sizes: Sequence[int], rounds: int, *, union: bool
) -> list[dict]:
    """The step by engine, at several batch sizes."""
    data = make_series(workload, max(sizes), seed=2)
    table = []
    for size in sizes:
        batch = first_series(data, size)
        truth = reference_gradient(model, batch)
        models = {
            "fused": with_parts(model),
            "torchdiffeq": with_parts(model, engine="torchdiffeq"),
            "torchdiffeq, packed GRU": with_parts(model, packed=True, engine="torchdiffeq"),
        }
        steps = {name: Step(each, batch) for name, each in models.items()}
        spent = interleaved(steps, rounds if size <= 100 else max(3, rounds // 3))
        if union and size == min(sizes):
            name = "union grid, packed GRU"
            steps[name] = Step(with_parts(model, packed=True, kind=UnionGridModel), batch)
            spent[name] = summary([cpu_ms(steps[name])])  # once: it is that slow
        for name, step in steps.items():
            error = float((gradient(step.model) - truth).norm() / truth.norm())
            table.append({"series": size, "row": name, **spent[name], "gradient_error": error})
    return table


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
    """The step with a Matern-3/2 residual process beside the one without."""
    table = []
    for name, model in models.items():
        workload = WORKLOADS[name]
        batch = first_series(make_series(workload, 100, seed=2), 100)
        process = GaussMarkov(workload.n_channels, "matern32")
        steps = {
            "without": Step(with_parts(model), batch),
            "with": Step(with_parts(model, residual=process), batch),
        }
        spent = interleaved(steps, rounds)
        without, whole = spent["without"]["ms"], spent["with"]["ms"]
        row = {"workload": name, "ms_without": without, "ms_with": whole, "share": 1 - without / whole}
        table.append(row)
    return table


def growth(model: LatentODEModel, rounds: int, *, quick: bool) -> dict[str, list[dict]]:
    """The W1 step against the number of series, and against the number of observations of each of 100."""
    workload = WORKLOADS["W1"]
    n_series = (10, 100, 1000) if quick else (10, 30, 100, 300, 1000, 3000)
    n_rows = (10, 50, 200) if quick else (10, 25, 50, 100, 200, 400)
    data = make_series(workload, max(n_series), seed=2)
    wide = {n: Step(with_parts(model), first_series(data, n)) for n in n_series}
    long = {
        n: Step(with_parts(model), first_series(make_series(replace(workload, n_rows=n), 100, seed=2), 100))
        for n in n_rows
    }
    by_series, by_rows = interleaved(wide, rounds), interleaved(long, rounds)
    return {
        "series": [{"series": n, **by_series[n]} for n in wide],
        "observations": [{"observations": n, **by_rows[n]} for n in long],
    }


def show(title: str, table: Sequence[Mapping[str, object]]) -> None:
    columns = list(dict.fromkeys(column for row in table for column in row))
    lines = [columns, *([_text(column, row.get(column)) for column in columns] for row in table)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    print(f"\n{title}")
    for line in lines:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def _text(column: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    if "error" in column:
        return f"{value:.1e}"
    return f"{value:.2f}" if column == "share" else f"{value:.1f}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smoke run")
    parser.add_argument("--union", action="store_true", help="also solve over the union of times (slow)")
    parser.add_argument("--out", type=Path, help="where the figures go (speed.json beside this file)")
    options = parser.parse_args(arguments)
    if options.quick and options.union:
        parser.error("--union takes minutes; --quick is the smoke run")
    torch.set_num_threads(1)
    rounds = 9 if options.quick else 21
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
    models = {}
    for name, workload in WORKLOADS.items():
        model = models[name] = trained_model(workload, n_steps)
        sizes = (100,) if options.quick else (100, 1000)
        table = engines(workload, model, sizes, rounds, union=options.union)
        spacing = model.solver.spacing
        report["workloads"][name] = {**asdict(workload), "knot_spacing": spacing, "rows": table}
        show(f"{name}, knots every 1/{1 / spacing:g}: CPU ms a step", table)
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
