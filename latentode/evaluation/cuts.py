"""What of each series is shown and what is to be predicted: rolling origins, or rows hidden at random."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from latentode.frames import Instants, SeriesTable, Statics
from latentode.sampling import named_generator

__all__ = ["Cuts", "Observations", "cut"]

# Share of a series that is before its first origin.
FIRST_ORIGIN = 1 / 3

# Rows without which a series can't be asked: a context and a target, or two ends and one in between.
MIN_ROWS = {"extrapolate": 2, "interpolate": 3}


@dataclass(frozen=True)
class Observations:
    """The observed rows of a table, series after series, those of equal time merged.

    Shapes:
        source (R,), a row of the table at each one's time; times (R,), since the series' first observation;
        values (R, D), NaN where not observed; starts (n_series + 1,); statics (n_series, P) or None.
    """

    table: SeriesTable
    source: np.ndarray
    times: np.ndarray
    values: np.ndarray
    starts: np.ndarray
    statics: np.ndarray | None = None

    @classmethod
    def of(cls, table: SeriesTable, statics: Statics | None = None) -> Observations:
        rows, group = table.merged_rows()
        collection = table.collection(statics)
        described = None if collection.statics is None else collection.statics.numpy()
        values = collection.values.numpy()
        values[~collection.mask.numpy()] = np.nan
        source = rows[np.unique(group, return_index=True)[1]]
        return cls(table, source, collection.times.numpy(), values, collection.starts.numpy(), described)

    @property
    def instants(self) -> Instants:
        return self.table.times[self.source]

    def count_later(self, moment: Instants) -> np.ndarray:
        """How many of each series' rows are later than a moment (1,): (n_series,)."""
        later = np.concatenate([[0], np.cumsum(self.instants.since(moment) > 0)])
        return np.diff(later[self.starts])


@dataclass(frozen=True)
class Cuts:
    """P ways of showing a part of a series, one after the other.

    Shapes:
        series (P,), each one's number; starts (P + 1,); rows (M,), all of its series' rows; shown (M,), what
        is the context; lead (M,), time from each row to the nearest one shown, 0 for those.
    """

    series: np.ndarray
    starts: np.ndarray
    rows: np.ndarray
    shown: np.ndarray
    lead: np.ndarray

    def __len__(self) -> int:
        return len(self.series)

    def take(self, chosen: np.ndarray) -> Cuts:
        """The chosen cuts, in their order."""
        lengths = np.diff(self.starts)[chosen]
        places = _ranges(self.starts[:-1][chosen], lengths)
        return Cuts(
            self.series[chosen],
            np.concatenate([[0], np.cumsum(lengths)]),
            self.rows[places],
            self.shown[places],
            self.lead[places],
        )

    def chunks(self, most: int) -> Iterator[Cuts]:
        """Runs of cuts of up to `most` rows together, one cut at least."""
        first = 0
        while first < len(self):
            stop = int(np.searchsorted(self.starts, self.starts[first] + most, side="right")) - 1
            stop = max(stop, first + 1)
            yield self.take(np.arange(first, stop))
            first = stop


def cut(
    observations: Observations,
    task: str,
    n_cuts: int,
    hide: float,
    names: list[str],
    seed: int,
    after: Instants | None = None,
) -> tuple[Cuts, int]:
    """Cuts of every series that has rows enough, and how many have not.

    "extrapolate": origins after (almost) equal steps of the rows between a third of a series and its end;
    "interpolate": a share `hide` of the rows between the first and the last, drawn anew for every cut by
    the series' name and the seed, so that companions change nothing.

    Args:
        after: every cut shows all rows up to it, (1,): origins are after equal steps of the rows behind it, the
            first at it, and the share `hide` is of these rows. A series that begins later is cut as without it.
    """
    lengths = np.diff(observations.starts)
    n_known = np.zeros_like(lengths) if after is None else lengths - observations.count_later(after)
    n_hideable = lengths - np.maximum(n_known, 1) - (task == "interpolate")
    enough = np.flatnonzero(n_hideable > 0)
    if task == "extrapolate":
        series, n_shown = _origins(enough, lengths, n_known, n_cuts)
    else:
        series, n_shown = enough.repeat(n_cuts), np.zeros(len(enough) * n_cuts, dtype=np.int64)
    n_rows = lengths[series]
    starts = np.concatenate([[0], np.cumsum(n_rows)])
    rows = _ranges(observations.starts[:-1][series], n_rows)
    rank = rows - observations.starts[:-1][series].repeat(n_rows)
    if task == "extrapolate":
        shown = rank < n_shown.repeat(n_rows)
    else:
        shown = np.ones(len(rows), dtype=bool)
        for number, one in enumerate(enough):
            generator = named_generator(("hidden", names[one]), seed)
            block = shown[starts[number * n_cuts] : starts[(number + 1) * n_cuts]].reshape(n_cuts, -1)
            n_hidden = int(np.clip(round(hide * (lengths[one] - n_known[one])), 1, n_hideable[one]))
            order = generator.random((n_cuts, n_hideable[one])).argsort(axis=1)
            np.put_along_axis(block, max(n_known[one], 1) + order[:, :n_hidden], False, axis=1)
    lead = _distance(observations.times[rows], shown, starts)
    n_short = int((lengths > 0).sum()) - len(enough)
    return Cuts(series, starts, rows, shown, lead), n_short


def _origins(
    series: np.ndarray, lengths: np.ndarray, n_known: np.ndarray, n_cuts: int
) -> tuple[np.ndarray, np.ndarray]:
    """Number of rows shown at each origin, series by series; short series have fewer origins."""
    share = FIRST_ORIGIN + (1 - FIRST_ORIGIN) * (np.arange(n_cuts) + 0.5) / n_cuts
    n_rows, known = lengths[series][:, None], n_known[series][:, None]
    n_shown = np.clip(np.round(share * n_rows).astype(np.int64), 1, n_rows - 1)
    n_shown = np.where(known > 0, known + np.arange(n_cuts) * (n_rows - known) // n_cuts, n_shown)
    new = np.ones(n_shown.shape, dtype=bool)
    new[:, 1:] = np.diff(n_shown, axis=1) > 0
    return np.broadcast_to(series[:, None], n_shown.shape)[new], n_shown[new]


def _ranges(first: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """first[i], first[i] + 1, ... lengths[i] numbers, for every i in turn."""
    if not len(lengths):
        return np.zeros(0, dtype=np.int64)
    begin = np.cumsum(lengths) - lengths
    return np.arange(int(lengths.sum())) + np.repeat(first - begin, lengths)


def _distance(times: np.ndarray, shown: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Time to the nearest row shown of the same cut; each cut shows its first row."""
    number = np.arange(len(times))
    cut_of_row = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    before = np.maximum.accumulate(np.where(shown, number, 0))
    after = np.minimum.accumulate(np.where(shown, number, len(times))[::-1])[::-1]
    follows = after < starts[1:][cut_of_row]
    to_right = np.where(follows, times[np.minimum(after, len(times) - 1)] - times, np.inf)
    return np.minimum(times - times[before], to_right)
