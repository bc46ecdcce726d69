"""A frame goes in and comes out; what should not matter does not."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

from latentode import LatentODE
from latentode.datasets import make_oscillator
from latentode.fitting import fit as fitting
from latentode.training import loop
from tests.conftest import CHANNELS, make_frame, quick

# Answers in float32 differ by rounding where the shapes of a batch do; a thousandth of a spread is
# far above it and far below anything a user could see.
CLOSE = {"rtol": 1e-4, "atol": 1e-3}


def close(one, other):
    pd.testing.assert_frame_equal(one, other, check_exact=False, **CLOSE)


# ---------------------------------------------------------------- layout


def test_predict_answers_the_rows_of_the_frame(fitted, frame):
    found = fitted.predict(frame)
    assert found.columns.tolist() == frame.columns.tolist()
    assert found.index.equals(frame.index)
    assert found.dtypes.tolist() == frame.dtypes.tolist()
    pd.testing.assert_frame_equal(found[["patient", "hours"]], frame[["patient", "hours"]])
    assert np.isfinite(found[CHANNELS].to_numpy()).all()


def test_all_layouts_give_the_same_answers(frame):
    index = frame.set_index(["patient", "hours"])
    by_columns = quick().fit(frame).predict(frame)
    by_index = quick().set_params(id_col=None, time_col=None).fit(index).predict(index)
    pd.testing.assert_frame_equal(by_columns.set_index(["patient", "hours"]), by_index)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.int64])
def test_times_may_be_a_tensor(fitted, frame, dtype):
    times = torch.tensor([2, 5], dtype=dtype, requires_grad=dtype.is_floating_point)
    for ask in (
        lambda at: fitted.predict(frame, times=at),
        lambda at: fitted.latent(frame, times=at),
        lambda at: fitted.sample(frame, at, n_samples=2),
        lambda at: fitted.sample_prior(2, at),
    ):
        pd.testing.assert_frame_equal(ask(times), ask([2.0, 5.0]), check_dtype=False)


@pytest.mark.filterwarnings("ignore:.*too little to learn:UserWarning")
def test_one_series_with_the_index_as_clock(frame):
    single = frame[frame.patient == "p0"].set_index("hours")[CHANNELS]
    model = LatentODE(max_iter=5, random_state=0).fit(single)
    assert model.predict(single).index.equals(single.index)
    ahead = model.forecast(single, 2.0, steps=4)
    np.testing.assert_allclose(ahead.index, single.index[-1] + np.array([0.5, 1.0, 1.5, 2.0]))
    assert len(model.encode(single)) == 1
    assert model.sample(single, [1.0, 2.0], n_samples=3).index.names == ["sample", "hours"]


@pytest.mark.filterwarnings("ignore:.*too little to learn:UserWarning")
def test_an_array_comes_back_as_an_array():
    array = np.sin(np.arange(40.0)).reshape(20, 2)
    model = LatentODE(max_iter=5, random_state=0).fit(array)
    assert model.predict(array).shape == (20, 2)
    array[3, 0] = np.nan
    filled = model.impute(array)
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[4:], array[4:])


def test_datetimes_keep_their_zone(frame):
    zoned = frame.assign(
        hours=pd.Timestamp("2024-10-26", tz="Europe/Berlin") + pd.to_timedelta(frame.hours, "h")
    )
    model = quick().fit(zoned)
    for found in (model.predict(zoned), model.forecast(zoned, "5h", 2), model.sample(zoned, n_samples=2)):
        assert found["hours"].dtype == zoned["hours"].dtype
    assert model.sample_prior(3, zoned["hours"].iloc[:2]).hours.dtype == zoned["hours"].dtype


def test_categorical_ids_stay_categorical_and_unused_ones_do_not_appear(fitted, frame):
    dtype = pd.CategoricalDtype([*frame.patient.unique(), "nobody"])
    found = fitted.predict(frame.astype({"patient": dtype}), times=[1.0])
    assert found.patient.dtype == dtype
    assert "nobody" not in set(found.patient)


def test_the_frame_given_is_never_changed(fitted, frame):
    before = frame.copy(deep=True)
    quick().fit(frame)
    fitted.predict(frame, level=90)
    fitted.impute(frame)
    fitted.score_samples(frame)
    pd.testing.assert_frame_equal(frame, before)


# ---------------------------------------------------------------- what must not matter


def test_row_order_does_not_matter(fitted, frame):
    shuffled = frame.sample(frac=1, random_state=3)
    close(fitted.predict(shuffled).loc[frame.index], fitted.predict(frame))


@pytest.mark.filterwarnings("ignore:times are asked that lie up to")
def test_companions_do_not_matter(fitted, frame):
    alone = frame[frame.patient == "p0"]
    close(fitted.predict(alone, level=90), fitted.predict(frame, level=90).loc[alone.index])
    together = fitted.sample(frame, [2.0, 30.0], n_samples=4).query("patient == 'p0'")
    close(fitted.sample(alone, [2.0, 30.0], n_samples=4), together.reset_index(drop=True))


@pytest.mark.filterwarnings("ignore:times are asked that lie up to")
def test_far_queries_of_a_companion_do_not_matter(fitted, frame):
    asked = pd.DataFrame({"patient": ["p0", "p0", "p1"], "hours": [5.0, 12.0, 900.0]})
    one = fitted.predict(frame, times=asked.iloc[:2])
    other = fitted.predict(frame, times=asked).iloc[:2]
    close(one, other)


@pytest.mark.filterwarnings("ignore:times are asked that lie up to")
def test_queries_do_not_change_the_answer(fitted, frame):
    alone = frame[frame.patient == "p0"]
    query = pd.DataFrame({"patient": "p0", "hours": np.linspace(-3, 30, 50)})
    with_queries = pd.concat([query, alone]).reset_index(drop=True)
    found = fitted.predict(with_queries).iloc[len(query) :].reset_index(drop=True)
    close(found, fitted.predict(alone).reset_index(drop=True))
    at_times = fitted.predict(alone, times=query)
    close(fitted.predict(with_queries).iloc[: len(query)], at_times)


def test_shifting_all_clocks_changes_nothing(frame):
    shifted = frame.assign(hours=frame.hours + 4096.0)  # exact in float64 up to the last bits
    one = quick().fit(frame).predict(frame, times=frame[["patient", "hours"]])
    other = quick().fit(shifted).predict(shifted, times=shifted[["patient", "hours"]])
    close(one[CHANNELS], other[CHANNELS])


def test_units_of_time_and_channels_do_not_matter(frame):
    other_units = frame.assign(hours=frame.hours * 3600, hr=frame.hr * 1e-6 - 5, temp=frame.temp * 1e3)
    one = quick().fit(frame).predict(frame)
    other = quick().fit(other_units).predict(other_units)
    np.testing.assert_allclose(one.hr, (other.hr + 5) * 1e6, rtol=1e-4)
    np.testing.assert_allclose(one.temp, other.temp / 1e3, rtol=1e-4)


# ---------------------------------------------------------------- the scikit-learn contract


def test_clone_and_parameters(fitted):
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "module_")
    assert fitted.feature_names_in_.tolist() == CHANNELS
    assert fitted.n_features_in_ == 3


def test_nothing_of_an_earlier_fit_outlasts_the_next(frame):
    model = LatentODE(max_iter=2, residual="ou", random_state=0).fit(frame.set_index(["patient", "hours"]))
    assert model.feature_names_in_.tolist() == CHANNELS
    model.fit(np.random.default_rng(0).normal(size=(120, 2)))
    assert model.n_features_in_ == 2
    assert not hasattr(model, "feature_names_in_")


def test_a_fit_repeats_bit_for_bit(frame):
    torch.manual_seed(1)
    one = quick().fit(frame)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    other = quick().fit(frame)
    assert torch.equal(torch.get_rng_state(), state)  # the global state was left alone
    for (name, first), second in zip(
        one.module_.state_dict().items(), other.module_.state_dict().values(), strict=True
    ):
        assert torch.equal(first, second), name
    pd.testing.assert_frame_equal(one.predict(frame), other.predict(frame))
    assert not one.predict(frame).equals(quick(random_state=1).fit(frame).predict(frame))


def test_history_says_what_happened(fitted):
    history = fitted.history_
    assert history.iteration.is_monotonic_increasing
    assert history.iteration.iloc[-1] == fitted.n_iter_ == 40
    assert np.isfinite(history[["elbo", "kl", "validation"]].to_numpy()).all()


def test_the_best_weights_by_validation_are_kept(frame, monkeypatch):
    seen = []

    def scripted(model, validation):  # noqa: ARG001
        seen.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return -abs(len(seen) - 8.0)  # the eighth check is the best

    monkeypatch.setattr(loop, "_score", scripted)
    model = quick(max_iter=100, patience=3, residual="ou").fit(frame)
    assert model.n_iter_ < 100  # three checks after the residual took over, and then enough
    for name, tensor in model.module_.state_dict().items():
        assert torch.equal(tensor, seen[7][name]), name
    assert not all(torch.equal(tensor, seen[8][name]) for name, tensor in seen[7].items())


@pytest.mark.parametrize(("n_rows", "selects"), [(60, False), (800, True)])
def test_a_few_withheld_rows_choose_no_weights(n_rows, selects, monkeypatch):
    seen = []

    def first_is_best(model, validation):  # noqa: ARG001
        seen.append(model.likelihood.raw_noise.detach().clone())
        return -float(len(seen))

    monkeypatch.setattr(loop, "_score", first_is_best)
    observed, _ = make_oscillator(n_series=2, n_observed=n_rows, seed=0)
    model = LatentODE("series", "time", max_iter=40, patience=1, residual="ou", random_state=0).fit(observed)
    kept = model.module_.likelihood.raw_noise.detach()
    assert torch.equal(kept, seen[0 if selects else -1])
    assert (model.n_iter_ < 40) == selects


@pytest.mark.parametrize(
    "settings",
    [
        {"residual": None},
        {"residual": "auto"},
        {"residual": ["ou", "matern32", "iou"]},
        {"origin": "last"},
        {"task": "interpolate"},
        {"task": "extrapolate"},
        {"method": "dopri5"},
        {"engine": "torchdiffeq"},
        {"engine": "torchdiffeq", "gradient": "backprop"},
        {"method": "tsit5"},
        {"dtype": "float64"},
        {"validation_fraction": 0.0},
        {"latent_dim": 2, "field_units": (8,), "encoder_units": 5, "decoder_units": ()},
        {"knot_spacing": 0.5},
    ],
    ids=str,
)
def test_every_setting_fits_and_answers(frame, settings):
    model = quick(**settings).fit(frame)
    found = model.predict(frame, times=[-1.0, 3.0, 20.0], level=90)
    assert np.isfinite(found.drop(columns="patient").to_numpy()).all()
    assert np.isfinite(model.score(frame))


@pytest.mark.parametrize(
    ("settings", "origin"),
    [
        ({}, "first"),
        ({"task": "interpolate"}, "first"),
        ({"task": "extrapolate"}, "last"),
        ({"task": "extrapolate", "origin": "first"}, "first"),
    ],
)
def test_forecasts_start_from_the_last_observation(frame, settings, origin):
    model = quick(**settings, max_iter=2).fit(frame)
    assert model.module_.encoder.origin == origin


@pytest.mark.filterwarnings("ignore:.*too little to learn:UserWarning")
def test_observations_in_one_series_only(frame):
    only = frame.copy()
    only.loc[only.patient != "p0", CHANNELS] = np.nan
    assert np.isfinite(quick().fit(only).predict(only)[CHANNELS].to_numpy()).all()
    quick(validation_fraction=0.97).fit(frame[frame.patient.isin([f"p{k}" for k in range(10)])])


def test_parts_of_a_long_series_never_train_and_validate():
    time = np.arange(600.0)
    long = pd.concat(
        [pd.DataFrame({"patient": k, "hours": time, "x": np.sin(time / 20 + k)}) for k in range(12)]
    )
    seen = []
    original = fitting.split_data

    def watched(*arguments, **settings):
        result = original(*arguments, **settings)
        seen.append((len(result.data), sum(len(context.times) for context, _ in result.validation)))
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "split_data", watched)
        quick(max_iter=1, residual=None).fit(long)
    # 600 rows are three parts: ten series train, two validate, each of their parts on both tasks.
    assert seen == [(30, 12)]


def test_times_frames_keep_their_index_and_dtypes(fitted, frame):
    asked = pd.DataFrame({"patient": ["p1", "p0"], "hours": [3.0, 4.0]}, index=[20, 10])
    asked = asked.astype({"patient": "category"})
    found = fitted.predict(frame, times=asked)
    assert found.index.tolist() == [20, 10]
    assert found.patient.dtype == "category"


def test_the_solver_can_be_changed_after_the_fit(frame):
    model = quick(max_iter=15).fit(frame)
    before = model.predict(frame, times=[5.0])
    coarse = model.set_solver(method="euler", knot_spacing=0.5).predict(frame, times=[5.0])
    fine = model.set_solver(method="dopri5", rtol=1e-7, atol=1e-8, knot_spacing=1 / 64).predict(
        frame, times=[5.0]
    )
    assert not np.allclose(coarse.hr, fine.hr, rtol=0, atol=1e-6)
    np.testing.assert_allclose(before.hr, fine.hr, atol=0.05)
    with pytest.raises(ValueError, match="unknown solver method"):
        model.set_solver(method="magic")
    # Tolerances stay with their method, and go with it.
    model.set_solver(method="dopri5", rtol=1e-7, atol=1e-8).set_solver(knot_spacing=1 / 32)
    assert model.module_.solver.tolerances == (1e-7, 1e-8)
    assert model.set_solver(atol=1e-9).module_.solver.tolerances == (1e-7, 1e-9)
    assert model.set_solver(method="bosh3").module_.solver.rtol is None


def test_numpys_timedeltas_are_horizons(frame):
    zoned = frame.assign(hours=pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(frame.hours, "h"))
    model = quick(max_iter=1).fit(zoned)
    pd.testing.assert_frame_equal(model.forecast(zoned, np.timedelta64(2, "h")), model.forecast(zoned, "2h"))


@pytest.mark.filterwarnings("ignore:.*too little to learn:UserWarning")
def test_a_series_of_pandas_is_imputed_as_one():
    x = pd.Series(np.sin(np.arange(40.0)), name="x").where(np.arange(40) % 7 > 0)
    filled = LatentODE(max_iter=3, random_state=0).fit(x).impute(x)
    assert isinstance(filled, pd.Series)
    assert filled.notna().all()


@pytest.mark.filterwarnings("ignore:.*too little to learn:UserWarning")
@pytest.mark.filterwarnings("ignore:.*a single observed row:UserWarning")
def test_few_and_tiny_series_fit():
    few = make_frame(3)
    assert np.isfinite(quick().fit(few).score(few))
    rows = pd.DataFrame({"patient": [1, 2, 3], "hours": [0.0, 5.0, 9.0], "x": [1.0, 2.0, 3.0]})
    assert len(quick().fit(rows).predict(rows)) == 3


def test_a_failed_fit_leaves_the_model_as_it_was(frame):
    model = quick().fit(frame)
    before = model.predict(frame)
    with pytest.raises(ValueError, match="infinite"):
        model.fit(frame.assign(hr=np.inf))
    pd.testing.assert_frame_equal(model.predict(frame), before)


def test_a_million_spreads_of_outliers_do_not_wreck_a_fit(frame):
    wild = pd.concat(
        [make_frame(seed=s).assign(patient=lambda f, s=s: f.patient + f"-{s}") for s in range(4)]
    )
    wild = wild.reset_index(drop=True)
    wild.loc[17, "hr"] = 1e7
    with pytest.warns(UserWarning, match="1 of column 'hr'"):
        model = quick(max_iter=20).fit(wild)
    found = model.predict(frame)
    assert ((found.hr > 0) & (found.hr < 200)).all()


@pytest.mark.filterwarnings("ignore:.*too little to learn from")
@pytest.mark.filterwarnings("ignore:.*never changed")
def test_of_series_of_one_observation_the_questions_tell_the_unit_of_time():
    days = pd.to_timedelta([0, 31, 360, 1100], unit="D")
    frame = pd.DataFrame({"t": days, "x": [np.nan, np.nan, 1.0, np.nan]})
    model = LatentODE(time_col="t", residual="ou", max_iter=3, random_state=0).fit(frame)
    assert model.scaling_.time_unit == pytest.approx(1100 * 86400)
    assert model.predict(frame).x.notna().all()


@pytest.mark.parametrize(("value", "dtype"), [(-999.0, "float64"), (99.999, "float32"), (9999.0, "float64")])
def test_a_fit_tells_of_numbers_that_stand_for_missing_values(value, dtype):
    """They are too many to be left out as outliers, and would be learned."""
    frame = make_frame()
    frame["temp"] = frame["temp"].fillna(value).astype(dtype)
    n_alike = int((frame["temp"] == np.asarray(value, dtype)).sum())
    told = rf"'temp' is {value:g} in {n_alike} rows, far from its other values \(36.* to 37.*replace\({value:g}, float"
    with pytest.warns(UserWarning, match=told):
        quick(max_iter=1).fit(frame)


def test_a_fit_tells_nothing_of_zeros_and_small_codes():
    frame = make_frame()
    quick(max_iter=1).fit(frame.assign(temp=frame["temp"].fillna(-1.0), hr=frame["hr"].fillna(0.0)))


def unseen(rows):
    """Without what the patient "new" holds."""
    return rows.where(~((rows["patient"] == "new").to_numpy()[:, None] & rows.columns.isin(CHANNELS)))


@pytest.mark.parametrize("residual", ["iou", "matern32", None])
def test_a_series_without_observations_is_answered_alike_wherever_it_stands(frame, residual):
    model = quick(residual=residual).fit(frame)
    some = frame[frame["patient"] == frame["patient"].iloc[0]].assign(hours=lambda rows: rows["hours"] + 100)
    new = some.head(3).assign(patient="new", hours=[0.0, 3.0, 6.0])
    for answer in (
        lambda data: model.predict(data, level=90),
        model.latent,
        lambda data: model.sample(data, n_samples=2, random_state=0),
    ):
        alone = answer(unseen(new))
        for together in (pd.concat([some, new]), pd.concat([new, some])):
            found = answer(unseen(together))
            found = found[found["patient"] == "new"].reset_index(drop=True)
            # The same numbers in batches of other sizes: rounding of single precision.
            pd.testing.assert_frame_equal(found, alone.reset_index(drop=True), rtol=1e-4, atol=1e-4)
