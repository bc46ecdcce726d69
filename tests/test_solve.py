"""Solves are as accurate as their method promises, in values and gradients, at any time."""

import math

import numpy as np
import pytest
import torch

from latentode import MLPField, Solver
from latentode.nn import MLP
from latentode.solve import Trajectory, integrate, solve, step_doubling_error
from tests.problems import LinearField

SPIRAL = torch.tensor([[-0.2, -2.0], [2.0, -0.2]], dtype=torch.float64)


def exact(z0, times):
    """exp(A t) z0 for each t: (S B, L) and (B, N) -> (S, B, N, L)."""
    flow = torch.linalg.matrix_exp(SPIRAL * times[..., None, None])
    return torch.einsum("bnij,sbj->sbni", flow, z0.view(-1, times.shape[0], 2))


def start(n=6, seed=0):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def times(n_series=3, low=-1.0, high=2.0, seed=1):
    uniform = torch.rand(n_series, 20, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return low + (high - low) * uniform


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("heun3", 3), ("rk4", 4)])
def test_error_falls_with_the_order_of_the_method(method, order):
    spacings = np.array([1 / 16, 1 / 32, 1 / 64])
    errors = []
    for spacing in spacings:
        solver = Solver(method=method, spacing=spacing, engine="torchdiffeq")
        path = solve(LinearField(SPIRAL), start(), -1.0, 2.0, solver).at(times())
        errors.append((path - exact(start(), times())).abs().max().item())
    slope = np.polyfit(np.log(spacings), np.log(errors), 1)[0]
    assert abs(slope - order) < 0.25  # the next order's share at these steps


@pytest.mark.parametrize(("activation", "order"), [("tanh", 5), ("silu", 5), ("softplus", 5), ("elu", 3)])
def test_a_field_is_as_smooth_as_its_activation(activation, order):
    """A kink in the second derivative of elu costs the fifth order of the steps."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        field = MLPField(2, (16,), bound=None, activation=activation).double()
    with torch.no_grad():
        for weight in field.mlp.weights:
            weight.mul_(4)
    spacings = np.array([1 / 8, 1 / 16, 1 / 32, 1 / 64])
    paths = [
        solve(field, start(24), 0.0, 2.0, Solver("tsit5", spacing)).states[-1]
        for spacing in [*spacings, 1 / 1024]
    ]
    errors = [(path - paths[-1]).square().mean().sqrt().item() for path in paths[:-1]]
    slope = np.polyfit(np.log(spacings), np.log(errors), 1)[0]
    assert abs(slope - order) < 0.5


@pytest.mark.parametrize("method", ["dopri5", "scipy_solver", "dopri8", "bosh3"])
def test_adaptive_methods_meet_their_tolerance(method):
    solver = Solver(method=method, spacing=1 / 64, rtol=1e-8, atol=1e-8)
    path = solve(LinearField(SPIRAL), start(), -1.0, 2.0, solver).at(times())
    # Hermite's own error at this spacing is below 1e-8; the solver's accumulates over the steps.
    assert (path - exact(start(), times())).abs().max() < 1e-6


def test_adams_methods_gain_by_shorter_steps():
    errors = []
    for spacing in (1 / 32, 1 / 64, 1 / 128):
        solver = Solver(method="explicit_adams", spacing=spacing, engine="torchdiffeq")
        path = solve(LinearField(SPIRAL), start(), -1.0, 2.0, solver).at(times())
        errors.append((path - exact(start(), times())).abs().max().item())
    slopes = np.diff(np.log2(errors))
    assert (slopes < -2.5).all()  # its first steps are of lower order than the fourth


def test_the_implicit_one_iterates_to_what_single_precision_holds():
    field = LinearField(SPIRAL.float())
    solver = Solver(method="implicit_adams", spacing=1 / 64, engine="torchdiffeq")
    path = solve(field, start().float(), 0.0, 2.0, solver).at(times(low=0.0).float())  # warnings are errors
    assert (path - exact(start(), times(low=0.0))).abs().max() < 1e-4


def test_knots_are_passed_through_exactly():
    solver = Solver(spacing=1 / 8)
    trajectory = solve(LinearField(SPIRAL), start(3), 0.0, 1.0, solver)
    knots = torch.arange(9, dtype=torch.float64).expand(3, 9) / 8
    torch.testing.assert_close(trajectory.at(knots)[0], trajectory.states.permute(1, 0, 2))


def polynomial(spacing, n_backward, n_forward, wanted):
    """A trajectory of five states whose knots lie on a polynomial of fifth degree, and the polynomial."""
    generator = torch.Generator().manual_seed(5)
    coefficients = torch.randn(6, 10, 3, generator=generator, dtype=torch.float64)

    def value(t):
        return sum(c * t[:, None, None] ** i for i, c in enumerate(coefficients))

    def slope(t):
        return sum(i * c * t[:, None, None] ** (i - 1) for i, c in enumerate(coefficients) if i)

    knots = spacing * torch.arange(-n_backward, n_forward + 1, dtype=torch.float64)
    states = value(knots).requires_grad_(wanted)
    return Trajectory(states, slope(knots), float(knots[0]), spacing), value


@pytest.mark.parametrize("wanted", [True, False])  # many of a series' knots at once, or those that count
@pytest.mark.parametrize(("n_backward", "n_forward"), [(0, 2), (0, 3), (2, 0), (4, 5), (2, 40)])
def test_a_polynomial_of_fifth_degree_is_read_exactly(n_backward, n_forward, wanted):
    trajectory, value = polynomial(0.05, n_backward, n_forward, wanted)
    asked = times(n_series=5, low=-0.05 * n_backward, high=0.05 * n_forward)
    found = trajectory.at(asked)  # two samples of five series
    for series, t in enumerate(asked):
        truth = value(t).view(20, 2, 5, 3)[:, :, series].transpose(0, 1)
        torch.testing.assert_close(found[:, series], truth, rtol=1e-12, atol=1e-12)


def test_both_ways_of_reading_have_the_same_gradient(monkeypatch):
    found = []
    for few in (32, 0):
        monkeypatch.setattr("latentode.solve.trajectory._FEW_KNOTS", few)
        trajectory, _ = polynomial(0.25, 3, 8, True)
        asked = times(n_series=5, low=-0.75, high=2.0).requires_grad_()
        read = trajectory.at(asked)
        found.append((read, *torch.autograd.grad(read.square().sum(), [trajectory.states, asked])))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


def test_what_is_read_between_exact_knots_is_of_sixth_order():
    spacings, errors = np.array([1 / 8, 1 / 16, 1 / 32]), []
    for spacing in spacings:
        n = round(1 / spacing)
        knots = (spacing * torch.arange(n + 1, dtype=torch.float64)).expand(6, n + 1)
        states = exact(start(), knots)[0].transpose(0, 1)
        trajectory = Trajectory(states, states @ SPIRAL.T, 0.0, spacing)
        asked = times(n_series=6, low=0.0, high=1.0)
        errors.append((trajectory.at(asked) - exact(start(), asked)).abs().max().item())
    slope = np.polyfit(np.log(spacings), np.log(errors), 1)[0]
    assert abs(slope - 6) < 0.25  # the next order's share at these spacings


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-0.05, 0.02), (-1.0, 0.0), (0.0, 0.05)])
def test_a_longer_horizon_moves_nothing(low, high):
    field = MLPField(2, (8,)).double()
    solver = Solver(spacing=1 / 16)
    short = solve(field, start(), low, high, solver).at(times(low=low, high=high))
    long = solve(field, start(), -3.0, 9.0, solver).at(times(low=low, high=high))
    torch.testing.assert_close(short, long, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "solver",
    [
        Solver(spacing=1 / 32, engine="torchdiffeq"),
        Solver(spacing=1 / 32, engine="torchdiffeq", gradient="backprop"),
        Solver(spacing=1 / 32, method="dopri5", rtol=1e-9, atol=1e-9),
        Solver(spacing=1 / 32, engine="fused"),
        Solver(spacing=1 / 32, method="tsit5"),
    ],
    ids=lambda solver: f"{solver.engine}-{solver.method}-{solver.gradient}",
)
def test_all_engines_agree_in_values_and_gradients(solver):
    """Against back-propagation through a solve of much finer steps."""
    torch.manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        field = MLPField(2, (16, 16), bound=5.0).double()
    weight = torch.randn(2, 3, 20, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def gradients(settings):
        z0 = start().requires_grad_()
        path = solve(field, z0, -1.0, 2.0, settings).at(times())
        loss = (path * weight).sum()
        return path.detach(), torch.autograd.grad(loss, [z0, *field.parameters()])

    path, found = gradients(solver)
    reference, expected = gradients(Solver(spacing=1 / 256, engine="torchdiffeq", gradient="backprop"))
    assert (path - reference).abs().max() < 1e-6
    for one, other in zip(found, expected, strict=True):
        # rk4 on 1/32 knots errs by about 1e-7 relative, and the continuous adjoint likewise.
        assert (one - other).norm() < 1e-5 * (1 + other.norm())


def test_the_continuous_adjoint_of_a_linear_ode_is_the_closed_form():
    """L = c . z(T): a(0) = exp(A^T T) c and dL/dA = int a(t) z(t)^T dt."""
    horizon, c = 1.5, torch.tensor([0.3, -1.2], dtype=torch.float64)
    field = LinearField(SPIRAL)
    z0 = start(1).requires_grad_()
    solver = Solver(method="dopri5", rtol=1e-10, atol=1e-12, spacing=horizon / 12)
    states, _ = integrate(field, z0, spacing=solver.spacing, n_steps=12, solver=solver)
    (states[-1] @ c).sum().backward()
    flow = torch.linalg.matrix_exp
    torch.testing.assert_close(z0.grad[0], flow(SPIRAL.T * horizon) @ c, rtol=1e-7, atol=1e-9)
    nodes, weights = np.polynomial.legendre.leggauss(40)
    expected = torch.zeros(2, 2, dtype=torch.float64)
    for node, weight in zip(nodes, weights, strict=True):
        t = horizon * (node + 1) / 2
        a = flow(SPIRAL.T * (horizon - t)) @ c
        z = flow(SPIRAL * t) @ z0.detach()[0]
        expected += weight * horizon / 2 * torch.outer(a, z)
    torch.testing.assert_close(field.matrix.grad, expected, rtol=1e-6, atol=1e-8)


def test_step_doubling_error_is_about_the_error():
    field = LinearField(SPIRAL)
    solver = Solver(spacing=1 / 8, engine="torchdiffeq")
    estimate = step_doubling_error(field, start(), 0.0, 2.0, solver)
    trajectory = solve(field, start(), 0.0, 2.0, solver)
    fine = torch.arange(33, dtype=torch.float64).expand(6, 33) / 16  # knots, and the middles between them
    truth = exact(start(), fine)[0].transpose(0, 1)
    read = trajectory.at(fine)[0].transpose(0, 1)
    true = ((read - truth).square().mean((1, 2)).sqrt().max()) / truth.square().mean().sqrt()
    assert 0.8 < estimate / true < 1.2  # fourth order: the finer solve has a sixteenth of the error
    # Backwards this field grows, and the error with it: both sides of z0 count.
    assert step_doubling_error(field, start(), -2.0, 2.0, solver) > 1.2 * estimate


def test_step_doubling_sees_what_is_read_between_the_knots():
    """A step of euler is exact where the slope is constant; an interpolant of too few knots is not."""
    exact_solver = Solver(method="dopri5", rtol=1e-11, atol=1e-11, spacing=1.0)
    estimate = step_doubling_error(LinearField(SPIRAL), start(), 0.0, 2.0, exact_solver)
    assert estimate > 1e-3  # half a turn between knots: the interpolant misses, though the knots are right


def test_a_field_of_the_wrong_shape_is_named():
    def field(t, z):  # noqa: ARG001
        return z[:, :1]

    with pytest.raises(ValueError, match=r"dz/dt must have the shape of z|expand|must match"):
        solve(field, start(), 0.0, 1.0, Solver())


def test_a_stiff_field_is_named():
    stiff = LinearField(torch.diag(torch.tensor([-1e7, -1.0], dtype=torch.float64)))
    with pytest.raises(RuntimeError, match="The field is stiff or has diverged; loosen the tolerance"):
        solve(stiff, start(), 0.0, 1.0, Solver(method="dopri5", rtol=1e-9))
    solve(stiff, start(), 0.0, 1.0, Solver(method="scipy_solver"))  # the remedy named


def test_too_long_a_horizon_is_named():
    with pytest.raises(ValueError, match="units"):
        solve(LinearField(SPIRAL), start(), 0.0, 1e9, Solver())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "rk5"}, "unknown solver method 'rk5'"),
        ({"engine": "jax"}, "unknown engine 'jax'"),
        ({"gradient": "none"}, "unknown gradient 'none'"),
        ({"spacing": 0.0}, "spacing must be positive"),
        ({"spacing": math.nan}, "spacing must be positive"),
        ({"spacing": math.inf}, "spacing must be positive"),
        ({"engine": "fused", "gradient": "backprop"}, "has its own exact gradient"),
        ({"method": "dopri5", "engine": "fused"}, "takes fixed steps"),
        ({"method": "tsit5", "engine": "torchdiffeq"}, "has no 'tsit5'"),
        ({"rtol": 1e-3}, "takes its precision from spacing"),
        ({"method": "dopri5", "atol": -1.0}, "atol must be positive"),
        ({"method": "scipy_solver", "gradient": "backprop"}, "can't be differentiated"),
    ],
)
def test_settings_that_cannot_be_used_are_errors(settings, message):
    with pytest.raises(ValueError, match=message):
        Solver(**settings)


def test_a_field_of_ones_own_is_solved_as_it_is():
    class Damped(MLPField):
        def forward(self, t, z):
            return super().forward(t, z) - 3 * z

    field = Damped(2, (8,)).double()
    by_default = solve(field, start(), 0.0, 1.0, Solver()).states
    plainly = solve(field, start(), 0.0, 1.0, Solver(engine="torchdiffeq")).states
    torch.testing.assert_close(by_default, plainly)
    with pytest.raises(ValueError, match="needs the built-in MLPField"):
        solve(field, start(), 0.0, 1.0, Solver(engine="fused"))


def test_a_shortcut_in_the_field_is_solved_too():
    field = MLPField(2, (8,))
    field.mlp = MLP(2, (8,), 2, shortcut=True)
    with torch.no_grad():
        field.mlp.shortcut.copy_(SPIRAL)
    field = field.double()
    by_default = solve(field, start(), 0.0, 1.0, Solver()).states
    plainly = solve(field, start(), 0.0, 1.0, Solver(engine="torchdiffeq")).states
    torch.testing.assert_close(by_default, plainly)
    with pytest.raises(ValueError, match="needs the built-in MLPField"):
        solve(field, start(), 0.0, 1.0, Solver(engine="fused"))


def test_fused_needs_the_built_in_field():
    with pytest.raises(ValueError, match="needs the built-in MLPField"):
        solve(LinearField(SPIRAL), start(), 0.0, 1.0, Solver(engine="fused"))
