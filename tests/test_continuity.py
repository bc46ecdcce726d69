"""A trajectory's states are held against the posteriors of the same series begun later."""

import math

import pytest
import torch
from torch.distributions import Normal

from latentode import (
    Encoder,
    GaussianLikelihood,
    LatentODEModel,
    SeriesBatch,
    Solver,
    elbo,
)
from latentode.continuity import restart_density
from tests.problems import LinearField, noisy_waves, small_model


class _ReadsTheFirst(Encoder):
    """Normal(first observed value, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.origin, self.latent_dim = "first", 1
        self.shift = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, context: SeriesBatch) -> Normal:
        context = context.compact()
        return Normal(context.values[:, 0] + self.shift, torch.ones_like(context.values[:, 0]))


def _counting(n_rows, n_series=1):
    """Values 0, 1, 2, ... at times 0, 1, 2, ..."""
    times = torch.arange(n_rows, dtype=torch.float64).expand(n_series, -1)
    return SeriesBatch(times, times.unsqueeze(-1).clone(), torch.ones(n_series, n_rows, 1, dtype=torch.bool))


def _model(rate):
    field = LinearField(torch.full((1, 1), rate, dtype=torch.float64))
    likelihood = GaussianLikelihood(1, 1, ()).double()
    return LatentODEModel(_ReadsTheFirst(), field, likelihood, solver=Solver(spacing=0.25))


def _densities(model, batch, n_draws=200):
    generator = torch.Generator().manual_seed(0)
    states = model.solve(torch.zeros(1, batch.n_series, 1, dtype=torch.float64), batch.times).at(batch.times)
    return torch.stack([restart_density(model, states, batch, generator) for _ in range(n_draws)])


def test_restarts_are_the_rows_behind_the_first_up_to_seven_tenths():
    """With a state that stays 0 and a posterior Normal(s, 1) of the rows from s on, log q = log N(s; 0, 1)."""
    found = _densities(_model(0.0), _counting(11))
    restart = (-2 * (found + 0.5 * math.log(2 * math.pi))).sqrt().round(decimals=6)
    assert sorted(set(restart.flatten().tolist())) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]


@pytest.mark.parametrize("n_rows", [1, 2])
def test_series_too_short_to_restart_say_nothing(n_rows):
    assert (_densities(_model(0.0), _counting(n_rows), 5) == 0).all()


def test_rows_without_observations_are_no_restarts():
    batch = _counting(11)
    keep = torch.zeros(1, 11, dtype=torch.bool)
    keep[:, [0, 4, 10]] = True
    found = _densities(_model(0.0), batch.restrict(keep), 20)
    torch.testing.assert_close(found, torch.full_like(found, -8.0 - 0.5 * math.log(2 * math.pi)))


def test_a_trajectory_that_recognition_agrees_with_is_likeliest():
    """dz/dt = z from z0 = 1 is exp(t); of all decays and growths only this one meets its own observations."""
    times = torch.linspace(0, 1, 9, dtype=torch.float64).expand(4, -1)
    batch = SeriesBatch(times, times.exp().unsqueeze(-1), torch.ones(4, 9, 1, dtype=torch.bool))

    def density(rate):
        model = _model(rate)
        z0 = torch.ones(1, 4, 1, dtype=torch.float64)
        states = model.solve(z0, batch.times).at(batch.times)
        return restart_density(model, states, batch, torch.Generator().manual_seed(0)).mean()

    assert density(1.0) > max(density(0.8), density(1.2))
    # The mode of a unit normal, up to what the solver errs.
    torch.testing.assert_close(
        density(1.0), torch.tensor(-0.5 * math.log(2 * math.pi)).double(), atol=1e-5, rtol=0
    )


def test_it_teaches_the_field_and_the_recognition():
    model = small_model()
    batch = noisy_waves(n_series=3).batch([0, 1, 2])
    bound = elbo(model, batch, batch, generator=torch.Generator().manual_seed(0), restarts=True)
    assert bound.restart is not None
    assert bound.restart.shape == (3,)
    bound.restart.sum().backward()
    for part in (model.field, model.encoder):
        assert all(bool((p.grad != 0).any()) for p in part.parameters())


def test_it_is_found_where_it_is_asked_for_only():
    batch = _counting(11, 2)
    assert elbo(_model(0.0), batch, batch).restart is None
