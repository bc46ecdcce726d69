"""One training step by engine, with stock parts, and on the union grid; and the gradient it should have."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TypeVar

import torch
import torchdiffeq
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn.utils.rnn import pack_padded_sequence

from benchmarks.timing import cpu_ms
from latentode import Bound, GaussianLikelihood, LatentODEModel, SeriesBatch, elbo

__all__ = [
    "LoopedLikelihood",
    "PackedGRU",
    "Step",
    "UnionGridModel",
    "gradient",
    "noise_of",
    "reference_gradient",
    "with_parts",
]

# Knots of the reference for one of the rows': a method of order 4 errs 1/4096 as much.
REFERENCE_REFINEMENT = 8
NOISE_SEED = 7  # of the draws of z0, the same in all rows and in the reference

# The method of Rubanova et al. 2019, at tolerances that bring its gradient to the other rows' precision.
# Looser ones, 1e-3 and 1e-4, were no faster on W2, and its gradient was 9 % off.
UNION_SETTINGS = {"method": "dopri5", "rtol": 1e-5, "atol": 1e-6}

Kind = TypeVar("Kind", bound=LatentODEModel)


class PackedGRU(nn.Module):
    """torch's GRU over packed sequences, in the place of the package's own and with its weights."""

    def __init__(self, own: nn.Module) -> None:
        super().__init__()
        n_units, n_inputs = own.weight_hh.shape[1], own.weight_ih.shape[1]
        self.gru = nn.GRU(n_inputs, n_units, batch_first=True)
        self.gru.load_state_dict({f"{name}_l0": weight for name, weight in own.state_dict().items()})

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return self.gru(packed)[1][0]


class LoopedLikelihood(GaussianLikelihood):
    """The likelihood by a loop over series and channels, as the script of Rubanova et al. 2019 takes it."""

    def log_likelihood(self, residuals: Tensor, mask: Tensor, offset: Tensor | None = None) -> Tensor:
        assert offset is None
        scale = self.scale()
        sums = [
            torch.stack(
                [
                    Normal(0.0, scale[d], validate_args=False).log_prob(series[seen[:, d], d]).sum()
                    for d in range(self.n_channels)
                ]
            ).sum()
            for path in residuals
            for series, seen in zip(path, mask, strict=True)
        ]
        return torch.stack(sums).view(residuals.shape[:2])


class UnionGridModel(LatentODEModel):
    """Solves over the sorted union of all times in the batch, as Rubanova et al. 2019 do."""

    def latent_path(self, z0: Tensor, times: Tensor) -> Tensor:
        S, B, L = z0.shape
        union, place = torch.unique(times, return_inverse=True)
        states = torchdiffeq.odeint_adjoint(self.field, z0.flatten(0, 1), union, **UNION_SETTINGS)
        z = states.view(len(union), S, B, L)[place, :, torch.arange(B).unsqueeze(1)]
        return z.permute(2, 0, 1, 3)


def with_parts(
    model: LatentODEModel,
    *,
    packed: bool = False,
    looped: bool = False,
    residual: nn.Module | None = None,
    kind: type[Kind] = LatentODEModel,
    **solver: object,
) -> Kind:
    """A copy of the model with some parts exchanged and the weights kept."""
    model = copy.deepcopy(model)
    if packed:
        model.encoder.gru = PackedGRU(model.encoder.gru)
    if looped:
        model.likelihood.__class__ = LoopedLikelihood
    return kind(
        model.encoder,
        model.field,
        model.likelihood,
        residual=residual,
        solver=replace(model.solver, **solver),
    )


def noise_of(n_series: int, latent_dim: int) -> Tensor:
    """The standard normal draws that every row makes its z0 of: (1, B, L)."""
    generator = torch.Generator().manual_seed(NOISE_SEED)
    return torch.randn((1, n_series, latent_dim), generator=generator, dtype=torch.float32)


def loss_of(bound: Bound, batch: SeriesBatch) -> Tensor:
    return (bound.kl - bound.objective).sum() / batch.mask.sum()


def gradient(model: nn.Module) -> Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).double()


class Step:
    """One training step, again and again from the same weights: the learning rate is 0.

    The target is the whole batch, and so is the context; with `forecasts` it is the first half of each series, and the
    trajectory learns from the others one by one, as training for forecasts has it.
    """

    def __init__(self, model: LatentODEModel, batch: SeriesBatch, *, forecasts: bool = False) -> None:
        self.model, self.batch, self.forecasts = model, batch, forecasts
        self.context = _first_half(batch) if forecasts else batch
        self.optimiser = torch.optim.AdamW(model.parameters(), lr=0.0, fused=True)  # as `train` has it
        self.generator = torch.Generator()

    def __call__(self) -> None:
        self.generator.manual_seed(NOISE_SEED)
        bound = elbo(self.model, self.context, self.batch, generator=self.generator, pointwise=self.forecasts)
        self.optimiser.zero_grad()
        loss_of(bound, self.batch).backward()
        self.optimiser.step()

    def timed(self) -> tuple[float, float]:
        return cpu_ms(self)

    def gradient(self) -> Tensor:
        """That of the step done last, in the order of the model's parameters."""
        return gradient(self.model)


def _first_half(batch: SeriesBatch) -> SeriesBatch:
    observed = batch.observed_rows
    return batch.restrict(2 * observed.cumsum(1) <= observed.sum(1, keepdim=True))


def reference_gradient(model: LatentODEModel, batch: SeriesBatch) -> Tensor:
    """The bound written down once more, in float64, on a fine grid, with stock parts and the rows' z0."""
    fine = model.solver.spacing / REFERENCE_REFINEMENT
    model = with_parts(model, packed=True, engine="torchdiffeq", method="rk4", spacing=fine)
    model.double()
    batch = SeriesBatch(batch.times.double(), batch.values.double(), batch.mask)
    posterior = model.posterior(batch)
    z0 = posterior.mean + posterior.stddev * noise_of(*posterior.mean.shape)
    residuals = model.residuals(z0, batch.shift(model.reference(batch)))
    log_likelihood = model.likelihood.log_prob(residuals, batch.mask).sum((-1, -2)).mean(0)
    prior = torch.distributions.Normal(0.0, 1.0)
    kl = torch.distributions.kl_divergence(posterior, prior).sum(-1)
    loss_of(Bound(log_likelihood, kl, log_likelihood), batch).backward()
    return gradient(model)
