"""Panels, one for each series and channel, and the legend that they share."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D

__all__ = ["Panels", "choose", "first_series", "marker_size"]

# Inches. A panel is wide enough for six dates; many channels make lower panels, not a longer page.
_PANEL_WIDTH, _SINGLE_WIDTH = 3.5, 6.4
_TOTAL_HEIGHT, _SINGLE_HEIGHT = 7.0, 3.4
_MIN_HEIGHT, _MAX_HEIGHT = 1.25, 2.2
# Above and below all panels, and between the last channel of some series and the titles of those below.
_FRAME_HEIGHT, _BREAK_HEIGHT = 0.9, 0.5

# More series side by side are not read on a page, and more panels not on one sheet.
_MAX_COLUMNS, _MAX_PANELS = 4, 60

# Series that are drawn where none are chosen.
_MOST_SERIES = 3

# In units of the font size: an entry of the legend, and a letter of a label.
_ENTRY_WIDTH, _LETTER_WIDTH = 8.6, 0.62

# Diameters in points of print.
_SMALLEST_MARKER, _LARGEST_MARKER, _LEGEND_MARKER = 1.2, 4.2, 3.5


def choose(asked: Any, known: Sequence[Hashable], what: str, most: int | None = None) -> list[int]:
    """Places in `known` of one name or several; None takes the first ones, at most `most`.

    Raises:
        ValueError: for a name that is not there, with those that are, and for no name at all.
    """
    if asked is None:
        return list(range(len(known)))[:most]
    places = {name: place for place, name in enumerate(known)}
    one = isinstance(asked, (str, bytes)) or not isinstance(asked, Iterable)
    names = [asked] if one or (isinstance(asked, tuple) and asked in places) else list(asked)
    if not names:
        raise ValueError(f"{what} is empty; name at least one, or leave it out")
    for name in names:
        if name not in places:
            shown = ", ".join([*(repr(other) for other in known[:12]), *["..."][: len(known) > 12]])
            raise ValueError(f"{what} {name!r} is not in the data, which hold [{shown}]")
    return [places[name] for name in names]


def first_series(n_channels: int) -> int:
    """How many series to draw where none are chosen: as many as have room, up to three."""
    return max(1, min(_MOST_SERIES, _MAX_PANELS // n_channels))


def marker_size(n_points: int) -> float:
    """Diameter in points of print; that of many observations shrinks."""
    return float(
        np.clip(_LARGEST_MARKER * (60 / max(n_points, 1)) ** 0.35, _SMALLEST_MARKER, _LARGEST_MARKER)
    )


@dataclass(frozen=True)
class Panels:
    """Axes of our own figure or of the user's.

    In our own the channels of a series stand above each other on one clock, the series side by side in rows of
    four at most, and a panel leaves unsaid what its neighbour says.

    Shapes:
        axes (n_series, n_channels).
    """

    axes: np.ndarray
    own: bool
    n_columns: int = 1

    @classmethod
    def make(cls, ax: Any, n_series: int, n_channels: int, *, channels: str, height: float = 1.0) -> Panels:
        """The Axes given, or those of a new figure where `ax` is None.

        Args:
            ax: None, an Axes, or an array of them.
            n_series: how many series are drawn.
            n_channels: how many channels of each.
            channels: what the caller calls its choice of channels, for messages.
            height: of a new panel, relative to the usual.

        Raises:
            ValueError: where `ax` holds another number of Axes, or a figure would have too many.
        """
        n_panels = n_series * n_channels
        count = f"{n_series} series and {n_channels} channels make {n_panels} panels"
        if ax is None:
            if n_panels > _MAX_PANELS:
                fewer = "series=... and " if n_series > 1 else ""
                raise ValueError(
                    f"{count}, and a figure has room for {_MAX_PANELS}; choose fewer with {fewer}{channels}=..."
                )
            return cls._new(n_series, n_channels, height)
        if isinstance(ax, Axes) and n_panels != 1:
            raise ValueError(
                f"ax is a single Axes, which takes one series and one channel; {count}. Choose with "
                f"series=... and {channels}=..., or give an array of {n_panels} Axes"
            )
        given = np.array([ax] if isinstance(ax, Axes) else ax, dtype=object)
        if given.size != n_panels:
            raise ValueError(f"ax holds {given.size} Axes, but {count}; give (n_series, n_channels) Axes")
        return cls(given.reshape(n_series, n_channels), own=False)

    @classmethod
    def _new(cls, n_series: int, n_channels: int, height: float) -> Panels:
        n_blocks = math.ceil(n_series / _MAX_COLUMNS)
        n_columns = math.ceil(n_series / n_blocks)
        n_rows = n_blocks * n_channels
        tall = height * min(_MAX_HEIGHT, max(_MIN_HEIGHT, _TOTAL_HEIGHT / n_rows))
        breaks = _BREAK_HEIGHT * (n_blocks - 1)
        size = (
            _PANEL_WIDTH * n_columns if n_series > 1 else _SINGLE_WIDTH,
            _FRAME_HEIGHT + tall * n_rows + breaks if n_series * n_channels > 1 else _SINGLE_HEIGHT,
        )
        _, grid = plt.subplots(n_rows, n_columns, squeeze=False, figsize=size, layout="constrained")
        blocks = grid.reshape(n_blocks, n_channels, n_columns).swapaxes(1, 2).reshape(-1, n_channels)
        for spare in blocks[n_series:].flat:
            spare.remove()
        axes = blocks[:n_series]
        for upper, *others, lowest in axes if n_channels > 1 else ():
            for ax in (*others, lowest):
                ax.sharex(upper)
            for ax in (upper, *others):
                ax.tick_params(axis="x", labelbottom=False)
                ax.xaxis.offsetText.set_visible(False)
        return cls(axes, own=True, n_columns=n_columns)

    def label(self, titles: Sequence[str | None], times: Sequence[str], names: Sequence[Hashable]) -> None:
        """Says which series, times and channels are shown.

        Args:
            titles: of each series; None for no title.
            times: the label of each series' clock.
            names: of the channels.
        """
        for (series, channel), ax in np.ndenumerate(self.axes):
            title, name = titles[series], str(names[channel])
            if title is not None and (channel == 0 or not self.own):
                ax.set_title(title)
            below = series + self.n_columns
            repeated = below < len(titles) and times[below] == times[series]
            if not self.own or (channel == len(names) - 1 and not repeated):
                ax.set_xlabel(times[series])
            if series % self.n_columns == 0 or not self.own:
                ax.set_ylabel(name)
                if self.own and self._too_low(names):
                    ax.yaxis.label.set(rotation="horizontal", ha="right", va="center")

    def _too_low(self, names: Sequence[Hashable]) -> bool:
        """Whether upright names would run into each other."""
        size = FontProperties(size=mpl.rcParams["axes.labelsize"]).get_size_in_points()
        n_rows = math.ceil(len(self.axes) / self.n_columns) * len(names)
        height = 72 * self.axes[0, 0].figure.get_figheight() / n_rows - 2 * size
        return max(len(str(name)) for name in names) * _LETTER_WIDTH * size > height

    def add_legend(self, instead: Mapping[str, Any] | None = None) -> None:
        """One legend for all panels: below a figure of our own, else in the first panel, above its data.

        Args:
            instead: what stands for an entry in place of its artist, by label.
        """
        entries: dict[str, Any] = {}
        for ax in self.axes.flat:
            for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
                entries.setdefault(label, (instead or {}).get(label, handle))
        if not entries:
            return
        first = self.axes.flat[0]
        handles = [_readable(handle) for handle in entries.values()]
        look = {"handles": handles, "labels": list(entries), "edgecolor": "none", "handlelength": 1.7}
        if not self.own:
            legend = first.legend(**look, loc="upper left", ncols=2, fontsize="small", borderaxespad=0.2)
            _make_headroom(first, legend)
            return
        figure = first.figure
        figure.align_ylabels(self.axes.T)
        size = FontProperties(size=mpl.rcParams["legend.fontsize"]).get_size_in_points()
        most = max(1, int(72 * figure.get_figwidth() / (_ENTRY_WIDTH * size)))
        n_rows = math.ceil(len(entries) / most)
        ncols = math.ceil(len(entries) / n_rows)
        figure.legend(**look, loc="outside lower center", ncols=ncols, columnspacing=1.4, framealpha=0)

    @property
    def returned(self) -> Any:
        """A single Axes for a single panel, else the array."""
        return self.axes[0, 0] if self.axes.size == 1 else self.axes


def _readable(handle: Any) -> Any:
    """What stands for an artist in the legend: small markers are larger there."""
    if not isinstance(handle, Line2D) or handle.get_marker() != "o":
        return handle
    enlarged = Line2D([], [])
    enlarged.update_from(handle)
    enlarged.set_markersize(max(handle.get_markersize(), _LEGEND_MARKER))
    return enlarged


def _make_headroom(ax: Any, legend: Any) -> None:
    """Moves the upper limit until the data end below the legend, on any scale."""
    ax.figure.canvas.figure.draw_without_rendering()  # the whole figure, also of a subfigure's Axes
    taken = min(legend.get_window_extent().height / ax.bbox.height + 0.04, 0.6)
    above = ax.transAxes.transform((0.0, 1 / (1 - taken)))
    ax.set_ylim(top=ax.transData.inverted().transform(above)[1])
