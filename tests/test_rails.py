"""A field that no solve or gradient can be right of is refused by name."""

import pytest
import torch
from torch import nn

from latentode import (
    GaussianLikelihood,
    GRUEncoder,
    LatentODEModel,
    MLPField,
    SeriesCollection,
    Solver,
    TrainingOptions,
    train,
)
from latentode.solve import check_field, solve

STATES = torch.randn(3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Field(nn.Module):
    def __init__(self, velocity):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(2, dtype=torch.float64))
        self.hidden = [torch.eye(2, dtype=torch.float64, requires_grad=True)]
        self.velocity = velocity

    def forward(self, t, z):  # noqa: ARG002
        return self.velocity(self, z)


BAD = {
    "nothing": (lambda *_: None, TypeError, "must return a tensor"),
    "shape": (lambda field, z: (z @ field.weight)[:, :1], ValueError, "must have the shape of z"),
    "nan": (lambda field, z: (z @ field.weight) / 0 * 0, ValueError, "returned NaN or infinity"),
    "constant": (lambda _, z: torch.ones_like(z), ValueError, "ignores its input"),
    "of parameters only": (
        lambda field, z: field.weight[:1].expand_as(z),
        ValueError,
        "ignores its input",
    ),
    "detached": (lambda field, z: z.detach() @ field.weight, ValueError, "ignores its input"),
    "hidden parameters": (lambda field, z: z @ field.hidden[0], ValueError, "not among its parameters"),
}


@pytest.mark.parametrize(("velocity", "kind", "message"), BAD.values(), ids=BAD)
def test_a_bad_field_is_named(velocity, kind, message):
    with pytest.raises(kind, match=message):
        check_field(Field(velocity), STATES, adjoint=True)
    with pytest.raises(kind, match=message):
        solve(Field(velocity), STATES.clone().requires_grad_(), 0.0, 1.0, Solver(engine="torchdiffeq"))


def test_hidden_parameters_get_their_gradient_from_backprop():
    field = Field(lambda field, z: z @ field.hidden[0])
    check_field(field, STATES, adjoint=False)
    solver = Solver(engine="torchdiffeq", gradient="backprop")
    solve(field, STATES, 0.0, 1.0, solver).states.sum().backward()
    assert field.hidden[0].grad.abs().sum() > 0


def test_a_function_without_parameters_is_a_field():
    def decay(t, z):  # noqa: ARG001
        return -z

    z0 = STATES.clone().requires_grad_()
    solve(decay, z0, 0.0, 1.0, Solver(engine="torchdiffeq")).states[-1].sum().backward()
    torch.testing.assert_close(z0.grad, torch.full_like(z0, 0.36787944), rtol=1e-5, atol=1e-6)  # exp(-1)


def test_frozen_parameters_are_no_hidden_ones():
    field = MLPField(2, (8,)).double()
    field.requires_grad_(False)
    z0 = STATES.clone().requires_grad_()
    solve(field, z0, 0.0, 1.0, Solver(engine="torchdiffeq")).states.sum().backward()
    assert z0.grad.abs().sum() > 0


def test_training_refuses_a_bad_field_before_its_first_step():
    field = Field(lambda field, z: torch.log(-z.square()) @ field.weight).float()
    model = LatentODEModel(GRUEncoder(1, 2), field, GaussianLikelihood(2, 1))
    data = SeriesCollection(
        torch.arange(6.0), torch.ones(6, 1), torch.ones(6, 1, dtype=torch.bool), torch.tensor([0, 6])
    )
    with pytest.raises(ValueError, match="returned NaN or infinity at ordinary states"):
        train(model, data, TrainingOptions(max_iter=3), torch.Generator().manual_seed(0))
