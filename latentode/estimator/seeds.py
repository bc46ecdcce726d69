"""Seeds, from what scikit-learn takes as a random state."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_random_state

__all__ = ["seed_of"]


def seed_of(random_state: Any) -> int:
    """A number from what scikit-learn takes as random_state; None leaves the global states alone."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    state = check_random_state(random_state)
    if isinstance(random_state, (int, np.integer)):
        return int(random_state)
    return int(state.randint(2**31 - 1))
