"""The posterior depends on a series' observations and on nothing else."""

import math

import pytest
import torch

from latentode import GRUEncoder, SeriesBatch
from latentode.encoders import WAVE_RIDGE, _waves
from tests.made import ragged


@pytest.fixture(params=[("first", None), ("last", None), ("first", 0.7), ("last", 0.7)])
def encoder(request):
    origin, period = request.param
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GRUEncoder(3, 4, 8, origin=origin, period=period)


def close(one, other):
    torch.testing.assert_close(one.mean, other.mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(one.stddev, other.stddev, rtol=1e-5, atol=1e-6)


def select(posterior, rows):
    return torch.distributions.Normal(posterior.mean[rows], posterior.stddev[rows])


def test_companions_and_order_of_series_change_nothing(encoder):
    collection = ragged()
    together = encoder(collection.batch([0, 1, 3]))
    close(select(together, [1]), encoder(collection.batch([1])))
    close(select(together, [2, 0, 1]), encoder(collection.batch([3, 0, 1])))


def test_padding_and_rows_without_observations_change_nothing(encoder):
    batch = ragged().batch([0, 3])
    n_rows = batch.times.shape[1]
    between = torch.repeat_interleave(batch.times, 2, dim=1)
    between[:, 1:-1:2] = (between[:, 1:-1:2] + between[:, 2::2]) / 2  # queries halfway to the next row
    values = torch.zeros(2, 2 * n_rows, 3)
    mask = torch.zeros(2, 2 * n_rows, 3, dtype=torch.bool)
    values[:, ::2], mask[:, ::2] = batch.values, batch.mask
    close(encoder(SeriesBatch(between, values, mask)), encoder(batch))


def test_the_value_under_a_false_mask_is_never_read(encoder):
    batch = ragged().batch([0, 3])
    keep = torch.rand(batch.mask.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    hidden = batch.restrict(keep)
    spoilt = torch.where(hidden.mask, hidden.values, 7.0)
    close(encoder(hidden), encoder(SeriesBatch(batch.times, spoilt, hidden.mask)))


def test_no_observation_gives_the_prior(encoder):
    posterior = encoder(ragged().batch([2, 0]))
    assert torch.equal(posterior.mean[0], torch.zeros(4))
    assert torch.equal(posterior.stddev[0], torch.ones(4))


def test_shifting_the_clock_changes_nothing(encoder):
    batch = ragged().batch([0, 3])
    shifted = batch.shift(torch.tensor([-3.0, -3.0]))
    # float32 times around 3 keep steps of 2e-7, and the head sees them through slopes.
    one, other = encoder(batch), encoder(shifted)
    torch.testing.assert_close(one.mean, other.mean, rtol=1e-3, atol=1e-4)


def test_every_parameter_gets_a_gradient(encoder):
    posterior = encoder(ragged().batch([0, 3]))
    (posterior.mean.sum() + posterior.stddev.log().square().sum()).backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_an_outlier_a_million_spreads_out_stays_finite(encoder):
    batch = ragged().batch([0, 3])
    wild = SeriesBatch(batch.times, batch.values * 1e30, batch.mask)
    assert torch.isfinite(encoder(wild).mean).all()


def test_origin_must_be_known():
    with pytest.raises(ValueError, match="origin must be 'first' or 'last'"):
        GRUEncoder(3, 4, origin="middle")


def prepared(encoder, batch):
    encoder.prepare(batch)
    return encoder


def shown_to_the_head(encoder, batch):
    """What the head is given: (B, n_inputs)."""
    seen = []
    handle = encoder.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    encoder(batch)
    handle.remove()
    return seen[0]


def test_prepared_summaries_have_mean_zero_and_spread_one(encoder):
    batch = ragged().batch([0, 1, 3])
    n_state = 8
    before = shown_to_the_head(encoder, batch)
    after = shown_to_the_head(prepared(encoder, batch), batch)
    assert torch.equal(after[:, :n_state], before[:, :n_state])
    before, after = before[:, n_state:], after[:, n_state:]
    varies = before.std(0) > 1e-3
    assert varies.any()
    torch.testing.assert_close(after.mean(0), torch.zeros(after.shape[1]), atol=1e-5, rtol=0)
    torch.testing.assert_close(after[:, varies].std(0, correction=0), torch.ones(int(varies.sum())))


def test_a_prepared_encoder_keeps_its_promises(encoder):
    batch = ragged().batch([0, 1, 3])
    prepared(encoder, batch)
    test_companions_and_order_of_series_change_nothing(encoder)
    test_padding_and_rows_without_observations_change_nothing(encoder)
    test_the_value_under_a_false_mask_is_never_read(encoder)
    test_no_observation_gives_the_prior(encoder)
    test_an_outlier_a_million_spreads_out_stays_finite(encoder)


def test_scales_of_summaries_are_taken_from_series_with_observations_only(encoder):
    some = prepared(encoder, ragged().batch([0, 1, 3])).summary_spread.clone()
    assert torch.equal(prepared(encoder, ragged().batch([0, 1, 2, 3])).summary_spread, some)  # 2 is empty
    assert torch.equal(prepared(encoder, ragged().batch([2])).summary_spread, some)


def test_a_summary_that_all_series_share_is_shown_as_zero(encoder):
    batch = ragged().batch([3])
    assert not shown_to_the_head(prepared(encoder, batch), batch)[:, 8:].any()


def test_without_a_shortcut_there_is_nothing_to_prepare():
    encoder = GRUEncoder(3, 4, 8, shortcut=False)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    encoder.prepare(ragged().batch([0, 1, 3]))
    assert before.keys() == encoder.state_dict().keys()
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.state_dict().items())


def test_the_wave_of_a_channel_is_read_where_z0_stands():
    times = torch.linspace(0, 5, 200, dtype=torch.float64).expand(1, -1)
    seen = torch.ones(1, 200, 2, dtype=torch.float64)
    seen[:, ::3, 1] = 0
    angle = 2 * math.pi * (times - 5) / 0.5
    values = torch.stack([3 + 2 * angle.cos(), 5 * angle.sin() - 1], dim=-1) * seen
    found = _waves(times, values, seen, torch.tensor([200]), 0.5, torch.tensor(WAVE_RIDGE).double())
    expected = torch.tensor([[3.0, 2.0, 0.0, -1.0, 0.0, 5.0]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=0.03, atol=0.03)


def test_of_a_channel_that_was_not_seen_the_wave_is_0():
    times = torch.linspace(0, 5, 20).expand(1, -1)
    nothing = torch.zeros(1, 20, 2)
    assert torch.equal(
        _waves(times, nothing, nothing, torch.tensor([20]), 0.5, torch.tensor(WAVE_RIDGE)), torch.zeros(1, 6)
    )


@pytest.mark.parametrize(
    "settings", [{"period": -0.5}, {"period": math.nan}, {"period": 0.5, "summaries": False}]
)
def test_a_period_of_no_use_is_refused(settings):
    with pytest.raises(ValueError, match="period must be positive, and needs summaries=True; got "):
        GRUEncoder(3, 4, **settings)
