"""Frames are read exactly and answered in their own layout."""

import numpy as np
import pandas as pd
import pytest
import torch

from latentode import SeriesCollection
from latentode.frames import (
    Scaling,
    answer,
    answer_rows,
    ask_ahead,
    ask_times,
    float_dtype,
    read_frame,
    read_moment,
    read_times,
)
from latentode.frames.clock import duration

NEUTRAL = Scaling(np.zeros(1), np.ones(1), 1.0)


def as_collection(values):
    """One row for each series, everything observed."""
    n_rows = len(values)
    return SeriesCollection(
        torch.zeros(n_rows, dtype=torch.float64),
        torch.from_numpy(values),
        torch.ones(values.shape, dtype=torch.bool),
        torch.arange(n_rows + 1),
    )


def long_frame(times, **columns):
    columns = columns or {"x": np.arange(float(len(times)))}
    return pd.DataFrame(
        {"id": ["a", "b"] * (len(times) // 2) + ["a"] * (len(times) % 2), "t": times, **columns}
    )


@pytest.mark.parametrize(
    ("times", "step"),
    [
        (pd.date_range("1970-01-01", periods=6, freq="ns"), 1e-9),
        (pd.date_range("2200-01-01", periods=6, freq="ns", tz="Europe/Berlin"), 1e-9),
        (pd.date_range("2024-03-31", periods=6, freq="30min", tz="Europe/Berlin"), 1800.0),
        (pd.date_range("2024-01-01", periods=6, freq="s").as_unit("s"), 1.0),
        (pd.timedelta_range("0", periods=6, freq="ms"), 1e-3),
        (pd.period_range("2024-01", periods=6, freq="D"), 86400.0),
        (1_700_000_000_000_000_000 + np.arange(6), 1.0),
        (-(2**63) + 2**61 * np.arange(6), 2.0**61),
        (np.arange(6, dtype="uint8"), 1.0),
        (2_460_000.5 + np.arange(6) / 2**20, 2.0**-20),
        (pd.array([1, 2, 3, 4, 5, 6], dtype="Int64"), 1.0),
        (pd.array([1.5, 2.5, 3.5, 4.5, 5.5, 6.5], dtype="Float64"), 1.0),
        (1e300 * np.arange(6), 1e300),
        (1e-300 * np.arange(6), 1e-300),
    ],
    ids=str,
)
def test_elapsed_times_are_exact(times, step):
    instants = read_times(times, "times")
    origin = instants[np.zeros(6, dtype=int)]
    np.testing.assert_allclose(instants.since(origin), step * np.arange(6), rtol=1e-12)


def test_rows_of_any_order_give_the_same_collection():
    frame = long_frame(np.array([3.0, 1.0, 2.0, 5.0, 4.0, 0.0, 9.0]))
    shuffled = frame.sample(frac=1, random_state=1).sort_values("id", kind="stable")
    one, other = (read_frame(f, id_col="id", time_col="t").collection() for f in (frame, shuffled))
    for name in ("times", "values", "mask", "starts"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert one.times.tolist() == [0.0, 1.0, 2.0, 7.0, 0.0, 1.0, 5.0]
    assert one.starts.tolist() == [0, 4, 7]


def test_all_three_layouts_read_the_same():
    frame = long_frame(pd.date_range("2024-01-01", periods=6, freq="h", tz="UTC"), x=[1, 2, 3, 4, 5, np.nan])
    by_columns = read_frame(frame, id_col="id", time_col="t")
    by_index = read_frame(frame.set_index(["id", "t"]))
    mixed = read_frame(frame.set_index("t"), id_col="id")
    single = read_frame(frame[frame.id == "a"].drop(columns="id").set_index("t"))
    first = by_columns.collection()
    for table in (by_index, mixed):
        other = table.collection()
        assert torch.equal(first.times, other.times)
        assert torch.equal(first.values, other.values)
    alone = single.collection()
    assert torch.equal(alone.times, first.times[:3])
    assert single.roles.is_single


def test_rows_of_equal_time_complement_each_other():
    frame = pd.DataFrame({"id": 1, "t": [0, 0, 1], "x": [1.0, np.nan, 3.0], "y": [np.nan, 2.0, np.nan]})
    collection = read_frame(frame, id_col="id", time_col="t").collection()
    assert collection.values.tolist() == [[1.0, 2.0], [3.0, 0.0]]
    assert collection.mask.tolist() == [[True, True], [True, False]]


def test_rows_without_observations_are_queries_only():
    frame = pd.DataFrame({"id": 1, "t": [-5.0, 0.0, 1.0], "x": [np.nan, 1.0, 2.0]})
    collection = read_frame(frame, id_col="id", time_col="t").collection()
    assert collection.times.tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    "dtype",
    [
        "float32",
        "float64",
        "int64",
        "bool",
        "Int64",
        "Float32",
        "boolean",
        "double[pyarrow]",
        "int64[pyarrow]",
    ],
)
def test_values_of_every_number_dtype_are_read(dtype):
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    frame = long_frame(np.arange(4.0), x=pd.Series([1, 0, 1, 1]).astype(dtype))
    table = read_frame(frame, id_col="id", time_col="t")
    assert table.values[:, 0].tolist() == [1, 0, 1, 1]
    pd.Series([0.5]).astype(float_dtype(frame["x"].dtype))  # a dtype that can hold a prediction


def test_missing_values_of_nullable_dtypes_are_missing():
    frame = long_frame(np.arange(2.0), x=pd.array([1, None], dtype="Int64"))
    assert np.isnan(read_frame(frame, id_col="id", time_col="t").values[1, 0])


def test_scaling_brings_every_channel_to_unit_spread():
    random = np.random.default_rng(0)
    units = np.array([1e-300, 1e-9, 1.0, 1e9, 1e300])
    values = (random.normal(size=(1000, 5)) + 3) * units
    scaling = Scaling.learn(values, np.array([1.0]))
    scaled = scaling.scale(as_collection(values), torch.float64).values
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(scaled.numpy().std(0), 1, rtol=1e-9)
    np.testing.assert_allclose(scaling.unscale(scaled), values, rtol=1e-9)


# An outlier is cut to 8 spreads at most, and one of n adds 64 / n to the variance; one in a thousand .064.
@pytest.mark.parametrize(("n_values", "most"), [(60, 0.45), (150, 0.2), (10_000, 0.05)])
def test_a_few_wild_outliers_leave_the_scaling_alone(n_values, most):
    random = np.random.default_rng(0)
    values = random.normal(size=(n_values, 1))
    clean = Scaling.learn(values, np.array([1.0]))
    values[::1000] = 1e6  # one in a thousand, and one of few
    spoilt = Scaling.learn(values, np.array([1.0]))
    assert abs(spoilt.spread[0] / clean.spread[0] - 1) < most
    assert abs(spoilt.center[0] - clean.center[0]) < most


def test_what_lies_beyond_the_largest_number_is_answered_by_it():
    scaling = Scaling.learn(np.finfo(float).max * np.array([[-1.0], [0.5], [1.0]]), np.array([1.0]))
    assert scaling.unscale(torch.tensor([[100.0]])) == np.finfo(float).max
    assert scaling.unscale(torch.tensor([[-100.0]])) == -np.finfo(float).max
    table = read_frame(long_frame(np.arange(2.0)), id_col="id", time_col="t")
    found = answer_rows(table.frame, table.roles, {"x": np.array([1e300, 1.0])}, {"x": np.dtype("float32")})
    assert found["x"].tolist() == [np.finfo("float32").max, 1.0]


@pytest.mark.parametrize("value", [0.0, 5.0, -1e12, 1e-12])
def test_a_constant_channel_scales_to_zero(value):
    scaling = Scaling.learn(np.full((50, 1), value), np.array([0.0]))
    assert scaling.spread[0] > 0
    assert scaling.time_unit == 1.0
    scaled = scaling.scale(as_collection(np.full((1, 1), value)), torch.float64)
    np.testing.assert_allclose(scaled.values, 0.0, atol=1e-9)


def test_values_beside_an_enormous_one_are_no_constant():
    values = np.array([[1e26], [1e28], [3e27], [2e28], [1e261]])
    scaled = Scaling.learn(values, np.array([0.0])).scale(as_collection(values), torch.float64)
    usual = scaled.values[:4, 0]
    assert usual.abs().max() < 3
    assert usual.std() > 0.1


def test_time_unit_is_the_usual_span_and_bounds_the_longest():
    assert Scaling.learn(np.zeros((2, 1)), np.array([10.0] * 19 + [12.0])).time_unit == 10.0
    assert Scaling.learn(np.zeros((2, 1)), np.array([1.0] * 99 + [1e6])).time_unit == 1e6 / 20


def test_answers_keep_index_columns_and_dtypes():
    times = pd.date_range("2024-01-01", periods=4, freq="h", tz="Asia/Tokyo")
    frame = long_frame(times).astype({"id": "category"})
    frame.index = pd.Index([7, 3, 3, 9], name="row")
    table = read_frame(frame, id_col="id", time_col="t")
    found = answer_rows(table.frame, table.roles, {"x": np.zeros(4)}, {"x": np.dtype("float32")})
    pd.testing.assert_frame_equal(found[["id", "t"]], frame[["id", "t"]])
    assert found["x"].dtype == "float32"
    assert found.index.equals(frame.index)
    assert found.index.name == "row"


def test_answers_at_own_times_follow_the_layout():
    frame = long_frame(np.arange(4.0))
    columns = {"x": np.arange(4.0)}
    for layout in (frame, frame.set_index(["id", "t"]), frame.set_index("t")):
        id_col = None if layout.index.nlevels == 2 else "id"
        time_col = "t" if "t" in layout.columns else None
        table = read_frame(layout, id_col=id_col, time_col=time_col)
        asked = ask_times(table, [10.0, 11.0])
        found = answer(table.roles, asked.ids, asked.times, columns, {})
        assert found.columns.tolist() == layout.columns.tolist()
        assert found.index.names == layout.index.names
        assert found.reset_index()["t"].tolist() == [10.0, 11.0, 10.0, 11.0]


def test_forecast_times_keep_the_clock_dtype():
    berlin = pd.date_range("2024-03-30", periods=4, freq="12h", tz="Europe/Berlin").as_unit("ms")
    for times, horizon in [
        (berlin, "36h"),
        (np.arange(4), 6),
        (np.arange(4.0), 1.5),
        (berlin - berlin[0], "1h"),
    ]:
        table = read_frame(long_frame(times), id_col="id", time_col="t")
        ahead = ask_ahead(table, horizon, 3)
        assert ahead.times.dtype == pd.Index(times).dtype
        assert len(ahead) == 6
    old = pd.DatetimeIndex(np.datetime64("1500-01-01", "s") + np.arange(4).astype("timedelta64[h]"))
    ahead = ask_ahead(read_frame(long_frame(old), id_col="id", time_col="t"), "90min", 2)
    assert ahead.times.to_numpy()[0] == np.datetime64("1500-01-01T02:45")
    table = read_frame(long_frame(berlin), id_col="id", time_col="t")
    # The clocks go forward on 31 March: 36 elapsed hours after noon it is one in the morning.
    assert ask_ahead(table, "36h", 1).times[0] == berlin[2] + pd.Timedelta("36h")


@pytest.mark.parametrize(("horizon", "steps", "unit"), [("10s", 5, "s"), ("10s", 4, "ms"), ("10s", 7, "us")])
@pytest.mark.parametrize(
    "dtype", ["datetime64[s]", "datetime64[s, UTC]", "timestamp[s][pyarrow]", "timedelta64[s]"]
)
def test_steps_ahead_are_equal_whatever_the_clocks_unit(dtype, horizon, steps, unit):
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    clock = pd.Series(np.arange(4).astype("timedelta64[s]"))
    if "timedelta" not in dtype:
        clock = (np.datetime64("2024-01-01", "s") + clock).dt.tz_localize("UTC" if "UTC" in dtype else None)
    clock = clock.astype(dtype)
    table = read_frame(pd.DataFrame({"t": clock, "x": 1.0}), time_col="t")
    ahead = ask_ahead(table, horizon, steps)
    assert f"[{unit}" in str(ahead.times.dtype)
    leads = ahead.instants.since(table.times[table.last_rows()[ahead.codes]])
    np.testing.assert_allclose(
        leads, 10 * np.arange(1, steps + 1) / steps, atol=1e-6
    )  # microseconds are the finest


@pytest.mark.parametrize(
    "clock",
    [
        pd.Index([pd.Timestamp("2024-01-01").date(), pd.Timestamp("2024-01-02").date()] * 2, dtype=object),
        pd.period_range("2024-01", periods=4, freq="D"),
        pd.date_range("2024-01-01", periods=4, tz="UTC").astype("timestamp[us, tz=UTC][pyarrow]"),
        pd.timedelta_range("0h", periods=4, freq="h").astype("duration[us][pyarrow]"),
        pd.Index(np.arange(4), dtype="float32"),
    ],
    ids=lambda clock: str(clock.dtype),
)
def test_forecasts_of_every_clock(clock):
    if "pyarrow" in str(clock.dtype):
        pytest.importorskip("pyarrow")
    table = read_frame(
        pd.DataFrame({"id": ["a", "a", "b", "b"], "t": clock, "x": 1.0}), id_col="id", time_col="t"
    )
    horizon = 2.0 if table.times.kind == "number" else "2h"
    ahead = ask_ahead(table, horizon, 2)
    origin = table.times[table.last_rows()[ahead.codes]]
    unit = 1.0 if table.times.kind == "number" else 3600.0
    assert (ahead.instants.since(origin) / unit).tolist() == [1.0, 2.0, 1.0, 2.0]
    if "pyarrow" in str(clock.dtype):
        assert ahead.times.dtype == clock.dtype
        assert table.times.aware == ("UTC" in str(clock.dtype))


@pytest.mark.parametrize("dtype", ["date32[pyarrow]", "date64[pyarrow]"])
def test_forecasts_of_arrows_dates_are_not_cut_to_days(dtype):
    pytest.importorskip("pyarrow")
    days = pd.Series(pd.date_range("2024-01-01", periods=4)).astype(dtype)
    table = read_frame(pd.DataFrame({"t": days, "x": 1.0}), time_col="t")
    for horizon, steps, hours in (("12h", 2, [6.0, 12.0]), ("2D", 2, [24.0, 48.0]), ("36h", 1, [36.0])):
        ahead = ask_ahead(table, horizon, steps)
        origin = table.times[table.last_rows()[ahead.codes]]
        assert (ahead.instants.since(origin) / 3600).tolist() == hours
        assert (ahead.times.dtype == days.dtype) == (horizon == "2D")
        assert isinstance(ahead.times.dtype, pd.ArrowDtype)


@pytest.mark.parametrize("dtype", ["int64", "uint64", "Int64", "UInt64", "int64[pyarrow]", "uint64[pyarrow]"])
def test_whole_steps_of_large_integers_are_exact(dtype):
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    first = 1_700_000_000_000_000_001
    table = read_frame(long_frame(pd.Series(first + np.arange(4)).astype(dtype)), id_col="id", time_col="t")
    ahead = ask_ahead(table, 10, 2)
    assert [int(time) for time in ahead.times] == [first + lead for lead in (2 + 5, 2 + 10, 3 + 5, 3 + 10)]
    assert ahead.times.dtype == dtype
    odd = ask_ahead(table, 3, 2)  # half steps are floats
    assert pd.api.types.is_float_dtype(odd.times.dtype)
    leads = odd.instants.since(table.times[table.last_rows()[odd.codes]])
    np.testing.assert_allclose(leads, [1.5, 3.0] * 2, atol=np.spacing(1.7e18))


def test_text_times_are_read_with_their_offset():
    berlin = pd.date_range("2024-01-01", periods=4, freq="12h", tz="Europe/Berlin")
    table = read_frame(long_frame(berlin), id_col="id", time_col="t")
    assert ask_times(table, ["2024-01-02 00:00+01:00"]).times[0] == berlin[2]


def test_own_times_may_come_in_any_order():
    table = read_frame(long_frame(np.arange(4.0)), id_col="id", time_col="t")
    asked = ask_times(table, pd.DataFrame({"id": ["b", "a", "b"], "t": [3.0, 2.0, 1.0]}))
    assert asked.codes.tolist() == [1, 0, 1]
    order, times, starts = asked.by_series(table, NEUTRAL)
    assert order.tolist() == [1, 2, 0]
    assert times.tolist() == [2.0, 0.0, 2.0]  # b's clock starts at its first observation, t = 1
    assert starts.tolist() == [0, 1, 3]


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("48h", 48),
        ("5000d", 120_000),
        ("2 w", 336),
        ("1H", 1),
        ("90T", 1.5),
        ("1.5D", 36),
        ("2 days 3 hours", 51),
    ],
)
def test_lengths_of_time_are_read_without_a_warning(text, hours):
    assert duration(text, "datetime", "horizon") == hours * 3600
    assert duration(pd.Timedelta(hours, "h"), "timedelta", "horizon") == hours * 3600


def test_times_asked_in_another_zone_are_answered_in_the_frames():
    times = pd.date_range("2024-03-30 12:00", periods=3, freq="12h", tz="Europe/Berlin")
    table = read_frame(pd.DataFrame({"time": times, "x": [1.0, 2.0, 3.0]}), time_col="time")
    for asked in (
        times.tz_convert("America/New_York"),
        times.tz_convert("UTC"),
        list(times.tz_convert("UTC").astype(str)),
    ):
        questions = ask_times(table, asked)
        assert str(questions.times.tz) == "Europe/Berlin"
        assert (questions.times == times).all()


@pytest.mark.parametrize("kind", ["timestamp[us, tz=Europe/Berlin][pyarrow]", "python datetimes"])
def test_the_zone_is_that_of_a_clock_of_any_dtype(kind):
    pytest.importorskip("pyarrow")
    times = pd.date_range("2024-10-27", periods=4, freq="h", tz="Europe/Berlin").as_unit("us")
    clock = (
        pd.Series(times.to_pydatetime(), dtype=object) if kind == "python datetimes" else times.astype(kind)
    )
    table = read_frame(pd.DataFrame({"time": clock, "x": 1.0}), time_col="time")
    questions = ask_times(table, ["2024-10-27 00:00+00:00", "2024-10-27 01:00+00:00"])
    assert str(questions.times.tz) == "Europe/Berlin"
    assert [time.hour for time in questions.times] == [2, 2]  # clocks go back between the two
    assert read_moment("2024-10-27 01:00+00:00", "after", table)[0] == "2024-10-27 02:00:00+01:00"
    with pytest.raises(TypeError, match=r"tz_localize\('Europe/Berlin'\), if they are of the data's zone"):
        ask_times(table, ["2024-10-27 02:00"])
