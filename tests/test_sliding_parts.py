"""Parts of long series as training draws them: from anywhere near, within what was observed without an outage."""

import pytest
import torch

from latentode.series import SeriesCollection, SlidingParts
from tests.made import interrupted, irregular, numbered, zeros_of


def sliding(whole, most, longest=None):
    return SlidingParts.of(whole.cut(most, longest), whole, whole.stretches(most, longest))


def draws(parts, n=200, seed=0):
    generator = torch.Generator().manual_seed(seed)
    everyone = torch.arange(len(parts))
    return [parts.drawn(everyone, generator) for _ in range(n)]


def test_a_part_is_drawn_from_half_its_length_earlier_to_half_later():
    parts = sliding(numbered(torch.arange(1000.0).double()), 100)
    begins = torch.stack([batch.values[:, 0, 0] for batch in draws(parts)])
    moved = begins - 100 * torch.arange(10)
    assert (moved.amin(0)[1:] < -40).all()
    assert (moved.amax(0)[:-1] > 40).all()
    assert moved.abs().max() <= 50
    assert (begins >= 0).all()
    assert (begins <= 900).all()


def test_drawn_rows_are_consecutive_rows_of_the_series_on_a_clock_of_their_own():
    times = 1e9 + irregular(700)  # more than a float32 tells apart
    least = set()
    for batch in draws(sliding(numbered(times), 100), 20):
        for row in range(batch.n_series):
            seen = batch.mask[row, :, 0]
            number = batch.values[row, seen, 0].long()
            assert (number.diff() == 1).all()
            expected = (times[number] - times[number[0]]).float()
            torch.testing.assert_close(batch.times[row, seen], expected)
            least.add(len(number))
    assert max(least) == 100


def test_no_part_is_drawn_across_an_outage():
    times = interrupted(150, 90, 230, 40, gap=1e4)
    whole = numbered(times)
    ends = torch.tensor([0, 150, 240, 470, 510])
    for batch in draws(sliding(whole, 60, longest=80.0)):
        number = batch.values[..., 0].long()
        first = number[:, 0]
        last = torch.where(batch.mask[..., 0], number, -1).amax(1)
        assert torch.equal(
            torch.bucketize(first.contiguous(), ends, right=True), torch.bucketize(last, ends, right=True)
        )


def test_none_lasts_longer_than_the_longest_part():
    """Where readings grow sparse as many rows take longer."""
    times = torch.cat([torch.linspace(0, 50, 500), torch.linspace(50, 500, 500)[1:]]).double()
    parts = sliding(numbered(times), 1000, longest=60.0)
    longest = float(parts.spans.max())
    lasted = [(batch.times * batch.mask[..., 0]).amax() for batch in draws(parts)]
    assert max(lasted) <= (1 + 1e-5) * longest
    assert max(lasted) > 0.9 * longest


def test_rounding_takes_no_row_of_the_longest_part():
    """Even readings in single precision, whose parts all last as long."""
    parts = sliding(numbered(0.1 * torch.arange(1000, dtype=torch.float64)), 100)
    assert all((batch.mask.sum((1, 2)) == 100).all() for batch in draws(parts))


def test_a_short_series_beside_long_ones_is_drawn_as_it_is():
    whole = zeros_of([30, 600, 5])
    parts = sliding(whole, 100)
    for batch in draws(parts.select([0, len(parts) - 1]), 20):
        torch.testing.assert_close(batch.times[0], whole.times[:30].float())
        torch.testing.assert_close(batch.times[1, :5], whole.times[-5:].float())
        assert batch.mask[..., 0].sum(1).tolist() == [30, 5]


def test_statics_are_those_of_the_series():
    whole = zeros_of([300, 400])
    whole = SeriesCollection(
        whole.times, whole.values, whole.mask, whole.starts, torch.tensor([[1.0], [2.0]])
    )
    for batch in draws(sliding(whole, 100), 20):
        assert batch.statics.flatten().tolist() == [1, 1, 1, 2, 2, 2, 2]


def test_what_is_hidden_of_the_whole_is_drawn_of_no_part():
    kept = numbered(irregular(900)).restrict(torch.arange(900) % 7 != 3)
    for batch in draws(sliding(kept, 100), 20):
        assert (batch.values[batch.mask] % 7 != 3).all()
        assert batch.values[~batch.mask].eq(0).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_a_seed_draws_the_same_parts(seed):
    parts = sliding(numbered(irregular(1000)), 100)
    one, other = draws(parts, 3, seed), draws(parts, 3, seed)
    assert all(torch.equal(a.values, b.values) for a, b in zip(one, other, strict=True))
    assert not torch.equal(one[0].values, one[1].values)
