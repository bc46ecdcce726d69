"""The commands that answer a table with a table."""

from __future__ import annotations

from collections.abc import Sequence

from latentode.cli.files import check_folder, write_table
from latentode.cli.questions import asked_times, length, model_and_data

__all__ = ["encode", "forecast", "impute", "predict", "sample"]


def predict(
    *,
    model: str,
    data: str,
    out: str,
    at: Sequence[str] | None,
    times: str | None,
    level: Sequence[float] | None,
    point: str,
    parts: bool,
) -> None:
    """`latentode predict`."""
    check_folder(out)
    fitted, frame = model_and_data(model, data)
    asked = asked_times(fitted, at, times)
    write_table(fitted.predict(frame, times=asked, level=level, point=point, parts=parts), out)


def forecast(
    *,
    model: str,
    data: str,
    out: str,
    horizon: str,
    steps: int,
    level: Sequence[float] | None,
    point: str,
    parts: bool,
) -> None:
    """`latentode forecast`."""
    check_folder(out)
    fitted, frame = model_and_data(model, data)
    ahead = length(horizon, fitted, "--horizon")
    write_table(fitted.forecast(frame, ahead, steps, level=level, point=point, parts=parts), out)


def impute(*, model: str, data: str, out: str) -> None:
    """`latentode impute`."""
    check_folder(out)
    fitted, frame = model_and_data(model, data)
    write_table(fitted.impute(frame), out)


def sample(
    *,
    model: str,
    data: str,
    out: str,
    at: Sequence[str] | None,
    times: str | None,
    n_samples: int,
    observation_noise: bool,
    seed: int,
) -> None:
    """`latentode sample`."""
    check_folder(out)
    fitted, frame = model_and_data(model, data)
    paths = fitted.sample(
        frame,
        asked_times(fitted, at, times),
        n_samples=n_samples,
        observation_noise=observation_noise,
        random_state=seed,
    )
    write_table(paths, out)


def encode(*, model: str, data: str, out: str) -> None:
    """`latentode encode`."""
    check_folder(out)
    fitted, frame = model_and_data(model, data)
    write_table(fitted.encode(frame), out)
