"""Simulates the hopper of Rubanova et al. 2019, for benchmarks/hopper.py: `make hopper-data`.

    .venv-hopper/bin/python benchmarks/make_hopper.py [--out out/hopper.npz] [--n 10000]

Needs the environment of benchmarks/hopper.txt, which has neither torch nor latentode. DeepMind's hopper starts
at random positions and velocities and falls, for 200 steps of 5 ms; seven positions and seven velocities are
recorded before each step. Takes about two minutes. The file of the publication was made by another MuJoCo.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

# Nothing is drawn; without this, importing dm_control looks for a display.
os.environ.setdefault("MUJOCO_GL", "disabled")

import numpy as np
from dm_control import suite

N_STEPS = 200


def simulate(n: int) -> np.ndarray:
    """-> (n, 200, 14): qpos, then qvel."""
    random = np.random.RandomState(123)
    physics = suite.load("hopper", "stand").physics
    qpos, qvel = physics.data.qpos, physics.data.qvel
    recorded = np.empty((n, N_STEPS, len(qpos) + len(qvel)), dtype=np.float32)
    for one in recorded:
        with physics.reset_context():
            qpos[:2] = random.uniform(0.0, 0.5, 2)
            qpos[2:] = random.uniform(-2.0, 2.0, len(qpos) - 2)
            qvel[:] = random.uniform(-5.0, 5.0, len(qvel))
        for row in one:
            row[: len(qpos)], row[len(qpos) :] = qpos, qvel
            physics.step()
    return recorded


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "out" / "hopper.npz")
    arguments.add_argument("--n", type=int, default=10_000)
    chosen = arguments.parse_args()
    states = simulate(chosen.n)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(chosen.out, states=states)
    print(f"{chosen.out}: {states.shape}, from {states.min():.2f} to {states.max():.2f}")


if __name__ == "__main__":
    main()
