"""diffrax: Tsit5 with adaptive steps in one jitted training step, batched in two ways.

"diffrax" maps the solve over the series, each with its own steps, saved at its own times: what its documentation
shows. "One solve" takes the batch for one state, so that all series share steps, and reads the dense output at
each series' own times, which needs the inside of diffrax's interpolation. Of the settings tried, these were the
fastest and most exact: a PI controller (the default, an I controller, made gradients some five to ten times less
exact at the same cost) and the recursive checkpoints' adjoint with a checkpoint a step. The continuous adjoint
(BacksolveAdjoint) took over twenty times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import diffrax
import equinox
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from benchmarks.solvers.latent_ode_jax import Weights, loss, mlp
from benchmarks.solvers.serving import serve

TOLERANCES = (1e-4, 1e-6)
FEWEST_STEPS = 16  # room for the steps of a solve, doubled until it is enough: more of it costs time


def diffeqsolve(
    weights: Weights, z0: Array, end: Array, saveat: diffrax.SaveAt, **settings
) -> diffrax.Solution:
    tolerance, max_steps = settings["tolerance"], settings["max_steps"]
    field = {key: each for key, each in weights.items() if key.startswith("field.")}
    return diffrax.diffeqsolve(
        diffrax.ODETerm(lambda _, z, field: mlp(field, "field.mlp", z)),
        diffrax.Tsit5(),
        t0=0.0,
        t1=end,
        dt0=None,
        y0=z0,
        args=field,
        saveat=saveat,
        stepsize_controller=diffrax.PIDController(tolerance, tolerance, pcoeff=0.2, icoeff=0.5),
        adjoint=diffrax.RecursiveCheckpointAdjoint(checkpoints=max_steps),
        max_steps=max_steps,
        throw=False,  # `DiffraxStep` looks at the result
    )


def series_by_series(weights: Weights, z0: Array, times: Array, **settings) -> tuple[Array, Array]:
    def of_one(z0: Array, times: Array) -> tuple[Array, Array]:
        solution = diffeqsolve(weights, z0, times[-1], diffrax.SaveAt(ts=times), **settings)
        return solution.ys, solution.result == diffrax.RESULTS.successful

    z, success = jax.vmap(of_one)(z0, times)
    return z, success.all()


def one_solve(weights: Weights, z0: Array, times: Array, **settings) -> tuple[Array, Array]:
    solution = diffeqsolve(weights, z0, times.max(), diffrax.SaveAt(dense=True), **settings)
    dense = solution.interpolation

    def of_one(infos: dict[str, Array], z0: Array, times: Array) -> Array:
        own = equinox.tree_at(lambda each: (each.infos, each.y0_if_trivial), dense, (infos, z0))
        return jax.vmap(own.evaluate)(times)

    z = jax.vmap(of_one, in_axes=(-2, 0, 0))(dense.infos, z0, times)
    return z, solution.result == diffrax.RESULTS.successful


class DiffraxStep:
    """Bound, gradient and AdamW, compiled; the weights that it answers with are thrown away."""

    def __init__(self, arrays: Mapping[str, np.ndarray], solve: Callable, tolerance: float) -> None:
        weights = {
            key.removeprefix("weights/"): jnp.asarray(each) for key, each in arrays.items() if "/" in key
        }
        self.batch = {key: jnp.asarray(arrays[key]) for key in ("times", "values", "mask", "noise")}
        self.names = [str(name) for name in arrays["parameters"]]
        self.weights = {name: weights[name] for name in self.names}
        self.fixed = {key: each for key, each in weights.items() if key not in self.weights}
        self.optimiser = optax.adamw(1e-3)
        self.state = self.optimiser.init(self.weights)
        max_steps, success = FEWEST_STEPS // 2, False
        while not success:
            max_steps *= 2
            self.step = self.compiled(solve, tolerance, max_steps)
            self()
            success = bool(self.success)

    def compiled(self, solve: Callable, tolerance: float, max_steps: int) -> Callable:
        def solve_so(weights: Weights, z0: Array, times: Array) -> tuple[Array, Array]:
            return solve(weights, z0, times, tolerance=tolerance, max_steps=max_steps)

        def whole(weights: Weights, batch: Mapping[str, Array]) -> tuple[Array, Array]:
            return loss({**weights, **self.fixed}, batch, solve_so)

        @jax.jit
        def step(weights: Weights, state: optax.OptState, batch: Mapping[str, Array]) -> tuple:
            (_, success), gradient = jax.value_and_grad(whole, has_aux=True)(weights, batch)
            updates, state = self.optimiser.update(gradient, state, weights)
            return optax.apply_updates(weights, updates), state, gradient, success

        return step

    def __call__(self) -> None:
        done = self.step(self.weights, self.state, self.batch)
        _, _, self.last_gradient, self.success = jax.block_until_ready(done)

    def gradient(self) -> np.ndarray:
        parts = [np.asarray(self.last_gradient[name], dtype=np.float64).ravel() for name in self.names]
        return np.concatenate(parts)


def make_steps(arrays: Mapping[str, np.ndarray]) -> dict[str, DiffraxStep]:
    steps = {}
    for suffix, solve in (("", series_by_series), (", one solve", one_solve)):
        for tolerance in TOLERANCES:
            name = f"diffrax {tolerance:.0e}".replace("e-0", "e-") + suffix
            steps[name] = DiffraxStep(arrays, solve, tolerance)
    return steps


if __name__ == "__main__":
    versions = {"diffrax": diffrax.__version__, "jax": jax.__version__}
    serve(make_steps, versions)
