"""The residual at any time, given the residuals observed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latentode.residual.information import carry_back, combine, gather_information, unfold
from latentode.residual.means import filter_means, pull_back_means
from latentode.residual.mix import KernelMix
from latentode.residual.observed import ENDLESS, Observed, pack
from latentode.residual.variances import covariance_after, filter_variances

__all__ = ["Posterior", "condition"]


@dataclass(frozen=True)
class Posterior:
    r"""What a query needs to know of its neighbours among the observations of its chain.

    A query after observation k, whose state given the observations up to it is Normal(u, P), and before
    observation k + 1, over a transition Phi, has

        mean u + P Phi^T score,    covariance (P^-1 + J)^-1

    where score is the gradient of the log-likelihood of what comes later with respect to the mean predicted
    at k + 1, and J is the information of what comes later, carried back to the query. Before the first
    observation the process runs backwards in time, which turns the sign of w and nothing else.

    Tables over T + B D places: the observations, then one anchor for each chain, at its first observation
    (with w turned round) or, where a chain has none, at the first time of its series, with the prior.

    Shapes:
        time (T + B D,); moments, rows p, m, D (3, T + B D); mean (S, 2, T + B D); information, rows j, b, f,
        (3, T + B D) and score (S, 2, T + B D): 0 at the anchors. times (B, N), rate (D,) 1 / model time.
        seen (B, N + 1, D) counts a chain's observations before each row.
    """

    mix: KernelMix
    observed: Observed
    rate: Tensor
    times: Tensor
    seen: Tensor
    time: Tensor
    moments: Tensor
    mean: Tensor
    information: Tensor
    score: Tensor
    place: Tensor

    def neighbour(self, rank: Tensor) -> tuple[Tensor, Tensor]:
        """The place of a chain's observation number `rank` (B, M, D), and whether there is one."""
        exists = (rank >= 0) & (rank < self.seen[:, -1:])
        starts = self.observed.starts[:-1]
        start = starts[rank.clamp(0, max(len(starts) - 1, 0))] if len(starts) else torch.zeros_like(rank)
        return torch.where(exists, start + self.place.unsqueeze(1), self.anchors), exists

    @property
    def anchors(self) -> Tensor:
        """The place of each chain's anchor, (B, 1, D)."""
        B, D = self.place.shape
        return len(self.observed.entry) + torch.arange(B * D, device=self.place.device).view(B, 1, D)

    def transition(self, gap: Tensor) -> tuple[Tensor, Tensor]:
        """Phi (2, 2, B, M, D) and Q (3, B, M, D) over gaps (B, M, D) >= 0."""
        channel = torch.arange(gap.shape[-1], device=gap.device).expand_as(gap).flatten()
        lag = (gap.clamp(max=ENDLESS) * self.rate).flatten()
        phi, process = self.mix.transition(lag, channel)
        return phi.view(2, 2, *gap.shape), process.view(3, *gap.shape)

    def at(self, query_times: Tensor) -> tuple[Tensor, Tensor]:
        """Means of x (S, B, M, D) and rows p, m, D (3, B, M, D) of the covariances at (B, M)."""
        B, M = query_times.shape
        D = self.place.shape[-1]
        row = torch.searchsorted(self.times, query_times.contiguous(), right=True)
        rank = self.seen.gather(1, row.unsqueeze(-1).expand(B, M, D))
        left, after_one = self.neighbour(rank - 1)
        right, before_one = self.neighbour(rank)
        right = torch.where(after_one & before_one, right, self.anchors)
        query = query_times.unsqueeze(-1)

        phi, process = self.transition((query - self.time[left]).abs())
        moments = covariance_after(self.moments[:, left], phi, process)
        mean = (phi.unsqueeze(0) * self.mean[:, None, :, left]).sum(2)
        forward, between = self.transition((self.time[right] - query).clamp(min=0))
        p, m, _ = moments
        score = self.score[:, :, right]
        mean_x = mean[:, 0] + (p * forward[0, 0] + m * forward[0, 1]) * score[:, 0]
        mean_x += (p * forward[1, 0] + m * forward[1, 1]) * score[:, 1]
        moments = combine(moments, carry_back(self.information[:, right], forward, between))
        # back to forward time
        reversed_ = ~after_one & (query < self.time[left])
        moments[1] = torch.where(reversed_, -moments[1], moments[1])
        return mean_x, moments


def condition(
    times: Tensor, values: Tensor, mask: Tensor, noise: Tensor, mix: KernelMix, rate: Tensor
) -> Posterior:
    """The posterior of a process of scale 1 from values (S, B, N, D) with noise variance (B, N, D).

    times (B, N); rate (D,) is the kernel's rate over the length.
    """
    S, B, D = len(values), len(mask), mask.shape[-1]
    observed = pack(times, mask)
    entry, chains = observed.entry, observed.chains
    noise = noise.flatten()[entry]
    values = values.reshape(S, -1)[:, entry]
    velocity = mix.per_channel("velocity", times)
    place = torch.empty_like(chains)
    place[chains] = torch.arange(B * D, device=chains.device)

    time = torch.cat([times.flatten()[entry // D], times[:, :1].expand(B, D).flatten()])
    anchor = torch.stack(
        [torch.ones(B, D).to(times), torch.zeros(B, D).to(times), velocity.expand(B, D)]
    ).flatten(1)
    anchor_mean = times.new_zeros(S, 2, B * D)
    if observed.widths:
        first = observed.widths[0]
        has = chains[:first]
        phi, process = mix.transition(observed.gap * rate[observed.channel], observed.channel)
        variances = filter_variances(phi, process, noise, velocity[has % D], observed)
        means = filter_means(phi, variances.predicted, noise, values, observed)
        total = variances.predicted[0] + noise
        score, to_values = pull_back_means(phi, means, -means.surprise / total, observed)
        score[:, 0] -= to_values
        information = gather_information(phi, process, noise, observed)
        moments, mean = variances.filtered, means.filtered

        time[len(entry) + has] = time[:first].clone()
        prior = anchor[:, has]
        anchor[:, has] = combine(prior, unfold(information[:, :first]))
        anchor[1] *= -1
        anchor_mean[:, 0, has] = score[:, 0, :first] * prior[0]
        anchor_mean[:, 1, has] = -score[:, 1, :first] * prior[2]
    else:
        moments = information = times.new_zeros(3, 0)
        mean = score = times.new_zeros(S, 2, 0)
    seen = torch.cat([torch.zeros_like(mask[:, :1], dtype=torch.long), mask.cumsum(1)], 1)
    return Posterior(
        mix=mix,
        observed=observed,
        rate=rate,
        times=times.contiguous(),
        seen=seen,
        time=time,
        moments=torch.cat([moments, anchor], -1),
        mean=torch.cat([mean, anchor_mean], -1),
        information=torch.cat([information, torch.zeros_like(anchor)], -1),
        score=torch.cat([score, torch.zeros_like(anchor_mean)], -1),
        place=place.view(B, D),
    )
