"""The same answers on a GPU, without a synchronisation inside the solver's loop; skipped where there is none."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.steps import Step, with_parts
from benchmarks.workloads import WORKLOADS, make_series, new_model
from latentode import GaussMarkov, LatentODE, MLPField, Solver
from latentode.datasets import make_oscillator
from latentode.solve import solve

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture(scope="module")
def observed():
    return make_oscillator(n_series=24, seed=0)[0]


def make_model(**settings):
    return LatentODE(id_col="series", time_col="time", max_iter=30, random_state=0, **settings)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_solve_is_the_cpus(dtype):
    field = MLPField(4, (32, 32), bound=20.0).to(dtype)
    z0 = torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=dtype)
    found = {}
    for device in ("cpu", "cuda"):
        field.to(device).zero_grad()
        start = z0.to(device).requires_grad_()
        states = solve(field, start, -0.5, 1.0, Solver(spacing=1 / 16, engine="fused")).states
        states.square().sum().backward()
        found[device] = [
            states.detach().cpu(),
            start.grad.cpu(),
            *(p.grad.cpu().clone() for p in field.parameters()),
        ]
    tolerance = (
        1e-10 if dtype == torch.float64 else 2e-3
    )  # a GPU multiplies single precision by TF32 or in another order
    for one, other in zip(found["cpu"], found["cuda"], strict=True):
        assert (one - other).norm() <= tolerance * (1e-6 + one.norm())


def test_no_synchronisation_inside_the_solve():
    field = MLPField(4, (32, 32), bound=20.0).cuda()
    start = torch.randn(50, 4, device="cuda", requires_grad=True)
    solver = Solver(spacing=1 / 16, engine="fused")
    solve(field, start, 0.0, 1.0, solver).states.sum().backward()  # memory and kernels are set up
    torch.cuda.set_sync_debug_mode("error")
    try:
        solve(field, start, 0.0, 1.0, solver).states.sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def synchronisations(step):
    """How often one step waits for the GPU; the first two set up memory, kernels and coefficients."""
    step()
    step()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing CUDA operation" in str(each.message) for each in caught)


@pytest.mark.parametrize("residual", [False, True])
def test_a_training_step_waits_equally_often_however_much_it_computes(residual):
    # The host asks for the span of the times and the lengths of the series, and for nothing in a loop.
    waits = []
    for knots, n_rows in ((8, 50), (64, 50), (8, 200)):
        workload = replace(WORKLOADS["W1"], n_rows=n_rows)
        model = with_parts(
            new_model(workload), residual=GaussMarkov(2) if residual else None, spacing=1 / knots
        )
        batch = make_series(workload, 100, seed=0).batch(range(100)).to("cuda")
        waits.append(synchronisations(Step(model.cuda(), batch)))
    assert waits[1:] == waits[:1] * 2


def test_everything_moves_with_the_device(observed, tmp_path):
    model = make_model(device="cuda").fit(observed)
    assert all(tensor.is_cuda for tensor in model.module_.state_dict().values())
    times = [0.1, 0.9, 1.5]
    on_gpu = model.predict(observed, times=times, level=90)
    model.sample(observed, times=times, n_samples=2)
    model.encode(observed)
    model.score(observed)
    model.save(tmp_path / "m.latentode")
    on_cpu = LatentODE.load(tmp_path / "m.latentode").predict(observed, times=times, level=90)
    scale = observed[["position", "velocity"]].std().max()
    gap = (on_gpu.iloc[:, 2:] - on_cpu.iloc[:, 2:]).abs().to_numpy()
    assert np.max(gap) < 1e-2 * scale


def test_double_precision_reaches_the_end(observed):
    model = make_model(device="cuda", dtype="float64").fit(observed)
    assert all(p.dtype == torch.float64 for p in model.module_.parameters())
