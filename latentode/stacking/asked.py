"""What regressions learn from and are tried by: contexts of many series, and the rows that they hide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from latentode.baselines import Contexts
from latentode.calibration import HiddenScores
from latentode.series import SeriesCollection
from latentode.stacking.stack import Kinds

__all__ = ["Asked"]


@dataclass(frozen=True)
class Asked:
    """Contexts, and what each of them hides.

    Shapes: Q hidden rows.
        codes (Q,), numbers of their contexts; times (Q,); truth (Q, D), NaN where not observed; series (Q,);
        place (n_masks, R), which of the Q each row of the collection is under each mask, -1 where it is none.
    """

    contexts: Contexts
    codes: np.ndarray
    times: np.ndarray
    truth: np.ndarray
    series: np.ndarray
    place: np.ndarray

    @classmethod
    def of(
        cls,
        collection: SeriesCollection,
        masks: Sequence[Tensor],
        *,
        most: int | None = None,
        generator: np.random.Generator | None = None,
    ) -> Asked:
        """What the masks, (R,) bool each, hide of every series.

        Args:
            most: so many numbers, rows times channels, of a random part of the pairs of mask and series.
        """
        observed = collection.mask.any(1).numpy()
        shown = np.stack([mask.numpy() for mask in masks])
        series = collection.series_of_rows.numpy()
        pair = np.arange(len(masks))[:, None] * len(collection) + series
        n_pairs = len(masks) * len(collection)
        n_shown, n_hidden = (np.bincount(pair[one & observed], minlength=n_pairs) for one in (shown, ~shown))
        chosen = (n_shown > 0) & (n_hidden > 0)  # else it says nothing
        if most is not None and generator is not None:
            order = generator.permutation(np.flatnonzero(chosen))
            sizes = collection.n_channels * np.cumsum((n_shown + n_hidden)[order])
            chosen = np.zeros(n_pairs, dtype=bool)
            chosen[order[: max(1, int(np.searchsorted(sizes, most, side="right")))]] = True
        kept = observed & chosen[pair]
        values = torch.where(collection.mask, collection.values, torch.nan).double().numpy()
        times = collection.times.double().numpy()
        known = np.nonzero(kept & shown)[1]
        statics = None
        if collection.statics is not None:
            statics = collection.statics.double().numpy()[np.flatnonzero(chosen) % len(collection)]
        starts = np.concatenate([[0], np.cumsum(n_shown[chosen])])
        hidden = kept & ~shown
        row = np.nonzero(hidden)[1]
        place = np.full(shown.shape, -1, dtype=np.int32)
        place[hidden] = np.arange(len(row))
        number = np.cumsum(chosen) - 1
        return cls(
            contexts=Contexts(times[known], values[known], starts, statics),
            codes=number[pair[hidden]],
            times=times[row],
            truth=values[row],
            series=series[row],
            place=place,
        )

    @cached_property
    def kinds(self) -> Kinds:
        return Kinds.of(self.contexts, self.codes, self.times)

    def entries(self, kind: str) -> np.ndarray:
        """Which observed values lie "ahead" or "between": (Q, D)."""
        return getattr(self.kinds, kind) & ~np.isnan(self.truth)

    def answered(self, hidden: HiddenScores) -> np.ndarray:
        """What a model said of the hidden values of these very masks, NaN where it was not asked: (Q, D)."""
        found = np.full(self.truth.shape, np.nan)
        query = self.place[hidden.context, hidden.row]
        there = query >= 0
        found[query[there], hidden.channel[there]] = hidden.mean[there]
        return found
