"""What a model makes of long series: their spans' trajectories joined, and one residual process over all."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from latentode.inference.pieces import CHUNK_NUMBERS, Block, Queries, chunks_of
from latentode.likelihoods import Decoded
from latentode.model import LatentODEModel
from latentode.sampling import named_generator
from latentode.series import SeriesBatch, SeriesCollection, padded_ranges
from latentode.spans import Spans

__all__ = ["Joined", "SpanPosteriors"]

# Seed of the order in which every other span takes the same draws.
_SHUFFLE = 1


@dataclass(frozen=True)
class SpanPosteriors:
    """Where q(z0) of each span has its middle and its spread, and at which time z0 stands: (K, L), (K, L), (K,)."""

    mean: Tensor
    std: Tensor
    reference: Tensor

    @classmethod
    def read(
        cls,
        model: LatentODEModel,
        contexts: SeriesCollection,
        spans: Spans,
        device: torch.device | str,
        only: Tensor | None = None,
    ) -> SpanPosteriors:
        """The posteriors of all spans, or of those numbered `only`; of the others 0."""
        shape = (len(spans.first), model.encoder.latent_dim)
        like = contexts.values
        mean, std, reference = (
            like.new_zeros(shape),
            like.new_zeros(shape),
            contexts.times.new_zeros(shape[0]),
        )
        number = torch.arange(shape[0]) if only is None else only
        first, last = spans.first[number], spans.last[number]
        pieces = torch.stack([first, last, number, number, spans.series_of_spans[number]], 1)
        for chunk in chunks_of(pieces, 16 * contexts.n_channels):
            origins = contexts.origins(chunk[:, 0], chunk[:, 1])
            context = contexts.windows(chunk[:, 0], chunk[:, 1], chunk[:, 4], origins).to(device)
            posterior = model.posterior(context)
            mean[chunk[:, 2]], std[chunk[:, 2]] = posterior.mean.cpu(), posterior.stddev.cpu()
            reference[chunk[:, 2]] = origins + model.reference(context).cpu()
        return cls(mean, std, reference)


class _Shares(NamedTuple):
    """Which spans have a part in which rows and queries of which blocks, B of them.

    Shapes:
        block, span (B,); rows, asked (B, 2): places in the block's rows, and in its queries, the lasts excluded.
    """

    block: Tensor
    span: Tensor
    rows: Tensor
    asked: Tensor


@dataclass(frozen=True)
class Joined:
    """Long series of a collection under a model, block by block.

    Every span's z0 is drawn on its own. Spans that meet share no draws; those beyond may, whose trajectories never
    count at the same time.
    """

    model: LatentODEModel
    contexts: SeriesCollection
    queries: Queries
    spans: Spans
    posteriors: SpanPosteriors
    device: torch.device | str

    @classmethod
    def read(
        cls,
        model: LatentODEModel,
        contexts: SeriesCollection,
        queries: Queries,
        spans: Spans,
        series: list[int],
        device: torch.device | str,
    ) -> Joined:
        """With the posteriors of these series' spans alone."""
        only = torch.nonzero(torch.isin(spans.series_of_spans, torch.tensor(series))).flatten()
        posteriors = SpanPosteriors.read(model, contexts, spans, device, only)
        return cls(model, contexts, queries, spans, posteriors, device)

    def laid_out(self, blocks: list[Block]) -> tuple[SeriesBatch, Tensor, Tensor, Tensor]:
        """The contexts of blocks, times of their queries on the same clock (B, M), and which queries these are.

        Shapes:
            -> context (B, N), times (B, M), rows and inside (B, M) as `padded_ranges` has them.
        """
        lengths = torch.tensor([len(block.rows) for block in blocks])
        place, filled = padded_ranges(torch.zeros_like(lengths), lengths)
        known = torch.stack([block.rows[at] for block, at in zip(blocks, place, strict=True)])
        mask = self.contexts.mask[known] & filled.unsqueeze(-1)
        first = torch.tensor([block.first for block in blocks])
        rows, inside = padded_ranges(first, torch.tensor([block.last for block in blocks]))
        origin = self.contexts.times[known[:, :1]]
        context = SeriesBatch(self.contexts.times[known] - origin, self.contexts.values[known] * mask, mask)
        asked = self.queries.times[rows] - origin
        return context.to(self.device), asked.to(self.device), rows, inside

    def decoded(
        self, blocks: list[Block], states: Callable[[Tensor], Tensor], n_samples: int
    ) -> tuple[Decoded, Decoded]:
        """The joined trajectories at the rows and at the queries of some blocks, as means and offsets.

        Args:
            states: from numbers of spans (B,) to samples of their z0 (S, B, L).

        Shapes:
            -> (S, B, N, D) and (S, B, M, D).
        """
        lengths = torch.tensor([[len(block.rows), block.last - block.first] for block in blocks])
        n_known, n_asked = lengths.amax(0).tolist()
        moments = self.contexts.times.new_zeros(len(blocks), n_known + n_asked)
        for row, block in zip(moments, blocks, strict=True):
            row[: len(block.rows)] = self.contexts.times[block.rows]
            row[n_known : n_known + block.last - block.first] = self.queries.times[block.first : block.last]
        shares = self._shares(blocks)
        sizes = (shares.rows.diff() + shares.asked.diff()).flatten()
        n_channels = self.contexts.n_channels
        per_span = n_samples * max(self.model.encoder.latent_dim, n_channels) * int(sizes.max())
        sums: Tensor | None = None
        for some in torch.arange(len(sizes)).split(max(1, CHUNK_NUMBERS // per_span)):
            span = shares.span[some]
            z0 = states(span)
            known, of_known = padded_ranges(*shares.rows[some].unbind(1))
            asked, of_asked = padded_ranges(*shares.asked[some].unbind(1))
            counted = torch.cat([of_known, of_asked], 1)
            place = torch.cat([known.clamp(max=n_known - 1), n_known + asked.clamp(max=n_asked - 1)], 1)
            place = place + shares.block[some].unsqueeze(1) * (n_known + n_asked)
            times = moments.flatten()[place]
            weights = (self.spans.weights(span, times) * counted).to(self.device, self.contexts.values.dtype)
            followed = self.spans.followed[span].to(times)
            times = torch.clamp(times, followed[:, :1], followed[:, 1:])
            # What is padding stands at z0, so that no solve goes farther for it.
            elapsed = torch.where(counted, times - self.posteriors.reference[span].unsqueeze(1), 0.0)
            found = self.model.decoded_path(
                z0.to(self.device), elapsed.to(self.device, self.contexts.values.dtype)
            )
            parts = found.mean if found.offset is None else torch.cat([found.mean, found.offset], -1)
            if sums is None:
                sums = parts.new_zeros(len(z0), moments.numel(), parts.shape[-1])
            kept = counted.flatten()
            weighed = (parts * weights.unsqueeze(-1)).flatten(1, 2)[:, kept.to(self.device)]
            sums.index_add_(1, place.flatten()[kept].to(self.device), weighed)
        assert sums is not None
        sums = sums.view(len(sums), *moments.shape, -1)
        means, offsets = sums[..., :n_channels], sums[..., n_channels:]
        of_rows, of_queries = (
            Decoded(means[:, :, part], offsets[:, :, part] if offsets.shape[-1] else None)
            for part in (slice(n_known), slice(n_known, None))
        )
        return of_rows, of_queries

    def shuffled(self, draws: Tensor) -> Callable[[Tensor], Tensor]:
        """Z0 of any spans from the same draws (S, L), which every other span has in another order."""
        order = torch.randperm(len(draws), generator=torch.Generator().manual_seed(_SHUFFLE))
        both = torch.stack([draws, draws[order]]).to(self.posteriors.mean)
        number = self.spans.number % 2

        def states(span: Tensor) -> Tensor:
            drawn = both[number[span]].transpose(0, 1)
            return self.posteriors.mean[span] + self.posteriors.std[span] * drawn

        return states

    def named(self, series: int, name: Hashable, n_samples: int, seed: int) -> Callable[[Tensor], Tensor]:
        """Z0 of any spans of a series, each drawn by the series' name and the span's number in it."""
        start = int(self.spans.starts[series])

        def states(span: Tensor) -> Tensor:
            drawn = [
                named_generator((name, one - start), seed).standard_normal(
                    (n_samples, *self.posteriors.mean.shape[1:])
                )
                for one in span.tolist()
            ]
            noise = torch.from_numpy(np.stack(drawn, 1)).to(self.posteriors.mean)
            return self.posteriors.mean[span] + self.posteriors.std[span] * noise

        return states

    def _shares(self, blocks: list[Block]) -> _Shares:
        found = []
        rise, fall = self.spans.rise, self.spans.fall
        for number, block in enumerate(blocks):
            start, stop = (int(self.spans.starts[one]) for one in (block.series, block.series + 1))
            asked = self.queries.times[block.first : block.last].contiguous()
            half = (
                torch.cat(
                    [
                        torch.searchsorted(self.spans.first[start:stop], block.rows, right=True),
                        torch.searchsorted(rise[start:stop, 0].contiguous(), asked, right=True),
                    ]
                ).unique()
                - 1
            )
            span = start + torch.cat([half, (half - 1).clamp(min=0)]).unique()
            rows = [
                torch.searchsorted(block.rows, ends[span]) for ends in (self.spans.first, self.spans.last)
            ]
            # Where a rise begins and where a fall ends the weight is 0.
            first = torch.searchsorted(asked, rise[span, 0].contiguous(), right=True)
            last = torch.searchsorted(asked, fall[span, 1].contiguous())
            of_rows, of_asked = torch.stack(rows, 1), torch.stack([first, last], 1)
            some = ((of_rows.diff() + of_asked.diff()) > 0).flatten()
            found.append(
                _Shares(torch.full_like(span, number)[some], span[some], of_rows[some], of_asked[some])
            )
        return _Shares(*(torch.cat(parts) for parts in zip(*found, strict=True)))
