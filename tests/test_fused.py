import math
from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F
from torchdiffeq import odeint_adjoint

from latentode.solve.fused import fused_solve
from latentode.solve.tableaus import TABLEAUS, TSIT5

METHODS = tuple(TABLEAUS)
ACTIVATIONS = {"tanh": torch.tanh, "silu": F.silu, "softplus": F.softplus, "elu": F.elu}
# Float64 has 2e-16; some hundred operations on numbers of order one, and tsit5's coefficients of order ten.
ROUNDING = {"rtol": 1e-11, "atol": 1e-12}


class Problem:
    """A random MLP field and batch of initial states, all float64 leaves."""

    def __init__(self, n_series=5, latent_dim=3, hidden=(7, 6), dtype=torch.float64, seed=0):
        generator = torch.Generator().manual_seed(seed)

        def leaf(*shape, scale=1.0):
            values = scale * torch.randn(*shape, generator=generator, dtype=torch.float64)
            return values.to(dtype).requires_grad_()

        widths = [latent_dim, *hidden, latent_dim]
        self.weights = [leaf(o, i, scale=1.5 / math.sqrt(i)) for i, o in pairwise(widths)]
        self.biases = [leaf(o, scale=0.3) for o in widths[1:]]
        self.z0 = leaf(n_series, latent_dim)
        self.leaves = [*self.weights, *self.biases, self.z0]
        self.generator = generator

    def field(self, z, activation="tanh", bound=None):
        *hidden, (weight, bias) = zip(self.weights, self.biases, strict=True)
        for w, b in hidden:
            z = ACTIVATIONS[activation](F.linear(z, w, b))
        y = F.linear(z, weight, bias)
        return y if bound is None else bound * torch.tanh(y / bound)

    def solve(self, **settings):
        return fused_solve(self.weights, self.biases, self.z0, **settings)

    def solve_plainly(self, spacing, n_steps, method="rk4", **field):
        """The same discretisation, left to autograd."""
        tableau, z, states = TABLEAUS[method], self.z0, [self.z0]
        for _ in range(n_steps):
            slopes = []
            for row in tableau.a:
                stage = z + spacing * sum(
                    (w * k for w, k in zip(row, slopes, strict=True)), torch.zeros_like(z)
                )
                slopes.append(self.field(stage, **field))
            z = z + spacing * sum(w * k for w, k in zip(tableau.b, slopes, strict=True))
            states.append(z)
        states = torch.stack(states)
        return states, self.field(states, **field)

    def gradients(self, outputs):
        """Of one random linear functional of the outputs, the same for equal shapes."""
        self.generator.manual_seed(1)
        loss = sum(
            (torch.randn(each.shape, generator=self.generator, dtype=torch.float64).to(each) * each).sum()
            for each in outputs
        )
        return torch.autograd.grad(loss, self.leaves)


def assert_equal(ours, theirs, **tolerance):
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, **(tolerance or ROUNDING))


def rooted_trees(order):
    """All rooted trees with `order` nodes, as nested tuples of their branches."""

    def forests(n, largest):
        if n == 0:
            yield ()
            return
        for size in range(min(n, largest), 0, -1):
            for tree in rooted_trees(size):
                for rest in forests(n - size, size):
                    if not rest or (size_of(rest[0]), rest[0]) <= (size, tree):
                        yield (tree, *rest)

    return list(forests(order - 1, order - 1))


def size_of(tree):
    return 1 + sum(size_of(branch) for branch in tree)


def density(tree):
    return size_of(tree) * math.prod(density(branch) for branch in tree)


def elementary_weight(tree, a):
    value = torch.ones(len(a), dtype=torch.float64)
    for branch in tree:
        value = value * (a @ elementary_weight(branch, a))
    return value


def full_matrix(rows):
    return torch.tensor([[*row, *[0.0] * (len(rows) - len(row))] for row in rows], dtype=torch.float64)


@pytest.mark.parametrize("method", METHODS)
def test_tableau_meets_the_order_conditions(method):
    tableau = TABLEAUS[method]
    a = full_matrix(tableau.a)
    # Published coefficients have 16 digits, and terms up to 13 cancel.
    b, c = torch.tensor(tableau.b, dtype=torch.float64), torch.tensor(tableau.c, dtype=torch.float64)
    torch.testing.assert_close(a.sum(1), c, rtol=0, atol=1e-13)
    trees = [tree for order in range(1, tableau.order + 1) for tree in rooted_trees(order)]
    assert len(trees) == [1, 2, 4, 8, 17][tableau.order - 1]
    for tree in trees:
        assert float(b @ elementary_weight(tree, a)) == pytest.approx(1 / density(tree), abs=1e-13)


def test_error_weights_of_tsit5_vanish_up_to_order_four():
    a = full_matrix((*TSIT5.a, TSIT5.b))
    error = torch.tensor(TSIT5.error_weights, dtype=torch.float64)
    for tree in (tree for order in range(1, 5) for tree in rooted_trees(order)):
        assert abs(float(error @ elementary_weight(tree, a))) < 1e-13
    assert any(abs(float(error @ elementary_weight(tree, a))) > 1e-5 for tree in rooted_trees(5))


@pytest.mark.parametrize("store_stages", [True, False])
@pytest.mark.parametrize("bound", [None, 0.8])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("method", METHODS)
def test_equals_autograd_through_the_same_discretisation(method, activation, bound, store_stages):
    problem = Problem()
    field = {"activation": activation, "bound": bound}
    ours = problem.solve(spacing=0.2, n_steps=4, method=method, store_stages=store_stages, **field)
    plain = problem.solve_plainly(0.2, 4, method, **field)
    assert_equal(ours, plain)
    assert_equal(problem.gradients(ours), problem.gradients(plain))


@pytest.mark.parametrize("store_stages", [True, False])
@pytest.mark.parametrize("n_steps_a_run", [1, 3])
def test_runs_join_without_a_seam(monkeypatch, store_stages, n_steps_a_run):
    problem = Problem()
    stage_rows = 4 + 8 + 7 + 3 + 7 + 6  # what is read, the output, the arguments that silu keeps
    monkeypatch.setattr("latentode.solve.fused.solve._RUN_BYTES", n_steps_a_run * 4 * stage_rows * 5 * 8)
    ours = problem.solve(spacing=0.2, n_steps=7, activation="silu", bound=2.0, store_stages=store_stages)
    plain = problem.solve_plainly(0.2, 7, activation="silu", bound=2.0)
    assert_equal(ours, plain)
    assert_equal(problem.gradients(ours), problem.gradients(plain))


@pytest.mark.parametrize(
    ("shape", "spacing", "n_steps"),
    [
        ({"n_series": 1}, 0.1, 3),
        ({}, 0.1, 1),
        ({}, -0.1, 4),
        ({}, 0.1, 0),
        ({"latent_dim": 1, "hidden": (1,)}, 0.1, 3),
        ({"hidden": ()}, 0.1, 3),
        ({"hidden": (80, 80)}, 0.1, 3),  # wide enough for gradients that are summed slot by slot
    ],
)
@pytest.mark.parametrize("bound", [None, 1.5])
def test_corner_shapes_equal_autograd(shape, spacing, n_steps, bound):
    problem = Problem(**shape)
    ours = problem.solve(spacing=spacing, n_steps=n_steps, bound=bound)
    plain = problem.solve_plainly(spacing, n_steps, bound=bound)
    assert_equal(ours, plain)
    assert_equal(problem.gradients(ours), problem.gradients(plain))


@pytest.mark.parametrize("which", [0, 1])
def test_each_output_alone_carries_gradients_to_every_leaf(which):
    problem = Problem()
    ours = problem.gradients([problem.solve(spacing=0.2, n_steps=3)[which]])
    assert_equal(ours, problem.gradients([problem.solve_plainly(0.2, 3)[which]]))
    for leaf, gradient in zip(problem.leaves, ours, strict=True):
        if which == 1 or leaf.shape != problem.z0.shape:
            assert gradient.abs().min() > 0


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_equal_finite_differences(activation):
    problem = Problem(n_series=2, latent_dim=2, hidden=(3,))

    def solve(*leaves):
        return fused_solve(leaves[:2], leaves[2:4], leaves[4], spacing=0.3, n_steps=2, activation=activation)

    # gradcheck's own tolerances: central differences of 1e-6 leave about 1e-9.
    torch.autograd.gradcheck(solve, problem.leaves, eps=1e-6, atol=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_slope_of_log_error_is_the_order(method):
    # On most fields tsit5 looks like order six until its error is at rounding; on this one it does not.
    problem = Problem(seed=3)
    span = 4.0
    with torch.no_grad():
        (reference, coarse, fine) = (
            problem.solve(spacing=span / n, n_steps=n, method=each)[0][-1]
            for n, each in ((512, "tsit5"), (128, method), (256, method))
        )
    slope = torch.log2((coarse - reference).norm() / (fine - reference).norm())
    # The next term of the error's expansion moves the slope by less than a quarter; the reference's error,
    # a thirtieth of the smallest, by less than a tenth.
    assert float(slope) == pytest.approx(TABLEAUS[method].order, abs=0.25)


def test_back_and_forth_returns_to_the_start():
    problem = Problem()
    with torch.no_grad():
        there = problem.solve(spacing=1 / 64, n_steps=64, method="tsit5")[0][-1]
        back = fused_solve(
            problem.weights, problem.biases, there, spacing=-1 / 64, n_steps=64, method="tsit5"
        )
    # Twice the error of an order-five method at 1/64, a few 1e-9.
    torch.testing.assert_close(back[0][-1], problem.z0, rtol=0, atol=1e-7)


def test_agrees_with_odeint_adjoint():
    problem = Problem(hidden=(8,))
    ours = problem.solve(spacing=1 / 64, n_steps=64, method="tsit5")[0][::16]
    times = torch.linspace(0, 1, 5, dtype=torch.float64)
    theirs = odeint_adjoint(
        lambda _, z: problem.field(z),
        problem.z0,
        times,
        rtol=1e-9,
        atol=1e-9,
        method="dopri5",
        adjoint_params=tuple(problem.weights + problem.biases),
    )
    # Their tolerance a step, some dozens of steps.
    assert_equal([ours], [theirs], rtol=0, atol=1e-7)
    assert_equal(problem.gradients([ours]), problem.gradients([theirs]), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_float32_agrees_with_float64(activation):
    single, double = Problem(dtype=torch.float32), Problem()
    ours = single.solve(spacing=0.1, n_steps=8, activation=activation)
    exact = double.solve(spacing=0.1, n_steps=8, activation=activation)
    assert ours[0].dtype == ours[1].dtype == torch.float32
    # 1e-7 of float32 times the growth over 32 stages.
    assert_equal([each.double() for each in ours], exact, rtol=1e-4, atol=1e-5)
    gradients = [each.double() for each in single.gradients(ours)]
    assert_equal(gradients, double.gradients(exact), rtol=1e-4, atol=1e-4)


def test_far_arguments_stay_finite():
    problem = Problem()
    with torch.no_grad():
        problem.z0 *= 1e4
    for activation in ACTIVATIONS:
        ours = problem.solve(spacing=1e-6, n_steps=2, activation=activation, bound=1.0)
        plain = problem.solve_plainly(1e-6, 2, activation=activation, bound=1.0)
        # Where softplus is linear to rounding its slope is one only to 2e-9, and arguments are 1e4.
        assert_equal(ours, plain)
        assert_equal(problem.gradients(ours), problem.gradients(plain), rtol=1e-6, atol=1e-6)


def saved_bytes(solve):
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: sizes.append(tensor.numel() * tensor.element_size()) or tensor, lambda tensor: tensor
    ):
        solve()
    return sum(sizes)


def test_memory_kept_for_the_backward_pass(monkeypatch):
    problem = Problem(n_series=50)

    def kept(n_steps, **settings):
        return saved_bytes(lambda: problem.solve(spacing=0.01, n_steps=n_steps, **settings))

    a_knot = problem.z0.numel() * 8
    assert kept(40, store_stages=False) - kept(20, store_stages=False) == 20 * a_knot
    assert kept(40, store_stages=True) - kept(20, store_stages=True) > 20 * 4 * a_knot
    assert kept(40) == kept(40, store_stages=True)
    monkeypatch.setattr("latentode.solve.fused.solve._STORED_BYTES", 1)
    assert kept(40) == kept(40, store_stages=False)
    with torch.no_grad():
        assert kept(40, store_stages=True) == 0


def test_prediction_equals_training():
    problem = Problem()
    with torch.no_grad():
        states, slopes = problem.solve(spacing=0.1, n_steps=5)
    assert not states.requires_grad
    assert not slopes.requires_grad
    assert_equal((states, slopes), problem.solve(spacing=0.1, n_steps=5), rtol=0, atol=0)


def test_backward_leaves_what_it_needs_for_another():
    problem = Problem()
    loss = sum(each.square().sum() for each in problem.solve(spacing=0.1, n_steps=3))
    first = torch.autograd.grad(loss, problem.leaves, retain_graph=True)
    assert_equal(torch.autograd.grad(loss, problem.leaves), first, rtol=0, atol=0)


def test_a_second_derivative_is_refused():
    problem = Problem()
    states, _ = problem.solve(spacing=0.1, n_steps=2)
    (gradient,) = torch.autograd.grad(states.square().sum(), problem.z0, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "rk5"}, "unknown method 'rk5'; choose one of euler, midpoint, rk4, tsit5"),
        ({"activation": "relu"}, "unknown activation 'relu'; choose one of tanh, silu, softplus, elu"),
        ({"spacing": math.inf}, "spacing of the knots must be finite"),
        ({"n_steps": -1}, "n_steps .* can't be negative"),
        ({"bound": 0.0}, "bound must be positive or None; got 0.0"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Problem().solve(**{"spacing": 0.1, "n_steps": 2, **settings})


def test_layers_are_checked():
    problem = Problem()
    weights, biases, z0 = problem.weights, problem.biases, problem.z0
    for arguments, message in [
        ((weights, biases[:-1], z0), "3 weights and 2 biases"),
        ((weights[1:], biases[1:], z0), "layer 0 reads 3 values"),
        ((weights[:-1], biases[:-1], z0), "dz/dt has 3 components as z has; the last layer gives 6"),
        ((weights, biases, z0[0]), "z0 must be"),
    ]:
        with pytest.raises(ValueError, match=message):
            fused_solve(*arguments, spacing=0.1, n_steps=2)
