"""The kernels of several channels, evaluated at packed entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from latentode.residual.kernels import FORGOTTEN, KERNELS, Kernel

__all__ = ["KernelMix"]


class KernelMix:
    """One kernel per channel; `channel` (T,) says whose entry each of T entries is."""

    def __init__(self, names: Sequence[str]) -> None:
        unknown = sorted(set(names) - set(KERNELS))
        if unknown:
            raise ValueError(
                f"unknown kernel {', '.join(map(repr, unknown))}; choose from {', '.join(KERNELS)}"
            )
        self.names = tuple(names)
        self._used = tuple(dict.fromkeys(self.names))

    @property
    def one_state(self) -> bool:
        """Whether x alone is a state: no channel has a velocity."""
        return self._used == ("ou",)

    def per_channel(self, attribute: str, like: Tensor) -> Tensor:
        """A kernel's attribute for every channel, (D,)."""
        return like.new_tensor([getattr(KERNELS[name], attribute) for name in self.names])

    def _shares(self, channel: Tensor, like: Tensor) -> Iterator[tuple[Kernel, Tensor]]:
        for name in self._used:
            ours = like.new_tensor([other == name for other in self.names])
            yield KERNELS[name], ours.index_select(0, channel)

    def transition(self, lag: Tensor, channel: Tensor) -> tuple[Tensor, Tensor]:
        """Phi (2, 2, T) and Q (3, T) at lags (T,)."""
        if len(self._used) == 1:
            return KERNELS[self._used[0]].transition(lag)
        phi, process = lag.new_zeros(2, 2, len(lag)), lag.new_zeros(3, len(lag))
        for kernel, share in self._shares(channel, lag):  # faster than to take an entry's own kernel alone
            every_phi, every_process = kernel.transition(lag)
            phi.addcmul_(every_phi, share)
            process.addcmul_(every_process, share)
        return phi, process

    def slope(self, lag: Tensor, channel: Tensor, predicted: Tensor, worth: Tensor, flow: Tensor) -> Tensor:
        r"""What a lag is worth, (T,), from what the predicted state is worth.

        With A the drift and B the diffusion, d Phi / da = A Phi and dP / da = A P + P A^T + B, so that the
        predicted state itself gives its derivative.

        Shapes:
            predicted, worth: rows p, m, D of `Variances`, (3, T); flow (2, 2, T): sum over samples of
            (worth of the mean's i) (mean's j). With one state (1, T), (1, T) and (1, 1, T).
        """
        if len(self._used) == 1:
            return _slope(KERNELS[self._used[0]], lag, predicted, worth, flow)
        slope = torch.zeros_like(lag)
        for kernel, share in self._shares(channel, lag):
            slope.addcmul_(_slope(kernel, lag, predicted, worth, flow), share)
        return slope


def _slope(kernel: Kernel, lag: Tensor, predicted: Tensor, worth: Tensor, flow: Tensor) -> Tensor:
    (xx, xw), (wx, ww) = kernel.drift
    b_x, b_w = kernel.diffusion
    near = (lag < FORGOTTEN).to(lag.dtype)  # past it rounding, times the lag, would be all there is
    if len(predicted) == 1:
        by_p = torch.add(b_x * torch.ones_like(lag), predicted[0], alpha=2 * xx)
        return by_p.mul_(worth[0]).add_(flow[0, 0], alpha=xx).mul_(near)
    p, m, det = predicted
    q = torch.addcmul(det, m, m).div_(p)
    slope = (2 * xw * m).add_(p, alpha=2 * xx).add_(b_x).mul_(worth[0])
    slope.addcmul_(((xx + ww) * m).add_(q, alpha=xw).add_(p, alpha=wx), worth[1])
    slope.addcmul_((b_w * p).add_(q, alpha=b_x).add_(det, alpha=2 * (xx + ww)), worth[2])
    for i, row in enumerate(kernel.drift):
        for j, rate in enumerate(row):
            if rate:
                slope.add_(flow[i, j], alpha=rate)
    slope.mul_(near)
    if kernel.wander:
        far = torch.addcmul(worth[0], q, worth[2]).mul_(1 - near)
        slope.add_(far, alpha=kernel.wander)
    return slope
