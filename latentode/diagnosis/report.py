"""What a look at the data found, as text, as HTML, and as tables to go on with."""

from __future__ import annotations

import html
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

__all__ = ["Diagnosis", "Finding"]

_HEADINGS = {
    "refused": ("fit would refuse this frame", "x"),
    "suspect": ("worth a look before fitting", "!"),
    "note": ("good to know", "-"),
}


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Args:
        severity: "refused" by `fit`, "suspect" of being a mistake in the data, or a "note".
        kind: what it is about, one word such as "sentinel" or "units".
        text: what, where, and how to mend it.
        column: the channel it is about, if it is about one.
    """

    severity: str
    kind: str
    text: str
    column: Hashable | None = None


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """A description of a frame and what is remarkable about it; prints as a report.

    Attributes:
        facts: name and value of what describes the frame as a whole.
        channels: DataFrame, a row for each channel: values observed, share missing, least, median and most
            observed in a series, smallest, median and largest value.
        series: DataFrame, a row for each series: rows, observed values, span and largest gap (in clock
            units, seconds for datetimes).
        findings: all that is remarkable, what `fit` would refuse first.
        suggested: parameters of `LatentODE` that the data speak for.
        reasons: why, by parameter.
    """

    facts: dict[str, str]
    channels: pd.DataFrame
    series: pd.DataFrame
    findings: tuple[Finding, ...]
    suggested: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def fits(self) -> bool:
        """Whether `fit` would take the frame as it is."""
        return not self.of("refused")

    def of(self, severity: str) -> list[Finding]:
        """The findings of one severity."""
        return [finding for finding in self.findings if finding.severity == severity]

    def __str__(self) -> str:
        width = max((len(name) for name in self.facts), default=0)
        parts = ["\n".join(f"{name:{width}}  {value}" for name, value in self.facts.items())]
        if len(self.channels):
            parts.append(self._table().to_string())
        for severity, (heading, mark) in _HEADINGS.items():
            found = self.of(severity)
            if found:
                parts.append("\n".join([f"{heading}:", *(f"  {mark} {one.text}" for one in found)]))
        if not self.of("refused") and not self.of("suspect"):
            parts.append("nothing suspicious was found")
        if self.suggested:
            reasons = [f"  - {name}: {why}" for name, why in self.reasons.items()]
            parts.append("\n".join([f"suggested: {self._call()}", *reasons]))
        return "\n\n".join(part for part in parts if part)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for name, value in self.facts.items()
        )
        parts = [f"<table>{cells}</table>"]
        if len(self.channels):
            parts.append(self._table().to_html(border=0))
        for severity, (heading, _) in _HEADINGS.items():
            found = self.of(severity)
            if found:
                items = "".join(f"<li>{html.escape(one.text)}</li>" for one in found)
                parts.append(f"<p><b>{heading}</b></p><ul>{items}</ul>")
        if not self.of("refused") and not self.of("suspect"):
            parts.append("<p>nothing suspicious was found</p>")
        if self.suggested:
            items = "".join(
                f"<li>{html.escape(name)}: {html.escape(why)}</li>" for name, why in self.reasons.items()
            )
            parts.append(f"<p>suggested: <code>{html.escape(self._call())}</code></p><ul>{items}</ul>")
        return "".join(parts)

    def _table(self) -> pd.DataFrame:
        """The channels as they are printed."""
        shown = self.channels.copy()
        shown["missing"] = [
            f"{100 * share:.0f} %" if share >= 0.005 or not share else "< 1 %" for share in shown["missing"]
        ]
        shown["median a series"] = [f"{value:g}" for value in shown["median a series"]]
        for name in ("min", "median", "max"):
            shown[name] = [f"{value:.4g}" for value in shown[name]]
        return shown

    def _call(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.suggested.items())
        return f"LatentODE({arguments})"
