"""Training steps that can't be taken: which quantity was not finite, and what in the data is likely why."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from latentode.elbo import Bound
from latentode.series import SeriesBatch
from latentode.solve import NonFiniteFieldError, StiffFieldError

__all__ = ["FAULTS", "NonFiniteError", "check_finite", "likely_cause"]

# A scaled value farther out than this, or a gap shorter than this in model time, is worth a word.
FAR_OUT, NEAR_DUPLICATE = 8.0, 1e-5


class NonFiniteError(ArithmeticError):
    """A quantity of a training step is NaN or infinite; the message says which."""


# What a step may fail with and a rollback may mend.
FAULTS = (NonFiniteError, NonFiniteFieldError, StiffFieldError)


def check_finite(bound: Bound, loss: Tensor, norms: Mapping[str, Tensor]) -> None:
    """Refuses a step whose loss or gradient is not finite.

    Args:
        norms: of the gradients, by what they are of.

    Raises:
        NonFiniteError: naming the quantity.
    """
    if bool(torch.isfinite(torch.stack([loss.detach(), *norms.values()])).all()):
        return
    for name, value in (("KL term", bound.kl), ("log likelihood", bound.log_likelihood), ("loss", loss)):
        value = value.detach().flatten()
        bad = value[~torch.isfinite(value)]
        if len(bad):
            of_series = f" of {len(bad)} of {len(value)} series" if len(value) > 1 else ""
            raise NonFiniteError(f"the {name}{of_series} was {bad[0]:g}")
    for what, norm in norms.items():
        if not bool(torch.isfinite(norm)):
            raise NonFiniteError(f"the gradient of {what} was {norm:g}")


def likely_cause(target: SeriesBatch) -> str:
    """What stands out in the batch at which training failed, and what to do about it."""
    observed = torch.where(target.mask, target.values, 0.0).abs()
    largest = observed.amax((0, 1))
    channel = int(largest.argmax())
    compact = target.compact()
    gaps = compact.times.diff(dim=1)[compact.observed_rows[:, 1:]]
    found = []
    if float(largest[channel]) > FAR_OUT:
        found.append(
            f"a value of channel {channel} (counted from 0) lies {float(largest[channel]):.3g} spreads out: look "
            "for outliers and wrong units there"
        )
    if len(gaps) and float(gaps.min()) < NEAR_DUPLICATE:
        found.append(
            f"two rows of a series are {float(gaps.min()):.1g} of a usual span apart: look for duplicates that "
            "differ in time by rounding"
        )
    if not found:
        return "Nothing stands out in the batch; lower learning_rate, and look at modules of your own for a division"
    return "In the batch " + "; and ".join(found) + ". Else lower learning_rate"
