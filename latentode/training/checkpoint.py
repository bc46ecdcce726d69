"""The file that a fit's state is kept in while the fit lasts, so that a killed one goes on."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from latentode._version import __version__
from latentode.archive import half_written, read_archive, write_archive
from latentode.series import SeriesCollection

if TYPE_CHECKING:  # whoever trains the building blocks needs no pandas
    from latentode.frames import StaticValues

__all__ = ["FORMAT_VERSION", "Checkpoint", "identify"]

FORMAT_VERSION = 1
_KIND = "checkpoint"

# A checkpoint is written this often at most, in seconds, and more rarely where writing is slow: it takes
# no more than this share of the time.
SHORTEST_INTERVAL = 5.0
LARGEST_SHARE = 0.01

# Parameters of the estimator that change nothing in a fit's weights.
FREE = ("checkpoint", "n_samples", "verbose")


class Checkpoint:
    """A run's state in one file, whole at every moment: a new one takes the place of the old at once.

    The file lives as long as the run is unfinished. Opening it reads what an earlier, killed run of the
    same identity has left: `saved`, a description and tensors, or None where there is nothing.

    Args:
        path: the file; its folder must exist.
        identity: what the run is of, as names and values in words, see `identify`.

    Raises:
        ValueError: where the file is the checkpoint of another run, naming what differs, where it is
            damaged, or where it is no checkpoint.
        OSError: where no file can be written there.
    """

    def __init__(self, path: str | os.PathLike[str], identity: Mapping[str, str]) -> None:
        self.path = Path(path)
        self.identity = dict(identity)
        self.saved: tuple[dict[str, Any], dict[str, Tensor]] | None = None
        self._check_folder()
        if self.path.exists():
            self.saved = self._read()
        self._due = time.monotonic() + SHORTEST_INTERVAL

    @property
    def is_due(self) -> bool:
        """Whether enough time has passed since the last one was written."""
        return time.monotonic() >= self._due

    def write(self, description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Puts the state in the place of the one before.

        Raises:
            OSError: where it can't be written; the one before is left as it was.
        """
        started = time.monotonic()
        whole = {"identity": self.identity, **description}
        try:
            write_archive(self.path, _KIND, FORMAT_VERSION, whole, tensors, compress=False)
        except OSError as failure:
            if failure.errno is None:
                raise
            kept = "the one before is whole" if self.path.exists() else "there was none before"
            raise OSError(
                failure.errno,
                f"the fit was stopped, as its checkpoint could not be written ({failure.strerror}); {kept}. Make "
                "room or choose another place, and call fit again",
                str(self.path),
            ) from failure
        now = time.monotonic()
        self._due = now + max(SHORTEST_INTERVAL, (now - started) / LARGEST_SHARE)

    def remove(self) -> None:
        """The run is finished; what killed ones left half written goes too."""
        self.path.unlink(missing_ok=True)
        for scratch in half_written(self.path):
            scratch.unlink(missing_ok=True)

    def _check_folder(self) -> None:
        folder = self.path.parent
        if not folder.is_dir():
            raise FileNotFoundError(
                f"{folder} is no folder; make it before the fit keeps {self.path.name} there"
            )
        if self.path.is_dir():
            raise IsADirectoryError(f"checkpoint={str(self.path)!r} is a folder; name a file in it")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(
                f"the fit can't keep its checkpoint {self.path.name}: the folder {folder} can't be written to"
            )

    def _read(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        try:
            description, tensors = read_archive(
                self.path, _KIND, FORMAT_VERSION, otherwise="checkpoint of a fit; name another file"
            )
        except ValueError as failure:
            if "is damaged" not in str(failure):
                raise
            raise ValueError(
                f"the checkpoint {self.path} is damaged: its contents do not match their checksum; "
                "delete it to fit anew"
            ) from failure
        before = description["identity"]
        changed = [
            f"{name} was {before.get(name, 'not set')} and is {self.identity.get(name, 'not set')}"
            for name in {**before, **self.identity}
            if before.get(name) != self.identity.get(name)
        ]
        if changed:
            raise ValueError(
                f"{self.path} is the checkpoint of another fit, which has not ended: {'; '.join(changed)}. Call fit "
                "as it was called then to go on with it, or delete the file, or name another"
            )
        return description, tensors


def identify(
    parameters: Mapping[str, Any],
    data: SeriesCollection,
    start: Mapping[str, Tensor] | None,
    statics: Sequence[StaticValues] = (),
) -> dict[str, str]:
    """In words and digests, all that a fit's weights depend on.

    Args:
        start: the weights that the fit goes on from, None for fresh ones.
        statics: what static columns say of the series.
    """
    identity = {name: repr(_comparable(value)) for name, value in parameters.items() if name not in FREE}
    rows = {"times": data.times, "values": data.values, "mask": data.mask, "starts": data.starts}
    size = f"{len(data)} series, {len(data.times)} rows, {data.n_channels} channels"
    identity["the data"] = f"{size} (sha256 {_digest(rows)})"
    if statics:
        said = repr([(one.name, one.values.tolist()) for one in statics])
        identity["what is static"] = f"sha256 {hashlib.sha256(said.encode()).hexdigest()[:16]}"
    identity["the model to start from"] = "a fresh one" if start is None else f"sha256 {_digest(start)}"
    identity["the version of latentode"] = __version__
    return identity


def _digest(tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256()
    for name, tensor in tensors.items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).tobytes())
    return found.hexdigest()[:16]


def _comparable(value: Any) -> Any:
    """Equal settings as equal objects: a list for a tuple, an array or an index, a float for NumPy's."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_comparable(item) for item in value]
    return value
