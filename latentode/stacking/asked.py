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

# About so many numbers of each channel a regression makes of a context, however little that shows.
N_OF_CONTEXT = 20


@dataclass(frozen=True)
class Asked:
    """Contexts, and what each of them hides.

    Shapes: Q hidden rows.
        codes (Q,), numbers of their contexts; times (Q,); truth (Q, D), NaN where not observed; series (Q,);
        mask, row (Q,), which mask hides it, and which row of the collection it is.
    """

    contexts: Contexts
    codes: np.ndarray
    times: np.ndarray
    truth: np.ndarray
    series: np.ndarray
    mask: np.ndarray
    row: np.ndarray

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
            most: so many numbers at most, (rows and features) times channels, of random pairs of mask and series.
        """
        observed, series = collection.mask.any(1).numpy(), collection.series_of_rows.numpy()
        shown = [mask.numpy() for mask in masks]  # taken one by one: all at once would be many times the data
        n_series, n_channels = len(collection), collection.n_channels
        n_shown, n_hidden = (
            np.stack([np.bincount(series[observed & (one == kept)], minlength=n_series) for one in shown])
            for kept in (True, False)
        )
        chosen = (n_shown > 0) & (n_hidden > 0)  # else it says nothing
        if most is not None and generator is not None:
            order = generator.permutation(np.flatnonzero(chosen))
            sizes = n_channels * np.cumsum((n_shown + n_hidden).ravel()[order] + N_OF_CONTEXT)
            chosen = np.zeros(chosen.shape, dtype=bool)
            chosen.flat[order[: max(1, int(np.searchsorted(sizes, most, side="right")))]] = True
        knowns, rows = (
            [
                np.flatnonzero(observed & its[series] & (one == kept))
                for its, one in zip(chosen, shown, strict=True)
            ]
            for kept in (True, False)
        )
        known, row = np.concatenate(knowns), np.concatenate(rows)
        mask = np.repeat(np.arange(len(masks)), [len(one) for one in rows])
        values = torch.where(collection.mask, collection.values, torch.nan).double().numpy()
        times = collection.times.double().numpy()
        statics = None
        if collection.statics is not None:
            statics = collection.statics.double().numpy()[np.nonzero(chosen)[1]]
        starts = np.concatenate([[0], np.cumsum(n_shown[chosen])])
        number = (np.cumsum(chosen) - 1).reshape(chosen.shape)
        return cls(
            contexts=Contexts(times[known], values[known], starts, statics),
            codes=number[mask, series[row]],
            times=times[row],
            truth=values[row],
            series=series[row],
            mask=mask,
            row=row,
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
        if not len(found):
            return found
        n_rows = 1 + max(self.row.max(), hidden.row.max(initial=0))
        own, its = self.mask * n_rows + self.row, hidden.context * n_rows + hidden.row  # the former increases
        query = np.searchsorted(own, its).clip(max=len(own) - 1)
        there = own[query] == its
        found[query[there], hidden.channel[there]] = hidden.mean[there]
        return found
