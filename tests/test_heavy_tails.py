"""`likelihood` and `noise_scale` of the estimator: answers under each, and what they are good for."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from latentode import LatentODE
from tests.conftest import make_frame

SETTINGS = {
    "student_t": {"likelihood": "student_t", "residual": "matern32"},
    "laplace, no residual": {"likelihood": "laplace", "residual": None},
    "each its own, predicted": {
        "likelihood": ["student_t", "gaussian", "laplace"],
        "noise_scale": "predicted",
        "residual": "ou",
    },
}


@pytest.fixture(scope="module")
def fits():
    """Of so few series that bands would be widened: here they are to be those of the laws themselves."""
    usual = {"max_iter": 10, "calibrate": False, "random_state": 0}
    return {
        name: LatentODE("patient", "hours", **usual, **settings).fit(make_frame())
        for name, settings in SETTINGS.items()
    }


@pytest.mark.parametrize("name", SETTINGS)
def test_a_saved_model_answers_the_same_bits(fits, frame, name, tmp_path):
    fits[name].save(tmp_path / "m")
    loaded = LatentODE.load(tmp_path / "m")
    assert loaded.get_params() == fits[name].get_params()
    pd.testing.assert_frame_equal(
        loaded.predict(frame, level=90, point="median"), fits[name].predict(frame, level=90, point="median")
    )
    drawn = [
        one.sample(frame, [3.0, 4.0], n_samples=2, observation_noise=True) for one in (fits[name], loaded)
    ]
    pd.testing.assert_frame_equal(*drawn)
    assert loaded.score(frame) == fits[name].score(frame)


@pytest.mark.parametrize("name", SETTINGS)
def test_companions_change_no_answer(fits, frame, name):
    alone = frame[frame["patient"] == "p3"]
    times = [1.0, 6.0, 12.0]
    for ask in (
        lambda one: fits[name].predict(one, times, level=90),
        lambda one: fits[name].sample(one, times, n_samples=3, observation_noise=True),
    ):
        together = ask(frame)
        together = together[together["patient"] == "p3"].reset_index(drop=True)
        pd.testing.assert_frame_equal(ask(alone).reset_index(drop=True), together, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", SETTINGS)
def test_bands_are_quantiles_of_what_is_sampled(fits, frame, name):
    some = frame[frame["patient"].isin(["p0", "p3", "p5"])]
    times = [2.0, 5.0, 11.0]
    bands = fits[name].predict(some, times, level=[50, 90], n_samples=256)
    drawn = fits[name].sample(some, times, n_samples=4000, observation_noise=True)
    merged = drawn.merge(bands, on=["patient", "hours"], suffixes=("", "-mean"))
    for channel in ("hr", "temp", "flat"):
        for level in (50, 90):
            low, high = merged[f"{channel}-lo-{level}"], merged[f"{channel}-hi-{level}"]
            inside = merged[channel].between(low, high).groupby([merged["patient"], merged["hours"]]).mean()
            # Four standard errors of a share of 4000 are 3 % at most.
            assert (inside - level / 100).abs().max() < 0.04


def test_noise_is_drawn_from_its_law(fits):
    model = fits["each its own, predicted"]
    times = np.linspace(0, 10, 300)
    noisy, clean = (model.sample_prior(40, times, observation_noise=noise) for noise in (True, False))
    likelihood = model.module_.likelihood
    rivals = {"hr": stats.t(likelihood.freedom.item()), "temp": stats.norm(), "flat": stats.laplace()}
    for name, law in rivals.items():
        e = (noisy[name] - clean[name]).to_numpy()
        # Whatever the predicted scale, signs are fair, and without the scale's variation e follows the law.
        assert abs((e > 0).mean() - 0.5) < 4 * 0.5 / len(e) ** 0.5
        center, spread = np.median(np.abs(e)), np.quantile(np.abs(e), 0.99)
        expected = law.ppf(0.995) / law.ppf(0.75)
        assert 0.8 * expected < spread / center < 2 * expected


@pytest.mark.slow
def test_outliers_cost_less_under_heavy_tails():
    """A sine of random phase with one value in ten thrown far off: predictions of the clean curve."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(30):
        time = np.sort(random.uniform(0, 2, 20))
        clean = np.sin(3 * time + random.uniform(0, 6))
        noise = np.where(
            random.random(20) < 0.1, 2.5 * random.choice([-1, 1], 20), 0.05 * random.normal(size=20)
        )
        rows.append(pd.DataFrame({"series": number, "time": time, "x": clean + noise, "clean": clean}))
    frame = pd.concat(rows, ignore_index=True)
    error = {}
    for likelihood in ("gaussian", "student_t"):
        model = LatentODE(
            "series", "time", ["x"], likelihood=likelihood, residual="matern32", max_iter=200, random_state=0
        )
        found = model.fit(frame).predict(frame)
        error[likelihood] = np.sqrt(((found["x"] - frame["clean"]) ** 2).mean())
    assert error["student_t"] < 0.7 * error["gaussian"]


@pytest.mark.slow
def test_a_predicted_scale_follows_the_noise():
    """Noise of .04 in the first half of each series and .4 in the second."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(60):
        time = np.sort(random.uniform(0, 2, 20))
        noise = np.where(time < 1, 0.04, 0.4) * random.normal(size=20)
        rows.append(pd.DataFrame({"series": number, "time": time, "x": np.sin(2 * time) + noise}))
    frame = pd.concat(rows, ignore_index=True)
    width = {}
    for scale in ("learned", "predicted"):
        model = LatentODE("series", "time", noise_scale=scale, residual=None, max_iter=300, random_state=0)
        found = model.fit(frame).predict(frame, [0.5, 1.5], level=90)
        width[scale] = (found["x-hi-90"] - found["x-lo-90"]).groupby(found["time"]).mean()
    assert width["predicted"][1.5] > 3 * width["predicted"][0.5]
    assert width["learned"][1.5] < 1.5 * width["learned"][0.5]


def test_a_warm_start_keeps_the_noise(frame):
    model = LatentODE("patient", "hours", max_iter=2, random_state=0, warm_start=True).fit(frame)
    with pytest.raises(
        ValueError, match="likelihood was 'gaussian' and is 'laplace'; noise_scale was 'learned'"
    ):
        model.set_params(likelihood="laplace", noise_scale="predicted").fit(frame)
    model.set_params(likelihood=["gaussian"] * 3, noise_scale="learned").fit(
        frame
    )  # the same by another name


def test_the_density_is_per_channel(fits, frame):
    """A frame of one channel's law by itself is scored under that law, not under another's."""
    model = fits["each its own, predicted"]
    surprise = model.score_samples(frame)
    assert np.isfinite(surprise.to_numpy()[frame[["hr", "temp", "flat"]].notna().to_numpy()]).all()
    far = frame.copy()
    row = far.index[far["patient"] == "p0"][3]
    far.loc[row, ["hr", "temp"]] = [500.0, 60.0]
    with pytest.warns(UserWarning, match="are not read"):
        lower = model.score_samples(far).loc[row]
    # 40 to 60 scales out a normal density has fallen by hundreds of nats, Student's t by tens.
    assert lower["temp"] < 5 * lower["hr"] < 0
    assert torch.isfinite(torch.tensor(lower.dropna().to_numpy())).all()
