"""A fit as it is kept: the trained model, and all that its answers need."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latentode.calibration import Calibration
from latentode.fitting.build import Architecture
from latentode.fitting.signal import ChannelSignal
from latentode.fitting.verdict import Verdict
from latentode.frames import Instants, Roles, Scaling, SeriesTable, Statics
from latentode.model import LatentODEModel
from latentode.series import SeriesCollection
from latentode.solver_report import SolverReport, report_solver
from latentode.stacking import Stack
from latentode.training import Record

__all__ = ["Fitted"]

# Times along an orbit at which what the decoder predicts of the noise is read.
N_TIMES = 32


@dataclass(frozen=True)
class Fitted:
    """What a fit learned: all that answers need, and how it went.

    `clock` holds no instants, only the kind of time that frames must have. `probe` holds posterior means of
    z0 of some training series, (P, L), and `span` the longest of them in model time: what the solver is
    judged on, see `solver_report`. `calibration` adjusts the bands, None where they are left as they are.
    `statics` says how static columns become features of a series.
    `signal` says of each channel what was found in it; files of earlier versions hold none of it.
    `verdict` is what was found on the withheld data, None in files that were written before there was one.
    `reach` is the time that one z0 answers for at most, in model time, None for that of 256 rows. `stack` moves
    answers towards a regression, None where they are left to the model.
    """

    model: LatentODEModel
    scaling: Scaling
    statics: Statics
    architecture: Architecture
    roles: Roles
    clock: Instants
    history: list[Record]
    probe: Tensor
    span: float
    tolerance: float | None
    calibration: Calibration | None = None
    signal: tuple[ChannelSignal, ...] = ()
    verdict: Verdict | None = None
    reach: float | None = None
    stack: Stack | None = None

    @property
    def longest(self) -> float | None:
        """`reach` in the clock's units."""
        return None if self.reach is None else self.reach * self.scaling.time_unit

    @property
    def period(self) -> float | None:
        """Of what turns in the series, in the clock's units."""
        period = self.architecture.period
        return None if period is None else period * self.scaling.time_unit

    @property
    def dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype

    def collection(self, table: SeriesTable) -> SeriesCollection:
        """What a table observes and tells of its series, in scaled units and model time."""
        return self.scaling.scale(table.collection(self.statics), self.dtype)

    @property
    def extent(self) -> tuple[float, float]:
        """From where to where the longest training series reaches, counted from z0, in model time."""
        return (0.0, self.span) if self.architecture.origin == "first" else (-self.span, 0.0)

    def solver_report(self) -> SolverReport:
        """What the solver, as it is set now, costs and how much it errs."""
        like = next(self.model.parameters())
        return report_solver(self.model, self.probe.to(like), *self.extent, tolerance=self.tolerance)

    @torch.no_grad()
    def noise_variance(self) -> Tensor:
        """Of each channel, in squared scaled units; of a predicted scale the mean along the probe's orbits: (D,)."""
        likelihood = self.model.likelihood
        if likelihood.noise_scale == "learned":
            return likelihood.noise_variance
        like = next(self.model.parameters())
        times = torch.linspace(*self.extent, N_TIMES, dtype=like.dtype, device=like.device)
        path = self.model.decoded_path(self.probe.to(like).unsqueeze(0), times.expand(len(self.probe), -1))
        return likelihood.variance(path.offset).mean((0, 1, 2))
