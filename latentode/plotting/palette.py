"""Colours that stay apart for colour-blind eyes and in grey print; all else is the user's style."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.colors import ListedColormap, to_rgb

__all__ = ["BAND", "OTHERS", "SHADE", "TRUTH", "categories", "gradient", "ink", "model_colour"]

# Okabe & Ito 2008, "Color Universal Design", without black, which is the data's, and without yellow, which
# white paper swallows.
_BLUE, _SKY_BLUE, _VERMILLION = "#0072B2", "#56B4E9", "#D55E00"
_GREEN, _PURPLE, _ORANGE = "#009E73", "#CC79A7", "#E69F00"
TRUTH = _VERMILLION

# Neutral on white and on black: what is in no category, or in none of those shown.
OTHERS = "#8C8C8C"

# Opacity of a band, several of which may lie upon each other, and of the forecast region.
BAND, SHADE = 0.18, 0.07


def ink() -> str:
    """The colour of data and of marks on them: that of the user's text, so that dark styles work."""
    return str(mpl.rcParams["text.color"])


def model_colour() -> str:
    """Blue; sky blue where the user writes in a light colour, that is on a dark ground."""
    return _SKY_BLUE if sum(to_rgb(ink())) > 1.5 else _BLUE


def categories() -> list[str]:
    """Colours for up to six categories, neighbours apart in hue and in lightness."""
    first, last = (_SKY_BLUE, _BLUE) if model_colour() == _SKY_BLUE else (_BLUE, _SKY_BLUE)
    return [first, _ORANGE, _GREEN, _PURPLE, _VERMILLION, last]


def gradient() -> ListedColormap:
    """The user's colour map for numbers without its lightest tenth, or darkest on a dark ground."""
    low, high = (0.1, 1.0) if model_colour() == _SKY_BLUE else (0.0, 0.9)
    return ListedColormap(mpl.colormaps[mpl.rcParams["image.cmap"]](np.linspace(low, high, 256)))
