"""A table of one row per measurement is told from one with a remark or a descriptor, and the line it gives mends it."""

import numpy as np
import pandas as pd
import pytest

from latentode import LatentODE, diagnose
from latentode.datasets import load_storms
from latentode.frames import read_frame
from latentode.frames.roles import find_roles

ROLES = {"id_col": "star", "time_col": "mjd"}
N_STARS, N_ROWS = 8, 60


def survey(**columns):
    random = np.random.default_rng(0)
    frame = {
        "star": np.repeat([f"s{k}" for k in range(N_STARS)], N_ROWS),
        "mjd": np.sort(random.uniform(0, 100, (N_STARS, N_ROWS)), axis=1).ravel(),
        "band": ["g", "r"] * (N_STARS * N_ROWS // 2),
    }
    frame["mag"] = 15 + np.sin(frame["mjd"] / 5)
    return pd.DataFrame(frame).assign(**columns)


SURVEY = survey()
CLASSES = SURVEY["star"].map(lambda star: "xy"[int(star[1]) % 2])
ONE = SURVEY[SURVEY["star"] == "s0"].drop(columns="star")
RICH = SURVEY.assign(error=0.1 * SURVEY["mag"], type=CLASSES)
PIVOT = "df = df.pivot(index=['star', 'mjd'], columns='band', values='mag')"

# The frame, the roles it is read with, and the line that is told.
TABLES = {
    "text": (SURVEY, ROLES, PIVOT),
    "named as static": (SURVEY, ROLES | {"static_cols": ["band"]}, PIVOT),
    "two levels": (
        SURVEY.set_index(["star", "mjd"]),
        {},
        "df = df.reset_index().pivot(index=['star', 'mjd'], columns='band', values='mag')",
    ),
    "two levels without names": (
        SURVEY.set_index(["star", "mjd"]).rename_axis([None, None]),
        {},
        "df = df.rename_axis(['series', 'time']).reset_index().pivot(index=['series', 'time'], ",
    ),
    "the clock without a name": (
        SURVEY.set_index("mjd").rename_axis(None),
        {"id_col": "star"},
        "df = df.rename_axis('time').reset_index().pivot(index=['star', 'time'], ",
    ),
    "a single series": (ONE, {"time_col": "mjd"}, "df = df.pivot(index='mjd', columns='band', values='mag')"),
    "a descriptor beside it": (
        RICH,
        ROLES | {"static_cols": ["type"]},
        "df = df.pivot(index=['star', 'mjd', 'type'], columns='band', values=['mag', 'error'])",
    ),
    "categories": (
        RICH.astype({"band": "category", "star": "category"}),
        ROLES | {"static_cols": ["type"]},
        "df = df.astype({'band': str}).pivot(",
    ),
    "rows that repeat": (
        pd.concat([SURVEY, SURVEY.head(9).assign(mag=1.0)]).astype({"star": "category"}),
        ROLES,
        "df = df.pivot_table(index=['star', 'mjd'], columns='band', values='mag', aggfunc='mean', observed=True)",
    ),
    "both bands at a time": (
        SURVEY.assign(mjd=SURVEY.index // 2),
        ROLES | {"value_cols": ["mag"]},
        "column 'band' tells them apart. If it says what was measured, make a column of each kind first: "
        + PIVOT,
    ),
    "a band a night": (SURVEY.assign(band=[("g", "r")[k // 4 % 2] for k in SURVEY.index]), ROLES, PIVOT),
    "some missing": (
        SURVEY.assign(band=SURVEY["band"].where(SURVEY.index % 7 > 0)),
        ROLES,
        "df = df.dropna(subset=['band']).pivot(index=['star', 'mjd'], columns='band', values='mag')",
    ),
    "truths": (
        SURVEY.assign(band=SURVEY["band"] == "g"),
        ROLES | {"static_cols": ["band"]},
        "df = df.astype({'band': str}).pivot(index=['star', 'mjd'], columns='band', values='mag')",
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_long_table_is_told_the_line_that_pivots_it(name):
    frame, roles, line = TABLES[name]
    with pytest.raises((TypeError, ValueError)) as refused:
        LatentODE(**roles, max_iter=1).fit(frame)
    message = str(refused.value)
    assert line in message
    code = message.partition("first: df = ")[2].partition(". If ")[0]
    before = frame.copy()
    mended = eval(code, {"df": frame})
    pd.testing.assert_frame_equal(frame, before)
    kept = [static for static in roles.get("static_cols", []) if static != "band"]
    table = read_frame(mended, **{role: roles[role] for role in ROLES if role in roles}, static_cols=kept)
    assert len(table.roles.value_cols) == (4 if kept else 2)
    # Nothing but what has no band is lost, and what was measured twice becomes one.
    found = find_roles(frame, roles.get("id_col"), roles.get("time_col"), None, from_array=False)
    ids = 0 if found.is_single else found.id_of(frame).astype(str)
    keys = pd.DataFrame({"id": ids, "time": found.time_of(frame), "band": frame["band"].to_numpy()})
    n_measured = len(keys.dropna().drop_duplicates())
    assert (~np.isnan(table.values)).sum() == n_measured * (2 if kept else 1)


@pytest.mark.parametrize("name", TABLES)
def test_diagnose_tells_it_and_suggests_no_channel_of_several_kinds(name):
    frame, roles, line = TABLES[name]
    report = diagnose(frame, **roles)
    assert any(line in finding.text for finding in report.of("refused"))
    assert "value_cols" not in report.suggested
    assert "band" not in report.suggested.get("static_cols", [])


def test_the_pivoted_table_is_fitted():
    mended = SURVEY.pivot(index=["star", "mjd"], columns="band", values="mag")
    model = LatentODE(**diagnose(SURVEY, **ROLES).suggested, max_iter=1, random_state=0).fit(mended)
    assert model.value_cols_ == ["g", "r"]
    assert model.predict(mended).index.equals(mended.index)


NO_KINDS = {
    "a descriptor": (SURVEY.assign(band=CLASSES), r"static_cols=\['band'\]$"),
    "remarks that differ": (
        SURVEY.assign(band=[f"note {k}" for k in SURVEY.index]),
        "drop it, or leave it out",
    ),
    "no number beside it": (SURVEY.drop(columns="mag"), "drop it, or leave it out"),
    "a change in one series": (
        SURVEY.assign(band=CLASSES.where(SURVEY.index != 3, "y")),
        "drop it, or leave it out",
    ),
    "a state that lasts": (
        SURVEY.assign(band=[("low", "high")[k // 20 % 2] for k in SURVEY.index]),
        "drop it, or leave it out",
    ),
    "numbers as text": (SURVEY.assign(band=["1", "2"] * (len(SURVEY) // 2)), "pd.to_numeric"),
}


@pytest.mark.parametrize("name", NO_KINDS)
def test_other_words_are_told_what_they_were(name):
    frame, message = NO_KINDS[name]
    with pytest.raises(TypeError, match=message) as refused:
        read_frame(frame, **ROLES)
    assert "pivot" not in str(refused.value)


def test_a_descriptor_with_a_slip_is_not_taken_for_kinds():
    slipped = SURVEY.assign(band=CLASSES.where(SURVEY.index != 3, "y"))
    with pytest.raises(ValueError, match=r"two values .* make it a channel, or keep one value") as refused:
        read_frame(slipped, **ROLES, static_cols=["band"])
    assert "pivot" not in str(refused.value)


def test_times_that_cannot_be_sorted_do_not_hide_the_kinds():
    times = SURVEY["mjd"].astype(object)
    times[3], times[5] = pd.Timestamp("2026-03-01"), pd.Timestamp("2026-03-01", tz="UTC")
    report = diagnose(SURVEY.assign(mjd=times), **ROLES)
    assert any(PIVOT in finding.text for finding in report.of("refused"))


def test_a_state_that_lasts_leaves_the_channels_as_they_are_suggested():
    report = diagnose(load_storms(), id_col="storm", time_col="time")
    assert report.suggested["value_cols"] == ["lat", "long", "wind", "pressure"]


def test_ids_that_were_forgotten_are_no_kinds():
    with pytest.raises(TypeError, match=r"name it with id_col='star'$"):
        read_frame(SURVEY.drop(columns="band"), time_col="mjd")


def test_kinds_are_no_ids_where_a_number_is():
    numbered = SURVEY.assign(star=pd.factorize(SURVEY["star"])[0])
    with pytest.raises(TypeError) as refused:
        read_frame(numbered, time_col="mjd")
    assert f"{PIVOT}. Column 'star' looks as if it said which series" in str(refused.value)
    assert "id_col='band'" not in str(refused.value)


def test_rows_that_contradict_each_other_are_not_refused_twice_for_one_reason():
    report = diagnose(SURVEY.assign(mjd=SURVEY.index // 2), **ROLES)
    assert len(report.of("refused")) == 1
