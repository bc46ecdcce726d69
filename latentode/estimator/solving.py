"""The fitted model's solver: changed without a new fit, and judged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

from sklearn.utils.validation import check_is_fitted

from latentode.fitting import Fitted
from latentode.model import LatentODEModel
from latentode.solve import best_method
from latentode.solver_report import SolverReport

__all__ = ["Solving"]


class Solving:
    """Trades the fitted solver's precision for speed, and says what it costs and how much it errs.

    Needs of its host: `module_` and `fitted_`, as `fit` leaves them.
    """

    fitted_: Fitted
    module_: LatentODEModel

    def set_solver(
        self,
        *,
        method: str | None = None,
        engine: str | None = None,
        gradient: str | None = None,
        rtol: float | None = None,
        atol: float | None = None,
        knot_spacing: float | None = None,
    ) -> Self:
        """Changes the fitted model's solver: precision for speed, or the other way round; nothing is fitted.

        Args:
            method, engine, gradient, rtol, atol, knot_spacing: as in the constructor; None keeps what was,
                but for the tolerances, which go with another method; "tsit5" becomes "rk4" where only torchdiffeq
                can do what is asked.
        """
        check_is_fitted(self, "module_")
        given = {"method": method, "engine": engine, "gradient": gradient, "spacing": knot_spacing}
        changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        before = self.module_.solver
        if method is None and before.method == "tsit5":
            changed["method"] = best_method(engine or before.engine, gradient or before.gradient)
        if changed.get("method", before.method) == before.method:
            rtol, atol = before.rtol if rtol is None else rtol, before.atol if atol is None else atol
        self.module_.solver = replace(before, **changed, rtol=rtol, atol=atol)
        return self

    @property
    def solver_report_(self) -> SolverReport:
        """What the solver, as it is set now, costs and how much it errs on some of the training series."""
        check_is_fitted(self, "module_")
        return self.fitted_.solver_report()
