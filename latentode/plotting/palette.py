"""Colours that stay apart for colour-blind eyes and in grey print; all else is the user's style."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.colors import to_rgb

__all__ = ["BAND", "SHADE", "TRUTH", "ink", "model_colour"]

# Okabe & Ito 2008, "Color Universal Design": three of its eight, distinct in hue and in lightness.
_BLUE, _SKY_BLUE, _VERMILLION = "#0072B2", "#56B4E9", "#D55E00"
TRUTH = _VERMILLION

# Opacity of a band, several of which may lie upon each other, and of the forecast region.
BAND, SHADE = 0.18, 0.07


def ink() -> str:
    """The colour of data and of marks on them: that of the user's text, so that dark styles work."""
    return str(mpl.rcParams["text.color"])


def model_colour() -> str:
    """Blue; sky blue where the user writes in a light colour, that is on a dark ground."""
    return _SKY_BLUE if sum(to_rgb(ink())) > 1.5 else _BLUE
