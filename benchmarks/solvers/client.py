"""The benchmark's side of the conversation: a rival in its own process and environment, step by step."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from benchmarks.steps import noise_of
from latentode import LatentODEModel, SeriesBatch

__all__ = ["RIVALS", "Rival", "environment", "write_workload"]

ROOT = Path(__file__).parents[2]
RIVALS = ("diffrax", "torchode")

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}


def environment(name: str) -> Path:
    """The Python of a rival's environment, which `make rivals` makes."""
    return ROOT / f".venv-{name}" / "bin" / "python"


def write_workload(path: Path, name: str, model: LatentODEModel, batch: SeriesBatch) -> None:
    """Weights, batch and draws of z0 as arrays: what a rival needs to compute the same bound."""
    arrays = {"times": batch.times, "values": batch.values, "mask": batch.mask}
    arrays["noise"] = noise_of(batch.n_series, model.encoder.latent_dim)
    arrays |= {f"weights/{key}": weight for key, weight in model.state_dict().items()}
    parameters = np.array([key for key, _ in model.named_parameters()])
    np.savez(
        path,
        workload=np.array(name),
        parameters=parameters,
        **{key: each.numpy() for key, each in arrays.items()},
    )


class Rival:
    """A rival's process; as a context manager it ends it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.versions: dict[str, str] = {}
        self.folder = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen(
            [str(environment(name)), "-m", f"benchmarks.solvers.{name}_steps"],
            cwd=ROOT,
            env=os.environ | ONE_THREAD,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Rival:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.folder.cleanup()

    def ask(self, **question: str) -> object:
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(
                f"{self.name} ended with status {self.process.wait()} when asked {question}; "
                f"its reason stands above. `make rivals` makes its environment again."
            )
        return json.loads(answer)

    def open(self, name: str, model: LatentODEModel, batch: SeriesBatch) -> dict[str, RemoteStep]:
        """The rival's rows for one workload."""
        path = Path(self.folder.name) / "workload.npz"
        write_workload(path, name, model, batch)
        answer = self.ask(open=str(path))
        self.versions = answer["versions"]
        return {row: RemoteStep(self, row) for row in answer["rows"]}


class RemoteStep:
    """A row of a rival, with the face of a `Step`."""

    def __init__(self, rival: Rival, row: str) -> None:
        self.rival, self.row = rival, row

    def timed(self) -> tuple[float, float]:
        whole, system = self.rival.ask(time=self.row)
        return whole, system

    def gradient(self) -> Tensor:
        path = Path(self.rival.folder.name) / "gradient.npy"
        self.rival.ask(gradient=self.row, to=str(path))
        return torch.from_numpy(np.load(path)).double()
