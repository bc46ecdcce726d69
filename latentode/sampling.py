"""Standard normal draws that depend on a seed and a name, and on nothing that happens elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable

import numpy as np
import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

__all__ = ["named_generator", "normal_draws"]


def normal_draws(n_samples: int, n_dimensions: int, seed: int) -> Tensor:
    """Scrambled Sobol points, mapped to N(0, I): an average over them converges faster than over random ones.

    Shapes:
        -> (n_samples, n_dimensions), float64.
    Source: Owen 1997, "Scrambled net variance for integrals of smooth functions".
    """
    points = SobolEngine(n_dimensions, scramble=True, seed=seed).draw(n_samples, dtype=torch.float64)
    # Scrambling can land on the edge of the cube, where the normal quantile is infinite.
    return torch.special.ndtri(points.clamp(1e-9, 1 - 1e-9))


def named_generator(name: Hashable, seed: int) -> np.random.Generator:
    """Random numbers that belong to a name: the same wherever and beside whatever it occurs."""
    digest = hashlib.blake2b(f"{seed}\x1f{name}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
