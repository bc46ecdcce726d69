import numpy as np
import pandas as pd
import pytest

from latentode.datasets import load_storms
from latentode.demo import storm_rivals, storm_task


def storm(name="Ada 2000", start="2000-08-01", hours=range(0, 97, 6), **channels):
    hours = np.asarray(list(hours), dtype=float)
    frame = pd.DataFrame(
        {"storm": name, "time": pd.Timestamp(start, tz="UTC") + pd.to_timedelta(hours, unit="h")}
    )
    track = {"lat": 15 + 0.1 * hours, "long": -40 - 0.2 * hours, "wind": 30 + 0.5 * hours, "pressure": 1000.0}
    return frame.assign(**(track | channels))


def hours_of_origins(contexts):
    last = contexts.groupby("origin")["time"].max()
    return ((last - contexts["time"].min()) / pd.Timedelta(hours=1)).tolist()


def test_origins_have_a_day_behind_and_a_day_ahead():
    contexts, truth = storm_task.forecast_origins(storm())
    assert hours_of_origins(contexts) == [24, 30, 36, 42, 48, 54, 60, 66, 72]
    assert contexts["origin"].iloc[0] == "Ada 2000 2000-08-02 00h"
    assert truth.groupby("lead_hours")["origin"].nunique().to_dict() == {6: 9, 12: 9, 24: 9, 48: 5}


def test_an_origin_sees_its_rows_up_to_then_and_no_other():
    tracks = pd.concat(
        [storm(), storm("Bob 2000", start="2000-08-02T06:00", hours=range(0, 61, 6), lat=30.0)]
    )
    contexts, truth = storm_task.forecast_origins(tracks.sample(frac=1, random_state=0))
    for origin, seen in contexts.groupby("origin"):
        name, now = seen["storm"].iloc[0], seen["time"].iloc[-1]
        expected = tracks[(tracks["storm"] == name) & (tracks["time"] <= now)].reset_index(drop=True)
        pd.testing.assert_frame_equal(seen.drop(columns="origin").reset_index(drop=True), expected)
        later = truth[truth["origin"] == origin]
        lead = (later["time"] - now) / pd.Timedelta(hours=1)
        assert lead.tolist() == later["lead_hours"].tolist()
    assert len(truth.merge(tracks)) == len(truth)  # the truth is rows of the storm, unchanged


def test_rows_between_the_hours_are_seen_but_are_no_origins_and_no_truth():
    contexts, truth = storm_task.forecast_origins(storm(hours=[0, 6, 12, 18, 24, 26, 32, 36, 48, 60]))
    # 26 and 32 h are not at 00, 06, 12, 18; from 48 h on there is no day ahead
    assert hours_of_origins(contexts) == [24, 36]
    assert truth[["origin", "lead_hours"]].groupby("origin")["lead_hours"].agg(list).tolist() == [
        [12, 24],
        [12, 24],
    ]
    assert len(contexts) == 5 + 8


def test_four_rows_behind_are_asked_for_besides_the_day():
    contexts, _ = storm_task.forecast_origins(storm(hours=[0, 6, 18, 24, 30, 36, 60]))
    assert hours_of_origins(contexts) == [30, 36]


def test_the_time_of_year_is_the_first_rows_and_goes_into_the_contexts():
    tracks = pd.concat([storm(start="2000-12-31"), storm("Bob 2000", start="2000-07-01")])
    told = storm_task.with_time_of_year(tracks)
    angles = told.groupby("storm")[storm_task.TIME_OF_YEAR].agg(["min", "max"])
    assert (angles.xs("min", axis=1, level=1) == angles.xs("max", axis=1, level=1)).all(axis=None)
    np.testing.assert_allclose((told[storm_task.TIME_OF_YEAR] ** 2).sum(axis=1), 1)
    first = told.groupby("storm")[storm_task.TIME_OF_YEAR].first()
    np.testing.assert_allclose(first.loc["Ada 2000"], [1, 0], atol=0.02)
    np.testing.assert_allclose(first.loc["Bob 2000"], [-1, 0], atol=0.02)
    contexts, truth = storm_task.forecast_origins(told)
    assert (contexts[storm_task.TIME_OF_YEAR] == first.loc[contexts["storm"]].to_numpy()).all(axis=None)
    assert not set(storm_task.TIME_OF_YEAR) & set(truth)
    assert not set(storm_task.TIME_OF_YEAR) & set(storm_task.forecast_origins(tracks)[0])


def test_seasons_split_by_the_first_row():
    tracks = pd.concat([storm("Old 2012", start="2012-12-30"), storm("New 2017", start="2017-01-01")])
    train, validation, test = storm_task.split_by_season(tracks)
    assert (len(train), len(validation), len(test)) == (17, 0, 17)
    assert set(train["time"].dt.year) == {2012, 2013}


def test_all_storms_give_the_origins_of_the_protocol_and_no_future():
    splits = storm_task.split_by_season(load_storms())
    assert sum(map(len, splits)) == 19513
    contexts, truth = storm_task.forecast_origins(splits[2])
    assert truth.groupby("lead_hours")["origin"].nunique().to_dict() == {
        6: 2565,
        12: 2565,
        24: 2565,
        48: 2151,
    }
    now = contexts.groupby("origin")["time"].max()
    assert (truth["time"] - truth["origin"].map(now) == pd.to_timedelta(truth["lead_hours"], unit="h")).all()


def test_great_circle_of_known_places():
    quarter = np.pi / 2 * storm_task.EARTH_RADIUS_KM
    assert storm_task.great_circle_km(0.0, 10.0, 90.0, -70.0) == pytest.approx(quarter)
    assert storm_task.great_circle_km(0.0, 179.5, 0.0, -179.5) == pytest.approx(quarter / 90)
    # Miami to Bermuda, 1670 km by any atlas; the flattening of the Earth is worth 0.5 %
    assert storm_task.great_circle_km(25.76, -80.19, 32.30, -64.78) == pytest.approx(1670, rel=0.01)


@pytest.mark.parametrize("start_long", [-40.0, 179.0, -179.0])
def test_constant_velocity_is_exact_on_a_straight_track_even_over_the_date_line(start_long):
    hours = np.arange(0, 97, 6)
    long = (start_long - 0.2 * hours + 180) % 360 - 180
    contexts, truth = storm_task.forecast_origins(storm(long=long, wind=45.0))
    predicted = storm_rivals.constant_velocity().fit(contexts, truth).predict(contexts, truth)
    scores = storm_task.errors(truth, predicted)
    assert scores["track_km"].max() < 1e-6
    assert (scores["wind_kt"] == 0).all()


def test_last_value_misses_by_the_way_the_storm_went():
    contexts, truth = storm_task.forecast_origins(storm(lat=0.0))
    predicted = storm_rivals.last_value().fit(contexts, truth).predict(contexts, truth)
    scores = storm_task.errors(truth, predicted).groupby("lead_hours").mean(numeric_only=True)
    along_the_equator = np.radians(0.2 * scores.index) * storm_task.EARTH_RADIUS_KM
    np.testing.assert_allclose(scores["track_km"], along_the_equator)
    np.testing.assert_allclose(scores["wind_kt"], 0.5 * scores.index)


def test_linear_regression_learns_a_law_that_is_linear():
    rng = np.random.default_rng(0)
    tracks = pd.concat(
        storm(
            f"S{i} 2000",
            lat=20 + a * np.arange(17),
            long=-50 + b * np.arange(17),
            pressure=rng.normal(size=17),
        )
        for i, (a, b) in enumerate(rng.normal(size=(30, 2)))
    )
    contexts, truth = storm_task.forecast_origins(tracks)
    predicted = storm_rivals.linear_regression().fit(contexts, truth).predict(contexts, truth)
    assert storm_task.errors(truth, predicted)["track_km"].max() < 1e-3


def test_a_regression_refuses_a_lead_it_was_not_fitted_to():
    contexts, truth = storm_task.forecast_origins(storm())
    fitted = storm_rivals.linear_regression().fit(contexts, truth)
    later = truth[truth["lead_hours"] == 6].assign(time=lambda t: t["time"] + pd.Timedelta(hours=1))
    with pytest.raises(ValueError, match=r"leads of \[7\.0\] h were not in the truth"):
        fitted.predict(contexts, later)


def test_a_rival_refuses_an_origin_with_too_short_a_past():
    contexts, truth = storm_task.forecast_origins(storm())
    recent = contexts[contexts.groupby("origin")["time"].rank(ascending=False) <= 3]
    with pytest.raises(ValueError, match="origin 'Ada 2000 2000-08-02 00h' has less than 24 hours behind it"):
        storm_rivals.linear_regression().fit(recent, truth)


@pytest.mark.parametrize("name", storm_rivals.RIVALS)
def test_a_rival_answers_in_the_order_it_is_asked(name):
    train, _, test = storm_task.split_by_season(load_storms())
    known, (contexts, truth) = (
        storm_task.forecast_origins(part[part["storm"].isin(part["storm"].unique()[-15:])])
        for part in (train, test)
    )
    settings = {"max_iter": 5} if name == "gradient boosting" else {}  # enough to see the order
    rival = storm_rivals.RIVALS[name](**settings).fit(*known)
    asked = truth[["origin", "time"]]
    predicted = rival.predict(contexts, asked)
    assert list(predicted.columns) == ["origin", "time", *storm_task.FORECAST]
    shuffled = asked.sample(frac=1, random_state=0)
    again = rival.predict(contexts.sample(frac=1, random_state=1), shuffled)
    again = again.set_index(shuffled.index).sort_index().reset_index(drop=True)
    pd.testing.assert_frame_equal(predicted, again)


def test_errors_need_every_prediction_and_count_what_bands_hold():
    contexts, truth = storm_task.forecast_origins(storm())
    predicted = storm_rivals.last_value().predict(contexts, truth)
    with pytest.raises(ValueError, match="no prediction of origin 'Ada 2000 2000-08-02 00h'"):
        storm_task.errors(truth, predicted[1:])
    # the wind rises half a knot an hour: 12 h ahead it is 6 kt more, 24 h ahead 12 kt
    predicted["wind-lo-90"], predicted["wind-hi-90"] = predicted["wind"] - 1, predicted["wind"] + 7
    table = storm_task.error_table(truth, {"last value": predicted}, n_bootstrap=10)
    assert table["wind-in-90"].tolist() == [1.0, 1.0, 0.0, 0.0]
    assert table.index.tolist() == [("last value", lead) for lead in storm_task.LEAD_HOURS]


def test_the_bootstrap_draws_storms_and_not_origins():
    storms = [storm(f"S{i} 2000", wind=30 + 0.1 * i * np.arange(17)) for i in range(20)]
    contexts, truth = storm_task.forecast_origins(pd.concat(storms))
    predicted = storm_rivals.last_value().predict(contexts, truth)
    table = storm_task.error_table(truth, {"last value": predicted})
    assert (table["wind_kt-lo"] < table["wind_kt"]).all()
    assert (table["wind_kt"] < table["wind_kt-hi"]).all()
    # Every storm has the same error at all its origins, .1 i knots a step: the interval is twice 1.645
    # standard errors of the mean of 20 numbers; 15 % is the spread of a quantile of 1000 draws of few storms.
    one_step = 0.1 * np.arange(20)
    width = (table["wind_kt-hi"] - table["wind_kt-lo"]).loc[("last value", 6)]
    assert width == pytest.approx(2 * 1.645 * one_step.std() / np.sqrt(20), rel=0.15)
