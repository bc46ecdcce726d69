"""Portraits, embeddings and priors show what the model answers, of a field that is known in closed form."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from sklearn.exceptions import NotFittedError

from latentode import LatentODE
from latentode.frames import answer, ask_times, read_frame
from latentode.plotting import plot_embedding, plot_latent, plot_prior
from latentode.plotting.palette import OTHERS
from latentode.plotting.portrait import _emptiest_corner
from tests.conftest import make_frame
from tests.drawn import CLOCKS

pytestmark = pytest.mark.usefixtures("clean_desk")

RATE = 0.8


class Rotor:
    """Turns z_1 and z_3 about the origin and leaves z_2 as it is; series k starts at radius k + 1."""

    id_col, time_col = "patient", "hours"
    value_cols_: tuple[str, ...] = ("hr", "temp")
    field = np.array([[0.0, 0.0, -RATE], [0.0, 0.0, 0.0], [RATE, 0.0, 0.0]])

    def latent(self, df, times):
        table = read_frame(df, id_col=self.id_col, time_col=self.time_col, value_cols=self.value_cols_)
        asked = ask_times(table, times)
        elapsed = asked.instants.since(table.times[table.first_rows()[asked.codes]])
        elapsed = elapsed / (1.0 if asked.instants.kind == "number" else 3600.0)
        radius = np.array([1 + int(str(name)[1:]) for name in table.ids[asked.codes]])
        states = {
            "z_1": radius * np.cos(RATE * elapsed),
            "z_2": radius * 10.0,
            "z_3": radius * np.sin(RATE * elapsed),
        }
        return answer(table.roles, asked.ids, asked.times, states, {})

    def velocity(self, states):
        return states @ self.field.T

    def predict(self, df, times):
        table = read_frame(df, id_col=self.id_col, time_col=self.time_col, value_cols=self.value_cols_)
        asked = ask_times(table, times)
        ramp = np.linspace(0, 1, len(asked))
        return answer(table.roles, asked.ids, asked.times, {"hr": ramp, "temp": -ramp}, {})

    def encode(self, df):
        ids = pd.Index(df["patient"].unique(), name="patient")
        place = np.arange(len(ids))
        columns = {"z0_1": np.cos(place), "z0_2": 3.0 * place, "z0_3": 0.0 * place}
        return pd.DataFrame(columns | {f"{name}_std": 1.0 for name in columns}, index=ids)


def cohort(clock="number"):
    frame = make_frame(n_series=6).query("patient != 'p1'")
    frame["hours"] = CLOCKS[clock](frame["hours"].to_numpy())
    frame["sex"] = np.where(frame["patient"].isin(["p0", "p4"]), "f", "m")
    frame["age"] = frame["patient"].str[1:].astype(float) + 40
    return frame


def orbits(ax):
    """Points along each orbit, in the order in which they were drawn."""
    drawn = [c for c in ax.collections if isinstance(c, LineCollection) and c.get_zorder() == 3]
    return [np.vstack([one.get_segments()[0][:1], [s[1] for s in one.get_segments()]]) for one in drawn]


def orbit_colours(ax):
    return [c.get_colors() for c in ax.collections if isinstance(c, LineCollection) and c.get_zorder() == 3]


def streamlines(ax):
    return next(c for c in ax.collections if isinstance(c, LineCollection) and c.get_zorder() == 1)


def legend(holder):
    """Labels of the legend of a figure or Axes, with their colours."""
    found = holder.legends[0] if isinstance(holder, plt.Figure) else holder.get_legend()
    return {
        text.get_text(): to_rgba(handle.get_color())
        for text, handle in zip(found.get_texts(), found.legend_handles, strict=True)
    }


def bar_label(ax):
    others = [other for other in ax.figure.axes if other is not ax]
    return others[0].get_ylabel() if others else None


# Portraits --------------------------------------------------------------------


def test_orbits_are_the_latent_states_in_the_coordinates_asked_for():
    frame = cohort()
    ax = plot_latent(Rotor(), frame, series=["p3", "p0"], dims=(1, 3))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("z_1", "z_3")
    assert len(orbits(ax)) == 2
    for points, radius in zip(orbits(ax), [4, 1], strict=True):
        np.testing.assert_allclose(np.hypot(*points.T), radius)
        np.testing.assert_allclose(points[0], [radius, 0], atol=1e-12)  # elapsed time 0
    dots = [tuple(dot.get_xydata()[0]) for dot in ax.lines if dot.get_label() == "first observation"]
    assert dots == [(4.0, 0.0), (1.0, 0.0)]


@pytest.mark.parametrize(
    ("empty", "corner"),
    [((1, 1), "upper right"), ((0, 1), "upper left"), ((1, 0), "lower right"), ((0, 0), "lower left")],
)
def test_a_legend_within_given_axes_stands_where_no_orbit_is(empty, corner):
    _, ax = plt.subplots()
    points = np.array([(x, y) for x in (0, 1) for y in (0, 1) if (x, y) != empty])
    ax.set(xlim=(-0.2, 1.2), ylim=(-0.2, 1.2))
    assert _emptiest_corner(ax, points) == corner


def test_streamlines_follow_the_field():
    ax = plot_latent(Rotor(), cohort(), dims=(3, 1))
    segments = np.array(streamlines(ax).get_segments())
    middle, step = segments.mean(axis=1), segments[:, 1] - segments[:, 0]
    # Near the centre a segment is no tangent, and one of no length has no direction.
    far = (np.linalg.norm(middle, axis=1) > 1.0) & (np.linalg.norm(step, axis=1) > 1e-9)
    along = np.einsum("ij,ij->i", middle, step)[far]
    lengths = (np.linalg.norm(middle, axis=1) * np.linalg.norm(step, axis=1))[far]
    # A rotation moves at right angles to the radius; the grid's linear interpolation errs by its step squared.
    assert np.abs(along / lengths).max() < 0.05
    assert far.sum() > 100


def test_principal_axes_are_those_of_the_motion():
    # z_2 tells the series apart, ten times as wide as the rotation, and has no part in the motion.
    ax = plot_latent(Rotor(), cohort())
    shares = [float(label.split("(")[1].split(" %")[0]) for label in (ax.get_xlabel(), ax.get_ylabel())]
    assert shares[0] >= shares[1]
    assert sum(shares) == pytest.approx(100, abs=1)
    assert ax.get_xlabel().endswith("% of the motion)")
    # Within that plane lengths are kept: from a series' first to its last observation.
    frame = cohort()
    for points, name in zip(orbits(ax), frame["patient"].unique(), strict=True):
        own = frame[frame["patient"] == name].dropna(subset=["hr", "temp"], how="all")
        ends = Rotor().latent(own, [own["hours"].min(), own["hours"].max()])[["z_1", "z_3"]].to_numpy()
        assert np.linalg.norm(points[-1] - points[0]) == pytest.approx(np.linalg.norm(ends[1] - ends[0]))


@pytest.mark.parametrize(("clock", "label"), [("number", "time since"), ("datetime", "hours since")])
def test_time_colours_an_orbit(clock, label):
    ax = plot_latent(Rotor(), cohort(clock), series="p0")
    assert bar_label(ax) == f"{label} the first observation"
    (colours,) = orbit_colours(ax)
    lightness = colours[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > -1e-3).all()
    assert lightness[-1] - lightness[0] > 0.3


def test_a_channel_colours_by_what_the_model_says_of_it():
    frame = cohort()
    rising = orbit_colours(plot_latent(Rotor(), frame, series="p0", color="hr"))[0]
    falling = orbit_colours(plot_latent(Rotor(), frame, series="p0", color="temp"))[0]
    np.testing.assert_allclose(rising[1:], falling[::-1][:-1], atol=0.02)


def test_a_column_colours_whole_orbits():
    ax = plot_latent(Rotor(), cohort(), color="sex")
    entries = legend(ax.figure)
    assert list(entries) == ["f", "m", "first observation"]
    one_each = [np.unique(colours, axis=0) for colours in orbit_colours(ax)]
    assert [tuple(one[0]) for one in one_each] == [entries[sex] for sex in "fmmfm"]
    assert [len(one) for one in one_each] == [1] * 5


def test_a_portrait_in_given_axes_keeps_to_them():
    figure, ax = plt.subplots()
    assert plot_latent(Rotor(), cohort(), color="sex", ax=ax) is ax
    assert figure.legends == []
    assert "f" in legend(ax)


def test_a_fitted_models_portrait_and_embedding(fitted):
    frame = make_frame()
    ax = plot_latent(fitted, frame, series=["p0", "p2"], dims=(1, 2))
    for points, name in zip(orbits(ax), ["p0", "p2"], strict=True):
        own = frame[frame["patient"] == name]
        own = own.dropna(subset=["hr", "temp", "flat"], how="all")
        ends = fitted.latent(own, [own["hours"].min(), own["hours"].max()])[["z_1", "z_2"]]
        np.testing.assert_allclose(points[[0, -1]], ends, rtol=1e-4, atol=1e-4)
    shown = plot_embedding(fitted, frame, dims=(2, 1)).collections[0].get_offsets()
    np.testing.assert_allclose(shown, fitted.encode(frame)[["z0_2", "z0_1"]])
    assert len(plot_prior(fitted, 3)) == 3


def test_orbits_of_a_series_of_several_spans_are_not_joined():
    class Spanned(Rotor):
        """From 6 h on another orbit, a third farther out."""

        def latent(self, df, times):
            found = super().latent(df, times)
            later = found["hours"] > 6
            found.loc[later, ["z_1", "z_3"]] *= 4 / 3
            return found

    frame = cohort()
    ax = plot_latent(Spanned(), frame, series="p0", dims=(1, 3))
    (drawn,) = [
        c.get_segments() for c in ax.collections if isinstance(c, LineCollection) and c.get_zorder() == 3
    ]
    radii = np.array([np.hypot(*segment.T) for segment in drawn])
    np.testing.assert_allclose(radii[:, 0], radii[:, 1])  # no line from one circle to the other
    assert {round(radius, 6) for radius in radii[:, 0]} == {1.0, round(4 / 3, 6)}
    halo = [line for line in ax.lines if line.get_zorder() == 2.5]
    assert len(halo) == 2
    whole = plot_latent(Rotor(), frame, series="p0", dims=(1, 3))
    (all_of_it,) = orbits(whole)
    assert len(drawn) == len(all_of_it) - 2


def test_a_fitted_models_spans_are_the_only_breaks():
    random = np.random.default_rng(0)
    hours = np.sort(random.uniform(0, 60, 500))
    frame = pd.DataFrame({"hours": hours, "x": np.sin(hours), "y": np.cos(hours)})
    model = LatentODE(time_col="hours", residual=None, latent_dim=2, max_iter=5, random_state=0).fit(frame)
    ax = plot_latent(model, frame, dims=(1, 2))
    halo = [len(line.get_xdata()) for line in ax.lines if line.get_zorder() == 2.5]
    # Of four halves the spans are the first two, the second and third, the last two, and the last one.
    assert len(halo) == 4
    within = plot_latent(model, frame.head(256), dims=(1, 2))
    assert len([line for line in within.lines if line.get_zorder() == 2.5]) == 1


# Embeddings -------------------------------------------------------------------


def test_points_are_coloured_by_their_own_series():
    frame = cohort().sample(frac=1, random_state=3)
    ax = plot_embedding(Rotor(), frame, color="sex", dims=(1, 2))
    points = ax.collections[0]
    encoded = Rotor().encode(frame)
    rare = encoded.index.isin(["p0", "p4"])  # two of five are drawn last, on top
    encoded = pd.concat([encoded[~rare], encoded[rare]])
    np.testing.assert_allclose(points.get_offsets(), encoded[["z0_1", "z0_2"]])
    entries = legend(ax.figure)
    expected = np.array([entries["f" if name in ("p0", "p4") else "m"] for name in encoded.index])
    np.testing.assert_allclose(points.get_facecolors()[:, :3], expected[:, :3])


def test_the_embeddings_axes_are_those_of_its_variance():
    ax = plot_embedding(Rotor(), cohort())
    points = ax.collections[0].get_offsets()
    assert np.corrcoef(points.T)[0, 1] == pytest.approx(0, abs=1e-9)
    share = 100 * points.var(axis=0) / np.asarray(points).var(axis=0).sum()
    assert ax.get_xlabel() == f"first principal axis ({share[0]:.0f} % of variance)"


def test_a_small_share_of_the_variance_is_not_called_none():
    class Narrow(Rotor):
        def encode(self, df):
            return super().encode(df).assign(z0_1=lambda states: 0.01 * states["z0_1"])

    ax = plot_embedding(Narrow(), cohort())
    assert ax.get_xlabel() == "first principal axis (>99 % of variance)"
    assert ax.get_ylabel() == "second principal axis (<1 % of variance)"


def test_numbers_have_a_bar_and_unknown_ones_are_grey():
    age = cohort().groupby("patient")["age"].first()
    age["p3"] = np.nan
    ax = plot_embedding(Rotor(), cohort(), color=age)
    assert bar_label(ax) == "age"
    order = list(Rotor().encode(cohort()).index)
    colours = ax.collections[0].get_facecolors()
    np.testing.assert_allclose(colours[order.index("p3"), :3], to_rgba(OTHERS)[:3])


def test_rare_categories_share_a_colour():
    names = [f"p{k}" for k in range(12)]
    frame = pd.DataFrame({"patient": names, "hours": 0.0, "hr": 1.0, "temp": 1.0, "ward": names})
    many = legend(plot_embedding(Rotor(), frame, color="ward").figure)
    assert len(many) == 6
    assert many["7 others"] == to_rgba(OTHERS)
    frame["ward"] = [0, 1] * 6  # two numbers are categories
    assert list(legend(plot_embedding(Rotor(), frame, color="ward").figure)) == ["0", "1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"color": "hr"}, r"color='hr' changes within series 'p0'.*constant"),
        ({"color": "height"}, r"color='height' is no column of the frame, which has \['patient'"),
        ({"color": pd.Series({"x9": 1.0})}, "color has none of the series' ids"),
        ({"dims": (0, 1)}, "dims names coordinate 0, but the latent space has 1 to 3"),
        ({"dims": (1, 1)}, "dims must be two latent coordinates"),
        ({"dims": 2}, "dims must be two latent coordinates"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        plot_embedding(Rotor(), cohort(), **arguments)
    if "changes within" in message:
        return  # a channel colours a portrait
    with pytest.raises(ValueError, match=message):
        plot_latent(Rotor(), cohort(), **arguments)


@pytest.mark.parametrize("make", [np.asarray, list, pd.Index, lambda values: dict(enumerate(values))])
@pytest.mark.parametrize("plot", [plot_embedding, plot_latent])
def test_colours_without_ids_are_told_how_to_get_them(plot, make):
    frame = cohort()
    encoded = Rotor().encode(frame)
    values = [1.5, 2.5, 4.0, 8.0, 9.0]
    assert len(values) == len(encoded)
    with pytest.raises(
        TypeError, match=r"color must be the name of a column, or a Series .*; got "
    ) as refused:
        plot(Rotor(), frame, color=make(values))
    code = str(refused.value).partition("order of the series ")[2].partition(" makes one")[0]
    color = eval(code, {"pd": pd, "values": values, "model": Rotor(), "df": frame})
    assert color.to_dict() == dict(zip(encoded.index, values, strict=True))
    plot(Rotor(), frame, color=color)


def test_a_series_of_two_colours_is_named_by_its_number():
    frame = cohort()
    frame["patient"] = frame["patient"].str[1:].astype(int)
    with pytest.raises(ValueError, match="color='hr' changes within series 0;"):
        plot_embedding(Rotor(), frame, color="hr")


def test_what_cannot_be_drawn_is_named():
    with pytest.raises(NotFittedError, match="not fitted yet"):
        plot_latent(object(), cohort())
    with pytest.raises(NotFittedError, match="not fitted yet"):
        plot_prior(object())
    with pytest.raises(ValueError, match="series 'p9' is not in the data"):
        plot_latent(Rotor(), cohort(), series="p9")

    class Line(Rotor):
        def encode(self, df):
            return super().encode(df)[["z0_1", "z0_1_std"]]

    with pytest.raises(ValueError, match="one dimension has no plane"):
        plot_embedding(Line(), cohort())


# Priors -----------------------------------------------------------------------


class Believer:
    """Draws series that rise by their number, in the layout given."""

    value_cols_ = ("up", "down")

    def __init__(self, layout, clock="number"):
        self.layout, self.clock = layout, clock

    def sample_prior(self, n_series, times=None, *, random_state=0):
        times = CLOCKS[self.clock](np.linspace(0, 72, 5)) if times is None else pd.Index(times)
        number, place = np.divmod(np.arange(n_series * len(times)), len(times))
        frame = pd.DataFrame(
            {
                "who": number,
                "when": pd.Index(times)[place],
                "up": 1.0 * number + random_state,
                "down": -1.0 * number,
            }
        )
        if self.layout == "columns":
            return frame
        return frame.set_index(["who", "when"] if self.layout == "index" else "when")


@pytest.mark.parametrize("layout", ["columns", "index", "id column"])
def test_each_new_series_is_a_line_in_each_channel(layout):
    axes = plot_prior(Believer(layout), 4, [0.0, 1.0, 2.0], random_state=10)
    assert [ax.get_ylabel() for ax in axes] == ["up", "down"]
    for ax, expected in zip(axes, [[10, 11, 12, 13], [0, -1, -2, -3]], strict=True):
        assert [drawn.get_ydata()[0] for drawn in ax.lines] == expected
        np.testing.assert_array_equal(ax.lines[0].get_xdata(), [0, 1, 2])
    assert axes[1].get_xlabel() == "when"


def test_new_series_have_an_age_and_no_date():
    ax = plot_prior(Believer("columns", "datetime"), 2, channels="up")
    np.testing.assert_allclose(ax.lines[0].get_xdata(), np.linspace(0, 3, 5))
    assert ax.get_xlabel() == "days"
    dated = pd.date_range("2024-01-01", periods=3)
    ax = plot_prior(Believer("columns"), 2, dated, channels="up")
    assert ax.get_xlabel() == "when, 2024"
    assert ax.lines[0].get_xdata()[0] == mpl.dates.date2num(dated[0])


def test_a_prior_in_given_axes():
    _, axes = plt.subplots(2)
    assert (plot_prior(Believer("columns"), 2, ax=axes) == axes).all()
    with pytest.raises(ValueError, match="ax holds 1 Axes"):
        plot_prior(Believer("columns"), 2, ax=axes[:1])
    with pytest.raises(ValueError, match="channel 'left' is not in the data"):
        plot_prior(Believer("columns"), 2, channels="left")
