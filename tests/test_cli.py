"""The command line does what the API does, between files, and tells mistakes in one line."""

import io
import re
import shlex
import sys

import numpy as np
import pandas as pd
import pytest

from latentode import LatentODE
from latentode.cli import files
from latentode.cli.arguments import make_parser
from latentode.cli.files import read_table
from latentode.cli.wording import as_options, fit_line
from tests.commands import run, told
from tests.conftest import make_frame

CHANNELS = ["hr", "temp", "flat"]
COMMANDS = [
    "fit",
    "predict",
    "forecast",
    "impute",
    "sample",
    "encode",
    "score",
    "evaluate",
    "plot",
    "describe",
    "demo",
]


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    make_frame().to_csv(folder / "labs.csv", index=False)
    roles = ["--id", "patient", "--time", "hours"]
    settings = ["--set", "max_iter=3", "residual=ou", "--set", "field_units=(8,)", "--quiet"]
    assert run("fit", folder / "labs.csv", *roles, "--out", folder / "m.latentode", *settings) == 0
    return folder / "m.latentode"


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
    assert run("predict", model_file, labs, "--level", "50", "90", "--parts", "--out", out) == 0
    read = read_table(str(labs), id_col="patient", time_col="hours")
    expected = LatentODE.load(model_file).predict(read, level=[50, 90], parts=True)
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
    assert (
        run("forecast", model_file, labs, "--horizon", "6", "--steps", "3", "--level", "90", "--parts") == 0
    )
    found = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert len(found) == 3 * 14
    assert "hr-lo-90" in found
    whole = sum(found[f"hr-{part}"] for part in ("trajectory", "residual", "regression"))
    np.testing.assert_allclose(whole, found["hr"], rtol=1e-4)
    last = make_frame().dropna(subset=CHANNELS, how="all").groupby("patient")["hours"].max()
    np.testing.assert_allclose(found.groupby("patient")["hours"].max(), last + 6)


def test_a_table_comes_from_standard_input(model_file, labs, monkeypatch, capsys):
    with labs.open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert run("predict", model_file, "-") == 0
    assert capsys.readouterr().out.startswith("patient,hours,hr,temp,flat\n")


def test_impute_fills_what_is_empty_and_nothing_else(model_file, labs, tmp_path):
    out = tmp_path / "filled.csv"
    assert run("impute", model_file, labs, "--out", out) == 0
    read = read_table(str(labs), id_col="patient", time_col="hours")
    found = pd.read_csv(out)
    assert read[CHANNELS].isna().to_numpy().any()
    assert found[CHANNELS].notna().to_numpy().all()
    pd.testing.assert_frame_equal(found, LatentODE.load(model_file).impute(read), check_dtype=False)


def test_sample_draws_what_the_api_draws(model_file, labs, tmp_path, capsys):
    arguments = ["--at", "1.5", "11", "--samples", "3", "--seed", "7", "--noise"]
    assert run("sample", model_file, labs, *arguments, "--out", tmp_path / "paths.parquet") == 0
    read = read_table(str(labs), id_col="patient", time_col="hours")
    expected = LatentODE.load(model_file).sample(
        read, [1.5, 11.0], n_samples=3, observation_noise=True, random_state=7
    )
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "paths.parquet"), expected)
    assert len(expected) == 14 * 3 * 2
    assert run("sample", model_file, labs, "--samples", "1") == 0
    assert capsys.readouterr().out.startswith("patient,sample,hours,hr,temp,flat\np0,0,")


def test_encode_gives_a_row_for_each_series(model_file, labs, capsys):
    assert run("encode", model_file, labs) == 0
    found = pd.read_csv(io.StringIO(capsys.readouterr().out), index_col="patient")
    expected = LatentODE.load(model_file).encode(read_table(str(labs), id_col="patient", time_col="hours"))
    pd.testing.assert_frame_equal(found, expected, check_names=False)


def test_score_is_one_number_or_one_for_each_value(model_file, labs, tmp_path, capsys):
    read = read_table(str(labs), id_col="patient", time_col="hours")
    model = LatentODE.load(model_file)
    assert run("score", model_file, labs) == 0
    captured = capsys.readouterr()
    assert float(captured.out) == model.score(read)
    assert captured.err == "nats per value and unit of the data; higher is better\n"
    assert run("score", model_file, labs, "--by-row", "--out", tmp_path / "surprise.csv") == 0
    found = pd.read_csv(tmp_path / "surprise.csv")
    pd.testing.assert_frame_equal(found[["patient", "hours"]], read[["patient", "hours"]], check_dtype=False)
    pd.testing.assert_frame_equal(found[CHANNELS], model.score_samples(read))


def test_evaluate_prints_the_summary_and_writes_the_table(model_file, labs, tmp_path, capsys):
    read = read_table(str(labs), id_col="patient", time_col="hours")
    others = read.assign(patient="other " + read.patient)
    others.to_csv(tmp_path / "others.csv", index=False)
    arguments = ["--task", "extrapolate", "--leads", "1", "3.5", "--level", "90"]
    arguments += ["--train", tmp_path / "others.csv"]
    assert run("evaluate", model_file, labs, *arguments, "--out", tmp_path / "errors.csv") == 0
    report = LatentODE.load(model_file).evaluate(
        read, task="extrapolate", leads=[1, 3.5], level=[90.0], train=others
    )
    assert capsys.readouterr().out == f"{report}\n"
    found = pd.read_csv(tmp_path / "errors.csv")
    pd.testing.assert_frame_equal(found, report.table, check_dtype=False)
    assert "ridge" in set(found["predictor"])
    rival = ["--baselines", "last value", "--leads", "2", "--horizon", "5", "--task", "extrapolate"]
    assert run("evaluate", model_file, labs, *rival, "--out", "-") == 0
    found = pd.read_csv(io.StringIO(capsys.readouterr().out))  # the table alone, for a program to read
    assert set(found["predictor"]) == {"latent ODE", "last value"}
    assert found["lead_to"].max() <= 5


def test_evaluate_asks_after_a_time(model_file, labs, tmp_path, capsys):
    read = read_table(str(labs), id_col="patient", time_col="hours")
    arguments = ["--task", "extrapolate", "--leads", "1", "--level", "90"]
    assert run("evaluate", model_file, labs, *arguments, "--after", "6") == 0
    report = LatentODE.load(model_file).evaluate(read, after=6, task="extrapolate", leads=1, level=[90.0])
    assert capsys.readouterr().out == f"{report}\n"
    assert str(report).startswith("Extrapolation after 6: ")
    dated = read.assign(hours=pd.Timestamp("2026-03-01") + pd.to_timedelta(read["hours"], "h"))
    dated.to_csv(tmp_path / "dated.csv", index=False)
    model = LatentODE("patient", "hours", max_iter=2, residual=None, random_state=0).fit(dated)
    model.save(tmp_path / "m")
    assert (
        run("evaluate", tmp_path / "m", tmp_path / "dated.csv", *arguments, "--after", "2026-03-01T06:00")
        == 0
    )
    assert capsys.readouterr().out.startswith("Extrapolation after 2026-03-01 06:00:00: ")


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
    assert text == f"{LatentODE.load(model_file).summary()}\n"
    assert "named by 'patient'" in text
    assert re.search(r"^trained +3 steps", text, re.MULTILINE)
    assert text.count("  ou ") == 3


def test_describe_words_its_hints_as_options(labs, capsys):
    assert run("describe", labs) == 0
    text = capsys.readouterr().out
    assert "name it with --id patient" in text
    assert f"suggested: latentode fit {labs} --id patient --time hours" in text
    assert "LatentODE" not in text
    assert "_col" not in text
    frame = make_frame()
    frame["hours"] = pd.Timestamp("2026-03-28") + pd.to_timedelta(frame["hours"], "h")
    frame.to_csv(labs, index=False)
    assert run("describe", labs) == 0
    text = capsys.readouterr().out
    assert "'hours' holds datetimes: if it is the clock, name it with --time hours;" in text
    assert "pd." not in text


def test_hints_of_the_api_become_options():
    told = as_options(
        "static_cols=['age', 'body mass'], value_cols=[...] or time_col=...; leave it out of value_cols"
    )
    assert told == "--static age 'body mass', --values ... or --time ...; leave it out of --values"
    assert fit_line("my labs.csv.gz", {"id_col": "p", "static_cols": ["a b"], "task": "both"}) == (
        "latentode fit 'my labs.csv.gz' --id p --static 'a b' --task both --out 'my labs'.latentode"
    )


def test_a_suggested_line_is_read_as_what_it_suggests():
    suggested = {
        "id_col": "-p",
        "time_col": "when drawn",
        "value_cols": ["hr", "-neg", "-", "a 'b'", "--out"],
        "static_cols": ["-1", "-x y"],
    }
    command, *words = shlex.split(fit_line("labs.csv", suggested))
    assert command == "latentode"
    read = vars(make_parser().parse_args(words))
    assert {role: read[role] for role in ("id_col", "time_col")} == {"id_col": "-p", "time_col": "when drawn"}
    for role in ("value_cols", "static_cols"):
        assert sorted(read[role]) == sorted(suggested[role])
    assert as_options("name it in static_cols=['-x']") == "name it in --static=-x"


# Mistakes ---------------------------------------------------------------------

MISTAKES = {
    "no such table": (["predict", "MODEL", "nowhere.csv"], "there is no file nowhere.csv"),
    "no such model": (["predict", "nowhere.latentode", "DATA"], "there is no file nowhere.latentode"),
    "no such model to tell of": (["describe", "nowhere.latentode"], "there is no file nowhere.latentode"),
    "a table as a model": (["predict", "DATA", "DATA"], "no saved latentode model"),
    "a model as a table": (["predict", "MODEL", "MODEL"], "is a saved model, where a table belongs"),
    "unknown suffix": (["predict", "MODEL", "labs.xlsx"], "tables are .csv, .csv.gz, .tsv"),
    "unknown id": (
        ["fit", "DATA", "--id", "who", "--time", "hours", "--out", "m"],
        "--id who is neither a column",
    ),
    "a misspelt id": (
        ["fit", "DATA", "--id", "Patient", "--time", "hours", "--out", "m"],
        r"--id Patient is neither a column .* \(did you mean 'patient'\?\)",
    ),
    "unknown id to tell of": (
        ["describe", "DATA", "--id", "who", "--time", "hours"],
        "--id who is neither a column",
    ),
    "forgotten id": (
        ["fit", "DATA", "--time", "hours", "--out", "m"],
        "If it says which series a row belongs to, name it with --id patient$",
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
    "edges of another kind": (
        ["evaluate", "MODEL", "DATA", "--leads", "6h", "24h"],
        "--leads must be a number, as the model's times are; got '6h'",
    ),
    "no time": (
        ["evaluate", "MODEL", "DATA", "--after", "noon"],
        "--after holds 'noon' .*, which is neither a number nor an ISO 8601 date",
    ),
    "a time of another kind": (
        ["evaluate", "MODEL", "DATA", "--after", "2026-03-01"],
        "after holds times of kind 'datetime', where the model's are of kind 'number'; give a number",
    ),
    "unknown rival": (
        ["evaluate", "MODEL", "DATA", "--baselines", "oracle"],
        "oracle",
    ),
    "a file for one number": (
        ["score", "MODEL", "DATA", "--out", "score.csv"],
        "score prints one number; --out is for the table of --by-row",
    ),
    "no folder for the answer": (
        ["sample", "MODEL", "DATA", "--out", "nowhere/paths.csv"],
        "nowhere is no folder; make it before writing paths.csv there",
    ),
    "no samples": (["sample", "MODEL", "DATA", "--samples", "0"], "n_samples"),
    "level": (["predict", "MODEL", "DATA", "--level", "0.9"], "did you mean 90?"),
    "no picture": (["plot", "MODEL", "DATA", "--out", "p.bmp"], "the file must end in .png, .pdf, .svg"),
    "a portrait of nothing": (
        ["plot", "MODEL", "--kind", "latent", "--out", "p.png"],
        "draws a table with the model",
    ),
    "a band around a training history": (
        ["plot", "MODEL", "--kind", "history", "--level", "50", "--out", "p.png"],
        "--level changes nothing in --kind history; leave it out",
    ),
    "a colour of trajectories": (
        ["plot", "MODEL", "DATA", "--color", "flat", "--out", "p.png"],
        "--color changes nothing in --kind trajectories",
    ),
    "some series of an embedding": (
        ["plot", "MODEL", "DATA", "--kind", "embedding", "--series", "p0", "--out", "p.png"],
        "--series changes nothing in --kind embedding",
    ),
    "the future of an embedding": (
        ["plot", "MODEL", "DATA", "--kind", "embedding", "--horizon", "3", "--out", "p.png"],
        "--horizon changes nothing in --kind embedding",
    ),
    "data of the prior": (
        ["plot", "MODEL", "labs.csv", "--kind", "prior", "--out", "p.png"],
        "--kind prior draws the model by itself; leave out labs.csv",
    ),
    "columns of a model": (
        ["plot", "MODEL", "DATA", "--id", "patient", "--out", "p.png"],
        "--id is for a table alone",
    ),
    "the future of a table": (
        ["plot", "DATA", "--id", "patient", "--time", "hours", "--horizon", "3", "--out", "p.png"],
        "--horizon is for a model's picture, and this is a table's",
    ),
    "series of a table without ids": (
        ["plot", "DATA", "--time", "hours", "--values", "hr", "--series", "p0", "--out", "p.png"],
        "--series names series by their id; say which column holds it with --id",
    ),
    "channels twice": (
        ["plot", "DATA", "--time", "hours", "--values", "hr", "--channels", "hr", "--out", "p.png"],
        "--channels and --values both say which columns to draw",
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


@pytest.mark.filterwarnings("default")
def test_warnings_are_one_line_without_a_place_in_the_program(model_file, labs, capsys):
    assert run("predict", model_file, labs, "--at", "1000") == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("latentode: warning: times are asked that lie up to")


@pytest.mark.parametrize("name", ["to read", "to write"])
def test_parquet_without_a_library_for_it_says_what_to_install(name, model_file, labs, monkeypatch, capsys):
    monkeypatch.setattr(files, "find_spec", lambda _: None)
    file = labs.with_suffix(".parquet")
    file.touch()
    arguments = [file] if name == "to read" else [labs, "--out", file]
    assert run("predict", model_file, *arguments) == 1
    assert told(capsys).endswith(
        "Parquet files need pyarrow; install it with pip install 'latentode[parquet]'"
    )


@pytest.mark.parametrize(
    ("time", "said"),
    [("48h", "kind 'timedelta'"), ("5", "kind 'number'")],
)
def test_lengths_of_time_at_which_nothing_can_be_asked_are_named(time, said, tmp_path, capsys):
    frame = make_frame().assign(
        hours=lambda df: pd.Timestamp("2026-01-01") + pd.to_timedelta(df["hours"], "h")
    )
    frame.to_csv(tmp_path / "labs.csv", index=False)
    roles = ["--id", "patient", "--time", "hours", "--set", "max_iter=1", "residual=ou", "--quiet"]
    assert run("fit", tmp_path / "labs.csv", *roles, "--out", tmp_path / "m") == 0
    capsys.readouterr()
    assert run("predict", tmp_path / "m", tmp_path / "labs.csv", "--at", time) == 1
    line = told(capsys)
    assert said in line
    assert "use latentode forecast --horizon 48h" in line


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


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        run(command, "--help")
    assert exit_.value.code == 0
    assert f"  latentode {command} " in capsys.readouterr().out


def test_the_list_of_commands_has_a_sentence_for_each(capsys):
    with pytest.raises(SystemExit):
        run("--help")
    listed = " ".join(capsys.readouterr().out.split())
    for command in COMMANDS:
        assert re.search(rf" {command} [A-Z][^.]*\.", listed), command


def test_an_interrupt_and_a_closed_pipe_end_quietly(model_file, labs, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(LatentODE, "predict", interrupt)
    assert run("predict", model_file, labs) == 130
    assert told(capsys) == "latentode: interrupted"
