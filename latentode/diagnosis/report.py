"""What a look at the data found, as text, as HTML, and as tables to go on with."""

from __future__ import annotations

import html
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from latentode.printing import facts_html, facts_text, list_html, list_text

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
        kind: what it is about, in a word or two such as "placeholder" or "units".
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

    def told(self, call: str | None = None) -> str:
        """The report as text; `call` stands in place of the suggested call of `LatentODE`."""
        parts = [facts_text(self.facts)]
        if len(self.channels):
            parts.append(self._table().to_string())
        for severity, (heading, mark) in _HEADINGS.items():
            found = [one.text for one in self.of(severity)]
            if found:
                parts.append(list_text(f"{heading}:", found, mark))
        if not self.of("refused") and not self.of("suspect"):
            parts.append("nothing suspicious was found")
        if self.suggested:
            parts.append(list_text(f"suggested: {call or self._call()}", self._reasons(), "-"))
        return "\n\n".join(part for part in parts if part)

    def __str__(self) -> str:
        return self.told()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        parts = [facts_html(self.facts)]
        if len(self.channels):
            parts.append(self._table().to_html(border=0))
        for severity, (heading, _) in _HEADINGS.items():
            found = [one.text for one in self.of(severity)]
            if found:
                parts.append(list_html(f"<b>{heading}</b>", found))
        if not self.of("refused") and not self.of("suspect"):
            parts.append("<p>nothing suspicious was found</p>")
        if self.suggested:
            parts.append(list_html(f"suggested: <code>{html.escape(self._call())}</code>", self._reasons()))
        return "".join(parts)

    def _reasons(self) -> list[str]:
        return [f"{name}: {why}" for name, why in self.reasons.items()]

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
