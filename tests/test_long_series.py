"""What a model answers of a long series: its spans' trajectories joined, and one residual process."""

from copy import deepcopy
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

from latentode import LatentODE, LatentODEModel, inference
from latentode.inference import predictions, sample
from latentode.inference.joined import Joined, SpanPosteriors
from latentode.inference.pieces import Queries
from latentode.sampling import normal_draws
from latentode.spans import spans_of
from tests.made import irregular, one_series


def frame_of(n=700, seed=0, channels=("x", "y")):
    random = np.random.default_rng(seed)
    hours = np.sort(random.uniform(0, n / 10, n))
    walk = np.cumsum(random.normal(0, 0.3, (n, len(channels))), axis=0)
    frame = pd.DataFrame(walk + random.normal(0, 0.1, walk.shape), columns=list(channels))
    frame = frame.mask(random.random(frame.shape) < 0.3)
    return frame.assign(hours=hours)


SMALL = {
    "dtype": "float64",
    "max_iter": 4,
    "batch_size": 4,
    "latent_dim": 3,
    "encoder_units": 8,
    "n_samples": 8,
    "random_state": 0,
}


@pytest.fixture(scope="module", params=["ou", "matern32", None])
def long_fit(request):
    frame = frame_of()
    return LatentODE(time_col="hours", residual=request.param, **SMALL).fit(frame), frame


def without_trajectory(model):
    with torch.no_grad():
        for part in (
            model.module_.likelihood.decoder.weights[-1],
            model.module_.likelihood.decoder.biases[-1],
            model.module_.likelihood.decoder.shortcut,
        ):
            part.zero_()
    return model


# Predictions --------------------------------------------------------------------------


def jumps(model, frame, answer):
    """Largest difference between both sides of any observation, each channel's by its spread."""
    moment, observed = 1e-9, np.sort(frame["hours"][frame[["x", "y"]].notna().any(axis=1)])
    before, after = (
        answer(model, frame, observed + shift).filter(regex="^[xy]").to_numpy() for shift in (-moment, moment)
    )
    return np.abs(after - before).max()


def test_nothing_jumps(long_fit):
    """A moment before and after each observation, among which are all the times where spans and blocks meet."""
    model, frame = long_fit
    found = jumps(model, frame, lambda model, frame, times: model.predict(frame, times=times, level=90))
    # Slopes are some units an hour; what is MARGIN rows away and differs between blocks matters no more than that.
    assert found < 1e-6


def with_an_outage(gap, n=600):
    """Hours of a swing, the second half of them later by the gap."""
    hours = np.arange(n) / 10
    late = np.where(np.arange(n) < n // 2, 0.0, gap)
    return pd.DataFrame({"hours": hours + late, "x": np.sin(hours), "y": np.cos(hours)})


def test_an_outage_changes_nothing_of_what_is_before_and_after():
    frame = with_an_outage(1e3)
    model = LatentODE(time_col="hours", residual=None, **SMALL | {"max_iter": 20}).fit(frame)
    steady = LatentODE(time_col="hours", residual=None, **SMALL | {"max_iter": 1}).fit(with_an_outage(0.0))
    # Parts of 150 rows in place of 200.
    assert model.scaling_.time_unit == pytest.approx(0.75 * steady.scaling_.time_unit, rel=0.01)
    found = model.predict(frame, level=90)
    farther = model.predict(with_an_outage(1e4), level=90)
    # Times of 1e4 hours are 7e2 in model time, of which a float64 keeps 13 digits.
    np.testing.assert_allclose(farther.drop(columns="hours"), found.drop(columns="hours"), atol=1e-8)
    for answer in (model.predict, model.latent, lambda frame, times: model.sample(frame, times, n_samples=2)):
        within = answer(with_an_outage(1e7), times=np.linspace(29.0, 1e7 + 31.0, 2001))
        assert np.isfinite(within).all(axis=None)
    ends = model.predict(frame, times=np.linspace(29.9, 30.0 + 1e3, 100_001))
    steps = ends[["x", "y"]].diff().abs().max()
    assert (steps < 0.01).all()  # of a hundredth of an hour


@pytest.mark.parametrize("residual", ["ou", None])
def test_times_are_as_precise_late_in_a_long_series_as_early(residual):
    """In single precision, whose clock would tell 8 hours apart at 1e8."""
    settings = SMALL | {"dtype": "float32", "max_iter": 20}
    model = LatentODE(time_col="hours", residual=residual, **settings).fit(with_an_outage(1e3))
    soon, late = with_an_outage(1e3), with_an_outage(1e8)
    for answer in (
        lambda frame: model.predict(frame.iloc[::2], times=frame["hours"].iloc[1:-1:2], level=90),
        lambda frame: model.sample(frame.iloc[::2], times=frame["hours"].iloc[1:-1:2], n_samples=2),
        lambda frame: model.latent(frame.iloc[::2], times=frame["hours"].iloc[1:-1:2]),
        lambda frame: model.score_samples(frame),
    ):
        one, other = (answer(frame).drop(columns="hours", errors="ignore") for frame in (soon, late))
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-3)


def test_without_trajectory_the_answer_is_the_residuals_own(long_fit):
    """Against the conditional over all rows at once: blocks forget what is farther than MARGIN rows."""
    model, frame = long_fit
    if model.module_.residual is None:
        pytest.skip("there is none")
    fresh = without_trajectory(deepcopy(model))
    table = fresh._read(frame)
    contexts = fresh.fitted_.collection(table)
    queries = Queries(torch.linspace(-0.1, float(contexts.times[-1]) + 0.3, 900), torch.tensor([0, 900]))
    queries = Queries(queries.times.double(), queries.starts)
    found = inference.predict(fresh.module_, contexts, queries, n_samples=4)
    noise = fresh.module_.likelihood.noise_variance
    with torch.no_grad():
        mean, variance = fresh.module_.residual.condition(
            contexts.times[None], contexts.values[None, None], contexts.mask[None], noise, queries.times[None]
        )
    torch.testing.assert_close(found.residual, found.mean, rtol=0, atol=1e-14)
    torch.testing.assert_close(found.mean, mean[0, 0], rtol=0, atol=1e-6)
    draws = normal_draws(4, fresh.module_.encoder.latent_dim, seed=0)
    for answer in predictions.answers_of(fresh.module_, contexts, queries, draws, reach=None, device="cpu"):
        kept = answer.rows[answer.inside]
        torch.testing.assert_close(
            answer.predictive.latent_variance[answer.inside], variance[0, kept], rtol=1e-5, atol=1e-9
        )


def test_paths_are_joint_over_a_join(long_fit):
    """Without trajectory their covariance is the residual's, also between queries on both sides of a join."""
    model, frame = long_fit
    if model.module_.residual is None:
        pytest.skip("there is none")
    fresh = without_trajectory(deepcopy(model))
    contexts = fresh.fitted_.collection(fresh._read(frame))
    spans = spans_of(contexts)
    join = float(spans.rise[2, 1])  # where one span ends and another begins to count
    asked = join + torch.tensor([-0.02, -0.004, -0.001, 0.001, 0.004, 0.02], dtype=torch.float64)
    queries = Queries(asked, torch.tensor([0, 6]))
    n_samples = 2000
    paths = sample(
        fresh.module_, contexts, queries, ["a"], n_samples=n_samples, observation_noise=False, seed=0
    )
    process, noise = fresh.module_.residual, fresh.module_.likelihood.noise_variance
    n = len(contexts.times)
    # Cov(r_i, r_j) / Var r_i is what an exact value at query i, seen beside all rows, moves r_j by.
    times, order = torch.cat([contexts.times.expand(6, n), asked[:, None]], 1).sort(dim=1, stable=True)
    values = torch.cat([contexts.values, torch.ones(1, 2, dtype=torch.float64)])[order]
    of_rows = torch.cat([noise.expand(n, 2), torch.full((1, 2), 1e-12)])[order]
    mask = torch.cat([contexts.mask, torch.ones(1, 2, dtype=torch.bool)])[order]
    with torch.no_grad():
        mean, marginal = process.condition(
            contexts.times[None], contexts.values[None, None], contexts.mask[None], noise, asked[None]
        )
        pinned, _ = process.condition(times, values[None], mask, of_rows, asked.expand(6, 6))
    moved = (pinned[0] - mean[0, 0]) / (1 - mean[0, 0].unsqueeze(1))
    covariance = marginal[0].unsqueeze(1) * moved
    drawn = paths - mean[0, 0]
    sampled = torch.einsum("sid,sjd->ijd", drawn, drawn) / n_samples
    spread = (marginal[0].unsqueeze(1) * marginal[0] + covariance**2).sqrt()
    # Five standard errors of a sampled covariance.
    assert ((sampled - covariance).abs() < 5 * spread / n_samples**0.5).all()
    correlation = covariance[2, 3] / (marginal[0, 2] * marginal[0, 3]).sqrt()
    assert (correlation > 0.5).all()  # across the join, two thousandths of an hour apart


def test_paths_do_not_jump_and_scatter_around_the_prediction(long_fit):
    model, frame = long_fit
    grid = np.linspace(frame["hours"].min(), frame["hours"].max() + 2, 400)
    paths = model.sample(frame, times=grid, n_samples=200)
    mean = paths.groupby("hours")[["x", "y"]].mean()
    spread = paths.groupby("hours")[["x", "y"]].std()
    expected = model.predict(frame, times=grid).set_index("hours")[["x", "y"]]
    # Of 800 means of 200 samples each, five standard errors; the quadrature of `predict` errs by as much again.
    assert ((mean - expected).abs() < 5 * spread / 200**0.5 + 0.1 * spread + 1e-6).to_numpy().all()


@pytest.mark.parametrize("named", [True, False])
def test_spans_that_meet_share_no_draws(long_fit, named):
    model, _ = long_fit
    module, n_samples = model.module_, 1024
    contexts = one_series(irregular(700), n_channels=2)
    spans = spans_of(contexts)
    posteriors = SpanPosteriors.read(module, contexts, spans, "cpu")
    joined = Joined(module, contexts, Queries(contexts.times, contexts.starts), spans, posteriors, "cpu")
    if named:
        states = joined.named(0, "a", n_samples, 0)
    else:
        states = joined.shuffled(normal_draws(n_samples, module.encoder.latent_dim, seed=0))
    z0 = states(torch.arange(len(spans.first))).detach()
    standard = (z0 - posteriors.mean) / posteriors.std
    for one, other in zip(standard.unbind(1), standard.unbind(1)[1:], strict=False):
        # Five standard errors of a correlation of independent draws.
        assert (one.T @ other / n_samples).abs().max() < 5 / n_samples**0.5


def test_paths_without_residual_do_not_jump(long_fit):
    """With one they wander, between any two times."""
    model, frame = long_fit
    if model.module_.residual is not None:
        pytest.skip("it has one")
    observed = np.sort(frame["hours"])
    paths = model.sample(frame, times=np.concatenate([observed - 1e-9, observed + 1e-9]), n_samples=3)
    values = paths.set_index(["sample", "hours"])[["x", "y"]].sort_index()
    gaps, steps = (
        values.reset_index().groupby("sample")["hours"].diff(),
        values.groupby("sample").diff().abs(),
    )
    assert steps[(gaps < 1e-8).to_numpy()].to_numpy().max() < 1e-6


@pytest.mark.parametrize("law", ["student_t", "gaussian"])
def test_predicted_scales_and_heavy_tails_are_joined_too(law):
    frame = frame_of(300)
    settings = {"likelihood": law, "noise_scale": "predicted", "residual": "ou"}
    model = LatentODE(time_col="hours", **SMALL | settings).fit(frame)
    found = jumps(model, frame, lambda model, frame, times: model.predict(frame, times=times, level=90))
    assert found < 1e-6
    drawn = model.sample(frame, n_samples=2, observation_noise=True)
    assert np.isfinite(drawn[["x", "y"]]).to_numpy().all()


def test_companions_and_cuts_change_nothing(monkeypatch):
    frames = {name: frame_of(n, seed) for seed, (name, n) in enumerate({"a": 400, "b": 20, "c": 300}.items())}
    together = pd.concat([frame.assign(id=name) for name, frame in frames.items()], ignore_index=True)
    fit = LatentODE("id", "hours", residual="ou", **SMALL).fit(together)
    whole = fit.predict(together, level=80)
    drawn = fit.sample(together, n_samples=2, random_state=3)
    for name in frames:
        alone = together[together["id"] == name]
        pd.testing.assert_frame_equal(
            fit.predict(alone, level=80), whole.loc[alone.index], rtol=1e-7, atol=1e-8
        )
        own = drawn[drawn["id"] == name].reset_index(drop=True)
        pd.testing.assert_frame_equal(
            fit.sample(alone, n_samples=2, random_state=3), own, rtol=1e-7, atol=1e-8
        )
    for constant, number in (("CHUNK_NUMBERS", 5000), ("MAX_QUERIES", 100)):
        monkeypatch.setattr(f"latentode.inference.pieces.{constant}", number)
        pd.testing.assert_frame_equal(fit.predict(together, level=80), whole, rtol=1e-6, atol=1e-7)


def test_a_saved_model_answers_with_the_same_bits(long_fit, tmp_path):
    model, frame = long_fit
    model.save(tmp_path / "m.latentode")
    again = LatentODE.load(tmp_path / "m.latentode")
    times = np.linspace(0, frame["hours"].max() + 5, 200)
    pd.testing.assert_frame_equal(
        again.predict(frame, times=times, level=90),
        model.predict(frame, times=times, level=90),
        check_exact=True,
    )
    pd.testing.assert_frame_equal(
        again.sample(frame, times=times, n_samples=2),
        model.sample(frame, times=times, n_samples=2),
        check_exact=True,
    )


def test_other_queries_change_nothing_though_the_residual_remembers_long(long_fit):
    model, frame = long_fit
    if model.module_.residual is None:
        pytest.skip("there is none")
    slow = deepcopy(model)
    with torch.no_grad():
        slow.module_.residual.log_length.fill_(4.0)
    times = np.linspace(-5, frame["hours"].max() + 5, 301)
    together = slow.predict(frame, times=times, level=90).iloc[::60].reset_index(drop=True)
    alone = pd.concat(
        [slow.predict(frame, times=[time], level=90) for time in times[::60]], ignore_index=True
    )
    # Rounding alone: what rows a block holds does not depend on what is asked.
    pd.testing.assert_frame_equal(alone, together, rtol=1e-9)


def test_surprise_of_a_long_series_is_that_of_the_rest_of_it():
    """Without trajectory the density of a value is the residual's, given every other fold of the whole series."""
    frame = frame_of(600, channels=("x",))
    model = LatentODE(time_col="hours", residual="ou", max_iter=20, random_state=0, dtype="float64").fit(
        frame
    )
    without_trajectory(model)
    found = model.score_samples(frame)["x"].to_numpy()
    contexts = model.fitted_.collection(model._read(frame))
    row = 300
    keep = torch.arange(len(contexts.times)) % 5 != row % 5
    noise = model.module_.likelihood.noise_variance
    with torch.no_grad():
        mean, variance = model.module_.residual.condition(
            contexts.times[None],
            contexts.values[None, None],
            (contexts.mask & keep[:, None])[None],
            noise,
            contexts.times[None, [row]],
        )
        law = torch.distributions.Normal(mean[0, 0, 0, 0], (variance[0, 0, 0] + noise[0]).sqrt())
        expected = float(law.log_prob(contexts.values[row, 0])) - np.log(model.scaling_.spread[0])
    seen = np.flatnonzero(frame["x"].notna())
    assert found[seen[row]] == pytest.approx(expected, rel=1e-9)
    assert np.isnan(found[frame["x"].isna()]).all()


def test_what_is_computed_at_once_does_not_grow_with_the_series(long_fit, monkeypatch):
    model, _ = long_fit
    for module in ("pieces", "joined"):
        monkeypatch.setattr(f"latentode.inference.{module}.CHUNK_NUMBERS", 20_000)
    sizes, solve = [], LatentODEModel.solve

    def spy(self, z0, times):
        sizes.append(times.numel())
        return solve(self, z0, times)

    monkeypatch.setattr(LatentODEModel, "solve", spy)
    largest = []
    for n in (1000, 4000):
        sizes.clear()
        contexts = one_series(irregular(n) / 256, n_channels=2)
        inference.predict(model.module_, contexts, Queries(contexts.times, contexts.starts), n_samples=4)
        largest.append(max(sizes))
    assert largest[1] <= 1.1 * largest[0]


# The time that one z0 answers for --------------------------------------------------------


def test_a_span_by_time_governs_training_and_answers(tmp_path):
    start = pd.Timestamp("2024-01-01", tz="UTC")
    frame = frame_of(120)
    frame["hours"] = start + pd.to_timedelta(frame["hours"], "h")
    model = LatentODE(
        time_col="hours", span=pd.Timedelta("4h"), residual="ou", max_iter=5, random_state=0
    ).fit(frame)
    unit = model.scaling_.time_unit
    assert model.fitted_.reach * unit == pytest.approx(4 * 3600)
    assert 2 < model.fitted_.span * unit / 3600 <= 4  # of the longest part in training
    contexts = model.fitted_.collection(model._read(frame))
    spans = spans_of(contexts, model.fitted_.reach)
    lasted = (contexts.times[spans.last - 1] - contexts.times[spans.first]) * unit / 3600
    assert lasted.max() <= 4
    assert len(spans.first) == 6  # halves of two hours in twelve hours
    model.save(tmp_path / "m.latentode")
    again = LatentODE.load(tmp_path / "m.latentode")
    pd.testing.assert_frame_equal(
        again.predict(frame, level=90), model.predict(frame, level=90), check_exact=True
    )
    # The parameter as a file has it, text, means the same.
    pd.testing.assert_frame_equal(
        LatentODE(**again.get_params()).fit(frame).predict(frame), model.predict(frame), check_exact=True
    )


@pytest.mark.parametrize(
    "span", [pd.Timedelta("4h"), np.timedelta64(4, "h"), timedelta(hours=4), pd.offsets.Hour(4), "4h"]
)
def test_a_span_of_every_kind_is_cloned_saved_and_read(span, tmp_path):
    frame = frame_of(120)
    frame["hours"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(frame["hours"], "h")
    settings = {"residual": "ou", "max_iter": 1, "random_state": 0}
    model = clone(LatentODE(time_col="hours", **settings).set_params(span=span)).fit(frame)
    model.save(tmp_path / "m.latentode")
    again = LatentODE.load(tmp_path / "m.latentode")
    assert again.fitted_.reach == model.fitted_.reach
    assert pd.Timedelta(again.span) == pd.Timedelta("4h")


def test_series_without_an_observation_are_answered_by_a_model_of_spans():
    frame = frame_of(120)
    model = LatentODE(time_col="hours", span=2.0, **SMALL, residual="ou").fit(frame)
    nothing = frame.assign(x=np.nan, y=np.nan).iloc[:5]
    for answer in (model.predict(nothing), model.sample(nothing, n_samples=2), model.latent(nothing)):
        assert np.isfinite(answer.to_numpy()).all()
    assert np.isfinite(model.encode(nothing).to_numpy()).all()


def test_series_no_longer_than_a_span_are_answered_as_without_one(fitted, frame):
    far = LatentODE(**fitted.get_params() | {"span": 1e6}).fit(frame)
    pd.testing.assert_frame_equal(
        far.predict(frame, level=90), fitted.predict(frame, level=90), check_exact=True
    )
    pd.testing.assert_frame_equal(
        far.sample(frame, n_samples=2), fitted.sample(frame, n_samples=2), check_exact=True
    )


def test_parts_of_a_long_series_are_joined_and_without_a_residual_all_is_trajectory(long_fit):
    model, frame = long_fit
    found = model.predict(frame, parts=True)
    np.testing.assert_allclose(found["x-trajectory"] + found["x-residual"], found["x"], rtol=1e-12)
    if model.module_.residual is None:
        assert not found["x-residual"].any()
        return
    gone = without_trajectory(deepcopy(model)).predict(frame, parts=True)
    np.testing.assert_allclose(gone["x-trajectory"], model.scaling_.center[0], rtol=1e-12)


@pytest.mark.filterwarnings("ignore:.*no values")
def test_what_was_never_seen_of_a_long_series_widens_without_a_jump():
    frame = frame_of(900)
    model = LatentODE(time_col="hours", **SMALL, residual="iou", calibrate=False).fit(frame)
    unseen = frame.assign(y=np.nan)
    band = model.predict(unseen, level=90)
    width = (band["y-hi-90"] - band["y-lo-90"]).to_numpy()
    steps = np.abs(np.diff(width))
    assert steps.max() < 0.02 * width.max()
    last = [float(frame["hours"].iloc[-1])]
    alone, beside = (
        model.sample(unseen, times=times, n_samples=400).groupby("hours")["y"].std().iloc[-1]
        for times in (last, [0.0, *last])
    )
    # Standard deviations of 400 draws, each known to 3.5 %.
    assert abs(alone / beside - 1) < 0.2
