"""Tables go in and come out of the commands as they are: ids, clocks, zones, and what is kept in an index."""

import io

import numpy as np
import pandas as pd
import pytest

from latentode import LatentODE
from latentode.cli.files import read_clock, read_table
from tests.commands import run, told
from tests.conftest import CHANNELS, make_frame


@pytest.mark.filterwarnings("ignore:times are asked that lie up to")
def test_datetimes_zones_and_ids_with_zeros_survive(tmp_path, capsys):
    frame = make_frame()
    frame["patient"] = "00" + frame["patient"].str[1:]
    frame["hours"] = pd.Timestamp("2026-03-28", tz="UTC") + pd.to_timedelta(frame["hours"], "h")
    frame.to_csv(tmp_path / "dated.csv", index=False)
    out = tmp_path / "m"
    roles = ["--id", "patient", "--time", "hours", "--values", "hr", "temp"]
    settings = ["--set", "max_iter=2", "--task", "extrapolate"]
    assert run("fit", tmp_path / "dated.csv", *roles, "--out", out, *settings) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "saved as" in captured.err
    assert run("forecast", out, tmp_path / "dated.csv", "--horizon", "2h", "--steps", "1") == 0
    found = pd.read_csv(io.StringIO(capsys.readouterr().out), dtype={"patient": str})
    assert found["patient"].tolist() == frame["patient"].unique().tolist()
    assert found["hours"].str.endswith("+00:00").all()
    assert run("predict", out, tmp_path / "dated.csv", "--at", "2026-03-29T12:00Z") == 0
    assert "2026-03-29 12:00:00+00:00" in capsys.readouterr().out
    assert run("forecast", out, tmp_path / "dated.csv", "--horizon", "48") == 1
    assert "horizon must be a length of time such as '48h'" in told(capsys)


def test_only_an_empty_cell_names_no_series(tmp_path, capsys):
    names = {"p0": "NA", "p1": "None", "p2": "nan", "p3": "007"}
    frame = make_frame().replace({"patient": names})
    file, out = tmp_path / "labs.csv", tmp_path / "m"
    frame.to_csv(file, index=False)
    read = read_table(str(file), id_col="patient", time_col="hours")
    assert read["patient"].tolist() == frame["patient"].tolist()
    pd.testing.assert_frame_equal(read[CHANNELS], frame[CHANNELS], check_dtype=False)  # there NA is none
    roles = ["--id", "patient", "--time", "hours", "--set", "max_iter=1", "residual=None", "--quiet"]
    assert run("fit", file, *roles, "--out", out) == 0
    assert run("encode", out, file) == 0
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()[1:5]] == list(names.values())
    assert run("plot", out, file, "--series", "NA", "--out", tmp_path / "na.png") == 0
    frame.assign(patient=frame["patient"].where(frame.index != 3)).to_csv(file, index=False)
    assert run("fit", file, *roles, "--out", out) == 1
    assert "row 3 has no series id" in told(capsys)


def test_a_model_of_an_index_reads_its_columns(tmp_path, labs, capsys):
    frame = make_frame().set_index(["patient", "hours"])
    LatentODE(max_iter=2, residual="ou", random_state=0).fit(frame).save(tmp_path / "m")
    assert run("predict", tmp_path / "m", labs) == 0
    assert capsys.readouterr().out.startswith("patient,hours,hr")
    LatentODE(max_iter=2, residual="ou", random_state=0).fit(frame.to_numpy()).save(tmp_path / "array")
    assert run("predict", tmp_path / "array", labs) == 1
    assert "fitted to an array or to an index without a name" in told(capsys)


DATED = make_frame().assign(
    hours=lambda df: pd.Timestamp("2026-03-01") + pd.to_timedelta(df["hours"].round(2), "h")
)
KEPT = {
    "series and times": (DATED.set_index(["patient", "hours"]), []),
    "series and times, named": (
        DATED.set_index(["patient", "hours"]),
        ["--id", "patient", "--time", "hours"],
    ),
    "times beside the series": (DATED.set_index("hours"), ["--id", "patient", "--time", "hours"]),
    "times": (
        pd.DataFrame(
            {"hr": np.sin(np.arange(120.0))},
            index=pd.date_range("2026-03-01", periods=120, freq="h", name="hours"),
        ),
        ["--time", "hours"],
    ),
}
ANSWERED = [
    ["predict"],
    ["predict", "--at", "2026-03-01T04:00"],
    ["predict", "--times", "FILE"],
    ["forecast", "--horizon", "2h", "--steps", "2"],
    ["impute"],
    ["sample", "--samples", "1"],
    ["encode"],
    ["score", "--by-row"],
    ["evaluate", "--leads", "1h", "--baselines", "last value", "--out", "-"],
]


@pytest.mark.parametrize("kept", KEPT)
def test_a_file_that_keeps_an_index_is_fitted_and_asked_as_its_columns_are(kept, tmp_path, capsys):
    frame, roles = KEPT[kept]
    files = {"index": tmp_path / "index.parquet", "columns": tmp_path / "columns.parquet"}
    frame.to_parquet(files["index"])
    frame.reset_index().to_parquet(files["columns"])
    settings = ["--set", "max_iter=2", "residual=None", "--quiet"]
    assert run("fit", files["index"], *roles, *settings, "--out", tmp_path / "m") == 0
    for command, *options in ANSWERED:
        answers = []
        for file in files.values():
            given = [file if one == "FILE" else one for one in options]
            assert run(command, tmp_path / "m", file, *given) == 0
            answers.append(capsys.readouterr().out)
        assert answers[0] == answers[1]
        if command not in ("encode", "evaluate"):  # which tell nothing of times
            assert pd.read_csv(io.StringIO(answers[0]))["hours"].str.startswith("2026-03-0").all()


def test_a_file_that_keeps_an_index_is_described_and_drawn(tmp_path, capsys):
    frame = make_frame().set_index(["patient", "hours"])
    frame.to_parquet(tmp_path / "labs.parquet")
    assert run("describe", tmp_path / "labs.parquet") == 0
    assert "series         14" in capsys.readouterr().out
    out = tmp_path / "p.png"
    assert run("plot", tmp_path / "labs.parquet", "--series", "p0", "p2", "--out", out) == 0
    assert out.read_bytes()[1:4] == b"PNG"
    assert run("plot", tmp_path / "labs.parquet", "--id", "patient", "--series", "p99", "--out", out) == 1
    assert "series 'p99' is not in the table" in told(capsys)


def test_a_table_of_an_index_and_one_of_a_single_series_are_answered(tmp_path, labs, capsys):
    frame = make_frame().set_index(["patient", "hours"])
    LatentODE(max_iter=2, residual=None, random_state=0).fit(frame).save(tmp_path / "m")
    assert run("score", tmp_path / "m", labs, "--by-row") == 0
    assert capsys.readouterr().out.startswith("patient,hours,hr,temp,flat\np0,")
    assert run("impute", tmp_path / "m", labs) == 0
    assert capsys.readouterr().out.startswith("patient,hours,hr,temp,flat\np0,")
    alone = pd.DataFrame({"hours": np.arange(120.0), "hr": np.sin(np.arange(120.0))})
    alone.to_csv(tmp_path / "alone.csv", index=False)
    LatentODE(time_col="hours", max_iter=2, residual=None, random_state=0).fit(alone).save(tmp_path / "one")
    assert run("encode", tmp_path / "one", tmp_path / "alone.csv") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert run("sample", tmp_path / "one", tmp_path / "alone.csv", "--at", "150", "--samples", "2") == 0
    assert capsys.readouterr().out.startswith("sample,hours,hr\n0,150,")


# Clocks of text ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        (["1", "2.5", None], "float64"),
        (["2026-03-01", "2026-03-01T12:00", None], "datetime64"),
        (["2026-03-01T12:00Z", "2026-03-01T12:00Z"], "UTC"),
        (["2026-03-29T00:00+01:00", "2026-03-30T00:00+02:00"], "UTC"),
        (["1 days 02:00:00", "00:30:00"], "timedelta64"),
    ],
)
def test_text_is_read_as_the_times_it_says(text, dtype):
    read = read_clock(pd.Series(text, dtype=object), "column 't'")
    assert dtype in str(read.dtype)
    assert read.isna().tolist() == [one is None for one in text]


def test_text_that_is_no_time_is_named():
    with pytest.raises(ValueError, match=r"column 't' holds 'soon' \(row 1\)"):
        read_clock(pd.Series(["2026-03-01", "soon"]), "column 't'")
