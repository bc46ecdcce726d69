"""The latent ODE as the example of torchdiffeq has it, on our spirals: where the other figures start from.

    python -m benchmarks.plain [--iterations 600] [--quick] [--seeds 0] [--validation] [--merge] [--out FILE]

After examples/latent_ode.py of torchdiffeq (Chen et al. 2018): a tanh recurrent network reads all 100 points
from last to first, `odeint` (dopri5) solves dz/dt = f(z) with three ELU layers from z0, a two-layer decoder,
noise of known standard deviation 0.3, the bound with its whole KL, Adam at 0.01, all series in every step. It has
none of this package's code: no shared knots, no cuts, no residual process, no validation. The spirals are those of
`benchmarks.spiral_task` with n = 100, the only number for which all series share their times, as it needs.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
import torch
from torch import Tensor, nn
from torchdiffeq import odeint

from benchmarks import spiral_task
from benchmarks.record import Record, parse_arguments, spread_table

LATENT, HIDDEN, READER = 4, 20, 25  # as in the example


class Plain(nn.Module):
    """Encoder, field and decoder of the example."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Linear(2 + READER, READER)
        self.state = nn.Linear(READER, 2 * LATENT)
        self.field = nn.Sequential(
            nn.Linear(LATENT, HIDDEN),
            nn.ELU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ELU(),
            nn.Linear(HIDDEN, LATENT),
        )
        self.decode = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2))

    def encode(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Values (B, N, 2) -> mean and log variance of q(z0), (B, 4) each."""
        hidden = values.new_zeros(len(values), READER)
        for observed in values.flip(1).unbind(1):
            hidden = torch.tanh(self.read(torch.cat([observed, hidden], dim=1)))
        mean, log_variance = self.state(hidden).chunk(2, dim=1)
        return mean, log_variance

    def forward(self, z0: Tensor, times: Tensor) -> Tensor:
        """States (B, 4) at times[0] -> values (B, N, 2) at the times."""
        path = odeint(lambda _, z: self.field(z), z0, times)
        return self.decode(path.transpose(0, 1))


def negative_elbo(model: Plain, values: Tensor, times: Tensor) -> Tensor:
    mean, log_variance = model.encode(values)
    z0 = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
    missed = (values - model(z0, times)) / spiral_task.NOISE
    log_density = -0.5 * (missed**2 + math.log(2 * math.pi) + 2 * math.log(spiral_task.NOISE))
    kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(dim=1)
    return (kl - log_density.sum(dim=(1, 2))).mean()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--iterations", type=int, default=600, help="2000 in the example")
    chosen = parse_arguments(__doc__, file=__file__, seeds=(0,), parser=parser)
    iterations = 5 if chosen.quick else chosen.iterations
    part = "validation" if chosen.validation else "test"
    about = {"scored_on": part, "quick": chosen.quick, "iterations": iterations}
    record = Record(chosen.out, about, ["seed"], merge=chosen.merge)
    all_times = torch.from_numpy(spiral_task.TIMES).float()
    for seed in chosen.seeds:
        train = spiral_task.load(100, split="train", seed=seed, n_series=40 if chosen.quick else None)
        asked = spiral_task.load(100, split=part, seed=seed, n_series=40 if chosen.quick else None)
        values, context = (torch.tensor(one.values).float() for one in (train, asked))
        rows = {}
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = Plain()
            optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
            began, spent = time.process_time(), 0.0
            for iteration in range(1, iterations + 1):
                optimiser.zero_grad()
                loss = negative_elbo(model, values, all_times[: spiral_task.N_SEEN])
                loss.backward()
                optimiser.step()
                if iteration % max(1, iterations // 5) == 0:
                    spent = (time.process_time() - began) / 60
                    with torch.no_grad():
                        predicted = model(model.encode(context)[0], all_times).double().numpy()
                    found = spiral_task.scores(asked.clean, np.asarray(predicted))
                    rows[f"plain, {iteration} iterations"] = found | {"CPU minutes": spent}
                    print(
                        f"seed {seed}, {iteration} iterations, {spent:.1f} CPU min, loss {loss.item():.1f}, {found}"
                    )
        record.add({"seed": seed, "cpu_minutes": spent, "rows": rows})
    columns = ["interpolation", "extrapolation", "CPU minutes"]
    print(f"\nRMSE on {part} data against the clean curve, 100 points observed")
    print(spread_table(record.scores(), ["score"], ours="plain", decimals=4)[columns].to_string())
    print(f"\n{record.summary()}")


if __name__ == "__main__":
    main()
