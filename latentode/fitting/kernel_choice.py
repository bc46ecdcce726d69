"""Which residual kernel suits each channel: a contest on validation data, before any network is trained."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional as F

from latentode.residual import GaussMarkov
from latentode.series import SeriesBatch, SeriesCollection

__all__ = ["choose_kernels"]

_log = logging.getLogger("latentode")

CANDIDATES = ("ou", "matern32", "iou")

# Nats a value by which the third has to win: its variance grows without end, and so does what is left of a velocity
# that noise made up. Of a spiral's coordinates it wins by .01, and forecasts to twice their length err by a quarter
# more.
MARGIN_OF_GROWING = 0.05

# Where no validation data tell.
DEFAULT = "matern32"

# Three numbers a channel are learned from the scaled data; this is ample for them.
N_STEPS, LEARNING_RATE, BATCH_SIZE = 120, 0.05, 48
MIN_NOISE = 1e-2


class _Process(nn.Module):
    """x(t) = r(t) + noise: the model without its trajectory."""

    def __init__(self, kernels: Sequence[str]) -> None:
        super().__init__()
        self.residual = GaussMarkov(len(kernels), kernels, scale=0.7, length=0.2)
        self.raw_noise = nn.Parameter(torch.full((len(kernels),), -1.5))

    @property
    def noise_variance(self) -> Tensor:
        return (MIN_NOISE + F.softplus(self.raw_noise)).square()

    def log_likelihood(self, batch: SeriesBatch) -> Tensor:
        return self.residual.log_likelihood(
            batch.times, batch.values.unsqueeze(0), batch.mask, self.noise_variance
        )[0]

    @torch.no_grad()
    def log_density(self, context: SeriesBatch, target: SeriesBatch) -> Tensor:
        """Of the target's observed entries given the context, 0 elsewhere: (B, M, D)."""
        noise = self.noise_variance
        mean, variance = self.residual.condition(
            context.times, context.values.unsqueeze(0), context.mask, noise, target.times
        )
        density = Normal(mean[0], (variance + noise).sqrt(), validate_args=False).log_prob(target.values)
        return torch.where(target.mask, density, 0.0)


def choose_kernels(
    data: SeriesCollection,
    validation: list[tuple[SeriesBatch, SeriesBatch]],
    generator: torch.Generator,
) -> tuple[str, ...]:
    """For each channel the kernel that alone, without a trajectory, predicts hidden values best.

    Each kernel's scale, length and noise are fitted to the training series by maximum likelihood; the
    log density of the validation targets given their contexts decides. The trajectory then takes
    over what is common to the series, but how a channel moves in between stays the kernel's to say. Noise is
    normal in this contest, whatever law the model will have.

    "iou", which grows without end, has to win by a margin.

    Args:
        validation: (context, target) pairs in the units of `data`; without any, or for a channel that
            none of them holds or whose densities are not finite, the answer is "matern32".

    Returns:
        A name for each of D channels.
    """
    counts = sum((target.mask.sum((0, 1)) for _, target in validation), torch.zeros(data.n_channels))
    if not bool((counts > 0).any()):
        return (DEFAULT,) * data.n_channels
    # Channels know nothing of each other, so a channel for each kernel lets all be fitted at once, to the same batches.
    process = _Process([kernel for kernel in CANDIDATES for _ in range(data.n_channels)]).to(
        data.values.dtype
    )
    optimiser = torch.optim.Adam(process.parameters(), lr=LEARNING_RATE)
    for _ in range(N_STEPS):
        indices = torch.randint(len(data), (min(BATCH_SIZE, 2 * len(data)),), generator=generator)
        batch = data.batch(indices).compact()
        loss = -process.log_likelihood(_repeat(batch, len(CANDIDATES))).sum() / batch.mask.sum().clamp(min=1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    densities = (
        process.log_density(*(_repeat(batch, len(CANDIDATES)) for batch in pair)).sum((0, 1))
        for pair in validation
    )
    scores = sum(densities, torch.zeros(())).view(len(CANDIDATES), -1)
    scores[CANDIDATES.index("iou")] -= MARGIN_OF_GROWING * counts
    told = (counts > 0) & torch.isfinite(scores).all(0)
    for channel in torch.nonzero((counts > 0) & ~told).flatten().tolist():
        _log.warning(
            "no kernel could be chosen for channel %d: log densities %s", channel, scores[:, channel].tolist()
        )
    best = scores.argmax(0).tolist()
    return tuple(CANDIDATES[number] if told[channel] else DEFAULT for channel, number in enumerate(best))


def _repeat(batch: SeriesBatch, n_times: int) -> SeriesBatch:
    """All channels, then all again, so often."""
    return SeriesBatch(batch.times, batch.values.repeat(1, 1, n_times), batch.mask.repeat(1, 1, n_times))
