"""Irregular series as tensors: one padded batch of them, and a whole collection of unequal lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["SeriesBatch", "SeriesCollection"]


@dataclass(frozen=True)
class SeriesBatch:
    """B series side by side, each at its own times, any channel missing anywhere.

    A row in which no channel is observed carries no information: it is padding or a query, and no
    part of the model tells the two apart. Padding repeats the series' last time. Where the mask is
    false the value is 0, never NaN, so that 0 * NaN can't reach a gradient.

    Shapes:
        times (B, N) in model time, sorted within a series; values (B, N, D), scaled;
        mask (B, N, D), bool, true where observed.

    Raises:
        ValueError: where the three shapes do not belong together.
    """

    times: Tensor
    values: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        if self.times.ndim != 2 or self.values.ndim != 3 or self.values.shape[:2] != self.times.shape:
            raise ValueError(
                "a SeriesBatch takes times (B, N) and values (B, N, D); "
                f"got {tuple(self.times.shape)} and {tuple(self.values.shape)}"
            )
        if self.mask.shape != self.values.shape or self.mask.dtype != torch.bool:
            raise ValueError(
                f"mask must be a bool tensor of the shape of values, {tuple(self.values.shape)}; "
                f"got {self.mask.dtype} {tuple(self.mask.shape)}"
            )

    @property
    def n_series(self) -> int:
        return self.times.shape[0]

    @property
    def n_channels(self) -> int:
        return self.values.shape[2]

    @property
    def observed_rows(self) -> Tensor:
        """Rows with at least one observed channel: (B, N) bool."""
        return self.mask.any(-1)

    def restrict(self, keep: Tensor) -> SeriesBatch:
        """The same rows with only the kept entries observed: `keep` is (B, N) or (B, N, D) bool."""
        mask = self.mask & (keep if keep.ndim == 3 else keep.unsqueeze(-1))
        return SeriesBatch(self.times, self.values * mask, mask)

    def compact(self) -> SeriesBatch:
        """Only the observed rows, moved to the front; B series of N' <= N rows, N' >= 1."""
        observed = self.observed_rows
        n_rows = max(1, int(observed.sum(1).max())) if self.n_series else 1
        if n_rows == self.times.shape[1] and bool(observed[:, : n_rows - 1].all()):
            return self
        lengths = observed.sum(1, keepdim=True)
        order = torch.argsort((~observed).to(torch.uint8), dim=1, stable=True)[:, :n_rows]
        rank = torch.arange(n_rows, device=order.device)
        filled = rank < lengths
        # Padding repeats the last observed row's time (the first row's, where nothing was observed).
        order = torch.where(filled, order, order.gather(1, (lengths - 1).clamp(min=0)))
        cells = order.unsqueeze(-1).expand(-1, -1, self.n_channels)
        mask = self.mask.gather(1, cells) & filled.unsqueeze(-1)
        return SeriesBatch(self.times.gather(1, order), self.values.gather(1, cells) * mask, mask)

    def shift(self, reference: Tensor) -> SeriesBatch:
        """The same series with each clock set to zero at `reference` (B,)."""
        return SeriesBatch(self.times - reference.unsqueeze(1), self.values, self.mask)

    def reference_times(self, origin: str = "first") -> Tensor:
        """Time of each series' first (or last) observed row; 0 where nothing is observed: (B,)."""
        observed = self.observed_rows
        far = torch.finfo(self.times.dtype).max
        if origin == "first":
            edge = self.times.masked_fill(~observed, far).amin(1)
        else:
            edge = self.times.masked_fill(~observed, -far).amax(1)
        return torch.where(observed.any(1), edge, torch.zeros_like(edge))

    def to(self, device: torch.device | str) -> SeriesBatch:
        return SeriesBatch(self.times.to(device), self.values.to(device), self.mask.to(device))


@dataclass(frozen=True)
class SeriesCollection:
    """Series of unequal lengths, row after row, as a table of R rows holds them.

    Shapes:
        times (R,), values (R, D), mask (R, D); series i owns rows starts[i] to starts[i + 1];
        starts (n_series + 1,) int64. Times are sorted within a series.
    """

    times: Tensor
    values: Tensor
    mask: Tensor
    starts: Tensor

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def n_channels(self) -> int:
        return self.values.shape[1]

    @property
    def lengths(self) -> Tensor:
        """Rows of each series: (n_series,)."""
        return self.starts.diff()

    @property
    def spans(self) -> Tensor:
        """Time from each series' first row to its last, 0 where it has none: (n_series,)."""
        last = (self.starts[1:] - 1).clamp(min=0)
        spans = self.times[last] - self.times[self.starts[:-1].clamp(max=max(0, len(self.times) - 1))]
        return torch.where(self.lengths > 0, spans, 0.0)

    @property
    def series_of_rows(self) -> Tensor:
        """Number of each row's series: (R,)."""
        return torch.repeat_interleave(torch.arange(len(self)), self.lengths)

    def restrict(self, keep: Tensor) -> SeriesCollection:
        """The same rows with only those observed that are kept: `keep` is (R,) bool."""
        mask = self.mask & keep.unsqueeze(-1)
        return SeriesCollection(self.times, self.values * mask, mask, self.starts)

    def rows(self, indices: Sequence[int] | np.ndarray | Tensor) -> tuple[Tensor, Tensor]:
        """Row numbers of some series, padded by their last row, and which are no padding: (B, N) each."""
        indices = torch.as_tensor(indices, dtype=torch.int64)
        first, lengths = self.starts[indices], self.lengths[indices]
        rank = torch.arange(max(1, int(lengths.max()) if len(indices) else 1))
        inside = rank < lengths.unsqueeze(1)
        rows = first.unsqueeze(1) + torch.minimum(rank, (lengths - 1).clamp(min=0).unsqueeze(1))
        return rows.clamp(max=max(0, len(self.times) - 1)), inside

    def batch(self, indices: Sequence[int] | np.ndarray | Tensor) -> SeriesBatch:
        """The chosen series as one padded batch, in the order of `indices`."""
        rows, inside = self.rows(indices)
        if not len(self.times):  # no series has a row, and there is none to pad with
            nothing = self.values.new_zeros(*rows.shape, self.n_channels)
            return SeriesBatch(nothing[..., 0], nothing, nothing.bool())
        mask = self.mask[rows] & inside.unsqueeze(-1)
        return SeriesBatch(self.times[rows], self.values[rows] * mask, mask)

    def select(self, indices: Sequence[int] | np.ndarray | Tensor) -> SeriesCollection:
        """A collection of the chosen series alone, in the order of `indices`."""
        rows, inside = self.rows(indices)
        kept = rows[inside]
        starts = torch.zeros(len(rows) + 1, dtype=torch.int64)
        starts[1:] = inside.sum(1).cumsum(0)
        return SeriesCollection(self.times[kept], self.values[kept], self.mask[kept], starts)
