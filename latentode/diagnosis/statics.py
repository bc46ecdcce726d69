"""What describes a series as a whole, named as such or not."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pandas as pd

from latentode.diagnosis.report import Finding
from latentode.frames import SeriesTable, StaticValues
from latentode.frames.statics import MAX_CATEGORIES, read_static

__all__ = ["find_static_texts", "look_at_static", "look_for_static"]


def look_at_static(static: StaticValues) -> list[Finding]:
    """Findings about one static column: whether it tells series apart."""
    known = static.values[static.known]
    name, n_series = static.name, len(static.values)
    distinct = len(set(known.tolist()))
    if distinct == 1 and len(known) == n_series:
        text = f"static column {name!r} is {known[0]!s} in every series and tells nothing; leave it out"
        return [Finding("note", "constant", text, name)]
    if static.is_category and distinct > n_series / 2:
        text = (
            f"static column {name!r} has {distinct} categories in {n_series} series; little can be learned of one "
            "that few series share: put rare ones together"
        )
        return [Finding("note", "rare categories", text, name)]
    return []


def look_for_static(name: Hashable, values: np.ndarray, codes: np.ndarray) -> list[Finding]:
    """Whether a channel differs between series and never changes within one."""
    rows = ~np.isnan(values)
    x, codes = values[rows], codes[rows]
    order = np.lexsort((x, codes))
    x, codes = x[order], codes[order]
    same = codes[1:] == codes[:-1]
    repeated = len(np.unique(codes[1:][same]))
    if repeated < 3 or (x[1:] != x[:-1])[same].any() or (x == x[0]).all():
        return []
    text = (
        f"{name!r} never changes within a series: it describes the series and is no channel; "
        f"name it in static_cols=[{name!r}]"
    )
    return [Finding("note", "static", text, name)]


def find_static_texts(table: SeriesTable) -> list[Hashable]:
    """Columns of text or categories, none of `table`'s, that never change within a series and repeat between."""
    if table.roles.is_single:
        return []
    roles, found = table.roles, []
    taken = {*roles.key_columns, *roles.value_cols, *roles.static_cols}
    for name in table.frame.columns:
        dtype = table.frame[name].dtype
        texts = pd.api.types.is_string_dtype(dtype) or isinstance(dtype, pd.CategoricalDtype)
        if name in taken or not texts:
            continue
        try:
            static = read_static(table.frame, name, table.ids, table.codes)
        except (TypeError, ValueError):
            continue
        known = static.values[static.known]
        if 1 < len(set(known)) <= min(MAX_CATEGORIES, len(known) / 2):
            found.append(name)
    return found
