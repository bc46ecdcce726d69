"""Answers moved towards a regression on what the context shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from latentode.baselines import Contexts, Neighbours, Ridge
from latentode.series import SeriesBatch
from latentode.stacking.weights import Weights

__all__ = ["KINDS", "Kinds", "Member", "Stack", "contexts_of"]

# Of a regression, and of what is asked of it: see `Kinds`.
KINDS = ("ahead", "between")


class Kinds(NamedTuple):
    """What a regression is asked of each channel at Q queries: (Q, D) each.

    `ahead` of the context's last row, or `between` two of the channel's own observations; `lead` is the time since that
    row, or to the nearer of the two. Neither where a channel was observed at the very time, before its first
    observation, and behind its last where others go on: there a forecast from the last row is no answer.
    """

    ahead: np.ndarray
    between: np.ndarray
    lead: np.ndarray

    @classmethod
    def of(cls, contexts: Contexts, codes: np.ndarray, times: np.ndarray) -> Kinds:
        near = Neighbours(contexts, codes, times)
        left, right = times[:, None] - near.left_time, near.right_time - times[:, None]
        since = np.broadcast_to((times - contexts.ends[codes])[:, None], left.shape)
        between = (left > 0) & (right > 0)
        return cls(since > 0, between, np.where(between, np.minimum(left, right), since))


@dataclass(frozen=True)
class Member:
    """A regression, and how far answers are moved towards it."""

    ridge: Ridge
    weights: Weights

    def shift(
        self, contexts: Contexts, codes: np.ndarray, times: np.ndarray, mean: np.ndarray, lead: np.ndarray
    ) -> np.ndarray:
        nothing = np.zeros(contexts.n_channels)
        return self.weights.at(lead) * (self.ridge.predict(contexts, codes, times, nothing) - mean)


@dataclass(frozen=True)
class Stack:
    """x(t) = model(t) + w(lead) (ridge(t) - model(t)): a regression ahead of observations, and one between them.

    None in place of a regression towards which nothing is moved.
    """

    ahead: Member | None
    between: Member | None

    def usual(self) -> dict[str, np.ndarray]:
        """How far answers are usually moved, ahead and between: (D,) each, 0 where they are not."""
        found = {kind: member and member.weights.usual for kind, member in vars(self).items()}
        nothing = np.zeros_like(next(weights for weights in found.values() if weights is not None))
        return {kind: nothing if weights is None else weights for kind, weights in found.items()}

    def pack(self) -> dict[str, Tensor]:
        """As tensors, by names of two parts."""
        found: dict[str, Tensor] = {}
        for kind, member in vars(self).items():
            if member is not None:
                learned = member.ridge.learned() | {
                    f"weights_{k}": v for k, v in vars(member.weights).items()
                }
                found |= {f"{kind}.{name}": torch.from_numpy(array) for name, array in learned.items()}
        return found

    @classmethod
    def unpack(cls, tensors: Mapping[str, Tensor], n_channels: int, n_statics: int) -> Stack | None:
        """What `pack` gave; None of nothing.

        Raises:
            KeyError, ValueError: where the parts don't belong together.
        """
        if not tensors:
            return None
        members: dict[str, Member | None] = {}
        for kind in KINDS:
            own = {
                name.removeprefix(f"{kind}."): t.numpy()
                for name, t in tensors.items()
                if name.startswith(f"{kind}.")
            }
            if not own:
                members[kind] = None
                continue
            ridge = Ridge.restored(kind == "ahead", own, n_channels)
            if ridge.statics_scale.shape != (n_statics,):
                raise ValueError("a regression was fitted to other static features")
            weights = Weights(own["weights_knots"], own["weights_values"])
            weights.check(n_channels)
            members[kind] = Member(ridge, weights)
        if not any(members.values()):
            raise ValueError("there is no regression in what is said to be some")
        return cls(**members)

    def shift(self, context: SeriesBatch, times: Tensor, mean: Tensor) -> Tensor:
        """What is added to the model's answers, 0 where a context shows nothing.

        Shapes:
            context (B, N), times (B, M) on its clock, mean (B, M, D), all in scaled units -> (B, M, D).
        """
        contexts = contexts_of(context)
        codes = np.repeat(np.arange(times.shape[0]), times.shape[1])
        asked = times.detach().cpu().double().numpy().ravel()
        answered = mean.detach().cpu().double().numpy().reshape(len(asked), -1)
        kinds = Kinds.of(contexts, codes, asked)
        found = np.zeros(answered.shape)
        for member, entries in ((self.ahead, kinds.ahead), (self.between, kinds.between)):
            rows = np.flatnonzero(entries.any(1))
            if member is None or not len(rows):
                continue
            moved = member.shift(contexts, codes[rows], asked[rows], answered[rows], kinds.lead[rows])
            found[rows] += np.where(entries[rows], moved, 0.0)
        return torch.from_numpy(found).to(mean).view(mean.shape)


def contexts_of(batch: SeriesBatch) -> Contexts:
    """The observed rows of a batch, series after series, as baselines read them."""
    observed = batch.observed_rows.cpu()
    mask = batch.mask.cpu()[observed].numpy()
    values = batch.values.detach().cpu()[observed].double().numpy()
    statics = None if batch.statics is None else batch.statics.detach().cpu().double().numpy()
    return Contexts(
        batch.times.detach().cpu()[observed].double().numpy(),
        np.where(mask, values, np.nan),
        np.concatenate([[0], np.cumsum(observed.sum(1).numpy())]),
        statics,
    )
