"""A channel without signal is said to have none, and one with a little is not."""

import numpy as np
import pandas as pd
import pytest

from latentode import LatentODE
from latentode.datasets import load_co2, load_storms, make_lotka_volterra, make_oscillator
from latentode.fitting.signal import LEAST, ChannelSignal, _judge, silent_channels

TINY = {"latent_dim": 2, "field_units": (4,), "encoder_units": 4, "decoder_units": (4,), "n_samples": 4}
NOTHING = np.empty(0)


def rows(n_series, length):
    return np.arange(n_series).repeat(length)


# Channels drawn of each kind and size.
N_DRAWS = 300


def verdicts(draw, n_series, length, n=N_DRAWS):
    """What is said of n channels that `draw` makes, (n_series, length) each."""
    found = []
    for seed in range(n):
        x = draw(np.random.default_rng(seed), (n_series, length))
        found.append(_judge(x.ravel(), rows(n_series, length), NOTHING, NOTHING).signal)
    return pd.Series(found).value_counts(normalize=True).reindex(["found", "none", "unclear"], fill_value=0.0)


def autoregression(coefficient):
    def draw(random, shape):
        x = random.normal(size=shape)
        for row in range(1, shape[1]):
            x[:, row] = coefficient * x[:, row - 1] + np.sqrt(1 - coefficient**2) * x[:, row]
        return x

    return draw


NOISE = {
    "normal": lambda random, shape: random.normal(size=shape),
    "without a variance": lambda random, shape: random.standard_cauchy(size=shape),
    "of two values": lambda random, shape: random.integers(0, 2, shape).astype(float),
    "mostly zero": lambda random, shape: np.where(
        random.random(shape) < 0.9, 0.0, random.exponential(size=shape)
    ),
}
SIGNALS = {
    "an autoregression": autoregression(0.5),
    "one that alternates": autoregression(-0.5),
    "a level of each series": lambda random, shape: (
        random.normal(size=(shape[0], 1)) + random.normal(size=shape)
    ),
    "a trend common to all": lambda random, shape: np.linspace(0, 3, shape[1]) + random.normal(size=shape),
    "a swing behind noise of twice its variance": lambda random, shape: (
        np.sin(np.arange(shape[1]) / 4 + random.uniform(0, 6, (shape[0], 1))) + random.normal(size=shape)
    ),
    "every seventh": lambda random, shape: (
        (np.arange(shape[1]) + random.integers(0, 7, (shape[0], 1))) % 7 == 0
    ).astype(float),
}


@pytest.mark.parametrize("name", NOISE)
@pytest.mark.parametrize(("n_series", "length"), [(60, 10), (1, 600), (300, 3)])
def test_noise_is_found_out(name, n_series, length):
    assert verdicts(NOISE[name], n_series, length)["none"] > 0.85


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize(("n_series", "length"), [(60, 20), (20, 60)])
def test_a_signal_is_never_called_noise(name, n_series, length):
    shares = verdicts(SIGNALS[name], n_series, length)
    assert shares["none"] == 0.0
    assert shares["found"] > 0.85


@pytest.mark.parametrize(("n_series", "length"), [(14, 8), (60, 10), (300, 3), (2, 600)])
def test_a_signal_at_the_edge_is_called_noise_in_one_case_of_forty(n_series, length):
    """The r_k of a channel that is worth LEAST lies two standard errors below it so often, in one tail."""
    n = 400
    share = verdicts(autoregression(LEAST), n_series, length, n=n)["none"]
    assert share < 0.023 + 3 * np.sqrt(0.023 / n)  # three standard errors of the share itself


@pytest.mark.parametrize("name", [*NOISE, *SIGNALS])
def test_of_few_values_nothing_is_said(name):
    assert verdicts({**NOISE, **SIGNALS}[name], 12, 8, n=100)["none"] == 0.0
    assert verdicts({**NOISE, **SIGNALS}[name], 200, 1, n=3)["unclear"] == 1.0  # no value has one before it


def test_what_the_model_predicts_is_no_noise():
    random = np.random.default_rng(0)
    x, answers = random.normal(size=2000), random.normal(size=200)
    for weight, signal in ((0.0, "none"), (0.5, "found")):
        actual = weight * answers + random.normal(size=200)
        assert _judge(x, rows(100, 20), actual, answers).signal == signal


def test_no_long_series_of_noise_speaks_for_many_short_ones():
    random = np.random.default_rng(0)
    short = autoregression(0.8)(random, (40, 5)).ravel()
    x = np.append(random.normal(size=4000), short)
    series = np.append(np.zeros(4000, dtype=int), 1 + rows(40, 5))
    assert _judge(x, series, NOTHING, NOTHING).signal == "found"
    assert _judge(x[:4000], series[:4000], NOTHING, NOTHING).signal == "none"


def test_values_hidden_twice_count_once():
    random = np.random.default_rng(1)
    x, actual = random.normal(size=2000), np.arange(50.0)
    answers = 0.22 * (actual - actual.mean()) / actual.std() + random.normal(size=50)
    once = _judge(x, rows(100, 20), actual, answers)
    assert 2 / np.sqrt(100) < once.predicted < 2 / np.sqrt(50)  # of a hundred values it would be a find
    twice = np.tile(actual, 2), np.tile(answers, 2)
    assert once.signal == _judge(x, rows(100, 20), *twice, n_repeats=2).signal == "none"
    assert _judge(x, rows(100, 20), *twice).signal == "found"


def test_a_constant_is_told_from_too_few_values():
    assert _judge(np.full(10, 2.0), rows(1, 10), NOTHING, NOTHING).signal == "constant"
    assert _judge(np.full(9, 2.0), rows(1, 9), NOTHING, NOTHING).signal == "unclear"
    assert _judge(NOTHING, NOTHING, NOTHING, NOTHING).signal == "unclear"


def test_the_words_of_several_channels():
    found = [ChannelSignal(500, 0.01, 50, 0.0, signal) for signal in ("none", "found", "none", "constant")]
    noise, constant = silent_channels(["a", "b", ("c", 1), 7], found)
    assert noise.startswith("no signal was found in columns 'a', ('c', 1): neither")
    assert constant == "column 7 never changed in the data: a constant has nothing to learn"
    assert silent_channels(["b"], found[1:2]) == []


# ---------------------------------------------------------------- through the estimator


def quick(*roles, **settings):
    return LatentODE(*roles, **({"max_iter": 5, "residual": "ou", "random_state": 0} | TINY | settings))


def test_a_fit_says_which_channels_hold_nothing(tmp_path):
    observed, _ = make_oscillator(n_series=30, seed=0)
    observed = observed.assign(flat=3, noise=np.random.default_rng(0).normal(size=len(observed)))
    with pytest.warns(UserWarning, match="signal") as caught:
        model = quick("series", "time").fit(observed)
    noise, constant = (str(warning.message) for warning in caught)
    assert noise.startswith("no signal was found in column 'noise': neither the values before one")
    assert constant.startswith("column 'flat' never changed in the data")
    assert {warning.filename for warning in caught} == {__file__}  # they point at the line that called fit
    assert model.signal_["signal"].to_dict() == {
        "position": "found",
        "velocity": "found",
        "flat": "constant",
        "noise": "none",
    }
    assert (model.signal_["values"] == len(observed)).all()
    assert (model.signal_["hidden"] > 0).all()
    model.save(tmp_path / "m")
    pd.testing.assert_frame_equal(LatentODE.load(tmp_path / "m").signal_, model.signal_)


def test_a_model_that_has_not_learned_yet_raises_no_false_alarm():
    observed, _ = make_oscillator(n_series=30, seed=1)
    model = quick("series", "time", max_iter=1, validation_fraction=0.0).fit(observed)
    assert model.signal_["signal"].eq("found").all()
    assert model.signal_["hidden"].eq(0).all()


@pytest.mark.parametrize("data", ["storms", "co2", "species"])
def test_real_channels_raise_no_false_alarm(data):
    frames = {
        "storms": lambda: (load_storms().tail(3000), "storm", "time"),
        "co2": lambda: (load_co2(), None, None),
        "species": lambda: (make_lotka_volterra(n_series=20, seed=0)[0], "series", "time"),
    }
    frame, *roles = frames[data]()
    frame = frame.drop(columns=frame.select_dtypes(exclude="number").columns.difference(roles))
    model = quick(*roles, max_iter=1, stacking=False).fit(frame)
    assert model.signal_["signal"].eq("found").all(), model.signal_
