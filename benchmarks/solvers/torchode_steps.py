"""torchode: every series its own adaptive steps to its own times, in the package's own model.

Tsit5 and back-propagation through the steps, not through the step sizes, and a PI controller: of torchode's
settings the fastest and most exact here. "Packed GRU" has torch's GRU over packed sequences for an encoder; the
other rows profit from the package's own.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import torch
import torchode
from torch import Tensor

from benchmarks.solvers.serving import serve
from benchmarks.steps import Step, with_parts
from benchmarks.workloads import WORKLOADS, new_model
from latentode import LatentODEModel, SeriesBatch

TOLERANCES = (1e-4, 1e-6)


class TorchodeModel(LatentODEModel):
    """Solves each series to its own times."""

    tolerance: float

    def latent_path(self, z0: Tensor, times: Tensor) -> Tensor:
        term = torchode.ODETerm(self.field)
        controller = torchode.PIDController(self.tolerance, self.tolerance, 0.2, 0.5, 0.0, term=term)
        solver = torchode.AutoDiffAdjoint(
            torchode.Tsit5(term=term), controller, backprop_through_step_size_control=False
        )
        states = z0.flatten(0, 1)
        times = times.repeat(z0.shape[0], 1)
        problem = torchode.InitialValueProblem(
            y0=states, t_start=torch.zeros_like(times[:, 0]), t_end=times[:, -1], t_eval=times
        )
        z = solver.solve(problem).ys
        return z.view(*z0.shape[:2], *z.shape[1:])


class TorchodeStep(Step):
    def gradient(self) -> np.ndarray:
        return super().gradient().numpy()


def make_steps(arrays: Mapping[str, np.ndarray]) -> dict[str, TorchodeStep]:
    model = new_model(WORKLOADS[str(arrays["workload"])])
    weights = {key.removeprefix("weights/"): each for key, each in arrays.items() if "/" in key}
    model.load_state_dict({key: torch.from_numpy(each) for key, each in weights.items()})
    batch = SeriesBatch(*(torch.from_numpy(arrays[key]) for key in ("times", "values", "mask")))
    steps = {}
    for packed in (False, True):
        for tolerance in TOLERANCES:
            own = with_parts(model, packed=packed, kind=TorchodeModel)
            own.tolerance = tolerance
            name = f"torchode {tolerance:.0e}".replace("e-0", "e-") + (", packed GRU" if packed else "")
            steps[name] = TorchodeStep(own, batch)
    return steps


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    serve(make_steps, {"torchode": torchode.__version__, "torch": torch.__version__})
