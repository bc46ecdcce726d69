"""Axes of time: their ticks, dates, units and zones."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib import dates

from latentode.plotting import plot_observations, plot_trajectories
from tests.drawn import Ramp, cuts, on_clock

pytestmark = pytest.mark.usefixtures("clean_desk")


@pytest.mark.parametrize(
    ("ticks", "expected"),
    [
        (["03-28 12:00", "03-29 00:00", "03-29 12:00"], ["12:00\nMar-28", "Mar-29", "12:00"]),
        (["03-28 23:45", "03-29 00:00", "03-29 00:15"], ["23:45\nMar-28", "00:00\nMar-29", "00:15"]),
        (["03-28 17:30:15", "03-28 17:30:20"], ["17:30:15\nMar-28", "20"]),
        (["03-30", "03-31", "04-01", "04-02"], ["30\nMar", "31", "01\nApr", "02"]),
        (["03-01", "05-01", "07-01"], ["Mar", "May", "Jul"]),
        (["03-28 12:00"], ["12:00\nMar-28"]),
        ([], []),
    ],
)
@pytest.mark.parametrize("zone", [None, "America/New_York"])
def test_the_first_tick_of_each_day_and_month_names_it(ticks, expected, zone):
    clock = pd.date_range("2026-03-28", periods=3, tz=zone)
    ax = plot_observations(pd.DataFrame({"x": np.arange(3.0)}, index=clock))
    times = pd.DatetimeIndex([f"2026-{tick}" for tick in ticks], tz=zone)
    plain = times if zone is None else times.tz_convert("UTC").tz_localize(None)
    assert ax.xaxis.get_major_formatter().format_ticks(dates.date2num(plain.to_numpy())) == expected
    ax.figure.canvas.draw()
    assert ax.xaxis.get_offset_text().get_text() == ""


def test_the_hour_that_summer_time_leaves_out_is_not_named_twice():
    clock = pd.date_range("2024-03-31 01:00", periods=20, freq="9min", tz="Europe/Berlin")
    ax = plot_observations(pd.DataFrame({"x": np.arange(20.0)}, index=clock))
    ticks = pd.DatetimeIndex(["2024-03-31 00:00", "2024-03-31 01:00", "2024-03-31 01:00", "2024-03-31 02:00"])
    labels = ax.xaxis.get_major_formatter().format_ticks(dates.date2num(ticks.to_numpy()))  # in UTC
    assert labels == ["01:00\nMar-31", "03:00", "", "04:00"]


@pytest.mark.parametrize(
    ("end", "zone", "label"),
    [
        ("2026-12-31", None, "when, 2026"),
        ("2027-01-01", None, "when, 2026 to 2027"),
        ("2035-01-01", None, "when"),
        ("2026-12-31", "Asia/Kolkata", "when, 2026 (Asia/Kolkata)"),
        ("2026-12-31", "UTC", "when, 2026 (UTC)"),
        ("2026-12-31", "+02:00", "when, 2026 (UTC+02:00)"),
        ("2035-01-01", "UTC", "when (UTC)"),
    ],
)
def test_the_label_of_dates_says_their_years_and_zone(end, zone, label):
    clock = pd.DatetimeIndex(["2026-12-30", end], tz=zone, name="when")
    assert plot_observations(pd.DataFrame({"x": [0.0, 1.0]}, index=clock)).get_xlabel() == label
    unnamed = plot_observations(pd.DataFrame({"x": [0.0, 1.0]}, index=clock.rename(None)))
    assert unnamed.get_xlabel() == label.removeprefix("when").lstrip(", ")


@pytest.mark.parametrize(
    ("factor", "unit"), [(1, "hours"), (60, "days"), (1 / 60, "minutes"), (1 / 3600, "seconds")]
)
def test_a_timedelta_axis_says_its_unit(factor, unit):
    frame = on_clock()
    frame["hours"] = pd.to_timedelta(frame["hours"] * factor, unit="h")
    ax = plot_trajectories(Ramp(frame, "patient", "hours"), frame, series="p0", channels="hr")
    assert ax.get_xlabel() == f"hours ({unit})"
    own = frame.loc[frame["patient"] == "p0", "hours"]
    np.testing.assert_allclose(cuts(ax), own.max() / pd.Timedelta(1, unit))


@pytest.mark.parametrize("hours", [0.01, 1, 2.9, 30, 62, 71.9, 24 * 20, 24 * 89, 24 * 1000])
def test_spans_of_every_length_find_their_ticks(hours):
    clock = pd.Timestamp("2026-03-20", tz="UTC") + pd.to_timedelta(np.linspace(0, hours, 5), "h")
    frame = pd.DataFrame({"x": np.arange(5.0)}, index=clock)
    axes = plot_observations(frame)
    figure = axes.figure
    figure.canvas.draw()  # matplotlib warns here where it finds no ticks, and warnings are errors
    assert 2 <= len(axes.get_xticks()) <= 8
    plt.close(figure)
