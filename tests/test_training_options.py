"""What training takes where its settings are left to the data."""

import pytest
import torch

from latentode import SeriesCollection
from latentode.training import TrainingOptions, TrainingSettings
from latentode.training.loop import _optimiser
from tests.problems import small_model


def _collection(n_series: int, n_rows: int) -> SeriesCollection:
    ones = torch.ones(n_series * n_rows, 1)
    starts = torch.arange(n_series + 1) * n_rows
    return SeriesCollection(torch.arange(n_rows).double().repeat(n_series), ones, ones.bool(), starts)


def _choose(data, latent_dim, settings=None, **about):
    return TrainingOptions.choose(data, latent_dim, settings or TrainingSettings(), **about)


@pytest.mark.parametrize(("n_rows", "expected"), [(11, 0.055), (30, 0.15), (60, 0.3), (200, 0.3)])
def test_of_few_values_a_series_continuity_weighs_less(n_rows, expected):
    options = _choose(_collection(2, n_rows), 4, task="both", origin="first")
    assert options.continuity_weight == pytest.approx(expected)


@pytest.mark.parametrize("task", ["both", "interpolate"])
@pytest.mark.parametrize(("n_series", "expected"), [(1, 0.05), (4, 0.05), (20, 0.2), (100, 1.0), (3000, 1.0)])
def test_of_few_values_what_is_seen_weighs_less(n_series, expected, task):
    options = _choose(_collection(n_series, 10), 4, task=task, origin="first")
    assert options.context_weight == pytest.approx(expected)


@pytest.mark.parametrize("n_series", [4, 3000])
def test_forecasts_ask_for_what_is_hidden(n_series):
    options = _choose(_collection(n_series, 10), 4, task="extrapolate", origin="last")
    assert options.context_weight == 0.05
    assert options.residual_share == 1.0
    assert options.pointwise
    assert options.kl_weight == 0.03


@pytest.mark.parametrize("task", ["both", "interpolate"])
def test_gaps_leave_the_trajectory_half_of_white_noise(task):
    options = _choose(_collection(4, 10), 4, task=task, origin="first")
    assert options.residual_share == 0.5
    assert not options.pointwise
    assert options.kl_weight == 0.1


def test_without_a_residual_process_there_is_nothing_to_foretell_one_by_one():
    options = _choose(_collection(4, 10), 4, task="extrapolate", origin="last", residual=False)
    assert not options.pointwise
    assert options.kl_weight == 0.1


@pytest.mark.parametrize(
    ("latent_dim", "n_series", "n_rows", "task", "expected"),
    [
        (6, 300, 10, "both", 4000),
        (4, 100, 80, "interpolate", 4000),
        (6, 300, 10, "extrapolate", 2500),
        (7, 300, 10, "both", 2500),
        (6, 299, 10, "both", 2500),
        (6, 100, 81, "both", 2500),
    ],
)
def test_gaps_of_few_channels_are_learned_in_more_steps_from_many_short_series(
    latent_dim, n_series, n_rows, task, expected
):
    data = _collection(n_series, n_rows)
    assert _choose(data, latent_dim, task=task, origin="first").max_iter == expected


@pytest.mark.parametrize(("n_series", "expected"), [(1, 32), (40, 40), (3000, 100)])
def test_a_batch_is_the_collection_within_limits(n_series, expected):
    assert _choose(_collection(n_series, 3), 4, task="both", origin="first").batch_size == expected


def test_what_is_given_stays():
    given = {"batch_size": 7, "learning_rate": 0.1, "context_weight": 0.0, "continuity_weight": 0.0}
    given |= {"residual_share": 0.2, "kl_weight": 0.4}
    options = _choose(
        _collection(5, 10), 4, task="both", origin="first", settings=TrainingSettings(max_iter=3, **given)
    )
    assert {name: getattr(options, name) for name in given} == given
    assert options.max_iter == 3


def test_nothing_to_train_on_is_left_to_training_to_refuse():
    nothing = SeriesCollection(
        torch.zeros(0).double(), torch.zeros(0, 1), torch.zeros(0, 1).bool(), torch.zeros(1).long()
    )
    assert _choose(nothing, 4, task="both", origin="first").batch_size == 32


@pytest.mark.parametrize(
    ("task", "origin"), [("interpolate", "first"), ("both", "last"), ("extrapolate", "last")]
)
def test_what_goes_on_beyond_no_series_is_not_held_to_continuity(task, origin):
    assert _choose(_collection(20, 100), 4, task=task, origin=origin).continuity_weight == 0


@pytest.mark.parametrize(("latent_dim", "expected"), [(4, 0.02), (6, 0.02), (7, 0.01), (20, 0.01)])
def test_large_latent_states_learn_in_smaller_steps(latent_dim, expected):
    options = _choose(_collection(20, 10), latent_dim, task="both", origin="first")
    assert options.learning_rate == expected


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"learning_rate": 0.0}, ValueError, "learning_rate must be positive; got 0.0"),
        ({"residual_share": 2.0}, ValueError, "residual_share is a share, from 0 to 1; got 2.0"),
        ({"context_weight": 3.0}, ValueError, "context_weight is a share, from 0 to 1; got 3.0"),
        ({"max_iter": 2.5}, TypeError, "max_iter must be a whole number; got 2.5"),
        ({"task": "guess"}, ValueError, "task must be one of both, interpolate, extrapolate; got 'guess'"),
    ],
)
def test_wrong_options_are_named(given, error, message):
    with pytest.raises(error, match=message):
        TrainingOptions(**given)


@pytest.mark.parametrize(("turning", "expected"), [(False, 1.0), (True, 0.02)])
def test_a_field_that_turns_is_trained_slowly(turning, expected):
    options = _choose(_collection(5, 10), 4, task="both", origin="first", turning=turning)
    assert options.field_rate == expected


def test_the_field_has_a_rate_of_its_own():
    model = small_model()
    groups = {
        rate: _optimiser(model, TrainingOptions(field_rate=rate, learning_rate=0.01)).param_groups
        for rate in (1.0, 0.02)
    }
    assert [group["multiple"] for group in groups[1.0]] == [1.0, 3.0]
    network, field, _ = groups[0.02]
    assert (network["multiple"], field["multiple"]) == (1.0, 0.02)
    assert {id(p) for p in field["params"]} == {id(p) for p in model.field.parameters()}
    trained = [id(p) for group in groups[0.02] for p in group["params"]]
    assert sorted(trained) == sorted(id(p) for p in model.parameters())
