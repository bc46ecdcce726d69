"""Which level of an index has the ids and which the times: told by their names, else by their order."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

__all__ = ["find_levels"]


def find_levels(wanted: Sequence[Hashable | None], levels: Sequence[Hashable | None]) -> list[int] | None:
    """The number of each wanted name's level in an index.

    A name that is there once is found by it; the others are the levels that are left, in their order. None where
    these are more or fewer.
    """
    once = {name for name in levels if name is not None and list(levels).count(name) == 1}
    once = {name for name in once if list(wanted).count(name) == 1}
    named = [list(levels).index(name) if name in once else None for name in wanted]
    left = [number for number in range(len(levels)) if number not in named]
    if named.count(None) not in (0, len(left)):
        return None
    rest = iter(left)
    return [next(rest) if number is None else number for number in named]
