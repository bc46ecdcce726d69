import pytest
import torch
from torch import nn

from latentode import gru
from latentode.gru import GRU, gru_last_state

# Float64 has 2e-16; a recursion of seven steps on numbers of order one.
ROUNDING = {"rtol": 1e-11, "atol": 1e-13}


class Problem:
    def __init__(self, n_series=6, n_rows=7, n_inputs=3, n_units=5, dtype=torch.float64):
        generator = torch.Generator().manual_seed(0)

        def leaf(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()

        H = n_units
        self.inputs = leaf(n_series, n_rows, n_inputs)
        self.lengths = torch.randint(1, n_rows + 1, (n_series,), generator=generator)
        self.lengths[0] = n_rows
        self.parameters = [leaf(3 * H, n_inputs), leaf(3 * H, H), leaf(3 * H), leaf(3 * H)]
        self.cotangent = torch.randn(n_series, H, generator=generator, dtype=torch.float64).to(dtype)

    def reference(self):
        """torch.nn.GRU, one series at a time, no padding."""
        H, n_inputs = self.cotangent.shape[1], self.inputs.shape[2]
        reference = nn.GRU(n_inputs, H, batch_first=True, dtype=self.inputs.dtype)
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        states = []
        for series, length in zip(self.inputs, self.lengths, strict=True):
            if length == 0:
                states.append(series.new_zeros(H))
                continue
            _, last = torch.func.functional_call(
                reference, dict(zip(names, self.parameters, strict=True)), (series[None, :length],)
            )
            states.append(last[0, 0])
        return torch.stack(states)

    def ours(self):
        return gru_last_state(self.inputs, self.lengths, *self.parameters)

    def gradients(self, states):
        return torch.autograd.grad(states, [self.inputs, *self.parameters], self.cotangent)


def assert_equal(ours, theirs, **tolerance):
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, **(tolerance or ROUNDING))


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize(
    "shape", [{}, {"n_series": 1}, {"n_rows": 1}, {"n_units": 1}, {"n_inputs": 1}, {"n_rows": 19}]
)
def test_equals_torchs_gru_on_ragged_series(shape, empty):
    problem = Problem(**shape)
    if empty and len(problem.lengths) > 1:
        problem.lengths[-1] = 0
    ours, theirs = problem.ours(), problem.reference()
    assert_equal([ours], [theirs])
    assert_equal(problem.gradients(ours), problem.gradients(theirs))


@pytest.mark.parametrize("n_steps_a_run", [1, 3])
def test_runs_of_the_backward_pass_join_without_a_seam(monkeypatch, n_steps_a_run):
    problem = Problem()
    monkeypatch.setattr(gru, "_RUN_BYTES", n_steps_a_run * 5 * problem.cotangent.numel() * 8)
    assert_equal(problem.gradients(problem.ours()), problem.gradients(problem.reference()))


def test_torchs_kernel_behind_the_same_function_agrees():
    problem = Problem()
    problem.lengths[2] = 0
    theirs = gru._padded_run(problem.inputs, problem.lengths, *problem.parameters)
    ours = problem.ours()
    assert_equal([ours], [theirs])
    assert_equal(problem.gradients(ours), problem.gradients(theirs))


def test_gradients_equal_finite_differences():
    problem = Problem(n_series=3, n_rows=3, n_inputs=2, n_units=2)
    problem.lengths = torch.tensor([3, 1, 0])
    # Central differences of 1e-6 leave about 1e-9.
    torch.autograd.gradcheck(
        lambda inputs, *parameters: gru_last_state(inputs, problem.lengths, *parameters),
        [problem.inputs, *problem.parameters],
        eps=1e-6,
        atol=1e-7,
    )


def test_padding_has_no_influence():
    problem = Problem()
    padded = torch.arange(7) >= problem.lengths[:, None]
    with torch.no_grad():
        before = problem.ours()
        problem.inputs[padded] = 1e6
    after = problem.ours()
    assert_equal([after], [before], rtol=0, atol=0)
    d_inputs, *_ = problem.gradients(after)
    assert (d_inputs[padded] == 0).all()
    assert d_inputs[~padded].abs().min() > 0


def test_an_empty_series_has_the_state_zero_and_no_gradient():
    problem = Problem()
    problem.lengths.zero_()
    states = problem.ours()
    assert (states == 0).all()
    assert all((gradient == 0).all() for gradient in problem.gradients(states))
    no_rows = gru_last_state(problem.inputs[:, :0], problem.lengths, *problem.parameters)
    assert (no_rows == 0).all()


def test_saturated_gates_stay_finite():
    problem = Problem()
    with torch.no_grad():
        problem.inputs *= 1e3
    ours, theirs = problem.ours(), problem.reference()
    # In units of sums of order 1e3.
    assert_equal([ours], [theirs], rtol=0, atol=1e-10)
    assert_equal(problem.gradients(ours), problem.gradients(theirs), rtol=0, atol=1e-9)


def test_float32_agrees_with_float64():
    single, double = Problem(dtype=torch.float32), Problem()
    ours, exact = single.ours(), double.ours()
    assert ours.dtype == torch.float32
    # 1e-7 of float32 times a recursion of seven steps and sums over six series.
    assert_equal([ours.double()], [exact], rtol=0, atol=1e-5)
    gradients = [each.double() for each in single.gradients(ours)]
    assert_equal(gradients, double.gradients(exact), rtol=1e-4, atol=1e-4)


def test_backward_leaves_what_it_needs_for_another():
    problem = Problem()
    loss = problem.ours().square().sum()
    first = torch.autograd.grad(loss, problem.parameters, retain_graph=True)
    assert_equal(torch.autograd.grad(loss, problem.parameters), first, rtol=0, atol=0)


def test_module_holds_the_parameters_of_a_gru_cell():
    cell, ours = nn.GRUCell(3, 16), GRU(3, 16)
    assert {n: p.shape for n, p in ours.named_parameters()} == {
        n: p.shape for n, p in cell.named_parameters()
    }
    assert all(p.abs().max() <= 1 / 4 for p in ours.parameters())
    assert ours.weight_hh.abs().max() > 0.9 / 4  # of 768 uniform draws; smaller with probability 1e-35
    ours.load_state_dict(cell.state_dict())
    inputs = torch.randn(2, 1, 3, generator=torch.Generator().manual_seed(0))
    state = ours(inputs, torch.tensor([1, 1]))
    # Float32, one step.
    torch.testing.assert_close(state, cell(inputs[:, 0]), rtol=0, atol=1e-6)
    state.sum().backward()
    assert all(p.grad is not None for p in ours.parameters())


def test_shapes_are_checked():
    problem = Problem()
    with pytest.raises(ValueError, match=r"lengths \(B,\); got \(6, 7, 3\) and \(5,\)"):
        gru_last_state(problem.inputs, problem.lengths[1:], *problem.parameters)
    with pytest.raises(ValueError, match="a GRU of 5 units over 2 inputs has parameters"):
        gru_last_state(problem.inputs[..., :2], problem.lengths, *problem.parameters)
