"""The perceptron and its shortcut."""

import pytest
import torch

from latentode.nn import MLP


def made(**settings):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MLP(3, (8,), 5, **settings).double()


X = torch.randn(7, 3, generator=torch.Generator().manual_seed(0)).double()


def test_a_shortcut_changes_nothing_at_the_start():
    assert torch.equal(made(shortcut=True)(X), made()(X))


def test_a_shortcut_adds_a_linear_map():
    network = made(shortcut=True)
    matrix = torch.randn(5, 3, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        network.shortcut.copy_(matrix)
    torch.testing.assert_close(network(X) - made()(X), X @ matrix.T)


def test_the_gradient_with_respect_to_everything():
    network = made(shortcut=True)
    parameters = tuple(network.parameters())
    assert len(parameters) == 5

    def answer(x, *values):
        names = [name for name, _ in network.named_parameters()]
        return torch.func.functional_call(network, dict(zip(names, values, strict=True)), (x,))

    inputs = [one.detach().clone().requires_grad_() for one in (X, *parameters)]
    assert torch.autograd.gradcheck(answer, inputs)


def test_an_unknown_activation_is_named():
    with pytest.raises(ValueError, match="activation must be one of"):
        made(activation="relu")
