"""The commands that answer a table with a table."""

from __future__ import annotations

import argparse

from latentode.cli.files import check_folder, write_table
from latentode.cli.questions import asked_times, length, model_and_data

__all__ = ["encode", "forecast", "impute", "predict", "sample"]


def predict(chosen: argparse.Namespace) -> None:
    """`latentode predict`."""
    check_folder(chosen.out)
    model, data = model_and_data(chosen.model, chosen.data)
    times = asked_times(chosen, model)
    found = model.predict(data, times=times, level=chosen.level, point=chosen.point, parts=chosen.parts)
    write_table(found, chosen.out)


def forecast(chosen: argparse.Namespace) -> None:
    """`latentode forecast`."""
    check_folder(chosen.out)
    model, data = model_and_data(chosen.model, chosen.data)
    horizon = length(chosen.horizon, model, "--horizon")
    found = model.forecast(
        data, horizon, chosen.steps, level=chosen.level, point=chosen.point, parts=chosen.parts
    )
    write_table(found, chosen.out)


def impute(chosen: argparse.Namespace) -> None:
    """`latentode impute`."""
    check_folder(chosen.out)
    model, data = model_and_data(chosen.model, chosen.data)
    write_table(model.impute(data), chosen.out)


def sample(chosen: argparse.Namespace) -> None:
    """`latentode sample`."""
    check_folder(chosen.out)
    model, data = model_and_data(chosen.model, chosen.data)
    paths = model.sample(
        data,
        asked_times(chosen, model),
        n_samples=chosen.samples,
        observation_noise=chosen.noise,
        random_state=chosen.seed,
    )
    write_table(paths, chosen.out)


def encode(chosen: argparse.Namespace) -> None:
    """`latentode encode`."""
    check_folder(chosen.out)
    model, data = model_and_data(chosen.model, chosen.data)
    write_table(model.encode(data), chosen.out)
