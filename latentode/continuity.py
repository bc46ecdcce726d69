"""That a trajectory goes where the posterior of a later start would have it begin."""

from __future__ import annotations

import torch
from torch import Tensor

from latentode.model import LatentODEModel
from latentode.series import SeriesBatch

__all__ = ["restart_density"]

# The restart comes within this share of a series' rows, so that what is left to read tells where it stands.
LATEST_RESTART = 0.7


def restart_density(
    model: LatentODEModel, states: Tensor, target: SeriesBatch, generator: torch.Generator | None = None
) -> Tensor:
    r"""E[ log q(z_s = z(s) | x from s on) ] at a random observation s of each series, in nats.

    Training sees no trajectory longer than a series. Without this a state that was reached by solving need not
    be one at which any series begins; the field has learned nothing there, and forecasts beyond the span of the
    training series drift. With it a trajectory stays where recognition puts the series that begin later, and
    what was learned of those carries it on.

    Shapes:
        states (S, B, N, L) at the rows of the target, whose clocks are counted from z0 -> (B,), the mean over
        samples; 0 for series of fewer than three rows.
    Source: after the continuity prior of multiple shooting, Iakovlev, Yildiz, Heinonen & Lahdesmaki 2023,
        "Latent Neural ODEs with Sparse Bayesian Multiple Shooting"; that recognition is trained on what the
        model generates is Hinton et al. 1995, "The wake-sleep algorithm".
    """
    observed = target.observed_rows
    rank = observed.cumsum(1) - 1
    allowed = observed & (rank > 0) & (rank <= LATEST_RESTART * rank[:, -1:])
    # Drawn where the generator lives, so that a seed means the same numbers on every device.
    device = observed.device if generator is None else generator.device
    chance = torch.rand(observed.shape, generator=generator, device=device).to(observed.device)
    row = chance.masked_fill(~allowed, -1.0).argmax(1)
    place = torch.arange(observed.shape[1], device=row.device)
    restarted = model.posterior(target.restrict(place >= row.unsqueeze(1)))
    reached = states[:, torch.arange(len(row), device=row.device), row]
    return restarted.log_prob(reached).sum(-1).mean(0) * allowed.any(1)
