r"""The arithmetic of a training step alone: its matrix products and activations as bare kernels.

What is counted, at the batch size and with the numbers of rows, knots and field evaluations of the step:

    GRU        its input map over all rows at once and three gates a row; backwards one product a row and the two
               weights' gradients over all rows at once
    field      every layer and activation at K s + 1 states; backwards one product a layer and state and each
               layer's gradient over all states at once
    head, decoder    every layer and activation; backwards two products a layer

Backwards every activation costs one product of its slope. Memory is there beforehand; an activation is torch's
sigmoid, its cheapest smooth one on a CPU. Not counted, hence not reachable by a step: the Runge-Kutta sums, the
interpolation between knots, biases, gather and preparation of the batch, likelihood, KL, the optimiser and autograd.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch

from benchmarks.timing import cpu_ms
from latentode import LatentODEModel, SeriesBatch
from latentode.solve.tableaus import TABLEAUS

__all__ = ["Arithmetic"]

Kernel = Callable[[], object]


class Arithmetic:
    """Does the arithmetic of one step of the model on the batch, on random numbers."""

    def __init__(self, model: LatentODEModel, batch: SeriesBatch) -> None:
        B, N = batch.times.shape
        span = float(batch.shift(model.reference(batch)).times.max())
        n_steps = max(1, math.ceil(span / model.solver.spacing - 1e-6))
        self.n_evaluations = n_steps * TABLEAUS[model.solver.method].n_stages + 1
        gru, decoder = model.encoder.gru, model.likelihood.decoder
        self.kernels: list[Kernel] = [
            *_gru(*gru.weight_ih.shape, N, B),
            *_perceptron(_widths(model.encoder.head), 1, B),
            *_perceptron(_widths(model.field.mlp), self.n_evaluations, B),
            *_perceptron(_widths(decoder), 1, B * N),
        ]

    def __call__(self) -> None:
        for kernel in self.kernels:
            kernel()

    def timed(self) -> tuple[float, float]:
        with torch.no_grad():
            return cpu_ms(self)


def _widths(mlp: torch.nn.Module) -> list[int]:
    return [mlp.weights[0].shape[1], *(weight.shape[0] for weight in mlp.weights)]


def _product(n: int, inner: int, m: int) -> Kernel:
    left, right, out = torch.randn(n, inner), torch.randn(inner, m), torch.empty(n, m)
    return lambda: torch.mm(left, right, out=out)


def _activation(n: int, m: int) -> Kernel:
    argument, out = torch.randn(n, m), torch.empty(n, m)
    return lambda: torch.sigmoid(argument, out=out)


def _slope(n: int, m: int) -> Kernel:
    cotangent, slope, out = torch.randn(n, m), torch.randn(n, m), torch.empty(n, m)
    return lambda: torch.mul(cotangent, slope, out=out)


def _perceptron(widths: Sequence[int], n_states: int, B: int) -> list[Kernel]:
    """Layers on (width, B), one state after another, and the weights' gradients of all states at once."""
    layers = list(enumerate(pairwise(widths)))
    forward: list[Kernel] = []
    backward: list[Kernel] = []
    for layer, (n_in, n_out) in layers:
        forward.append(_product(n_out, n_in, B))
        if layer < len(layers) - 1:
            forward.append(_activation(n_out, B))
            backward.append(_slope(n_out, B))
        backward.append(_product(n_in, n_out, B))
    weights = [_product(n_out, n_states * B, n_in) for _, (n_in, n_out) in layers]
    return [*forward * n_states, *backward * n_states, *weights]


def _gru(n_gates: int, n_inputs: int, N: int, B: int) -> list[Kernel]:
    H = n_gates // 3
    once = [_product(n_gates, n_inputs, N * B)]
    forward = [_product(n_gates, H, B), _activation(n_gates, B)]
    backward = [_slope(n_gates, B), _product(H, n_gates, B)]
    weights = [_product(n_gates, N * B, n_inputs), _product(n_gates, N * B, H)]
    return [*once, *forward * N, *backward * N, *weights]
