"""What a fitted model answers: bands, forecasts, far times, imputation, samples, latent states and scores."""

import numpy as np
import pandas as pd
import pytest

from tests.conftest import CHANNELS, quick


def test_bands_are_ordered_and_nested(fitted, frame):
    found = fitted.predict(frame, level=[50, 90])
    for name in CHANNELS:
        columns = [f"{name}-lo-90", f"{name}-lo-50", f"{name}-hi-50", f"{name}-hi-90"]
        bounds = found[columns].to_numpy()
        assert (np.diff(bounds) > 0).all()
    pd.testing.assert_frame_equal(found[frame.columns], fitted.predict(frame))


def test_the_median_has_half_of_the_noisy_samples_on_either_side(fitted, frame):
    alone = frame[frame.patient == "p0"]
    median = fitted.predict(alone, [5.0, 14.0], point="median", level=2, n_samples=512)
    assert ((median["hr-lo-2"] < median.hr) & (median.hr < median["hr-hi-2"])).all()
    drawn = fitted.sample(alone, [5.0, 14.0], n_samples=4000, observation_noise=True)
    for hours, values in drawn.groupby("hours").hr:
        # Standard error of a share of one half of 4000 draws: .008; five of them.
        assert abs((values < median.hr[median.hours == hours].item()).mean() - 0.5) < 0.04


def test_bands_are_the_quantiles_of_noisy_samples(fitted, frame):
    alone = frame[frame.patient == "p0"]
    times = [1.0, 5.0, 14.0]
    band = fitted.predict(alone, times, level=80, n_samples=512)
    drawn = fitted.sample(alone, times, n_samples=4000, observation_noise=True)
    for name in ("hr", "temp"):
        by_time = drawn.groupby("hours")[name]
        spread = by_time.std().to_numpy()
        for column, quantile in ((f"{name}-lo-80", 0.1), (f"{name}-hi-80", 0.9)):
            # Standard error of a normal's 10 % quantile from 4000 draws: .028 spreads; five of them.
            gap = np.abs(by_time.quantile(quantile).to_numpy() - band[column].to_numpy())
            assert (gap < 0.14 * spread).all()


def test_forecasts_lie_beyond_the_last_observation(fitted, frame):
    ahead = fitted.forecast(frame, 6.0, steps=3, level=90)
    last = frame.dropna(subset=CHANNELS, how="all").groupby("patient", sort=False).hours.max()
    assert len(ahead) == 3 * frame.patient.nunique()
    for patient, hours in ahead.groupby("patient").hours:
        np.testing.assert_allclose(hours, last[patient] + np.array([2.0, 4.0, 6.0]))


@pytest.mark.filterwarnings("ignore:times are asked that lie up to")
def test_far_and_early_times_are_finite(fitted, frame):
    span = 10.0
    found = fitted.predict(frame, times=[-100 * span, -1.0, 0.0, 100 * span], level=90)
    assert np.isfinite(found.drop(columns="patient").to_numpy()).all()


@pytest.mark.parametrize("ask", ["predict", "sample", "latent"])
def test_far_times_are_warned_of_and_near_ones_are_not(fitted, frame, ask):
    longest = float(frame.groupby("patient")["hours"].agg(np.ptp).max())
    some = frame[frame["patient"].isin(["p0", "p3"])]
    ends = some.groupby("patient")["hours"].max()
    near = pd.DataFrame({"patient": ends.index, "hours": ends + 1.9 * longest})
    getattr(fitted, ask)(some, near)
    far = near.assign(hours=near["hours"] + [0.0, 10 * longest])
    told = r"up to 11\.9 lengths of the longest training series away .* \(1 of 2 series, the first is 'p3'\)"
    with pytest.warns(UserWarning, match=told) as caught:
        getattr(fitted, ask)(some, far)
    assert caught[0].filename == __file__


def test_one_row_series_and_unobserved_series_are_answered(fitted):
    rows = pd.DataFrame(
        {"patient": ["one", "none", "none"], "hours": [3.0, 1.0, 2.0], "hr": [90.0, np.nan, np.nan]}
    ).assign(temp=np.nan, flat=np.nan)
    found = fitted.predict(rows)
    assert np.isfinite(found[CHANNELS].to_numpy()).all()
    encoded = fitted.encode(rows)
    latent = encoded.shape[1] // 2
    np.testing.assert_array_equal(encoded.loc["none"], [0.0] * latent + [1.0] * latent)  # the prior


def test_impute_fills_what_is_missing_and_nothing_else(fitted, frame):
    filled = fitted.impute(frame)
    assert not filled[CHANNELS].isna().any().any()
    seen = frame[CHANNELS].notna().to_numpy()
    np.testing.assert_array_equal(filled[CHANNELS].to_numpy()[seen], frame[CHANNELS].to_numpy()[seen])
    missing = frame.hr.isna()
    np.testing.assert_array_equal(filled.hr[missing], fitted.predict(frame).hr[missing])


def test_impute_gives_nullable_integers_room_for_fractions(fitted, frame):
    rounded = frame.assign(hr=frame.hr.round().astype("Int64"))
    assert fitted.impute(rounded).hr.dtype == "Float64"


def test_samples_come_one_row_a_series_sample_and_time(fitted, frame):
    found = fitted.sample(frame, [1.0, 2.0], n_samples=3)
    n_series = frame.patient.nunique()
    assert found.columns.tolist() == ["patient", "sample", "hours", *CHANNELS]
    assert len(found) == n_series * 3 * 2
    assert found[["patient", "sample", "hours"]].duplicated().sum() == 0
    assert not found.equals(fitted.sample(frame, [1.0, 2.0], n_samples=3, random_state=1))


def test_a_channel_called_sample_is_named(frame):
    renamed = frame.rename(columns={"hr": "sample"})
    with pytest.raises(ValueError, match="a column is called 'sample'"):
        quick(max_iter=1).fit(renamed).sample(renamed)


def test_samples_of_different_series_are_independent(fitted, frame):
    alone = frame[frame.patient == "p0"]
    twins = pd.concat([alone, alone.assign(patient="twin")])
    drawn = fitted.sample(twins, [15.0], n_samples=400)
    one, other = (drawn[drawn.patient == name].hr.to_numpy() for name in ("p0", "twin"))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.2  # four standard errors of 400 independent pairs


def test_sample_prior_gives_new_series(fitted):
    found = fitted.sample_prior(4, [0.0, 1.0, 5.0])
    assert found.columns.tolist() == ["patient", "hours", *CHANNELS]
    assert len(found) == 12
    assert np.isfinite(found[CHANNELS].to_numpy()).all()
    assert len(fitted.sample_prior(2)) == 100


def test_latent_is_the_orbit_through_the_posterior_mean(frame):
    model = quick(dtype="float64").fit(frame)
    first = frame.sort_values("hours").dropna(subset=CHANNELS, how="all").groupby("patient").head(1)
    at_origin = model.latent(frame, times=first[["patient", "hours"]]).set_index("patient")
    encoded = model.encode(frame)
    states = [name for name in encoded if not name.endswith("_std")]
    np.testing.assert_allclose(at_origin.loc[encoded.index].filter(like="z_"), encoded[states], atol=1e-12)
    assert model.latent(frame).index.equals(frame.index)

    # Along it dz/dt is the field: central differences, whose error is of second order in the step.
    step = 1e-3
    around = model.latent(frame, times=[5.0 - step, 5.0, 5.0 + step])
    before, now, after = (around.filter(like="z_").iloc[place::3].to_numpy() for place in range(3))
    np.testing.assert_allclose((after - before) / (2 * step), model.velocity(now), rtol=1e-3, atol=1e-4)
    of_frame = model.velocity(around)
    np.testing.assert_allclose(of_frame.iloc[1::3], model.velocity(now), rtol=1e-9)  # shapes differ: rounding
    initial = model.encode(frame)  # the same states by other names
    states = initial.filter(regex=r"^z0_\d+$").to_numpy()
    np.testing.assert_allclose(model.velocity(initial), model.velocity(states), rtol=1e-9)
    assert of_frame.index.equals(around.index)


def test_score_samples_says_which_value_is_surprising(fitted, frame):
    alone = frame[frame.patient == "p0"].reset_index(drop=True)
    spoilt = alone.copy()
    spoilt.loc[5, "hr"] = 200.0
    scores = fitted.score_samples(spoilt)
    assert scores.index.equals(spoilt.index)
    assert scores.hr.idxmin() == 5
    assert np.array_equal(scores.isna(), spoilt[CHANNELS].isna())
    assert scores.hr[5] < fitted.score_samples(alone.assign(hr=alone.hr.fillna(80))).hr[5] - 10


def test_score_rewards_the_right_units(fitted, frame):
    assert np.isfinite(fitted.score(frame))
    rescaled = frame.assign(hr=frame.hr * 10)
    # Densities are per unit of the data: ten times the unit costs log 10 a value of that channel.
    one, other = quick().fit(frame).score(frame), quick().fit(rescaled).score(rescaled)
    share = 1 / 3  # about; hidden values differ in number from channel to channel
    assert abs((one - other) - share * np.log(10)) < 0.15
