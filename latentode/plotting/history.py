"""How training went."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from latentode.plotting.fitted import check_fitted
from latentode.plotting.palette import TRUTH, ink, model_colour

__all__ = ["plot_history"]

# Share of the panel's width that the number of knots takes; with its word twice as much.
_LABEL_WIDTH = 0.12


def plot_history(model: Any, *, solver: bool = False, steps: bool = False, ax: Any = None) -> np.ndarray:
    """Draws the training curves of `model.history_`: likelihood, ELBO and validation score, and the KL term.

    The ring marks the best validation score, whose weights the model has kept (but where too few rows validate to
    choose by: then it has kept the last). Where the first checks
    are far worse than all others, the lower limit leaves them out.

    Args:
        model: a fitted `LatentODE`.
        solver: adds a panel: the relative error of the trajectories, and the knots that it took.
        steps: adds a panel: the size of the optimiser's steps, with a mark where training was taken back to
            sound weights.
        ax: two Axes, one more for each of `solver` and `steps`, or None for a new figure.

    Returns:
        The Axes: nats per observed value, KL in nats per series, and with `solver` the solver's error, with
        `steps` the learning rate.

    Raises:
        sklearn.exceptions.NotFittedError: for a model that is not fitted.
        ValueError: where `ax` holds another number of Axes.
    """
    check_fitted(model)
    history = model.history_
    if ax is None:
        ratios = (3, 2, 2, 2)[: 2 + solver + steps]
        size = (1.44 * sum(ratios), 2.9)
        _, panels = plt.subplots(1, len(ratios), figsize=size, layout="constrained", width_ratios=ratios)
    else:
        panels = np.asarray(ax, dtype=object).ravel()
        shown = ["likelihoods", "KL", *["the solver"] * solver, *["step sizes"] * steps]
        if panels.size != len(shown):
            count = {2: "two", 3: "three", 4: "four"}[len(shown)]
            needed = f"{count}: {', '.join(shown[:-1])}, and {shown[-1]}"
            raise ValueError(f"ax holds {panels.size} Axes; the history needs {needed}")
    likelihoods, divergence = panels[:2]

    iteration = history["iteration"].to_numpy()
    elbo, likelihood, validation = (
        history[name].to_numpy(dtype=np.float64) for name in ("elbo", "log_likelihood", "validation")
    )
    marks = "." if len(history) == 1 else ""  # a line of one point is not seen
    likelihoods.plot(
        iteration,
        likelihood,
        marker=marks,
        color=model_colour(),
        lw=0.9,
        ls=":",
        label="likelihood, training",
    )
    likelihoods.plot(iteration, elbo, marker=marks, color=model_colour(), label="ELBO, training")
    if np.isfinite(validation).any():
        likelihoods.plot(
            iteration, validation, marker=marks, color=TRUTH, ls=(0, (4, 1.2)), label="validation"
        )
        best = int(np.nanargmax(validation))
        likelihoods.plot(
            iteration[best],
            validation[best],
            "o",
            ms=7,
            mfc="none",
            mec=ink(),
            label=f"best, at iteration {iteration[best]}",
        )
    likelihoods.set(xlabel="iteration", ylabel="nats per observed value")
    _leave_out_the_start(likelihoods, np.concatenate([elbo, likelihood, validation]))
    likelihoods.legend(frameon=False, fontsize="small", loc="best")

    divergence.plot(iteration, history["kl"].to_numpy(), marker=marks, color=model_colour())
    divergence.set(xlabel="iteration", ylabel="KL, nats per series")
    if solver:
        _draw_solver(panels[2], history)
    if steps:
        _draw_steps(panels[-1], history)
    return panels


def _draw_solver(ax: Any, history: Any) -> None:
    """The error at each check, and where the knots' spacing changed, how many a unit of model time has."""
    iteration = history["iteration"].to_numpy()
    error = history["solver_error"].to_numpy(dtype=np.float64)
    knots = 1 / history["knot_spacing"].to_numpy(dtype=np.float64)
    ax.plot(iteration, error, marker="." if len(history) == 1 else "", color=model_colour())
    if np.isfinite(error).any():
        ax.set_yscale("log")
    changes = np.array([0, *(np.flatnonzero(np.diff(knots)) + 1)])
    for place in changes[1:]:
        ax.axvline(iteration[place], color=ink(), lw=0.6, alpha=0.5)
    # A number stands where there is room for it before the next one.
    ends = np.append(iteration[changes[1:]], np.inf)
    room = _LABEL_WIDTH * (iteration[-1] - iteration[0])
    told = changes[ends - iteration[changes] >= room * np.where(changes == 0, 2, 1)]
    for number, place in enumerate(told):
        ax.annotate(
            f"{knots[place]:g} knots" if not number else f"{knots[place]:g}",
            (iteration[place], 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(2, -10),
            textcoords="offset points",
            fontsize="x-small",
        )
    ax.set(xlabel="iteration", ylabel="relative solver error")
    ax.margins(y=0.2)


def _draw_steps(ax: Any, history: Any) -> None:
    """The learning rate, and crosses where a step failed and all after it are half as long."""
    iteration = history["iteration"].to_numpy()
    rate = history["learning_rate"].to_numpy(dtype=np.float64)
    ax.plot(iteration, rate, marker="." if len(history) == 1 else "", color=model_colour())
    back = np.diff(history["recoveries"].to_numpy(), prepend=0) > 0
    if back.any():
        ax.plot(iteration[back], rate[back], "x", color=TRUTH, label="taken back")
        ax.legend(frameon=False, fontsize="small")
    ax.set(xlabel="iteration", ylabel="learning rate")
    ax.set_ylim(bottom=0)


def _leave_out_the_start(ax: Any, values: np.ndarray) -> None:
    """Limits the axis from below where single low values would flatten the rest."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return
    low, middle, high = np.quantile(finite, [0.0, 0.25, 1.0])
    floor = middle - 1.5 * (high - middle)
    if low < floor:
        ax.set_ylim(floor, high + 0.06 * (high - floor))
