"""The knot spacing follows the error, by whole fractions of the time unit, without fluttering."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from latentode import Solver, TrainingOptions, train
from latentode.solve.knots import MARGIN, START_SPACING, next_spacing
from tests.problems import noisy_waves, small_model

TOLERANCE = 3e-4


def settled(constant, *, order=4, n=40, span=1.0, start=START_SPACING):
    """Spacings visited where the error is constant * spacing^order."""
    spacing, visited = start, [start]
    for _ in range(n):
        spacing = next_spacing(spacing, constant * spacing**order, tolerance=TOLERANCE, span=span)
        visited.append(spacing)
    return visited


@pytest.mark.parametrize("constant", [10.0**k for k in range(-6, 6)])
@pytest.mark.parametrize("order", [4, 5])
def test_it_settles_where_the_tolerance_is_met(constant, order):
    visited = settled(constant, order=order)
    assert visited[-1] == visited[-2]  # one spacing, not two by turns
    assert constant * visited[-1] ** order <= TOLERANCE
    assert visited[-1] == 1 / 4 or constant * (2 * visited[-1]) ** order > TOLERANCE / MARGIN


def test_errors_beside_the_limits_do_not_make_it_flutter():
    for error in (TOLERANCE / MARGIN / 16, TOLERANCE * 0.99, TOLERANCE * 1.01):
        assert len(set(settled(error / START_SPACING**4)[4:])) == 1


def test_it_goes_through_four_spacings_an_octave():
    visited = [1 / n for n in (4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32)]
    for before, after in pairwise(visited):
        assert next_spacing(before, 1.1 * TOLERANCE, tolerance=TOLERANCE, span=1.0) == pytest.approx(
            after, rel=1e-12
        )
        assert next_spacing(after, 0.0, tolerance=TOLERANCE, span=1.0) == pytest.approx(before, rel=1e-12)
    assert next_spacing(1 / 4, 0.0, tolerance=TOLERANCE, span=1.0) == 1 / 4
    # One that a user chose joins them.
    assert next_spacing(0.1, 1.1 * TOLERANCE, tolerance=TOLERANCE, span=1.0) == pytest.approx(1 / 12)
    assert next_spacing(0.1, 0.0, tolerance=TOLERANCE, span=1.0) == 1 / 8


def test_a_sharper_field_is_followed_to_a_quarter_at_a_time():
    assert next_spacing(1 / 8, 15 * TOLERANCE, tolerance=TOLERANCE, span=1.0) == 1 / 16
    for error in (1e3 * TOLERANCE, math.inf, math.nan):
        assert next_spacing(1 / 8, error, tolerance=TOLERANCE, span=1.0) == 1 / 32


def test_a_stiff_field_does_not_take_knots_without_end():
    assert settled(1e30)[-1] >= 1 / 2048


class Turning(nn.Module):
    """Four turns a unit of time, whatever is learned."""

    autonomous = True

    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(25 * torch.tensor([[0.0, 1.0], [-1.0, 0.0]]), requires_grad=False)

    def forward(self, t, z):  # noqa: ARG002
        return z @ self.matrix


def test_knots_of_an_adaptive_method_follow_what_is_read_between_them():
    model = small_model(Turning(), Solver(method="dopri5", spacing=START_SPACING))
    options = TrainingOptions(max_iter=4, n_checks=4, batch_size=4)
    history = train(model, noisy_waves(8), options, torch.Generator().manual_seed(0))
    assert history[0].solver_error > 10 * options.tolerance
    assert history[-1].solver_error < options.tolerance
    assert model.solver.spacing < START_SPACING / 2


def test_knots_are_not_held_to_more_than_an_adaptive_method_promises():
    assert Solver(method="dopri5", rtol=1e-3).reachable(TOLERANCE) == pytest.approx(1e-2)
    assert Solver(method="dopri5").reachable(TOLERANCE) == TOLERANCE
    assert Solver(method="rk4").reachable(TOLERANCE) == TOLERANCE
