"""The contract of scikit-learn's estimators, and where series are no rows."""

import copy
import pickle
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import sklearn
from joblib import parallel_config
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.metadata_routing import get_routing_for_object

from latentode import LatentODE
from tests.conftest import make_frame

TINY = {"latent_dim": 2, "field_units": (4,), "encoder_units": 4, "decoder_units": (4,), "n_samples": 4}

# Everything else that scikit-learn checks holds.
EXPECTED_FAILURES = {
    "check_methods_subset_invariance": "the rows of one series inform each other: without the others a row "
    "is predicted from less",
    "check_methods_sample_order_invariance": "the rows of an array are in the order of time, and another "
    "order is another series",
}


def quick(**settings):
    return LatentODE("patient", "hours", **({"max_iter": 5, "random_state": 0, "residual": "ou"} | settings))


def close(one, other):
    pd.testing.assert_frame_equal(one, other, check_exact=False, rtol=1e-4, atol=1e-3)


@pytest.mark.filterwarnings("ignore:.*too little to learn:UserWarning")
@parametrize_with_checks(
    [LatentODE(max_iter=5, residual="ou", random_state=0, **TINY)],
    expected_failed_checks=lambda _: EXPECTED_FAILURES,
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*too little to learn:UserWarning")
@parametrize_with_checks([LatentODE(max_iter=5)], expected_failed_checks=lambda _: EXPECTED_FAILURES)
def test_scikit_learns_own_checks_of_the_defaults(estimator, check):
    check(estimator)


def test_at_most_three_checks_are_excused():
    assert len(EXPECTED_FAILURES) <= 3


def test_tags_say_what_is_taken():
    tags = LatentODE().__sklearn_tags__()
    assert tags.input_tags.allow_nan
    assert not tags.input_tags.sparse
    assert not tags.target_tags.required
    assert not tags.non_deterministic
    assert tags.estimator_type is None
    assert tags.requires_fit


def test_constraints_name_parameters_that_exist():
    assert set(LatentODE._parameter_constraints) <= set(LatentODE().get_params())


def test_repr_shows_what_was_chosen():
    assert repr(LatentODE("patient", "hours", max_iter=5)) == (
        "LatentODE(id_col='patient', max_iter=5, time_col='hours')"
    )
    assert "max_iter=5" in LatentODE(max_iter=5)._repr_html_()


def test_parameters_are_got_set_and_cloned(fitted):
    assert clone(fitted).get_params() == fitted.get_params()
    assert not hasattr(clone(fitted), "module_")
    assert LatentODE().set_params(kl_weight=0.5, id_col="x").kl_weight == 0.5
    with pytest.raises(ValueError, match="Invalid parameter 'horizon' for estimator LatentODE"):
        LatentODE().set_params(horizon=3)


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, copy.copy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["deepcopy", "copy", "pickle"],
)
def test_copies_of_a_fitted_model_predict_the_same_bits(fitted, frame, copied):
    other = copied(fitted)
    pd.testing.assert_frame_equal(other.predict(frame, level=90), fitted.predict(frame, level=90))
    pd.testing.assert_frame_equal(other.sample(frame, [3.0]), fitted.sample(frame, [3.0]))
    assert copied(LatentODE(max_iter=3)).get_params() == LatentODE(max_iter=3).get_params()


def test_random_state_may_be_of_every_kind(frame):
    given = [7, np.int64(7), np.uint8(7)]
    tiny = partial(quick, **TINY | {"max_iter": 2})
    answers = [tiny(random_state=state).fit(frame).predict(frame) for state in given]
    for answer in answers[1:]:
        pd.testing.assert_frame_equal(answers[0], answer)
    drawn = [tiny(random_state=np.random.RandomState(3)).fit(frame).predict(frame) for _ in range(2)]
    pd.testing.assert_frame_equal(*drawn)
    shared = np.random.RandomState(3)  # its second fit draws on, as in scikit-learn
    first, second = (tiny(random_state=shared).fit(frame).predict(frame) for _ in range(2))
    pd.testing.assert_frame_equal(first, drawn[0])
    assert not first.equals(second)
    assert (
        not tiny(random_state=None)
        .fit(frame)
        .predict(frame)
        .equals(tiny(random_state=None).fit(frame).predict(frame))
    )


# ---------------------------------------------------------------- selection over series


def test_cross_validation_holds_whole_series_back(frame):
    settings = {"cv": GroupKFold(3), "groups": frame.patient, "error_score": "raise"}
    with parallel_config(backend="loky", inner_max_num_threads=1):  # as many threads as here
        scores = [cross_val_score(quick(**TINY), frame, n_jobs=n_jobs, **settings) for n_jobs in (1, 2)]
    assert np.isfinite(scores[0]).all()
    np.testing.assert_array_equal(*scores)


def test_groups_are_routed(frame):
    with sklearn.config_context(enable_metadata_routing=True):
        assert get_routing_for_object(quick()) is not None
        assert quick().get_metadata_routing().fit.requests == {}
        assert quick().set_predict_request(times=True).get_metadata_routing().predict.requests["times"]
        scores = cross_val_score(
            quick(**TINY), frame, cv=GroupKFold(2), params={"groups": frame.patient}, error_score="raise"
        )
    assert len(scores) == 2


def test_a_grid_is_searched_over_series(frame):
    search = GridSearchCV(
        quick(**TINY),
        {"latent_dim": [2, 3], "residual": ["ou", "iou"]},
        cv=GroupKFold(2),
        error_score="raise",
    ).fit(frame, groups=frame.patient)
    assert len(search.cv_results_["mean_test_score"]) == 4
    assert search.best_score_ == max(search.cv_results_["mean_test_score"])
    found = search.predict(frame)
    pd.testing.assert_frame_equal(found, search.best_estimator_.predict(frame))
    assert np.isfinite(search.score(frame))


def test_a_search_in_two_processes_finds_the_same(frame):
    def search(n_jobs):
        grid = {"latent_dim": [2, 3], "residual": ["ou", "iou"]}
        settings = {"cv": GroupKFold(2), "n_jobs": n_jobs, "error_score": "raise"}
        return GridSearchCV(quick(**TINY), grid, **settings).fit(frame, groups=frame.patient)

    one = search(None)
    with parallel_config(backend="loky", inner_max_num_threads=1):  # as many threads as here
        two = search(2)
    for column in ("split0_test_score", "split1_test_score", "mean_test_score"):
        np.testing.assert_array_equal(one.cv_results_[column], two.cv_results_[column])
    assert one.best_params_ == two.best_params_
    pd.testing.assert_frame_equal(one.predict(frame), two.predict(frame), check_exact=True)


def test_pipelines_end_with_it(frame):
    def warmer(data):
        return data.assign(hr=data["hr"] + 1)

    steps = [("warmer", FunctionTransformer(warmer)), ("ode", quick(**TINY))]
    search = GridSearchCV(Pipeline(steps), {"ode__latent_dim": [2, 3]}, cv=GroupKFold(2), error_score="raise")
    found = search.fit(frame, groups=frame.patient).best_estimator_
    alone = clone(found["ode"]).fit(warmer(frame))
    pd.testing.assert_frame_equal(found.predict(frame), alone.predict(warmer(frame)))
    pd.testing.assert_frame_equal(
        found.predict(frame, times=[1.0, 20.0], level=90),
        alone.predict(warmer(frame), times=[1.0, 20.0], level=90),
    )
    with sklearn.config_context(enable_metadata_routing=True):
        routed = Pipeline([steps[0], ("ode", quick(**TINY).set_predict_request(times=True))]).fit(frame)
        assert len(routed.predict(frame, times=[1.0])) == frame.patient.nunique()
        # Of pipelines scikit-learn's own score asks for sample_weight there, whatever the last step takes.
        alone = GridSearchCV(quick(**TINY), {"latent_dim": [2]}, cv=GroupKFold(2), error_score="raise")
        assert np.isfinite(alone.fit(frame, groups=frame.patient).best_score_)


def test_two_level_frames_are_cross_validated(frame):
    indexed = frame.set_index(["patient", "hours"])
    groups = indexed.index.get_level_values("patient")
    one = cross_val_score(
        LatentODE(max_iter=5, residual="ou", random_state=0, **TINY),
        indexed,
        cv=GroupKFold(2),
        groups=groups,
        error_score="raise",
    )
    other = cross_val_score(quick(**TINY), frame, cv=GroupKFold(2), groups=frame.patient, error_score="raise")
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_encodings_are_features_of_a_pipeline(fitted):
    """`encode` gives a row for each series, so a pipeline that starts with it has series for rows."""
    frame = make_frame(30, seed=5)
    frame = frame[frame[["hr", "temp"]].notna().any(axis=1)]
    features = fitted.encode(frame)
    tall = frame.groupby("patient", sort=False).size().loc[features.index] > 7
    pipeline = make_pipeline(FunctionTransformer(fitted.encode), StandardScaler(), LogisticRegression())
    pipeline.fit(frame, tall)
    assert pipeline.predict(frame).shape == (30,)
    assert pipeline.score(frame, tall) > 0.8  # how many rows a series has is among what the encoder reads
    # Encoded once, they are cross-validated as any features are: no fold's series teaches another's encoding.
    found = cross_val_predict(make_pipeline(StandardScaler(), LogisticRegression()), features, tall, cv=3)
    assert found.shape == (30,)


def test_a_transformer_gives_a_row_for_each_row_and_this_is_none():
    assert not hasattr(LatentODE, "transform")


# ---------------------------------------------------------------- warm_start


def test_a_warm_start_begins_where_the_fit_before_ended(frame):
    model = quick(max_iter=30).fit(frame)
    before = model.predict(frame)
    # Steps of no size leave the weights where they were.
    model.set_params(warm_start=True, learning_rate=1e-30, max_iter=3).fit(frame)
    close(model.predict(frame), before)
    assert model.n_iter_ == 3
    assert model.history_.residual_share.iloc[0] == 0.5
    cold = quick(max_iter=3, learning_rate=1e-30).fit(frame)
    assert not np.allclose(cold.predict(frame).hr, before.hr, atol=0.1)


def test_a_warm_start_never_ends_worse_on_the_same_validation_data(frame):
    model = quick(max_iter=40).fit(frame)
    best = model.history_.validation.max()
    # A learning rate that wrecks the model within ten steps: the weights it came with are kept.
    before = model.predict(frame)
    model.set_params(warm_start=True, learning_rate=10.0, max_iter=10).fit(frame)
    assert model.history_.iteration.iloc[0] == 0
    assert model.history_.validation.iloc[0] == pytest.approx(best)
    assert model.history_.validation.iloc[1:].max() < best
    close(model.predict(frame), before)
    assert model.summary().facts["best"].startswith(f"the weights that it started from: {best:.3f} nats")


def test_a_warm_start_keeps_the_scaling_and_the_kernels(frame):
    model = quick(residual="auto", **TINY).fit(frame)
    scaling, kernels = model.scaling_, model.residual_
    later = make_frame(seed=4).assign(hr=lambda f: f.hr + 50)
    model.set_params(warm_start=True).fit(later)
    np.testing.assert_array_equal(model.scaling_.center, scaling.center)
    assert model.scaling_.time_unit == scaling.time_unit
    assert model.residual_ == kernels
    anew = clone(model).fit(later)
    assert anew.scaling_.center[0] > scaling.center[0] + 40


def test_a_loaded_model_is_trained_on(frame, tmp_path):
    quick(warm_start=True).fit(frame).save(tmp_path / "m")
    loaded = LatentODE.load(tmp_path / "m")
    before = loaded.predict(frame)
    close(loaded.set_params(learning_rate=1e-30).fit(frame).predict(frame), before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"latent_dim": 3}, "latent_dim was 5 and is 3"),
        ({"residual": "iou"}, r"residual was \('ou', 'ou', 'ou'\) and is \('iou', 'iou', 'iou'\)"),
        ({"origin": "last"}, "origin was 'first' and is 'last'"),
        ({"value_cols": ["hr", "flat", "temp"]}, "value_cols was .* warm_start=False"),
        ({"dtype": "float64"}, "dtype was torch.float32 and is torch.float64"),
    ],
)
def test_a_warm_start_needs_the_same_networks(frame, settings, message):
    model = quick(max_iter=1, warm_start=True).fit(frame)
    before = model.predict(frame)
    with pytest.raises(ValueError, match=message):
        model.set_params(**settings).fit(frame)
    with pytest.raises(TypeError, match="kind 'datetime', where the model's are of kind 'number'"):
        model.fit(frame.assign(hours=pd.to_datetime(frame.hours, unit="h")))
    pd.testing.assert_frame_equal(model.set_params(value_cols=None).predict(frame), before)


def test_no_warning_is_met_on_the_way(frame):
    frame = frame.drop(columns="flat")  # which a warning names
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clone(quick(max_iter=1)).fit(frame).predict(frame)
