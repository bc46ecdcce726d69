"""A sensor that stands still is found, and where; no channel is that repeats by its nature."""

import numpy as np
import pandas as pd
import pytest

from latentode import diagnose

N_SERIES, N_ROWS = 8, 300
ROLES = {"id_col": "room", "time_col": "at"}


def rooms(values, seed=0):
    """A frame of one channel; `values` makes a series of numbers of the hours and a generator."""
    random = np.random.default_rng(seed)
    frames = []
    for number in range(N_SERIES):
        hours = np.sort(random.uniform(0, 100, N_ROWS))
        frames.append(pd.DataFrame({"room": f"r{number}", "at": hours, "x": values(hours, random)}))
    return pd.concat(frames, ignore_index=True)


def smooth(hours, random):
    return 20 + 3 * np.sin(hours / 4 + random.uniform(0, 6)) + random.normal(0, 0.1, len(hours))


def stuck(frame, first=900, n_readings=100, value=21.4375):
    frame = frame.copy()
    frame.loc[first : first + n_readings - 1, "x"] = value
    return frame


def standstills(report):
    return [finding for finding in report.findings if finding.kind == "standstill"]


def dated(frame):
    return frame.assign(at=pd.Timestamp("2026-03-01", tz="UTC") + pd.to_timedelta(frame["at"].round(4), "h"))


LAYOUTS = {
    "columns": (lambda frame: frame, ROLES),
    "two levels": (lambda frame: frame.set_index(["room", "at"]), {}),
    "shuffled": (lambda frame: frame.sample(frac=1.0, random_state=0), ROLES),
    "dates": (dated, ROLES),
    "single precision": (lambda frame: frame.astype({"x": "float32"}), ROLES),
    "some readings missing": (lambda frame: frame.assign(x=frame["x"].mask(frame.index % 10 == 5)), ROLES),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_standstill_is_found_and_its_remedy_mends_it(name):
    lay, roles = LAYOUTS[name]
    sound = rooms(smooth)
    frame = lay(stuck(sound))
    (finding,) = standstills(diagnose(frame, **roles))
    n_readings = int((frame["x"] == 21.4375).sum())
    assert (finding.severity, finding.column) == ("suspect", "x")
    times = (dated(sound) if name == "dates" else sound)["at"]
    first, last = (f"{at:.6g}" if isinstance(at, float) else at for at in (times[900], times[999]))
    if name != "some readings missing":
        assert (
            f"'x' stands still at 21.4375 for {n_readings} readings, from series 'r3', at={first} to at={last}"
            in (finding.text)
        )
    exec(finding.text.partition("make them NaN: ")[2], {"df": frame})
    assert frame["x"].isna().sum() == n_readings + (0 if n_readings == 100 else len(frame) // 10)
    assert not standstills(diagnose(frame, **roles))


def test_no_digit_of_the_value_is_lost_in_the_remedy():
    frame = stuck(rooms(smooth), value=20 + 1 / 3)
    (finding,) = standstills(diagnose(frame, **ROLES))
    exec(finding.text.partition("make them NaN: ")[2], {"df": frame})
    assert frame["x"].isna().sum() == 100


def test_a_single_series_and_an_array_have_their_standstills():
    one = stuck(rooms(smooth))[lambda frame: frame["room"] == "r3"].drop(columns="room")
    (finding,) = standstills(diagnose(one.set_index("at")))
    assert "for 100 readings, from at=" in finding.text
    (finding,) = standstills(diagnose(one[["x"]].to_numpy()))
    assert "for 100 readings, from time=0 to time=99" in finding.text


def test_a_sensor_that_was_dead_all_along_is_found():
    frame = stuck(rooms(smooth), n_readings=N_ROWS)
    (finding,) = standstills(diagnose(frame, **ROLES))
    assert f"for {N_ROWS} readings, from series 'r3'" in finding.text


def test_a_value_far_from_all_others_is_a_standstill_too():
    (finding,) = standstills(diagnose(stuck(rooms(smooth), value=85.0), **ROLES))
    assert "stands still at 85 for 100 readings" in finding.text


def test_several_are_told_the_longest_first():
    frame = stuck(stuck(rooms(smooth), 10, 20, 19.5), 2000, 60)
    assert [
        f"for {n} readings" in finding.text
        for n, finding in zip((60, 20), standstills(diagnose(frame, **ROLES)), strict=True)
    ]


def rounded(digits):
    return lambda hours, random: np.round(smooth(hours, random), digits)


def kept(hours, random):
    """A level that is kept for long and moves on."""
    return np.repeat(random.normal(20, 3, len(hours) // 20), 20)


def plateaus(hours, random):
    """A tank that fills in steps: a ramp, then a rest at whatever level it has."""
    steps = np.where(np.arange(len(hours)) % 50 < 25, random.uniform(0.5, 1.5, len(hours)), 0.0)
    return np.cumsum(steps)


def daylight(hours, random):
    return np.clip(np.sin(hours * 2 * np.pi / 24), 0, None) * random.uniform(300, 900)


def peaks(hours, random):
    """Fine and even sampling of slow waves of changing height, rounded: equal values around each peak."""
    even = np.arange(len(hours)) / len(hours)
    return np.round((1 + 0.5 * even) * random.uniform(400, 900) * np.sin(2 * np.pi * even), 0)


NATURES = {
    "smooth": smooth,
    "rounded": rounded(0),
    "rounded finely": rounded(1),
    "rounded very finely": rounded(2),
    "counts": lambda hours, random: random.poisson(3.0, len(hours)),
    "large counts": lambda hours, random: random.poisson(400.0, len(hours)),
    "few counts": lambda hours, random: random.poisson(0.02, len(hours)),
    "on and off": lambda hours, _: (np.sin(hours / 6) > 0).astype(float),
    "on with a load": lambda hours, random: np.where(
        np.sin(hours / 6) > 0, random.normal(400, 20, len(hours)), 0.0
    ),
    "standby": lambda hours, random: np.where(
        np.sin(hours / 6) > 0, random.normal(400, 20, len(hours)), 12.5
    ),
    "constant": lambda hours, _: np.full(len(hours), 5.0),
    "one value a series": lambda hours, random: np.full(len(hours), random.normal()),
    "settings": kept,
    "a tank": plateaus,
    "daylight": daylight,
    "limit of detection": lambda hours, random: np.maximum(
        np.exp(random.normal(0, 1, len(hours)) - hours / 20), 0.05
    ),
    "end of the scale": lambda hours, random: np.minimum(smooth(hours, random), 22.5),
    "rain": lambda hours, random: np.where(
        random.random(len(hours)) < 0.2, random.exponential(2.0, len(hours)), 0.0
    ),
    "rounded waves": peaks,
}


@pytest.mark.parametrize("name", NATURES)
@pytest.mark.parametrize("n_series", [N_SERIES, 1])
def test_channels_that_repeat_by_their_nature_raise_no_alarm(name, n_series):
    for seed in range(4):
        frame = rooms(NATURES[name], seed)
        frame = frame[frame["room"] < f"r{n_series}"]
        assert standstills(diagnose(frame, **ROLES)) == []


def test_rows_that_repeat_one_are_no_readings():
    frame = rooms(smooth)
    frame = pd.concat([frame, frame.loc[np.repeat(907, 40)]])
    assert standstills(diagnose(frame, **ROLES)) == []


def test_a_few_readings_alike_are_no_standstill():
    assert standstills(diagnose(stuck(rooms(smooth), n_readings=9), **ROLES)) == []
    assert len(standstills(diagnose(stuck(rooms(smooth), n_readings=10), **ROLES))) == 1
