"""Real data that travels with the package, simulated series with known truth, loaders for data on disk."""

from latentode.datasets._files import load_co2, load_storms
from latentode.datasets._physionet import load_physionet2012, load_physionet2012_parquet
from latentode.datasets._simulated import make_lotka_volterra, make_oscillator
from latentode.datasets._spirals import make_spirals

__all__ = [
    "load_co2",
    "load_physionet2012",
    "load_physionet2012_parquet",
    "load_storms",
    "make_lotka_volterra",
    "make_oscillator",
    "make_spirals",
]
