"""What the pictures show is what the data and the model say, in every layout and on every clock."""

from __future__ import annotations

import warnings

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib import dates
from matplotlib.collections import PolyCollection
from sklearn.exceptions import NotFittedError

from latentode import LatentODE
from latentode.frames import answer, ask_times, float_dtype, read_frame
from latentode.plotting import plot_history, plot_latent, plot_observations, plot_trajectories
from tests.conftest import make_frame


class Ramp:
    """Stands for a fitted model: channel k is k + elapsed time, its bands are level / 100 to each side."""

    def __init__(self, df, id_col=None, time_col=None):
        self.id_col, self.time_col = id_col, time_col
        self.value_cols_ = list(read_frame(df, id_col=id_col, time_col=time_col).roles.value_cols)

    def _ask(self, df, times):
        table = read_frame(df, id_col=self.id_col, time_col=self.time_col, value_cols=self.value_cols_)
        questions = ask_times(table, times)
        elapsed = questions.instants.since(table.times[table.first_rows()[questions.codes]])
        return table, questions, elapsed / table.collection().spans.max().item()

    def predict(self, df, times=None, *, level=None, point="mean"):
        table, questions, elapsed = self._ask(df, times)
        offset = 0.001 if point == "median" else 0.0  # to be told apart
        columns = {name: k + elapsed + offset for k, name in enumerate(self.value_cols_)}
        for k, name in enumerate(self.value_cols_):
            for one in level or []:
                columns[f"{name}-lo-{one:g}"] = k + elapsed - one / 100
                columns[f"{name}-hi-{one:g}"] = k + elapsed + one / 100
        dtypes = {name: float_dtype(table.frame[name].dtype) for name in self.value_cols_}
        return answer(table.roles, questions.ids, questions.times, columns, dtypes)

    def sample(self, df, times=None, *, n_samples=20, random_state=0):
        table, questions, elapsed = self._ask(df, times)
        number, place = np.divmod(np.arange(n_samples * len(questions)), len(questions))
        order = np.lexsort((number, questions.codes[place]))  # by series, then by sample
        number, place = number[order], place[order]
        paths = elapsed[place] * (1 + number + random_state)
        ids = None if questions.ids is None else questions.ids[place]
        asked = questions.times[place]
        columns = {name: paths + k for k, name in enumerate(self.value_cols_)}
        return answer(table.roles, ids, asked, columns, {}, samples=number)


CLOCKS = {
    "number": lambda hours: hours,
    "datetime": lambda hours: (
        pd.Timestamp("2024-10-26", tz="Europe/Berlin") + pd.to_timedelta(hours, unit="h")
    ),
    "timedelta": lambda hours: pd.to_timedelta(hours, unit="h"),
}


def as_drawn(clock, times):
    """Where times stand on the axis of a clock."""
    times = pd.Index(times)
    if clock == "datetime":
        return dates.date2num(times.tz_convert("UTC").tz_localize(None).to_numpy())
    return (times / pd.Timedelta("1h") if clock == "timedelta" else times).to_numpy(dtype=float)


def on_clock(clock="number", n_series=4):
    frame = make_frame(n_series=n_series).query("patient != 'p1'")  # p1 has a row or two only
    frame["hours"] = CLOCKS[clock](frame["hours"].to_numpy())
    return frame


def polygons(ax):
    """Lower and upper edge of each band, widest first."""
    edges = []
    for band in ax.collections:
        if isinstance(band, PolyCollection):
            vertices = band.get_paths()[0].vertices[:, 1]
            n = (len(vertices) - 3) // 2  # each edge once, two corners, and the first vertex again
            edges.append((vertices[1 : n + 1], vertices[n + 2 : 2 * n + 2][::-1]))
    return edges


def line(ax, label):
    return next(drawn for drawn in ax.lines if drawn.get_label() == label)


def labels(ax):
    return ax.get_legend_handles_labels()[1]


def cuts(ax):
    """Places of the upright lines that run from edge to edge."""
    return [drawn.get_xdata()[0] for drawn in ax.lines if drawn.get_transform() == ax.get_xaxis_transform()]


@pytest.fixture(autouse=True)
def _clean_desk():
    plt.close("all")
    before = dict(mpl.rcParams)
    yield
    assert dict(mpl.rcParams) == before
    plt.close("all")


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


# Many series and channels -------------------------------------------------------


def crowd(n_series, n_channels, n_rows=4):
    """Series s0, s1, ..., each an hour later than the one before and a hundred higher."""
    who, hour = np.divmod(np.arange(n_series * n_rows), n_rows)
    values = {f"x{c}": 100.0 * who + 10 * c + hour for c in range(n_channels)}
    return pd.DataFrame({"who": [f"s{k}" for k in who], "hour": 1.0 * who + hour, **values})


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize(("n_series", "n_columns"), [(4, 4), (5, 3), (8, 4), (9, 3), (10, 4)])
def test_many_series_stand_in_rows_of_four_at_most(n_series, n_columns, n_channels):
    axes = plot_observations(
        crowd(n_series, n_channels),
        id_col="who",
        time_col="hour",
        series=[f"s{k}" for k in range(n_series)],
    )
    assert axes.shape == (n_series, n_channels)
    figure = axes[0, 0].figure
    assert len(figure.axes) == axes.size
    assert len(figure.legends) == 1
    assert figure.get_figwidth() <= 14
    figure.canvas.draw()
    boxes = np.array([[ax.get_position().bounds for ax in own] for own in axes])
    for k, own in enumerate(axes):
        assert own[0].get_title() == f"s{k}"
        for c, ax in enumerate(own):
            np.testing.assert_allclose(line(ax, "observed").get_ydata(), 100 * k + 10 * c + np.arange(4))
            np.testing.assert_allclose(ax.get_xlim(), [k - 0.15, k + 3.15])  # its own clock and a margin
            # The layout's own rounding is far below a pixel, which is a thousandth of the figure.
            np.testing.assert_allclose(boxes[k, c, 0], boxes[k % n_columns, 0, 0], atol=1e-3)
            assert ax.get_ylabel() == (f"x{c}" if k % n_columns == 0 else "")
            assert ax.xaxis.get_tick_params().get("labelbottom", True) == (c == n_channels - 1)
            is_last = k + n_columns >= n_series and c == n_channels - 1
            assert ax.get_xlabel() == ("hour" if is_last else "")
    for k in range(n_series - n_columns):
        assert boxes[k, -1, 1] > boxes[k + n_columns, 0, 1]


def test_clocks_of_other_years_than_the_series_below_are_labelled():
    frame = crowd(6, 1)
    frame["hour"] = pd.Timestamp("2020-06-01") + pd.to_timedelta(366 * frame["who"].str[1:].astype(int), "D")
    frame["hour"] += pd.to_timedelta(frame.groupby("who").cumcount(), "h")
    axes = plot_observations(frame, id_col="who", time_col="hour", series=list(frame["who"].unique()))
    assert [ax.get_xlabel() for ax in axes[:, 0]] == [f"hour, {year}" for year in range(2020, 2026)]


def test_a_figure_of_more_panels_than_are_read_is_refused():
    frame = crowd(61, 1)
    everyone = list(frame["who"].unique())
    assert len(plot_observations(frame, id_col="who", time_col="hour", series=everyone[:60])) == 60
    plt.close("all")
    with pytest.raises(
        ValueError, match=r"61 series and 1 channels make 61 panels, .* for 60; .*series=\.\.\."
    ):
        plot_observations(frame, id_col="who", time_col="hour", series=everyone)
    with pytest.raises(ValueError, match=r"61 panels.*series=\.\.\. and channels="):
        plot_trajectories(Ramp(frame, "who", "hour"), frame, series=everyone)
    assert plt.get_fignums() == []
    _, given = plt.subplots(61)  # as many as the user likes
    plot_observations(frame, id_col="who", time_col="hour", series=everyone, ax=given)


def test_of_very_many_channels_fewer_series_are_drawn():
    frame = crowd(3, 31)
    assert plot_observations(frame, id_col="who", time_col="hour").shape == (1, 31)
    with pytest.raises(ValueError, match=r"1 series and 61 channels .* choose fewer with value_cols="):
        plot_observations(crowd(3, 61), id_col="who", time_col="hour")


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


# History ----------------------------------------------------------------------


class Trained:
    value_cols_ = ("hr",)

    def __init__(self, validation):
        n = len(validation)
        iteration = 10 * np.arange(1, n + 1)
        self.history_ = pd.DataFrame(
            {
                "iteration": iteration,
                "elbo": -1 / iteration,
                "log_likelihood": -0.9 / iteration,
                "validation": validation,
                "kl": np.linspace(1, 5, n),
                "solver_error": np.geomspace(1e-3, 1e-4, n),
                "knot_spacing": np.where(np.arange(n) < n // 2, 1 / 16, 1 / 32),
                "learning_rate": np.linspace(1e-2, 1e-4, n),
                "recoveries": 0,
            }
        )


def test_history_marks_the_best_validation():
    model = Trained([-1.0, np.nan, -0.2, -0.4])
    likelihoods, divergence = plot_history(model)
    for label, name in (("ELBO, training", "elbo"), ("likelihood, training", "log_likelihood")):
        np.testing.assert_array_equal(line(likelihoods, label).get_ydata(), model.history_[name])
    best = line(likelihoods, "best, at iteration 30")
    assert (best.get_xdata()[0], best.get_ydata()[0]) == (30, -0.2)
    np.testing.assert_array_equal(divergence.lines[0].get_ydata(), model.history_["kl"])


def test_history_without_validation_marks_nothing():
    likelihoods, _ = plot_history(Trained([np.nan] * 3))
    assert labels(likelihoods) == ["likelihood, training", "ELBO, training"]


def test_a_bad_start_does_not_flatten_the_history():
    validation = np.concatenate([[-1e4], np.linspace(-2, -1, 39)])
    likelihoods, _ = plot_history(Trained(validation))
    low, high = likelihoods.get_ylim()
    assert -10 < low < -2
    assert high > -1 / 400


def test_history_shows_the_solvers_error_and_its_knots():
    model = Trained([-1.0, -0.5, -0.4, -0.3])
    _, _, solver = plot_history(model, solver=True)
    np.testing.assert_array_equal(solver.lines[0].get_ydata(), model.history_["solver_error"])
    assert [text.get_text() for text in solver.texts] == ["16 knots", "32"]
    assert [drawn.get_xdata()[0] for drawn in solver.lines[1:]] == [30]  # where they changed
    _, two = plt.subplots(2)
    with pytest.raises(ValueError, match="ax holds 2 Axes; the history needs three"):
        plot_history(model, solver=True, ax=two)


def test_numbers_of_knots_do_not_lie_upon_each_other():
    model = Trained(np.linspace(-1, 0, 40))
    model.history_["knot_spacing"] = np.where(
        np.arange(40) == 0, 1 / 6, np.where(np.arange(40) < 20, 1 / 8, 1 / 12)
    )
    _, _, solver = plot_history(model, solver=True)
    solver.figure.draw_without_rendering()
    assert [text.get_text() for text in solver.texts] == ["8 knots", "12"]
    first, second = (text.get_window_extent() for text in solver.texts)
    assert first.x1 < second.x0
    assert len(solver.lines) == 3  # both changes have their mark


def test_history_shows_the_step_sizes_and_where_training_was_taken_back():
    model = Trained([-1.0, -0.5, -0.4, -0.3])
    model.history_["recoveries"] = [0, 1, 1, 3]
    *_, steps = plot_history(model, steps=True)
    np.testing.assert_array_equal(steps.lines[0].get_ydata(), model.history_["learning_rate"])
    assert line(steps, "taken back").get_xdata().tolist() == [20, 40]
    assert len(plot_history(model, solver=True, steps=True)) == 4
    _, two = plt.subplots(2)
    with pytest.raises(
        ValueError, match="the history needs four: likelihoods, KL, the solver, and step sizes"
    ):
        plot_history(model, solver=True, steps=True, ax=two)


def test_history_is_drawn_in_given_axes():
    _, given = plt.subplots(2)
    assert (plot_history(Trained([-1.0, -0.5]), ax=given) == given).all()
    assert len(plt.get_fignums()) == 1


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


# The model itself -------------------------------------------------------------


def test_a_fitted_model_is_drawn_as_it_answers(fitted):
    frame = make_frame()
    times = np.linspace(0.0, 12.0, 9)
    ax = plot_trajectories(
        fitted, frame, series="p0", channels="hr", times=times, level=[50, 90], n_samples=3
    )
    answered = fitted.predict(frame, times=times, level=[50, 90], point="median").query("patient == 'p0'")
    sampled = fitted.sample(frame, times=times, n_samples=3).query("patient == 'p0'")
    # alone or among others, a series is answered alike: up to single precision
    close = {"rtol": 1e-5, "atol": 1e-3}
    np.testing.assert_allclose(line(ax, "median").get_ydata(), answered["hr"], **close)
    for level, (low, high) in zip([90, 50], polygons(ax), strict=True):
        np.testing.assert_allclose(low, answered[f"hr-lo-{level}"], **close)
        np.testing.assert_allclose(high, answered[f"hr-hi-{level}"], **close)
    paths = [drawn.get_ydata() for drawn in ax.lines if drawn.get_linewidth() == 0.6]
    np.testing.assert_allclose(paths, sampled["hr"].to_numpy().reshape(3, 9), **close)
    assert len(plot_history(fitted)) == 2


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.filterwarnings("ignore:values more than 20 spreads")
def test_what_is_not_read_is_marked_at_the_edge_with_its_value(fitted, scale):
    frame = make_frame()
    rows = frame.index[(frame["patient"] == "p0") & frame["hr"].notna()]
    frame.loc[rows[[1, 4, 5]], "hr"] = [9999.0, 1e6, 1e6 if scale == "log" else -1e6]
    sound = frame.assign(hr=frame["hr"].mask(frame.index.isin(rows[[1, 4, 5]])))
    drawn = {}
    for name, data in (("with", frame), ("without", sound)):
        _, drawn[name] = plt.subplots()
        drawn[name].set_yscale(scale)
        plot_trajectories(fitted, data, series="p0", channels="hr", ax=drawn[name])
    ax = drawn["with"]
    np.testing.assert_array_equal(line(ax, "observed").get_ydata(), sound.loc[rows, "hr"].dropna())
    low, high = drawn["without"].dataLim.intervaly
    assert ax.get_ylim()[1] < 3 * high
    marks = [one for one in ax.lines if one.get_label() == "not read"]
    upper = next(one for one in marks if one.get_marker() == "^")
    assert (upper.get_ydata() > high).all()
    below = [one for one in marks if one.get_marker() == "v"]
    words = [text.get_text() for text in ax.texts]
    if scale == "log":
        assert (below, words) == ([], ["3 values, 9999 to 1e+06"])
        return
    assert (below[0].get_ydata() < low).all()
    assert below[0].get_xdata() == frame.loc[rows[5], "hours"]
    assert words == ["2 values, 9999 to 1e+06", "-1e+06"]


def test_a_channel_that_has_moved_is_read_and_drawn(fitted):
    frame = make_frame()
    frame["hr"] += 1e4 * (frame["patient"] == "p0")
    with pytest.warns(UserWarning, match="are taken at their word"):
        ax = plot_trajectories(fitted, frame, series="p0", channels="hr")
    assert "not read" not in labels(ax)
    np.testing.assert_array_equal(
        line(ax, "observed").get_ydata(), frame.query("patient == 'p0'")["hr"].dropna()
    )


def test_withheld_values_that_would_flatten_all_else_are_marked_at_the_edge():
    frame = on_clock()
    model, early = Ramp(frame, "patient", "hours"), frame[frame["hours"] <= 4.0]
    truth = frame.copy()
    hidden = truth.index[(truth["patient"] == "p0") & (truth["hours"] > 4.0) & truth["hr"].notna()]
    truth.loc[hidden[0], "hr"] = 1e5
    ax = plot_trajectories(model, early, series="p0", channels="hr", truth=truth)
    np.testing.assert_array_equal(line(ax, "withheld").get_ydata(), frame.loc[hidden[1:], "hr"])
    assert line(ax, "withheld, far off").get_xdata() == frame.loc[hidden[0], "hours"]
    assert [text.get_text() for text in ax.texts] == ["1e+05"]
    assert ax.get_ylim()[1] < 1e3
    truth.loc[hidden, "hr"] = 1e5  # most of them: the forecast is what is off
    ax = plot_trajectories(model, early, series="p0", channels="hr", truth=truth)
    assert (line(ax, "withheld").get_ydata() == 1e5).all()
    assert ax.get_ylim()[1] > 1e5


def test_limits_of_the_users_own_hold_the_marks(fitted):
    frame = make_frame()
    frame.loc[frame["hr"].first_valid_index(), "hr"] = 9999.0
    _, axes = plt.subplots(2)
    axes[1].set_ylim(50, 100)
    with pytest.warns(UserWarning, match="1 of column 'hr'"):
        plot_trajectories(fitted, frame, series=["p2", "p0"], channels="hr", ax=axes)
    assert axes[1].get_ylim() == (50, 100)
    assert 95 < line(axes[1], "not read").get_ydata()[0] < 100


@pytest.mark.parametrize("layout", ["columns", "index", "clock index"])
def test_each_series_has_its_own_answers_in_whatever_order_they_are_drawn(layout):
    frame = on_clock("datetime", n_series=8)
    keys = {"columns": ["patient", "hours"], "index": [None, None], "clock index": ["patient", None]}[layout]
    frame = frame if layout == "columns" else frame.set_index("hours")
    frame = frame.set_index("patient", append=True).swaplevel() if layout == "index" else frame
    model = LatentODE(*keys, residual=None, max_iter=2, random_state=0).fit(frame)
    axes = plot_trajectories(model, frame, series=["p3", "p0", "p3"], channels="hr", n_samples=2, parts=True)
    for ax, patient in zip(axes[:, 0], ["p3", "p0", "p3"], strict=True):
        alone = plot_trajectories(model, frame, series=patient, channels="hr", n_samples=2, parts=True)
        assert (ax.get_title(), labels(ax)) == (alone.get_title(), labels(alone))
        for ours, theirs in zip(ax.lines, alone.lines, strict=True):
            np.testing.assert_array_equal(ours.get_xdata(), theirs.get_xdata())
            # alone or among others, a series is answered alike: up to single precision
            np.testing.assert_allclose(ours.get_ydata(), theirs.get_ydata(), rtol=1e-5, atol=1e-3)


def test_a_warning_of_several_answers_is_shown_once(fitted):
    frame = make_frame()
    frame.loc[frame.index[3], "hr"] = 1e6
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        plot_trajectories(fitted, frame, series=["p0", "p2"], horizon=500, parts=True)
    texts = [str(one.message) for one in shown]
    assert sorted(text.split()[0] for text in texts) == ["times", "values"]
    assert any("(2 of 2 series, the first is 'p0')" in text for text in texts)
    assert any("1 of column 'hr' (series 'p0')" in text for text in texts)
    assert {one.filename for one in shown} == {__file__}
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        plot_latent(fitted, frame, color="hr", horizon=500)
    assert len(shown) == 2


@pytest.mark.parametrize("hours", [0.01, 1, 2.9, 30, 62, 71.9, 24 * 20, 24 * 89, 24 * 1000])
def test_spans_of_every_length_find_their_ticks(hours):
    clock = pd.Timestamp("2026-03-20", tz="UTC") + pd.to_timedelta(np.linspace(0, hours, 5), "h")
    frame = pd.DataFrame({"x": np.arange(5.0)}, index=clock)
    axes = plot_observations(frame)
    figure = axes.figure
    figure.canvas.draw()  # matplotlib warns here where it finds no ticks, and warnings are errors
    assert 2 <= len(axes.get_xticks()) <= 8
    plt.close(figure)
