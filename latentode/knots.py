"""How far apart the solver's knots stand: a spacing that follows the learned field."""

from __future__ import annotations

import math

__all__ = ["START_SPACING", "next_spacing"]

# Two units of model time are rarely more than a dozen turns of a fresh field: training starts coarse.
START_SPACING = 1 / 8
COARSEST = 1 / 4

# More knots than this over the span of the series, and the field is stiff rather than worth resolving.
MAX_KNOTS = 1000

# An error this far below the tolerance doubles the spacing. Fourth order multiplies it by 16 then, which
# leaves a margin of six, so that the spacing does not flutter.
MARGIN = 100.0

# Halvings at one look at the error, which is of no order yet where it is large.
MOST_HALVINGS = 2


def next_spacing(spacing: float, error: float, *, tolerance: float, span: float) -> float:
    """The knot spacing after a look at the solver's error, from the same powers of two always.

    Args:
        error: relative error of the trajectories at this spacing; not finite where the solve diverged.
        tolerance: what it should be at most.
        span: length of the solve in model time.

    Returns:
        The spacing halved once or twice, kept or doubled.
    """
    if not error <= tolerance:
        excess = error / tolerance if math.isfinite(error) else math.inf
        halvings = 1 if excess <= 16 else MOST_HALVINGS
        while halvings and span / spacing < MAX_KNOTS:
            spacing, halvings = spacing / 2, halvings - 1
        return spacing
    if error < tolerance / MARGIN and spacing < COARSEST:
        return 2 * spacing
    return spacing
