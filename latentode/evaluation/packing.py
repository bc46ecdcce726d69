"""Tables of an evaluation as plain data, for a model file, and back."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentode.evaluation.bins import in_users_units
from latentode.evaluation.report import Evaluation, Scope

__all__ = ["pack_evaluation", "pack_table", "unpack_evaluation", "unpack_table"]

# Columns of lengths of time: Timedeltas in the table, seconds in the file, where times are no numbers.
_SPANS = ("lead_from", "lead_to", "lead_mean")


def pack_table(table: pd.DataFrame, channels: Sequence[Hashable]) -> tuple[dict[str, Any], Tensor]:
    """What is text of a table as lists, its numbers as one (rows, columns) tensor; channels by their number."""
    table = table.assign(channel=[list(channels).index(name) for name in table["channel"]])
    for name in _SPANS:
        if name in table and table[name].dtype.kind == "m":
            table[name] = table[name] / pd.Timedelta(1, "s")
    words = {name: table[name].tolist() for name in table if not pd.api.types.is_numeric_dtype(table[name])}
    numbers = table.drop(columns=list(words))
    description = {"columns": list(table), "words": words, "whole": _whole(numbers)}
    return description, torch.from_numpy(numbers.to_numpy(dtype=np.float64, copy=True))


def unpack_table(
    description: Mapping[str, Any], numbers: Tensor, channels: Sequence[Hashable]
) -> pd.DataFrame:
    """The table that `pack_table` was given, lengths of time in numbers.

    Raises:
        ValueError, KeyError, IndexError: where they don't belong together.
    """
    words = description["words"]
    names = [name for name in description["columns"] if name not in words]
    if numbers.shape != (len(numbers), len(names)) or any(len(one) != len(numbers) for one in words.values()):
        raise ValueError("a table has other columns than it names")
    table = pd.DataFrame(words | dict(zip(names, numbers.numpy().T, strict=True)))
    table = table[description["columns"]].astype(dict.fromkeys(description["whole"], np.int64))
    if not table["channel"].between(0, len(channels) - 1).all():
        raise ValueError("a table tells of channels that there are none of")
    return table.assign(channel=[channels[number] for number in table["channel"]])


def pack_evaluation(evaluation: Evaluation, channels: Sequence[Hashable]) -> tuple[dict[str, Any], Tensor]:
    """An evaluation as plain data and its numbers."""
    description, numbers = pack_table(evaluation.table, channels)
    scopes = {task: asdict(scope) for task, scope in evaluation.scopes.items()}
    return description | {"scopes": scopes, "levels": list(evaluation.levels)}, numbers


def unpack_evaluation(
    description: Mapping[str, Any], numbers: Tensor, channels: Sequence[Hashable], kind: str
) -> Evaluation:
    """The evaluation that `pack_evaluation` was given; `kind` of time as in `Instants`.

    Raises:
        ValueError, KeyError, IndexError, TypeError: where the parts don't belong together.
    """
    table = unpack_table(description, numbers, channels)
    table = table.assign(**{name: in_users_units(table[name].to_numpy(), kind) for name in _SPANS})
    scopes = {str(task): Scope(**scope) for task, scope in description["scopes"].items()}
    return Evaluation(table, scopes, tuple(description["levels"]))


def _whole(numbers: pd.DataFrame) -> list[str]:
    return [name for name in numbers if pd.api.types.is_integer_dtype(numbers[name])]
