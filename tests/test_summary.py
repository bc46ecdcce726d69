"""A fit's account of itself: figures that another way of counting finds too, sentences where they are due."""

import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from latentode import LatentODE
from latentode.baselines import Contexts, last_value
from latentode.datasets import make_oscillator
from latentode.fitting import fit as fitting
from latentode.fitting.holdout import withhold
from latentode.fitting.verdict import _without_residual
from latentode.inference import N_SCORE_SAMPLES
from latentode.series import SeriesCollection
from latentode.summary import summarize
from tests.conftest import make_frame
from tests.data import FOLDER as DATA
from tests.made import scores

SMALL = {"max_iter": 12, "random_state": 0, "residual": "ou", "field_units": (8,), "encoder_units": 8}


# What was withheld ------------------------------------------------------------


def test_errors_on_withheld_rows_are_those_of_predicting_them_from_the_others():
    """Asked of `predict` row by row, and of the last value by hand."""
    observed, _ = make_oscillator(n_series=4, seed=2)
    model = LatentODE("series", "time", **SMALL).fit(observed)
    table = model.summary().validation.table.set_index(["task", "channel", "predictor", "lead"])["rmse"]
    collection = model._read(observed).collection()
    holdout = withhold(collection, collection, task="both", fraction=0.15, generator=torch.Generator())
    hidden = holdout.rows.numpy()
    seen, asked = observed[~hidden], observed[hidden]
    asked_blank = asked.assign(position=np.nan, velocity=np.nan)
    found = model.predict(pd.concat([seen, asked_blank]), n_samples=N_SCORE_SAMPLES).iloc[len(seen) :]
    last = asked["series"].map(seen.groupby("series")["time"].max())
    ahead = (asked["time"] > last).to_numpy()
    assert 0 < ahead.sum() < len(ahead)
    contexts = Contexts.of([(one["time"], one[["position"]]) for _, one in seen.groupby("series")])
    carried = last_value(contexts, asked["series"].to_numpy(), asked["time"].to_numpy(), np.zeros(1)).ravel()
    for task, chosen in (("extrapolate", ahead), ("interpolate", ~ahead)):
        for predictor, answers in (("latent ODE", found["position"].to_numpy()), ("last value", carried)):
            error = answers[chosen] - asked["position"].to_numpy()[chosen]
            # The model answers in single precision.
            assert table[task, "position", predictor, "all"] == pytest.approx(
                np.sqrt(np.mean(error**2)), rel=1e-4
            )


def test_units_scale_the_figures_and_nothing_else(swings):
    """Of the values by a power of two, which is exact, and of time by one."""
    model = LatentODE("series", "time", **SMALL).fit(swings)
    scaled = swings.assign(position=swings["position"] * 1024, time=swings["time"] * 4)
    other = LatentODE("series", "time", **SMALL).fit(scaled)
    one, two = model.summary(), other.summary()
    unit = one.validation.table["channel"].map({"position": 1024.0, "velocity": 1.0})
    for name in ("rmse", "rmse-lo", "mae", "mae-hi"):
        np.testing.assert_allclose(two.validation.table[name], one.validation.table[name] * unit, rtol=1e-6)
    for name in ("skill", "skill-lo", "mae_skill", "n_values"):
        np.testing.assert_allclose(two.validation.table[name], one.validation.table[name], rtol=1e-6)
    np.testing.assert_allclose(two.validation.table["lead_mean"], one.validation.table["lead_mean"] * 4)
    pd.testing.assert_frame_equal(two.coverage, one.coverage)
    np.testing.assert_allclose(two.channels["length"], one.channels["length"] * 4, rtol=1e-6)
    for name in ("spread", "noise", "scale"):
        np.testing.assert_allclose(two.channels[name], one.channels[name] * [1024, 1], rtol=1e-6)
    np.testing.assert_allclose(two.channels["noise_share"], one.channels["noise_share"], rtol=1e-6)


def test_the_figures_are_of_the_task_alone(swings):
    for task in ("extrapolate", "interpolate"):
        report = LatentODE("series", "time", task=task, **SMALL).fit(swings).summary()
        assert list(report.validation.scopes) == [task]
        assert set(report.coverage["task"]) == {task}


def test_a_model_that_wins_nothing_is_told_outright():
    """Random walks: no answer beats the last value, an untrained latent ODE least of all."""
    random = np.random.default_rng(0)
    walks = pd.DataFrame(
        {
            "walk": np.arange(60).repeat(30),
            "step": np.tile(np.arange(30.0), 60),
            "x": random.normal(0, 1, (60, 30)).cumsum(1).ravel(),
        }
    )
    settings = SMALL | {"max_iter": 1, "residual": None}
    text = str(LatentODE("walk", "step", task="extrapolate", **settings).fit(walks).summary())
    assert "beats the last value in 0, " in text
    assert "Where it does not:\n  x, up to" in text
    assert "loses to the last value (RMSE" in text


def test_withheld_data_are_said_to_have_chosen_the_weights(swings):
    few = swings[swings["series"] < 4]
    by_rows = LatentODE("series", "time", **SMALL).fit(few).summary()
    assert by_rows.facts["withheld"].endswith("rows of these series: new series will do worse")
    assert by_rows.facts["best"].startswith("the last weights, for too little validation: ")
    longer, _ = make_oscillator(n_series=2, n_observed=400, seed=1)
    by_many = LatentODE("series", "time", **SMALL).fit(longer).summary()
    assert by_many.facts["withheld"].endswith(
        "rows of these series, which chose the weights too: new series will do worse"
    )
    assert by_many.facts["best"].startswith("step ")
    by_series = LatentODE("series", "time", **SMALL).fit(swings).summary()
    assert by_series.facts["withheld"].startswith("9 series. They chose the weights too")
    assert by_series.facts["fitted to"].startswith("51 series, ")
    unjudged = LatentODE("series", "time", validation_fraction=0, **SMALL).fit(few).summary()
    assert unjudged.facts["withheld"] == "nothing; how good the model is was not looked at"
    assert unjudged.validation is unjudged.coverage is None
    assert "Extrapolation" not in str(unjudged)
    assert unjudged.facts["best"] == "the last weights, for want of validation"


def test_values_far_out_count_for_no_one(swings):
    """They trained and validated nothing, and are not to be what the errors are of."""
    whole = LatentODE("series", "time", **SMALL).fit(swings)
    collection = whole._read(swings).collection()
    holdout = withhold(
        collection,
        collection,
        task="both",
        fraction=whole.validation_fraction,
        generator=torch.Generator().manual_seed(0),
    )
    held = collection.series_of_rows[holdout.rows].unique().numpy()
    rows = swings.index[swings["series"].isin(held[:4])][::30]
    spoilt = swings.assign(position=swings["position"].where(~swings.index.isin(rows), 1e6))
    assert (spoilt["position"] == 1e6).sum() == 4
    with pytest.warns(UserWarning, match="are left out of the fit"):
        report = LatentODE("series", "time", **SMALL).fit(spoilt).summary()
    ours = report.validation.table.query("predictor == 'training mean' and channel == 'position'")
    assert (ours["rmse"] < 100).all()


def test_where_all_that_is_withheld_lies_too_far_out_nothing_is_told():
    values = [0.0, 1e214, 0.0, 1e137, 0.0, 8e217, -7e24]
    frame = pd.DataFrame({"id": 0, "t": [0.64, 0.27, 0.04, 0.02, 0.81, 0.91, 0.61], "x": values})
    model = LatentODE("id", "t", max_iter=3, residual="ou", random_state=0)
    with pytest.warns(UserWarning, match="spreads from the middle|too little to learn from|no signal"):
        model.fit(frame)
    assert model.summary().validation is None
    assert "what was withheld" not in str(model.summary()).lower()


@pytest.mark.parametrize("kind", ["datetime", "timedelta", "centuries"])
def test_lengths_of_time_are_told_as_such(swings, kind, tmp_path):
    # Nanoseconds reach 292 years, and these series are a thousand years long.
    unit, seconds = ("s", 100 * 365 * 86400) if kind == "centuries" else ("us", 3600e6)
    lengths = (swings["time"].to_numpy() * seconds).round().astype(f"m8[{unit}]")
    clock = lengths if kind == "timedelta" else np.datetime64("2000-01-01", unit) + lengths
    model = LatentODE("series", "time", **SMALL).fit(swings.assign(time=clock))
    report = model.summary()
    assert report.validation.table["lead_to"].dtype.kind == "m"
    memory = report.channels["length"] / model.scaling_.time_unit
    np.testing.assert_allclose(memory, model.module_.residual.log_length.exp().detach(), rtol=1e-6)
    assert " up to " in str(report)
    model.save(tmp_path / "m")
    assert str(LatentODE.load(tmp_path / "m").summary()) == str(report)


# The latent state -------------------------------------------------------------


def test_the_kl_of_each_dimension_is_that_of_the_posteriors():
    observed, _ = make_oscillator(n_series=12, seed=3)
    model = LatentODE("series", "time", validation_fraction=0, dtype="float64", **SMALL).fit(observed)
    codes = model.encode(observed)
    stds = torch.tensor(codes.filter(regex="_std$").to_numpy())
    means = torch.tensor(codes.drop(columns=codes.filter(regex="_std$").columns).to_numpy())
    kl = kl_divergence(Normal(means, stds), Normal(0.0, 1.0)).mean(0)
    latent = model.summary().latent
    np.testing.assert_allclose(latent["kl"], kl, rtol=1e-9)
    np.testing.assert_allclose(latent["between"], means.std(0, correction=0), rtol=1e-9)
    np.testing.assert_allclose(latent["within"], stds.mean(0), rtol=1e-9)


@pytest.mark.parametrize(("kl", "said"), [(0.2, "posterior collapse"), (0.3, None)])
def test_a_collapse_is_told_in_plain_words(fitted_to_swings, kl, said):
    """Four dimensions of 0.2 nats are under one nat together, of 0.3 over it."""
    fitted = fitted_to_swings.fitted_
    latent = fitted.verdict.latent.clone()
    latent[0] = kl
    changed = replace(fitted, verdict=replace(fitted.verdict, latent=latent))
    remarks = summarize(changed, fitted_to_swings.fit_parameters_).remarks
    found = [remark for remark in remarks if "posterior collapse" in remark]
    assert bool(found) == (said is not None)
    if found:
        assert "the KL is 0.8 nats a series, under 1: z0 tells next to nothing" in found[0]
        assert "a smaller kl_weight (it was 0.1)" in found[0]
        assert "the same trajectory for all and what the residual process adds" in found[0]


# Of two phases of one oscillation z0 has to tell; a hundredfold KL forbids it.
FORBIDDING = {"max_iter": 100, "kl_weight": 30.0, "residual": None}


def test_a_fit_warns_of_a_collapse_with_its_remedy():
    observed, _ = make_oscillator(n_series=24, seed=3)
    with pytest.warns(UserWarning, match=r"posterior collapse.*smaller kl_weight \(it was 30\)") as caught:
        LatentODE("series", "time", **SMALL | FORBIDDING).fit(observed)
    assert caught[0].filename == __file__
    assert "the same trajectory for all, and `encode`" in str(caught[0].message)


def test_of_noise_a_fit_warns_of_the_noise_and_of_no_collapse():
    noise, _ = make_oscillator(n_series=24, seed=3)
    noise = noise.assign(position=np.random.default_rng(0).normal(size=len(noise))).drop(columns="velocity")
    with pytest.warns(UserWarning, match="no signal was found") as caught:
        model = LatentODE("series", "time", **SMALL | FORBIDDING).fit(noise)
    assert len(caught) == 1
    assert model.summary().latent["kl"].sum() < 1


def test_noise_of_a_predicted_scale_is_told_as_it_is_on_average():
    """Of sines in noise of a standard deviation that grows from .05 to .55 along each."""
    random = np.random.default_rng(0)
    time = np.tile(np.linspace(0, 1, 20), 40)
    phase = random.uniform(0, 6, 40).repeat(20)
    values = np.sin(6 * time + phase) + (0.05 + 0.5 * time) * random.normal(size=800)
    frame = pd.DataFrame({"series": np.arange(40).repeat(20), "time": time, "x": values})
    settings = SMALL | {"max_iter": 200, "noise_scale": "predicted", "residual": None}
    model = LatentODE("series", "time", **settings).fit(frame)
    told = model.summary().channels.loc["x", "noise"]
    module, probe = model.module_, model.fitted_.probe
    path = module.latent_path(probe[None], torch.linspace(0, 1, 100).expand(len(probe), -1))
    scale = module.likelihood.scale(module.likelihood.decode(path).offset)
    expected = float(scale.detach().square().mean().sqrt()) * model.scaling_.spread[0]
    assert told == pytest.approx(expected, rel=0.02)  # means over 32 times and over 100
    assert told == pytest.approx(0.33, rel=0.25)  # sqrt(mean of (.05 + .5 t)^2), as far as 200 steps bring it


def test_a_residual_process_in_the_way_is_remarked_on(fitted_to_swings):
    fitted = fitted_to_swings.fitted_
    assert set(fitted.verdict.without_residual) == {"extrapolate", "interpolate"}
    verdict = replace(fitted.verdict, without_residual={"extrapolate": 0.8, "interpolate": 0.97})
    remarks = summarize(replace(fitted, verdict=verdict), fitted_to_swings.fit_parameters_).remarks
    told = [remark for remark in remarks if "trajectories alone" in remark]
    assert len(told) == 1
    assert told[0].startswith("to extrapolate, the trajectories alone err by 20 % less")


def test_the_share_of_the_trajectories_alone_is_that_of_root_mean_squares():
    hidden, _ = scores(3, spread=1.0)
    n = len(hidden.row)
    truth = torch.zeros(n, 2)
    truth[0] = 1e3  # too far out to be scored
    parts = SeriesCollection(torch.arange(float(n)), truth, truth > -1, torch.tensor([0, n]))
    values = truth.numpy()[hidden.row, hidden.channel]
    errors = np.where(hidden.between, 2.0, 3.0)
    off = replace(hidden, mean=values + 1.0, trajectory=values - errors)
    found = _without_residual(off, parts, ["interpolate", "extrapolate"])
    assert found == {"interpolate": pytest.approx(2.0), "extrapolate": pytest.approx(3.0)}


def test_idle_dimensions_and_noise_alone_are_remarked_on(fitted_to_swings):
    fitted = fitted_to_swings.fitted_
    latent = fitted.verdict.latent.clone()
    latent[0] = torch.tensor([2.0, 0.01, 1.0, 0.02])
    changed = replace(fitted, verdict=replace(fitted.verdict, latent=latent))
    remarks = summarize(changed, fitted_to_swings.fit_parameters_).remarks
    assert any(remark.startswith("2 of 4 latent dimensions hold nothing") for remark in remarks)
    model = LatentODE("patient", "hours", **SMALL | {"residual": None}).fit(make_frame())
    with torch.no_grad():
        model.module_.likelihood.raw_noise[1] = 2.0
    assert model.summary().channels["kernel"].isna().all()
    assert any("predicts of temp is next to nothing" in remark for remark in model.summary().remarks)


def test_channels_without_a_signal_are_named():
    frame = make_frame(60)
    with pytest.warns(UserWarning, match="a constant has nothing to learn"):
        report = LatentODE("patient", "hours", **SMALL).fit(frame).summary()
    assert report.channels.loc["flat", "signal"] == "constant"
    assert "column 'flat' never changed in the data: a constant has nothing to learn" in report.remarks


# How it is told ---------------------------------------------------------------


def test_a_loaded_model_tells_the_same(fitted_to_swings, tmp_path):
    fitted_to_swings.save(tmp_path / "m")
    one, two = fitted_to_swings.summary(), LatentODE.load(tmp_path / "m").summary()
    assert str(one) == str(two)
    assert one._repr_html_() == two._repr_html_()
    pd.testing.assert_frame_equal(one.validation.table, two.validation.table)
    pd.testing.assert_frame_equal(one.coverage, two.coverage)
    pd.testing.assert_frame_equal(one.latent, two.latent)


def test_a_file_without_a_verdict_says_so():
    report = LatentODE.load(DATA / "model-1.latentode").summary()
    assert report.facts["fitted to"].startswith("not recorded; the file was written by an earlier version")
    assert report.validation is report.coverage is report.latent is None
    assert report.channels["kernel"].tolist() == ["ou", "matern32", "iou"]
    assert "60 steps" in str(report)
    assert "<table" in report._repr_html_()


def test_the_account_reads_well(fitted_to_swings):
    text = str(fitted_to_swings.summary())
    lines = text.splitlines()
    assert lines[0] == "series     named by 'series'"
    for heading in (
        "What was withheld, beside the trivial answers",
        "Share of the withheld values in bands, as the model has them",
        "Noise, and the residual process with its memory",
    ):
        assert heading in lines
    assert any(line.startswith("Latent state: KL ") for line in lines)
    steps = fitted_to_swings.n_iter_
    assert any(line.startswith(f"trained    {steps} steps, ") for line in lines)
    assert any(line.startswith("error  ") for line in lines)
    assert lines == [line.rstrip() for line in lines]
    assert repr(fitted_to_swings.summary()) == text


def test_a_notebook_shows_tables_whatever_the_columns_are_called():
    frame = make_frame().rename(columns={"hr": "<b>", "temp": 7, "flat": "a & b"})
    html = LatentODE("patient", "hours", **SMALL).fit(frame).summary()._repr_html_()
    assert html.count("<table") >= 5
    assert "&lt;b&gt;" in html
    assert "<b></" not in html
    assert "a &amp; b" in html


def test_channels_of_a_pivot_of_two_values_have_an_account():
    frame = (
        make_frame()[["patient", "hours", "hr"]].rename(columns={"hr": "value"}).assign(band="g", error=0.1)
    )
    frame["error"] += 0.01 * np.arange(len(frame))
    wide = frame.pivot(index=["patient", "hours"], columns="band", values=["value", "error"])
    channels = LatentODE(**SMALL).fit(wide).summary().channels
    assert channels.index.tolist() == [("value", "g"), ("error", "g")]


def test_many_channels_share_a_line_of_coverage(swings):
    many = swings.assign(**{f"c{number}": swings["position"] * number for number in range(2, 8)})
    text = str(LatentODE("series", "time", stacking=False, **SMALL).fit(many).summary())
    assert text.count("all channels, extrapolation") == text.count("all channels, interpolation") == 1


@pytest.mark.parametrize(
    ("at_most", "told"),
    [(60, "all that max_iter allows; validation had stopped"), (90, "of 90 at most; validation no")],
)
def test_training_that_patience_ended_says_of_how_many_steps(fitted_to_swings, at_most, told):
    fitted, parameters = fitted_to_swings.fitted_, fitted_to_swings.fit_parameters_
    last = replace(fitted.history[-1], ended="patience", iteration=60)
    ended = replace(fitted, history=[*fitted.history[:-1], last])
    assert (
        summarize(ended, parameters | {"max_iter": at_most}).facts["trained"].startswith(f"60 steps, {told}")
    )


def test_an_interrupted_fit_says_so(swings, monkeypatch):
    from latentode.training import loop

    def strike(*arguments, **settings):
        if len(struck) == 30:
            raise KeyboardInterrupt
        struck.append(1)
        return step(*arguments, **settings)

    struck, step = [], loop._step
    monkeypatch.setattr(loop, "_step", strike)
    with pytest.warns(UserWarning, match="training was interrupted"):
        model = LatentODE("series", "time", **SMALL | {"max_iter": 200}).fit(swings)
    report = model.summary()
    assert "of 200; interrupted there" in report.facts["trained"]
    assert "training was interrupted; a whole one may do better" in report.remarks


@pytest.mark.slow
def test_the_account_costs_little(monkeypatch):
    """Under a twentieth of the training of usual length, a tenth of which is timed; its asking of the withheld series
    and the regressions beside the model included.
    """
    n_steps, seconds = 250, []

    def timed(*arguments, **settings):
        began = time.monotonic()
        found = judge(*arguments, **settings)
        seconds.append(time.monotonic() - began)
        return found

    judge = fitting.judge
    monkeypatch.setattr(fitting, "judge", timed)
    observed, _ = make_oscillator(n_series=200, seed=0)
    settings = {"calibrate": False, "patience": n_steps, "max_iter": n_steps, "random_state": 0}
    model = LatentODE("series", "time", **settings).fit(observed)
    assert model.n_iter_ == n_steps
    assert seconds[0] < 0.05 * 10 * model.history_["seconds"].iloc[-1]
