"""What the API says, in the words of the command line."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Mapping
from typing import Any

__all__ = ["as_options", "fit_line"]

_OPTIONS = {"id_col": "--id", "time_col": "--time", "value_cols": "--values", "static_cols": "--static"}

# A role and what is given for it: text in quotes, a list of such, or dots for what the user is to fill in.
_TEXT = r"""'[^']*'|"[^"]*\""""
_GIVEN = re.compile(
    rf"\b(id_col|time_col|value_cols|static_cols)\b(?:=({_TEXT}|\[(?:{_TEXT}|, |\.\.\.)*\]|\.\.\.))?"
)

_AHEAD = re.compile(r"\bforecast\(horizon='([^']*)'\)")


def as_options(text: str) -> str:
    """A message with `--id patient` in place of id_col='patient', and the like."""
    text = _AHEAD.sub(lambda found: f"latentode forecast --horizon {shlex.quote(found[1])}", text)
    return _GIVEN.sub(lambda found: _option(found[1], found[2]), text)


def _option(role: str, given: str | None) -> str:
    if given is None:
        return _OPTIONS[role]
    if "..." in given:
        return f"{_OPTIONS[role]} ..."
    names = ast.literal_eval(given)
    return _named(role, [names] if isinstance(names, str) else names)


def _named(role: str, names: list[Any]) -> str:
    """An option and its names; argparse takes one that begins with a dash only after an equals sign."""
    texts = [str(name) for name in names]
    plain = [shlex.quote(text) for text in texts if not text.startswith("-")]
    dashed = [f"{_OPTIONS[role]}={shlex.quote(text)}" for text in texts if text.startswith("-")]
    return " ".join([_OPTIONS[role], *plain, *dashed] if plain else dashed)


def fit_line(file: str, suggested: Mapping[str, Any]) -> str:
    """The command that fits what the parameters suggest."""
    words = ["latentode fit", shlex.quote(file)]
    for role, given in suggested.items():
        if role in _OPTIONS:
            words.append(_named(role, list(given) if isinstance(given, (list, tuple)) else [given]))
        else:
            words.append(f"--{role} {given}")
    stem = re.sub(r"(\.csv|\.tsv)?(\.gz)?$|\.parquet$|\.pq$", "", file) if file != "-" else "model"
    return " ".join([*words, f"--out {shlex.quote(stem)}.latentode"])
