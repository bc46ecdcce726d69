"""One file a model: a JSON description and plain tensors, checked before anything is believed.

The file is one line, `latentode model <version> <sha256 of the rest>`, followed by an ordinary zip
archive that holds `model.json` and one NumPy `.npy` file for each tensor. Nothing in it is code and
nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentode._version import __version__
from latentode.build import Architecture, build_model
from latentode.calibration import Calibration, Curves
from latentode.fitting import Fitted
from latentode.frames import Instants, Roles, Scaling
from latentode.solve import Solver
from latentode.training import Record

__all__ = ["FORMAT_VERSION", "load_fitted", "read_model_file", "save_fitted", "write_model_file"]

FORMAT_VERSION = 1
_MAGIC = b"latentode model "
_DESCRIPTION = "model.json"
_KINDS = ("ahead", "between")


def save_fitted(path: str | os.PathLike[str], parameters: Mapping[str, Any], fitted: Fitted) -> None:
    """Writes an estimator's parameters and what its fit learned.

    Raises:
        TypeError: where a parameter or column name is neither text, number nor None.
        OSError: where the file can't be written.
    """
    for name in (fitted.roles.id_name, fitted.roles.time_name, *fitted.roles.value_cols):
        if not (name is None or isinstance(name, (str, int, float))):
            raise TypeError(f"column {name!r} can't be written to a file; name columns by text or numbers")
    description = {
        "written_by": __version__,
        "parameters": _plain(parameters),
        "roles": _plain(asdict(fitted.roles)),
        "clock": {"kind": fitted.clock.kind, "aware": fitted.clock.aware},
        "architecture": _plain(asdict(fitted.architecture)),
        "solver": asdict(fitted.model.solver),
        "dtype": str(fitted.dtype).removeprefix("torch."),
        "time_unit": fitted.scaling.time_unit,
        "span": fitted.span,
        "tolerance": fitted.tolerance,
        "history": [asdict(record) for record in fitted.history],
    }
    tensors = {f"module.{name}": tensor for name, tensor in fitted.model.state_dict().items()}
    tensors["scaling.center"] = torch.from_numpy(fitted.scaling.center)
    tensors["scaling.spread"] = torch.from_numpy(fitted.scaling.spread)
    tensors["probe"] = fitted.probe
    if fitted.calibration is not None:
        for name in _KINDS:
            curves = getattr(fitted.calibration, name)
            tensors[f"calibration.{name}.leads"] = curves.leads
            tensors[f"calibration.{name}.scores"] = curves.scores
    write_model_file(path, description, tensors)


def load_fitted(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Fitted]:
    """Parameters and fit of a file written by `save_fitted`, on the CPU."""
    description, tensors = read_model_file(path)
    architecture = Architecture(**_tuples(description["architecture"]))
    dtype = getattr(torch, description["dtype"])
    model = build_model(architecture, Solver(**description["solver"]), seed=0, dtype=dtype)
    model.load_state_dict(
        {name.removeprefix("module."): t for name, t in tensors.items() if name.startswith("module.")}
    )
    fitted = Fitted(
        model=model.eval(),
        scaling=Scaling(
            tensors["scaling.center"].numpy(), tensors["scaling.spread"].numpy(), description["time_unit"]
        ),
        architecture=architecture,
        roles=Roles(**_tuples(description["roles"])),
        clock=Instants.none(**description["clock"]),
        history=[Record(**record) for record in description["history"]],
        probe=tensors["probe"],
        span=description["span"],
        tolerance=description["tolerance"],
        calibration=_calibration(tensors),
    )
    return description["parameters"], fitted


def _calibration(tensors: Mapping[str, Tensor]) -> Calibration | None:
    if "calibration.ahead.leads" not in tensors:
        return None
    return Calibration(
        **{
            name: Curves(tensors[f"calibration.{name}.leads"], tensors[f"calibration.{name}.scores"])
            for name in _KINDS
        }
    )


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON holds them."""

    def plain(name: str, value: Any) -> Any:
        if isinstance(value, np.generic):
            return value.item()
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


def write_model_file(
    path: str | os.PathLike[str], description: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Writes the file whole or not at all: to a neighbouring file first, which then takes its name.

    Raises:
        TypeError: where the description holds what JSON can't.
        OSError: where the file can't be written; an older file of that name is left as it was.
    """
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_DESCRIPTION, json.dumps(description, indent=1, allow_nan=True))
        for name, tensor in tensors.items():
            buffer = io.BytesIO()
            np.save(buffer, tensor.detach().cpu().numpy(), allow_pickle=False)
            archive.writestr(f"tensors/{name}.npy", buffer.getvalue())
    content = body.getvalue()
    header = _MAGIC + f"{FORMAT_VERSION} {hashlib.sha256(content).hexdigest()}\n".encode()
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent} is no folder; make it before saving {path.name} there")
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with scratch.open("wb") as file:
            file.write(header + content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def read_model_file(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The description and tensors of a file written by `write_model_file`.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: where it is no model file, damaged, or written by a newer version.
    """
    content = Path(path).read_bytes()
    header, newline, body = content.partition(b"\n")
    fields = header.removeprefix(_MAGIC).split(b" ")
    if not header.startswith(_MAGIC) or not newline or len(fields) != 2 or not fields[0].isdigit():
        raise ValueError(f"{path} is no saved latentode model (LatentODE.save writes one)")
    version = int(fields[0])
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {version}, and this latentode reads up to {FORMAT_VERSION}; "
            "install a newer latentode to load it"
        )
    if hashlib.sha256(body).hexdigest().encode() != fields[1]:
        raise ValueError(f"{path} is damaged: its contents do not match their checksum; take another copy")
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        description = json.loads(archive.read(_DESCRIPTION))
        tensors = {}
        for name in archive.namelist():
            if name.startswith("tensors/"):
                array = np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
                tensors[name.removeprefix("tensors/").removesuffix(".npy")] = torch.from_numpy(array)
    return description, tensors
