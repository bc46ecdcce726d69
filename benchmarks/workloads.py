"""The three workloads of the speed benchmark: synthetic series, and models trained on them a little."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latentode import (
    GaussianLikelihood,
    GRUEncoder,
    LatentODEModel,
    MLPField,
    SeriesCollection,
    Solver,
    TrainingOptions,
    train,
)
from latentode.solve.knots import START_SPACING

TRAINING_SERIES = 500


@dataclass(frozen=True)
class Workload:
    """Series over one unit of model time and the sizes of the model that reads them.

    Args:
        n_rows: observations of a series, give or take a fifth; of a workload with a grid, exactly.
        grid: size of the set of times that all series share; 0 where each has its own.
        observed: share of the channels seen at an observation.
    """

    n_channels: int
    n_rows: int
    latent_dim: int
    field_units: tuple[int, ...]
    encoder_units: int
    grid: int = 0
    observed: float = 1.0


WORKLOADS = {
    "W1": Workload(n_channels=2, n_rows=50, latent_dim=4, field_units=(20, 20), encoder_units=25),
    "W2": Workload(14, n_rows=50, latent_dim=16, field_units=(100, 100, 100), encoder_units=50, grid=100),
    "W3": Workload(40, n_rows=70, latent_dim=20, field_units=(50, 50, 50), encoder_units=50, observed=0.16),
}


def make_series(workload: Workload, n_series: int, seed: int) -> SeriesCollection:
    """Channels that mix three oscillations, of random phase and strength in each series, plus noise."""
    generator = torch.Generator().manual_seed(seed)
    if workload.grid:
        order = torch.rand(n_series, workload.grid, generator=generator)
        # All see the first point, where their clocks start: the times stay shared when counted from it.
        order[:, 0] = -1
        kept = order.argsort(1)[:, : workload.n_rows].sort(1).values
        times = (kept / workload.grid).flatten()
        lengths = torch.full((n_series,), workload.n_rows)
    else:
        fifth = workload.n_rows // 5
        lengths = workload.n_rows + torch.randint(-fifth, fifth + 1, (n_series,), generator=generator)
        drawn = torch.rand(n_series, int(lengths.max()), generator=generator)
        inside = torch.arange(drawn.shape[1]) < lengths.unsqueeze(1)
        times = drawn.masked_fill(~inside, 2.0).sort(1).values[inside]
    owner = torch.repeat_interleave(torch.arange(n_series), lengths)
    values = oscillations(times, owner, workload.n_channels, generator)
    mask = torch.rand(values.shape, generator=generator) < workload.observed
    always = torch.randint(workload.n_channels, (len(times), 1), generator=generator)
    mask.scatter_(1, always, True)
    starts = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    return SeriesCollection(times, values * mask, mask, starts)


def oscillations(times: Tensor, owner: Tensor, n_channels: int, generator: torch.Generator) -> Tensor:
    """Values (R, D) at times (R,) of the series owner (R,)."""
    n_series = int(owner.max()) + 1
    phase = 2 * torch.pi * torch.rand(n_series, 3, generator=generator)
    strength = 0.5 + torch.rand(n_series, 3, generator=generator)
    # The mixing belongs to the workload, not to a draw of it.
    mixing = torch.randn(3, n_channels, generator=torch.Generator().manual_seed(n_channels)) / 3**0.5
    frequency = 2 * torch.pi * torch.tensor([0.5, 1.0, 1.5])
    waves = strength[owner] * torch.sin(frequency * times.unsqueeze(1) + phase[owner])
    return waves @ mixing + 0.1 * torch.randn(len(times), n_channels, generator=generator)


def new_model(workload: Workload) -> LatentODEModel:
    """The plain latent ODE with fresh weights, and none of our shortcuts, which the rivals don't have."""
    return LatentODEModel(
        GRUEncoder(
            workload.n_channels,
            workload.latent_dim,
            workload.encoder_units,
            typical_gap=1 / workload.n_rows,
            shortcut=False,
        ),
        MLPField(workload.latent_dim, workload.field_units),
        GaussianLikelihood(workload.latent_dim, workload.n_channels, shortcut=False),
        solver=Solver(method="tsit5", spacing=START_SPACING, engine="fused"),
    )


def trained_model(workload: Workload, n_steps: int) -> LatentODEModel:
    """The plain latent ODE after a little training, on as many knots as training found it to need."""
    torch.manual_seed(0)
    model = new_model(workload)
    data = make_series(workload, TRAINING_SERIES, seed=1)
    train(
        model,
        data,
        TrainingOptions(max_iter=n_steps, batch_size=100, n_checks=10),
        torch.Generator().manual_seed(0),
    )
    return model
