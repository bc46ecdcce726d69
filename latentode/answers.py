"""A fitted model asked about tables: arrays in the data's units, in the order of the questions."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from latentode import inference
from latentode._warnings import warn_user
from latentode.cuts import fold_contexts
from latentode.fitting import Fitted
from latentode.fitting.outliers import not_read
from latentode.frames import Instants, Questions, SeriesTable
from latentode.frames.columns import shown
from latentode.inference import Queries
from latentode.series import SeriesBatch, SeriesCollection
from latentode.spans import MAX_ROWS

__all__ = ["PARTS", "Answers"]

# Of a mean: what the smooth trajectory says, what the residual process adds, and what a regression.
PARTS = ("trajectory", "residual", "regression")

# Times that lie this many lengths of the longest training series away from a series' rows get a warning.
FAR = 2.0

# Spans are what limits a fit whose longest series lasts so much of one.
NEAR_REACH = 0.75

# A series that is so many times as long as the longest training series, and its rows so many times as far apart as is
# usual, gets one too.
LONG = 20.0


@dataclass(frozen=True)
class Answers:
    """What `LatentODE` puts into frames.

    Attributes:
        reads_all: values too far out to be anything but mistakes are read like any others.

    Shapes: R rows of a table, Q questions, D channels, S samples, L latent dimensions.
    """

    fitted: Fitted
    device: str
    reads_all: bool = False

    def _usual(self, table: SeriesTable) -> SeriesCollection:
        """What a table observes, without what lies too far out to be anything but a mistake."""
        observed = self.fitted.collection(table)
        return observed if self.reads_all else not_read(observed, table.roles.value_cols, table.ids)

    def _collection(self, table: SeriesTable) -> SeriesCollection:
        """What is read of a table: rows of which nothing is left are none."""
        return self._usual(table).compact()

    def usual(self, table: SeriesTable) -> SeriesTable:
        """The table without the values that are not read."""
        rows, merged = table.merged_rows()
        values = table.values.copy()
        values[rows] = np.where(self._usual(table).mask.numpy()[merged], values[rows], np.nan)
        return replace(table, values=values)

    def _asked(
        self, table: SeriesTable, questions: Questions
    ) -> tuple[SeriesCollection, np.ndarray, Queries]:
        """What is read, the order that puts the questions series by series, and their times in it."""
        collection = self._collection(table)
        order, times, starts = questions.by_series(table, self.fitted.scaling)
        self._warn_of_long(table, collection)
        self._warn_of_far(table, collection, times, starts)
        wanted = None if questions.wanted is None else torch.from_numpy(questions.wanted[order])
        return collection, order, Queries(times, starts, wanted)

    def _warn_of_long(self, table: SeriesTable, collection: SeriesCollection) -> None:
        """Of series so long and sparse that their times are in other units, where the clock has none of its own."""
        if self.fitted.clock.kind != "number" or not len(collection):
            return
        longer = collection.spans / max(1.0, self.fitted.span)
        longest = int(longer.argmax())
        if float(longer[longest]) < LONG:
            return
        first, last = collection.starts[longest : longest + 2].tolist()
        gap = float(collection.times[first:last].diff().median())
        if gap > LONG * self.fitted.architecture.typical_gap:
            whose = f"series {shown(table.ids[longest])}" if len(table.ids) > 1 else "the series"
            warn_user(
                f"{whose} is {float(longer[longest]):.3g} times as long as the longest that the model was fitted to: "
                "are its times in the same units?"
            )

    def _warn_of_far(
        self, table: SeriesTable, collection: SeriesCollection, times: Tensor, starts: Tensor
    ) -> None:
        """Of times (Q,) that are farther from a series than anything the model was shown."""
        asked = torch.nonzero((collection.lengths > 0) & (starts.diff() > 0)).flatten()
        rows = collection.times
        before = rows[collection.starts[asked]] - times[starts[asked]]
        after = times[starts[asked + 1] - 1] - rows[collection.starts[asked + 1] - 1]
        away = torch.maximum(before, after) / max(1.0, self.fitted.span)
        far = asked[away > FAR]
        if len(far):
            first = shown(table.ids[int(far[0])])
            whose = (
                f" ({len(far)} of {len(asked)} series, the first is {first})" if len(table.ids) > 1 else ""
            )
            length, remedy = "lengths of the longest training series", "fit longer series"
            if self.fitted.reach is not None and self.fitted.span > NEAR_REACH * self.fitted.reach:
                length, remedy = "times the span that it was trained in", "fit with a longer `span`"
            warn_user(
                f"times are asked that lie up to {float(away.max()):.3g} {length} away "
                f"from a series' own rows{whose}: the model has seen nothing like it, and what it answers there is not "
                f"to be relied on. Ask nearer times, or {remedy}"
            )

    def predict(
        self,
        table: SeriesTable,
        questions: Questions,
        levels: Sequence[float],
        n_samples: int,
        point: str,
        *,
        parts: bool = False,
    ) -> dict[Hashable, np.ndarray]:
        """Columns (Q,) of means (or medians), and of a central band's bounds for each level in percent.

        Args:
            parts: adds the parts of each mean, see PARTS, in the data's units.
        """
        collection, order, queries = self._asked(table, questions)
        quantiles = [q for level in levels for q in (0.5 - level / 200, 0.5 + level / 200)]
        told = inference.predict(
            self.fitted.model,
            collection,
            queries,
            n_samples=n_samples,
            quantiles=[0.5, *quantiles] if point == "median" else quantiles,
            calibration=self.fitted.calibration,
            stack=self.fitted.stack,
            reach=self.fitted.reach,
            device=self.device,
        )
        back = np.argsort(order)
        bounds = torch.cat([told.mean.unsqueeze(0), told.quantiles]) if point == "mean" else told.quantiles
        found = self.fitted.scaling.unscale(bounds)[:, back]
        names = self.fitted.roles.value_cols
        columns: dict[Hashable, np.ndarray] = dict(zip(names, found[0].T, strict=True))
        for channel, name in enumerate(names):
            for number, level in enumerate(levels):
                columns[f"{name}-lo-{level:g}"] = found[1 + 2 * number, :, channel]
                columns[f"{name}-hi-{level:g}"] = found[2 + 2 * number, :, channel]
        if parts:
            # The channel's middle is the trajectory's: the others are around 0.
            spread = self.fitted.scaling.spread
            residual, regression = (
                one.double().numpy()[back] * spread for one in (told.residual, told.regression)
            )
            for channel, name in enumerate(names):
                own = residual[:, channel], regression[:, channel]
                of_parts = (found[0, :, channel] - sum(own), *own)
                columns |= {f"{name}-{part}": values for part, values in zip(PARTS, of_parts, strict=True)}
        return columns

    def sample(
        self, table: SeriesTable, questions: Questions, n_samples: int, *, observation_noise: bool, seed: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Paths by series, then sample, then time as asked for.

        Shapes:
            -> number of the question (S Q,), of the sample (S Q,), values (S Q, D).
        """
        collection, order, queries = self._asked(table, questions)
        drawn = inference.sample(
            self.fitted.model,
            collection,
            queries,
            [repr(name) for name in table.ids.tolist()],
            n_samples=n_samples,
            observation_noise=observation_noise,
            seed=seed,
            stack=self.fitted.stack,
            reach=self.fitted.reach,
            device=self.device,
        )
        values = self.fitted.scaling.unscale(drawn)
        number, place = np.divmod(np.arange(n_samples * len(order)), len(order))
        arranged = np.lexsort((order[place], number, questions.codes[order][place]))
        number, place = number[arranged], place[arranged]
        return order[place], number, values[number, place]

    def sample_prior(
        self, instants: Instants, n_series: int, *, observation_noise: bool, seed: int
    ) -> np.ndarray:
        """New series, z0 standing at the first instant, or at the last with origin="last": (n_series Q, D)."""
        edge = np.lexsort((instants.part, instants.whole))
        first = edge[0 if self.fitted.model.encoder.origin == "first" else -1]
        elapsed = instants.since(instants[np.full(len(instants), first)]) / self.fitted.scaling.time_unit
        drawn = inference.sample_prior(
            self.fitted.model,
            torch.from_numpy(elapsed).to(self.fitted.dtype),
            n_series,
            observation_noise=observation_noise,
            seed=seed,
            device=self.device,
        )
        return self.fitted.scaling.unscale(drawn).reshape(n_series * len(instants), -1)

    def encode(self, table: SeriesTable) -> np.ndarray:
        """Means, then standard deviations of z0: (n_series, 2 L)."""
        both = inference.encode(
            self.fitted.model, self._collection(table), self.device, reach=self.fitted.reach
        )
        return torch.cat(both, dim=1).double().numpy()

    def latent(self, table: SeriesTable, questions: Questions) -> np.ndarray:
        """z(t) from the mean of z0, in the order of the questions: (Q, L)."""
        collection, order, queries = self._asked(table, questions)
        path = inference.latent(self.fitted.model, collection, queries, self.device, reach=self.fitted.reach)
        return path.double().numpy()[np.argsort(order)]

    def velocity(self, states: np.ndarray) -> np.ndarray:
        """dz/dt at latent states, per unit of the clock: (..., L) -> (..., L)."""
        z = torch.from_numpy(np.ascontiguousarray(states)).to(self.fitted.dtype).to(self.device)
        with torch.no_grad():
            found = self.fitted.model.field(torch.zeros((), dtype=z.dtype, device=z.device), z)
        return found.double().cpu().numpy() / self.fitted.scaling.time_unit

    def log_density(
        self,
        table: SeriesTable,
        choose: Callable[[SeriesBatch], list[Tensor]],
        *,
        whole: bool,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Log densities, per unit of the data, of what the chosen contexts hide, and where they do.

        Args:
            whole: long series as they are, not in parts that one z0 answers for each.

        Shapes:
            -> (n_contexts, merged rows, D) each; 0 where not hidden.
        """
        collection = self._usual(table)
        if not whole:
            collection = collection.cut(MAX_ROWS, self.fitted.reach)
        density, hidden = inference.hidden_log_density(
            self.fitted.model,
            collection,
            choose,
            stack=self.fitted.stack,
            reach=self.fitted.reach,
            device=self.device,
        )
        return np.where(hidden, density - np.log(self.fitted.scaling.spread), 0.0), hidden

    def surprise(self, table: SeriesTable, n_folds: int) -> np.ndarray:
        """Log density of each value given the other folds of its series, NaN where unobserved: (R, D)."""
        found = np.full(table.values.shape, np.nan)
        if not table.observed_rows.any():
            return found
        once = self._surprise(table, n_folds)
        rows, merged = table.merged_rows()
        unread = np.isnan(once[merged]) & ~np.isnan(table.values[rows])
        if unread.any():  # nothing is more surprising than what is too far out to be read
            once = np.where(np.isnan(once), replace(self, reads_all=True)._surprise(table, n_folds), once)
        found[rows] = once[merged]
        found[np.isnan(table.values)] = np.nan
        return found

    def _surprise(self, table: SeriesTable, n_folds: int) -> np.ndarray:
        """By merged row, NaN where nothing was hidden: (merged rows, D)."""
        density, hidden = self.log_density(table, lambda batch: fold_contexts(batch, n_folds), whole=True)
        # Each row is hidden in one fold, and 0 in the others.
        return np.where(hidden.any(0), density.sum(0), np.nan)
