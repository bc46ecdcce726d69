"""Which columns are taken for the series and the clock where none is named."""

import re

import numpy as np
import pandas as pd
import pytest

from latentode import diagnose
from tests.wards import found, the_one, ward

KEYS = {"id_col": "patient", "time_col": "hours"}


def labs(clock):
    """The ward with a column of text and one of dates, of which nothing says what they are."""
    frame = ward()
    dates = pd.Timestamp("2026-03-01") + pd.to_timedelta(frame.hours.round(3), "h")
    frame = frame.assign(hours=dates if clock == "datetimes" else dates.astype(str))
    return frame.rename(columns={"hours": "drawn_at"}).assign(
        sex=frame.patient.map(lambda p: "fm"[len(p) % 2])
    )


@pytest.mark.parametrize(
    ("clock", "said"),
    [
        ("datetimes", "'drawn_at' holds datetimes: if it is the clock, name it with time_col='drawn_at'"),
        ("text", "'drawn_at' holds text that reads as dates: .* time_col='drawn_at' and read it first with"),
    ],
)
def test_roles_that_were_not_named_are_guessed_first(clock, said):
    report = diagnose(labs(clock))
    assert not report.fits
    assert report.findings[0].kind == "roles"
    assert re.search(said, report.findings[0].text)
    assert "'patient' repeats: if it says which series" in report.findings[0].text
    assert report.facts["series"] == "12"
    assert (report.suggested["id_col"], report.suggested["time_col"]) == ("patient", "drawn_at")
    assert report.suggested["static_cols"] == ["sex"]


def test_whole_numbers_that_name_series_are_guessed_by_the_clock_that_rises_within():
    numbered = ward().assign(patient=lambda frame: frame.patient.str[1:].astype(int))
    report = diagnose(numbered)
    assert report.fits
    assert (report.suggested["id_col"], report.suggested["time_col"]) == ("patient", "hours")
    assert "'hours' rises within each series" in the_one(report, "roles").text


def stays(ids):
    """Patients with whole numbers or text for ids, who share wards and beats a minute."""
    random = np.random.default_rng(0)
    frames = []
    for number in range(30):
        n_rows = int(random.integers(6, 13))
        minutes = np.sort(random.choice(43200, n_rows, replace=False))
        frames.append(
            pd.DataFrame(
                {
                    "sex": "fm"[number % 2],
                    "ward": ["er", "icu", "surgery"][number % 3],
                    "beats": random.integers(60, 91, n_rows),
                    "patient": 1000 + 7 * number if ids == "numbers" else f"p{number}",
                    "drawn_at": pd.Timestamp("2026-03-01") + pd.to_timedelta(minutes, "min"),
                    "potassium": random.normal(4, 0.4, n_rows),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


ORDERS = {
    "one below the other": lambda df: df,
    "one below the other, with a slip": lambda df: df.iloc[[1, 0, *range(2, len(df))]],
    "the latest first": lambda df: df[::-1],
    "by time": lambda df: df.sort_values("drawn_at"),
    "by sex": lambda df: df.sort_values(["sex", "patient", "drawn_at"]),
    "by ward and time": lambda df: df.sort_values(["ward", "drawn_at"]),
    "shuffled": lambda df: df.sample(frac=1.0, random_state=0),
    "shuffled, with dates as text": lambda df: df.sample(frac=1.0, random_state=0).astype({"drawn_at": str}),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("ids", ["numbers", "text"])
@pytest.mark.parametrize("beside", [["sex"], ["ward"], ["sex", "ward", "beats"]])
def test_the_series_are_guessed_whatever_describes_them_and_whatever_the_order_of_rows(beside, ids, order):
    frame = ORDERS[order](stays(ids)).reset_index(drop=True)
    report = diagnose(frame[[*beside, "patient", "drawn_at", "potassium"]])
    assert report.suggested["id_col"] == "patient"
    assert report.suggested["time_col"] == "drawn_at"
    assert report.suggested["static_cols"] == [name for name in beside if name != "beats"]


@pytest.mark.parametrize("ids", ["numbers", "text"])
def test_whole_numbers_that_are_measured_or_part_a_series_are_no_series(ids):
    frame = stays(ids)
    day = frame["drawn_at"].dt.day
    assert (
        diagnose(frame.assign(day=day).sort_values("drawn_at", ignore_index=True)).suggested["id_col"]
        == "patient"
    )
    visit = frame.groupby("patient").cumcount()
    episode = 100 * frame.groupby("patient").ngroup() + visit // 3
    assert diagnose(frame.assign(episode=episode, visit=visit)).suggested["id_col"] == "patient"


def test_a_number_of_the_row_is_no_clock():
    frame = (
        stays("numbers")
        .drop(columns="drawn_at")
        .assign(hours=lambda df: df.groupby("patient").cumcount() + 0.5)
    )
    report = diagnose(frame[["sex", "patient", "hours", "potassium"]].assign(row=np.arange(len(frame))))
    assert (report.suggested["id_col"], report.suggested["time_col"]) == ("patient", "hours")


@pytest.mark.parametrize("ids", ["numbers", "text"])
def test_a_time_that_two_wards_share_does_not_make_series_of_them(ids):
    frame = stays(ids)
    number = frame.groupby("patient", sort=False).ngroup()
    frame["drawn_at"] += pd.to_timedelta(number, "s")
    assert frame["drawn_at"].is_unique
    frame.loc[frame.groupby(number).head(1).index[:2], "drawn_at"] = pd.Timestamp("2026-03-01")
    for rows in (frame, frame.sort_values("drawn_at", ignore_index=True)):
        report = diagnose(rows, time_col="drawn_at", value_cols=["potassium"])
        assert report.suggested["id_col"] == "patient"


def test_nothing_is_suggested_where_no_clock_is_found():
    report = diagnose(ward().drop(columns="hours"))
    assert report.findings[0].text.endswith("name it with id_col='patient'; then the clock with time_col=...")
    assert not report.suggested


def test_a_single_series_has_no_roles_to_guess():
    x = np.random.default_rng(0).poisson(3.0, size=200)
    for frame in (pd.DataFrame({"x": x}), pd.DataFrame({"x": x, "level": np.arange(200) // 50})):
        assert found(diagnose(frame), "roles") == []
    dated = pd.DataFrame({"x": x}, index=pd.date_range("2026", periods=200))
    assert found(diagnose(dated), "roles") == []
