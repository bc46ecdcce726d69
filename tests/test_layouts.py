"""Ids and times may stand in any levels of an index: they are read there, and answers have them there."""

from functools import cache

import numpy as np
import pandas as pd
import pytest

from latentode import LatentODE
from latentode.frames.levels import find_levels
from latentode.plotting import plot_latent, plot_prior, plot_trajectories
from tests.conftest import CHANNELS, make_frame

pytestmark = pytest.mark.usefixtures("clean_desk")
TINY = {"latent_dim": 2, "field_units": (4,), "encoder_units": 4, "decoder_units": (4,), "n_samples": 4}
FRAME = make_frame(6).assign(ward=1)
# As whole numbers ids and times could be taken for each other.
WHOLE = FRAME.assign(
    patient=FRAME.patient.str[1:].astype(int), hours=(100 * FRAME.hours).round().astype(int)
).drop_duplicates(["patient", "hours"])


def tiny(*roles, **settings):
    settings = {"max_iter": 1, "residual": "ou", "random_state": 0, "value_cols": CHANNELS} | settings
    return LatentODE(*roles, **(settings | TINY))


@pytest.fixture(scope="module")
def model():
    return tiny("patient", "hours").fit(FRAME)


@pytest.fixture(scope="module")
def of_levels():
    return tiny().fit(WHOLE.set_index(["patient", "hours"]))


LAYOUTS = {
    "ids": ("patient", "hours", ["patient"]),
    "times": ("patient", "hours", ["hours"]),
    "ids and times": ("patient", "hours", ["patient", "hours"]),
    "times and ids": ("patient", "hours", ["hours", "patient"]),
    "times and ids, of which ids are named": ("patient", None, ["hours", "patient"]),
    "times and ids, of which times are named": (None, "hours", ["hours", "patient"]),
    "ids, times and more": ("patient", "hours", ["ward", "patient", "hours"]),
    "ids and more": ("patient", "hours", ["patient", "ward"]),
    "ids, unnamed, and more": (None, "hours", ["patient", "ward"]),
}


@cache
def fitted_to(layout):
    *roles, levels = LAYOUTS[layout]
    return tiny(*roles).fit(FRAME.set_index(levels))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_answers_keep_the_levels_of_the_frame_and_questions_have_them(model, layout):
    levels = LAYOUTS[layout][-1]
    fitted, frame = fitted_to(layout), FRAME.set_index(levels)
    kept = [level for level in levels if level != "ward"]  # what it says of rows yet to come is not known
    ahead = fitted.forecast(frame, 2.0, 2)
    assert ahead.index.names == kept
    plain = model.forecast(FRAME, 2.0, 2)
    pd.testing.assert_frame_equal(ahead.reset_index()[plain.columns], plain)
    drawn, of_columns = (m.sample(one, [2.0], n_samples=2) for m, one in ((fitted, frame), (model, FRAME)))
    pd.testing.assert_frame_equal(drawn.reset_index()[of_columns.columns], of_columns)
    assert [name for name in drawn.index.names if name != "sample"] == kept

    pd.testing.assert_frame_equal(fitted.predict(frame, times=ahead), ahead)
    asked = frame.iloc[[7, 0]]
    expected = fitted.predict(frame).iloc[[7, 0]]
    pd.testing.assert_frame_equal(fitted.predict(frame, times=asked), expected, rtol=1e-5)
    alone = asked.reset_index("ward", drop=True) if "ward" in levels else asked
    pd.testing.assert_frame_equal(
        fitted.predict(frame, times=alone), expected.set_axis(alone.index), rtol=1e-5
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pictures_are_drawn_of_every_layout(model, layout):
    *_, levels = LAYOUTS[layout]
    frame = FRAME.set_index(levels)
    axes, plain = (plot_trajectories(model, one, n_samples=1) for one in (frame, FRAME))
    for ours, theirs in zip(axes.flat, plain.flat, strict=True):
        for line, other in zip(ours.lines, theirs.lines, strict=True):
            np.testing.assert_array_equal(line.get_xydata(), other.get_xydata())
    asked = FRAME[["patient", "hours"]].set_index([level for level in levels if level != "ward"])
    plot_trajectories(model, frame, series="p0", channels="hr", times=asked)
    assert len(plot_latent(model, frame).lines) == len(plot_latent(model, FRAME).lines)
    axes, plain = (plot_prior(one, 3, [0.0, 1.0, 4.0]) for one in (fitted_to(layout), model))
    for ours, theirs in zip(axes, plain, strict=True):
        assert ours.get_xlabel() == theirs.get_xlabel()
        for line, other in zip(ours.lines, theirs.lines, strict=True):
            np.testing.assert_array_equal(line.get_xydata(), other.get_xydata())


@pytest.mark.parametrize(("id_col", "time_col"), [("patient", None), (None, "hours")])
def test_a_level_without_a_name_is_the_other_one(model, id_col, time_col):
    frame = FRAME.set_index(["hours", "patient"]).rename_axis([time_col, id_col])
    ahead = tiny(id_col, time_col).fit(frame).forecast(frame, 2.0, 2)
    assert ahead.index.names == [time_col, id_col]
    expected = model.forecast(FRAME, 2.0, 2).set_index(["hours", "patient"])
    pd.testing.assert_frame_equal(ahead, expected, check_names=False)


def test_levels_in_another_order_than_the_fits_are_told_apart_by_their_names(of_levels):
    frame = WHOLE.set_index(["patient", "hours"])
    swapped = frame.swaplevel()
    expected = of_levels.predict(frame)
    pd.testing.assert_frame_equal(of_levels.predict(swapped), expected.swaplevel())
    pd.testing.assert_frame_equal(of_levels.predict(frame, times=swapped), expected.swaplevel())
    pd.testing.assert_frame_equal(of_levels.predict(swapped, times=frame), expected)
    ahead = of_levels.forecast(frame, 200, 2)
    pd.testing.assert_frame_equal(of_levels.forecast(swapped, 200, 2), ahead.swaplevel())
    # One name is enough; without any the order says which is which.
    half = swapped.rename_axis(["hours", None])
    np.testing.assert_array_equal(of_levels.predict(half), expected)
    np.testing.assert_array_equal(of_levels.predict(frame.rename_axis([None, None])), expected)


def test_pictures_read_levels_by_their_names_too(of_levels):
    frame = WHOLE.set_index(["patient", "hours"])
    axes, swapped = (
        plot_trajectories(of_levels, one, series=3, n_samples=0) for one in (frame, frame.swaplevel())
    )
    for ours, theirs in zip(axes.flat, swapped.flat, strict=True):
        np.testing.assert_array_equal(ours.lines[0].get_xydata(), theirs.lines[0].get_xydata())


def test_a_warm_start_reads_levels_by_their_names():
    frame = WHOLE.set_index(["patient", "hours"])
    one, other = (tiny(warm_start=True).fit(frame) for _ in range(2))
    pd.testing.assert_frame_equal(
        one.fit(frame).predict(frame), other.fit(frame.swaplevel()).predict(frame), check_exact=True
    )


@pytest.mark.parametrize(
    ("levels", "asked", "lacks"),
    [
        (["patient"], FRAME[["patient", "hours"]], "the series index"),
        (["hours"], FRAME[["patient", "hours"]], "the time index"),
        (["patient", "hours"], FRAME[["patient", "hours"]], r"the \(series, time\) index"),
        (["hours", "patient"], FRAME[["patient", "hours"]], r"the \(time, series\) index"),
        (["patient"], FRAME.set_index(["patient", "hours"]), r"the columns \['hours'\]"),
    ],
)
def test_times_that_stand_elsewhere_than_the_datas_are_refused(model, levels, asked, lacks):
    frame = FRAME.set_index(levels)
    for ask in (model.predict, lambda df, times: plot_trajectories(model, df, times=times)):
        with pytest.raises(ValueError, match=f"times lacks {lacks}; a frame of times holds ids and times"):
            ask(frame, times=asked)


@pytest.mark.filterwarnings("ignore:.*too little to learn:UserWarning")
def test_row_numbers_are_no_times_beside_a_column_of_times():
    one = FRAME[FRAME.patient == "p0"].drop(columns="patient").set_index("hours")
    with pytest.raises(ValueError, match="times lacks the time index"):
        tiny().fit(one).predict(one, times=pd.DataFrame({"hours": [3.0, 4.0]}))


@pytest.mark.parametrize(
    ("wanted", "levels", "found"),
    [
        (["id", "t"], ["id", "t"], [0, 1]),
        (["id", "t"], ["t", "id"], [1, 0]),
        (["id", "t"], ["t", "run", "id"], [2, 0]),
        (["id", "t"], [None, "id"], [1, 0]),
        (["id", "t"], ["who", "when"], [0, 1]),
        (["id", "id"], ["t", "id"], [0, 1]),
        (["t"], ["t", "t"], None),
        ([None], [None], [0]),
        (["id"], ["who", "when"], None),
        ([], ["row"], []),
    ],
)
def test_levels_are_found_by_their_names_else_by_their_order(wanted, levels, found):
    assert find_levels(wanted, levels) == found


def test_remedies_name_the_levels_that_there_are():
    frame = FRAME.set_index(["ward", "patient", "hours"])
    twice = pd.concat([frame, frame.assign(flat=6.0)])
    with pytest.raises(ValueError, match="times must be unique") as refused:
        tiny("patient", "hours").fit(twice)
    mended = eval(str(refused.value).rpartition("e.g. df = ")[2], {"df": twice})
    tiny("patient", "hours").fit(mended)
    text = FRAME.assign(hours=FRAME.hours.astype(str)).set_index(["hours", "patient"])
    with pytest.raises(TypeError, match=r"level 0 of the index holds text.*get_level_values\(0\)"):
        tiny("patient", "hours").fit(text)
