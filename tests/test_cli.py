"""The command line does what the API does, between files, and tells mistakes in one line."""

import io
import re
import sys

import numpy as np
import pandas as pd
import pytest

from latentode import LatentODE
from latentode.cli import main
from latentode.cli.files import read_clock, read_table
from tests.conftest import make_frame

CHANNELS = ["hr", "temp", "flat"]


@pytest.fixture
def labs(tmp_path):
    path = tmp_path / "labs.csv"
    make_frame().to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    make_frame().to_csv(folder / "labs.csv", index=False)
    roles = ["--id", "patient", "--time", "hours"]
    settings = ["--set", "max_iter=3", "--set", "residual=ou", "--set", "field_units=(8,)", "--quiet"]
    assert run("fit", folder / "labs.csv", *roles, "--out", folder / "m.latentode", *settings) == 0
    return folder / "m.latentode"


def run(*arguments):
    return main([str(argument) for argument in arguments])


def told(capsys):
    """The one line on standard error."""
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    assert captured.out == ""
    return lines[0]


# Answers ----------------------------------------------------------------------


def test_fit_saves_the_model_that_the_api_fits(model_file):
    loaded = LatentODE.load(model_file)
    assert (loaded.max_iter, loaded.residual, loaded.field_units) == (3, "ou", [8])
    read = read_table(str(model_file.parent / "labs.csv"), id_col="patient", time_col="hours")
    fitted = LatentODE("patient", "hours", max_iter=3, residual="ou", field_units=(8,), random_state=0).fit(
        read
    )
    pd.testing.assert_frame_equal(loaded.predict(read), fitted.predict(read))


def test_predict_answers_the_rows_as_the_api_does(model_file, labs, tmp_path):
    out = tmp_path / "filled.parquet"
    assert run("predict", model_file, labs, "--level", "50", "90", "--out", out) == 0
    read = read_table(str(labs), id_col="patient", time_col="hours")
    expected = LatentODE.load(model_file).predict(read, level=[50, 90])
    found = pd.read_parquet(out)
    assert list(found) == list(expected)
    np.testing.assert_allclose(found[CHANNELS], expected[CHANNELS], rtol=1e-6)


def test_predict_answers_times_asked_for(model_file, labs, tmp_path, capsys):
    assert run("predict", model_file, labs, "--at", "1.5", "20", "--point", "median") == 0
    found = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert found["hours"].tolist() == [1.5, 20.0] * 14
    asked = tmp_path / "asked.tsv"
    pd.DataFrame({"patient": ["p3", "p0"], "hours": [4, 5]}).to_csv(asked, sep="\t", index=False)
    assert run("predict", model_file, labs, "--times", asked, "--out", tmp_path / "answer.csv") == 0
    found = pd.read_csv(tmp_path / "answer.csv")
    assert found["patient"].tolist() == ["p3", "p0"]
    assert np.isfinite(found[CHANNELS].to_numpy()).all()


def test_forecast_goes_on_from_the_last_observation(model_file, labs, capsys):
    assert run("forecast", model_file, labs, "--horizon", "6", "--steps", "3", "--level", "90") == 0
    found = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert len(found) == 3 * 14
    assert "hr-lo-90" in found
    last = make_frame().dropna(subset=CHANNELS, how="all").groupby("patient")["hours"].max()
    np.testing.assert_allclose(found.groupby("patient")["hours"].max(), last + 6)


def test_a_table_comes_from_standard_input(model_file, labs, monkeypatch, capsys):
    with labs.open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert run("predict", model_file, "-") == 0
    assert capsys.readouterr().out.startswith("patient,hours,hr,temp,flat\n")


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


def test_a_model_of_an_index_reads_its_columns(tmp_path, labs, capsys):
    frame = make_frame().set_index(["patient", "hours"])
    LatentODE(max_iter=2, random_state=0).fit(frame).save(tmp_path / "m")
    assert run("predict", tmp_path / "m", labs) == 0
    assert capsys.readouterr().out.startswith("patient,hours,hr")
    LatentODE(max_iter=2, random_state=0).fit(frame.to_numpy()).save(tmp_path / "array")
    assert run("predict", tmp_path / "array", labs) == 1
    assert "fitted to an array or to an index without a name" in told(capsys)


# Pictures and descriptions ----------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["MODEL", "DATA", "--series", "p0", "--channels", "hr", "--horizon", "3"],
        ["MODEL", "DATA", "--kind", "latent", "--series", "p0", "p2"],
        ["MODEL", "DATA", "--kind", "embedding", "--color", "flat"],
        ["MODEL", "--kind", "prior"],
        ["MODEL", "--kind", "history"],
        ["DATA", "--id", "patient", "--time", "hours", "--series", "p0", "--channels", "hr"],
    ],
)
@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_pictures_are_written(arguments, suffix, model_file, labs, tmp_path):
    if suffix == "svg" and "--series" not in arguments:
        pytest.skip("one suffix is enough")
    out = tmp_path / f"picture.{suffix}"
    places = {"MODEL": model_file, "DATA": labs}
    assert run("plot", *(places.get(one, one) for one in arguments), "--out", out) == 0
    assert out.read_bytes()[1:4] == (b"PNG" if suffix == "png" else b"?xm")


def test_describe_tells_of_tables_and_of_models(model_file, labs, capsys):
    assert run("describe", labs, "--id", "patient", "--time", "hours") == 0
    text = capsys.readouterr().out
    assert "series         14" in text
    assert "'flat' is always 5" in text
    assert run("describe", model_file) == 0
    text = capsys.readouterr().out
    assert "a fitted LatentODE" in text
    assert "named by 'patient'" in text
    assert "trained  3 steps" in text
    assert text.count("residual ou") == 3


# Mistakes ---------------------------------------------------------------------

MISTAKES = {
    "no such table": (["predict", "MODEL", "nowhere.csv"], "there is no file nowhere.csv"),
    "no such model": (["predict", "nowhere.latentode", "DATA"], "nowhere.latentode"),
    "a table as a model": (["predict", "DATA", "DATA"], "no saved latentode model"),
    "a model as a table": (["predict", "MODEL", "MODEL"], "is a saved model, where a table belongs"),
    "unknown suffix": (["predict", "MODEL", "labs.xlsx"], "tables are .csv, .csv.gz, .tsv"),
    "unknown id": (
        ["fit", "DATA", "--id", "who", "--time", "hours", "--out", "m"],
        "id_col='who' is neither a column",
    ),
    "unknown parameter": (
        ["fit", "DATA", "--id", "patient", "--time", "hours", "--out", "m", "--set", "epochs=3"],
        "LatentODE has no parameter 'epochs'; it has atol, batch_size",
    ),
    "bad parameter": (
        ["fit", "DATA", "--id", "patient", "--time", "hours", "--out", "m", "--set", "max_iter=few"],
        "max_iter.* 'few'",
    ),
    "no equals sign": (
        ["fit", "DATA", "--id", "patient", "--time", "hours", "--out", "m", "--set", "max_iter"],
        "--set takes NAME=VALUE",
    ),
    "no folder": (
        ["fit", "DATA", "--id", "patient", "--time", "hours", "--out", "nowhere/m"],
        "nowhere is no folder; make it before writing m there",
    ),
    "horizon of another kind": (
        ["forecast", "MODEL", "DATA", "--horizon", "48h"],
        "--horizon must be a number",
    ),
    "level": (["predict", "MODEL", "DATA", "--level", "0.9"], "did you mean 90?"),
    "no picture": (["plot", "MODEL", "DATA", "--out", "p.bmp"], "the file must end in .png, .pdf, .svg"),
    "a portrait of nothing": (
        ["plot", "MODEL", "--kind", "latent", "--out", "p.png"],
        "draws a table with the model",
    ),
    "unknown series": (
        ["plot", "MODEL", "DATA", "--series", "p99", "--out", "p.png"],
        "series 'p99' is not in the table",
    ),
    "unknown channel": (
        ["plot", "MODEL", "DATA", "--channels", "pulse", "--out", "p.png"],
        "channel 'pulse' is not in the data",
    ),
    "times that are none": (
        ["predict", "MODEL", "DATA", "--at", "noon"],
        "holds 'noon' .* neither a number nor an ISO 8601",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_line_and_exit_with_1(name, model_file, labs, tmp_path, monkeypatch, capsys):
    arguments, message = MISTAKES[name]
    monkeypatch.chdir(tmp_path)
    places = {"MODEL": model_file, "DATA": labs}
    assert run(*(places.get(one, one) for one in arguments)) == 1
    line = told(capsys)
    assert line.startswith("latentode: error: ")
    assert re.search(message, line), line


def test_traceback_shows_where_an_error_was_raised(labs):
    with pytest.raises(ValueError, match="no saved latentode model"):
        run("predict", labs, labs, "--traceback")


@pytest.mark.parametrize(
    "arguments",
    [[], ["fly"], ["fit"], ["predict", "m"], ["predict", "m", "d", "--speed"], ["forecast", "m", "d"]],
)
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        run(*arguments)
    assert exit_.value.code == 2
    assert "usage: latentode" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["fit", "predict", "forecast", "plot", "describe", "demo"])
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        run(command, "--help")
    assert exit_.value.code == 0
    assert f"  latentode {command} " in capsys.readouterr().out


def test_an_interrupt_and_a_closed_pipe_end_quietly(model_file, labs, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(LatentODE, "predict", interrupt)
    assert run("predict", model_file, labs) == 130
    assert told(capsys) == "latentode: interrupted"


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
