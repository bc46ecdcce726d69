"""One file a model: its parameters and what its fit learned, in the form of `latentode.archive`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentode._version import __version__
from latentode.archive import MALFORMED, read_archive, write_archive
from latentode.calibration import GRID, Calibration, Curves
from latentode.fitting import Fitted
from latentode.fitting.build import Architecture, build_model
from latentode.fitting.signal import ChannelSignal
from latentode.fitting.verdict import Verdict
from latentode.frames import CategoryColumn, Instants, NumberColumn, Roles, Scaling, Statics
from latentode.solve import Solver
from latentode.stacking import Stack
from latentode.training import Record

__all__ = ["FORMAT_VERSION", "load_fitted", "read_model_file", "save_fitted", "write_model_file"]

# 2: answers may be moved towards a regression, of which those who read version 1 know nothing.
FORMAT_VERSION = 2
_KIND = "model"

# Of the calibration's curves.
_CURVES = ("ahead", "between")


def save_fitted(path: str | os.PathLike[str], parameters: Mapping[str, Any], fitted: Fitted) -> None:
    """Writes an estimator's parameters and what its fit learned.

    Raises:
        TypeError: where a parameter or column name is neither text, number nor None, nor a tuple of these.
        OSError: where the file can't be written.
    """
    roles = fitted.roles
    for name in (roles.id_name, roles.time_name, *roles.value_cols, *roles.static_cols):
        parts = name if isinstance(name, tuple) else (name,)
        if not all(part is None or isinstance(part, (str, int, float, np.number)) for part in parts):
            raise TypeError(
                f"column {name!r} can't be written to a file; name columns by text, numbers or tuples of these"
            )
    description = {
        "written_by": __version__,
        "parameters": _as_json(parameters),
        "roles": _as_json(asdict(roles)),
        "statics": [_as_json(asdict(column)) for column in fitted.statics.columns],
        "clock": {"kind": fitted.clock.kind, "aware": fitted.clock.aware},
        "architecture": _as_json(asdict(fitted.architecture)),
        "solver": asdict(fitted.model.solver),
        "dtype": str(fitted.dtype).removeprefix("torch."),
        "time_unit": fitted.scaling.time_unit,
        "span": fitted.span,
        "reach": fitted.reach,
        "tolerance": fitted.tolerance,
        "history": [asdict(record) for record in fitted.history],
        "signal": [asdict(one) for one in fitted.signal],
    }
    tensors = {f"module.{name}": tensor for name, tensor in fitted.model.state_dict().items()}
    tensors["scaling.center"] = torch.from_numpy(fitted.scaling.center)
    tensors["scaling.spread"] = torch.from_numpy(fitted.scaling.spread)
    tensors["probe"] = fitted.probe
    if fitted.calibration is not None:
        for name in _CURVES:
            curves = getattr(fitted.calibration, name)
            tensors[f"calibration.{name}.leads"] = curves.leads
            tensors[f"calibration.{name}.scores"] = curves.scores
    if fitted.stack is not None:
        tensors |= {f"stack.{name}": tensor for name, tensor in fitted.stack.pack().items()}
    if fitted.verdict is not None:
        description["verdict"], numbers = fitted.verdict.pack(fitted.roles.value_cols)
        tensors |= {f"verdict.{name}": tensor for name, tensor in numbers.items()}
    write_model_file(path, description, tensors)


def load_fitted(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Fitted]:
    """Parameters and fit of a file written by `save_fitted`, on the CPU.

    Raises:
        FileNotFoundError, ValueError: as `read_model_file`, or where the file describes no model.
    """
    description, tensors = read_model_file(path)
    try:
        return _named(description["parameters"]), _restore(description, tensors)
    except MALFORMED as failure:
        raise ValueError(
            f"{path} was written by latentode {description.get('written_by', 'of unknown version')!s:.40}, and "
            f"latentode {__version__} can't make a model of it: {type(failure).__name__}: {failure}"
        ) from failure


def _restore(description: dict[str, Any], tensors: dict[str, Tensor]) -> Fitted:
    architecture = Architecture(**_tuples(description["architecture"]))
    solver = Solver(**description["solver"])
    dtype = {"float32": torch.float32, "float64": torch.float64}[description["dtype"]]
    weights = {name.removeprefix("module."): t for name, t in tensors.items() if name.startswith("module.")}
    with torch.device("meta"):  # shapes without memory, whatever sizes the file claims
        expected = build_model(architecture, solver, seed=0, dtype=dtype).state_dict()
    sizes = {name: tuple(t.shape) for name, t in weights.items()}
    if sizes != {name: tuple(t.shape) for name, t in expected.items()}:
        raise ValueError("its tensors don't have the shapes of its networks")
    model = build_model(architecture, solver, seed=0, dtype=dtype)
    model.load_state_dict(weights)
    center, spread = (tensors[f"scaling.{name}"].numpy() for name in ("center", "spread"))
    if not center.shape == spread.shape == (architecture.n_channels,):
        raise ValueError("its scaling has another number of channels")
    roles = Roles(**_tuples(_named(description["roles"])))
    # The first files hold none of what a solver is judged on: it is then judged on the prior's middle.
    probe = tensors.get("probe", torch.zeros(1, architecture.latent_dim, dtype=dtype))
    return Fitted(
        model=model.eval(),
        scaling=Scaling(center, spread, float(description["time_unit"])),
        statics=_statics(description.get("statics", []), roles, architecture),
        architecture=architecture,
        roles=roles,
        clock=Instants.none(**description["clock"]),
        history=[Record(**record) for record in description["history"]],
        probe=_probe(probe, architecture),
        span=float(description.get("span", 1.0)),
        tolerance=description.get("tolerance"),
        calibration=_calibration(tensors, architecture),
        signal=_signal(description.get("signal", []), architecture),
        verdict=_verdict(description, tensors, architecture),
        reach=_reach(description.get("reach")),
        stack=_stack(tensors, architecture),
    )


def _reach(time: Any) -> float | None:
    if time is None:  # as in the first files
        return None
    if not (np.isfinite(float(time)) and float(time) > 0):
        raise ValueError("its spans have no length")
    return float(time)


def _statics(settings: list[dict[str, Any]], roles: Roles, architecture: Architecture) -> Statics:
    """Static columns; the first files have none."""
    columns = []
    for setting in settings:
        kind: Any = CategoryColumn if "categories" in setting else NumberColumn
        column = kind(**_tuples(setting))
        if kind is CategoryColumn:
            named = all(isinstance(name, str) for name in column.categories)
            sound = named and len(column.shares) == len(column.categories) == len(set(column.categories))
            numbers = column.shares
        else:
            sound, numbers = column.spread >= 0, (column.center, column.spread)
        finite = np.isfinite(np.array(numbers, dtype=np.float64)).all()
        if not (sound and finite and isinstance(column.flagged, bool)):
            raise ValueError(f"its static column {column.name!r} makes no sense")
        columns.append(column)
    found = Statics(tuple(columns))
    names = tuple(column.name for column in columns)
    if names != roles.static_cols or found.n_features != architecture.n_statics:
        raise ValueError("its static columns don't fit its networks")
    return found


def _signal(found: list[dict[str, Any]], architecture: Architecture) -> tuple[ChannelSignal, ...]:
    if found and len(found) != architecture.n_channels:
        raise ValueError("its signal has another number of channels")
    return tuple(ChannelSignal(**one) for one in found)


def _probe(states: Tensor, architecture: Architecture) -> Tensor:
    if states.ndim != 2 or states.shape[1] != architecture.latent_dim or not states.is_floating_point():
        raise ValueError("its probe holds no latent states")
    return states


def _calibration(tensors: Mapping[str, Tensor], architecture: Architecture) -> Calibration | None:
    if not any(name.startswith("calibration.") for name in tensors):
        return None
    curves = {
        name: Curves(tensors[f"calibration.{name}.leads"], tensors[f"calibration.{name}.scores"])
        for name in _CURVES
    }
    for one in curves.values():
        if one.leads.ndim != 1 or one.scores.shape != (len(one.leads), architecture.n_channels, len(GRID)):
            raise ValueError("its calibration doesn't have the shape of its channels")
    return Calibration(**curves)


def _stack(tensors: Mapping[str, Tensor], architecture: Architecture) -> Stack | None:
    own = {name.removeprefix("stack."): t for name, t in tensors.items() if name.startswith("stack.")}
    return Stack.unpack(own, architecture.n_channels, architecture.n_statics)


def _verdict(
    description: Mapping[str, Any], tensors: Mapping[str, Tensor], architecture: Architecture
) -> Verdict | None:
    if description.get("verdict") is None:  # as in the first files
        return None
    return Verdict.unpack(
        description["verdict"],
        {name.removeprefix("verdict."): t for name, t in tensors.items() if name.startswith("verdict.")},
        Roles(**_tuples(_named(description["roles"]))).value_cols,
        kind=description["clock"]["kind"],
        latent_dim=architecture.latent_dim,
    )


def _as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON holds them."""

    def plain(name: str, value: Any) -> Any:
        if isinstance(value, (np.timedelta64, timedelta)):  # pd.Timedelta too; pd.Timedelta reads its text
            return str(value)
        if hasattr(value, "nanos"):  # one of pandas' offsets, such as pd.offsets.Hour(4)
            return f"{value.nanos} ns"
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        if hasattr(value, "tolist"):  # an array or an index of names
            value = value.tolist()
        if isinstance(value, (list, tuple)):
            return [plain(name, item) for item in value]
        if value is None or isinstance(value, (str, int, float, bool)):
            return value
        raise TypeError(
            f"{name} holds {value!r}, which can't be written to a file; use text, numbers or None"
        )

    return {name: plain(name, value) for name, value in settings.items()}


def _tuples(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}


def _named(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings whose columns have their names again: where JSON has a list for a name it was a tuple."""
    settings = dict(settings)
    for one in settings.keys() & {"id_col", "time_col", "id_name", "time_name"}:
        if isinstance(settings[one], list):
            settings[one] = tuple(settings[one])
    for several in settings.keys() & {"value_cols", "static_cols"}:
        if isinstance(settings[several], list):
            settings[several] = [
                tuple(name) if isinstance(name, list) else name for name in settings[several]
            ]
    return settings


def write_model_file(
    path: str | os.PathLike[str], description: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Writes the file whole or not at all, see `write_archive`.

    Raises:
        OSError: where it can't be written; an older file of that name is left as it was.
    """
    try:
        write_archive(path, _KIND, FORMAT_VERSION, description, tensors)
    except OSError as failure:
        if failure.errno is None:
            raise
        kept = "; the file that was there is whole" if os.path.exists(path) else ""
        raise OSError(
            failure.errno, f"the model could not be saved ({failure.strerror}){kept}", os.fspath(path)
        ) from failure


def read_model_file(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The description and tensors of a file written by `write_model_file`.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: where it is no model file, damaged, or written by a newer version.
    """
    return read_archive(
        path, _KIND, FORMAT_VERSION, otherwise="saved latentode model (LatentODE.save writes one)"
    )
