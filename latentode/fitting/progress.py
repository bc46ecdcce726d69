"""The bar of a fit: steps and time left, how validation stands, and how near training is to stopping early."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tqdm.auto import tqdm

from latentode.training import RESIDUAL_END, Record, TrainingOptions

__all__ = ["FitBar", "standing"]


class FitBar:
    """A bar on standard error, or in the cell of a notebook; `show` is what `train` calls at its checks.

    Args:
        before: records of a killed run that goes on.
        shown: False makes it silent.
    """

    def __init__(self, options: TrainingOptions, before: Sequence[Record], *, shown: bool) -> None:
        self._options, self._history = options, list(before[:-1])  # the last one is shown again
        self._bar = tqdm(
            total=options.max_iter, desc="fitting", disable=not shown, unit="step", dynamic_ncols=True
        )

    def __enter__(self) -> FitBar:
        self._bar.__enter__()
        return self

    def __exit__(self, *failure: object) -> None:
        self._bar.__exit__(*failure)

    def show(self, record: Record) -> None:
        self._history.append(record)
        self._bar.set_postfix_str(standing(self._history, self._options), refresh=False)
        self._bar.update(record.iteration - self._bar.n)


def standing(history: Sequence[Record], options: TrainingOptions) -> str:
    """How training stands at the last check, in a few words."""
    last = history[-1]
    checked = [record for record in history if not math.isnan(record.validation)]
    said = f"ELBO {last.elbo:.3f}"
    if not checked:
        return said
    best = max(checked, key=lambda record: record.validation)
    said += f", validation {last.validation:.3f}"
    if best.iteration == last.iteration:
        return f"{said} (the best)"
    said += f" (best {best.validation:.3f} at {best.iteration})"
    # Checks count from where `train` counts them.
    first = 0 if options.warm else RESIDUAL_END * options.max_iter
    waited = sum(record.iteration > max(first, best.iteration) for record in history)
    return (
        f"{said}, {waited} of {options.patience} checks to an early stop"
        if waited and options.select
        else said
    )
