"""The demonstration that travels with the package: forecasts of Atlantic storms and what they are held against."""

from __future__ import annotations

from pathlib import Path

__all__ = ["demo_script"]


def demo_script() -> Path:
    """The script examples/storm_tracks.py: beside this file in a wheel, in a checkout where it belongs."""
    here = Path(__file__).resolve().parent
    places = [here / "storm_tracks.py", here.parents[1] / "examples" / "storm_tracks.py"]
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(
        f"storm_tracks.py is neither in {here} nor in {places[1].parent}; reinstall latentode"
    )
