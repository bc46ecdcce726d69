"""Frames of polars and pyarrow go in and come out in kind, and say what pandas' would."""

import builtins
import datetime
import decimal

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.utils import _safe_indexing

from latentode import LatentODE, plotting
from latentode.frames import to_pandas
from tests.conftest import make_frame

nw = pytest.importorskip("narwhals")
pa = pytest.importorskip("pyarrow")
CHANNELS = ["hr", "temp", "flat"]
FRAME = make_frame(6).assign(
    hours=lambda frame: pd.Timestamp("2024-03-30", tz="UTC") + pd.to_timedelta(frame.hours.round(2), "h"),
    patient=lambda frame: frame.patient.astype("category"),
)
TINY = {"latent_dim": 2, "field_units": (4,), "encoder_units": 4, "decoder_units": (4,), "n_samples": 4}


def tiny(*roles, **settings):
    return LatentODE(*roles, **({"max_iter": 1, "residual": "ou", "random_state": 0} | TINY | settings))


@pytest.fixture(params=["polars", "pyarrow"])
def convert(request):
    """From a pandas frame to one of the library."""
    pytest.importorskip(request.param)

    def to(frame):
        table = pa.Table.from_pandas(frame, preserve_index=False)
        return nw.from_arrow(table, backend=request.param).to_native()

    return to


@pytest.fixture(scope="module")
def model():
    return tiny("patient", "hours").fit(FRAME)


def same(found, like, expected):
    """The same library and, read back, the same values."""
    assert type(found) is type(like)
    # Text and categories come back in pandas' own choice of dtype.
    pd.testing.assert_frame_equal(
        to_pandas(found).astype({name: expected[name].dtype for name in expected}), expected, check_exact=True
    )


ASK = {
    "predict": lambda m, df: m.predict(df, level=90),
    "predict at times": lambda m, df: m.predict(df, times=FRAME.hours.iloc[:2]),
    "forecast": lambda m, df: m.forecast(df, "6h", 2),
    "sample": lambda m, df: m.sample(df, n_samples=2),
    "impute": lambda m, df: m.impute(df),
    "latent": lambda m, df: m.latent(df),
    "velocity": lambda m, df: m.velocity(Z=m.latent(df)),
    "encode": lambda m, df: m.encode(df),
    "score_samples": lambda m, df: m.score_samples(df),
}


@pytest.mark.parametrize("name", ASK)
def test_answers_come_in_kind(model, convert, name):
    expected = ASK[name](model, FRAME)
    if name == "encode":  # such frames have no index to keep the ids in
        expected = expected.reset_index()
    found = ASK[name](model, convert(FRAME))
    same(found, convert(FRAME), expected)
    before, after = (nw.from_native(one).schema for one in (convert(FRAME), found))
    if name != "score_samples":
        assert {column: after[column] for column in before if column in after} == {
            column: dtype for column, dtype in before.items() if column in after
        }


def test_impute_leaves_all_but_the_gaps_as_they_are_given(model, convert):
    n_rows, odd = len(FRAME), np.arange(len(FRAME)) % 2 == 1
    frame = FRAME.assign(
        encounter=pd.Series([2**53 + 1] * n_rows, dtype="Int64").mask(odd),
        born=[datetime.date(1950, 5, 1)] * n_rows,
        beds=pd.Series([1] * n_rows, dtype="UInt8").mask(odd),
        dose=pd.Series([decimal.Decimal("1.50")] * n_rows, dtype=pd.ArrowDtype(pa.decimal128(10, 2))).mask(
            odd
        ),
    )
    given = nw.from_native(convert(frame), eager_only=True)
    found = nw.from_native(model.impute(given.to_native()), eager_only=True)
    assert found.columns == given.columns
    for name in set(given.columns) - {"hr", "temp"}:
        assert found[name].dtype == given[name].dtype
        assert found[name].to_list() == given[name].to_list(), name
    same(found.select(FRAME.columns.tolist()).to_native(), convert(FRAME), model.impute(FRAME))
    assert model.impute(found.to_native()).equals(found.to_native())


def test_an_enum_stays_one(model):
    pl = pytest.importorskip("polars")
    ward = pl.Series("ward", ["east"] * len(FRAME), dtype=pl.Enum(["west", "east"]))
    filled = model.impute(pl.from_pandas(FRAME).with_columns(ward))
    assert filled["ward"].equals(ward)
    assert filled["ward"].dtype == ward.dtype


def test_a_model_is_fitted_to_them(model, convert):
    fitted = tiny("patient", "hours").fit(convert(FRAME))
    same(fitted.predict(convert(FRAME)), convert(FRAME), model.predict(FRAME))
    assert fitted.score(convert(FRAME)) == model.score(FRAME)
    assert fitted.feature_names_in_.tolist() == CHANNELS
    # A frame of pandas is answered by one, whatever the model was fitted to.
    pd.testing.assert_frame_equal(fitted.predict(FRAME), model.predict(FRAME))


def test_times_may_be_theirs_too(model, convert):
    asked = FRAME[["patient", "hours"]].iloc[[4, 0]]
    expected = model.predict(FRAME, times=asked).reset_index(drop=True)
    same(model.predict(convert(FRAME), times=convert(asked)), convert(FRAME), expected)
    found = model.predict(FRAME, times=convert(asked))
    assert isinstance(found, pd.DataFrame)
    column = convert(asked)["hours"]
    pd.testing.assert_frame_equal(
        model.predict(FRAME, times=column), model.predict(FRAME, times=asked["hours"]), check_exact=True
    )


def test_integers_with_nulls_and_dates_are_read(convert):
    frame = FRAME.assign(
        hr=FRAME.hr.round().astype("Int64"),
        hours=[pd.Timestamp("2024-01-01").date() + pd.Timedelta(days=k) for k in range(len(FRAME))],
    )
    given = convert(frame)
    fitted = tiny("patient", "hours").fit(given)
    found = fitted.predict(given)
    assert nw.from_native(found)["hours"].dtype == nw.from_native(given)["hours"].dtype
    assert np.isfinite(to_pandas(found)[CHANNELS].to_numpy(dtype=float)).all()
    filled = to_pandas(fitted.impute(given))
    np.testing.assert_array_equal(filled.hr[frame.hr.notna()], frame.hr.dropna().astype(float))
    ahead = to_pandas(fitted.forecast(given, "36h", 3))
    assert ahead.hours.nunique() > 3  # half days are not cut to days


@pytest.mark.filterwarnings("ignore:.*too little to learn:UserWarning")
def test_they_are_cross_validated_over_series(convert):
    given = convert(FRAME)
    try:
        _safe_indexing(given, [0])
    except TypeError:
        pytest.skip("this release of scikit-learn takes no rows of such frames")
    model = tiny("patient", "hours")
    settings = {"cv": GroupKFold(2), "groups": FRAME.patient, "error_score": "raise"}
    np.testing.assert_array_equal(
        cross_val_score(model, given, **settings), cross_val_score(model, FRAME, **settings)
    )


@pytest.mark.filterwarnings("ignore:.* to evaluate on are in train as well")
def test_they_are_evaluated(model, convert):
    given = {"baselines": ["last value", "ridge"], "n_bootstrap": 0}
    found = model.evaluate(convert(FRAME), train=convert(FRAME), **given)
    pd.testing.assert_frame_equal(found.table, model.evaluate(FRAME, train=FRAME, **given).table)


def test_they_are_drawn(model, convert):
    axes = plotting.plot_trajectories(model, convert(FRAME), series=["p0"], horizon="3h")
    assert np.shape(axes) == (1, 3)


def test_without_an_index_the_clock_must_be_named(model, convert):
    with pytest.raises(ValueError, match=r"has no index to be its clock; name the time column with time_col"):
        tiny().fit(convert(FRAME[CHANNELS]))
    with pytest.raises(ValueError, match="time_col='hours' is neither a column"):
        model.predict(convert(FRAME.drop(columns="hours")))


def test_what_is_not_computed_yet_is_refused(model):
    pl = pytest.importorskip("polars")
    with pytest.raises(TypeError, match=r"a LazyFrame is not computed yet; call \.collect\(\)"):
        model.predict(pl.LazyFrame({"x": [1.0]}))


def test_without_narwhals_the_message_says_what_to_install(model, convert, monkeypatch):
    original = builtins.__import__

    def without(name, *arguments, **settings):
        if name == "narwhals":
            raise ImportError(name)
        return original(name, *arguments, **settings)

    given = convert(FRAME)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"read through narwhals; .*pip install 'latentode\[polars\]'"):
        model.predict(given)
