"""One file of plain data: a JSON description and tensors, checked before anything is believed.

The file is one line, `latentode <kind> <version> <sha256 of the rest>`, followed by an ordinary zip
archive that holds `<kind>.json` and one NumPy `.npy` file for each tensor. Nothing in it is code and
nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["read_archive", "write_archive"]


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
    magic = f"latentode {kind} ".encode()
    header, newline, body = Path(path).read_bytes().partition(b"\n")
    fields = header.removeprefix(magic).split(b" ")
    if not header.startswith(magic) or not newline or len(fields) != 2 or not fields[0].isdigit():
        raise ValueError(f"{path} is no {otherwise}")
    if int(fields[0]) > version:
        raise ValueError(
            f"{path} has format version {int(fields[0])}, and this latentode reads up to {version}; "
            "install a newer latentode to load it"
        )
    if hashlib.sha256(body).hexdigest().encode() != fields[1]:
        raise ValueError(f"{path} is damaged: its contents do not match their checksum; take another copy")
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        description = json.loads(archive.read(f"{kind}.json"))
        tensors = {}
        for name in archive.namelist():
            if name.startswith("tensors/"):
                array = np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
                tensors[name.removeprefix("tensors/").removesuffix(".npy")] = torch.from_numpy(array)
    return description, tensors
