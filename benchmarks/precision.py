"""Precision traded for speed after training, and work that follows the input.

    python -m benchmarks.precision [--quick] [--out FILE] [--figure FILE]

A latent ODE (float64, no residual process) is fitted to noisy oscillations, each at its own angular frequency between
0.5 and 4 radians a unit of time, seen at 40 times in 10 units: calm series and restless ones. Then nothing is fitted
again.

- `model.set_solver(...)` solves new series' trajectories with every method at several precisions: steps between
  knots for the fixed ones, tolerances for dopri5. The error is the root mean square difference to a reference (tsit5
  on 1024 knots) at each series' own observation times, in standard deviations of the latent state; it holds what
  reading between knots adds. Evaluations are those of the vector field, forwards; one evaluation is of all series.
- dopri5 at one tolerance solves the same series one at a time, because series that are solved together share
  their steps. Its evaluations are set beside the frequency that the series was made with, and beside how sharply
  its latent trajectory turns (the root mean square of d2z/dt2, in standard deviations of the latent state).
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from torch import Tensor

import latentode
from benchmarks.timing import show
from latentode import LatentODE, LatentODEModel
from latentode.datasets import make_oscillator
from latentode.solve.tableaus import TABLEAUS

FIXED = ("euler", "midpoint", "rk4", "tsit5")
REFERENCE_KNOTS = 1024
# dopri5's answers are read between its steps on so many knots, whatever its tolerance.
ADAPTIVE_KNOTS = 256
ONE_BY_ONE_RTOL = 1e-6
# Okabe and Ito's colours, told apart by all eyes.
COLOURS = {
    "euler": "#999999",
    "midpoint": "#E69F00",
    "rk4": "#0072B2",
    "tsit5": "#009E73",
    "dopri5": "#D55E00",
}


def oscillations(n_series: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Series and their frequencies, evenly spread on a logarithmic scale."""
    frequencies = np.geomspace(0.5, 4.0, n_series)
    frames = [
        make_oscillator(1, 40, frequency=w, damping=0.05, noise=0.05, seed=n_series * seed + i)[0].assign(
            series=i
        )
        for i, w in enumerate(frequencies)
    ]
    return pd.concat(frames, ignore_index=True), frequencies


def fitted(n_series: int, n_steps: int) -> LatentODE:
    model = LatentODE(
        id_col="series",
        time_col="time",
        value_cols=["position", "velocity"],
        residual=None,
        latent_dim=4,
        field_units=(32, 32),
        max_iter=n_steps,
        dtype="float64",
        random_state=0,
    )
    return model.fit(oscillations(n_series, seed=1)[0])


class Question:
    """New series, standing at the posterior mean of their z0."""

    def __init__(self, model: LatentODE, n_series: int) -> None:
        self.model = model
        frame, self.frequencies = oscillations(n_series, seed=2)
        series = frame.groupby("series", sort=False)
        # A row a series, as many times in each; clocks in model time, from where z0 stands.
        elapsed = frame["time"] - series["time"].transform("first")
        times = elapsed.to_numpy().reshape(n_series, -1) / model.scaling_.time_unit
        encoded = model.encode(frame).loc[series["time"].first().index]
        self.z0 = torch.from_numpy(encoded.filter(regex="^z0_[0-9]+$").to_numpy().copy()).unsqueeze(0)
        self.times = torch.from_numpy(times)
        self.span = float(self.times.max())

    def solved(self, **settings: object) -> tuple[Tensor, int]:
        """States at all series' own times, and how often the field was evaluated on the way."""
        self.model.set_solver(**settings)
        return self.counted(slice(None))

    @torch.no_grad()
    def counted(self, series: slice) -> tuple[Tensor, int]:
        module: LatentODEModel = self.model.module_
        calls: list[int] = []
        handle = module.field.register_forward_pre_hook(lambda *_: calls.append(1))
        trajectory = module.solve(self.z0[:, series], self.times[series])
        handle.remove()
        if not calls:  # the fused engine reads the field's weights: a step's stages, and the slope at the end
            n_steps = len(trajectory.states) - 1
            calls = [1] * (n_steps * TABLEAUS[module.solver.method].n_stages + 1)
        return trajectory.at(self.times[series])[0], len(calls)


def precision(question: Question, knots: Sequence[int], tolerances: Sequence[float]) -> list[dict]:
    """Error by method and number of evaluations."""
    reference, _ = question.solved(
        method="tsit5", engine="fused", knot_spacing=question.span / REFERENCE_KNOTS
    )
    scale = reference.std()
    rows = []

    def add(method: str, setting: str, **settings: object) -> None:
        z, n_evaluations = question.solved(method=method, **settings)
        error = float((z - reference).square().mean().sqrt() / scale)
        rows.append({"method": method, "setting": setting, "evaluations": n_evaluations, "error": error})

    for method in FIXED:
        for n in knots:
            add(method, f"{n} steps", engine="fused", knot_spacing=question.span / n)
    for rtol in tolerances:
        spacing = question.span / ADAPTIVE_KNOTS
        add("dopri5", f"rtol {rtol:g}", engine="torchdiffeq", knot_spacing=spacing, rtol=rtol, atol=rtol / 10)
    return rows


def effort(question: Question) -> list[dict]:
    """dopri5's evaluations for each series alone, beside what there is to follow."""
    question.model.set_solver(method="tsit5", engine="fused", knot_spacing=question.span / REFERENCE_KNOTS)
    with torch.no_grad():
        trajectory = question.model.module_.solve(question.z0, question.times)
    accelerations = trajectory.slopes.diff(dim=0) / trajectory.spacing
    turning = accelerations.square().sum(-1).mean(0).sqrt()
    turning = (turning / trajectory.states.std()).tolist()
    question.model.set_solver(
        method="dopri5",
        engine="torchdiffeq",
        knot_spacing=question.span / ADAPTIVE_KNOTS,
        rtol=ONE_BY_ONE_RTOL,
        atol=ONE_BY_ONE_RTOL / 10,
    )
    counts = [question.counted(slice(i, i + 1))[1] for i in range(len(question.frequencies))]
    return [
        {"evaluations": count, "turning": turn, "frequency": float(frequency)}
        for count, turn, frequency in zip(counts, turning, question.frequencies, strict=True)
    ]


def by_tercile(rows: Sequence[dict], measure: str) -> list[dict]:
    """Evaluations of the easiest, the middle and the hardest third."""
    order = sorted(rows, key=lambda row: row[measure])
    lines = []
    for name, third in zip(
        ("lowest", "middle", "highest"), np.array_split(np.arange(len(order)), 3), strict=True
    ):
        counts = [order[i]["evaluations"] for i in third]
        spread = {"fewest": min(counts), "mean": float(np.mean(counts)), "most": max(counts)}
        lines.append({"third by " + measure: name, "series": len(counts), **spread})
    return lines


def draw(rows: Sequence[dict], efforts: Sequence[dict], path: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for method, colour in COLOURS.items():
        points = [(row["evaluations"], row["error"]) for row in rows if row["method"] == method]
        left.loglog(*zip(*points, strict=True), "o-", color=colour, markersize=4, label=method)
    left.set(xlabel="evaluations of the vector field", ylabel="error of z / its standard deviation")
    left.set_title("the same weights, solved otherwise")
    left.legend(frameon=False)
    right.plot(
        [row["frequency"] for row in efforts],
        [row["evaluations"] for row in efforts],
        "o",
        color=COLOURS["dopri5"],
        markersize=4,
        alpha=0.7,
    )
    right.set(xlabel="frequency of the series", ylabel="evaluations of the vector field")
    right.set_title(f"dopri5 at rtol {ONE_BY_ONE_RTOL:g}, a series at a time")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smoke run: few series, little training")
    parser.add_argument("--out", type=Path, help="where the figures go (precision.json beside this file)")
    parser.add_argument("--figure", type=Path, help="where the picture goes (docs/precision.png)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    n_series, n_new, n_steps = (60, 15, 200) if options.quick else (150, 90, 600)
    knots = (16, 64) if options.quick else (8, 16, 32, 64, 128, 256)
    tolerances = (1e-3, 1e-6) if options.quick else (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)

    model = fitted(n_series, n_steps)
    question = Question(model, n_new)
    rows = precision(question, knots, tolerances)
    show("Error of the trajectories against evaluations of the field", rows)
    efforts = effort(question)
    thirds, correlations = {}, {}
    for measure in ("frequency", "turning"):
        counts, measured = ([row[key] for row in efforts] for key in ("evaluations", measure))
        correlations[measure] = float(spearmanr(counts, measured).statistic)
        thirds[measure] = by_tercile(efforts, measure)
        title = f"dopri5, a series at a time: evaluations, rank correlation {correlations[measure]:.2f} with {measure}"
        show(title, thirds[measure])
    report = {
        "command": "python -m benchmarks.precision" + (" --quick" if options.quick else ""),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "latentode": latentode.__version__,
        },
        "fit": {"series": n_series, "max_iter": n_steps, "new_series": n_new, "span": question.span},
        "precision": rows,
        "effort": {
            "rtol": ONE_BY_ONE_RTOL,
            "rank_correlation": correlations,
            "thirds": thirds,
            "series": efforts,
        },
    }
    out = options.out or (None if options.quick else Path(__file__).with_suffix(".json"))
    if out:
        out.write_text(json.dumps(report, indent=1) + "\n")
    figure = options.figure or (
        None if options.quick else Path(__file__).parents[1] / "docs" / "precision.png"
    )
    if figure:
        draw(rows, efforts, figure)


if __name__ == "__main__":
    main()
