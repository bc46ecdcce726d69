"""CPU time of steps that take turns, and tables of figures."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

__all__ = ["Timed", "cpu_ms", "interleaved", "show", "summary"]


class Timed(Protocol):
    """Something that can be done again and again."""

    def timed(self) -> tuple[float, float]:
        """Does it once and answers with `cpu_ms`."""


def cpu_ms(step: Callable[[], object]) -> tuple[float, float]:
    """CPU time of one step on all threads, and the part of it that the system spent, mostly on fresh memory."""
    system = resource.getrusage(resource.RUSAGE_SELF).ru_stime
    started = time.process_time()
    step()
    ended = time.process_time()
    system = resource.getrusage(resource.RUSAGE_SELF).ru_stime - system
    return 1e3 * (ended - started), 1e3 * system


def summary(spent: Sequence[tuple[float, float]]) -> dict[str, float]:
    whole, system = zip(*spent, strict=True)
    return {
        "ms": statistics.median(whole),
        "ms_min": min(whole),
        "ms_max": max(whole),
        "ms_system": statistics.median(system),
    }


def interleaved(steps: Mapping[object, Timed], rounds: int) -> dict[object, dict[str, float]]:
    """CPU time of each step, all of them in turn, after one that is not counted."""
    for step in steps.values():
        step.timed()
    spent: dict[object, list[tuple[float, float]]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            spent[name].append(step.timed())
    return {name: summary(each) for name, each in spent.items()}


def show(title: str, table: Sequence[Mapping[str, object]]) -> None:
    columns = list(dict.fromkeys(column for row in table for column in row))
    lines = [columns, *([_text(column, row.get(column)) for column in columns] for row in table)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    print(f"\n{title}")
    for line in lines:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def _text(column: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    if "error" in column:
        return f"{value:.1e}"
    return f"{value:.2f}" if column in ("share", "ratio", "rank_correlation") else f"{value:.1f}"
