"""Each thing that is wrong with a frame is found and named, and nothing is found in frames that are sound."""

import html

import numpy as np
import pandas as pd
import pytest

from latentode import LatentODE, diagnose
from latentode.datasets import load_co2, load_storms, make_lotka_volterra, make_oscillator
from tests.conftest import make_frame
from tests.wards import found, the_one, ward

KEYS = {"id_col": "patient", "time_col": "hours"}


def changed(column, value, rows=slice(3, 60, 11)):
    frame = ward()
    frame.loc[frame.index[rows], column] = value
    return frame


# Sound data -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "keys"),
    [
        (
            load_storms,
            {"id_col": "storm", "time_col": "time", "value_cols": ["lat", "long", "wind", "pressure"]},
        ),
        (load_co2, {"id_col": "station", "time_col": "time"}),
        (lambda: load_co2().drop(columns="station").set_index("time"), {}),
        (lambda: make_oscillator(50, missing=0.2)[0], {"id_col": "series", "time_col": "time"}),
        (lambda: make_lotka_volterra(50)[0], {"id_col": "series", "time_col": "time"}),
        (lambda: np.random.default_rng(0).normal(size=(80, 3)), {}),
        *[(lambda seed=seed: ward(seed=seed), KEYS) for seed in range(5)],
    ],
    ids=lambda given: "" if isinstance(given, dict) else getattr(given, "__name__", None),
)
def test_sound_data_raise_no_alarm(make, keys):
    report = diagnose(make(), **keys)
    assert report.fits
    assert report.of("suspect") == []
    assert "nothing suspicious was found" in str(report)


def test_the_description_counts_what_there_is():
    frame = ward()
    frame.loc[::4, "hr"] = np.nan
    report = diagnose(frame, **KEYS)
    hr = report.channels.loc["hr"]
    counts = frame.groupby("patient")["hr"].count()
    assert hr["observed"] == frame["hr"].count()
    assert hr["missing"] == pytest.approx(0.25)
    assert (hr["least a series"], hr["most a series"]) == (counts.min(), counts.max())
    assert hr["median"] == frame["hr"].median()
    by_patient = frame.groupby("patient", sort=False)["hours"]
    np.testing.assert_allclose(report.series["span"], by_patient.max() - by_patient.min())
    widest = by_patient.apply(lambda hours: hours.diff().max())
    np.testing.assert_allclose(report.series["largest gap"].to_numpy(), widest[report.series.index])
    assert f"(series '{widest.idxmax()}')" in report.facts["gap"]
    assert report.facts["series"] == "12"


def test_a_report_is_text_and_html():
    report = diagnose(changed("hr", -999.0).rename(columns={"temp": "<temp>"}), **KEYS)
    assert repr(report) == str(report)
    page = report._repr_html_()
    assert "&lt;temp&gt;" in page
    assert "<temp>" not in page
    for part in (*report.facts.values(), "worth a look before fitting", "creatinine"):
        assert html.escape(part) in page


def test_zones_and_kinds_of_clock_are_told():
    frame = ward()
    dated = pd.Timestamp("2026-01-01") + pd.to_timedelta(frame["hours"], "h")
    assert "without a time zone" in diagnose(frame.assign(hours=dated), **KEYS).facts["times"]
    local = dated.dt.round("s").dt.tz_localize("Europe/Berlin")
    aware = diagnose(frame.assign(hours=local), **KEYS)
    assert "Europe/Berlin" in aware.facts["times"]
    objects = pd.Series([time.to_pydatetime() for time in local], frame.index, dtype=object)
    assert diagnose(frame.assign(hours=objects), **KEYS).facts == aware.facts
    pytest.importorskip("pyarrow")
    of_arrow = local.astype("timestamp[us, tz=Europe/Berlin][pyarrow]")
    assert diagnose(frame.assign(hours=of_arrow), **KEYS).facts == aware.facts
    assert aware.facts["span"].endswith("h")
    assert "lengths of time" in diagnose(frame.assign(hours=dated - dated.min()), **KEYS).facts["times"]


# What fit refuses -------------------------------------------------------------

REFUSED = {
    "text among numbers": (lambda: ward().assign(hr="high"), KEYS),
    "infinite": (lambda: changed("hr", np.inf, 3), KEYS),
    "no id": (lambda: changed("patient", None, 3), KEYS),
    "no time": (lambda: changed("hours", np.nan, 3), KEYS),
    "contradicting rows": (lambda: pd.concat([ward(), ward().head(1).assign(hr=1.0)]), KEYS),
    "never observed": (lambda: ward().assign(hr=np.nan), KEYS),
    "text as time": (lambda: ward().assign(hours="2026-01-0" + (ward().index % 9 + 1).astype(str)), KEYS),
    "unknown column": (ward, {"id_col": "person", "time_col": "hours"}),
    "empty": (lambda: ward().head(0), KEYS),
    "no frame": (lambda: None, {}),
    "no channel": (lambda: ward()[["patient", "hours"]], KEYS),
    "all text": (lambda: ward().astype(str), KEYS),
}


def test_text_that_is_no_channel_is_told_with_the_role_it_may_have():
    report = diagnose(ward().assign(sex=np.repeat(["f", "m"], 120)), **KEYS)
    assert "name it in static_cols=['sex']" in the_one(report, "frame").text


@pytest.mark.parametrize("name", REFUSED)
def test_what_fit_refuses_is_told_in_its_words(name):
    make, keys = REFUSED[name]
    report = diagnose(make(), **keys)
    assert not report.fits
    with pytest.raises((ValueError, TypeError)) as refusal:
        LatentODE(**keys, max_iter=1).fit(make())
    told = [finding.text.split(";")[0] for finding in report.of("refused")]
    assert str(refusal.value).split(";")[0] in told
    assert "fit would refuse this frame" in str(report)


def test_the_rest_of_a_refused_frame_is_still_described():
    frame = changed("hr", np.inf, [3, 4]).assign(note="text")
    frame.loc[7, "hours"] = np.nan
    frame.loc[9, "temp"] = 370.0
    report = diagnose(frame, **KEYS)
    assert len(report.of("refused")) == 3
    assert report.channels.loc["hr", "observed"] == len(frame) - 3
    assert "10 times too large" in the_one(report, "units").text
    assert report.suggested["value_cols"] == ["hr", "temp", "creatinine"]


def test_channels_are_suggested_only_where_a_column_is_left_out_or_they_were_chosen():
    for frame in (ward(), changed("hr", np.inf, [3]), changed("hours", np.nan, [3])):
        report = diagnose(frame, **KEYS)
        assert report.suggested == KEYS
        assert "the other columns" not in str(report)
        chosen = diagnose(frame, **KEYS, value_cols=["hr", "temp"])
        assert chosen.suggested == KEYS | {"value_cols": ["hr", "temp"]}
        assert "the other columns" not in str(chosen)
    report = diagnose(ward().assign(note="text"), **KEYS)
    assert report.suggested["value_cols"] == ["hr", "temp", "creatinine"]
    assert report.reasons["value_cols"] == "the other columns hold no numbers that change in time"
    numbered = ward().assign(patient=lambda frame: frame["patient"].str[1:].astype(int))
    assert "value_cols" not in diagnose(numbered, time_col="hours").reasons  # nothing but the forgotten id


@pytest.mark.parametrize("cell", ["error", "<60"])
def test_a_channel_with_cells_of_text_is_described_and_suggested(cell):
    frame = ward().astype({"hr": object})
    frame.loc[3, "hr"] = cell
    report = diagnose(frame, **KEYS)
    assert [f"'{cell}'" in one.text for one in report.of("refused")] == [True]
    assert report.channels.loc["hr", "observed"] == len(frame) - 1
    frame.loc[3, "hr"] = "78,5"
    assert diagnose(frame, **KEYS).channels.loc["hr", "observed"] == len(frame)
    assert report.suggested == KEYS  # once mended no channel is to be left out


def test_cells_that_are_no_text_and_columns_of_other_things_are_left_out():
    frame = ward().astype({"hr": object})
    frame.loc[3, "hr"] = "\udcff"  # of no encoding
    assert diagnose(frame, **KEYS).suggested == KEYS
    with pytest.raises(TypeError, match="column 'hr' holds text where numbers belong"):
        LatentODE(**KEYS).fit(frame)
    years = pd.period_range("1700", periods=len(frame), freq="Y")
    objects = pd.Series(list(years), index=frame.index, dtype=object)
    for column in (years, objects, ward()["hr"].astype("category")):
        report = diagnose(ward().assign(hr=column), **KEYS)
        assert not report.fits
        assert report.suggested["value_cols"] == ["temp", "creatinine"]


def test_text_times_are_read_for_the_description():
    frame = ward()
    frame["hours"] = (pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(frame["hours"], "h")).astype(str)
    report = diagnose(frame, **KEYS)
    assert not report.fits
    assert "UTC" in report.facts["times"]
    np.testing.assert_allclose(
        report.series["span"], diagnose(ward(), **KEYS).series["span"] * 3600, rtol=1e-6
    )


@pytest.mark.parametrize("name", [1, ("clock", "hours")])
def test_text_times_are_read_whatever_their_column_is_called(name):
    frame = ward()
    # Not by `rename`: of a tuple pandas makes a column of two levels.
    frame.columns = pd.Index(
        [name if column == "hours" else column for column in frame], dtype=object, tupleize_cols=False
    )
    frame[name] = frame[name].astype(str)
    report = diagnose(frame, "patient", name)
    assert not report.fits
    pd.testing.assert_frame_equal(report.series, diagnose(ward(), **KEYS).series)


# What looks like a mistake ----------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *[
            ("hr", -1.0),
            ("hr", -999.0),
            ("temp", 0.0),
            ("hr", 999.0),
            ("creatinine", -9999.0),
            ("temp", 99.0),
        ],
        *[("temp", 99.999), ("temp", -99.9), ("hr", -999.25)],
    ],
)
def test_placeholders_are_found(column, value):
    report = diagnose(changed(column, value), **KEYS)
    finding = the_one(report, "placeholder")
    assert finding.column == column
    assert f"{column!r} is {value:g} in 6 rows" in finding.text
    assert "series 'p0', hours=" in finding.text
    assert len(report.of("suspect")) == 1


def test_several_placeholders_are_told_apart():
    frame = changed("hr", -1.0)
    frame.loc[[10, 20, 30], "hr"] = -999.0
    texts = [finding.text for finding in found(diagnose(frame, **KEYS), "placeholder")]
    assert len(texts) == 2
    assert "-999 in 3 rows" in texts[0]
    assert "-1 in 6 rows" in texts[1]


def test_numbers_of_the_usual_kind_within_the_bulk_are_no_placeholders():
    random = np.random.default_rng(0)
    frame = ward().assign(
        pressure=np.round(random.normal(1000, 8, 240)), change=np.round(random.normal(0, 4, 240))
    )
    assert {999.0} < set(frame["pressure"])
    assert {-1.0, 0.0} <= set(frame["change"])
    assert diagnose(frame, **KEYS).of("suspect") == []


@pytest.mark.parametrize(
    ("factor", "said"),
    [(10, "10 times too large"), (1e-3, "1000 times too small"), (1000, "1000 times too large")],
)
def test_other_units_are_found(factor, said):
    frame = ward()
    rows = frame["patient"] == "p3"
    frame.loc[rows, "creatinine" if factor != 10 else "temp"] *= factor
    finding = the_one(diagnose(frame, **KEYS), "units")
    assert said in finding.text
    assert "in 20 rows" in finding.text
    assert "series 'p3'" in finding.text


def test_one_slipped_decimal_point_is_found():
    assert "10 times too large" in the_one(diagnose(changed("temp", 372.0, 5), **KEYS), "units").text


@pytest.mark.parametrize(("share", "said"), [(0.2, "in degrees Fahrenheit"), (0.8, "in degrees Celsius")])
def test_fahrenheit_among_celsius_is_found(share, said):
    frame = ward()
    rows = np.arange(len(frame)) < share * len(frame)
    frame.loc[rows, "temp"] = frame.loc[rows, "temp"] * 1.8 + 32
    finding = the_one(diagnose(frame, **KEYS), "units")
    assert said in finding.text
    assert "in 48 rows" in finding.text


def test_outliers_are_counted_and_the_farthest_named():
    frame = changed("hr", 260.0, [5])
    frame.loc[50, "hr"] = 310.0
    finding = the_one(diagnose(frame, **KEYS), "outliers")
    assert "'hr' has 2 outliers, the farthest 310 at series 'p2'" in finding.text


def test_useless_channels_are_left_out_of_the_suggestion():
    frame = ward().assign(
        flat=5.0, rare=np.nan, height=np.repeat(np.arange(160, 172), 20), sex=ward().index % 2
    )
    frame.loc[[3, 30], "rare"] = [1.0, 2.0]
    report = diagnose(frame, **KEYS)
    assert report.suggested["value_cols"] == ["hr", "temp", "creatinine", "rare", "sex"]
    assert the_one(report, "constant").column == "flat"
    assert the_one(report, "nearly empty").column == "rare"
    assert the_one(report, "static").column == "height"
    assert the_one(report, "categories").column == "sex"
    assert report.fits
    assert report.of("suspect") == []


def test_duplicates_that_agree_are_merged():
    frame = pd.concat([ward(), ward().head(7)])
    finding = the_one(diagnose(frame, **KEYS), "duplicates")
    assert finding.text.startswith("7 rows repeat")
    assert finding.severity == "note"


def test_a_forgotten_id_at_odd_times_is_refused_and_suggested():
    bed = ward().assign(bed=np.repeat(np.arange(12), 20)).drop(columns="patient")
    report = diagnose(bed, time_col="hours")
    assert "name it with id_col='bed'" in the_one(report, "frame").text
    assert report.suggested["id_col"] == "bed"
    assert diagnose(bed, "bed", "hours").fits


ONE = ward(1, 240).drop(columns="patient").assign(bed=3, day=np.repeat(np.arange(12), 20))
SINGLE = {
    "in order": ONE,
    "shuffled": ONE.sample(frac=1.0, random_state=0),
    "the last first": ONE[::-1].assign(row=np.arange(240)),
    "the last day first": ONE.sort_values("day", ascending=False, kind="stable"),
}


@pytest.mark.parametrize("name", SINGLE)
def test_no_id_is_missed_in_a_single_series(name):
    channels = ["hr", "temp", "creatinine"]
    for frame in (SINGLE[name], SINGLE[name].set_index("hours")):
        time_col = "hours" if "hours" in frame else None
        assert diagnose(frame, time_col=time_col, value_cols=channels).of("suspect") == []


def test_a_forgotten_id_is_found():
    frame = ward().assign(hours=np.tile(np.arange(20.0), 12), bed=np.repeat(np.arange(12), 20))
    report = diagnose(frame.drop(columns="patient"), time_col="hours")
    assert "was id_col='bed' forgotten?" in the_one(report, "id").text
    assert report.suggested["id_col"] == "bed"
    assert "bed" not in report.suggested["value_cols"]
    assert diagnose(frame, **KEYS, value_cols=["hr"]).of("suspect") == []


def test_an_id_that_numbers_the_rows_is_found():
    frame = ward().assign(row=np.arange(240))
    assert "does 'row' number the rows?" in the_one(diagnose(frame, "row", "hours", ["hr"]), "id").text


# Clocks -----------------------------------------------------------------------


def test_seconds_among_milliseconds_are_found():
    seconds = 1.75e9 + 3600 * ward()["hours"].round()
    sound = diagnose(ward().assign(hours=seconds), **KEYS)
    assert "seconds since 1970" in the_one(sound, "epoch").text
    assert sound.of("suspect") == []
    mixed = seconds.where(ward()["patient"] != "p4", seconds * 1000)
    finding = the_one(diagnose(ward().assign(hours=mixed), **KEYS), "mixed clocks")
    assert "20 rows count in milliseconds, the first is row 80" in finding.text


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_dates_read_in_the_wrong_unit_are_found(factor):
    seconds = 1.75e9 + 3600 * ward()["hours"]
    mixed = seconds.where(ward()["patient"] != "p4", seconds * factor)
    dates = pd.to_datetime((mixed * 1e6).astype("int64").astype("datetime64[us]"))
    finding = the_one(diagnose(ward().assign(hours=dates), **KEYS), "mixed clocks")
    assert "has 20 dates such as" in finding.text
    assert "around 2025" in finding.text


def test_dates_written_as_numbers_are_found():
    days = pd.date_range("2025-12-01", periods=240, freq="D").strftime("%Y%m%d").astype(int)
    finding = the_one(diagnose(ward().assign(hours=days), **KEYS), "dates as numbers")
    assert "20251201" in finding.text


# Advice -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "task"),
    [([100.0, 120.0], "extrapolate"), ([24.0, 100.0], "both")],
)
def test_queries_say_what_the_model_is_for(hours, task):
    queries = pd.DataFrame({"patient": np.repeat(ward()["patient"].unique(), 2), "hours": hours * 12})
    report = diagnose(pd.concat([ward(), queries]), **KEYS)
    assert report.suggested["task"] == task
    assert "24 rows without a value" in report.reasons["task"]
    assert "task" not in diagnose(ward(), **KEYS).suggested


def test_rows_without_a_value_among_the_others_are_told_and_decide_nothing():
    frame = ward()
    frame.loc[frame.index % 20 == 5, ["hr", "temp", "creatinine"]] = np.nan
    report = diagnose(frame, **KEYS)
    assert the_one(report, "queries").text.startswith(
        "12 rows without a value among the others: fit passes over"
    )
    assert "task" not in report.suggested
    assert not found(diagnose(ward(), **KEYS), "queries")


def test_few_empty_long_and_single_series_are_noted():
    few = diagnose(ward(n_series=3), **KEYS)
    assert "3 series with 60 rows are few" in the_one(few, "few series").text
    hidden = ward()
    hidden.loc[hidden["patient"] == "p2", ["hr", "temp", "creatinine"]] = np.nan
    assert "1 series has no observed value, 'p2'" in the_one(diagnose(hidden, **KEYS), "empty series").text
    long = diagnose(ward(n_series=12, n_rows=300), **KEYS)
    assert "the longest has 300" in the_one(long, "long series").text
    lone = pd.concat([ward(), ward(n_series=40, n_rows=1).assign(patient=lambda f: "q" + f["patient"])])
    assert (
        "77 % of the series have a single observed row" in the_one(diagnose(lone, **KEYS), "single rows").text
    )


def test_the_suggestion_fits():
    frame = make_frame().assign(height=1.0)
    report = diagnose(frame, **KEYS)
    model = LatentODE(**report.suggested, max_iter=1, random_state=0).fit(frame)
    assert model.value_cols_ == ["hr", "temp"]


def test_the_frame_is_left_as_it_was():
    frame = changed("hr", np.inf, 3).assign(hours=lambda f: f["hours"].astype(str))
    before = frame.copy()
    diagnose(frame, **KEYS)
    pd.testing.assert_frame_equal(frame, before)
