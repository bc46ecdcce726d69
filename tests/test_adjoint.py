r"""The adjoint equations against closed forms, in every way that a gradient can be had.

On dz/dt = A z + b with a loss l(z(T)),

    a(t) = dL/dz(t) = exp(A^T (T - t)) l'(z(T)),        dL/dA = int_0^T a(t) z(t)^T dt,        dL/db = int_0^T a(t) dt

and the two integrals are blocks of a Frechet derivative of the matrix exponential. Chen et al. 2018, "Neural
Ordinary Differential Equations", section 2 and appendix B.
"""

import numpy as np
import pytest
import torch
from scipy.linalg import expm, expm_frechet

from benchmarks.adjoint import peak_bytes
from latentode import MLPField, Solver
from latentode.solve import solve

A = np.array([[-0.3, -2.0, 0.4], [1.5, -0.1, 0.3], [0.2, -0.5, -0.8]])
SHIFT = np.array([0.3, -0.4, 0.1])
HORIZON = 1.5
SLOPE = np.array([0.7, -1.2, 0.5])
CURVATURE = np.array([[1.0, 0.3, 0.0], [0.3, 0.5, -0.2], [0.0, -0.2, 2.0]])


def start():
    return np.random.default_rng(0).normal(size=(4, 3))


def loss(z):
    """l(z) = c . z + z . Q z / 2, summed over the series."""
    c, q = torch.from_numpy(SLOPE), torch.from_numpy(CURVATURE)
    return (z @ c).sum() + 0.5 * (z * (z @ q)).sum()


def affine_field():
    field = MLPField(3, ()).double()
    with torch.no_grad():
        field.mlp.layers[0].weight.copy_(torch.from_numpy(A))
        field.mlp.layers[0].bias.copy_(torch.from_numpy(SHIFT))
    return field


def curved_field():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MLPField(3, (8,)).double()


def closed_form(elapsed=0.0):
    """dL/dz(t) at t = elapsed, and dL/dA, dL/db of the solve from there on.

    With M = [[A, b], [0, 0]] and y = (z, 1) the ODE is linear, y(T) = exp(M T) y(0), and with c the gradient
    at the end dL/dM = T D, D the derivative of exp at T M^T in the direction c y(0)^T.
    """
    matrix = np.zeros((4, 4))
    matrix[:3, :3], matrix[:3, 3] = A, SHIFT
    span = HORIZON - elapsed
    y = np.column_stack([start(), np.ones(4)]) @ expm(matrix * elapsed).T
    end = y @ expm(matrix * span).T
    c = np.column_stack([SLOPE + end[:, :3] @ CURVATURE, np.zeros(4)])
    state = c[:, :3] @ expm(A * span)
    of_matrix = span * expm_frechet(span * matrix.T, c.T @ y, compute_expm=False)
    return y[:, :3], [torch.from_numpy(each) for each in (state, of_matrix[:3, :3], of_matrix[:3, 3])]


def end_of(trajectory, horizon):
    """The states at the knot there; a solve takes two steps at least."""
    return trajectory.states[round(horizon / trajectory.spacing)]


def gradients(field, solver, horizon=HORIZON, z0=None):
    """The loss and its gradients with respect to z0, then the field's parameters."""
    z0 = torch.tensor(start() if z0 is None else z0, requires_grad=True)
    value = loss(end_of(solve(field, z0, 0.0, horizon, solver), horizon))
    return value, torch.autograd.grad(value, [z0, *field.parameters()])


def distance(found, expected):
    """Relative error of the gradient as one vector."""
    found, expected = (torch.cat([each.flatten() for each in vectors]) for vectors in (found, expected))
    return float((found - expected).norm() / expected.norm())


def finite_differences(field, solver, step=1e-5):
    """Central ones of the loss that the solver computes, entry by entry; they err by about 1e-10."""
    z0 = torch.tensor(start())
    leaves = [z0, *field.parameters()]
    found = [torch.zeros_like(leaf) for leaf in leaves]
    with torch.no_grad():
        for leaf, gradient in zip(leaves, found, strict=True):
            flat = leaf.view(-1)
            for place in range(len(flat)):
                kept = flat[place].clone()
                values = []
                for sign in (1, -1):
                    flat[place] = kept + sign * step
                    values.append(loss(end_of(solve(field, z0, 0.0, HORIZON, solver), HORIZON)))
                flat[place] = kept
                gradient.view(-1)[place] = (values[0] - values[1]) / (2 * step)
    return found


def order(field, expected, n_steps=(16, 32), **settings):
    """Slope of log error against log step."""
    errors = [
        distance(gradients(field, Solver(spacing=HORIZON / n, **settings))[1], expected) for n in n_steps
    ]
    return np.log(errors[0] / errors[1]) / np.log(n_steps[1] / n_steps[0])


def test_the_closed_form_is_the_integral_of_the_adjoint_equation():
    """The Frechet derivative against Gauss's quadrature of int a z^T and int a."""
    nodes, weights = np.polynomial.legendre.leggauss(20)  # exact to rounding for so smooth a function
    of_matrix, of_shift = np.zeros((3, 3)), np.zeros(3)
    for node, weight in zip(nodes, weights, strict=True):
        z, (a, _, _) = closed_form(elapsed=HORIZON * (node + 1) / 2)
        of_matrix += weight * HORIZON / 2 * a.numpy().T @ z
        of_shift += weight * HORIZON / 2 * a.numpy().sum(0)
    _, (_, expected_matrix, expected_shift) = closed_form()
    np.testing.assert_allclose(of_matrix, expected_matrix, rtol=1e-12)
    np.testing.assert_allclose(of_shift, expected_shift, rtol=1e-12)


@pytest.mark.parametrize("elapsed", [0.0, 0.5, 1.2])
@pytest.mark.parametrize(
    "settings",
    [
        {"method": "dopri5", "engine": "torchdiffeq", "rtol": 1e-10, "atol": 1e-12},
        {"method": "dopri5", "engine": "torchdiffeq", "gradient": "backprop", "rtol": 1e-10, "atol": 1e-12},
        {"method": "tsit5", "engine": "fused"},
        {"method": "rk4", "engine": "torchdiffeq", "gradient": "backprop"},
    ],
    ids=["continuous adjoint", "back-propagation, dopri5", "discrete adjoint", "back-propagation, rk4"],
)
def test_every_gradient_is_the_closed_form_at_every_time(settings, elapsed):
    """dL/dz(t), dL/dA and dL/db, the solve starting at z(t)."""
    z, expected = closed_form(elapsed)
    solver = Solver(spacing=(HORIZON - elapsed) / 64, **settings)
    _, found = gradients(affine_field(), solver, HORIZON - elapsed, z)
    # rk4's error at 64 steps is a few 1e-8, tsit5's and the tolerances' are below.
    assert distance(found, expected) < 1e-7


def test_finite_differences_are_the_closed_form():
    solver = Solver(method="tsit5", spacing=HORIZON / 64)
    # 1e-10 of the differences, 1e-10 of the solver.
    assert distance(finite_differences(affine_field(), solver), closed_form()[1]) < 1e-8


@pytest.mark.parametrize(("method", "expected"), [("euler", 1), ("midpoint", 2), ("rk4", 4), ("tsit5", 5)])
def test_the_discrete_adjoint_converges_at_the_order_of_the_method(method, expected):
    found = order(affine_field(), closed_form()[1], method=method, engine="fused")
    # The next order's share at a sixteenth of the horizon.
    assert found == pytest.approx(expected, abs=0.3)


@pytest.mark.parametrize(("method", "expected"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
def test_the_continuous_adjoint_converges_at_the_order_of_the_method(method, expected):
    found = order(affine_field(), closed_form()[1], method=method, engine="torchdiffeq")
    assert found == pytest.approx(expected, abs=0.3)


def test_the_continuous_adjoint_follows_its_tolerance():
    errors = []
    for tolerance in (1e-4, 1e-6, 1e-8):
        solver = Solver(method="dopri5", spacing=HORIZON, rtol=tolerance, atol=tolerance)
        errors.append(distance(gradients(affine_field(), solver)[1], closed_form()[1]))
    # Local errors of order h^6 and tolerances a hundred times tighter: 10 is safe, and far from none.
    assert errors[0] > 10 * errors[1] > 100 * errors[2]


def test_the_discrete_adjoint_is_back_propagation_where_all_fourth_order_methods_agree():
    """On a linear field every rk4 is the same polynomial of h A: torchdiffeq's 3/8 rule and the classic one."""
    spacing = HORIZON / 5
    mine, ours = gradients(affine_field(), Solver(spacing=spacing, engine="fused"))
    theirs_value, theirs = gradients(
        affine_field(), Solver(spacing=spacing, engine="torchdiffeq", gradient="backprop")
    )
    assert float(mine.detach()) == pytest.approx(float(theirs_value.detach()), rel=1e-13)  # rounding
    assert distance(ours, theirs) < 1e-13


def test_only_the_discrete_adjoint_is_the_derivative_of_the_loss_computed_on_coarse_steps():
    field = curved_field()
    coarse = {"method": "midpoint", "spacing": HORIZON / 4}
    discrete = Solver(engine="fused", **coarse)
    through = Solver(engine="torchdiffeq", gradient="backprop", **coarse)
    continuous = Solver(engine="torchdiffeq", gradient="adjoint", **coarse)
    differences = finite_differences(field, discrete)
    assert distance(gradients(field, discrete)[1], differences) < 1e-8  # of the differences
    assert distance(gradients(field, through)[1], differences) < 1e-8
    # The adjoint equation, discretised by itself, is wrong by the steps' own error.
    assert distance(gradients(field, continuous)[1], differences) > 1e-5


def test_memory_of_the_continuous_adjoint_does_not_grow_with_the_steps():
    few, many = (
        peak_bytes(Solver(method="dopri5", spacing=1.0, rtol=tolerance, atol=tolerance), n_knots=1)
        for tolerance in (1e-3, 1e-6)
    )
    assert many.n_steps > 2 * few.n_steps
    assert many.peak < 1.1 * few.peak  # a few numbers of step control


def test_memory_of_back_propagation_grows_with_the_steps():
    few, many = (
        peak_bytes(
            Solver(method="dopri5", spacing=1.0, gradient="backprop", rtol=tolerance, atol=tolerance),
            n_knots=1,
        )
        for tolerance in (1e-3, 1e-6)
    )
    # All but the batch and the weights is kept for every step.
    assert many.peak / few.peak > 0.8 * many.n_steps / few.n_steps


def test_memory_of_the_fused_engine_is_its_tape_or_else_its_knots():
    """A stage's tape is the field's hidden units; recomputed, only states and slopes of the knots are kept."""
    kept, recomputed = (
        [peak_bytes(Solver(engine="fused"), n_knots=n, store_stages=stored) for n in (32, 96)]
        for stored in (True, False)
    )

    def bytes_a_step(pair):
        return (pair[1].peak - pair[0].peak) / (96 - 32)

    state = kept[0].state_bytes
    hidden = kept[0].hidden_bytes
    assert bytes_a_step(kept) > 4 * hidden  # four stages
    # States, slopes, their cotangents, and the copies that turn (M, L) to (L, M) and back.
    assert bytes_a_step(recomputed) < 8 * state
    assert bytes_a_step(recomputed) < bytes_a_step(kept) / 10
