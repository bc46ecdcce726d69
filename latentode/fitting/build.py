"""The built-in model: sizes chosen from the data, and the modules made to them."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import torch

from latentode.dynamics import MLPField
from latentode.encoders import GRUEncoder
from latentode.likelihoods import Likelihood
from latentode.model import LatentODEModel
from latentode.residual import GaussMarkov
from latentode.solve import Solver

__all__ = ["Architecture", "NetworkSizes", "build_model", "start_turning"]

# Of the field: latent units a unit of model time, and so many times what states that turn a unit from zero need.
FIELD_BOUND, TURNING_BOUND = 20.0, 8.0

_DRAWING = threading.Lock()


@dataclass(frozen=True)
class NetworkSizes:
    """What a user says of the networks; None leaves a size to `Architecture.choose`."""

    latent_dim: int | None = None
    field_units: tuple[int, ...] | None = None
    encoder_units: int | None = None
    decoder_units: tuple[int, ...] | None = None
    likelihood: str | tuple[str, ...] = "gaussian"
    noise_scale: str = "learned"


@dataclass(frozen=True)
class Architecture:
    """Everything that `build_model` needs to make the same modules again.

    Args:
        residual: kernel of the residual process of each channel, or None for no residual process.
        typical_gap: median time between observations, in model time.
        likelihood: law of the noise of all channels, or of each; noise_scale where its scale comes from.
        n_statics: static features of a series.
        shortcuts: linear paths beside the posterior's head and the decoder; the first files have none.
        period: with which the series repeat themselves, in model time; None where nothing is known of one.
    """

    n_channels: int
    latent_dim: int
    field_units: tuple[int, ...]
    encoder_units: int
    decoder_units: tuple[int, ...]
    origin: str
    residual: tuple[str, ...] | None
    typical_gap: float
    field_bound: float | None = FIELD_BOUND
    likelihood: str | tuple[str, ...] = "gaussian"
    noise_scale: str = "learned"
    n_statics: int = 0
    shortcuts: bool = False
    period: float | None = None

    @classmethod
    def choose(
        cls,
        n_channels: int,
        sizes: NetworkSizes,
        *,
        origin: str,
        residual: tuple[str, ...] | None,
        typical_gap: float,
        n_statics: int = 0,
        period: float | None = None,
    ) -> Architecture:
        """Sizes by the number of channels, where they are not given.

        Two latent dimensions more than channels, at least 4 and at most 20: a trajectory needs room
        for velocities and hidden causes, and small latents do better on smooth data. Fields of larger latents are
        four times as wide: with 128 units in place of 64, and twice the learning rate, the hopper and intensive
        care learned more in half the steps. The encoder is as wide for small latents as for large ones: on
        spirals 64 units halved the steps that 32 took. Where channels turn with a period, three latent
        dimensions each, at most 20 in all: each has a phase and a level of its own. No period is kept for states of
        one dimension, or fields with a layer narrower than the state, in which nothing can turn.
        """
        usual = n_channels + 2 if period is None else 3 * n_channels
        latent_dim = sizes.latent_dim or min(20, max(4, usual))
        small = latent_dim <= 6
        field_width, decoder_width = (32, 32) if small else (128, 64)
        if latent_dim < 2 or min(sizes.field_units or (latent_dim,)) < latent_dim:
            period = None
        return cls(
            n_channels=n_channels,
            latent_dim=latent_dim,
            field_units=(field_width, field_width) if sizes.field_units is None else sizes.field_units,
            encoder_units=sizes.encoder_units or 64,
            decoder_units=(decoder_width,) if sizes.decoder_units is None else sizes.decoder_units,
            origin=origin,
            residual=residual,
            typical_gap=typical_gap,
            field_bound=max(FIELD_BOUND, 0.0 if period is None else TURNING_BOUND * 2 * math.pi / period),
            likelihood=sizes.likelihood,
            noise_scale=sizes.noise_scale,
            n_statics=n_statics,
            shortcuts=True,
            period=period,
        )


def build_model(
    architecture: Architecture, solver: Solver, *, seed: int, dtype: torch.dtype = torch.float32
) -> LatentODEModel:
    """A freshly initialised model; the global random state is left as it was."""
    sizes = architecture
    # torch's layers draw from the one generator that all threads share.
    with _DRAWING, torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        model = LatentODEModel(
            GRUEncoder(
                sizes.n_channels,
                sizes.latent_dim,
                sizes.encoder_units,
                (sizes.encoder_units,),
                origin=sizes.origin,
                typical_gap=sizes.typical_gap,
                n_statics=sizes.n_statics,
                shortcut=sizes.shortcuts,
                period=sizes.period,
            ),
            MLPField(sizes.latent_dim, sizes.field_units, bound=sizes.field_bound),
            Likelihood(
                sizes.latent_dim,
                sizes.n_channels,
                sizes.decoder_units,
                noise=sizes.likelihood,
                noise_scale=sizes.noise_scale,
                shortcut=sizes.shortcuts,
            ),
            residual=None if sizes.residual is None else GaussMarkov(sizes.n_channels, sizes.residual),
            solver=solver,
        )
    return model.to(dtype)


def start_turning(model: LatentODEModel, architecture: Architecture) -> None:
    """Lets a fresh model's states turn once a period, where one is known: a pair of them for each channel, as far as
    two in three of the latent dimensions go.
    """
    if architecture.period is None:
        return
    assert isinstance(model.field, MLPField)
    n_pairs = max(1, min(architecture.n_channels, architecture.latent_dim // 3))
    model.field.start_turning(2 * math.pi / architecture.period, n_pairs)
