"""What the pictures show is what the data and the model say, in every layout and on every clock."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib import dates
from sklearn.exceptions import NotFittedError

from latentode import LatentODE
from latentode.frames import ask_times, read_frame
from latentode.plotting import plot_history, plot_observations, plot_trajectories
from tests.drawn import CLOCKS, Ramp, Trained, as_drawn, cuts, labels, line, on_clock, polygons

pytestmark = pytest.mark.usefixtures("clean_desk")


# Trajectories -----------------------------------------------------------------


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("layout", ["columns", "index", "single"])
def test_points_and_cut_are_where_the_data_are(layout, clock):
    frame = on_clock(clock)
    keys = {"id_col": "patient", "time_col": "hours"} if layout == "columns" else {}
    if layout == "index":
        frame = frame.set_index(["patient", "hours"])
    if layout == "single":
        frame = frame[frame["patient"] == "p0"].drop(columns="patient").set_index("hours")
    axes = np.atleast_2d(plot_trajectories(Ramp(frame, **keys), frame.sample(frac=1, random_state=0)))
    assert axes.shape == ((1, 3) if layout == "single" else (3, 3))

    flat = frame if layout == "columns" else frame.reset_index()
    for row in axes:
        own = flat if layout == "single" else flat[flat["patient"] == row[0].get_title()]
        for ax, name in zip(row, ["hr", "temp", "flat"], strict=True):
            seen = own.dropna(subset=name).sort_values("hours")
            points = line(ax, "observed")
            np.testing.assert_allclose(points.get_xdata(), as_drawn(clock, seen["hours"]), rtol=1e-12)
            np.testing.assert_allclose(points.get_ydata(), seen[name], rtol=1e-12)
            np.testing.assert_allclose(cuts(ax), as_drawn(clock, own["hours"])[[-1]], rtol=1e-12)


def test_axes_are_labelled_by_the_columns_and_titled_by_the_series():
    frame = on_clock("datetime")
    axes = plot_trajectories(
        Ramp(frame, "patient", "hours"), frame, series=["p3", "p0"], channels=["hr", "flat"]
    )
    assert [ax.get_title() for ax in axes[:, 0]] == ["p3", "p0"]
    assert [ax.get_ylabel() for ax in axes[0]] == ["hr", "flat"]
    assert [ax.get_xlabel() for ax in axes[:, -1]] == ["hours, 2024 (Europe/Berlin)"] * 2
    # what the neighbour says is not said again
    assert [ax.get_title() for ax in axes[:, 1]] == ["", ""]
    assert [ax.get_ylabel() for ax in axes[1]] == ["", ""]


def test_dates_are_concise_and_in_the_series_own_zone():
    frame = on_clock("datetime")
    ax = plot_trajectories(Ramp(frame, "patient", "hours"), frame, series="p0", channels="hr")
    formatter = ax.xaxis.get_major_formatter()
    assert isinstance(formatter, dates.ConciseDateFormatter)
    midnight = as_drawn("datetime", [pd.Timestamp("2024-10-26", tz="Europe/Berlin")])
    noon = midnight + 0.5
    assert formatter.format_ticks([*midnight, *noon]) == ["Oct-26", "12:00"]
    # the axis takes the user's own dates
    ax.axvline(pd.Timestamp("2024-10-26 03:00", tz="Europe/Berlin"))
    assert ax.convert_xunits(pd.Timestamp("2024-10-26", tz="Europe/Berlin")) == midnight[0]


def test_mean_bands_and_paths_are_what_the_model_answers():
    frame = on_clock()
    model = Ramp(frame, "patient", "hours")
    times = np.linspace(0, 12, 7)
    axes = plot_trajectories(
        model, frame, series=["p0", "p2"], times=times, level=[50, 90], n_samples=4, random_state=3
    )
    both = frame[frame["patient"].isin(["p0", "p2"])]
    for row, patient in enumerate(["p0", "p2"]):
        answered = model.predict(both, times=times, level=[50, 90], point="median")
        sampled = model.sample(both, times=times, n_samples=4, random_state=3)
        answered, sampled = (one[one["patient"] == patient] for one in (answered, sampled))
        for ax, name in zip(axes[row], model.value_cols_, strict=True):
            mean = line(ax, "median")
            np.testing.assert_array_equal(mean.get_xdata(), times)
            np.testing.assert_array_equal(mean.get_ydata(), answered[name])
            for level, (low, high) in zip([90, 50], polygons(ax), strict=True):  # the wider lies below
                np.testing.assert_array_equal(low, answered[f"{name}-lo-{level}"])
                np.testing.assert_array_equal(high, answered[f"{name}-hi-{level}"])
            paths = [drawn.get_ydata() for drawn in ax.lines if drawn.get_linewidth() == 0.6]
            np.testing.assert_array_equal(paths, sampled[name].to_numpy().reshape(4, 7))


def test_the_legend_shows_nested_bands_as_dark_as_they_are():
    frame = on_clock()
    ax = plot_trajectories(
        Ramp(frame, "patient", "hours"), frame, series="p0", channels="hr", level=[50, 99, 90]
    )
    (legend,) = ax.figure.legends
    assert [text.get_text() for text in legend.texts] == [
        *("observed", "median", "99 % band", "90 % band", "50 % band", "sampled paths", "forecast")
    ]
    alphas = [patch.get_alpha() for patch in legend.get_patches()[:3]]
    # shades of opacity a upon each other let (1 - a)^n through
    np.testing.assert_allclose(alphas, [1 - 0.82, 1 - 0.82**2, 1 - 0.82**3])


def test_the_grid_is_fine_and_holds_the_observed_times():
    frame = on_clock()
    ax = plot_trajectories(Ramp(frame, "patient", "hours"), frame, series="p0", channels="hr", horizon=2.5)
    x = line(ax, "median").get_xdata()
    own = frame[frame["patient"] == "p0"].dropna(how="all", subset=["hr", "temp", "flat"])["hours"]
    assert x[0] == own.min()
    np.testing.assert_allclose(x[-1], own.max() + 2.5)
    assert np.isin(own, x).all()
    assert (np.diff(x) > 0).all()
    assert 200 <= len(x) <= 200 + len(own)


@pytest.mark.parametrize("clock", ["datetime", "timedelta"])
def test_horizons_are_lengths_of_time_on_clocks_that_have_them(clock):
    frame = on_clock(clock)
    ax = plot_trajectories(
        Ramp(frame, "patient", "hours"), frame, series="p0", channels="hr", horizon="90min"
    )
    end = frame.loc[frame["patient"] == "p0", "hours"].max() + pd.Timedelta("90min")
    # the grid is rounded to microseconds: 1e-11 days
    np.testing.assert_allclose(
        line(ax, "median").get_xdata()[-1], as_drawn(clock, [end])[0], rtol=0, atol=1e-9
    )


def test_without_horizon_nothing_is_called_forecast():
    frame = on_clock()
    ax = plot_trajectories(Ramp(frame, "patient", "hours"), frame, series="p0", channels="hr", horizon=0)
    assert line(ax, "median").get_xdata()[-1] == frame.loc[frame["patient"] == "p0", "hours"].max()
    assert cuts(ax) == []
    assert "forecast" not in labels(ax)


def test_the_default_horizon_is_a_fifth_of_the_span_or_the_end_of_the_truth():
    frame = on_clock()
    model = Ramp(frame, "patient", "hours")
    hours = frame.loc[frame["patient"] == "p0", "hours"]
    span = hours.max() - hours.min()
    ax = plot_trajectories(model, frame, series="p0", channels="hr")
    np.testing.assert_allclose(line(ax, "median").get_xdata()[-1], hours.max() + span / 5)
    early = frame[frame["hours"] <= 4.0]
    ax = plot_trajectories(model, early, series="p0", channels="flat", truth=frame)
    np.testing.assert_allclose(line(ax, "median").get_xdata()[-1], hours.max())


def test_withheld_values_are_open_markers_where_the_model_was_given_none():
    frame = on_clock()
    model = Ramp(frame, "patient", "hours")
    early = frame[frame["hours"] <= 4.0]
    ax = plot_trajectories(model, early, series="p0", channels="hr", truth=frame)
    hidden = frame[(frame["patient"] == "p0") & (frame["hours"] > 4.0)].dropna(subset="hr")
    markers = line(ax, "withheld")
    np.testing.assert_array_equal(markers.get_xdata(), hidden["hours"])
    np.testing.assert_array_equal(markers.get_ydata(), hidden["hr"])
    assert markers.get_markerfacecolor() == "none"
    # a horizon ends the picture, also of the truth
    ax = plot_trajectories(model, early, series="p0", channels="hr", truth=frame, horizon=3)
    last = early.loc[early["patient"] == "p0", "hours"].max()
    np.testing.assert_array_equal(
        line(ax, "withheld").get_xdata(), hidden["hours"][hidden["hours"] <= last + 3]
    )


def test_each_series_is_drawn_at_its_own_times():
    frame = on_clock()
    asked = pd.DataFrame({"patient": ["p2", "p0", "p0"], "hours": [5.0, 9.0, 3.0]})
    axes = plot_trajectories(
        Ramp(frame, "patient", "hours"), frame, series=["p0", "p2"], channels="hr", times=asked
    )
    assert line(axes[0, 0], "median").get_xdata().tolist() == [3.0, 9.0]
    assert line(axes[1, 0], "median").get_xdata().tolist() == [5.0]
    with pytest.raises(ValueError, match="times holds none for series 'p3'"):
        plot_trajectories(Ramp(frame, "patient", "hours"), frame, series="p3", times=asked)


def test_series_without_times_are_named_by_their_number():
    frame = on_clock()
    frame["patient"] = frame["patient"].str[1:].astype(int)
    asked = pd.DataFrame({"patient": [2], "hours": [5.0]})
    with pytest.raises(ValueError, match="times holds none for series 3;"):
        plot_trajectories(Ramp(frame, "patient", "hours"), frame, series=3, times=asked)


def test_bands_and_paths_can_be_left_out():
    frame = on_clock()
    ax = plot_trajectories(
        Ramp(frame, "patient", "hours"), frame, series="p0", channels="hr", level=None, n_samples=0
    )
    assert labels(ax) == ["observed", "median", "forecast"]
    assert polygons(ax) == []


def test_an_array_and_a_series_of_one_row_can_be_drawn():
    values = np.cos(np.arange(20.0))[:, None]
    ax = plot_trajectories(Ramp(values), values, horizon=5)
    np.testing.assert_array_equal(line(ax, "observed").get_ydata(), values[:, 0])
    assert line(ax, "median").get_xdata()[-1] == 24
    frame = pd.DataFrame({"who": ["a", "b", "b"], "at": [1.0, 0.0, 5.0], "x": [1.0, 2.0, 3.0]})

    class Flat(Ramp):
        def _ask(self, df, times):
            table = read_frame(df, id_col="who", time_col="at")
            questions = ask_times(table, times)
            return table, questions, np.zeros(len(questions))

    axes = plot_trajectories(Flat(frame, "who", "at"), frame)
    assert line(axes[0, 0], "median").get_xdata()[[0, -1]].tolist() == [1.0, 2.0]


# Axes given by the user -------------------------------------------------------


def test_given_axes_are_drawn_in_and_no_figure_is_opened():
    frame = on_clock()
    model = Ramp(frame, "patient", "hours")
    figure, ax = plt.subplots()
    assert plot_trajectories(model, frame, series="p0", channels="hr", ax=ax) is ax
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == ("p0", "hours", "hr")
    other, grid = plt.subplots(2, 2)
    axes = plot_trajectories(model, frame, series=["p0", "p2"], channels=["hr", "temp"], ax=grid)
    assert (axes == grid).all()
    assert [ax.get_ylabel() for ax in grid.flat] == ["hr", "temp"] * 2
    assert plt.get_fignums() == [figure.number, other.number]


def test_a_legend_in_given_axes_hides_no_data():
    frame = on_clock()
    figure, ax = plt.subplots()
    plot_trajectories(
        Ramp(frame, "patient", "hours"), frame, series="p0", channels="hr", level=[50, 90], ax=ax
    )
    figure.canvas.draw()
    highest = max(drawn.get_ydata().max() for drawn in ax.lines if drawn.get_transform() == ax.transData)
    assert ax.get_legend().get_window_extent().y0 > ax.transData.transform((0, highest))[1]


def test_labels_of_many_channels_do_not_overlap():
    frame = on_clock()
    frame = frame.assign(**{f"a channel with a long name, {k}": 1.0 * k for k in range(3)})
    for axes in (
        plot_trajectories(Ramp(frame, "patient", "hours"), frame, series="p0"),
        plot_observations(frame, id_col="patient", time_col="hours", series="p0"),
    ):
        figure = axes[0, 0].figure
        figure.canvas.draw()
        boxes = [ax.yaxis.label.get_window_extent() for ax in axes[0]]
        boxes.append(figure.legends[0].get_window_extent())
        assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


# Mistakes ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"series": "p9"}, r"series 'p9' is not in the data, which hold \['p0', 'p2', 'p3'\]"),
        ({"series": ["p0", 7]}, "series 7 is not in the data"),
        ({"series": []}, "series is empty"),
        (
            {"channels": ["hr", "pulse"]},
            r"channel 'pulse' is not in the data, which hold \['hr', 'temp', 'flat'\]",
        ),
        ({"horizon": -1}, "horizon must be positive and finite; got -1"),
        ({"horizon": 1, "times": [1.0]}, "times and horizon both say how far to draw"),
        ({"times": []}, "times is empty"),
        ({"level": 120}, "level must lie between 1 and 100"),
        ({"n_samples": -1}, "n_samples"),
        ({"truth": on_clock().query("patient == 'p0'"), "series": "p2"}, r"truth holds none of .*\['p2'\]"),
    ],
)
def test_mistakes_are_named_before_anything_is_drawn(arguments, message):
    frame = on_clock()
    with pytest.raises(ValueError, match=message):
        plot_trajectories(Ramp(frame, "patient", "hours"), frame, **arguments)
    assert plt.get_fignums() == []


def test_a_wrong_number_of_axes_is_named():
    frame = on_clock()
    model = Ramp(frame, "patient", "hours")
    _, ax = plt.subplots()
    with pytest.raises(ValueError, match=r"single Axes.*3 series and 1 channels make 3 panels.*series="):
        plot_trajectories(model, frame, channels="hr", ax=ax)
    with pytest.raises(ValueError, match="ax holds 1 Axes, but 1 series and 2 channels make 2 panels"):
        plot_trajectories(model, frame, series="p0", channels=["hr", "temp"], ax=[ax])
    with pytest.raises(ValueError, match=r"single Axes.*value_cols="):
        plot_observations(frame, id_col="patient", time_col="hours", ax=ax)
    with pytest.raises(ValueError, match="ax holds 1 Axes; the history needs two"):
        plot_history(Trained([1.0]), ax=ax)


def test_a_single_series_has_no_id_to_choose_by():
    frame = on_clock().query("patient == 'p0'").drop(columns="patient").set_index("hours")
    with pytest.raises(ValueError, match="single series without an id; leave out series='p0'"):
        plot_trajectories(Ramp(frame), frame, series="p0")
    with pytest.raises(ValueError, match="single series without an id; leave out series='p0'"):
        plot_observations(frame, series="p0")


def test_a_horizon_must_suit_the_clock():
    frame = on_clock("datetime")
    with pytest.raises(TypeError, match="horizon must be a length of time such as '48h'"):
        plot_trajectories(Ramp(frame, "patient", "hours"), frame, horizon=48)
    with pytest.raises(ValueError, match="horizon must be positive and finite"):
        plot_trajectories(Ramp(frame, "patient", "hours"), frame, horizon="-2h")


def test_a_model_must_be_fitted():
    with pytest.raises(NotFittedError, match="not fitted yet"):
        plot_trajectories(LatentODE("patient", "hours"), on_clock())
    with pytest.raises(NotFittedError, match="not fitted yet"):
        plot_history(object())


# Observations -----------------------------------------------------------------


@pytest.mark.parametrize("clock", CLOCKS)
def test_missing_entries_are_ticks_at_their_times(clock):
    frame = on_clock(clock)
    axes = plot_observations(frame, id_col="patient", time_col="hours", value_cols=["hr", "flat"])
    assert axes.shape == (3, 2)
    own = frame[frame["patient"] == "p0"]
    seen, missing = own[own["hr"].notna()], own[own["hr"].isna()]
    ax = axes[0, 0]
    assert len(missing)
    np.testing.assert_allclose(line(ax, "observed").get_xdata(), as_drawn(clock, seen["hours"]))
    np.testing.assert_array_equal(line(ax, "observed").get_ydata(), seen["hr"])
    ticks = line(ax, "missing")
    np.testing.assert_allclose(ticks.get_xdata(), as_drawn(clock, missing["hours"]))
    assert ticks.get_transform() == ax.get_xaxis_transform()
    assert labels(axes[0, 1]) == ["observed"]


def test_observations_of_one_series_and_channel_come_as_one_axes():
    frame = on_clock().set_index(["patient", "hours"])
    ax = plot_observations(frame, value_cols=["hr"], series="p2")
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == ("p2", "hours", "hr")
    with pytest.raises(ValueError, match="series 'p7' is not in the data"):
        plot_observations(frame, series="p7")


def test_static_columns_are_no_channels():
    frame = on_clock().assign(sex="f", note=lambda rows: np.arange(len(rows)).astype(str))
    keys = {"id_col": "patient", "time_col": "hours", "series": "p0"}
    with pytest.raises(TypeError, match=r"name it in static_cols=\['sex'\]"):
        plot_observations(frame, **keys)
    axes = plot_observations(frame, **keys, static_cols=["sex", "note"])
    assert [ax.get_ylabel() for ax in axes[0]] == ["hr", "temp", "flat"]
    with pytest.raises(ValueError, match=r"lacks the static columns \['ward'\]"):
        plot_observations(frame, **keys, static_cols=["ward"])
    with pytest.raises(ValueError, match="'hr' can't be both a value column and a static one"):
        plot_observations(frame, **keys, value_cols=["hr"], static_cols=["hr"])
