"""The solver's report: work counted, error true, and a warning where the solver limits the accuracy."""

import math

import pytest
import torch

from latentode import GaussianLikelihood, GRUEncoder, LatentODE, LatentODEModel, MLPField, Solver
from latentode.datasets import make_oscillator
from latentode.solver_report import report_solver
from tests.problems import LinearField

# Twelve radians a unit of model time.
ROTATION = 12 * torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
Z0 = torch.randn(8, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def rotating(solver, noise=0.3):
    likelihood = GaussianLikelihood(2, 2, (), initial_noise=noise)
    with torch.no_grad():
        likelihood.decoder.weights[0].copy_(torch.eye(2))
        likelihood.decoder.biases[0].zero_()
    return LatentODEModel(GRUEncoder(2, 2), LinearField(ROTATION), likelihood, solver=solver).double()


def report(solver, *, noise=0.3, earliest=0.0, latest=1.0, tolerance=None):
    return report_solver(rotating(solver, noise), Z0, earliest, latest, tolerance=tolerance)


@pytest.mark.parametrize("spacing", [1 / 16, 1 / 32, 1 / 64])
@pytest.mark.parametrize(("earliest", "latest"), [(0.0, 1.0), (-1.0, 0.0), (-0.5, 1.25)])
def test_the_error_is_that_of_the_closed_form(spacing, earliest, latest):
    found = report(Solver(spacing=spacing), earliest=earliest, latest=latest)
    # A turn of length theta is rotated by rk4 with a relative error of theta^5 / 120 a step.
    n_steps = max(-earliest, latest) / spacing
    expected = n_steps * (12 * spacing) ** 5 / 120
    assert 0.7 < found.error / expected < 1.3
    # The states' root mean square is decoded as it is, a noise of 0.3 wide.
    scale = Z0.square().mean(0).sqrt()
    assert found.noise_share <= 1.6 * found.error * float(scale.max()) / 0.3


@pytest.mark.parametrize(("method", "evaluations"), [("euler", 1), ("midpoint", 2), ("heun3", 3), ("rk4", 4)])
@pytest.mark.parametrize(
    ("earliest", "latest", "n_steps"), [(0.0, 1.0, 32), (-1.0, 0.0, 32), (-1.0, 1.0, 64)]
)
def test_the_work_is_counted(method, evaluations, earliest, latest, n_steps):
    found = report(Solver(method=method, spacing=1 / 32), earliest=earliest, latest=latest)
    assert found.n_knots == n_steps + 1
    assert (found.n_steps, found.n_evaluations) == (n_steps, evaluations * n_steps)


def test_an_adaptive_method_works_harder_for_a_tighter_tolerance():
    loose, tight = (report(Solver(method="dopri5", spacing=1 / 64, rtol=r, atol=r)) for r in (1e-3, 1e-8))
    assert tight.n_evaluations > 2 * loose.n_evaluations
    assert tight.error < 1e-2 * loose.error
    assert tight.n_evaluations == pytest.approx(6 * tight.n_steps, abs=8)


def test_fused_and_torchdiffeq_report_the_same():
    model = rotating(Solver(spacing=1 / 16))
    model.field = MLPField(2, (8,)).double()
    fused = report_solver(model, Z0, 0.0, 1.0, tolerance=None)
    model.solver = Solver(spacing=1 / 16, engine="torchdiffeq")
    other = report_solver(model, Z0, 0.0, 1.0, tolerance=None)
    assert (fused.engine, other.engine) == ("fused", "torchdiffeq")
    assert fused.n_evaluations == other.n_evaluations
    assert 0.3 < fused.error / other.error < 3  # torchdiffeq's rk4 is Kutta's 3/8 rule, of the same order


def test_it_warns_where_the_solver_limits_the_accuracy():
    assert report(Solver(spacing=1 / 64)).warning is None
    warning = report(Solver(spacing=1 / 8)).warning
    assert "the solver, not the data, limits the accuracy" in warning
    assert "set_solver(knot_spacing=...)" in warning
    # The same error is no matter where the noise is large.
    assert report(Solver(spacing=1 / 32), noise=0.01).warning is not None
    assert report(Solver(spacing=1 / 32), noise=3.0).warning is None


def test_it_says_what_tolerance_was_reached():
    found = report(Solver(spacing=1 / 32), noise=10.0, tolerance=1e-6)
    assert found.warning.startswith("tolerance=1e-06 was not met: the trajectories err by")
    assert f"{found.error:.1e}" in found.warning


def test_a_stiff_field_is_said_to_be_stiff():
    for solver in (Solver(spacing=1 / 8), Solver(method="dopri5", rtol=1e-10, atol=1e-10)):
        model = rotating(solver)
        model.field = LinearField(torch.diag(torch.tensor([-1e9, -1.0], dtype=torch.float64)))
        found = report_solver(model, Z0, 0.0, 8.0, tolerance=None)
        assert not found.error < 1
        assert "limits the accuracy" in found.warning or "the learned field is stiff" in found.warning


def test_on_a_stiff_field_the_reference_is_no_explicit_method():
    """dz/dt = -1000 (z_2 apart) with knots 1/16 apart: what is read between them errs, LSODA's states hardly."""
    field = LinearField(torch.diag(torch.tensor([-1.0, -1000.0], dtype=torch.float64)))
    solver = Solver(method="scipy_solver", spacing=1 / 16, rtol=1e-8, atol=1e-10)
    model = LatentODEModel(GRUEncoder(2, 2), field, GaussianLikelihood(2, 2, ()), solver=solver).double()
    z0 = torch.tensor([[1.0, 1e-3], [0.5, 1e-3]], dtype=torch.float64)
    found = report_solver(model, z0, 0.0, 1.0, tolerance=None)
    times = torch.linspace(0, 1, 129, dtype=torch.float64)
    path = model.latent_path(z0.unsqueeze(0), times.expand(2, -1))[0].detach()
    true = torch.exp(field.matrix.detach().diagonal() * times.unsqueeze(-1)) * z0.unsqueeze(1)
    expected = (path - true).square().mean((0, 2)).sqrt().max() / true.square().mean().sqrt()
    assert found.error == pytest.approx(float(expected), rel=1e-3)
    assert "scipy_solver'" not in str(found.warning)


def test_another_failure_is_not_called_stiffness():
    model = rotating(Solver(spacing=1 / 8))

    def fail(*_):
        raise RuntimeError("out of memory")

    model.field.forward = fail
    with pytest.raises(RuntimeError, match="out of memory"):
        report_solver(model, Z0, 0.0, 8.0, tolerance=None)


def test_the_estimator_reports_and_keeps_it_in_the_file(tmp_path):
    observed, _ = make_oscillator(n_series=12, seed=0)
    model = LatentODE(id_col="series", time_col="time", residual=None, max_iter=40, random_state=0).fit(
        observed
    )
    before = model.solver_report_
    assert before.method == "tsit5"
    assert before.engine == "fused"
    assert before.error < 1e-2
    for line in ("solver", "knots", "evaluations of the field", "of the observation noise"):
        assert line in str(before)
    model.set_solver(method="euler")
    assert model.solver_report_.error > 5 * before.error
    assert model.solver_report_.n_evaluations < before.n_evaluations
    model.set_solver(method="tsit5").set_solver(engine="torchdiffeq")
    assert model.solver_report_.method == "rk4"  # torchdiffeq has no tsit5
    assert model.solver_report_.engine == "torchdiffeq"
    model.save(tmp_path / "m.latentode")
    assert LatentODE.load(tmp_path / "m.latentode").solver_report_ == model.solver_report_


def test_a_fit_warns_where_its_solver_limits_it():
    observed, _ = make_oscillator(n_series=12, seed=0)
    model = LatentODE(
        id_col="series",
        time_col="time",
        method="euler",
        knot_spacing=0.5,
        residual="ou",
        max_iter=60,
        random_state=0,
    )
    with pytest.warns(
        UserWarning, match="the solver, not the data, limits the accuracy: euler errs by"
    ) as caught:
        model.fit(observed)
    assert caught[0].filename == __file__  # it points at the line that called fit
    assert math.isfinite(model.solver_report_.noise_share)
