"""How training went."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from latentode.plotting.palette import TRUTH, ink, model_colour

__all__ = ["plot_history"]


def plot_history(model: Any, *, ax: Any = None) -> np.ndarray:
    """Draws the training curves of `model.history_`: ELBO and validation score, and the KL term.

    The ring marks the best validation score, whose weights the model has kept. Where the first checks
    are far worse than all others, the lower limit leaves them out.

    Args:
        model: a fitted `LatentODE`.
        ax: two Axes, or None for a new figure.

    Returns:
        Two Axes: nats per observed value, KL in nats per series.

    Raises:
        ValueError: for a model that is not fitted, or where `ax` holds another number than two.
    """
    history = getattr(model, "history_", None)
    if history is None:
        raise ValueError("the model is not fitted yet; call fit first")
    if ax is None:
        _, panels = plt.subplots(1, 2, figsize=(7.2, 2.9), layout="constrained", width_ratios=(3, 2))
    else:
        panels = np.asarray(ax, dtype=object).ravel()
        if panels.size != 2:
            raise ValueError(f"ax holds {panels.size} Axes; the history needs two: likelihoods, and KL")
    likelihoods, divergence = panels

    iteration = history["iteration"].to_numpy()
    elbo, validation = (history[name].to_numpy(dtype=np.float64) for name in ("elbo", "validation"))
    marks = "." if len(history) == 1 else ""  # a line of one point is not seen
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
    _leave_out_the_start(likelihoods, np.concatenate([elbo, validation]))
    likelihoods.legend(frameon=False, fontsize="small", loc="best")

    divergence.plot(iteration, history["kl"].to_numpy(), marker=marks, color=model_colour())
    divergence.set(xlabel="iteration", ylabel="KL, nats per series")
    return panels


def _leave_out_the_start(ax: Any, values: np.ndarray) -> None:
    """Limits the axis from below where single low values would flatten the rest."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return
    low, middle, high = np.quantile(finite, [0.0, 0.25, 1.0])
    floor = middle - 1.5 * (high - middle)
    if low < floor:
        ax.set_ylim(floor, high + 0.06 * (high - floor))
