"""Every dtype that people bring in ids, times and values comes back as it came, and the frame is left alone."""

import copy
import datetime
import decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from latentode import LatentODE
from latentode.frames import read_frame
from tests.conftest import make_frame

TINY = {"latent_dim": 2, "field_units": (4,), "encoder_units": 4, "decoder_units": (4,), "n_samples": 4}
CHANNELS = ["hr", "temp", "flat"]
FRAME = make_frame(6).assign(hours=lambda frame: frame.hours.round(2))


def tiny(*roles, **settings):
    return LatentODE(*roles, **({"max_iter": 1, "residual": "ou", "random_state": 0} | TINY | settings))


@pytest.fixture(scope="module")
def model():
    return tiny("patient", "hours").fit(FRAME)


def answers(model, frame, horizon=2.0):
    """All that a model says about a frame."""
    return {
        "predict": model.predict(frame, level=90),
        "forecast": model.forecast(frame, horizon, 2),
        "sample": model.sample(frame, n_samples=2),
        "impute": model.impute(frame),
        "encode": model.encode(frame),
        "score_samples": model.score_samples(frame),
    }


# ---------------------------------------------------------------- values

ROUND = FRAME.hr.round()
VALUES = {
    "float32": (FRAME.hr.astype("float32"), "float32"),
    "float16": (FRAME.hr.astype("float16"), "float64"),
    "int64": (ROUND.fillna(80).astype("int64"), "float64"),
    "uint8": (ROUND.fillna(80).astype("uint8"), "float64"),
    "Int64": (ROUND.astype("Int64"), "Float64"),
    "UInt8": (ROUND.astype("UInt8"), "Float64"),
    "Float32": (FRAME.hr.astype("Float32"), "Float32"),
    "Float64": (FRAME.hr.astype("Float64"), "Float64"),
    "bool": (FRAME.hr > 80, "float64"),
    "boolean": ((FRAME.hr > 80).astype("boolean").mask(FRAME.hr.isna()), "Float64"),
    "objects": (ROUND.astype(object).where(FRAME.hr.notna(), None), "float64"),
    "truths and None": ((FRAME.hr > 80).astype(object).where(FRAME.hr.notna(), None), "float64"),
    "double[pyarrow]": (FRAME.hr.astype("double[pyarrow]"), "double[pyarrow]"),
    "float[pyarrow]": (FRAME.hr.astype("float[pyarrow]"), "float[pyarrow]"),
    "int32[pyarrow]": (ROUND.astype("Int32").astype("int32[pyarrow]"), "double[pyarrow]"),
    "bool[pyarrow]": ((FRAME.hr > 80).astype("bool[pyarrow]"), "double[pyarrow]"),
    "sparse": (FRAME.hr.astype(pd.SparseDtype("float64")), "float64"),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_of_every_dtype(model, name):
    column, expected = VALUES[name]
    frame = FRAME.assign(hr=column)
    table = read_frame(frame, id_col="patient", time_col="hours")
    np.testing.assert_array_equal(
        table.values[:, 0], [np.nan if pd.isna(value) else float(value) for value in column]
    )
    found = answers(model, frame)
    for name in ("predict", "forecast", "sample"):
        assert found[name]["hr"].dtype == expected
        assert np.isfinite(found[name][CHANNELS].to_numpy(dtype=float)).all()
    assert found["predict"]["hr-lo-90"].dtype == expected
    assert found["impute"]["hr"].notna().all()
    assert found["impute"]["hr"].dtype == (expected if column.isna().any() else column.dtype)
    assert (found["impute"]["hr"] == column)[column.notna()].all()


# ---------------------------------------------------------------- ids

NUMBER = FRAME.patient.str[1:].astype(int)
IDS = {
    "int64": NUMBER,
    "uint8": NUMBER.astype("uint8"),
    "float": NUMBER + 0.5,
    "bool": NUMBER < 3,
    "Int64": NUMBER.astype("Int64"),
    "string": FRAME.patient.astype("string"),
    "python text": FRAME.patient.astype(object),
    "arrow text": FRAME.patient.astype("string[pyarrow]"),
    "arrow integers": NUMBER.astype("int64[pyarrow]"),
    "categories, some unused": FRAME.patient.astype(pd.CategoricalDtype(["nobody", *FRAME.patient.unique()])),
    "ordered categories": FRAME.patient.astype(pd.CategoricalDtype(sorted(set(FRAME.patient)), ordered=True)),
    "objects of mixed types": NUMBER.map(dict(enumerate([1, "1", (1, 2), 2.5, b"x", Fraction(1, 3)]))),
    "datetimes": pd.Timestamp("2024-01-01", tz="Europe/Berlin") + pd.to_timedelta(NUMBER, "D"),
    "timedeltas": pd.to_timedelta(NUMBER, "D"),
    "periods": pd.PeriodIndex.from_ordinals(NUMBER, freq="M").to_series(index=FRAME.index),
    "intervals": pd.Series(pd.arrays.IntervalArray.from_arrays(NUMBER, NUMBER + 1), index=FRAME.index),
}


@pytest.mark.parametrize("name", IDS)
def test_ids_of_every_dtype(model, name):
    frame = FRAME.assign(patient=IDS[name])
    found = answers(model, frame)
    plain = answers(model, FRAME.assign(patient=pd.factorize(IDS[name])[0]))
    for kind in ("predict", "forecast", "sample"):
        assert found[kind]["patient"].dtype == frame["patient"].dtype, kind
    if frame["patient"].nunique() == FRAME["patient"].nunique():
        np.testing.assert_array_equal(found["forecast"][CHANNELS], plain["forecast"][CHANNELS])
        np.testing.assert_array_equal(found["predict"][CHANNELS], plain["predict"][CHANNELS])
    pd.testing.assert_series_equal(found["predict"]["patient"], frame["patient"])
    assert list(found["encode"].index) == list(dict.fromkeys(frame["patient"]))
    asked = frame[["patient", "hours"]].iloc[[-1, 0]]
    assert len(model.predict(frame, times=asked)) == 2


# ---------------------------------------------------------------- times

SPAN = pd.to_timedelta(FRAME.hours, "h").dt.round("s")
START = pd.Timestamp("2024-03-30 18:00")
MINUTE = (60 * FRAME.hours).round().astype("int64")
TIMES = {
    "float64": (FRAME.hours, 2.0),
    "float32": (FRAME.hours.astype("float32"), 2.0),
    "float16": (MINUTE.astype("float16"), 60.0),
    "int64": (MINUTE, 60),
    "int16": (MINUTE.astype("int16"), 60),
    "uint64": (MINUTE.astype("uint64"), 60),
    "Int64": (MINUTE.astype("Int64"), 60),
    "Float64": (FRAME.hours.astype("Float64"), 2.0),
    "arrow doubles": (FRAME.hours.astype("double[pyarrow]"), 2.0),
    "arrow integers": (MINUTE.astype("int64[pyarrow]"), 60),
    "objects": (FRAME.hours.astype(object), 2.0),
    "timedeltas": (SPAN, "2h"),
    "timedeltas in seconds": (SPAN.astype("timedelta64[s]"), "2h"),
    "datetimes": (START + SPAN, "2h"),
    "datetimes in milliseconds": ((START + SPAN).astype("datetime64[ms]"), "2h"),
    "datetimes in UTC": ((START + SPAN).dt.tz_localize("UTC"), "2h"),
    "local datetimes": ((START + SPAN).dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin"), "2h"),
    "a fixed offset": ((START + SPAN).dt.tz_localize(datetime.timezone(datetime.timedelta(hours=5.5))), "2h"),
    "python datetimes": (pd.Series([when.to_pydatetime() for when in START + SPAN], dtype=object), "2h"),
    "dates": (pd.Series([START.date() + datetime.timedelta(int(m)) for m in MINUTE]), "2D"),
    "periods": (pd.PeriodIndex.from_ordinals(MINUTE, freq="min").to_series(index=FRAME.index), "2h"),
    "arrow timestamps": ((START + SPAN).astype("timestamp[us][pyarrow]"), "2h"),
    "arrow timestamps in a zone": (
        (START + SPAN).dt.tz_localize("UTC").astype("timestamp[us, tz=UTC][pyarrow]"),
        "2h",
    ),
    "arrow dates": (
        (pd.Timestamp("2024-01-01") + pd.to_timedelta(MINUTE, "D")).astype("date32[pyarrow]"),
        "2D",
    ),
    "arrow durations": (SPAN.astype("duration[us][pyarrow]"), "2h"),
}


@pytest.mark.parametrize("name", TIMES)
def test_times_of_every_dtype(name):
    clock, horizon = TIMES[name]
    frame = FRAME.assign(hours=clock).drop_duplicates(["patient", "hours"])
    fitted = tiny("patient", "hours").fit(frame)
    found = answers(fitted, frame, horizon)
    for kind in ("predict", "impute", "sample"):
        if kind == "sample" and name == "float16":
            continue  # rows of our own making: pandas has no index of half precision to take them from
        assert found[kind]["hours"].dtype == frame["hours"].dtype, kind
    pd.testing.assert_series_equal(found["predict"]["hours"], frame["hours"])
    assert np.isfinite(found["forecast"][CHANNELS].to_numpy()).all()
    own = fitted.predict(frame, times=found["forecast"][["patient", "hours"]])
    np.testing.assert_allclose(own[CHANNELS], found["forecast"][CHANNELS], rtol=1e-5, atol=1e-5)
    again = fitted.predict(frame, times=frame["hours"].iloc[:2])
    assert len(again) == 2 * frame["patient"].nunique()
    if name == "float16":
        return  # nor are there such levels
    indexed = frame.set_index(["patient", "hours"])
    np.testing.assert_array_equal(tiny().fit(indexed).predict(indexed)[CHANNELS], found["predict"][CHANNELS])


@pytest.mark.parametrize(
    "index",
    [
        pd.period_range("2024-01", periods=30, freq="M", name="month"),
        pd.date_range("2024-01-01", periods=30, freq="6h", tz="Asia/Tokyo"),
        pd.timedelta_range("0h", periods=30, freq="6h"),
        pd.Index(np.arange(30) / 4, name="hours"),
        pd.Index(np.arange(30), dtype="uint8"),
        pd.RangeIndex(30),
        pd.Index(np.arange(30), dtype="Int64"),
    ],
    ids=lambda index: str(index.dtype),
)
@pytest.mark.filterwarnings("ignore:.*too little to learn:UserWarning")
def test_one_series_by_its_index(index):
    frame = pd.DataFrame({"x": np.sin(np.arange(30.0)), "y": 1.0}, index=index)
    frame.iloc[3, 0] = np.nan
    fitted = tiny().fit(frame)
    found = fitted.predict(frame)
    assert found.index.equals(index)
    assert found.index.name == index.name
    assert fitted.impute(frame).x.notna().all()
    ahead = fitted.forecast(frame, 5 if found.index.dtype.kind in "iuf" else "48h", 2)
    assert len(ahead) == 2


@pytest.mark.filterwarnings("ignore:.*too little to learn:UserWarning")
def test_periods_are_answered_in_periods():
    months = pd.period_range("2020-01", periods=30, freq="M")
    frame = pd.DataFrame({"x": np.sin(np.arange(30.0))}, index=months)
    model = tiny().fit(frame)
    asked = pd.period_range("2022-07", periods=3, freq="M")
    for times in (asked, list(asked), asked.to_series()):
        found = model.predict(frame, times=times)
        assert found.index.equals(asked)
    np.testing.assert_array_equal(model.predict(frame, times=asked.to_timestamp()).x, found.x)
    # The last observation is of June: July and August begin 30 and 61 days after its first one.
    ahead = model.forecast(frame, "31D", 1)
    assert ahead.index.tolist() == [pd.Timestamp("2022-07-02")]  # no period begins there
    ahead = model.forecast(frame, "30D", 1)
    assert ahead.index.equals(asked[:1])
    assert ahead.x.iloc[0] == found.x.iloc[0]


@pytest.mark.filterwarnings("ignore:.*too little to learn:UserWarning")
def test_masked_cells_of_an_array_are_not_observed():
    data = FRAME[["hr", "temp"]].to_numpy()
    spoilt = np.ma.masked_invalid(data).copy()
    spoilt.data[7, 0], spoilt.mask[7, 0] = 1e9, True
    plain = np.where(spoilt.mask, np.nan, data)
    one, other = tiny().fit(spoilt), tiny().fit(plain)
    np.testing.assert_array_equal(one.predict(spoilt), other.predict(plain))
    np.testing.assert_array_equal(one.impute(spoilt), other.impute(plain))
    assert np.isfinite(one.impute(spoilt)).all()


# ---------------------------------------------------------------- refusals

REFUSED = {
    "decimals": (FRAME.hr.map(decimal.Decimal), r"column 'hr' holds decimal .*astype\(float\)"),
    "arrow decimals": (
        FRAME.hr.round(2).astype(pd.ArrowDtype(pa.decimal128(9, 2))),
        r"column 'hr' holds decimal numbers; .*astype\(float\)",
    ),
    "fractions": (pd.Series([Fraction(1, 3)] * len(FRAME)), "column 'hr' holds mixed where numbers belong"),
    "text": (
        FRAME.hr.astype(str),
        "column 'hr' holds text where numbers belong; .*to_numeric",
    ),
    "arrow text": (
        FRAME.hr.astype("string[pyarrow]"),
        "column 'hr' holds text where numbers belong; it holds numbers as text",
    ),
    "lists": (pd.Series([[1.0]] * len(FRAME)), "column 'hr' holds mixed where numbers belong"),
    "timedeltas": (SPAN, "column 'hr' has dtype timedelta64"),
    "periods": (TIMES["periods"][0], "column 'hr' has dtype period"),
    "intervals": (IDS["intervals"], "column 'hr' has dtype interval"),
    "bytes": (
        pd.Series([b"1"] * len(FRAME)),
        "column 'hr' holds text where numbers belong; it holds numbers as text",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_values_that_are_no_numbers_are_refused(name):
    column, message = REFUSED[name]
    with pytest.raises(TypeError, match=message):
        tiny("patient", "hours").fit(FRAME.assign(hr=column))


def test_integers_that_no_clock_holds_are_refused():
    with pytest.raises(ValueError, match=r"time column 'hours' holds integers above 2\*\*63 - 1; subtract"):
        tiny("patient", "hours").fit(FRAME.assign(hours=MINUTE.astype("uint64") + 2**63))


def test_decimal_times_are_refused():
    for clock in (FRAME.hours.map(decimal.Decimal), FRAME.hours.astype(pd.ArrowDtype(pa.decimal128(9, 2)))):
        with pytest.raises(TypeError, match=r"time column 'hours' holds decimal.*astype"):
            tiny("patient", "hours").fit(FRAME.assign(hours=clock))


# ---------------------------------------------------------------- the frame that was given


@pytest.mark.filterwarnings("ignore:.*too little to learn:UserWarning")
@pytest.mark.parametrize("layout", ["columns", "index", "unsorted", "repeated labels", "one series", "views"])
def test_a_frame_is_never_changed(layout):
    frame = FRAME.copy()
    roles = ("patient", "hours")
    if layout == "index":
        frame, roles = frame.set_index(["patient", "hours"]), ()
    elif layout == "unsorted":
        frame = frame.sample(frac=1, random_state=0)
    elif layout == "repeated labels":
        frame.index = np.arange(len(frame)) // 3
    elif layout == "one series":
        frame, roles = frame[frame.patient == "p0"].drop(columns="patient").set_index("hours"), ()
    elif layout == "views":
        frame = frame.iloc[::2]
    frame.attrs["source"] = {"ward": [1, 2]}
    before, attrs, columns = frame.copy(deep=True), copy.deepcopy(frame.attrs), frame.columns
    fitted = tiny(*roles).fit(frame)
    found = answers(fitted, frame)
    fitted.score(frame)
    for answer in found.values():  # writing into an answer does not reach the frame either
        answer.iloc[:, -1] = -1.0
    pd.testing.assert_frame_equal(frame, before, check_exact=True)
    pd.testing.assert_index_equal(frame.index, before.index, exact=True)
    assert frame.columns is columns
    assert frame.attrs == attrs


def test_a_frame_whose_labels_may_not_repeat_is_answered(model):
    strict = FRAME.set_flags(allows_duplicate_labels=False)
    for kind, found in answers(model, strict).items():
        pd.testing.assert_frame_equal(found, answers(model, FRAME)[kind], check_flags=False)
    found = model.evaluate(strict, n_bootstrap=0).table
    pd.testing.assert_frame_equal(found, model.evaluate(FRAME, n_bootstrap=0).table)
    assert not strict.flags.allows_duplicate_labels


def test_an_array_is_never_changed():
    array = np.random.default_rng(0).normal(size=(120, 2))
    before = array.copy()
    fitted = tiny().fit(array)
    fitted.predict(array)
    fitted.impute(array)[:] = 0.0
    np.testing.assert_array_equal(array, before)


def test_rows_that_complement_each_other_are_merged(model):
    """The same observations, one channel a row."""
    tall = FRAME.melt(["patient", "hours"], CHANNELS).dropna()
    split = tall[["patient", "hours"]].assign(
        **{name: tall.value.where(tall.variable == name).astype(FRAME[name].dtype) for name in CHANNELS}
    )
    # Sums over a batch in another order of the series: the last bits of single precision.
    close = {"rtol": 1e-5}
    plain = model.predict(FRAME)[CHANNELS]
    np.testing.assert_allclose(
        model.predict(split, times=FRAME[["patient", "hours"]])[CHANNELS], plain, **close
    )
    kept = FRAME[FRAME[CHANNELS].notna().any(axis=1)].index
    split = split.sort_values("patient", key=lambda name: name.map({f"p{k}": k for k in range(6)}))
    again = tiny("patient", "hours").fit(split).predict(FRAME)[CHANNELS]
    np.testing.assert_allclose(again.loc[kept], plain.loc[kept], **close)
    with pytest.raises(ValueError, match="has two rows with different 'hr' values"):
        model.predict(pd.concat([FRAME, FRAME.assign(hr=FRAME.hr + 1)]))


def test_gaps_are_filled_with_what_rows_of_the_same_time_hold(model):
    rows = {
        "one channel": FRAME.assign(hr=np.nan),
        "the others": FRAME.assign(temp=np.float32(np.nan), flat=np.nan),
        "a query": FRAME.assign(hr=np.nan, temp=np.float32(np.nan), flat=np.nan),
    }
    mixed = pd.concat(rows, names=["row"]).sample(frac=1, random_state=0)
    filled = model.impute(mixed)
    expected = model.impute(FRAME)
    observed = FRAME[CHANNELS].notna()
    for name in rows:
        found = filled.loc[name].sort_index()
        pd.testing.assert_frame_equal(
            found[CHANNELS].where(observed), FRAME[CHANNELS].where(observed), check_exact=True
        )
        # what no row holds is predicted: sums in another order, of single precision
        pd.testing.assert_frame_equal(found, expected, rtol=1e-5)
