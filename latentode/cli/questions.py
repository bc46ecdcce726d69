"""What a command asks of a saved model: about which table, at which times, how far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from latentode.cli.files import arrange, read_clock, read_table
from latentode.estimator import LatentODE

__all__ = ["asked_times", "length", "model_and_data", "table_for"]


def model_and_data(model_file: str, data_file: str) -> tuple[LatentODE, Any]:
    """The model, and the table in the layout that it was fitted to."""
    model = LatentODE.load(model_file)
    return model, table_for(model, data_file)


def table_for(model: LatentODE, file: str) -> Any:
    """A table in the layout that the model was fitted to."""
    roles = model.fitted_.roles
    return arrange(read_table(file, id_col=roles.id_name, time_col=roles.time_name), roles)


def asked_times(model: LatentODE, at: Sequence[str] | None, file: str | None) -> Any:
    """The times of --at, or of the file of --times, as `predict` takes them; None for the rows of the table."""
    if file is not None:
        return table_for(model, file)
    if at is not None:
        return list(read_clock(at, "--at"))
    return None


def length(text: str, model: LatentODE, option: str) -> Any:
    """A length of time as the model's clock has it: a number, or text such as 48h.

    Raises:
        ValueError: for text that is no number where times are numbers.
    """
    if model.fitted_.clock.kind != "number":
        return text
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{option} must be a number, as the model's times are; got {text!r}") from None
