"""Where a training run stands: what its next step depends on, kept, rolled back and put in a file."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from latentode.model import LatentODEModel
from latentode.solve import Solver
from latentode.training.batches import BatchesOfLikeLength

__all__ = ["Record", "TrainingState"]


@dataclass(frozen=True)
class Record:
    """One line of the training history; likelihoods are nats per observed value, KL nats per series.

    `ended` is empty but for the last line, where it says why training ended: "max_iter", "patience" or
    "interrupt".
    """

    iteration: int
    elbo: float
    log_likelihood: float
    kl: float
    validation: float
    learning_rate: float
    residual_share: float
    knot_spacing: float
    solver_error: float
    recoveries: int
    seconds: float
    ended: str = ""


@dataclass(frozen=True)
class Snapshot:
    """A copy of a model's weights, and the solver that they go with."""

    weights: dict[str, Tensor]
    solver: Solver

    @classmethod
    def of(cls, model: LatentODEModel) -> Snapshot:
        return cls({name: tensor.clone() for name, tensor in model.state_dict().items()}, model.solver)

    def restore(self, model: LatentODEModel) -> None:
        model.load_state_dict(self.weights)
        model.solver = self.solver


class TrainingState:
    """Everything that changes from step to step.

    Attributes:
        iteration: steps taken or tried.
        good: weights that a rollback returns to: the last ones that were found sound at a check.
        best: the weights of the best validation score, `best_score`, `checks_since_best` checks ago.
        recoveries: rollbacks so far; `slowdown` is what they left of the learning rate.
        means: of the bound since the last check.
    """

    def __init__(
        self,
        model: LatentODEModel,
        batches: BatchesOfLikeLength,
        make_optimiser: Callable[[], torch.optim.Optimizer],
    ) -> None:
        self.model, self.batches, self._make_optimiser = model, batches, make_optimiser
        self.optimiser = make_optimiser()
        self.iteration = 0
        self.good = self.best = Snapshot.of(model)
        self.best_score, self.checks_since_best = -math.inf, 0
        self.recoveries, self.slowdown = 0, 1.0
        self.means = Means()
        self.history: list[Record] = []
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    @property
    def ended(self) -> bool:
        return bool(self.history and self.history[-1].ended)

    def end(self, reason: str) -> None:
        """Says in the last record why training ended."""
        self.history[-1] = replace(self.history[-1], ended=reason)

    def keep_good(self) -> None:
        """Takes the weights of now for those that a rollback returns to."""
        self.good = Snapshot.of(self.model)

    def keep_best(self, score: float) -> None:
        """Takes the weights of now for those of the best validation score."""
        self.best_score, self.best, self.checks_since_best = score, Snapshot.of(self.model), 0

    def roll_back(self) -> None:
        """To the last good weights, with an optimiser that remembers nothing and steps of half the length."""
        self.good.restore(self.model)
        self.optimiser = self._make_optimiser()
        self.recoveries += 1
        self.slowdown /= 2

    # Between two checks `means` holds sums as well: the state is packed right after a check.

    def pack(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The state as numbers and text, and as tensors; to be taken right after a check."""
        assert not self.means.sums, "the sums since the last check are not packed"
        snapshots = {"now": Snapshot.of(self.model), "good": self.good, "best": self.best}
        description = {
            **{name: getattr(self, name) for name in _NUMBERS},
            "seconds": self.seconds,
            "history": [asdict(record) for record in self.history],
            "solvers": {name: asdict(snapshot.solver) for name, snapshot in snapshots.items()},
            "n_ready": len(self.batches.ready),
        }
        tensors = {"generator": self.batches.generator.get_state(), "waiting": self.batches.waiting}
        tensors |= {f"ready.{number}": batch for number, batch in enumerate(self.batches.ready)}
        for place, snapshot in snapshots.items():
            tensors |= {f"{place}.{name}": tensor for name, tensor in snapshot.weights.items()}
        for number, moments in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{name}": tensor for name, tensor in moments.items()}
        return description, tensors

    def unpack(self, description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Puts the run where `pack` was called, the weights on the model's own device."""
        # Copies: memory that is not aligned as torch's own is may be summed in another order.
        tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        for name in _NUMBERS:
            setattr(self, name, description[name])
        self._started = time.monotonic() - description["seconds"]
        self.history = [Record(**record) for record in description["history"]]
        self.batches.generator.set_state(tensors["generator"])
        self.batches.waiting = tensors["waiting"]
        self.batches.ready = [tensors[f"ready.{number}"] for number in range(description["n_ready"])]
        snapshots = {
            place: Snapshot(_within(tensors, place), Solver(**solver))
            for place, solver in description["solvers"].items()
        }
        for place in ("good", "best", "now"):
            snapshots[place].restore(self.model)
            snapshots[place] = Snapshot.of(self.model)
        self.good, self.best = snapshots["good"], snapshots["best"]
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _within(tensors, "optimiser").items():
            number, _, kind = name.partition(".")
            moments.setdefault(int(number), {})[kind] = tensor
        self.optimiser = self._make_optimiser()
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": moments})
        self.means = Means()


_NUMBERS = ("iteration", "best_score", "checks_since_best", "recoveries", "slowdown")


def _within(tensors: Mapping[str, Tensor], place: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{place}."): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{place}.")
    }


class Means:
    """Running sums between two checks; they stay on the device until they are read."""

    def __init__(self) -> None:
        self.sums: list[Tensor] = []
        self.n_series = 0

    def add(self, log_likelihood: Tensor, kl: Tensor, n_observed: Tensor, n_series: int) -> None:
        self.sums.append(torch.stack([log_likelihood.detach(), kl.detach(), n_observed.to(kl.dtype)]))
        self.n_series += n_series

    def take(self) -> dict[str, float]:
        """The means since the last time, NaN where there was no step."""
        if not self.sums:
            return {"elbo": math.nan, "log_likelihood": math.nan, "kl": math.nan}
        log_likelihood, kl, n_observed = torch.stack(self.sums).sum(0).tolist()
        means = {
            "elbo": (log_likelihood - kl) / n_observed,
            "log_likelihood": log_likelihood / n_observed,
            "kl": kl / self.n_series,
        }
        self.sums, self.n_series = [], 0
        return means
