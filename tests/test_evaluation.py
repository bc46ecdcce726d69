"""What an evaluation counts and hides, what must not matter to it, and mistakes."""

import copy

import numpy as np
import pandas as pd
import pytest

from latentode import LatentODE
from latentode.evaluation import RIVALS, Scope, Settings, evaluate
from latentode.evaluation.tally import MIN_TO_BOOTSTRAP, MODEL
from latentode.frames import read_frame

CHANNELS = ["hr", "temp", "flat"]


def lines(n_series=8, seed=0, missing=0.0):
    """Straight lines at odd times, each series its own."""
    random = np.random.default_rng(seed)
    frames = []
    for number in range(n_series):
        hours = np.sort(random.uniform(0, 10, 4 + number))
        level, rate = random.normal(size=(2, 2))
        values = level + rate * hours[:, None]
        values[random.random(values.shape) < missing] = np.nan
        frames.append(pd.DataFrame({"id": number, "hours": hours, "x": values[:, 0], "y": values[:, 1]}))
    return pd.concat(frames, ignore_index=True)


class Oracle:
    """Knows the frame, and answers `offset` beside the truth with bands of half a width of 2."""

    def __init__(self, table, offset=1.0):
        instants = table.times.whole + table.times.part  # no two series share one here
        self.truth = dict(zip(instants, table.values, strict=True))
        self.offset = offset
        self.asked = []

    def __call__(self, table, questions, levels):
        self.asked.append((table, questions))
        instants = questions.instants.whole + questions.instants.part
        values = np.stack([self.truth[one] for one in instants]) + self.offset
        found = {}
        for channel, name in enumerate(table.roles.value_cols):
            found[name] = values[:, channel]
            for level in levels:
                found[f"{name}-lo-{level:g}"] = values[:, channel] - 2
                found[f"{name}-hi-{level:g}"] = values[:, channel] + 2
        return found


def ask(frame, offset=1.0, training=None, **settings):
    settings = {"tasks": ("extrapolate",), "n_bootstrap": 50, "level": 90} | settings
    table = read_frame(frame, id_col="id", time_col="hours")
    oracle = Oracle(table, offset)
    if training is not None:
        training = read_frame(training, id_col="id", time_col="hours")
    default = np.zeros(len(table.roles.value_cols))
    return evaluate(table, oracle, Settings(**settings), training=training, default=default), oracle


def of(report, predictor, column, lead="all"):
    rows = report.table[(report.table.predictor == predictor) & (report.table.lead == lead)]
    return rows[column].to_numpy()


# ---------------------------------------------------------------- what is scored


def test_straight_lines_are_met_by_velocity_and_interpolation():
    report, _ = ask(lines(), tasks=("extrapolate", "interpolate"))
    for predictor in ("constant velocity", "linear", "pchip"):
        rows = report.table[(report.table.predictor == predictor)]
        # Of a single row no velocity is known; every series here has two before its first origin.
        assert len(rows) >= 10
        assert (rows.rmse < 1e-9).all(), predictor
    assert (of(report, "last value", "rmse") > 0.1).all()


def test_a_known_error_is_found():
    report, _ = ask(lines(missing=0.3), offset=1.0, tasks=("extrapolate", "interpolate"))
    ours = report.table[report.table.predictor == MODEL]
    np.testing.assert_allclose(ours[["rmse", "mae"]], 1.0)
    few = ours.n_series < MIN_TO_BOOTSTRAP
    np.testing.assert_allclose(ours.loc[~few, ["rmse-lo", "rmse-hi"]], 1.0)
    assert ours.loc[few, ["rmse-lo", "rmse-hi"]].isna().all(axis=None)
    np.testing.assert_allclose(ours["coverage-90"], 1.0)
    np.testing.assert_allclose(ours["width-90"], 4.0)
    far, _ = ask(lines(), offset=3.0)
    np.testing.assert_allclose(of(far, MODEL, "coverage-90"), 0.0)


def test_origins_and_values_are_counted():
    frame = pd.DataFrame({"id": 0, "hours": np.arange(9.0), "x": np.arange(9.0)})
    frame.loc[7, "x"] = np.nan
    report, oracle = ask(frame, n_origins=2, leads=[1.0, 3.0])
    # Eight observed rows, origins after 1/3 + 2/3 * 1/4 and 3/4 of them: four and seven rows shown.
    (table, questions), *others = oracle.asked
    assert not others
    assert np.bincount(table.codes).tolist() == [4, 7]
    # Rows 4, 5, 6, 8 are 1, 2, 3 and 5 hours ahead of row 3, and row 8 is 2 hours ahead of row 6.
    assert questions.instants.whole.tolist() == [4, 5, 6, 8]
    assert of(report, MODEL, "n_values", "up to 1").tolist() == [1]
    assert of(report, MODEL, "n_values", "1 to 3").tolist() == [3]
    assert of(report, MODEL, "n_values").tolist() == [4]
    assert of(report, MODEL, "lead_mean").tolist() == [2.0]
    assert report.scopes["extrapolate"].n_contexts == 2
    assert str(report).startswith("Extrapolation: 1 series, 2 origins\n")
    one, _ = ask(frame, tasks=("extrapolate", "interpolate"), n_origins=1)
    assert str(one).startswith("Extrapolation: 1 series, 1 origin\n")
    assert "Interpolation: 1 series, 1 random hiding\n" in str(one)


def test_hidden_rows_lie_between_rows_that_are_shown():
    frame = lines(missing=0.2)
    report, oracle = ask(frame, tasks=("interpolate",), hide=0.4, n_origins=3)
    ((table, questions),) = oracle.asked
    observed = frame.dropna(subset=["x", "y"], how="all").groupby("id").size()
    expected = sum(3 * int(np.clip(round(0.4 * n), 1, n - 2)) for n in observed)
    assert len(questions) == expected
    for code in range(len(table.ids)):
        shown = table.times[table.codes == code].whole + table.times[table.codes == code].part
        hidden = questions.instants[questions.codes == code]
        hidden = hidden.whole + hidden.part
        assert shown.min() < hidden.min()
        assert hidden.max() < shown.max()
        assert not set(shown) & set(hidden)
    counted = report.table.query("predictor == @MODEL and lead == 'all'").n_values.sum()
    assert counted == questions.wanted.sum()


def test_short_series_are_left_out_and_said_to_be():
    frame = pd.concat([lines(), pd.DataFrame({"id": [98, 99], "hours": [1.0, 2.0], "x": 1.0, "y": 0.0})])
    report, _ = ask(frame)
    assert report.scopes["extrapolate"] == Scope(8, 2, report.scopes["extrapolate"].n_contexts, 2)
    assert "8 series, " in report.summary()
    assert "2 series of fewer than 2 rows left out" in report.summary()


def test_many_chunks_are_one(monkeypatch):
    frame = lines(missing=0.3)
    whole, _ = ask(frame, tasks=("extrapolate", "interpolate"), training=lines(seed=1))
    monkeypatch.setattr("latentode.evaluation.run.CHUNK_NUMBERS", 30)
    parts, oracle = ask(frame, tasks=("extrapolate", "interpolate"), training=lines(seed=1))
    assert len(oracle.asked) > 10
    pd.testing.assert_frame_equal(whole.table, parts.table)


def test_times_on_an_edge_belong_below_it():
    frame = pd.DataFrame({"id": 0, "hours": 0.1 * np.arange(12), "x": np.arange(12.0)})
    report, _ = ask(frame, leads=[0.1, 0.2, 0.3], n_origins=4, baselines=[])
    assert of(report, MODEL, "n_values", "up to 0.1").tolist() == [4]
    assert of(report, MODEL, "n_values", "0.1 to 0.2").tolist() == [3]  # one row is left to the last origin
    assert of(report, MODEL, "n_values", "0.2 to 0.3").tolist() == [3]


# ---------------------------------------------------------------- what is hidden stays hidden


@pytest.mark.parametrize("task", ["extrapolate", "interpolate"])
def test_hidden_values_never_reach_a_context(fitted, frame, task, monkeypatch):
    asked = []
    original = LatentODE._predict

    def watched(self, table, questions, *arguments, **settings):
        found = original(self, table, questions, *arguments, **settings)
        asked.append((table, questions, found))
        return found

    monkeypatch.setattr(LatentODE, "_predict", watched)
    settings = {"task": task, "n_origins": 1, "n_bootstrap": 0}
    one = fitted.evaluate(frame, **settings)
    table, questions, before = asked.pop()
    # With one context a series, what it hides can be changed without touching any other's.
    rows = questions.times.to_numpy()
    spoilt = frame.copy()
    hidden = spoilt.hours.isin(rows)
    spoilt.loc[hidden, "hr"] = spoilt.loc[hidden, "hr"] + 100.0
    assert hidden.sum() == len(questions) > 10
    other = fitted.evaluate(spoilt, **settings)
    again, _, after = asked.pop()
    np.testing.assert_array_equal(table.values, again.values)
    for name, values in before.items():
        np.testing.assert_array_equal(values, after[name])
    # All predictors are off by the same 100 now: nobody saw it coming.
    errors = other.table.query("channel == 'hr' and lead == 'all'").set_index("predictor").mae
    was = one.table.query("channel == 'hr' and lead == 'all'").set_index("predictor").mae
    assert (abs(errors - 100) < 3 * was + 1).all()


# ---------------------------------------------------------------- what must not matter


def test_the_same_seed_gives_the_same_answer(fitted, frame):
    before = frame.copy(deep=True)
    settings = {"n_bootstrap": 20, "train": renamed(frame)}
    one = fitted.evaluate(frame, **settings)
    pd.testing.assert_frame_equal(frame, before)
    pd.testing.assert_frame_equal(one.table, fitted.evaluate(frame, **settings).table)
    assert not one.table.equals(fitted.evaluate(frame, **settings, random_state=1).table)
    assert set(one.scopes) == {"extrapolate", "interpolate"}


def test_all_layouts_evaluate_alike(frame):
    settings = {"n_bootstrap": 20, "leads": 2}
    by_columns = LatentODE("patient", "hours", max_iter=2, residual="ou", random_state=0).fit(frame)
    index = frame.set_index(["patient", "hours"])
    by_index = LatentODE(max_iter=2, residual="ou", random_state=0).fit(index)
    expected = by_columns.evaluate(frame, **settings).table
    pd.testing.assert_frame_equal(by_index.evaluate(index, **settings).table, expected)
    shuffled = frame.sample(frac=1, random_state=0)
    kept = ["n_values", "rmse", "crps", "lead_to"]
    found = by_columns.evaluate(shuffled, **settings).table
    pd.testing.assert_frame_equal(found[kept], expected[kept], check_exact=False, rtol=1e-3, atol=1e-3)


def test_dates_are_told_in_dates(frame):
    start = pd.Timestamp("2024-03-01", tz="Europe/Paris")
    dated = frame.assign(hours=start + pd.to_timedelta(frame.hours, "h"))
    model = LatentODE("patient", "hours", max_iter=2, residual="ou", random_state=0).fit(dated)
    report = model.evaluate(dated, task="extrapolate", leads=["90min", "4h"], n_bootstrap=0)
    assert report.table.lead.unique().tolist() == ["up to 90min", "90min to 4h", "all"]
    assert report.table.lead_to.iloc[0] == pd.Timedelta("90min")
    assert pd.Timedelta(0) < report.table.lead_mean.iloc[0] < pd.Timedelta("90min")
    numbers = LatentODE("patient", "hours", max_iter=2, residual="ou", random_state=0).fit(frame)
    other = numbers.evaluate(frame, task="extrapolate", leads=[1.5, 4.0], n_bootstrap=0).table
    np.testing.assert_array_equal(report.table.n_values, other.n_values)
    trivial = report.table.predictor == "last value"
    np.testing.assert_allclose(report.table.rmse[trivial], other.rmse[trivial])


@pytest.mark.filterwarnings("ignore:30 observed rows", "ignore:1 of 1 series to evaluate on")
def test_one_series_and_an_array_are_evaluated_without_intervals():
    array = np.sin(np.arange(60.0) / 3).reshape(30, 2)
    model = LatentODE(max_iter=2, residual="ou", random_state=0).fit(array)
    report = model.evaluate(array, train=array)
    assert report.table.n_series.unique().tolist() == [1]
    assert report.table[["rmse-lo", "skill-lo", "mae_skill-hi"]].isna().all(axis=None)
    assert report.table.rmse.notna().all()
    assert "Without intervals, for want of series, the latent ODE beats" in str(report)


def test_a_channel_that_is_never_seen_is_no_row(fitted, frame):
    report = fitted.evaluate(frame.assign(temp=np.nan), n_bootstrap=0)
    assert set(report.table.channel) == {"hr", "flat"}


def test_more_settings_are_heeded(fitted, frame):
    report = fitted.evaluate(
        frame, task="interpolate", level=None, point="median", baselines=["linear"], n_bootstrap=0
    )
    assert report.table.predictor.unique().tolist() == [MODEL, "linear"]
    assert report.table.crps.isna().all()
    assert not any(column.startswith("coverage") for column in report.table.columns)
    near = fitted.evaluate(frame, task="extrapolate", horizon=2.0, leads=1, n_bootstrap=0)
    assert (near.table.lead_to <= 2.0).all()
    assert near.table.lead.unique().tolist()[0].startswith("up to")


@pytest.mark.parametrize("settings", [{"baselines": []}, {"task": "both", "baselines": ["pchip"]}])
def test_a_task_without_a_rival_is_evaluated(fitted, frame, settings):
    report = fitted.evaluate(frame, n_bootstrap=20, **settings)
    assert report.table.loc[report.table.task == "extrapolate", "predictor"].unique().tolist() == [MODEL]
    assert report.table["rmse-lo"].notna().all()
    assert "Extrapolation" in str(report)


@pytest.mark.parametrize("horizon", [1.25, 2.345])
def test_nothing_beyond_the_horizon_is_scored(fitted, frame, horizon):
    settings = {"task": "extrapolate", "n_bootstrap": 0, "baselines": ["last value"]}
    by_number = fitted.evaluate(frame, horizon=horizon, leads=1, **settings).table
    by_edge = fitted.evaluate(frame, leads=[horizon], **settings).table
    assert by_number.lead_to.max() == horizon
    assert by_number.n_values.tolist() == by_edge.n_values.tolist()


def test_bins_of_like_edges_are_told_apart(fitted, frame):
    report = fitted.evaluate(frame, task="extrapolate", leads=[5.0001, 5.0002, 9.0], n_bootstrap=0)
    assert "5.0001 to 5.0002" in report.table.lead.tolist() or report.table.lead.nunique() == 3
    assert "up to 5.0001" in str(report)


def test_the_table_holds_what_its_page_says(fitted, frame):
    report = fitted.evaluate(frame, level=[50, 97.5], n_bootstrap=20, train=renamed(frame))
    assert report.table.columns.tolist() == [
        *(
            "task",
            "channel",
            "lead",
            "lead_from",
            "lead_to",
            "lead_mean",
            "predictor",
            "n_values",
            "n_series",
        ),
        *("rmse", "rmse-lo", "rmse-hi", "mae", "mae-lo", "mae-hi", "crps"),
        *("coverage-50", "coverage-50-error", "width-50"),
        *("coverage-97.5", "coverage-97.5-error", "width-97.5"),
        *("skill", "skill-lo", "skill-hi", "mae_skill", "mae_skill-lo", "mae_skill-hi"),
    ]
    for task, every in RIVALS.items():
        names = [name for name in every if name != "seasonal naive"]  # no period is known
        rows = report.table[report.table.task == task]
        assert rows.predictor.unique().tolist() == [MODEL, *names]
        ours = rows[rows.predictor == MODEL].set_index(["channel", "lead"])
        for name in names:
            theirs = rows[rows.predictor == name].set_index(["channel", "lead"])
            hr = theirs.index.get_level_values("channel") == "hr"
            np.testing.assert_allclose(theirs.skill[hr], 1 - (ours.rmse / theirs.rmse)[hr])
            assert (theirs["skill-lo"] <= theirs["skill-hi"])[hr].all()


def test_it_shows_its_progress_where_that_is_asked_for(fitted, frame, capsys):
    quiet = fitted.evaluate(frame, task="extrapolate", n_bootstrap=0)
    assert capsys.readouterr().err == ""
    clone = copy.copy(fitted).set_params(verbose=1)
    pd.testing.assert_frame_equal(clone.evaluate(frame, task="extrapolate", n_bootstrap=0).table, quiet.table)
    assert "to extrapolate: " in capsys.readouterr().err


def test_many_channels_are_told_in_a_line_each():
    random = np.random.default_rng(0)
    frame = lines(6)
    for number in range(20):
        frame[f"c{number}"] = random.normal(size=len(frame))
    report, _ = ask(frame, offset=5.0)
    text = report.summary()
    assert "up to" not in text
    assert "and all of them in 0 of 22 channels" in text
    assert "and 10 more, see .table" in text
    assert max(map(len, text.splitlines())) < 200


def test_the_notebook_shows_tables_with_names_made_safe():
    frame = lines().rename(columns={"x": "<b>x</b>"})
    shown = ask(frame)[0]._repr_html_()
    assert "<table" in shown
    assert "&lt;b&gt;x&lt;/b&gt;" in shown
    assert "<b>x</b>" not in shown
    assert "and all of them in" in shown


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"task": "guess"},
            ValueError,
            "task must be one of 'both'",
        ),
        ({"leads": [2.0, 1.0]}, ValueError, "the edges in leads must increase"),
        ({"leads": ["6h"]}, TypeError, "each edge in leads must be a number, as the times are"),
        ({"leads": "6h"}, TypeError, "a number of bins or a list of their edges; got '6h'"),
        ({"leads": 0}, ValueError, "leads must be a positive integer"),
        ({"leads": [1e-9]}, ValueError, "no hidden observation lies within the last edge of leads"),
        ({"horizon": 1e-9}, ValueError, "no hidden observation lies within horizon=1e-09; the nearest is"),
        ({"leads": [1.0], "horizon": 2.0}, ValueError, "leave one out"),
        ({"hide": 1.0}, ValueError, "hide must be a positive number below 1"),
        ({"n_origins": 2.5}, TypeError, "n_origins must be a positive integer"),
        ({"n_bootstrap": -1}, ValueError, "n_bootstrap must be an integer of 0 or more"),
        ({"level": 0.9}, ValueError, "did you mean 90"),
        ({"point": "mode"}, ValueError, "point must be one of 'mean', 'median'"),
        ({"baselines": ["ridge"]}, ValueError, "'ridge' is fitted to training data; give them as train="),
        (
            {"baselines": ["arima"]},
            ValueError,
            "there is no baseline 'arima' for extrapolate and interpolate",
        ),
        (
            {"baselines": ["linear"], "task": "extrapolate"},
            ValueError,
            "no baseline 'linear' for extrapolate",
        ),
        ({"baselines": "ridge"}, TypeError, "baselines must be a list of names"),
    ],
    ids=str,
)
def test_mistakes_are_explained(fitted, frame, settings, error, message):
    with pytest.raises(error, match=message):
        fitted.evaluate(frame, **settings)


def renamed(frame):
    """The same series by other names."""
    return frame.assign(patient="other " + frame.patient)


def test_series_that_are_in_train_as_well_are_told_of(fitted, frame):
    known, unseen = frame[frame.patient != "p0"], frame[frame.patient == "p0"]
    settings = {"task": "extrapolate", "baselines": ["last value"], "n_bootstrap": 0}
    with pytest.warns(
        UserWarning, match=r"1 of 1 series to evaluate on are in train as well, such as 'p0'"
    ) as told:
        fitted.evaluate(unseen, train=frame, **settings)
    assert told[0].filename == __file__
    fitted.evaluate(unseen, train=known, **settings)
    # Another series of the same name is none of them, nor is one whose beginning alone was known.
    fitted.evaluate(unseen, train=frame.assign(hr=frame.hr + 1), **settings)
    fitted.evaluate(unseen, train=pd.concat([known, unseen.head(3)]), **settings)


def test_a_frame_of_which_nothing_can_be_hidden_is_refused(fitted, frame):
    single = frame.dropna(subset=CHANNELS, how="all").groupby("patient").head(1)
    with pytest.raises(
        ValueError, match="nothing can be hidden: to extrapolate, a series needs 2 observed rows"
    ):
        fitted.evaluate(single)
    double = frame.dropna(subset=CHANNELS, how="all").groupby("patient").head(2)
    with pytest.raises(ValueError, match="to interpolate, a series needs 3 observed rows"):
        fitted.evaluate(double, task="interpolate")
    with pytest.raises(ValueError, match="'ridge' can't be fitted: to extrapolate, a series needs 2"):
        fitted.evaluate(frame, train=renamed(single))
