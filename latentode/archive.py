"""One file of plain data: a JSON description and tensors, checked before anything is believed.

The file is one line, `latentode <kind> <version> <sha256 of the rest>`, followed by an ordinary zip
archive that holds `<kind>.json` and one NumPy `.npy` file for each tensor. Nothing in it is code and
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
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["MALFORMED", "half_written", "read_archive", "write_archive"]

# Bytes that a file may unpack to: a thousand times what the largest usual model takes.
MOST_BYTES = 2**32

# What reading a file raises that has the right checksum and was not written by `write_archive`.
MALFORMED = (
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


def write_archive(
    path: str | os.PathLike[str],
    kind: str,
    version: int,
    description: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    *,
    compress: bool = True,
) -> None:
    """Writes the file whole or not at all: to a neighbouring file first, which then takes its name.

    Raises:
        TypeError: where the description holds what JSON can't.
        OSError: where the file can't be written; an older file of that name is left as it was.
    """
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{kind}.json", json.dumps(description, indent=1, allow_nan=True))
        for name, tensor in tensors.items():
            buffer = io.BytesIO()
            np.save(buffer, tensor.detach().cpu().numpy(), allow_pickle=False)
            archive.writestr(f"tensors/{name}.npy", buffer.getvalue())
    content = body.getvalue()
    header = f"latentode {kind} {version} {hashlib.sha256(content).hexdigest()}\n".encode()
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


def half_written(path: Path) -> list[Path]:
    """The neighbouring files that killed processes left while they wrote the file."""
    ours = re.compile(re.escape(f".{path.name}.") + r"\d+")
    return [file for file in path.parent.glob(".*") if ours.fullmatch(file.name)]


def read_archive(
    path: str | os.PathLike[str], kind: str, version: int, *, otherwise: str
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The description and tensors of a file written by `write_archive`.

    Args:
        version: the newest that the caller can read.
        otherwise: what the file is not, should it be of another kind: "saved latentode model (...)".

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: where it is of another kind, damaged, or written by a newer version.
    """
    content = Path(path).read_bytes()
    header = re.match(rf"latentode {kind} ([1-9][0-9]{{0,8}}) ([0-9a-f]{{64}})\n".encode(), content)
    if header is None:
        raise ValueError(f"{path} is no {otherwise}")
    if int(header[1]) > version:
        raise ValueError(
            f"{path} has format version {int(header[1])}, and this latentode reads up to {version}; "
            "install a newer latentode to load it"
        )
    body = content[header.end() :]
    if hashlib.sha256(body).hexdigest() != header[2].decode():
        raise ValueError(f"{path} is damaged: its contents do not match their checksum; take another copy")
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            return _unpack(archive, f"{kind}.json")
    except (*MALFORMED, RecursionError) as failure:
        raise ValueError(f"{path} is no {otherwise}, although its checksum is right: {failure}") from failure


def _unpack(archive: zipfile.ZipFile, description_name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > MOST_BYTES:
        raise ValueError(f"it unpacks to {unpacked} bytes; none takes more than {MOST_BYTES}")
    description = json.loads(archive.read(description_name))
    if not isinstance(description, dict):
        raise ValueError(f"{description_name} holds no description")
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
