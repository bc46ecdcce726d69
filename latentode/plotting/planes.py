"""Two of many latent dimensions: the plane that a picture shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Plane"]


@dataclass(frozen=True)
class Plane:
    r"""Points center + u axes_1 + v axes_2 of latent space; other states fall upon it at right angles.

    Shapes:
        center (L,), axes (2, L), orthonormal.
    """

    center: np.ndarray
    axes: np.ndarray
    labels: tuple[str, str]

    @classmethod
    def of(
        cls, states: np.ndarray, names: Sequence[str], dims: Any = None, *, orbits: np.ndarray | None = None
    ) -> Plane:
        """The plane of two coordinates, or of the two directions in which the states vary most.

        Args:
            states: (R, L).
            names: of the L coordinates.
            orbits: (R,), which states belong together; only what varies within them counts.
            dims: numbers of two coordinates, counted from 1 as their names are; None takes the principal
                axes, or the coordinates themselves where there are just two.

        Raises:
            ValueError: for coordinates that don't exist, and for fewer than two.
        """
        n_latent = states.shape[1]
        if n_latent < 2:
            raise ValueError(
                "a latent space of one dimension has no plane to draw; fit with latent_dim=2 or more"
            )
        if dims is None and n_latent == 2:
            dims = (1, 2)
        center = states.mean(axis=0)
        if dims is not None:
            first, second = _two(dims, n_latent)
            center[[first, second]] = 0.0
            return cls(center, np.eye(n_latent)[[first, second]], (names[first], names[second]))
        apart = states - (center if orbits is None else _means(states, orbits))
        _, spread, axes = np.linalg.svd(apart, full_matrices=len(states) < 2)
        axes = axes[:2]
        # A principal axis has no sign of its own: its largest component is made positive.
        axes = axes * np.sign(axes[[0, 1], np.abs(axes).argmax(axis=1)])[:, None]
        variance = np.zeros(2)
        variance[: min(2, len(spread))] = spread[:2] ** 2
        share = 100 * variance / max(float((spread**2).sum()), np.finfo(float).tiny)
        of = "variance" if orbits is None else "the motion"
        labels = [
            f"{which} principal axis ({_percent(part)} % of {of})"
            for which, part in zip(("first", "second"), share, strict=True)
        ]
        return cls(center, axes, (labels[0], labels[1]))

    def project(self, states: np.ndarray) -> np.ndarray:
        """(..., L) -> (..., 2)."""
        return np.asarray((states - self.center) @ self.axes.T)

    def lift(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) -> (..., L)."""
        return np.asarray(self.center + points @ self.axes)

    def turn(self, velocities: np.ndarray) -> np.ndarray:
        """The part of velocities (..., L) within the plane: (..., 2)."""
        return np.asarray(velocities @ self.axes.T)


def _percent(share: float) -> str:
    """Whole percents, without calling a little nothing or the most of it all."""
    if 0 < share < 0.5:
        return "<1"
    return ">99" if 99.5 < share < 100 else f"{share:.0f}"


def _means(states: np.ndarray, orbits: np.ndarray) -> np.ndarray:
    """The mean of each state's orbit: (R, L)."""
    _, number, counts = np.unique(orbits, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), states.shape[1]))
    np.add.at(sums, number, states)
    return (sums / counts[:, None])[number]


def _two(dims: Any, n_latent: int) -> tuple[int, int]:
    chosen = list(dims) if np.ndim(dims) == 1 else []
    if len(chosen) != 2 or chosen[0] == chosen[1]:
        raise ValueError(f"dims must be two latent coordinates such as (1, 2); got {dims!r}")
    for number in chosen:
        if number not in range(1, n_latent + 1):
            raise ValueError(f"dims names coordinate {number!r}, but the latent space has 1 to {n_latent}")
    return int(chosen[0]) - 1, int(chosen[1]) - 1
