"""What the reports share: facts, tables and lists as plain text and as HTML."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["counted", "facts_html", "facts_text", "list_html", "list_text", "table_text"]


def counted(number: int, what: str) -> str:
    """'1 row', '2 rows'."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def facts_text(facts: Mapping[str, str], width: int | None = None) -> str:
    """A line for each fact, its name in front."""
    width = max((len(name) for name in facts), default=0) if width is None else width
    return "\n".join(f"{name:{width}}  {value}" for name, value in facts.items())


def facts_html(facts: Mapping[str, str]) -> str:
    """The same as a table."""
    cells = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
        f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
        for name, value in facts.items()
    )
    return f"<table>{cells}</table>"


def table_text(frame: Any, n_left: int = 2) -> str:
    """A frame of text without its index: the first columns to the left, the others to the right."""
    columns = [[str(name), *map(str, frame[name])] for name in frame.columns]
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for cells in zip(*columns, strict=True):
        placed = [
            cell.ljust(width) if number < n_left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        lines.append("  ".join(placed).rstrip())
    return "\n".join(lines)


def list_text(heading: str, items: Sequence[str], mark: str) -> str:
    """A heading, and each item behind its mark."""
    return "\n".join([heading, *(f"  {mark} {item}" for item in items)])


def list_html(heading: str, items: Sequence[str]) -> str:
    """The same; the heading is HTML already."""
    listed = "".join(f"<li>{html.escape(item)}</li>" for item in items)
    return f"<p>{heading}</p><ul>{listed}</ul>"
