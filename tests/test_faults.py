"""A step that fails is taken back and said so; what keeps failing stops with its reason."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from latentode import LatentODE, MLPField, Solver, TrainingOptions, train
from latentode.datasets import make_oscillator
from latentode.elbo import elbo
from latentode.inference import heldout_log_density
from latentode.solve import StiffFieldError, solve
from latentode.training import loop
from latentode.training.loop import MAX_RECOVERIES
from tests.problems import held_waves, noisy_waves, small_model, times_nan

OPTIONS = TrainingOptions(max_iter=40, n_checks=10, batch_size=8)


def fit(model, options=OPTIONS, data=None, **settings):
    return train(model, data or noisy_waves(), options, torch.Generator().manual_seed(0), **settings)


def spoil(monkeypatch, at, change):
    """Has the bound of the calls numbered `at` changed by `change`."""
    calls = iter(range(1, 10_000))

    def spoilt(*arguments, **settings):
        bound = elbo(*arguments, **settings)
        return change(bound) if next(calls) in at else bound

    monkeypatch.setattr(loop, "elbo", spoilt)


def infinite_gradient(bound):
    # The square root's slope at 0 is infinite, its value is not.
    root = (bound.objective - bound.objective.detach()).abs().sqrt()
    return type(bound)(bound.log_likelihood, bound.kl, bound.objective + root)


class Faulty(nn.Module):
    """A good field but for the calls numbered `at`, where its answer is multiplied by `factor`."""

    def __init__(self, at, factor):
        super().__init__()
        self.inner = MLPField(2, (8,), bound=20.0)
        self.at, self.factor, self.calls = at, factor, 0

    def forward(self, t, z):
        self.calls += 1
        return self.inner(t, z) * (self.factor if self.calls in self.at else 1.0)


@pytest.mark.parametrize("change", [times_nan, infinite_gradient])
def test_a_step_that_is_not_finite_is_taken_back(monkeypatch, change):
    spoil(monkeypatch, {10, 27}, change)
    model = small_model()
    history = fit(model, validation=held_waves())
    assert [record.recoveries for record in history] == [0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    # The rate is halved for good, twice.
    unspoilt = loop._schedule(40, OPTIONS)
    assert history[-1].learning_rate == unspoilt / 4
    assert all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())
    assert all(math.isfinite(record.validation) for record in history)
    assert history[-1].elbo > history[0].elbo


def test_a_rollback_ends_at_the_weights_of_the_last_check(monkeypatch):
    sound = small_model()
    checks = []
    fit(sound, progress=lambda _: checks.append({n: t.clone() for n, t in sound.state_dict().items()}))
    seen = {}

    def look(bound):
        seen.update({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return bound

    model = small_model()
    spoil(monkeypatch, {10, 11}, lambda bound: times_nan(bound) if not seen and look(bound) else look(bound))
    fit(model, OPTIONS)
    assert all(torch.equal(tensor, checks[1][name]) for name, tensor in seen.items())


def test_a_failing_last_step_leaves_a_model_and_its_history(monkeypatch):
    spoil(monkeypatch, {1}, times_nan)
    history = fit(small_model(), TrainingOptions(max_iter=1), validation=held_waves())
    assert [record.recoveries for record in history] == [1]
    assert history[0].ended == "max_iter"


def test_a_validation_score_that_is_not_finite_is_a_fault(monkeypatch):
    spoilt = iter([True, False, True, *[False] * 50])

    def density(*arguments):
        return heldout_log_density(*arguments) * (math.nan if next(spoilt) else 1.0)

    pairs = held_waves()[:1]
    monkeypatch.setattr(loop, "heldout_log_density", density)
    history = fit(small_model(), validation=pairs)
    assert [record.recoveries for record in history] == [1, 1, *[2] * 8]
    assert [math.isnan(record.validation) for record in history] == [True, False, True, *[False] * 7]
    monkeypatch.setattr(loop, "heldout_log_density", lambda *arguments: density(*arguments) * math.nan)
    spoilt = iter([True] * 50)
    with pytest.raises(FloatingPointError, match=r"last at step 24 of 40.*: the validation score was nan"):
        fit(small_model(), validation=pairs)


@pytest.mark.parametrize(
    ("change", "quantity"),
    [
        (times_nan, "the log likelihood of [0-9]+ of [0-9]+ series was nan"),
        (infinite_gradient, "the gradient of the network's weights was (nan|inf)"),
    ],
)
def test_repeated_failure_stops_with_step_quantity_and_cause(monkeypatch, change, quantity):
    spoil(monkeypatch, range(20, 100), change)
    model = small_model()
    with pytest.raises(FloatingPointError, match=quantity) as failure:
        fit(model)
    assert f"training failed {MAX_RECOVERIES + 1} times" in str(failure.value)
    assert "last at step 25 of 40" in str(failure.value)
    assert "Nothing stands out in the batch; lower learning_rate" in str(failure.value)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())


def test_the_likely_cause_is_found_in_the_data(monkeypatch):
    spoil(monkeypatch, range(1, 100), times_nan)
    data = noisy_waves()
    data.values[::8] = 1e4
    data.times[1::8] = data.times[::8] + 1e-7
    with pytest.raises(FloatingPointError, match=r"channel 0 .* lies 1e\+04 spreads out.*rows .* apart"):
        fit(small_model(), data=data)


@pytest.mark.parametrize(
    ("method", "gradient", "factor"),
    [
        ("rk4", "adjoint", math.nan),
        ("rk4", "adjoint", math.inf),
        ("rk4", "backprop", math.nan),
        ("dopri5", "adjoint", math.nan),
        pytest.param("dopri5", "adjoint", math.inf, marks=pytest.mark.slow),
    ],
)
def test_a_field_that_fails_at_some_calls_is_survived(method, gradient, factor):
    # Those calls lie in looks at the field, in solves there and back, and in validation.
    field = Faulty({300, 450, 561, 702}, factor)
    solver = Solver(method=method, engine="torchdiffeq", gradient=gradient, spacing=1 / 4)
    history = fit(small_model(field, solver), validation=held_waves())
    assert 1 <= history[-1].recoveries <= MAX_RECOVERIES
    assert field.calls > 702
    assert math.isfinite(history[-1].elbo)
    assert history[-1].iteration == 40


@pytest.mark.parametrize("method", ["dopri5", "scipy_solver"])
def test_an_adaptive_solve_that_gives_up_says_so(method):
    def explode(t, z):  # noqa: ARG001 - reaches infinity at t = 0.01
        return 50 * z**3

    with pytest.raises(StiffFieldError, match=f"{method} could not meet rtol.*stiff or has diverged"):
        solve(explode, torch.ones(2, 2), 0.0, 1.0, Solver(method=method))


def test_an_adaptive_solve_that_always_gives_up_stops_training():
    class Exploding(nn.Module):
        def __init__(self):
            super().__init__()
            self.rate = nn.Parameter(torch.tensor(50.0))

        def forward(self, t, z):  # noqa: ARG002
            return self.rate * (1 + z**2)

    with pytest.raises(FloatingPointError, match=r"dopri5 could not meet rtol, atol = .*lower learning_rate"):
        fit(small_model(Exploding(), Solver(method="dopri5")))


# ---------------------------------------------------------------- through the estimator


@pytest.mark.filterwarnings("ignore:times are asked that lie up to")
def test_forecasts_stay_finite_a_hundred_spans_ahead(fitted, frame):
    span = frame.groupby("patient").hours.agg(np.ptp).max()
    ahead = fitted.forecast(frame, 100 * span, steps=40, level=90)
    paths = fitted.sample(frame, [100 * span], n_samples=5, observation_noise=True)
    for answer in (ahead, paths):
        assert np.isfinite(answer.select_dtypes("number").to_numpy()).all()


@pytest.mark.filterwarnings("ignore:times are asked that lie up to")
@pytest.mark.slow
def test_a_long_fit_stays_finite_a_hundred_spans_ahead():
    observed, _ = make_oscillator(n_series=40, seed=0)
    for residual in ("ou", "matern32", "iou", None):
        model = LatentODE("series", "time", residual=residual, max_iter=300, random_state=0).fit(observed)
        ahead = model.forecast(observed, 1000.0, steps=50, level=[50, 90])
        assert np.isfinite(ahead.to_numpy()).all()


def with_outliers(observed, columns, every):
    """One cell in `every` at a million spreads."""
    wild = observed.copy()
    random = np.random.default_rng(0)
    values = wild[columns].to_numpy(copy=True)
    cells = random.permutation(np.argwhere(~np.isnan(values)))[: max(1, values.size // every)]
    for row, column in cells:
        values[row, column] = 1e6 * np.nanstd(observed[columns[column]]) * random.choice([-1, 1])
    wild[columns] = values
    return wild


def hidden_error(model, observed, columns):
    """Of a third of the rows given the others, all of them clean."""
    hidden = np.arange(len(observed)) % 3 == 1
    given = observed.copy()
    given.loc[hidden, columns] = np.nan
    found = model.predict(given, level=90)[hidden]
    error = found[columns] - observed.loc[hidden, columns]
    width = (found["position-hi-90"] - found["position-lo-90"]).mean()
    return np.sqrt(np.nanmean(error.to_numpy() ** 2)), width


@pytest.mark.parametrize("max_iter", [40, pytest.param(400, marks=pytest.mark.slow)])
def test_outliers_of_a_million_spreads_do_not_wreck_a_fit(max_iter):
    columns = ["position", "velocity"]
    observed, _ = make_oscillator(n_series=26, seed=0)
    model = LatentODE("series", "time", residual="matern32", max_iter=max_iter, random_state=0)
    error, width = hidden_error(model.fit(observed), observed, columns)
    named = "more than 20 spreads .* left out of the fit: 1 of column '(position|velocity)'"
    with pytest.warns(UserWarning, match=named):
        model.fit(with_outliers(observed, columns, every=1000))
    spoilt_error, spoilt_width = hidden_error(model, observed, columns)
    assert spoilt_error < 1.2 * error
    assert spoilt_width < 1.2 * width


def test_outliers_neither_widen_bands_nor_weigh_in_the_summary():
    """With enough series for curves in lead time, and so many outliers that withheld ones have some."""
    columns = ["position", "velocity"]
    observed, _ = make_oscillator(n_series=150, seed=0)
    model = LatentODE("series", "time", residual="matern32", max_iter=40, random_state=0).fit(observed)
    error, width = hidden_error(model, observed, columns)
    told = model.summary().validation.table
    with pytest.warns(UserWarning, match="left out of the fit"):
        model.fit(with_outliers(observed, columns, every=300))
    assert model.fitted_.calibration.factor is None
    spoilt_error, spoilt_width = hidden_error(model, observed, columns)
    assert spoilt_error < 1.2 * error
    assert spoilt_width < 1.1 * width
    spoilt = model.summary().validation.table
    own = told["predictor"] == "latent ODE"
    assert (spoilt.loc[own, "rmse"] < 1.2 * told.loc[own, "rmse"]).all()


def test_one_outlier_of_few_values_is_named(frame):
    frame.loc[3, "hr"] = 1e9
    with pytest.warns(
        UserWarning, match="1 of column 'hr' \\(series 'p0'\\). Look for wrong units"
    ) as caught:
        model = LatentODE("patient", "hours", max_iter=5, residual="ou", random_state=0).fit(frame)
    assert caught[0].filename == __file__  # it points at the line that called fit
    assert pd.Series(model.predict(frame.drop(index=3)).hr).between(0, 200).all()


def test_times_that_single_precision_can_not_tell_apart_are_refused():
    data = noisy_waves()
    late = replace(data, times=data.times.double() + 1e9)
    with pytest.raises(
        ValueError, match=r"less than torch.float32 can tell; count each series' time from its first"
    ):
        fit(small_model(), data=late)
    fit(small_model(), TrainingOptions(max_iter=1), replace(data, times=data.times.double() + 10))
