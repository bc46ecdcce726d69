"""A fitted model drawn as it answers: what is not read, and many series at once."""

from __future__ import annotations

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from latentode import LatentODE
from latentode.plotting import plot_history, plot_latent, plot_observations, plot_trajectories
from tests.conftest import make_frame
from tests.drawn import Ramp, labels, line, on_clock, polygons

pytestmark = pytest.mark.usefixtures("clean_desk")


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
