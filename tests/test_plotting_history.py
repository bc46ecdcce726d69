"""The picture of a training."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

from latentode.plotting import plot_history
from tests.drawn import Trained, labels, line

pytestmark = pytest.mark.usefixtures("clean_desk")


def test_history_marks_the_best_validation():
    model = Trained([-1.0, np.nan, -0.2, -0.4])
    likelihoods, divergence = plot_history(model)
    for label, name in (("ELBO, training", "elbo"), ("likelihood, training", "log_likelihood")):
        np.testing.assert_array_equal(line(likelihoods, label).get_ydata(), model.history_[name])
    best = line(likelihoods, "best, at iteration 30")
    assert (best.get_xdata()[0], best.get_ydata()[0]) == (30, -0.2)
    np.testing.assert_array_equal(divergence.lines[0].get_ydata(), model.history_["kl"])


def test_history_without_validation_marks_nothing():
    likelihoods, _ = plot_history(Trained([np.nan] * 3))
    assert labels(likelihoods) == ["likelihood, training", "ELBO, training"]


def test_a_bad_start_does_not_flatten_the_history():
    validation = np.concatenate([[-1e4], np.linspace(-2, -1, 39)])
    likelihoods, _ = plot_history(Trained(validation))
    low, high = likelihoods.get_ylim()
    assert -10 < low < -2
    assert high > -1 / 400


def test_history_shows_the_solvers_error_and_its_knots():
    model = Trained([-1.0, -0.5, -0.4, -0.3])
    _, _, solver = plot_history(model, solver=True)
    np.testing.assert_array_equal(solver.lines[0].get_ydata(), model.history_["solver_error"])
    assert [text.get_text() for text in solver.texts] == ["16 knots", "32"]
    assert [drawn.get_xdata()[0] for drawn in solver.lines[1:]] == [30]  # where they changed
    _, two = plt.subplots(2)
    with pytest.raises(ValueError, match="ax holds 2 Axes; the history needs three"):
        plot_history(model, solver=True, ax=two)


def test_numbers_of_knots_do_not_lie_upon_each_other():
    model = Trained(np.linspace(-1, 0, 40))
    model.history_["knot_spacing"] = np.where(
        np.arange(40) == 0, 1 / 6, np.where(np.arange(40) < 20, 1 / 8, 1 / 12)
    )
    _, _, solver = plot_history(model, solver=True)
    solver.figure.draw_without_rendering()
    assert [text.get_text() for text in solver.texts] == ["8 knots", "12"]
    first, second = (text.get_window_extent() for text in solver.texts)
    assert first.x1 < second.x0
    assert len(solver.lines) == 3  # both changes have their mark


def test_history_shows_the_step_sizes_and_where_training_was_taken_back():
    model = Trained([-1.0, -0.5, -0.4, -0.3])
    model.history_["recoveries"] = [0, 1, 1, 3]
    *_, steps = plot_history(model, steps=True)
    np.testing.assert_array_equal(steps.lines[0].get_ydata(), model.history_["learning_rate"])
    assert line(steps, "taken back").get_xdata().tolist() == [20, 40]
    assert len(plot_history(model, solver=True, steps=True)) == 4
    _, two = plt.subplots(2)
    with pytest.raises(
        ValueError, match="the history needs four: likelihoods, KL, the solver, and step sizes"
    ):
        plot_history(model, solver=True, steps=True, ax=two)


def test_history_is_drawn_in_given_axes():
    _, given = plt.subplots(2)
    assert (plot_history(Trained([-1.0, -0.5]), ax=given) == given).all()
    assert len(plt.get_fignums()) == 1
