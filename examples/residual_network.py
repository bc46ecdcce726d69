# %% [markdown]
# # Is a residual network an ODE solver?
#
#     python -m examples.residual_network [--quick]
#
# A residual layer, z + f(z), is one Euler step of length 1 of dz/dt = f(z). So a network of eight layers with the same
# weights is a coarse solution of an ODE, and can be solved better after it was trained. What does that buy?

# %%
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import nn

from latentode import MLPField, Solver
from latentode.solve import solve

ARGUMENTS = [] if "ipykernel" in sys.modules else sys.argv[1:]  # a notebook's are its own
QUICK = "--quick" in ARGUMENTS
OUT = Path("out")
OUT.mkdir(exist_ok=True)
torch.set_num_threads(1)
N_LAYERS = 8


# %%
class ResidualNetwork(nn.Module):
    """z_{k+1} = z_k + f(z_k), as a network is written that has never heard of differential equations."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(
            nn.Linear(2, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 2)
        )

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        states = [z]
        for _ in range(N_LAYERS):
            states.append(states[-1] + self.layer(states[-1]))
        return torch.stack(states)


def as_field(network: ResidualNetwork) -> MLPField:
    """The vector field whose Euler steps the layers are: the same weights."""
    field = MLPField(2, (48, 48))
    linear = [part for part in network.layer if isinstance(part, nn.Linear)]
    for ours, theirs in zip(field.mlp.layers, linear, strict=True):
        ours.load_state_dict(theirs.state_dict())
    return field


torch.manual_seed(0)
network = ResidualNetwork()
z0 = torch.randn(5, 2)
layers = network(z0)
euler = solve(as_field(network), z0, 0.0, N_LAYERS, Solver(method="euler", spacing=1.0)).states
print(f"layers of the network and Euler's steps differ by at most {(layers - euler).abs().max():.1e}")


# %%
# Something to learn: a damped pendulum, seen at times 0, 1, .. 8 and one radian a unit of time.
class Pendulum(nn.Module):
    def forward(self, t: torch.Tensor, z: torch.Tensor) -> torch.Tensor:  # noqa: ARG002 - its law does not change
        angle, speed = z.unbind(-1)
        return torch.stack([speed, -torch.sin(angle) - 0.1 * speed], dim=-1)


EXACT = {"method": "dopri5", "engine": "torchdiffeq", "rtol": 1e-7, "atol": 1e-8}
FINE = 1 / 8  # where the truth is known too, to see what happens between the layers


def pendulums(n: int, seed: int) -> torch.Tensor:
    """True states at times 0, 1/8, .. 8: (65, n, 2)."""
    # At most 2 radians and 1 radian a unit of time: none goes over the top.
    uniform = torch.rand(n, 2, generator=torch.Generator().manual_seed(seed))
    start = (2 * uniform - 1) * torch.tensor([2.0, 1.0])
    with torch.no_grad():
        return solve(Pendulum(), start, 0.0, N_LAYERS, Solver(spacing=FINE, **EXACT)).states


train, test = pendulums(200 if QUICK else 1000, seed=1), pendulums(200, seed=2)
seen = train[:: round(1 / FINE)]

# %%
# The same field twice, trained on the same data: as a residual network, and under rk4 at the same unit steps.
n_steps = 100 if QUICK else 1500


def trained(method: str) -> MLPField:
    torch.manual_seed(1)
    field, solver = MLPField(2, (48, 48)), Solver(method=method, spacing=1.0)
    optimiser = torch.optim.Adam(field.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, n_steps)
    generator = torch.Generator().manual_seed(2)
    for _ in range(n_steps):
        batch = seen[:, torch.randint(seen.shape[1], (100,), generator=generator)]
        loss = (solve(field, batch[0], 0.0, N_LAYERS, solver).states - batch).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return field


fields = {"residual network": trained("euler"), "rk4": trained("rk4")}

# %%
# Nothing is trained from here on: the weights stay, the solver changes.
SOLVERS = {
    "euler, step 1 (the layers)": Solver(method="euler", spacing=1.0),
    "euler, step 1/4": Solver(method="euler", spacing=1 / 4),
    "euler, step 1/64": Solver(method="euler", spacing=1 / 64),
    "rk4, step 1": Solver(method="rk4", spacing=1.0),
    "rk4, step 1/4": Solver(method="rk4", spacing=1 / 4),
    "dopri5, rtol 1e-7": Solver(spacing=FINE, **EXACT),
}
grid = torch.arange(len(test)) * FINE
whole = (grid % 1 == 0).expand(test.shape[1], -1)


@torch.no_grad()
def errors(field: MLPField, solver: Solver) -> tuple[float, float]:
    """Root mean square, at the times that training saw and at those between them."""
    path = solve(field, test[0], 0.0, N_LAYERS, solver).at(grid.expand(test.shape[1], -1))[0]
    squares = (path - test.transpose(0, 1)).square().mean(-1)
    return float(squares[whole].mean().sqrt()), float(squares[~whole].mean().sqrt())


print("\nroot mean square error of new pendulums, at the times seen in training / between them")
print(f"{'':28}" + "".join(f"trained as {name:22}" for name in fields))
found = {}
for name, solver in SOLVERS.items():
    found[name] = [errors(field, solver) for field in fields.values()]
    cells = "".join(f"{f'{at:.3f} / {between:.3f}':33}" for at, between in found[name])
    print(f"{name:28}{cells}")

# %% [markdown]
# The residual network has learned to undo Euler's errors along with the pendulum: Euler's steps gain energy, so its
# field loses some, and any better solver of the same weights shows a pendulum that falls asleep. What was trained
# under a better solver is a vector field: better solvers agree with it, it can be read between the layers, and be
# solved to any precision.

# %%
figure, panels = plt.subplots(1, 2, figsize=(9, 4.2), sharex=True, sharey=True, layout="constrained")
which = int(test[..., 0].abs().amax(0).argmax())  # the widest swing
fine = torch.linspace(0, N_LAYERS, 400).expand(1, -1)
for ax, (name, field) in zip(panels, fields.items(), strict=True):
    with torch.no_grad():
        exact = solve(field, test[0, which : which + 1], 0.0, N_LAYERS, SOLVERS["dopri5, rtol 1e-7"])
        own = SOLVERS["euler, step 1 (the layers)" if name == "residual network" else "rk4, step 1"]
        states = solve(field, test[0, which : which + 1], 0.0, N_LAYERS, own).states[:, 0]
    ax.plot(*test[:, which].T, color="#D55E00", lw=1.2, ls=(0, (4, 2)), label="truth")
    ax.plot(*states.T, "o", color="black", ms=5, label="as trained, step 1")
    ax.plot(*exact.at(fine)[0, 0].T, color="#0072B2", lw=1.6, label="same weights, dopri5")
    ax.set(xlabel="angle", title=f"trained as {name}")
panels[0].set_ylabel("angular velocity")
panels[1].legend(frameon=False, fontsize="small")
figure.savefig(OUT / "residual_network.png", dpi=150)
print(f"\nfigure in {OUT / 'residual_network.png'}")
