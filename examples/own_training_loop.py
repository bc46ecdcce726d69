# %% [markdown]
# # What if I want to write the training loop myself?
#
#     python -m examples.own_training_loop [--quick]
#
# The estimator's parts are plain torch modules. Here they fit damped oscillations with a field of one's own, that
# knows they lose energy, in a loop of one's own. The plain latent ODE, no residual process, no DataFrames.

# %%
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

from latentode import GaussianLikelihood, GRUEncoder, LatentODEModel, MLPField, SeriesBatch, Solver, elbo
from latentode.datasets import make_oscillator

ARGUMENTS = [] if "ipykernel" in sys.modules else sys.argv[1:]  # a notebook's are its own
QUICK = "--quick" in ARGUMENTS
OUT = Path("out")
OUT.mkdir(exist_ok=True)
torch.set_num_threads(1)

# %%
# A batch is three tensors: times (B, N), values (B, N, D) with 0 where nothing was observed, and the mask.
n_series, n_rows, horizon = 40 if QUICK else 200, 20, 10.0
observed, truth = make_oscillator(n_series, n_rows, horizon=horizon, noise=0.1, seed=0)
times = torch.tensor(observed["time"].to_numpy().reshape(n_series, n_rows) / horizon, dtype=torch.float32)
values = torch.tensor(observed["position"].to_numpy().reshape(n_series, n_rows, 1), dtype=torch.float32)
data = SeriesBatch(times, values, torch.ones_like(values, dtype=torch.bool))


# %%
class DampedField(nn.Module):
    """dz/dt = MLP(z) - c z: whatever the network learns, a friction c > 0 is part of it."""

    autonomous = True  # f(t, z) does not depend on t: one call serves the states of all knots

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.swing = MLPField(latent_dim, (32, 32))
        self.raw_friction = nn.Parameter(torch.zeros(()))

    def forward(self, t: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return self.swing(t, z) - nn.functional.softplus(self.raw_friction) * z


torch.manual_seed(0)
LATENT = 3
model = LatentODEModel(
    GRUEncoder(1, LATENT, 32, (32,), typical_gap=1 / n_rows),
    DampedField(LATENT),
    GaussianLikelihood(LATENT, 1, (32,)),
    solver=Solver(method="rk4", spacing=1 / 24, gradient="backprop"),
)

# %%
# Each step hides a random part of every series from the encoder; the bound is of all of it.
n_steps = 60 if QUICK else 800
optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, n_steps)
generator = torch.Generator().manual_seed(0)
for step in range(1, n_steps + 1):
    shown = torch.rand(data.times.shape, generator=generator) < 0.3 + 0.7 * torch.rand(
        (), generator=generator
    )
    bound = elbo(model, data.restrict(shown), data, generator=generator)
    loss = -(bound.log_likelihood - 0.1 * bound.kl).mean() / n_rows
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    schedule.step()
    if step % (n_steps // 6) == 0:
        print(
            f"step {step:4}  ELBO {bound.elbo.mean() / n_rows:6.3f} nats a value, "
            f"KL {bound.kl.mean():.1f} nats a series"
        )

# %%
# From the first half of each series' observations to the whole curve.
n_grid = 201
grid = torch.tensor(truth["time"].to_numpy().reshape(n_series, n_grid) / horizon, dtype=torch.float32)
clean = truth["position"].to_numpy().reshape(n_series, n_grid)
half = data.restrict(data.times < 0.5)
with torch.no_grad():
    posterior = model.posterior(half)
    found = model.predictive(half, grid, posterior.sample((64,)))
mean = found.mean[..., 0].numpy()
for name, part in {"first half": grid.numpy() < 0.5, "second half": grid.numpy() >= 0.5}.items():
    print(
        f"{name:12} root mean square error {np.sqrt(np.mean((mean - clean)[part] ** 2)):.3f}, noise has 0.1"
    )
print(
    f"the friction in latent space is {nn.functional.softplus(model.field.raw_friction):.2f} per unit of model time"
)

# %%
figure, panels = plt.subplots(2, 2, figsize=(9, 4.8), sharex=True, layout="constrained")
paths = found.component_means[:, :, :, 0].numpy()
for number, ax in enumerate(panels.flat):
    x = horizon * grid[number].numpy()
    ax.plot(x, paths[:12, number].T, color="#0072B2", lw=0.6, alpha=0.4)
    ax.plot(x, mean[number], color="#0072B2", lw=1.8, label="mean")
    ax.plot(x, clean[number], color="#D55E00", lw=1.1, ls=(0, (4, 2)), label="truth")
    seen = half.mask[number, :, 0]
    ax.plot(
        horizon * times[number][seen],
        values[number, seen, 0],
        "o",
        ms=4,
        mew=0,
        color="black",
        label="observed",
    )
    ax.axvline(0.5 * horizon, color="black", lw=0.7)
figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
for ax in panels[1]:
    ax.set_xlabel("time")
for ax in panels[:, 0]:
    ax.set_ylabel("position")
figure.savefig(OUT / "own_training_loop.png", dpi=150)
print(f"figure in {OUT / 'own_training_loop.png'}")
