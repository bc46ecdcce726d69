"""Static columns: what is told of a series as a whole reaches its posterior, and nothing else does."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from latentode import LatentODE, diagnose
from latentode.baselines import Contexts, Ridge
from latentode.cli import main
from tests.conftest import make_frame

STATICS = ["age", "sex", "smokes"]
CHANNELS = ["hr", "temp", "flat"]


def described(frame=None):
    """Patients with an age (some lack it), a sex (some lack it) and whether they smoke."""
    frame = make_frame() if frame is None else frame
    number = frame["patient"].str[1:].astype(int)
    return frame.assign(
        age=np.where(number % 5 == 2, np.nan, 40.0 + number),
        sex=pd.Series(np.where(number % 2, "f", "m"), index=frame.index).where(number % 4 != 3),
        smokes=number % 3 == 0,
    )


def small(**settings):
    usual = {
        "max_iter": 12,
        "field_units": (8,),
        "encoder_units": 8,
        "decoder_units": (8,),
        "random_state": 0,
    }
    return LatentODE("patient", "hours", residual="ou", **usual | {"static_cols": STATICS} | settings)


@pytest.fixture(scope="module")
def model():
    return small().fit(described())


# What the model learns from them ------------------------------------------------


def parting(n_series, seed):
    """A flat beginning, then up or down; only `kind` tells which."""
    random = np.random.default_rng(seed)
    parts = []
    for number in range(n_series):
        time = np.sort(random.uniform(0, 2, 14))
        up = random.random() < 0.5
        x = (1 if up else -1) * np.maximum(time - 0.7, 0) + random.normal(0, 0.03, 14)
        told = {"kind": "up" if up else "down", "dose": 2.0 if up else 1.0}
        parts.append(pd.DataFrame({"id": number, "t": time, "x": x, **told}))
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize(
    "static_cols",
    [
        ["kind"],
        pytest.param(["dose"], marks=pytest.mark.slow),
    ],
)
def test_what_only_a_static_column_tells_is_used_with_observations_and_without(static_cols):
    train, test = parting(80, seed=0), parting(40, seed=1)
    settings = {
        "residual": None,
        "latent_dim": 2,
        "encoder_units": 16,
        "decoder_units": (16,),
        "max_iter": 150,
    }
    model = LatentODE("id", "t", ["x"], static_cols=static_cols, random_state=0, **settings).fit(train)
    late = test[test["t"] > 1]
    # A model that can't tell up from down errs by the rise itself at least.
    unable = np.sqrt(np.mean((late["t"] - 0.7) ** 2))
    begun = test[(test["t"] < 0.6) | (test.groupby("id").cumcount() == 0)]
    assert error(model.predict(begun, late[["id", "t"]]), late) < 0.3 * unable
    # The description alone: each series' clock starts at a row without a value.
    alone = test.groupby("id").head(1).assign(t=0.0, x=np.nan)
    assert error(model.predict(alone, late[["id", "t"]]), late) < 0.3 * unable
    unknown = model.encode(alone.assign(**{static_cols[0]: None}))
    assert (unknown.filter(regex=r"z0_\d$") == 0).all(axis=None)
    assert (unknown.filter(like="std") == 1).all(axis=None)


def error(answers, truth):
    return np.sqrt(np.mean((answers["x"].to_numpy() - truth["x"].to_numpy()) ** 2))


@pytest.mark.filterwarnings("ignore:times are asked that lie up to")
def test_rows_and_companions_change_no_answer(model):
    frame = described()
    whole = model.predict(frame)
    shuffled = frame.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(model.predict(shuffled).loc[frame.index], whole)
    some = frame[frame["patient"].isin(["p3", "p8"])]
    np.testing.assert_allclose(
        model.predict(some)[CHANNELS].to_numpy(dtype=float),
        whole.loc[some.index, CHANNELS].to_numpy(dtype=float),
        rtol=1e-4,  # of single precision and another batch's sums
        atol=1e-4,
    )
    # A series' value may stand in any of its rows, in a query too.
    sparse = frame.copy()
    sparse.loc[sparse.groupby("patient").cumcount() > 0, STATICS[:2]] = None
    pd.testing.assert_frame_equal(model.predict(sparse), whole)
    query = frame[frame["patient"] == "p0"].head(1).assign(hours=99.0)
    query[CHANNELS] *= np.nan
    without = frame.assign(age=frame["age"].where(frame["patient"] != "p0"))
    told = model.predict(pd.concat([without, query]))
    pd.testing.assert_frame_equal(told.iloc[: len(frame)], whole)


def test_they_inform_the_posterior_and_a_value_not_known_counts_for_nothing(model):
    frame = described()
    whole = model.encode(frame)
    older = model.encode(frame.assign(age=frame["age"] + 20))
    changed = (whole != older).any(axis=1)
    assert changed[frame.dropna(subset="age")["patient"].unique()].all()
    assert not changed[frame[frame["age"].isna()]["patient"].unique()].any()
    # A category that training has not seen is not known.
    new = model.encode(frame.assign(sex="other"))
    pd.testing.assert_frame_equal(new, model.encode(frame.assign(sex=None)))
    # Nothing known at all, in a whole column without a dtype of its own.
    nothing = frame.assign(age=None, sex=np.nan, smokes=pd.NA)
    assert np.isfinite(model.predict(nothing)[CHANNELS].to_numpy(dtype=float)).all()


def test_without_them_not_a_bit_changes():
    frame = make_frame()
    plain = small(static_cols=None).fit(frame).predict(frame)
    pd.testing.assert_frame_equal(small(static_cols=[]).fit(frame).predict(frame), plain)
    # One that is the same everywhere is ignored, by name.
    said = "same in all training series tell nothing and are ignored: 'ward'$"
    with pytest.warns(UserWarning, match=said) as caught:
        same = small(static_cols=["ward"]).fit(frame.assign(ward="b"))
    assert caught[0].filename == __file__  # it points at the line that called fit
    pd.testing.assert_frame_equal(same.predict(frame.assign(ward="c")), plain)
    assert same.static_cols_ == ["ward"]


def test_a_single_series_has_nothing_to_compare_with():
    time = np.arange(120.0)
    frame = pd.DataFrame({"time": time, "x": np.sin(time / 5), "site": "here"}).set_index("time")
    with pytest.warns(UserWarning, match="are ignored: 'site'"):
        model = LatentODE(static_cols=["site"], max_iter=2, residual="ou", random_state=0).fit(frame)
    assert model.value_cols_ == ["x"]


def test_units_of_a_number_change_nothing():
    frame = described()
    one = small().fit(frame).predict(frame)
    other = frame.assign(age=frame["age"] * 365.25 + 1e4)
    np.testing.assert_allclose(
        small().fit(other).predict(other)[CHANNELS].to_numpy(dtype=float),
        one[CHANNELS].to_numpy(dtype=float),
        rtol=1e-4,  # rounding of the scaled ages, over twelve steps
    )


def test_answers_keep_their_layout(model):
    frame = described()
    assert model.value_cols_ == CHANNELS
    assert model.predict(frame).columns.tolist() == ["patient", "hours", *CHANNELS]
    filled = model.impute(frame)
    pd.testing.assert_frame_equal(filled[STATICS], frame[STATICS])
    assert filled.columns.tolist() == frame.columns.tolist()
    asked = pd.DataFrame({"patient": ["p1", "p0"], "hours": [3.0, 4.0]})
    assert len(model.predict(frame, asked)) == 2
    assert len(model.forecast(frame, horizon=2.0, steps=2)) == 28
    assert len(model.sample(frame, times=[1.0], n_samples=2)) == 28
    assert len(model.sample_prior(3, times=[0.0, 1.0])) == 6
    assert np.isfinite(model.score(frame))
    assert model.score_samples(frame).columns.tolist() == CHANNELS


@pytest.mark.parametrize(
    "dtypes",
    [
        {"age": "Float32", "sex": "category", "smokes": "boolean"},
        {"age": "double[pyarrow]", "sex": "string[pyarrow]", "smokes": "bool[pyarrow]"},
        {"age": "object", "sex": "object", "smokes": "int8"},
        {"sex": pd.CategoricalDtype(["x", "m", "f", "y"], ordered=True)},
    ],
    ids=["nullable", "arrow", "object", "unused categories"],
)
def test_dtypes_of_every_kind_say_the_same(model, dtypes):
    frame = described()
    pd.testing.assert_frame_equal(
        small().fit(frame.astype(dtypes)).predict(frame),
        model.predict(frame.astype(dtypes))[["patient", "hours", *CHANNELS]],
    )


def test_a_saved_model_predicts_the_same_bits(model, tmp_path):
    frame = described()
    model.save(tmp_path / "m.latentode")
    loaded = LatentODE.load(tmp_path / "m.latentode")
    assert loaded.static_cols == loaded.static_cols_ == STATICS
    assert loaded.fitted_.statics == model.fitted_.statics
    pd.testing.assert_frame_equal(loaded.predict(frame, level=90), model.predict(frame, level=90))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one[0].update(spread=float("nan")), "static column 'age' makes no sense"),
        (lambda one: one[1].update(shares=[1.0]), "static column 'sex' makes no sense"),
        (lambda one: one[1].update(categories=[["f"], "m"]), "static column 'sex' makes no sense"),
        (lambda one: one.pop(), "static columns don't fit its networks"),
        (lambda one: one[0].update(flagged=3), "static column 'age' makes no sense"),
    ],
)
def test_a_file_whose_statics_make_no_sense_is_refused(model, tmp_path, change, said):
    from latentode.persistence import read_model_file, write_model_file

    model.save(tmp_path / "m.latentode")
    description, tensors = read_model_file(tmp_path / "m.latentode")
    change(description["statics"])
    write_model_file(tmp_path / "bad.latentode", json.loads(json.dumps(description)), tensors)
    with pytest.raises(ValueError, match=said):
        LatentODE.load(tmp_path / "bad.latentode")


def test_a_warm_start_needs_the_same_static_columns():
    frame = described()
    model = small(warm_start=True, max_iter=2).fit(frame)
    before = model.fitted_.statics
    model.fit(frame.assign(age=frame["age"] * 2, sex=frame["sex"].replace("f", "w")))
    assert model.fitted_.statics == before
    with pytest.raises(ValueError, match=r"static_cols was \('age', 'sex', 'smokes'\) and is \('age',\)"):
        model.set_params(static_cols=["age"], value_cols=CHANNELS).fit(frame)


def test_a_checkpoint_is_of_what_is_static_too(tmp_path, monkeypatch):
    from latentode.training import checkpoint

    monkeypatch.setattr(checkpoint, "SHORTEST_INTERVAL", 0.0)
    frame = described()
    unbroken = small(max_iter=8).fit(frame)
    kept = small(max_iter=8, checkpoint=tmp_path / "c")

    class KilledError(Exception):
        pass

    written = checkpoint.Checkpoint.write

    def kill(self, *state):
        written(self, *state)
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "write", kill)
        with pytest.raises(KilledError):
            kept.fit(frame)
    with pytest.raises(ValueError, match="what is static was sha256"):
        kept.fit(frame.assign(age=frame["age"] + 1))
    pd.testing.assert_frame_equal(kept.fit(frame).predict(frame), unbroken.predict(frame))


# Mistakes, by their message -----------------------------------------------------


def refused(frame, said, kind=ValueError, **settings):
    with pytest.raises(kind, match=said):
        small(**settings).fit(frame)


def test_mistakes_in_a_frame_are_named():
    frame = described()
    two = frame.copy()
    two.loc[two.index[two["patient"] == "p4"][-1], "age"] = 99.0
    refused(two, "series 'p4' has two values of static column 'age', 44.0 and 99.0; ")
    keep = "df['age'].groupby(df['patient']).transform('first')"
    refused(two, re.escape(f"or keep one value of each series: {keep}"))
    small(max_iter=1).fit(two.assign(age=eval(keep, {"df": two})))
    turned = two.set_index(["hours", "patient"]).rename_axis(["hours", None])
    keep = "df['age'].groupby(level=1).transform('first')"
    by_index = LatentODE(time_col="hours", static_cols=STATICS, max_iter=1, random_state=0)
    with pytest.raises(ValueError, match=re.escape(keep)):
        by_index.fit(turned)
    by_index.fit(turned.assign(age=eval(keep, {"df": turned})))
    two = frame.copy()
    two.loc[two.index[two["patient"] == "p4"][-1], "sex"] = "f"
    refused(two, "series 'p4' has two values of static column 'sex', 'm' and 'f'")
    refused(
        frame.drop(columns="sex"),
        r"lacks the static columns \['sex'\]; where they are not known give columns of NaN",
    )
    refused(frame.assign(age=np.inf), "series 'p0': static column 'age' is infinite")
    refused(frame.assign(age=np.nan), "static column 'age' has no value in the whole frame; leave it out")
    refused(frame.assign(age=pd.Timestamp("1950-01-01")), "static column 'age' holds times", TypeError)
    refused(frame.assign(age=1j), "static column 'age' holds complex numbers", TypeError)
    for odd in ([1], (1, 2)):  # one that can't be hashed, one that can
        said = "static column 'sex' holds what is neither a number nor text nor a category"
        refused(frame.assign(sex=[odd] * len(frame)), said, TypeError)
    many = make_frame(n_series=60).assign(name=lambda one: one["patient"] + "x")
    refused(
        many,
        "static column 'name' has 60 categories in 60 series, more than 50: it looks like an id",
        static_cols=["name"],
    )


def test_a_channel_that_describes_the_series_is_named():
    frame = make_frame()
    frame["weight"] = 60.0 + frame["patient"].str[1:].astype(int)
    with pytest.warns(
        UserWarning, match=r"column 'weight' never changes within a series.*static_cols=\['weight'\]"
    ):
        small(static_cols=None, max_iter=1).fit(frame)


def test_mistakes_in_parameters_are_named():
    frame = described()
    refused(
        frame, "static_cols must be a list of column names; got the text 'age'", TypeError, static_cols="age"
    )
    refused(frame, "static_cols names a column twice", static_cols=["age", "age"])
    refused(frame, "'hours' can't be both a static column and the id or time column", static_cols=["hours"])
    refused(frame, "'age' can't be both a value column and a static one", value_cols=["hr", "age"])
    with pytest.raises(ValueError, match="an array is one series without any; give a frame"):
        LatentODE(static_cols=[0], max_iter=1).fit(np.zeros((40, 3)))
    only = frame[["patient", "hours", *STATICS]]
    refused(only, "no value columns beside its id, time and static columns")
    refused(frame, r"'sex' .* name it in static_cols=\['sex'\]", TypeError, static_cols=["age"])


def test_mistakes_in_a_question_are_named(model):
    frame = described()
    for ask in (
        model.predict,
        model.encode,
        model.score,
        model.impute,
        model.evaluate,
        lambda X: model.forecast(X, 1.0),
    ):
        with pytest.raises(ValueError, match=r"lacks the static columns \['age'\]"):
            ask(frame.drop(columns="age"))
    with pytest.raises(TypeError, match="static column 'age' held numbers where the model was fitted"):
        model.predict(frame.assign(age="old"))


# Those beside the model ---------------------------------------------------------


@pytest.mark.parametrize("forecasts", [True, False])
def test_ridge_is_told_as_well(forecasts):
    random = np.random.default_rng(0)
    slope = random.normal(size=200)
    series = [(np.array([0.0, 2.0]), np.zeros((2, 1)))] * 200
    bare = Contexts.of(series)
    told = Contexts(bare.times, bare.values, bare.starts, slope[:, None])
    codes, times = np.arange(200), np.full(200, 3.0 if forecasts else 1.0)
    truth = slope[:, None]  # which only what is static tells
    errors = []
    for contexts in (bare, told):
        ridge = Ridge(forecasts).fit(
            contexts, codes, times, truth, series=codes, default=np.zeros(1), generator=random
        )
        errors.append(np.sqrt(np.mean((ridge.predict(contexts, codes, times, np.zeros(1)) - truth) ** 2)))
    assert errors[0] > 0.9
    assert errors[1] < 0.01


def test_evaluation_asks_with_what_is_static():
    train, test = parting(60, seed=0), parting(30, seed=1)
    model = LatentODE("id", "t", ["x"], static_cols=["kind"], max_iter=4, residual="ou", random_state=0).fit(
        train
    )
    report = model.evaluate(
        test, task="extrapolate", leads=1, baselines=["ridge"], train=train, level=None
    ).table
    blind = model.evaluate(
        test, task="extrapolate", leads=1, baselines=["ridge"], train=train.assign(kind=None), level=None
    ).table
    by_ridge = [one.set_index(["predictor", "lead"]).loc[("ridge", "all"), "rmse"] for one in (report, blind)]
    assert by_ridge[0] < 0.8 * by_ridge[1]


def noted(report, column):
    return next(finding.text for finding in report.of("note") if finding.column == column)


def test_diagnose_looks_at_them_and_finds_them():
    frame = described()
    report = diagnose(frame, "patient", "hours", static_cols=STATICS)
    assert report.fits
    assert report.facts["static"].startswith("age (numbers, 2")
    assert "sex (2 categories, 2" in report.facts["static"]
    unnamed = diagnose(frame, "patient", "hours")
    assert set(unnamed.suggested["static_cols"]) == set(STATICS)
    assert not set(unnamed.suggested["value_cols"]) & set(STATICS)
    two = frame.assign(sex=np.where(np.arange(len(frame)) % 2, "f", "m"))
    refusal = diagnose(two, "patient", "hours", static_cols=STATICS).of("refused")
    assert "has two values of static column 'sex'" in refusal[0].text
    same = diagnose(frame.assign(age=3.0), "patient", "hours", static_cols=STATICS)
    assert noted(same, "age") == "static column 'age' is 3.0 in every series and tells nothing; leave it out"
    assert "age" not in same.suggested["static_cols"]
    rare = diagnose(frame.assign(sex=frame["patient"]), "patient", "hours", static_cols=STATICS)
    assert "14 categories in 14 series; little can be learned" in noted(rare, "sex")


def test_the_command_line_passes_them_on(tmp_path, capsys):
    described().to_csv(tmp_path / "labs.csv", index=False)
    labs, saved = str(tmp_path / "labs.csv"), str(tmp_path / "m.latentode")
    roles = ["--id", "patient", "--time", "hours", "--static", *STATICS]
    assert (
        main(["fit", labs, *roles, "--out", saved, "--quiet", "--set", "max_iter=2", "--set", "residual=ou"])
        == 0
    )
    assert LatentODE.load(saved).static_cols == STATICS
    assert main(["encode", saved, labs, "--out", str(tmp_path / "z0.csv")]) == 0
    assert main(["plot", labs, *roles, "--out", str(tmp_path / "raw.png")]) == 0
    assert main(["describe", labs, *roles]) == 0
    assert main(["describe", saved]) == 0
    said = capsys.readouterr().out
    assert re.search(r"static +age \(numbers\), sex \(f, m\), smokes \(numbers\)", said)
    assert "sex (2 categories" in said
