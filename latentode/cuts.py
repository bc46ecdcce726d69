"""Cutting a series into what the encoder reads and what it has to predict."""

from __future__ import annotations

import torch
from torch import Tensor

from latentode.series import SeriesBatch

__all__ = ["TASKS", "fold_contexts", "random_contexts", "random_starts", "split_contexts"]

TASKS = ("both", "interpolate", "extrapolate")

# One training draw in five reads everything: reconstruction is a task too, and the only one a
# series of one row has.
READ_EVERYTHING = 0.2

# Share of the draws in which a series begins late, and the share of its rows that may then be missing.
LATE_START, LATEST_START = 0.7, 0.7

# Share of the draws that show nothing of a series of which static features tell something. Without any, answers from
# these alone erred by 1.8 times as much on series that begin alike (the task of tests/test_statics.py).
SHOW_NOTHING = 0.05

# What `split_contexts` shows of a series: its first two thirds, or two of every three rows; and what else, if asked.
SHOWN = (2 / 3, 1 / 3, 5 / 6)
HIDDEN_OF_THREE = (1, 0, 2)


def _check_task(task: str) -> None:
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}; got {task!r}")


def _ranks(observed: Tensor) -> Tensor:
    """Number of observed rows before each row: (B, N)."""
    return observed.cumsum(1) - observed.to(torch.int64)


def _keep_lowest(score: Tensor, observed: Tensor, n_kept: Tensor) -> Tensor:
    """The n_kept (B,) observed rows of lowest score (B, N), as a mask."""
    score = score.masked_fill(~observed, torch.inf)
    ranks = score.argsort(1).argsort(1)
    return observed & (ranks < n_kept.unsqueeze(1))


def random_contexts(batch: SeriesBatch, task: str, generator: torch.Generator) -> Tensor:
    """A random context for each series: the rows before a random cut, or a random subset of them.

    At least one observed row is kept. task="extrapolate" draws cuts, "interpolate" subsets,
    "both" either with equal chance; one draw in five keeps everything. Of a series that static features
    describe one in twenty keeps nothing, so that what these tell alone is learned too.

    Shapes:
        -> (B, N) bool, true only at observed rows.
    """
    _check_task(task)
    observed = batch.observed_rows.cpu()
    n_series, n_rows = observed.shape
    lengths = observed.sum(1)
    uniform = torch.rand(n_series, 3, generator=generator)
    order = torch.rand(n_series, n_rows, generator=generator)
    cut = 1 + (uniform[:, 0] * (lengths - 1).clamp(min=0)).floor()
    before = observed & (_ranks(observed) < cut.unsqueeze(1))
    subset = _keep_lowest(order, observed, (uniform[:, 0] * lengths).ceil().clamp(min=1))
    share = {"both": 0.5, "extrapolate": 1.0, "interpolate": 0.0}[task]
    keep = torch.where((uniform[:, 1] < share).unsqueeze(1), before, subset)
    keep = torch.where((uniform[:, 2] < READ_EVERYTHING).unsqueeze(1), observed, keep)
    if batch.statics is not None:
        nothing = torch.rand(n_series, generator=generator) < SHOW_NOTHING
        keep = keep & ~(nothing & batch.statics.cpu().any(1)).unsqueeze(1)
    return keep.to(batch.mask.device)


def random_starts(batch: SeriesBatch, generator: torch.Generator) -> Tensor:
    """The rows from a random start on for most series, all rows of the others.

    What a series does next must not depend on how long ago one began to look: a state reached by solving for
    a while and the state read off a series that begins there are to be the same. Without such draws they are
    not, and forecasts beyond the span of the training series drift.

    Shapes:
        -> (B, N) bool.
    """
    ranks = _ranks(batch.observed_rows.cpu())
    lengths = batch.observed_rows.sum(1).cpu()
    uniform = torch.rand(batch.n_series, 2, generator=generator)
    start = (LATEST_START * uniform[:, 0] * lengths).floor() * (uniform[:, 1] < LATE_START)
    return (ranks >= start.unsqueeze(1)).to(batch.mask.device)


def split_contexts(batch: SeriesBatch, task: str, n_each: int = 1) -> list[Tensor]:
    """The contexts that models are compared by: what is not kept is to be predicted.

    "extrapolate" keeps each series' first two thirds, "interpolate" two of every three rows; "both"
    gives one of each. A series of one row keeps nothing: it is predicted from the prior. The choice
    depends on a series' own rows alone.

    Args:
        n_each: so many of each kind, up to three: others keep a third or five sixths, and other rows of three.

    Shapes:
        -> a list of (B, N) bool masks.
    """
    _check_task(task)
    observed = batch.observed_rows
    lengths = observed.sum(1, keepdim=True)
    ranks = _ranks(observed)
    several = lengths > 1
    contexts = []
    if task != "interpolate":
        for share in SHOWN[:n_each]:
            n_kept = torch.minimum((share * lengths).ceil().to(torch.int64), lengths - 1)
            contexts.append(observed & several & (ranks < n_kept))
    if task != "extrapolate":
        for hidden in HIDDEN_OF_THREE[:n_each]:
            contexts.append(observed & several & (ranks % 3 != hidden))
    return contexts


def fold_contexts(batch: SeriesBatch, n_folds: int) -> list[Tensor]:
    """Contexts that hide every n-th row in turn, so that each row is predicted once from the others.

    Shapes:
        -> n_folds masks (B, N) bool.
    """
    ranks = _ranks(batch.observed_rows)
    return [batch.observed_rows & (ranks % n_folds != fold) for fold in range(n_folds)]
