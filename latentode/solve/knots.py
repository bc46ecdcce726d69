"""How far apart the solver's knots stand: a spacing that follows the learned field."""

from __future__ import annotations

import math

__all__ = ["START_SPACING", "next_spacing", "spacing_of_turns"]

# Two units of model time are rarely more than a dozen turns of a fresh field: training starts coarse.
START_SPACING = 1 / 8
COARSEST = 1 / 4

# More knots than this over the span of the series, and the field is stiff rather than worth resolving.
MAX_KNOTS = 1000

# The steps are of fourth order or fifth, the interpolant between them is of sixth: what a finer spacing gains is
# judged by the lower of the steps' orders, what a coarser one loses by the higher.
FINER_ORDER, COARSER_ORDER = 4, 5

# A spacing becomes coarser where its error would still be so far below the tolerance, so that it does not flutter.
MARGIN = 3.0

# Spacings within an octave; between neighbours the work differs by a quarter at most.
RUNGS = (1 / 2, 4 / 7, 2 / 3, 4 / 5, 1.0)

# At one look at the error, which is of no order yet where it is large: to a quarter of the spacing.
MOST_REFINEMENTS = 2 * (len(RUNGS) - 1)


# What the usual tolerance takes of a field that turns.
KNOTS_A_TURN = 14


def spacing_of_turns(period: float, spacing: float = START_SPACING) -> float:
    """The largest spacing up to one given at which a turn has `KNOTS_A_TURN` knots, or a unit of time `MAX_KNOTS`."""
    while spacing > period / KNOTS_A_TURN and spacing * MAX_KNOTS > 1:
        spacing = _finer(spacing)
    return spacing


def next_spacing(spacing: float, error: float, *, tolerance: float, span: float) -> float:
    """The knot spacing after a look at the solver's error: 1/4, 1/5, 1/6, 1/7, 1/8, 1/10 and so on.

    Args:
        error: relative error of the trajectories at this spacing; not finite where the solve diverged.
        tolerance: what it should be at most.
        span: length of the solve in model time.

    Returns:
        The spacing refined by one to eight of these, kept, or made coarser by one.
    """
    if not error <= tolerance:
        expected = error if math.isfinite(error) else math.inf
        for _ in range(MOST_REFINEMENTS):
            if expected <= tolerance or span / spacing >= MAX_KNOTS:
                break
            finer = _finer(spacing)
            expected *= (finer / spacing) ** FINER_ORDER
            spacing = finer
        return spacing
    coarser = _coarser(spacing)
    if coarser <= COARSEST and MARGIN * error * (coarser / spacing) ** COARSER_ORDER <= tolerance:
        return coarser
    return spacing


def _finer(spacing: float) -> float:
    """The largest rung below the spacing, of any octave."""
    mantissa, exponent = math.frexp(spacing)  # in [1/2, 1)
    if mantissa == RUNGS[0]:
        mantissa, exponent = 1.0, exponent - 1
    return math.ldexp(max(rung for rung in RUNGS if rung < mantissa), exponent)


def _coarser(spacing: float) -> float:
    mantissa, exponent = math.frexp(spacing)
    return math.ldexp(min(rung for rung in RUNGS if rung > mantissa), exponent)
