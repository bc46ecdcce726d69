"""What describes a series as a whole, named as such or not."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pandas as pd

from latentode.diagnosis.report import Finding
from latentode.frames import SeriesTable, StaticValues
from latentode.frames.statics import MAX_CATEGORIES, describes_series, is_static, read_static

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
    return [Finding("note", "static", describes_series(name), name)] if is_static(values, codes) else []


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
