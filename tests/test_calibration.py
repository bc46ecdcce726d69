"""Adjusted bands hold what they say, on series that were shown neither to the model nor to the adjustment."""

import copy
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

from latentode import LatentODE, SeriesBatch, SeriesCollection, inference
from latentode.calibration import (
    FARTHEST,
    GRID,
    RIGHT_SERIES,
    SHRINKAGE,
    Calibration,
    Curves,
    HiddenScores,
    elapsed,
    fit_calibration,
)
from latentode.datasets import make_oscillator
from latentode.fitting.build import Architecture, NetworkSizes, build_model
from latentode.hiding import hiding_contexts
from latentode.inference import Queries
from latentode.solve import Solver

LEVELS = (0.5, 0.8, 0.9, 0.95)


def nominal(level):
    return float(torch.special.ndtri(torch.tensor((1 + level) / 2, dtype=torch.float64)))


def hidden(score, lead=1.0, between=False, channel=0):
    score = np.asarray(score, dtype=float)
    full = [np.broadcast_to(value, score.shape) for value in (lead, between, channel)]
    rows = np.arange(len(score))
    nothing = np.zeros(len(score))
    return HiddenScores(score, *full, rows, nothing, nothing, nothing, np.zeros_like(rows))


def ahead(calibration, level, lead=1.0):
    """Q at a level, for each lead: (n, D)."""
    leads = torch.as_tensor(lead, dtype=torch.float64).reshape(1, -1)
    return calibration.adjusted(nominal(level), leads, torch.zeros_like(leads, dtype=torch.bool))[0]


# ------------------------------------------------------------------ the adjustment


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_wrong_scale_is_mended_whatever_the_lead(factor):
    # The model's sd is too large by 1 / factor soon, and right twice as far out in log lead.
    random = np.random.default_rng(0)
    n = 20_000
    lead = random.uniform(0.1, 2, n)
    true = lambda lead: factor ** (1 - lead / 2)  # noqa: E731
    score = true(lead) * random.standard_normal(n)
    calibration = fit_calibration(hidden(score, lead), np.arange(n), 1)
    for level in LEVELS:
        before = torch.special.erf(nominal(level) / true(torch.linspace(0.2, 1, 9)) / 2**0.5)
        assert (before - level).abs().max() > 0.03
        leads = torch.linspace(0.2, 1.8, 17, dtype=torch.float64)
        found = ahead(calibration, level, leads)[:, 0] / true(leads)
        coverage = torch.special.erf(found / 2**0.5)
        # Exact for fresh normal scores; a knot's own error is that of an eighth of the scores, and the
        # curve between knots is linear to half a point.
        assert (coverage - level).abs().max() < 4 * (level * (1 - level) / (n / 8)) ** 0.5 + 0.005


@pytest.mark.parametrize("n", [24, 99])
def test_a_new_score_is_held_with_the_probability_said(n):
    # Split conformal prediction's theorem, of any distribution: here of heavy tails and a wrong scale.
    random = np.random.default_rng(1)
    n_trials = 200
    for level in LEVELS:
        held = []
        for _ in range(n_trials):
            calibration = fit_calibration(hidden(3 * random.standard_t(3, n)), np.arange(n), 1)
            bound = float(ahead(calibration, level))
            held.append(student_cdf(bound / 3))
        # P(|T| <= Q) varies like a beta distribution, of variance level (1 - level) / (n + 2).
        error = (level * (1 - level) / (n + 2) / n_trials) ** 0.5
        # Between two order statistics Q is linear, where the theorem asks for the upper one: convexity
        # of the tails takes half a point of the largest of few.
        assert abs(np.mean(held) - level) < 4 * error + 0.006, (n, level)


def student_cdf(x):
    """P(|T| <= x) of Student's t with three degrees of freedom, in closed form."""
    u = x / 3**0.5
    return 2 / np.pi * (u / (1 + u * u) + np.arctan(u))


def test_the_quantile_of_n_series_is_their_ceil_of_n_plus_1_p_th_smallest():
    # Values that repeat within a series say it once; so many of them leave no room to interpolate in.
    score = np.sort(np.abs(np.random.default_rng(2).standard_normal(60)))
    found = fit_calibration(hidden(score.repeat(200)), np.arange(60).repeat(200), 1).ahead.scores[0, 0]
    place = 61 * torch.special.erf(torch.from_numpy(GRID) / 2**0.5)
    exact = (place % 1 > 1 / 200) & (place <= 60)
    assert exact.sum() > 20
    rank = place[exact].ceil().long()
    torch.testing.assert_close(found[exact], torch.from_numpy(score)[rank - 1])


def test_values_of_one_series_that_differ_tell_more_than_one():
    many = np.random.default_rng(3).standard_normal(4200)
    free = fit_calibration(hidden(many), np.arange(60).repeat(70), 1)
    assert abs(float(ahead(free, 0.99)) - nominal(0.99)) < 0.2


def test_scores_that_are_right_already_are_left_almost_as_they_are():
    score = np.random.default_rng(4).standard_normal(50_000)
    calibration = fit_calibration(hidden(score), np.arange(50_000), 1)
    # At 2.5 the quantile of 50 000 scores has a standard error of 0.014.
    torch.testing.assert_close(
        calibration.ahead.scores[0, 0, :26], torch.from_numpy(GRID[:26]), rtol=0, atol=0.06
    )


def test_a_wider_level_has_a_wider_band_everywhere():
    random = np.random.default_rng(5)
    n = 300
    some = hidden(
        random.standard_cauchy(n),
        random.exponential(size=n),
        random.random(n) < 0.5,
        random.integers(0, 3, n),
    )
    calibration = fit_calibration(some, random.integers(0, 40, n), 4)
    leads = torch.linspace(0, 5, 23).view(1, -1)
    for between in (False, True):
        kind = torch.full(leads.shape, between)
        bounds = [calibration.adjusted(score, leads, kind) for score in np.linspace(0, 6, 97)]
        assert torch.equal(bounds[0], torch.zeros_like(bounds[0]))  # the median stays the median
        assert all(bool((wide >= narrow).all()) for narrow, wide in pairwise(bounds))
        torch.testing.assert_close(
            calibration.adjusted(-1.3, leads, kind), -calibration.adjusted(1.3, leads, kind)
        )


def test_a_channel_never_scored_goes_by_the_others_and_one_scored_well_by_itself():
    random = np.random.default_rng(6)
    series = np.arange(3000) % 600
    channel = np.arange(3000) // 1000 * 2  # channels 0, 2, 4; never 1 and 3
    scale = np.array([1.0, 0, 1.0, 0, 3.0])[channel]
    calibration = fit_calibration(hidden(scale * random.standard_normal(3000), channel=channel), series, 5)
    found = ahead(calibration, 0.8)[0]
    assert found[1] == found[3]
    assert found[0] < found[1] < found[4]
    weight = 1000 / (1000 + SHRINKAGE)
    assert abs(found[4] / (3 * nominal(0.8)) - 1) < 1 - weight**2 + 4 * 0.04  # sd of the quantile of 1000


def test_few_series_leave_right_bands_to_the_model():
    score = np.random.default_rng(7).standard_normal(400)
    for right in (score[:0], 0.3 * score, 0.9 * score):
        assert fit_calibration(hidden(right), np.arange(len(right)) % 19, 1) is None
    assert fit_calibration(hidden(score), np.arange(400) % 20, 1) is not None


@pytest.mark.parametrize("n_series", [1, 2, 5, 19])
def test_few_series_widen_bands_by_one_factor(n_series):
    score = 2 * np.random.default_rng(7).choice([-1.0, 1.0], 400)
    found = fit_calibration(hidden(score), np.arange(400) % n_series, 2)
    factor = math.sqrt((RIGHT_SERIES + 4 * n_series) / (RIGHT_SERIES + n_series))
    assert found.factor == pytest.approx(factor)
    for own in (0.3, 1.6, 5.0):
        for lead in (0.0, 0.1, 50.0):
            for between in (False, True):
                asked = torch.full((1, 1), lead)
                adjusted = found.adjusted(own, asked, torch.full((1, 1), between))
                assert adjusted.flatten().tolist() == pytest.approx([factor * own] * 2)


def test_few_series_have_one_factor_ahead_and_between():
    """Of two, bands show a step at the last observation."""
    is_between = np.arange(400) % 2 == 0
    found = fit_calibration(hidden(np.where(is_between, 1.0, 3.0), between=is_between), np.arange(400) % 4, 1)
    assert found.factor == pytest.approx(math.sqrt((RIGHT_SERIES + 4 * 5) / (RIGHT_SERIES + 4)))
    assert torch.equal(found.ahead.scores, found.between.scores)


def test_one_strange_series_of_few_widens_bands_by_so_much_at_most():
    score = np.where(np.arange(400) % 4, 1.0, 1e6)
    found = fit_calibration(hidden(score), np.arange(400) % 4, 1)
    factor = found.adjusted(1.0, torch.ones(1, 1), torch.zeros(1, 1, dtype=torch.bool)).item()
    assert factor == pytest.approx(math.sqrt((RIGHT_SERIES + 3 + FARTHEST**2) / (RIGHT_SERIES + 4)))


@pytest.mark.parametrize("wide", [0.4, 3.0])
def test_what_few_series_tell_of_is_never_narrowed(wide):
    score, is_between = np.random.default_rng(7).standard_normal(400), np.arange(400) < 100
    series = np.where(is_between, np.arange(400) % 5, np.arange(400))
    found = fit_calibration(hidden(np.where(is_between, 0.5, wide) * score, between=is_between), series, 1)
    assert found.factor is None
    for lead in (0.0, 0.1, 0.5, 9.0):
        far = torch.full((1, 1), lead)
        assert found.adjusted(1.5, far, far >= 0).item() == pytest.approx(1.5)
        assert found.adjusted(1.5, far, far < 0).item() == pytest.approx(1.5 * wide, rel=0.2)


def test_bands_have_no_step_at_the_last_observation():
    random = np.random.default_rng(8)
    score, between = random.standard_normal(4000), np.arange(4000) % 2 == 0
    some = hidden(score * np.where(between, 0.5, 2), random.uniform(0.1, 1, 4000), between)
    calibration = fit_calibration(some, np.arange(4000), 1)
    zero = torch.zeros(1, 1)
    before, after = (calibration.adjusted(1.6, zero, torch.full((1, 1), kind)) for kind in (True, False))
    assert torch.equal(before, after)


# ------------------------------------------------------------------ contexts and elapsed time


def test_elapsed_time_is_that_to_the_nearest_observed_row():
    times = torch.tensor([[0.0, 1.0, 2.0, 3.0], [5.0, 6.0, 7.0, 7.0], [1.0, 1.0, 1.0, 1.0]])
    mask = torch.tensor([[1, 0, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]]).bool().unsqueeze(-1)
    context = SeriesBatch(times, torch.zeros(3, 4, 1), mask)
    asked = torch.tensor([[-1.0, 0.5, 1.5, 3.5], [5.0, 6.4, 7.0, 9.0], [0.0, 1.0, 2.0, 3.0]])
    lead, between = elapsed(context, asked)
    inf = torch.inf
    torch.testing.assert_close(lead, torch.tensor([[1, 0.5, 0.5, 1.5], [0, 0.4, 0, 2], [inf, inf, inf, inf]]))
    assert between.tolist() == [[False, True, True, False], [True, True, True, False], [False] * 4]


def test_elapsed_time_of_a_series_is_no_matter_of_its_companions():
    lengths = torch.tensor([3, 25, 8, 1, 14])
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    random = torch.Generator().manual_seed(0)
    times = torch.cat([torch.rand(int(n), generator=random, dtype=torch.float64).sort()[0] for n in lengths])
    collection = SeriesCollection(
        times, times.unsqueeze(1), torch.ones(len(times), 1, dtype=torch.bool), starts
    )
    everyone = torch.arange(len(lengths))
    rows, inside = collection.rows(everyone)
    batch = collection.batch(everyone)
    for keep in hiding_contexts(collection, random):
        found = elapsed(batch.restrict(keep[rows]), batch.times)
        for number in everyone.tolist():
            one = collection.batch([number])
            own = keep[starts[number] : starts[number + 1]].unsqueeze(0)
            for together, alone in zip(found, elapsed(one.restrict(own), one.times), strict=True):
                assert torch.equal(together[number][inside[number]], alone[0])


def test_contexts_show_a_part_of_each_series_and_never_the_same_twice():
    lengths = [0, 1, 2, 5, 40]
    starts = torch.tensor([0, *lengths]).cumsum(0)
    n_rows = int(starts[-1])
    mask = torch.ones(n_rows, 1, dtype=torch.bool)
    mask[10:13] = False  # rows of nothing are queries, and count for nothing
    collection = SeriesCollection(torch.arange(n_rows).double(), torch.zeros(n_rows, 1), mask, starts)
    contexts = hiding_contexts(collection, torch.Generator().manual_seed(0))
    again = hiding_contexts(collection, torch.Generator().manual_seed(0))
    assert all(torch.equal(one, other) for one, other in zip(contexts, again, strict=True))
    cuts = torch.stack(contexts[:6])
    for series, (first, last) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)):
        own, seen = cuts[:, first:last], mask[first:last, 0]
        if lengths[series] == 1:
            assert own.all()
        shown = (own & seen).sum(1)
        assert (own.int().diff(dim=1) <= 0).all()  # what is shown comes first
        partial = shown[shown < seen.sum()]
        assert len(partial.unique()) == len(partial)
        assert len(partial) == min(6, max(0, int(seen.sum()) - 1)) or lengths[series] == 5
        assert (shown >= (1 if seen.any() else 0)).all()


def test_where_gaps_are_asked_about_more_is_hidden_at_random():
    n_series, n_rows = 40, 200
    starts = n_rows * torch.arange(n_series + 1)
    mask = torch.ones(n_series * n_rows, 1, dtype=torch.bool)
    times = torch.arange(n_rows).double().repeat(n_series)
    collection = SeriesCollection(times, mask.float(), mask, starts)
    for task, sparsest, n_cuts in (("both", 0.2, 6), ("extrapolate", 0.2, 6), ("interpolate", 0.05, 2)):
        contexts = torch.stack(hiding_contexts(collection, torch.Generator().manual_seed(0), task))
        shown = contexts.view(9, n_series, n_rows).float().mean(2)
        assert shown[n_cuts:].min() == pytest.approx(sparsest, abs=0.08)
        kept_in_front = (contexts.view(9, n_series, n_rows).int().diff(dim=2) <= 0).all(2).all(1)
        assert kept_in_front.tolist() == [True] * n_cuts + [False] * (9 - n_cuts)


# ------------------------------------------------------------------ models


def untrained(n_channels):
    architecture = Architecture.choose(
        n_channels, NetworkSizes(), origin="first", residual=("ou",) * n_channels, typical_gap=0.05
    )
    return build_model(architecture, Solver(), seed=0).eval()


def waves(n_series, seed):
    """Sines of random phase and frequency, 20 irregular rows each, the second channel seen half as often."""
    random = torch.Generator().manual_seed(seed)
    times = torch.rand(n_series, 20, generator=random).sort(1).values
    phase = 6 * torch.rand(n_series, 1, 2, generator=random)
    values = torch.sin((4 + phase) * times.unsqueeze(-1) + 3 * phase)
    mask = torch.rand(n_series, 20, 2, generator=random) < torch.tensor([1.0, 0.5])
    return SeriesCollection(
        times.flatten(), (values * mask).flatten(0, 1), mask.flatten(0, 1), torch.arange(n_series + 1) * 20
    )


def test_bands_of_a_model_that_knows_nothing_hold_what_they_say():
    model, known, fresh = untrained(2), waves(300, seed=0), waves(300, seed=1)
    found = inference.hidden_scores(model, known, hiding_contexts(known, torch.Generator().manual_seed(0)))
    calibration = fit_calibration(found, known.series_of_rows.numpy()[found.row], 2)
    keep = (torch.arange(len(fresh.times)) % 20 < 8) | (torch.arange(len(fresh.times)) % 20 == 14)
    queries = Queries(fresh.times, fresh.starts)
    tails = [0.5 - side * level / 2 for level in LEVELS for side in (1, -1)]
    held = {}
    for name, adjustment in (("before", None), ("after", calibration)):
        *_, bounds = inference.predict(
            model, fresh.restrict(keep), queries, n_samples=16, quantiles=tails, calibration=adjustment
        )
        inside = (bounds[::2] <= fresh.values) & (fresh.values <= bounds[1::2])
        held[name] = torch.stack(
            [inside[:, rows & ~keep][:, fresh.mask[rows & ~keep]].double().mean(1) for rows in kinds()]
        )
    off = {name: (share - torch.tensor(LEVELS)).abs() for name, share in held.items()}
    assert off["before"].amax(1).min() > 0.1
    # 300 series calibrate, 300 are counted; values of one series are as good as one.
    error = (torch.tensor(LEVELS) * (1 - torch.tensor(LEVELS)) * 2 / 300).sqrt()
    assert (off["after"] < 3 * error).all(), held["after"]


def kinds():
    """Rows between observations, and those after the last."""
    place = torch.arange(300 * 20) % 20
    return place < 14, place > 14


@pytest.fixture(scope="module")
def observed():
    return make_oscillator(n_series=60, seed=0)[0]


@pytest.fixture(scope="module")
def calibrated(observed):
    return LatentODE(
        "series", "time", residual="ou", validation_fraction=0.5, max_iter=10, random_state=0
    ).fit(observed)


@pytest.mark.filterwarnings("ignore:times are asked that lie up to")
def test_bands_are_adjusted_and_nothing_else_is(observed, calibrated):
    plain = LatentODE(**calibrated.get_params() | {"calibrate": False}).fit(observed)
    assert calibrated.fitted_.calibration is not None
    assert plain.fitted_.calibration is None
    asked = {"times": [0.0, 3.3, 30.0], "level": [50, 80, 95]}
    ours, theirs = calibrated.predict(observed, **asked), plain.predict(observed, **asked)
    assert not np.allclose(ours["position-hi-80"], theirs["position-hi-80"])
    pd.testing.assert_frame_equal(ours.filter(regex="^[^-]*$"), theirs.filter(regex="^[^-]*$"))
    medians = [model.predict(observed, [3.3], point="median") for model in (calibrated, plain)]
    pd.testing.assert_frame_equal(*medians)
    pd.testing.assert_frame_equal(calibrated.sample(observed, [3.3]), plain.sample(observed, [3.3]))
    assert calibrated.score(observed) == plain.score(observed)
    for name in ("position", "velocity"):
        for inner, outer in ((50, 80), (80, 95)):
            assert (ours[f"{name}-lo-{outer}"] <= ours[f"{name}-lo-{inner}"]).all()
            assert (ours[f"{name}-hi-{inner}"] <= ours[f"{name}-hi-{outer}"]).all()


@pytest.mark.filterwarnings("ignore:times are asked that lie up to")
def test_a_band_is_that_of_its_own_series_alone(observed, calibrated):
    alone = observed[observed.series == observed.series.iloc[0]]
    asked = {"times": [0.1, 3.3, 30.0], "level": 90}
    together = calibrated.predict(observed, **asked).iloc[:3]
    pd.testing.assert_frame_equal(calibrated.predict(alone, **asked), together, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:times are asked that lie up to")
def test_a_saved_model_draws_the_same_bands(observed, calibrated, tmp_path):
    calibrated.save(tmp_path / "m")
    loaded = LatentODE.load(tmp_path / "m")
    for kind in ("ahead", "between"):
        ours, theirs = (getattr(model.fitted_.calibration, kind) for model in (calibrated, loaded))
        assert torch.equal(ours.leads, theirs.leads)
        assert torch.equal(ours.scores, theirs.scores)
    asked = {"times": [0.1, 3.3, 30.0], "level": [50, 90]}
    pd.testing.assert_frame_equal(loaded.predict(observed, **asked), calibrated.predict(observed, **asked))


def test_bands_that_few_series_widened_are_read_back(fitted, frame, tmp_path):
    model = copy.copy(fitted)
    widened = Curves.widened(3, 1.7)
    model.fitted_ = replace(fitted.fitted_, calibration=Calibration(widened, widened))
    model.save(tmp_path / "m")
    loaded = LatentODE.load(tmp_path / "m")
    assert loaded.fitted_.calibration.factor == pytest.approx(1.7)
    pd.testing.assert_frame_equal(loaded.predict(frame, level=90), model.predict(frame, level=90))


def test_rows_withheld_of_few_series_widen_bands_that_miss_them():
    """A model of one step knows nothing, and of nothing withheld nothing is learned."""
    few, _ = make_oscillator(n_series=5, noise=0.01, seed=0)
    settings = {"id_col": "series", "time_col": "time", "residual": None, "stacking": False}
    settings |= {"max_iter": 1, "random_state": 0}
    assert LatentODE(**settings).fit(few).fitted_.calibration.factor > 1.2
    assert LatentODE(**settings, validation_fraction=0.0).fit(few).fitted_.calibration is None


def test_calibrate_is_yes_or_no(observed):
    with pytest.raises(
        ValueError, match="The 'calibrate' parameter of LatentODE must be an instance of 'bool'"
    ):
        LatentODE("series", "time", calibrate="split").fit(observed)
