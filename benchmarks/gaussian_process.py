"""A Gaussian process on each series alone, its few parameters learned from all of them: the strongest answer
that knows no dynamics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["SeriesGP", "fit_series_gp"]

JITTER = 1e-8
CHUNK_ELEMENTS = 1_000_000  # of one batch's covariance matrices: 8 MB in float64
LEARNED_FROM = 3000  # values; four parameters are known to some per cent by then


def _matern12(r: Tensor) -> Tensor:
    return torch.exp(-r)


def _matern32(r: Tensor) -> Tensor:
    scaled = math.sqrt(3.0) * r
    return (1 + scaled) * torch.exp(-scaled)


def _matern52(r: Tensor) -> Tensor:
    scaled = math.sqrt(5.0) * r
    return (1 + scaled + scaled**2 / 3) * torch.exp(-scaled)


def _squared_exponential(r: Tensor) -> Tensor:
    return torch.exp(-0.5 * r**2)


KERNELS = {
    "matern12": _matern12,
    "matern32": _matern32,
    "matern52": _matern52,
    "rbf": _squared_exponential,
}


@dataclass(frozen=True)
class SeriesGP:
    r"""One channel of a series around its own level.

        x(t_n) = m + c + u(t_n) + e_n,   c ~ N(0, level^2),   u ~ GP(0, scale^2 k(|t - t'| / length)),
        e_n ~ N(0, noise^2)

    m is the mean of the training values; scale, length, level and noise maximise the marginal likelihood of
    the training series, which share them. No series sees another in `predict`.
    """

    kernel: str
    mean: float
    scale: float
    length: float
    level: float
    noise: float
    log_evidence: float  # of training, nats per value

    def predict(
        self, times: np.ndarray, values: np.ndarray, asked: np.ndarray, mask: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Posterior mean and standard deviation of m + c + u at the asked times, without the noise e.

        Shapes:
            times, values, mask (B, N), asked (B, Q) -> (B, Q) each.
        """
        mask = np.ones_like(values, dtype=bool) if mask is None else mask
        parameters = torch.tensor([self.scale, self.length, self.level, self.noise]).double().log()
        mean, deviation = np.empty(asked.shape), np.empty(asked.shape)
        # Series of like length together, the padding behind them cut off.
        filled = np.where(mask, 1 + np.arange(mask.shape[1]), 0).max(axis=1, initial=1)
        order = np.argsort(filled, kind="stable")
        while len(order):
            N = int(filled[order[-1]])
            size = max(1, CHUNK_ELEMENTS // (N * max(N, asked.shape[1])))
            order, rows = order[:-size], order[-size:]
            t, x, seen = (torch.tensor(one[rows, :N]) for one in (times, values, mask))
            t, at = t.double(), torch.tensor(asked[rows]).double()
            x = torch.where(seen, x.double() - self.mean, 0.0)
            factor = torch.linalg.cholesky(_covariance(self.kernel, parameters, t, seen))
            across = self.scale**2 * KERNELS[self.kernel]((at[:, :, None] - t[:, None]).abs() / self.length)
            across = (across + self.level**2) * seen[:, None]
            weights = torch.cholesky_solve(x[:, :, None], factor)
            root = torch.linalg.solve_triangular(factor, across.mT, upper=False)
            variance = self.scale**2 + self.level**2 - (root**2).sum(dim=1)
            mean[rows] = (across @ weights)[:, :, 0].numpy() + self.mean
            deviation[rows] = variance.clamp_min(0.0).sqrt().numpy()
        return mean, deviation


def fit_series_gp(
    times: np.ndarray,
    values: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    kernels: tuple[str, ...] = tuple(KERNELS),
    n_series: int | None = None,
    seed: int = 0,
) -> SeriesGP:
    """The kernel and parameters of greatest marginal likelihood, of at most `n_series` series drawn by chance.

    None takes as many as hold some 3000 values.

    Shapes:
        times, values, mask (B, N), one channel; the parameters start at the values' spread and at a tenth
        of the observed span.
    """
    mask = np.ones_like(values, dtype=bool) if mask is None else mask
    useful = np.flatnonzero(mask.sum(axis=1) > 1)
    n_series = n_series or 1 + LEARNED_FROM * len(useful) // int(mask[useful].sum())
    chosen = np.random.default_rng(seed).permutation(useful)[:n_series]
    longest = int(mask.sum(axis=1)[chosen].max())
    if not mask[chosen, longest:].any():  # padded at the end, as far as the longest of all series
        times, values, mask = times[:, :longest], values[:, :longest], mask[:, :longest]
    mean = float(values[mask].mean())
    spread = max(float(values[mask].std()), 1e-6)
    span = float(np.ptp(times[mask]))
    t, seen = torch.tensor(times[chosen]).double(), torch.tensor(mask[chosen])
    x = torch.where(seen, torch.tensor(values[chosen]).double() - mean, 0.0)

    def evidence(kernel: str, parameters: Tensor) -> Tensor:
        factor = torch.linalg.cholesky(_covariance(kernel, parameters, t, seen))
        white = torch.linalg.solve_triangular(factor, x[:, :, None], upper=False)
        # Hidden entries have unit variance and value zero, and add nothing.
        log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum()
        count = seen.sum()
        return (-0.5 * (white**2).sum() - log_det) / count - 0.5 * math.log(2 * math.pi)

    best: SeriesGP | None = None
    for kernel in kernels:
        start = torch.tensor([spread, 0.1 * span, 0.5 * spread, 0.2 * spread]).double().log()
        floor = torch.tensor([1e-3 * spread, 1e-4 * span, 1e-4 * spread, 1e-3 * spread]).double().log()
        parameters = start.clone().requires_grad_()
        optimiser = torch.optim.LBFGS([parameters], max_iter=25, line_search_fn="strong_wolfe")

        def closure(kernel=kernel, parameters=parameters, optimiser=optimiser, floor=floor):  # type: ignore[no-untyped-def]
            optimiser.zero_grad()
            # Below the floor the covariance is singular in float64; the parameter stops to matter there.
            loss = -evidence(kernel, torch.maximum(parameters, floor))
            loss.backward()
            return loss

        optimiser.step(closure)
        with torch.no_grad():
            settled = torch.maximum(parameters, floor)
            reached = float(evidence(kernel, settled))
        if best is None or reached > best.log_evidence:
            scale, length, level, noise = settled.exp().tolist()
            best = SeriesGP(kernel, mean, scale, length, level, noise, reached)
    assert best is not None
    return best


def _covariance(kernel: str, parameters: Tensor, times: Tensor, seen: Tensor) -> Tensor:
    """Of the observations; rows and columns of those hidden are the identity's: (B, N, N)."""
    scale, length, level, noise = parameters.exp()
    apart = (times[:, :, None] - times[:, None]).abs() / length
    signal = scale**2 * KERNELS[kernel](apart) + level**2
    identity = torch.eye(times.shape[1], dtype=times.dtype)
    both = seen[:, :, None] & seen[:, None]
    variance = torch.where(seen, noise**2 + JITTER * (scale**2 + level**2), 1.0)
    return torch.where(both, signal, 0.0) + identity * variance[:, :, None]
