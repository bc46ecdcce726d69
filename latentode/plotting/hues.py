"""What a series' colour says: a category, explained by a legend, or a number, explained by a bar."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgba
from matplotlib.lines import Line2D

from latentode.frames import SeriesTable
from latentode.frames.columns import shown
from latentode.plotting.palette import OTHERS, categories, gradient

__all__ = ["Hues", "check_color", "of_series"]


@dataclass(frozen=True)
class Hues:
    """A colour for each of some things, and what the colours mean.

    Shapes:
        colours (M, 4); entries: label and colour of each category; bar: the scale of numbers.
    """

    name: str
    colours: np.ndarray
    entries: tuple[tuple[str, Any], ...] = ()
    bar: ScalarMappable | None = None

    @classmethod
    def of(cls, values: pd.Series) -> Hues:
        """Categories for text, truth values, and numbers of which there are two; else numbers on a scale.

        The six most frequent categories have a colour of their own, the others share a grey one.
        """
        name = "" if values.name is None else str(values.name)
        known = values.dropna()
        numeric = pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype)
        if numeric and known.nunique() > 2:
            numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
            return cls.of_numbers(numbers, name)
        palette = categories()
        kinds = list(known.value_counts(sort=True).index)
        kinds = [kind for kind in kinds if (known == kind).any()]  # a categorical lists absent ones too
        frequent = kinds[: len(palette) - (len(kinds) > len(palette))]
        if _sortable(frequent):
            frequent.sort(key=lambda kind: (isinstance(kind, str), kind))
        by_kind = dict(zip(frequent, palette, strict=False))
        colours = np.array([to_rgba(by_kind.get(value, OTHERS)) for value in values]).reshape(-1, 4)
        entries = [(str(kind), colour) for kind, colour in by_kind.items()]
        if len(kinds) > len(frequent):
            entries.append((f"{len(kinds) - len(frequent)} others", OTHERS))
        if values.isna().any():
            entries.append(("unknown", OTHERS))
        return cls(name, colours, entries=tuple(entries))

    @classmethod
    def of_numbers(cls, numbers: np.ndarray, name: str) -> Hues:
        """Numbers of any shape on a scale between the smallest and the largest; grey where there is none."""
        finite = numbers[np.isfinite(numbers)]
        low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
        bar = ScalarMappable(Normalize(low, high), gradient())
        colours = bar.to_rgba(np.where(np.isfinite(numbers), numbers, low))
        colours[~np.isfinite(numbers)] = to_rgba(OTHERS)
        return cls(name, colours, bar=bar)

    def explain(self, ax: Any, *, own: bool, also: Any = (), marker: str = "o", corner: str = "best") -> None:
        """Adds the legend or the bar; `also` are artists whose labels the legend takes in besides.

        The legend stands below a figure of our own, else in a corner of the Axes.
        """
        handles = [
            Line2D([], [], color=colour, marker=marker, ls="" if marker else "-", label=label)
            for label, colour in self.entries
        ]
        if self.bar is not None:
            bar = ax.figure.colorbar(self.bar, ax=ax, label=self.name, pad=0.02, aspect=30)
            bar.outline.set_visible(False)
        title = self.name if handles else None
        look = {
            "title": title,
            "fontsize": "small",
            "title_fontsize": "small",
            "edgecolor": "none",
            "alignment": "left",
        }
        handles += also
        if not handles:
            return
        if own:
            ncols = min(len(handles), 4)
            ax.figure.legend(
                handles=handles,
                loc="outside lower center",
                ncols=ncols,
                framealpha=0,
                **look | {"alignment": "center"},
            )
        else:
            ax.legend(handles=handles, loc=corner, **look)


def check_color(color: Any) -> None:
    """Refuses what is neither None, nor may name a column, nor is a Series.

    Raises:
        TypeError: saying what to give.
    """
    if isinstance(color, pd.Series):
        return
    try:
        hash(color)
    except TypeError:
        raise TypeError(
            "color must be the name of a column, or a Series with a value for each series, indexed by id; got "
            f"{type(color).__name__}. Of values in the order of the series pd.Series(values, "
            "index=model.encode(df).index) makes one"
        ) from None


def of_series(table: SeriesTable, color: Any) -> pd.Series:
    """One value for each series of a table: of a column constant within each, or of a Series by id.

    Raises:
        ValueError: for a column that is not there or changes within a series, and for a Series by other ids.
    """
    if isinstance(color, pd.Series):
        known = color[~color.index.duplicated()]
        if not table.ids.isin(known.index).any():
            raise ValueError("color has none of the series' ids in its index; index it by the id column")
        return known.reindex(table.ids)
    column = _column(table, color)
    within = column.groupby(table.codes)
    changing = within.nunique() > 1
    if changing.any():
        name = table.ids[int(changing.idxmax())]
        raise ValueError(
            f"color={color!r} changes within series {shown(name)}; a series has one colour: give a column that is "
            "constant in each, or a Series indexed by id"
        )
    first = within.first().reindex(range(len(table.ids)))
    return pd.Series(first.array, index=table.ids, name=color)


def _column(table: SeriesTable, color: Hashable) -> pd.Series:
    if color not in table.frame.columns:
        columns = ", ".join(map(repr, table.frame.columns))
        raise ValueError(f"color={color!r} is no column of the frame, which has [{columns}]")
    return table.frame[color].reset_index(drop=True)


def _sortable(kinds: list[Any]) -> bool:
    return len({isinstance(kind, str) for kind in kinds}) == 1
