r"""The plain latent ODE's bound in JAX: encoder, likelihood and KL as the package has them, solver open.

    loss = sum (KL - log p(x | z0)) / number of observed values,    z0 = mu + sigma * noise

Weights are a dict of arrays under the names that torch gives them; the constants are the package's.

Shapes: B series, N rows, D channels, L latent dimensions; times (B, N), values and mask (B, N, D), noise (1, B, L).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import Array, nn

__all__ = ["Weights", "loss", "mlp"]

Weights = Mapping[str, Array]

MIN_POSTERIOR_STD, INITIAL_POSTERIOR_STD = 1e-3, 0.3  # latentode.encoders
LARGEST_INPUT = 10.0
MIN_NOISE = 1e-3  # latentode.likelihoods


def mlp(weights: Weights, name: str, x: Array) -> Array:
    n_layers = sum(key.startswith(f"{name}.layers.") and key.endswith(".weight") for key in weights)
    for layer in range(n_layers):
        x = x @ weights[f"{name}.layers.{layer}.weight"].T + weights[f"{name}.layers.{layer}.bias"]
        x = jnp.tanh(x) if layer < n_layers - 1 else x
    return x


def loss(
    weights: Weights,
    batch: Mapping[str, Array],
    solve: Callable[[Weights, Array, Array], tuple[Array, Array]],
) -> tuple[Array, Array]:
    """The loss and what solve(weights, z0 (B, L), times (B, N)) answers beside z (B, N, L)."""
    location, scale = posterior(weights, batch)
    z0 = location + scale * batch["noise"][0]
    z, success = solve(weights, z0, batch["times"] - batch["times"][:, :1])
    mean = mlp(weights, "likelihood.decoder", z)
    variance = (MIN_NOISE + nn.softplus(weights["likelihood.raw_noise"])) ** 2
    residuals = (batch["values"] - mean) * batch["mask"]
    density = -0.5 * (residuals**2 / variance + jnp.log(2 * math.pi * variance)) * batch["mask"]
    kl = 0.5 * (location**2 + scale**2 - 1 - 2 * jnp.log(scale))
    return (kl.sum() - density.sum()) / batch["mask"].sum(), success


def posterior(weights: Weights, batch: Mapping[str, Array]) -> tuple[Array, Array]:
    """Mean and standard deviation of q(z0 | x_1..x_N), read from the last row to the first: (B, L) each."""
    typical_gap = weights["encoder.typical_gap"]
    lengths = batch["mask"].any(-1).sum(1)
    order = lengths[:, None] - 1 - jnp.arange(batch["times"].shape[1])
    filled, order = order >= 0, jnp.maximum(order, 0)
    times = jnp.take_along_axis(batch["times"], order, 1)
    mask = jnp.take_along_axis(batch["mask"], order[..., None], 1) & filled[..., None]
    values = jnp.take_along_axis(batch["values"], order[..., None], 1) * mask
    values = jnp.clip(values, -LARGEST_INPUT, LARGEST_INPUT)
    gaps = jnp.pad(jnp.abs(jnp.diff(times, axis=1)), ((0, 0), (1, 0)))[..., None]
    elapsed = [jnp.minimum(gaps, 10.0), jnp.log1p(gaps / typical_gap)]
    inputs = jnp.concatenate([values, mask.astype(values.dtype), *elapsed], -1)
    state = gru(weights, inputs, filled)
    seen = summaries(times, values, mask, lengths, typical_gap)
    head = mlp(weights, "encoder.head", jnp.concatenate([state, seen], -1))
    location, raw_scale = jnp.split(head, 2, -1)
    return location, MIN_POSTERIOR_STD + INITIAL_POSTERIOR_STD * nn.softplus(raw_scale) / math.log(2)


def gru(weights: Weights, inputs: Array, filled: Array) -> Array:
    """The state after each series' last row: a scan over rows, their inputs multiplied beforehand."""
    of_state, bias = weights["encoder.gru.weight_hh"].T, weights["encoder.gru.bias_hh"]
    of_inputs = inputs @ weights["encoder.gru.weight_ih"].T + weights["encoder.gru.bias_ih"]

    def cell(state: Array, row: tuple[Array, Array]) -> tuple[Array, None]:
        seen, filled = row
        r_in, z_in, m_in = jnp.split(seen, 3, -1)
        r_state, z_state, m_state = jnp.split(state @ of_state + bias, 3, -1)
        r, z = nn.sigmoid(r_in + r_state), nn.sigmoid(z_in + z_state)
        candidate = jnp.tanh(m_in + r * m_state)
        return jnp.where(filled[:, None], candidate + z * (state - candidate), state), None

    start = jnp.zeros((len(inputs), len(of_state)), inputs.dtype)
    return jax.lax.scan(cell, start, (of_inputs.swapaxes(0, 1), filled.T))[0]


def summaries(times: Array, values: Array, mask: Array, lengths: Array, typical_gap: Array) -> Array:
    """The seven numbers a channel of `latentode.encoders`: (B, 7 D)."""
    n_rows = times.shape[1]
    rank = jnp.arange(1, n_rows + 1)[None, :, None]
    ranked = mask * rank
    nearest = ranked.max(1)
    second = (ranked * (ranked < nearest[:, None])).max(1)
    farthest = n_rows + 1 - (mask * (n_rows + 1 - rank)).max(1)

    def read(table: Array, row: Array) -> Array:
        return jnp.take_along_axis(table, jnp.clip(row - 1, 0, n_rows - 1)[:, None], 1)[:, 0]

    clock = jnp.broadcast_to(times[..., None], values.shape)
    end = jnp.take_along_axis(times, jnp.maximum(lengths - 1, 0)[:, None], 1)
    count = mask.sum(1)
    seen, twice = count > 0, count > 1
    value, time = read(values, nearest), read(clock, nearest)
    gap = time - read(clock, second)
    gap = jnp.where(jnp.abs(gap) < 1e-3 * typical_gap, 1e-3 * typical_gap, gap)
    slope = (value - read(values, second)) * typical_gap / gap
    parts = [
        jnp.where(seen, value, 0),
        jnp.where(seen, jnp.clip(time - end, -10, 10), 0),
        jnp.where(twice, jnp.clip(slope, -LARGEST_INPUT, LARGEST_INPUT), 0),
        jnp.where(seen, read(values, farthest), 0),
        jnp.where(seen, jnp.clip(read(clock, farthest) - end, -10, 10), 0),
        values.sum(1) / jnp.maximum(count, 1),
        jnp.log1p(count.astype(values.dtype)),
    ]
    return jnp.concatenate(parts, -1)
