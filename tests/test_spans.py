"""Where the spans of a long series begin and end, what they weigh, and what is trained on and answered at once."""

import pytest
import torch

from latentode import SeriesCollection
from latentode.inference.pieces import MARGIN, Queries, blocks_of, whole_block
from latentode.series import longest_gap, part_starts
from latentode.spans import HALF, MAX_ROWS, spans_of
from tests.made import interrupted, irregular, one_series

SERIES = {
    **{str(n): irregular(n) for n in (257, 300, 513, 1000, 4096)},
    "interrupted": interrupted(400, 30, 1, 2, 1000),
    "interrupted at the ends": interrupted(1, 600, 1),
    "of single rows": interrupted(*[1] * 20),
    "of equal times": torch.cat([torch.zeros(300), torch.full((300,), 1e3), torch.full((5,), 2e3)]).double(),
}


@pytest.mark.parametrize("name", SERIES)
@pytest.mark.parametrize("reach", [None, 90.0])
def test_weights_sum_to_one_and_two_count_at_most(name, reach):
    contexts = one_series(SERIES[name])
    spans = spans_of(contexts, reach)
    if len(spans.first) == 1:
        assert reach is None
        return
    end = float(contexts.times[-1])
    times = (
        torch.cat([torch.linspace(-50, end + 50, 5003, dtype=torch.float64), contexts.times]).sort().values
    )
    weights = torch.stack(
        [spans.weights(torch.tensor([number]), times[None])[0] for number in range(len(spans.first))]
    )
    torch.testing.assert_close(weights.sum(0), torch.ones_like(times), rtol=0, atol=1e-12)
    assert (weights >= 0).all()
    assert ((weights > 0).sum(0) <= 2).all()
    assert (weights[0, times < 0] == 1).all()
    assert (weights[-1, times > contexts.times[-1]] == 1).all()
    # The steepest of 3 s^2 - 2 s^3 is 3/2 over the rise.
    rise = spans.rise[1:].diff(dim=1).min()
    assert (weights.diff(dim=1).abs() <= 1.5 * times.diff() / rise + 1e-12).all()
    most = weights.gather(0, spans.leading(0, times)[None])[0]
    torch.testing.assert_close(most, weights.amax(0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["1000", "4096", *[name for name in SERIES if "interrupted" in name]])
@pytest.mark.parametrize("reach", [None, 90.0])
def test_spans_are_short_and_no_row_counts_where_it_is_not_read(name, reach):
    contexts = one_series(SERIES[name])
    spans = spans_of(contexts, reach)
    assert (spans.last - spans.first <= MAX_ROWS).all()
    assert spans.last[-1] - spans.first[-1] <= HALF
    if reach is not None:
        assert (contexts.times[spans.last - 1] - contexts.times[spans.first] <= reach).all()
    weights = spans.weights(torch.arange(len(spans.first)), contexts.times.expand(len(spans.first), -1))
    for number, (first, last) in enumerate(zip(spans.first.tolist(), spans.last.tolist(), strict=True)):
        outside = torch.cat([weights[number, :first], weights[number, last:]])
        assert not outside.any()


def test_a_series_that_is_not_long_is_one_span():
    times = torch.cat([irregular(256), irregular(5), torch.zeros(300, dtype=torch.float64)])
    full = one_series(times)
    contexts = SeriesCollection(full.times, full.values, full.mask, torch.tensor([0, 256, 256, 261, 561]))
    spans = spans_of(contexts)
    assert spans.counts.tolist() == [1, 1, 1, 1]  # of the last all times are the same
    assert torch.isinf(spans.rise).all()


def test_no_span_reads_across_a_long_gap_and_its_trajectory_ends_within():
    times = SERIES["interrupted"]
    spans, gap = spans_of(one_series(times)), longest_gap(times)
    for first, last, followed in zip(spans.first.tolist(), spans.last.tolist(), spans.followed, strict=True):
        assert last - first == 1 or times[first:last].diff().max() <= gap
        assert followed[0] in (-torch.inf, times[first] - gap)
        assert followed[1] in (torch.inf, times[last - 1] + gap)
    assert spans.followed[0, 0] == -torch.inf
    assert spans.followed[-1, 1] == torch.inf
    assert torch.isfinite(spans.followed[1:, 0]).all()


def test_a_gap_is_an_outage_where_it_takes_longer_than_a_span_usually_does():
    assert longest_gap(irregular(2000)) == pytest.approx(256, rel=0.1)  # a row for each unit of time
    assert longest_gap(interrupted(1000, 700, gap=1e9)) == pytest.approx(256, rel=0.1)
    assert longest_gap(irregular(2000), 90.0) == 45.0
    assert longest_gap(irregular(256)) is None
    assert longest_gap(torch.zeros(600)) is None


def test_no_part_that_is_trained_on_reaches_across_an_outage():
    parts = one_series(interrupted(1000, 1, 700, gap=1e9)).cut(MAX_ROWS)
    assert parts.lengths.tolist() == [250] * 4 + [1] + [233, 233, 234]
    assert parts.spans.max() < 300
    # Across a gap that is none they do, of series that are not long across any.
    assert one_series(interrupted(1000, 1000, gap=200.0)).cut(MAX_ROWS).lengths.tolist() == [250] * 8
    assert one_series(interrupted(100, 100, gap=1e9)).cut(MAX_ROWS).lengths.tolist() == [200]


def test_gaps_make_no_span_without_rows():
    times = torch.cat([irregular(40), 1e4 + irregular(40), 1e6 + irregular(400)])
    spans = spans_of(one_series(times), reach=50.0)
    assert (spans.last > spans.first).all()
    assert (spans.rise[1:, 1] > spans.rise[1:, 0]).all()
    assert len(spans.first) < 60


def test_parts_are_as_few_as_it_takes():
    times = irregular(1000)
    assert part_starts(times, 250).tolist() == [0, 250, 500, 750]
    assert part_starts(times, 300).tolist() == [0, 250, 500, 750]
    parts = part_starts(times, 10**6, float(times[-1] - times[0]) / 3)
    assert len(parts) == 3
    expected = times[0] + (times[-1] - times[0]) * torch.arange(3) / 3
    assert torch.equal(parts, torch.searchsorted(times, expected))
    cut = one_series(times).cut(250, 1e9)
    assert torch.equal(cut.starts, one_series(times).cut(250).starts)


def test_parts_far_shorter_than_the_gaps_are_no_more_than_the_rows():
    times = irregular(300)
    assert part_starts(times, 250, 1e-15).tolist() == list(range(300))
    assert part_starts(torch.zeros(3), 250, 1e-15).tolist() == [0]
    assert part_starts(torch.zeros(0), 250, 1e-15).tolist() == [0]


def test_blocks_answer_every_query_once_with_rows_on_both_sides():
    contexts = one_series(irregular(3000), n_channels=3, share=0.02)
    asked = torch.linspace(-100, 3200, 5000, dtype=torch.float64)
    queries = Queries(asked, torch.tensor([0, 5000]))
    blocks = list(blocks_of(contexts, queries, 0, most=300))
    answered = torch.cat([torch.arange(block.first, block.last) for block in blocks])
    assert torch.equal(answered, torch.arange(5000))
    for block in blocks:
        assert block.last - block.first <= 300
        ranks = torch.searchsorted(contexts.times, asked[block.first : block.last])
        low, high = int(ranks[0]), int(ranks[-1])
        around = torch.arange(max(0, low - MARGIN), min(3000, high + MARGIN))
        assert torch.isin(around, block.rows).all()
        assert torch.equal(block.rows, block.rows.unique())
        for seen in contexts.mask.unbind(1):
            rows = torch.nonzero(seen).flatten()
            before, after = rows[rows < low][-16:], rows[rows >= high][:16]
            assert torch.isin(torch.cat([before, after]), block.rows).all()
    assert len(whole_block(contexts, queries, 0).rows) == 3000
