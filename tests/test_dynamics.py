"""Fields that start from turns of a period: circles near zero, in which nothing grows, fades or drifts."""

import math

import pytest
import torch

from latentode import MLPField, Solver
from latentode.solve import integrate

SPEED = 2 * math.pi / 0.125


def turning(latent_dim=5, hidden=(32, 32), n_pairs=2, **settings):
    torch.manual_seed(0)
    field = MLPField(latent_dim, hidden, **settings).double()
    field.start_turning(SPEED, n_pairs)
    return field


@pytest.mark.parametrize("hidden", [(), (32,), (32, 32), (64, 32, 32)])
def test_pairs_turn_and_the_others_stand_still(hidden):
    field = turning(hidden=hidden)
    z = torch.randn(50, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    small = 1e-3 * z
    expected = SPEED * torch.stack([-z[:, 1], z[:, 0], -z[:, 3], z[:, 2], torch.zeros(50)], dim=1)
    torch.testing.assert_close(1e3 * field(torch.tensor(0.0), small), expected, rtol=1e-4, atol=1e-3)


def test_what_is_left_beside_the_turns_is_of_third_order():
    field = turning()
    jacobian = torch.func.jacrev(lambda z: field(torch.tensor(0.0), z))(torch.zeros(5, dtype=torch.float64))
    z = torch.ones(5, dtype=torch.float64) / 10

    @torch.no_grad()
    def left(z):
        return float((field(torch.tensor(0.0), z) - jacobian @ z).norm())

    assert math.log2(left(z) / left(z / 2)) == pytest.approx(3, abs=0.05)


def test_a_state_is_back_where_it_was_after_each_of_eight_periods():
    field = turning(bound=8 * SPEED)
    z0 = torch.tensor([[1.0, 0.0, 0.0, -1.0, 0.5]], dtype=torch.float64)
    with torch.no_grad():
        states, _ = integrate(field, z0, spacing=1 / 208, n_steps=208, solver=Solver(spacing=1 / 208))
    away = (states[:, 0] - z0).norm(dim=-1)
    assert away[::26].max() < 0.6  # of circles of radius 1, after eight turns
    assert away[13::26].min() > 2.5  # half a turn from there, the diameters of two circles


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_pairs": 3}, "5 components have no 3 pairs"),
        ({"activation": "silu"}, "turns start from a field of tanh; got 'silu'"),
    ],
)
def test_what_can_not_turn_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        turning(**settings)
