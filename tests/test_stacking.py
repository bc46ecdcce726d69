"""Answers moved towards a regression: as far as withheld series say, and nowhere where values are observed."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from latentode import LatentODE, SeriesBatch
from latentode.baselines import Contexts, Ridge
from latentode.calibration import HiddenScores
from latentode.inference import pieces
from latentode.stacking import Member, Stack, Weights
from latentode.stacking.asked import Asked
from latentode.stacking.learn import N_FOLDS
from latentode.stacking.stack import KINDS, Kinds
from latentode.stacking.weights import MOST
from tests.made import ragged

SETTINGS = {"max_iter": 30, "random_state": 0}
ECHO_NOISE = 0.2


def echoes(n_series, n_rows=16, seed=0):
    """A channel that half forgets from day to day, and one that says a day later what it was."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(n_series, n_rows + 1))
    for row in range(1, n_rows + 1):
        values[:, row] = 0.5 * values[:, row - 1] + 0.75**0.5 * values[:, row]
    echo = values[:, :-1] + random.normal(0, ECHO_NOISE, (n_series, n_rows))
    number, time = np.divmod(np.arange(n_series * n_rows), n_rows)
    return pd.DataFrame(
        {"series": number, "day": time.astype(float), "x": values[:, 1:].ravel(), "echo": echo.ravel()}
    )


@pytest.fixture(scope="module")
def stacked():
    return LatentODE("series", "day", **SETTINGS).fit(echoes(120))


def without_stack(model):
    """The same model, its answers left to the latent ODE."""
    bare = LatentODE(**model.get_params())
    bare.__dict__.update(model.__dict__)
    bare.fitted_ = replace(model.fitted_, stack=None)
    return bare


# ------------------------------------------------------------------ where answers are moved


def test_kinds_of_questions_by_hand():
    # Channel 0 at 0, 1, 3; channel 1 at 1 only; channel 2 never.
    values = np.array([[1.0, np.nan, np.nan], [2.0, 5.0, np.nan], [3.0, np.nan, np.nan]])
    contexts = Contexts.of([(np.array([0.0, 1.0, 3.0]), values)])
    times = np.array([-1.0, 0.5, 1.0, 2.5, 3.0, 4.0])
    kinds = Kinds.of(contexts, np.zeros(6, dtype=int), times)
    assert kinds.between.T.tolist() == [
        [False, True, False, True, False, False],
        [False] * 6,
        [False] * 6,
    ]
    # Behind the last row only, though channel 1 was seen last at 1.
    assert kinds.ahead.T.tolist() == [[False] * 5 + [True]] * 3
    assert kinds.lead[[1, 3, 5], 0].tolist() == [0.5, 0.5, 1.0]
    assert kinds.lead[5].tolist() == [1.0, 1.0, 1.0]


def batch_of(times, values):
    times, values = torch.tensor([times], dtype=torch.float64), torch.tensor([values], dtype=torch.float64)
    return SeriesBatch(times, values, torch.ones(values.shape, dtype=torch.bool))


def test_nothing_jumps_and_nothing_moves_far_beyond_what_was_tried(stacked):
    stack = stacked.fitted_.stack
    context = batch_of([0.0, 0.1, 0.3], [[1.0, 2.0], [-1.0, 0.0], [2.5, -1.0]])
    last, longest = 0.3, float(stack.ahead.weights.knots[-1])
    asked = [0.0, 0.1, last, last + 1e-6, last + longest / 20, last + longest, last + 10 * longest]
    moved = stack.shift(context, torch.tensor([asked], dtype=torch.float64), torch.full((1, 7, 2), 3.0))[
        0, :, 1
    ]
    assert moved[[0, 1, 2, 5, 6]].tolist() == [0, 0, 0, 0, 0]
    assert 0 < abs(float(moved[3])) < 1e-3
    assert abs(float(moved[4])) > 0.1


def test_a_series_that_shows_nothing_is_not_moved(stacked):
    context = batch_of([0.0], [[1.0, 1.0]])
    nothing = context.restrict(torch.zeros(1, 1, dtype=torch.bool))
    shift = stacked.fitted_.stack.shift(nothing, torch.ones(1, 2), torch.ones(1, 2, 2))
    assert not shift.any()


# ------------------------------------------------------------------ what it is worth, and where it counts


def test_an_echo_is_foretold_better(stacked):
    asked = echoes(80, seed=1)
    known, truth = asked[asked["day"] < 10], asked[asked["day"] == 10]
    errors = [
        np.square(
            model.predict(known, truth[["series", "day"]])["echo"].to_numpy() - truth["echo"].to_numpy()
        ).mean()
        for model in (stacked, without_stack(stacked))
    ]
    # A model of thirty steps has only the echo before it, which tells a quarter of its variance of 1.
    assert errors[1] > 0.6
    # Half way there a quarter of its square is left.
    assert errors[0] < 0.4 * errors[1]
    assert stacked.stacking_.loc["echo", "ahead"] > 0.25


def test_mean_samples_and_density_are_moved_alike(stacked):
    asked = echoes(6, seed=2)
    known, at = asked[asked["day"] < 10], asked.loc[asked["day"] == 10, ["series", "day"]]
    bare = without_stack(stacked)
    mean, alone = (model.predict(known, at)["echo"].to_numpy() for model in (stacked, bare))
    assert np.abs(mean - alone).max() > 0.3
    drawn, drawn_alone = (
        model.sample(known, at, n_samples=600)["echo"].to_numpy().reshape(6, 600) for model in (stacked, bare)
    )
    np.testing.assert_allclose(drawn - drawn_alone, (mean - alone)[:, None].repeat(600, 1), atol=1e-5)
    parts = stacked.predict(known, at, parts=True, level=90)
    np.testing.assert_allclose(parts["echo-trajectory"] + parts["echo-residual"], alone, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(parts["echo-regression"], mean - alone, atol=1e-6)
    middle = (parts["echo-lo-90"] + parts["echo-hi-90"]) / 2
    np.testing.assert_allclose(middle, mean, atol=0.1)
    # The last row of four is hidden, an echo of the third.
    ahead = echoes(60, n_rows=4, seed=3)
    assert stacked.score(ahead) > bare.score(ahead) + 0.1


def test_companions_and_chunks_change_nothing(stacked, monkeypatch):
    monkeypatch.setattr(pieces, "CHUNK_NUMBERS", 20_000)  # a few series
    asked = echoes(40, seed=3)
    together = stacked.forecast(asked, 4.0, 4)
    alone = stacked.forecast(asked[asked["series"] == 7], 4.0, 4)
    np.testing.assert_allclose(together.loc[together["series"] == 7, "echo"], alone["echo"], rtol=1e-6)


def test_a_saved_stack_answers_the_same_bits(stacked, tmp_path):
    stacked.save(tmp_path / "m.latentode")
    read = LatentODE.load(tmp_path / "m.latentode")
    asked = echoes(5, seed=4)
    pd.testing.assert_frame_equal(
        read.forecast(asked, 3.0, 3, level=90), stacked.forecast(asked, 3.0, 3, level=90)
    )
    pd.testing.assert_frame_equal(read.stacking_, stacked.stacking_)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("ahead.weights_values", lambda t: t + 1, "weights of a regression make no sense"),
        ("ahead.weights_knots", lambda t: t.flip(0), "weights of a regression make no sense"),
        ("ahead.knots", lambda t: t.flip(0), "knots do not increase"),
        ("ahead.coefficients", lambda t: t[:, :-1], "coefficients have shape"),
        ("ahead.coefficients", lambda t: t * torch.nan, "coefficients make no sense"),
        ("ahead.scale", lambda t: -t, "scale make no sense"),
        ("ahead.seen", lambda t: t + 9, "sees channels that there are not"),
    ],
)
def test_a_forged_stack_is_refused(stacked, name, value, complaint):
    tensors = stacked.fitted_.stack.pack()
    with pytest.raises(ValueError, match=complaint):
        Stack.unpack(tensors | {name: value(tensors[name])}, 2, 0)
    with pytest.raises(KeyError):
        Stack.unpack({key: one for key, one in tensors.items() if key != name}, 2, 0)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("ahead.centres", lambda t: t[:-1], "others_coefficients have shape"),
        ("ahead.centres", lambda t: t[:, :-1], "centres have shape"),
        ("ahead.centres", lambda t: t * torch.inf, "centres make no sense"),
        ("ahead.seen", lambda t: t[:0], "sees no channels"),
    ],
)
def test_forged_centres_are_refused(stacked, name, value, complaint):
    tensors = stacked.fitted_.stack.pack()
    assert len(tensors["ahead.centres"]) > 0
    with pytest.raises(ValueError, match=complaint):
        Stack.unpack(tensors | {name: value(tensors[name])}, 2, 0)


def test_many_queries_are_moved_in_pieces(stacked, monkeypatch):
    asked = echoes(2, seed=3)
    times = np.linspace(0, 20, 300)
    whole = stacked.sample(asked, times, n_samples=2)
    monkeypatch.setattr(pieces, "CHUNK_NUMBERS", 20_000)
    pd.testing.assert_frame_equal(stacked.sample(asked, times, n_samples=2), whole, rtol=1e-5, atol=1e-6)


def test_two_times_that_single_precision_can_not_tell_apart_are_answered(stacked):
    context = batch_of(
        [0.1, 0.7, 0.9, 0.9 + 1e-9, 1.0], [[1.0, 0.0], [2.0, 1.0], [0.0, 2.0], [1.0, 1.0], [0.0, 0.0]]
    )
    context = SeriesBatch(context.times.float(), context.values.float(), context.mask)
    asked = torch.tensor([[0.5, 0.8, 0.95, 1.5]])
    assert stacked.fitted_.stack.shift(context, asked, torch.zeros(1, 4, 2)).isfinite().all()


def test_it_can_be_left_out(stacked):
    assert "ridge regression" in stacked.summary().facts["stacking"]
    model = LatentODE("series", "day", stacking=False, **SETTINGS).fit(echoes(40))
    assert model.fitted_.stack is None
    assert not hasattr(model, "stacking_")
    assert "stacking" not in model.summary().facts


def test_few_series_are_cross_fitted():
    frame = echoes(8)
    model = LatentODE("series", "day", **SETTINGS).fit(frame)
    assert model.fitted_.verdict.withheld == "rows"
    assert 0 < model.stacking_.loc["echo", "ahead"] < 1
    with pytest.warns(UserWarning, match="too little to learn from"):
        few = LatentODE("series", "day", **SETTINGS).fit(frame[frame["series"] < 3])
    assert few.fitted_.stack is None


def test_between_the_observations_of_few_series_answers_go_half_way():
    stack = LatentODE("series", "day", **SETTINGS).fit(echoes(9)).fitted_.stack
    weights = stack.between.weights
    assert len(weights.knots) == 4  # nothing is learned at more
    assert (weights.values[1:-1] == MOST).all()
    of_ten = LatentODE("series", "day", validation_fraction=0.0, **SETTINGS).fit(echoes(10)).fitted_.stack
    assert len(of_ten.between.weights.knots) > 4


def test_where_no_series_are_withheld_a_few_regressions_tell_of_all(monkeypatch):
    fits = []

    def counted(self, *arguments, **settings):
        fits.append(self)
        return fit(self, *arguments, **settings)

    fit = Ridge.fit
    monkeypatch.setattr(Ridge, "fit", counted)
    model = LatentODE("series", "day", validation_fraction=0.0, **SETTINGS).fit(echoes(60))
    assert model.stacking_.loc["echo", "ahead"] > 0.2
    assert len(fits) == len(KINDS) * (1 + N_FOLDS)


def test_an_interrupted_regression_leaves_answers_to_the_model(monkeypatch):
    def interrupted(*_arguments, **_settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(Ridge, "fit", interrupted)
    with pytest.warns(UserWarning, match="regressions beside the model was interrupted after training"):
        model = LatentODE("series", "day", **SETTINGS).fit(echoes(20))
    assert model.fitted_.stack is None
    assert model.predict(echoes(2)).notna().all(axis=None)


def test_long_series_are_answered_by_the_model_alone(stacked):
    long = echoes(1, n_rows=600, seed=5)
    at = pd.DataFrame({"series": 0, "day": [599.5, 602.0]})
    np.testing.assert_array_equal(stacked.predict(long, at), without_stack(stacked).predict(long, at))
    model = LatentODE("series", "day", **SETTINGS).fit(pd.concat([echoes(12), long.assign(series=99)]))
    assert model.fitted_.stack is None


# ------------------------------------------------------------------ what it is learned from


def test_what_a_model_said_finds_its_question():
    """Each hidden value of each mask, by looking it up."""
    collection = ragged(lengths=(5, 0, 9), n_channels=2)
    masks = [torch.arange(14) % 3 != number for number in (0, 1)]
    asked = Asked.of(collection, masks)
    shown = np.stack([mask.numpy() for mask in masks])
    context, row = np.nonzero(~shown)
    nothing = np.zeros(len(row))
    said = HiddenScores(
        score=nothing,
        lead=nothing,
        between=nothing > 0,
        channel=np.ones(len(row), dtype=int),
        row=row,
        mean=100.0 * context + row,
        trajectory=nothing,
        shift=nothing,
        context=context,
    )
    found = asked.answered(said)
    assert np.isnan(found[:, 0]).all()
    np.testing.assert_array_equal(found[:, 1], 100.0 * asked.mask + asked.row)
    np.testing.assert_allclose(asked.times, collection.times.numpy()[asked.row])
    for code, mask, series in zip(asked.codes, asked.mask, asked.series, strict=True):
        known = np.flatnonzero(shown[mask] & (collection.series_of_rows.numpy() == series))
        its = slice(*asked.contexts.starts[code : code + 2])
        np.testing.assert_allclose(asked.contexts.times[its], collection.times.numpy()[known])


# ------------------------------------------------------------------ the regression itself


def test_a_restored_regression_answers_the_same():
    random = np.random.default_rng(0)
    contexts = Contexts.of([(np.arange(6.0), random.normal(size=(6, 2))) for _ in range(40)])
    codes = np.arange(40)
    ridge = Ridge(forecasts=True).fit(
        contexts,
        codes,
        np.full(40, 6.0),
        random.normal(size=(40, 2)),
        series=codes,
        default=np.zeros(2),
        generator=random,
    )
    again = Ridge.restored(True, ridge.learned(), 2)
    asked = codes, np.full(40, 7.0), np.zeros(2)
    np.testing.assert_array_equal(again.predict(contexts, *asked), ridge.predict(contexts, *asked))


def test_short_leads_count_as_much_as_long_ones():
    # What comes soon is foretold to a hundredth of what comes late: an equal weight for each error would leave it
    # to chance.
    random = np.random.default_rng(0)
    now, trend = random.normal(size=(2, 3000))
    contexts = Contexts.of(
        [(np.array([0.0]), np.array([[one, two]])) for one, two in zip(now, trend, strict=True)]
    )
    codes = np.arange(3000).repeat(2)
    times = np.tile([0.01, 1.0], 3000)
    truth = now[codes] + trend[codes] * times + random.normal(size=6000) * times
    ridge = Ridge(forecasts=True).fit(
        contexts,
        codes,
        times,
        np.column_stack([truth, np.full(6000, np.nan)]),
        series=codes,
        default=np.zeros(2),
        generator=random,
    )
    soon = times < 0.5
    found = ridge.predict(contexts, codes[soon], times[soon], np.zeros(2))[:, 0]
    wanted = (now + 0.01 * trend)[codes[soon]]
    assert np.sqrt(np.mean((found - wanted) ** 2)) < 0.1 * 0.01


def test_a_member_moves_by_its_weight():
    random = np.random.default_rng(0)
    contexts = Contexts.of([(np.arange(4.0), random.normal(size=(4, 1))) for _ in range(30)])
    codes, times = np.arange(30), np.full(30, 4.0)
    ridge = Ridge(forecasts=True).fit(
        contexts,
        codes,
        times,
        random.normal(size=(30, 1)),
        series=codes,
        default=np.zeros(1),
        generator=random,
    )
    weights = Weights(np.array([0.0, 1.0, 2.0]), np.array([[0.0], [0.5], [0.0]]))
    mean = random.normal(size=(30, 1))
    moved = Member(ridge, weights).shift(contexts, codes, times, mean, np.full((30, 1), 1.0))
    np.testing.assert_allclose(mean + moved, (mean + ridge.predict(contexts, codes, times, np.zeros(1))) / 2)
