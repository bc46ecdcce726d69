"""One file a model: a JSON description and plain tensors, checked before anything is believed.

The file is one line, `latentode model <version> <sha256 of the rest>`, followed by an ordinary zip
archive that holds `model.json` and one NumPy `.npy` file for each tensor. Nothing in it is code and
nothing is unpickled. Sizes are checked before memory is taken for them.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentode._version import __version__
from latentode.build import Architecture, build_model
from latentode.fitting import Fitted
from latentode.frames import Instants, Roles, Scaling
from latentode.solve import Solver
from latentode.training import Record

__all__ = ["FORMAT_VERSION", "load_fitted", "read_model_file", "save_fitted", "write_model_file"]

FORMAT_VERSION = 1
_MAGIC = b"latentode model "
_HEADER = re.compile(rb"latentode model ([1-9][0-9]{0,8}) ([0-9a-f]{64})\n")
_DESCRIPTION = "model.json"

# Bytes that a file may unpack to: a thousand times what the largest usual model takes.
MOST_BYTES = 2**32

# What reading a file raises that has the right checksum and was not written by `write_model_file`.
_MALFORMED = (
    zipfile.BadZipFile,
    zlib.error,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    IndexError,
    RuntimeError,
    EOFError,
    OverflowError,
)


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
        "history": [asdict(record) for record in fitted.history],
    }
    tensors = {f"module.{name}": tensor for name, tensor in fitted.model.state_dict().items()}
    tensors["scaling.center"] = torch.from_numpy(fitted.scaling.center)
    tensors["scaling.spread"] = torch.from_numpy(fitted.scaling.spread)
    write_model_file(path, description, tensors)


def load_fitted(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Fitted]:
    """Parameters and fit of a file written by `save_fitted`, on the CPU.

    Raises:
        FileNotFoundError, ValueError: as `read_model_file`, or where the file describes no model.
    """
    description, tensors = read_model_file(path)
    try:
        return dict(description["parameters"]), _restore(description, tensors)
    except _MALFORMED as failure:
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
    return Fitted(
        model=model.eval(),
        scaling=Scaling(center, spread, float(description["time_unit"])),
        architecture=architecture,
        roles=Roles(**_tuples(description["roles"])),
        clock=Instants.none(**description["clock"]),
        history=[Record(**record) for record in description["history"]],
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
    header = _HEADER.match(content)
    if header is None:
        raise ValueError(f"{path} is no saved latentode model (LatentODE.save writes one)")
    version, checksum = int(header[1]), header[2].decode()
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {version}, and this latentode reads up to {FORMAT_VERSION}; "
            "install a newer latentode to load it"
        )
    body = content[header.end() :]
    if hashlib.sha256(body).hexdigest() != checksum:
        raise ValueError(f"{path} is damaged: its contents do not match their checksum; take another copy")
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            return _unpack(archive)
    except (*_MALFORMED, RecursionError) as failure:
        raise ValueError(
            f"{path} is no saved latentode model, although its checksum is right: {failure}"
        ) from failure


def _unpack(archive: zipfile.ZipFile) -> tuple[dict[str, Any], dict[str, Tensor]]:
    unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > MOST_BYTES:
        raise ValueError(f"it unpacks to {unpacked} bytes; no model takes more than {MOST_BYTES}")
    description = json.loads(archive.read(_DESCRIPTION))
    if not isinstance(description, dict):
        raise ValueError(f"{_DESCRIPTION} holds no description")
    tensors = {}
    for name in archive.namelist():
        if name.startswith("tensors/"):
            tensors[name.removeprefix("tensors/").removesuffix(".npy")] = _tensor(archive.read(name))
    return description, tensors


def _tensor(content: bytes) -> Tensor:
    """The numbers of an .npy file, after a look at whether it holds as many as it says."""
    buffer = io.BytesIO(content)
    if np.lib.format.read_magic(buffer) != (1, 0):
        raise ValueError("a tensor is not in the .npy format's version 1.0")
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(buffer)
    if dtype.kind not in "fiub":
        raise ValueError(f"a tensor holds {dtype}, which are no numbers")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(content) - buffer.tell():
        raise ValueError(f"a tensor of shape {shape} holds another number of bytes")
    array = np.frombuffer(content, dtype, offset=buffer.tell()).reshape(
        shape, order="F" if by_columns else "C"
    )
    return torch.from_numpy(array.astype(dtype.newbyteorder("=")))
