r"""Explicit Runge-Kutta methods as tables of coefficients.

One step of length h from y, for an autonomous field f:

    k_j = f(y + h sum_{i<j} a_ji k_i),    j = 1..s
    y'  = y + h sum_j b_j k_j

and, where a method carries error weights e, an estimate of the step's error that is one order lower and costs
nothing more, because f(y') is the next step's first stage:

    error = h (sum_j e_j k_j + e_{s+1} f(y'))
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EULER", "MIDPOINT", "RK4", "TABLEAUS", "TSIT5", "Tableau"]


@dataclass(frozen=True)
class Tableau:
    """The coefficients of an explicit Runge-Kutta method.

    a holds one row a stage, as long as there are stages before it, so that the first is empty; b and c hold
    one entry a stage; the error weights, where a method has them, one more, for the slope at the step's end.
    """

    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    c: tuple[float, ...]
    order: int
    error_weights: tuple[float, ...] | None = None

    @property
    def n_stages(self) -> int:
        return len(self.b)


EULER = Tableau(a=((),), b=(1.0,), c=(0.0,), order=1)

MIDPOINT = Tableau(a=((), (1 / 2,)), b=(0.0, 1.0), c=(0.0, 1 / 2), order=2)

# Kutta 1901, the classic method of order four.
RK4 = Tableau(
    a=((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
    b=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
    c=(0.0, 1 / 2, 1 / 2, 1.0),
    order=4,
)

# Tsitouras 2011, "Runge-Kutta pairs of order 5(4) satisfying only the first column simplifying assumption",
# Computers & Mathematics with Applications 62(2), table 1. The last stage of the published pair is f(y').
TSIT5 = Tableau(
    a=(
        (),
        (0.161,),
        (-0.008480655492356989, 0.335480655492357),
        (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
        (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
        (
            5.86145544294642,
            -12.92096931784711,
            8.159367898576159,
            -0.071584973281401,
            -0.028269050394068383,
        ),
    ),
    b=(
        0.09646076681806523,
        0.01,
        0.4798896504144996,
        1.379008574103742,
        -3.290069515436081,
        2.324710524099774,
    ),
    c=(0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0),
    order=5,
    error_weights=(
        -0.00178001105222577714,
        -0.0008164344596567469,
        0.007880878010261995,
        -0.1447110071732629,
        0.5823571654525552,
        -0.45808210592918697,
        1 / 66,
    ),
)

TABLEAUS = {"euler": EULER, "midpoint": MIDPOINT, "rk4": RK4, "tsit5": TSIT5}
