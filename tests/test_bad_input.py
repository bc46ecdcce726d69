"""Everything malformed is an error before training, naming what is wrong and how to mend it."""

import re
import warnings
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from sklearn.exceptions import NotFittedError

from latentode import LatentODE
from latentode.fitting import fit as fitting
from latentode.frames import ask_times, read_frame
from tests.conftest import make_frame

FRAME = make_frame()


def changed(**columns):
    return FRAME.assign(**columns)


def at(row, column, value):
    frame = FRAME.astype({column: object}) if isinstance(value, str) else FRAME.copy()
    frame.loc[row, column] = value
    return frame


# Half hours from one in the morning on, as a clock on the wall tells them.
LOCAL = (
    (
        pd.Timestamp("2024-10-26 23:00", tz="UTC")
        + pd.to_timedelta(FRAME.groupby("patient").cumcount() / 2, "h")
    )
    .dt.tz_convert("Europe/Berlin")
    .dt.tz_localize(None)
)

FRAMES = {
    "no frame": (None, TypeError, "expected a pandas DataFrame, .* got NoneType"),
    "a dict": ({"a": [1]}, TypeError, "expected a pandas DataFrame, .* got dict"),
    "empty": (FRAME.iloc[:0], ValueError, "the frame is empty"),
    "no id column": (FRAME.drop(columns="patient"), ValueError, "id_col='patient' is neither a column"),
    "no time column": (FRAME.drop(columns="hours"), ValueError, "time_col='hours' is neither a column"),
    "no value columns": (FRAME[["patient", "hours"]], ValueError, "has no value columns"),
    "column twice": (
        pd.concat([FRAME, FRAME.hr], axis=1),
        ValueError,
        "two columns are called 'hr'; column names must be unique",
    ),
    "text": (at(3, "hr", "high"), TypeError, "column 'hr' holds .* where numbers belong; .*pd.to_numeric"),
    "a word among numbers": (
        at(17, "hr", "haemolysed"),
        TypeError,
        r"the first that is none is 'haemolysed' \(row 17, series 'p1'\); df\['hr'\] = pd.to_numeric\(df\['hr'\], "
        r"errors='coerce'\) makes such cells missing$",
    ),
    "a limit of detection": (
        at(17, "hr", "<60.0"),
        TypeError,
        r"is '<60.0' \(row 17, series 'p1'\), a limit of detection. .* pd.to_numeric\(df\['hr'\].astype\(str\)"
        r".str.strip\('<>= '\)\)$",
    ),
    "decimal commas": (
        changed(hr=FRAME.hr.map("{:.1f}".format).str.replace(".", ",").where(FRAME.hr.notna())),
        TypeError,
        r"is '.*,.' \(row 0, series 'p0'\), with a decimal comma: read the file with pd.read_csv\(..., decimal=','\)$",
    ),
    "numbers as text": (
        changed(hr=FRAME.hr.astype(object).map(str)),
        TypeError,
        r"= pd.to_numeric\(df\['hr'\]",
    ),
    "text column": (
        changed(hr="x"),
        TypeError,
        r"column 'hr' .* where numbers belong; drop it, or leave it out of value_cols. If .* static_cols=\['hr'\]$",
    ),
    "decimal": (changed(hr=Decimal("1.5")), TypeError, r"column 'hr' holds decimal .*astype\(float\)"),
    "complex": (changed(hr=1j), ValueError, "column 'hr' holds complex numbers"),
    "datetimes as values": (
        changed(hr=pd.Timestamp("2024")),
        TypeError,
        r"column 'hr' has dtype datetime64.*; drop it, .* \(pd.to_datetime\(df\['hr'\]\) - reference\)",
    ),
    "lengths of time as values": (
        changed(hr=pd.Timedelta("2h")),
        TypeError,
        r"timedelta64.* / pd.Timedelta\('1h'\) makes hours of it",
    ),
    "categories": (
        changed(hr=pd.Categorical(["a"] * len(FRAME))),
        TypeError,
        r"column 'hr' has dtype category .*; drop it, or leave it out of value_cols. If .* static_cols=\['hr'\]$",
    ),
    "infinite value": (
        at(3, "temp", np.inf),
        ValueError,
        r"series 'p0' at hours=.*: column 'temp' is infinite; mark what was not observed as NaN",
    ),
    "NaN time": (at(4, "hours", np.nan), ValueError, "series 'p0', row 4: time column 'hours' is missing"),
    "infinite time": (at(4, "hours", -np.inf), ValueError, "series 'p0', row 4: .*infinite"),
    "NaT": (
        changed(hours=pd.to_timedelta(FRAME.hours, "h").where(FRAME.index != 4)),
        ValueError,
        "series 'p0', row 4: .* missing",
    ),
    "text times": (
        changed(hours="noon"),
        TypeError,
        "time column 'hours' holds text, not times; .*to_datetime",
    ),
    "text times of two offsets": (
        changed(hours=["2026-03-28T12:00+01:00"] * 9 + ["2026-03-30T12:00+02:00"] * (len(FRAME) - 9)),
        TypeError,
        r"the first is '2026-03-28T12:00\+01:00'; its distance to UTC is not that of '2026-03-30T12:00\+02:00'; "
        r"convert it first with pd.to_datetime\(df\['hours'\], utc=True, format='ISO8601'\)$",
    ),
    "text times of days first": (
        changed(hours=["01.03.2026 12:00"] * 9 + ["13.03.2026 12:00"] * (len(FRAME) - 9)),
        TypeError,
        r"one is '13.03.2026 12:00'; convert it first with pd.to_datetime\(df\['hours'\], dayfirst=True",
    ),
    "text times of days or months first": (
        changed(hours="01/03/2026"),
        TypeError,
        r"pd.to_datetime\(df\['hours'\], format='%d/%m/%Y'\), or '%m/%d/%Y' where months",
    ),
    "boolean times": (changed(hours=True), TypeError, "time column 'hours' has dtype bool, which is no time"),
    "complex times": (changed(hours=1j), TypeError, "complex"),
    "no id": (at(2, "patient", None), ValueError, "row 2 has no series id .*column 'patient'"),
    "never observed": (changed(flat=np.nan), ValueError, "column 'flat' has no observed value"),
    "an hour that clocks had twice": (
        changed(hours=LOCAL, temp=np.arange(len(FRAME))),
        ValueError,
        r"two rows with different 'temp' values; .* If clocks were put back there, give the times their zone with "
        r"tz_localize\(zone, ambiguous=...\). If not: Merge them first",
    ),
    "conflicting duplicates": (
        pd.concat([FRAME, FRAME.iloc[[3]].assign(flat=6.0)]),
        ValueError,
        r"series 'p0' at hours=.* has two rows with different 'flat' values; .*groupby\(\['patient', 'hours'",
    ),
}


HOURLY = FRAME.assign(hours=FRAME.hours.round()).drop_duplicates(["patient", "hours"])
WARD = pd.Series(pd.factorize(HOURLY.patient)[0], index=HOURLY.index)

FORGOTTEN = {
    "a number as id": (
        HOURLY.assign(patient=WARD),
        {"time_col": "hours"},
        ValueError,
        "name it with id_col='patient'",
    ),
    "an id beside chosen channels": (
        HOURLY,
        {"time_col": "hours", "value_cols": ["hr"]},
        ValueError,
        r"the series at hours=0.0 has two rows with different 'hr' values, and column 'patient' tells such rows "
        r"apart: .* id_col='patient'",
    ),
    "text as id": (HOURLY, {"time_col": "hours"}, TypeError, "where numbers belong; .* id_col='patient'"),
    "categories as id": (
        HOURLY.astype({"patient": "category"}),
        {"time_col": "hours"},
        TypeError,
        "has dtype category .* id_col='patient'",
    ),
    "a number as id, at odd times": (
        FRAME.assign(patient=pd.factorize(FRAME.patient)[0]),
        {"time_col": "hours"},
        ValueError,
        "'hours' goes back from row to row, and column 'patient' changes wherever it does: .* id_col='patient'$",
    ),
    "an id beside chosen channels, at odd times": (
        FRAME,
        {"time_col": "hours", "value_cols": ["hr"]},
        ValueError,
        "column 'patient' changes wherever it does: .* id_col='patient'$",
    ),
    "a number as id, beside a column of words": (
        FRAME.assign(patient=pd.factorize(FRAME.patient)[0], sex=np.where(FRAME.patient < "p3", "f", "m"))[
            ["sex", "patient", "hours", "hr"]
        ],
        {"time_col": "hours"},
        TypeError,
        "column 'sex' (has|holds) .* where numbers belong; .* Column 'patient' looks as if it said which series a row "
        r"belongs to: if it does, name it with id_col='patient', and 'sex', .* in static_cols=\['sex'\]$",
    ),
    "no id at all": (
        HOURLY.drop(columns="patient"),
        {"time_col": "hours"},
        ValueError,
        r"has two rows with different 'hr' values; times must be unique .*groupby\('hours', as_index=False\)",
    ),
    "the clock": (
        HOURLY.drop(columns="patient").assign(hours=pd.to_datetime(HOURLY.hours, unit="h")),
        {},
        TypeError,
        "column 'hours' has dtype datetime64.* time_col='hours'",
    ),
}


ARRAYS = {
    "no columns": (np.empty((5, 0)), ValueError, r"0 feature\(s\) \(shape=\(5, 0\)\) while a minimum of 1"),
    "no rows": (np.empty((0, 2)), ValueError, "the frame is empty"),
    "three dimensions": (np.zeros((2, 2, 2)), ValueError, "must have two dimensions"),
    "a number": (np.float64(3.0), ValueError, "must have two dimensions"),
    "lists of unequal length": ([[1.0], [1.0, 2.0]], ValueError, "don't make a table of a row for each time"),
    "objects": ([[{"a": 1}], [2.0]], TypeError, "holds more than numbers: .* argument must be a string or a"),
    "words among objects": (np.array([["a"], [2.0]], dtype=object), ValueError, "could not convert string"),
    "words": ([["a"], ["b"]], TypeError, "where numbers belong"),
    "complex": (np.full((9, 1), 1j), ValueError, "Complex data not supported"),
    "infinite": ([[1.0], [np.inf]], ValueError, "the series at time=1: column 0 is infinite"),
    "nothing but NaN": (np.full((9, 1), np.nan), ValueError, "column 0 has no observed value"),
    "dates": (
        np.array([["2024-01-01"], ["2024-01-02"]], dtype="M8[s]"),
        TypeError,
        "column 0 has dtype datetime64",
    ),
    "sparse": (scipy.sparse.csr_array(np.eye(3)), TypeError, r"sparse data can't be read, .*\.toarray\(\)"),
    "a sparse matrix": (scipy.sparse.coo_matrix(np.eye(3)), TypeError, "sparse data can't be read"),
    "a tensor that is trained": (torch.zeros(3, 1, requires_grad=True), ValueError, "don't make a table"),
    "text": (
        "frame.csv",
        TypeError,
        r"got the str 'frame.csv'. Read a file first: df = pd.read_csv\('frame.csv'\)",
    ),
    "a path": (Path("frame.csv"), TypeError, r"Read a file first: df = pd.read_csv\('frame.csv'\)"),
    "a generator": ((row for row in [[1.0]]), TypeError, "expected a pandas DataFrame, .* got generator"),
}


def test_little_data_is_fitted_with_a_warning():
    quick = LatentODE("patient", "hours", max_iter=1, residual="ou", random_state=0)
    few = make_frame(4)
    with pytest.warns(
        UserWarning, match="43 observed rows in 4 series are too little to learn from"
    ) as caught:
        quick.fit(few)
    assert caught[0].filename == __file__  # it points at the line that called fit
    assert np.isfinite(quick.predict(few).hr).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick.fit(make_frame(5).drop(columns="flat"))
        long = pd.DataFrame({"x": np.sin(np.arange(100.0))})
        LatentODE(max_iter=1, residual="ou").fit(long)


def test_series_of_one_row_each_are_fitted_with_a_warning():
    alone = FRAME.dropna(subset="hr").groupby("patient").head(1)
    with pytest.warns(
        UserWarning, match="each of [0-9]+ series has a single observed row.* and not the rows"
    ):
        LatentODE("patient", "hours", max_iter=1, residual="ou", random_state=0).fit(alone)


def test_times_in_other_units_are_suspected():
    model = LatentODE("patient", "hours", max_iter=1, residual="ou", random_state=0).fit(FRAME)
    minutes = FRAME.assign(hours=60 * FRAME.hours)
    with pytest.warns(
        UserWarning, match="series 'p[0-9]+' is 60 times as long as .* in the same units"
    ) as caught:
        model.predict(minutes)
    assert [warning.filename for warning in caught] == [__file__]


LAYOUTS = {
    "three levels": (
        pd.DataFrame({"x": [1.0]}, index=pd.MultiIndex.from_tuples([(1, 2, 3)])),
        {},
        ValueError,
        "the index has 3 levels",
    ),
    "id without time": (
        FRAME.drop(columns="hours"),
        {"id_col": "patient"},
        ValueError,
        "was given without time_col",
    ),
    "one dimension": (np.arange(5.0), {}, ValueError, "Reshape your data"),
    "unknown channel": (
        FRAME,
        {"id_col": "patient", "time_col": "hours", "value_cols": ["pulse"]},
        ValueError,
        r"lacks the value columns \['pulse'\]; its columns are",
    ),
    "a channel of another case": (
        FRAME,
        {"id_col": "patient", "time_col": "hours", "value_cols": ["HR", "temp"]},
        ValueError,
        r"lacks the value columns \['HR'\] \(did you mean 'hr'\?\); its columns are",
    ),
    "an id misspelt": (
        FRAME,
        {"id_col": "patients", "time_col": "hours"},
        ValueError,
        r"id_col='patients' is neither .* \(did you mean 'patient'\?\); its columns are",
    ),
    "id is the time": (
        FRAME,
        {"id_col": "hours", "time_col": "hours"},
        ValueError,
        "can't be both the id and the time",
    ),
    "channel is the id": (
        FRAME,
        {"id_col": "patient", "time_col": "hours", "value_cols": ["patient"]},
        ValueError,
        "'patient' can't be both",
    ),
    "channel twice": (
        FRAME,
        {"id_col": "patient", "time_col": "hours", "value_cols": ["hr", "hr"]},
        ValueError,
        "names a column twice",
    ),
    "channels as text": (
        FRAME,
        {"id_col": "patient", "time_col": "hours", "value_cols": "hr"},
        TypeError,
        "must be a list of column names",
    ),
    "no channels": (
        FRAME,
        {"id_col": "patient", "time_col": "hours", "value_cols": []},
        ValueError,
        "value_cols is empty",
    ),
}


COUNT = r"must be an int in the range \[1, inf\)"
PARAMETERS = [
    ({"latent_dim": 0}, ValueError, f"'latent_dim' parameter of LatentODE {COUNT} or None. Got 0"),
    ({"latent_dim": 2.5}, TypeError, f"'latent_dim' parameter of LatentODE {COUNT} or None. Got 2.5"),
    ({"encoder_units": -1}, ValueError, f"'encoder_units' .* {COUNT}"),
    ({"encoder_units": (64,)}, TypeError, rf"'encoder_units' .* {COUNT} or None. Got \(64,\)"),
    ({"field_units": 64}, TypeError, "field_units must be a list of layer widths"),
    ({"field_units": (64, 0)}, ValueError, "each width in field_units must be a positive integer; got 0"),
    (
        {"field_units": (64, None)},
        TypeError,
        "each width in field_units must be a positive integer; got None",
    ),
    ({"decoder_units": "wide"}, TypeError, "decoder_units must be a list of layer widths"),
    ({"max_iter": 0}, ValueError, f"'max_iter' parameter of LatentODE {COUNT} or None. Got 0"),
    ({"max_iter": 1e3}, TypeError, f"'max_iter' .* {COUNT} or None. Got 1000.0"),
    ({"max_iter": True}, TypeError, "'max_iter' parameter of LatentODE must be a number or a name; got True"),
    ({"kl_weight": False}, TypeError, "'kl_weight' parameter of LatentODE must be a number or a name"),
    ({"batch_size": -3}, ValueError, f"'batch_size' .* {COUNT} or None. Got -3"),
    ({"learning_rate": 0.0}, ValueError, r"'learning_rate' .* in the range \(0.0, inf\) or None. Got 0.0"),
    ({"learning_rate": np.nan}, ValueError, r"'learning_rate' .* in the range \(0.0, inf\) or None. Got nan"),
    ({"learning_rate": "fast"}, TypeError, "'learning_rate' .* must be a float .* Got 'fast'"),
    ({"kl_weight": -1.0}, ValueError, r"'kl_weight' .* in the range \[0.0, inf\) or None. Got -1.0"),
    ({"kl_weight": np.inf}, ValueError, r"'kl_weight' .* in the range \[0.0, inf\) or None. Got inf"),
    ({"validation_fraction": 1.0}, ValueError, r"'validation_fraction' .* \[0.0, 1.0\). Got 1.0"),
    ({"context_weight": 1.5}, ValueError, r"'context_weight' .* \[0.0, 1.0\] or None. Got 1.5"),
    ({"residual": ["auto", "ou", "ou"]}, ValueError, "residual='auto' is for all channels at once"),
    ({"residual": 3}, TypeError, "residual must be a kernel's name, a list of them, 'auto' or None; got 3"),
    ({"device": "gpu"}, ValueError, "device='gpu' can't be used"),
    ({"device": 1.5}, ValueError, "device=1.5 can't be used"),
    ({"verbose": "yes"}, TypeError, "'verbose' parameter of LatentODE must be .* Got 'yes'"),
    ({"tolerance": 0}, ValueError, r"'tolerance' .* \(0.0, inf\). Got 0"),
    ({"knot_spacing": -0.1}, ValueError, r"'knot_spacing' .* \(0.0, inf\) or None. Got -0.1"),
    ({"patience": 0}, ValueError, f"'patience' .* {COUNT}. Got 0"),
    ({"n_samples": 0}, ValueError, f"'n_samples' .* {COUNT}. Got 0"),
    ({"task": "forecast"}, ValueError, "'task' .* must be a str among .*'interpolate'.* Got 'forecast'"),
    ({"task": None}, TypeError, "'task' .* must be a str among .* Got None"),
    ({"origin": "middle"}, ValueError, "'origin' .* must be a str among .* Got 'middle'"),
    ({"likelihood": "cauchy"}, ValueError, "'likelihood' .* must be a str among .*'gaussian'.* Got 'cauchy'"),
    ({"likelihood": ["laplace"]}, ValueError, "likelihood names 1 laws for 3 channels; give one for all"),
    ({"likelihood": ["laplace", "laplace", "poisson"]}, ValueError, "one of 'gaussian', .*; got 'poisson'"),
    ({"likelihood": None}, TypeError, "'likelihood' .* must be a str among .* Got None"),
    ({"noise_scale": "fixed"}, ValueError, "'noise_scale' .* must be a str among .* Got 'fixed'"),
    ({"period": -2.0}, ValueError, "period must be positive and finite; got -2.0"),
    ({"period": "1D"}, TypeError, "period must be a number, as the times are; got '1D'"),
    ({"period": True}, TypeError, "period must be a number, as the times are; got True"),
    ({"span": -2.0}, ValueError, "span must be positive and finite; got -2.0"),
    ({"span": "2h"}, TypeError, "span must be a number, as the times are; got '2h'"),
    ({"residual": None, "residual_share": 0.5}, ValueError, "residual_share is that of .* leave it None"),
    ({"span": 1e-9}, ValueError, "span=1e-09 is shorter than the time between any two observations"),
    ({"span": True}, TypeError, "span must be a number, as the times are; got True"),
    ({"residual": "rbf"}, ValueError, "residual must be one of 'auto', .*'iou', None; got 'rbf'"),
    ({"residual": ["ou", "ou"]}, ValueError, "residual names 2 kernels for 3 channels"),
    ({"method": "rk5"}, ValueError, "unknown solver method 'rk5'; choose one of euler"),
    ({"engine": "jax"}, ValueError, "unknown engine 'jax'"),
    ({"engine": "fused", "method": "dopri5"}, ValueError, "engine='fused' takes fixed steps"),
    ({"engine": "fused", "gradient": "backprop"}, ValueError, "engine='fused' has its own exact gradient"),
    ({"engine": "torchdiffeq", "method": "tsit5"}, ValueError, "torchdiffeq has no 'tsit5'"),
    ({"gradient": "exact"}, ValueError, "unknown gradient 'exact'"),
    ({"rtol": 1e-3}, ValueError, "rtol is for the adaptive methods"),
    ({"method": "dopri5", "atol": -1.0}, ValueError, r"'atol' .* \(0.0, inf\) or None. Got -1.0"),
    ({"dtype": "float16"}, ValueError, "'dtype' .* must be a str among .* Got 'float16'"),
    ({"random_state": "lucky"}, ValueError, "'random_state' .* or None. Got 'lucky'"),
    ({"random_state": -1}, ValueError, r"'random_state' .* \[0, 4294967295\].* Got -1"),
    ({"random_state": 2**32}, ValueError, r"'random_state' .* Got 4294967296"),
    ({"random_state": np.random.default_rng(0)}, TypeError, "'random_state' .* Got Generator"),
    ({"warm_start": "maybe"}, TypeError, "'warm_start' .* must be an instance of 'bool'.* Got 'maybe'"),
    ({"id_col": ["patient"]}, TypeError, r"id_col must be the name of one column; got \['patient'\]"),
    ({"time_col": {"hours"}}, TypeError, r"time_col must be the name of one column; got \{'hours'\}"),
]


QUESTIONS = {
    "parts of a median": (
        lambda m: m.predict(FRAME, parts=True, point="median"),
        ValueError,
        "parts=True splits the mean, and point='median' asks for another answer",
    ),
    "lacks a channel": (
        lambda m: m.predict(FRAME.drop(columns="temp")),
        ValueError,
        r"lacks the value columns \['temp'\]",
    ),
    "other kind of time": (
        lambda m: m.predict(changed(hours=pd.to_datetime(FRAME.hours, unit="h"))),
        TypeError,
        "kind 'datetime', where the model's are of kind 'number'",
    ),
    "datetimes asked of numbers": (
        lambda m: m.predict(FRAME, times=[pd.Timestamp("2024")]),
        TypeError,
        "times holds times of kind 'datetime'",
    ),
    "no times": (lambda m: m.predict(FRAME, times=[]), ValueError, "times is empty"),
    "a single time": (
        lambda m: m.predict(FRAME, times=1.0),
        TypeError,
        "times must be a list or index of times",
    ),
    "a single text": (
        lambda m: m.predict(FRAME, times="2h"),
        TypeError,
        "times holds text, not times; the first is '2h'; give numbers in the unit of the data's times",
    ),
    "a dict of times": (
        lambda m: m.predict(FRAME, times={"p0": [1, 2]}),
        TypeError,
        r"times is a dict; give a list .*, or a frame for each series' own: "
        r"pd.DataFrame\({'patient': ..., 'hours': ...}\)$",
    ),
    "a table of times": (
        lambda m: m.predict(FRAME, times=np.zeros((2, 3))),
        TypeError,
        r"times has the shape \(2, 3\); give a list of times for all series, or a frame",
    ),
    "lengths of time asked of numbers": (
        lambda m: m.predict(FRAME, times=[pd.Timedelta("2h")]),
        TypeError,
        "times holds times of kind 'timedelta', .*; for a length of time ahead use forecast with that number",
    ),
    "a time missing for the prior": (
        lambda m: m.sample_prior(2, [0.0, np.nan]),
        ValueError,
        "times holds missing or infinite times",
    ),
    "a seed that is none": (
        lambda m: m.sample(FRAME, random_state="x"),
        ValueError,
        "cannot be used to seed",
    ),
    "missing times": (lambda m: m.predict(FRAME, times=[1.0, np.nan]), ValueError, "missing or infinite"),
    "unknown series": (
        lambda m: m.predict(FRAME, times=pd.DataFrame({"patient": ["p0", "px"], "hours": [1.0, 2.0]})),
        ValueError,
        "times asks for series 'px', which the data do not hold; their ids are 'p0', .*, 'p4', ...$",
    ),
    "series of another type": (
        lambda m: m.predict(FRAME, times=pd.DataFrame({"patient": [3], "hours": [2.0]})),
        ValueError,
        "times asks for series 3, .*; their ids are text, 'p0', .*, ..., and this one is none$",
    ),
    "times without ids": (
        lambda m: m.predict(FRAME, times=pd.DataFrame({"hours": [1.0]})),
        ValueError,
        r"times lacks the columns \['patient'\]",
    ),
    "level 0": (lambda m: m.predict(FRAME, level=0), ValueError, "level must lie between 1 and 100 percent"),
    "level as a share": (lambda m: m.predict(FRAME, level=0.9), ValueError, "got 0.9; did you mean 90"),
    "level .9 of text": (
        lambda m: m.predict(FRAME, level="90"),
        TypeError,
        "level must be a coverage in percent",
    ),
    "an unknown point": (
        lambda m: m.predict(FRAME, point="mode"),
        ValueError,
        "point must be one of 'mean', 'median'",
    ),
    "no samples": (
        lambda m: m.sample(FRAME, n_samples=0),
        ValueError,
        "n_samples must be a positive integer",
    ),
    "no series": (lambda m: m.sample_prior(0), ValueError, "n_series must be a positive integer"),
    "no steps": (lambda m: m.forecast(FRAME, 3.0, steps=0), ValueError, "steps must be a positive integer"),
    "horizon 0": (lambda m: m.forecast(FRAME, 0.0), ValueError, "horizon must be positive and finite"),
    "horizon as text": (
        lambda m: m.forecast(FRAME, "48h"),
        TypeError,
        "horizon must be a number, as the times are",
    ),
    "too far": (
        lambda m: m.predict(FRAME, times=[1e9]),
        ValueError,
        "are they in the units the model was fitted",
    ),
    "infinite value": (lambda m: m.score(changed(hr=np.inf)), ValueError, "column 'hr' is infinite"),
    "states of another dimension": (
        lambda m: m.velocity(np.zeros((3, 2))),
        ValueError,
        r"Z has shape \(3, 2\), but the last axis of states holds the model's 5 latent coordinates",
    ),
    "states without a coordinate": (
        lambda m: m.velocity(m.latent(FRAME).drop(columns="z_2")),
        ValueError,
        r"Z lacks the columns \['z_2'\]",
    ),
    "nothing to score": (
        lambda m: m.score(changed(hr=np.nan, temp=np.nan, flat=np.nan)),
        ValueError,
        "score needs observed values",
    ),
}


ROLES = {"id_col": "patient", "time_col": "hours"}


def fit(data, **settings):
    return lambda _: LatentODE(**settings).fit(data)


# Each case: what is asked of a fitted model (or of a new one), the type of the error, and its message.
CATALOGUE = {
    **{f"frame: {name}": (fit(data, **ROLES), *error) for name, (data, *error) in FRAMES.items()},
    **{
        f"forgotten: {name}": (fit(data, **roles), *error)
        for name, (data, roles, *error) in FORGOTTEN.items()
    },
    **{f"array: {name}": (fit(data), *error) for name, (data, *error) in ARRAYS.items()},
    **{f"roles: {name}": (fit(data, **roles), *error) for name, (data, roles, *error) in LAYOUTS.items()},
    # Without addresses, which differ from process to process.
    **{
        f"parameter: {re.sub(' at 0x[0-9A-F]+', '', str(chosen))}": (fit(FRAME, **ROLES | chosen), *error)
        for chosen, *error in PARAMETERS
    },
    **{f"question: {name}": case for name, case in QUESTIONS.items()},
}


@pytest.mark.filterwarnings("ignore:times are asked that lie up to")
@pytest.mark.parametrize("name", CATALOGUE)
def test_bad_input_is_named_before_any_training(name, fitted, monkeypatch):
    monkeypatch.setattr(fitting, "train", lambda *_, **__: pytest.fail("training has begun"))
    ask, error, message = CATALOGUE[name]
    with pytest.raises(error, match=message):
        ask(fitted)


def test_columns_that_are_called_as_bands_are_named():
    clashing = FRAME.rename(columns={"temp": "hr-lo-90"})
    model = LatentODE("patient", "hours", max_iter=1, residual="ou", random_state=0).fit(clashing)
    with pytest.raises(ValueError, match="called 'hr-lo-90', as the band of column 'hr' is; rename it first"):
        model.predict(clashing, level=90)
    assert model.predict(clashing, level=[80, 80.0]).columns.tolist()[2:5] == ["hr", "hr-lo-90", "flat"]
    # Names of two types that read alike have bands that would be one.
    alike = FRAME.rename(columns={"hr": 1, "temp": "1"})
    model = LatentODE("patient", "hours", max_iter=1, residual="ou", random_state=0).fit(alike)
    with pytest.raises(ValueError, match="'1-lo-90', as the band of column '1' is"):
        model.forecast(alike, 2.0, 2, level=90)


def test_columns_that_are_called_as_parts_are_named():
    clashing = FRAME.rename(columns={"temp": "hr-residual"})
    model = LatentODE("patient", "hours", max_iter=1, residual="ou", random_state=0).fit(clashing)
    with pytest.raises(
        ValueError, match="called 'hr-residual', as a part of column 'hr' is; rename it first"
    ):
        model.predict(clashing, parts=True)


def test_frames_of_another_layout_than_the_fit_are_named():
    model = LatentODE(max_iter=1, residual="ou", random_state=0).fit(FRAME.set_index(["patient", "hours"]))
    with pytest.raises(ValueError, match=r"fitted to a frame with a \(series, time\) index"):
        model.predict(FRAME)
    model = LatentODE(max_iter=1, residual="ou", random_state=0).fit(
        np.random.default_rng(0).normal(size=(100, 2))
    )
    with pytest.raises(ValueError, match="X has 3 features, but LatentODE is expecting 2"):
        model.predict([[1.0, 2.0, 3.0]] * 5)


def test_datetime_models_name_bad_horizons_and_zones():
    zoned = changed(hours=pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(FRAME.hours, "h"))
    model = LatentODE("patient", "hours", max_iter=2, residual="ou", random_state=0).fit(zoned)
    with pytest.raises(TypeError, match=r"horizon must be a length of time such as '48h'"):
        model.forecast(zoned, 48)
    with pytest.raises(
        ValueError, match=r"horizon='soon' is no length of time: .*; write a number and its unit"
    ):
        model.forecast(zoned, "soon")
    with pytest.raises(TypeError, match=r"horizon must be a length of time such as '48h' .* got '48'"):
        model.forecast(zoned, "48")
    with pytest.raises(TypeError, match=r"each edge in leads must be a length of time .* got '72'"):
        model.evaluate(zoned, leads=["72"], task="extrapolate")
    with pytest.raises(TypeError, match=r"span must be a length of time .* got ' 4.5e1'"):
        LatentODE("patient", "hours", span=" 4.5e1").fit(zoned)
    with pytest.raises(ValueError, match=r"horizon='2 weeks' is no length of time: .*; write '14D'$"):
        model.forecast(zoned, "2 weeks")
    with pytest.raises(
        ValueError, match=r"horizon='3 months' .*; write '90D' \(months and years are of no one"
    ):
        model.forecast(zoned, "3 months")
    with pytest.raises(
        TypeError, match=r"without a time zone, .*; df\['hours'\].dt.tz_localize\(...\), with the zone that"
    ):
        model.predict(zoned.assign(hours=zoned.hours.dt.tz_localize(None)))


ONE = FRAME[FRAME.patient == "p0"].drop(columns="patient")
CLOCKS = {
    "datetimes": pd.Timestamp("2024-03-30", tz="Europe/Berlin") + pd.to_timedelta(ONE.hours, "h"),
    "lengths of time": pd.to_timedelta(ONE.hours, "h"),
    "numbers": ONE.hours,
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # of a fit to so few rows
@pytest.mark.parametrize("name", CLOCKS)
@pytest.mark.parametrize("named", ["hours", None])
def test_a_clock_that_left_the_index_is_named(name, named):
    clock = CLOCKS[name]
    indexed = ONE.drop(columns="hours").set_index(pd.Index(clock).rename(named))
    model = LatentODE(max_iter=1, random_state=0).fit(indexed)
    moved = indexed.rename_axis("hours").reset_index()
    if name == "numbers" and named is None:  # nothing says what they were
        model.impute(moved)
        return
    with pytest.raises((TypeError, ValueError), match="column 'hours' holds such times: ") as refused:
        model.impute(moved)
    mended = eval(str(refused.value).rpartition(": ")[2], {"df": moved})
    pd.testing.assert_frame_equal(model.impute(mended), model.impute(indexed), check_names=False)
    if name != "numbers":
        with pytest.raises(
            TypeError, match="the index holds times of kind 'number', where the model's are of"
        ):
            model.impute(moved.assign(again=moved.hours) if named is None else moved)


def test_levels_that_became_columns_are_named():
    indexed = FRAME.set_index(["patient", "hours"])
    model = LatentODE(max_iter=1, random_state=0, value_cols=["hr", "temp"]).fit(indexed)
    with pytest.raises(ValueError, match="this frame has none; make it with") as refused:
        model.impute(indexed.reset_index())
    mended = eval(str(refused.value).partition("make it with ")[2], {"df": indexed.reset_index()})
    pd.testing.assert_frame_equal(model.impute(mended), model.impute(indexed))
    with pytest.raises(ValueError, match=r"df.set_index\(\[id column, time column\]\)$"):
        model.impute(indexed.reset_index(drop=True))
    dated = FRAME.assign(hours=BERLIN).set_index("hours")
    beside = LatentODE("patient", max_iter=1, random_state=0, value_cols=["hr", "temp"]).fit(dated)
    with pytest.raises(TypeError, match=r"column 'hours' holds such times: df.set_index\('hours'\)$"):
        beside.impute(dated.reset_index())


BERLIN = pd.Timestamp("2024-03-30", tz="Europe/Berlin") + pd.to_timedelta(FRAME.hours, "h")
NO_DATE = "times holds text that is no ISO 8601 date; "
NO_ZONE = (
    r"without a time zone, .*; write the offset, .* or pd.to_datetime\(times\).tz_localize\('Europe/Berlin'\)"
)
TIMES = {
    "an hour": (
        ["12:00"],
        NO_DATE + r"one is '12:00'; write dates such as '2026-03-29 12:00', or .*\(times, format",
    ),
    "a length as text": (["6h"], NO_DATE + r"one is '6h'; write dates .*; .* use forecast\(horizon='6h'\)$"),
    "a single length": ("6h", NO_DATE + r"one is '6h'; write dates .*; .* use forecast\(horizon='6h'\)$"),
    "days or months first": (["03/04/2025"], NO_DATE + r".* format='%d/%m/%Y'\), or '%m/%d/%Y' where months"),
    "now": (["now"], NO_DATE + "one is 'now'; write dates"),
    "a length": ([pd.Timedelta("48h")], r"kind 'timedelta', .* use forecast\(horizon='48h'\), or add it"),
    "a number": ([5], r"kind 'number', .* 'datetime'; write dates .* use forecast\(horizon='48h'\)"),
    "text without a zone": (["2024-03-31 02:30"], NO_ZONE),
    "a datetime without a zone": ([pd.Timestamp("2024-03-31")], NO_ZONE),
    "a frame without a zone": (
        pd.DataFrame({"patient": ["p0"], "hours": [pd.Timestamp("2024-03-31")]}),
        r"without a time zone, .*; df\['hours'\].dt.tz_localize\('Europe/Berlin'\), if they are of the data's zone",
    ),
    "two zones": (
        [pd.Timestamp("2024-03-31", tz="UTC"), pd.Timestamp("2024-03-31", tz="Asia/Tokyo")],
        r"times holds datetimes of several time zones; pd.to_datetime\(times, utc=True\) makes them one$",
    ),
    "a zone and none": (
        [pd.Timestamp("2024-03-31", tz="UTC"), pd.Timestamp("2024-03-31")],
        "times holds datetimes with a time zone and others without one; give those theirs with tz_localize$",
    ),
}


@pytest.mark.parametrize("name", TIMES)
def test_times_that_are_none_of_a_dated_model_are_named(name):
    table = read_frame(changed(hours=BERLIN), **ROLES)
    times, message = TIMES[name]
    with pytest.raises(TypeError, match=message):
        ask_times(table, times)


def test_lengths_of_time_without_a_unit_are_named():
    table = read_frame(changed(hours=pd.to_timedelta(FRAME.hours, "h")), **ROLES)
    with pytest.raises(TypeError, match="no length of time; the first is '48'; give lengths of time such as"):
        ask_times(table, ["48"])
    assert ask_times(table, ["48h"]).times[0] == pd.Timedelta("48h")


@pytest.mark.parametrize(
    "ask",
    [
        lambda m: m.predict(FRAME),
        lambda m: m.forecast(FRAME, 1.0),
        lambda m: m.sample(FRAME),
        lambda m: m.sample_prior(),
        lambda m: m.impute(FRAME),
        lambda m: m.encode(FRAME),
        lambda m: m.latent(FRAME),
        lambda m: m.velocity(np.zeros(4)),
        lambda m: m.score(FRAME),
        lambda m: m.score_samples(FRAME),
        lambda m: m.save("never.latentode"),
    ],
)
def test_nothing_is_answered_before_fit(ask):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        ask(LatentODE("patient", "hours"))


def test_remedies_mend_what_they_are_offered_for():
    frame = FRAME.assign(sex=np.where(FRAME.patient < "p3", "f", "m"))
    doubled = pd.concat([frame, frame.iloc[[3]].assign(flat=6.0)])
    layouts = [
        ({"id_col": "patient", "time_col": "hours", "static_cols": ["sex"]}, doubled),
        ({"static_cols": ["sex"]}, doubled.set_index(["patient", "hours"])),
        ({"id_col": "patient", "static_cols": ["sex"], "time_col": "hours"}, doubled.set_index("hours")),
        ({"time_col": "hours"}, doubled[doubled.patient == "p0"].drop(columns=["patient", "sex"])),
    ]
    for roles, df in layouts:
        wide = df.assign(**{f"x{k}": df.hr for k in range(9)})
        for bad in (df, wide):
            with pytest.raises(ValueError, match="Merge them first") as refused:
                read_frame(bad, **roles)
            mended = eval(str(refused.value).partition("e.g. df = ")[2], {"df": bad})
            assert len(read_frame(mended, **roles)) == len(bad) - 1
    late = FRAME.assign(hours=FRAME.hours.where(FRAME.index != 3))
    for roles, df in (
        (ROLES, late),
        ({}, late.set_index(["patient", "hours"])),
        (ROLES, late.set_index("hours")),
        ({}, late[late.patient == "p0"].drop(columns="patient").set_index("hours")),
    ):
        with pytest.raises(ValueError, match="every row needs a finite time") as refused:
            read_frame(df, **roles)
        assert (
            len(read_frame(eval(str(refused.value).partition("e.g. ")[2], {"df": df}), **roles))
            == len(df) - 1
        )
    for hours in (
        ["2026-03-28T12:00+01:00", "2026-03-30T12:00+02:00"],
        ["2026-03-28", "2026-03-30T12:00"],
        ["01.03.2026", "13.03.2026 12:00"],
        ["03/01/2026", "03/13/2026"],
        ["01/03/2026", "02/03/2026"],
        ["1", "2.5"],
    ):
        bad = pd.DataFrame({"hours": hours, "x": [1.0, 2.0]})
        with pytest.raises(TypeError, match="convert it first with") as refused:
            read_frame(bad, time_col="hours")
        remedy = str(refused.value).partition("convert it first with ")[2].partition(", or ")[0]
        assert len(read_frame(bad.assign(hours=eval(remedy, {"df": bad, "pd": pd})), time_col="hours")) == 2
