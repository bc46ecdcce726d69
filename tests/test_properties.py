"""What holds for every frame there is, tried on frames that nobody would draw by hand.

The fast suite tries about sixty, `make slow` more than a thousand: the same ones every time, so that what is
found does not depend on luck. `--hypothesis-profile searching` draws others.
"""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.api.types import is_numeric_dtype

from latentode import LatentODE
from latentode.fitting import fit as fitting
from latentode.inference import pieces

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*too little to learn:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*has a single observed row:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*are its times in the same units:UserWarning"),
    pytest.mark.filterwarnings("ignore:values more than:UserWarning"),  # generated ones lie anywhere
    pytest.mark.filterwarnings("ignore:no signal was found:UserWarning"),  # generated channels are noise
    pytest.mark.filterwarnings("ignore:.*are ignored:UserWarning"),  # static columns alike in all series
    pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning"),
]

TINY = {"latent_dim": 2, "field_units": (4,), "encoder_units": 4, "decoder_units": (4,), "n_samples": 4}
PLAIN = dict.fromkeys(("a", "b"), "normal")


# ---------------------------------------------------------------- frames

CHANNELS = {
    "normal": lambda random, n: random.normal(size=n),
    "constant": lambda random, n: np.full(n, random.normal()),
    "zero": lambda _, n: np.zeros(n),
    "huge": lambda random, n: 1e30 * random.normal(size=n),
    "the largest": lambda random, n: np.finfo(float).max * random.uniform(-1, 1, size=n),
    "tiny": lambda random, n: 1e-30 * random.normal(size=n),
    "subnormal": lambda random, n: 5e-324 * random.integers(-9, 9, size=n),
    "barely varying": lambda random, n: 1e9 + 1e-6 * random.normal(size=n),
    "of all sizes": lambda random, n: random.choice([-1.0, 1.0], n) * 10.0 ** random.uniform(-300, 300, n),
    "outliers": lambda random, n: np.where(random.random(n) < 0.1, 1e20, 1.0) * random.normal(size=n),
    "two values": lambda random, n: random.integers(0, 2, size=n).astype(float),
    "integers": lambda random, n: random.integers(-100, 100, size=n),
    "float32": lambda random, n: random.normal(size=n).astype("float32"),
    "the largest of float32": lambda random, n: (
        np.float32(3.4e38) * random.uniform(-1, 1, n).astype("float32")
    ),
    "nullable": lambda random, n: pd.array(random.normal(size=n), dtype="Float64"),
}


# What is told of each of n series as a whole, by numbers and by names.
STATICS = {
    "normal": lambda random, n: random.normal(size=n),
    "constant": lambda _, n: np.full(n, 7.0),
    "the largest": lambda random, n: np.finfo(float).max * random.uniform(-1, 1, size=n),
    "subnormal": lambda random, n: 5e-324 * random.integers(-9, 9, size=n),
    "of all sizes": lambda random, n: 10.0 ** random.uniform(-300, 300, n),
    "integers": lambda random, n: random.integers(-3, 3, size=n),
    "yes or no": lambda random, n: random.random(n) < 0.5,
    "nullable": lambda random, n: pd.array(random.integers(0, 3, n), dtype="Int64"),
}
NAMED = {
    "text": lambda random, n: random.choice(
        np.array(["", " ", "nan", "None", "\u00e9", "0"], dtype=object), n
    ),
    "one text": lambda _, n: np.full(n, "here", dtype=object),
    "categories": lambda random, n: pd.Categorical.from_codes(random.integers(-1, 3, n), list("xyz")),
    "numbers as categories": lambda random, n: pd.Categorical(random.integers(0, 3, n)),
    "a name each": lambda _, n: np.array([f"name {number}" for number in range(n)], dtype=object),
}


def static_columns(frame):
    return [name for name in frame.columns if name.startswith("told")]


def _tell(kind, random, number, missing):
    """A column whose rows say the same of their series, or nothing where `missing` says so: of a row, of a series."""
    n_series = int(number.max()) + 1 if len(number) else 0
    of_series = pd.Series((STATICS | NAMED)[kind](random, n_series))
    column = of_series.take(number).reset_index(drop=True)
    hidden = (random.random(len(number)) < missing[0]) | (random.random(n_series) < missing[1])[number]
    if not hidden.any():
        return column
    if column.dtype.kind in "iub" and isinstance(column.dtype, np.dtype):
        column = column.astype(object if column.dtype.kind == "b" else "float64")
    return column.mask(hidden)


def _clock(kind, random, lengths, span, offset):
    """Times of each row: regular, random, repeated or all the same, within `span` of each series' start."""
    n_rows = int(sum(lengths))
    if kind == "datetime":
        span = min(max(span, 1e-9), 1e8)  # seconds; nanoseconds since 1970 end in the year 2262
        elapsed = np.round(random.uniform(0, 1, n_rows) * span * 1e9).astype("int64")
        return pd.DatetimeIndex((10**18 + elapsed).view("M8[ns]"), tz="UTC").tz_convert("Europe/Berlin")
    if kind == "timedelta":
        elapsed = np.round(random.uniform(0, 1, n_rows) * min(span, 1e8) * 1e9).astype("int64")
        return pd.TimedeltaIndex(elapsed.view("m8[ns]"))
    if kind == "integer":
        return 10**18 + np.round(random.uniform(0, 1, n_rows) * min(span, 1e12)).astype("int64")
    return offset + random.uniform(0, 1, n_rows) * span


@st.composite
def frames(draw, channels=None, statics=None, kinds=("number", "integer", "datetime", "timedelta")):
    """A long frame of series of 0 to 200 rows (or very many of one), at times and with values of any size."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lengths = draw(
        st.one_of(
            st.lists(st.integers(0, 12), min_size=1, max_size=8),
            st.lists(st.integers(0, 200), min_size=1, max_size=3),
            st.sampled_from([[1] * 2000, [1], [2], [200]]),
        )
    )
    n_rows = int(sum(lengths))
    span = 10.0 ** draw(st.integers(-9, 12))
    kind = draw(st.sampled_from(kinds))
    offset = draw(st.sampled_from([0.0, 1e6, -1e12, 1e18])) if kind == "number" else 0.0
    missing = draw(st.sampled_from([0.0, 0.0, 0.2, 0.9, 1.0]))
    if channels is None:
        n_channels = draw(st.integers(1, 3))
        channels = {f"c{k}": draw(st.sampled_from(sorted(CHANNELS))) for k in range(n_channels)}
    frame = pd.DataFrame(
        {"id": np.repeat(np.arange(len(lengths)), lengths), "t": _clock(kind, random, lengths, span, offset)}
    )
    for name, values in channels.items():
        frame[name] = CHANNELS[values](random, n_rows)
        hidden = random.random(n_rows) < missing
        if hidden.any():
            frame[name] = (
                frame[name].astype("float64" if frame[name].dtype.kind in "iu" else None).mask(hidden)
            )
    if statics is None:
        n_statics = draw(st.integers(0, 2))
        statics = {f"told{k}": draw(st.sampled_from(sorted(STATICS | NAMED))) for k in range(n_statics)}
    for name, what in statics.items():
        unknown = draw(
            st.tuples(st.sampled_from([0.0, 0.3]), st.sampled_from([0.0, 0.0, 0.3, 0.3, 0.3, 1.0]))
        )
        frame[name] = _tell(what, random, frame["id"].to_numpy(), unknown)
    if draw(st.booleans()):  # text ids, in an order of their own
        frame["id"] = frame["id"].map(lambda number: f"series {number}")
    return frame.sample(frac=1, random_state=0) if draw(st.booleans()) else frame


def check_answers(model, frame):
    """Finite, in the layout of the frame, and the frame as it was."""
    channels = [name for name in frame.columns if name not in ("id", "t", *static_columns(frame))]
    before = frame.copy(deep=True)
    found = model.predict(frame, level=80)
    pd.testing.assert_frame_equal(found[["id", "t"]], frame[["id", "t"]], check_exact=True)
    assert np.isfinite(found.drop(columns=["id", "t"]).to_numpy(dtype=float)).all()
    for name in channels:
        low, middle, high = (
            found[column].to_numpy(dtype=float) for column in (f"{name}-lo-80", name, f"{name}-hi-80")
        )
        assert (low <= high).all()
        assert found[name].dtype == (frame[name].dtype if frame[name].dtype.kind == "f" else "float64")
        assert np.abs(middle).max() <= np.finfo(float).max
    surprise = model.score_samples(frame)
    np.testing.assert_array_equal(surprise.isna(), frame[channels].isna())
    filled = model.impute(frame)
    assert filled[channels].notna().all().all()
    statics = static_columns(frame)
    pd.testing.assert_frame_equal(filled[statics], frame[statics], check_exact=True)
    if frame[channels].notna().any().any():
        assert np.isfinite(model.score(frame))
    assert np.isfinite(model.encode(frame).to_numpy()).all()
    pd.testing.assert_frame_equal(frame, before, check_exact=True)


# ---------------------------------------------------------------- fitting


def fitted_to(frame, **chosen):
    """A fit of a moment, or None where the frame was refused before any training."""
    began = []
    train = fitting.train

    def watched(*arguments, **options):
        began.append(True)
        return train(*arguments, **options)

    usual = {"max_iter": 3, "residual": "ou", "random_state": 0, "static_cols": static_columns(frame)}
    usual["stacking"] = len(frame) % 4 == 0  # it takes as long as all the rest of such a fit
    model = LatentODE("id", "t", **usual | TINY | chosen)
    before = frame.copy(deep=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "train", watched)
        refused = None
        try:
            model.fit(frame)
        except (ValueError, TypeError) as failure:
            refused = failure
    assert not (refused and began), f"refused after training had begun: {refused}"
    pd.testing.assert_frame_equal(frame, before, check_exact=True)
    return None if refused else model


def every_frame_is_fitted_or_refused(frame):
    model = fitted_to(frame)
    if model is None:
        # Only what makes no sense is refused: nothing at all, no value of a channel, contradictions.
        statics = frame[static_columns(frame)]
        channels = frame.drop(columns=["id", "t"])
        assert (
            not len(frame)
            or channels.isna().all().any()
            or frame.duplicated(["id", "t"]).any()
            or any(names.nunique() > 50 for name, names in statics.items() if not is_numeric_dtype(names))
        )
        return
    assert np.isfinite(model.history_[["elbo", "kl"]].to_numpy()).all()
    check_answers(model, frame)


def told(frame):
    """The static columns that are not refused, as nothing is known of any series."""
    return {"static_cols": [name for name in static_columns(frame) if frame[name].notna().any()]}


def units_do_not_matter(frame, powers):
    """Powers of two change exponents only, so that the scaled data are the same bits."""
    time_power, value_power = powers
    scaled = {name: frame[name] * 2.0**value_power for name in ("a", "told0")}
    other = frame.assign(t=frame.t * 2.0**time_power, **scaled)
    one, two = fitted_to(frame, **told(frame)), fitted_to(other, **told(frame))
    assert (one is None) == (two is None)
    if one is None:
        return
    found, scaled = one.predict(frame, level=80), two.predict(other, level=80)
    for column in ("a", "a-lo-80", "a-hi-80"):
        np.testing.assert_allclose(scaled[column], found[column] * 2.0**value_power, rtol=1e-6)
    np.testing.assert_allclose(scaled.b, found.b, rtol=1e-6)


def origins_do_not_matter(frame, shift):
    """Times that are whole numbers are shifted exactly; so are whole values."""
    frame = frame.assign(t=(frame.t % 2**20).round(), a=(100 * frame.a).round()).drop_duplicates(["id", "t"])
    if frame.a.nunique() < 2:  # the spread of a constant is said to be a share of its value
        return
    other = frame.assign(t=frame.t + 2.0**40, a=frame.a + shift)
    one, two = fitted_to(frame, **told(frame)), fitted_to(other, **told(frame))
    assert (one is None) == (two is None)
    if one is None:
        return
    found, shifted = one.predict(frame, level=80), two.predict(other, level=80)
    # The mean of the shifted values is rounded otherwise, and three steps of training pass that on.
    tolerance = 1e-3 * one.scaling_.spread[0] + 1e-9 * abs(shift)
    for column in ("a", "a-lo-80", "a-hi-80"):
        np.testing.assert_allclose(shifted[column] - shift, found[column], rtol=0, atol=tolerance)


# ---------------------------------------------------------------- answering


@cache
def answering():
    """Fitted once, to plain series over a span of ten."""
    random = np.random.default_rng(0)
    lengths = random.integers(2, 30, 20)
    number = np.repeat(np.arange(20), lengths)
    times = random.uniform(0, 10, len(number))
    frame = pd.DataFrame(
        {"id": number, "t": times, "a": np.sin(times + number), "b": random.normal(size=len(number))}
    )
    frame["told0"] = random.normal(size=20)[number]
    frame["told1"] = pd.Series(list("xyz")).take(number % 3).where(number % 4 > 0).to_numpy()
    return fitted_to(frame, max_iter=30, n_samples=8)


def near(frame):
    """The frame's times brought near to what the model knows: farther ones are refused, by name."""
    return frame.assign(t=frame.t % 50.0).drop_duplicates(["id", "t"])


REASONS = (
    "the frame is empty",
    "are they in the units the model was fitted",
    "has two rows with different",
    "holds times of kind 'datetime'",
)


def every_frame_is_answered_or_refused(frame):
    model = answering()
    refused = None
    try:
        check_answers(model, frame)
    except (ValueError, TypeError) as failure:
        refused = str(failure)
    assert refused is None or any(reason in refused for reason in REASONS), refused


def rows_and_companions_do_not_matter(frame, seed):
    model, frame = answering(), near(frame).reset_index(drop=True)
    if not len(frame):
        return
    # Single precision, of numbers as large as the data themselves are.
    spread = np.array([model.scaling_.spread[0], model.scaling_.spread[1]])
    found = model.predict(frame)[["a", "b"]]
    size = np.fmax(frame[["a", "b"]].abs().max().fillna(0).to_numpy(), spread)

    def same(other):
        assert (np.abs(other[["a", "b"]] - found.loc[other.index]).to_numpy() <= 1e-4 * size).all()

    same(model.predict(frame.sample(frac=1, random_state=seed)))
    backwards = sorted(set(frame["id"]), reverse=True)
    same(model.predict(pd.concat([frame[frame["id"] == name] for name in backwards[:20]])))
    same(model.predict(frame[frame["id"] == frame["id"].iloc[0]]))
    queries = frame.assign(t=frame.t + 0.5, a=np.nan, b=np.nan).set_axis(frame.index + len(frame))
    same(model.predict(pd.concat([queries, frame])).loc[frame.index])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "CHUNK_NUMBERS", 500)
        same(model.predict(frame))


TOLD = {"told0": "normal", "told1": "categories"}
PLAIN_FRAMES = frames(channels=PLAIN, statics=TOLD, kinds=("number",))


@st.composite
def asked_frames(draw):
    """Frames with the columns of `answering`, whatever is in them."""
    channels = {name: draw(st.sampled_from(sorted(CHANNELS))) for name in "ab"}
    statics = {"told0": draw(st.sampled_from(sorted(STATICS))), "told1": draw(st.sampled_from(sorted(NAMED)))}
    return draw(frames(channels=channels, statics=statics, kinds=("number", "datetime")))


SEEDS = st.integers(0, 2**31 - 1)
POWERS = st.tuples(st.integers(-30, 30), st.integers(-60, 60))
SHIFTS = st.sampled_from([1.0, -4096.0, 1e6])
PROPERTIES = {
    "fitted or refused": (given(frames())(every_frame_is_fitted_or_refused), 16),
    "units": (given(PLAIN_FRAMES, POWERS)(units_do_not_matter), 8),
    "origins": (given(PLAIN_FRAMES, SHIFTS)(origins_do_not_matter), 8),
    "answered or refused": (given(asked_frames())(every_frame_is_answered_or_refused), 14),
    "rows and companions": (given(PLAIN_FRAMES, SEEDS)(rows_and_companions_do_not_matter), 14),
}

SLOW_TIMES = 17
N_FRAMES = SLOW_TIMES * sum(n_examples for _, n_examples in PROPERTIES.values())


@pytest.mark.filterwarnings("ignore:times are asked that lie up to")
@pytest.mark.parametrize("name", PROPERTIES)
def test_property(name):
    check, n_examples = PROPERTIES[name]
    settings(max_examples=n_examples)(check)()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:times are asked that lie up to")
@pytest.mark.parametrize("name", PROPERTIES)
def test_property_of_a_thousand_frames(name):
    check, n_examples = PROPERTIES[name]
    settings(max_examples=SLOW_TIMES * n_examples)(check)()
