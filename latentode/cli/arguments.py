"""What may stand on a command line."""

from __future__ import annotations

import argparse

from latentode._version import __version__
from latentode.cli import texts

__all__ = ["make_parser"]

# As in `latentode.cuts`, which would load torch.
TASKS = ("both", "interpolate", "extrapolate")


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; it loads neither torch nor pandas."""
    plain = {"formatter_class": argparse.RawDescriptionHelpFormatter}
    parser = argparse.ArgumentParser(prog="latentode", description=texts.HELP, **plain)  # type: ignore[arg-type]
    parser.add_argument("--version", action="version", version=f"latentode {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        summary = text.partition("\n")[0]
        command = commands.add_parser(name, help=summary, description=text, **plain)  # type: ignore[arg-type]
        command.add_argument("--traceback", action="store_true", help="show where an error was raised")
        return command

    fit = add("fit", texts.FIT)
    fit.add_argument("data", help="table to fit to")
    _add_roles(fit)
    fit.add_argument("--out", required=True, help="file of the fitted model")
    fit.add_argument("--task", choices=TASKS, help="what the model is for")
    fit.add_argument("--seed", type=int, default=0, help="a fit of the same seed repeats (default: 0)")
    fit.add_argument(
        "--set",
        dest="settings",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="any other parameters of LatentODE, e.g. --set max_iter=300 residual=ou",
    )
    fit.add_argument(
        "--threads", type=int, default=1, help="threads of torch; one is often fastest (default: 1)"
    )
    fit.add_argument("--quiet", action="store_true", help="no progress on standard error")

    predict = add("predict", texts.PREDICT)
    _add_model_and_data(predict)
    _add_times(predict)
    _add_bands(predict)
    _add_parts(predict)
    _add_out(predict)

    forecast = add("forecast", texts.FORECAST)
    _add_model_and_data(forecast)
    forecast.add_argument(
        "--horizon", required=True, help="how far: 48h, or a number where times are numbers"
    )
    forecast.add_argument("--steps", type=int, default=10, help="how many steps (default: 10)")
    _add_bands(forecast)
    _add_parts(forecast)
    _add_out(forecast)

    impute = add("impute", texts.IMPUTE)
    _add_model_and_data(impute)
    _add_out(impute)

    sample = add("sample", texts.SAMPLE)
    _add_model_and_data(sample)
    _add_times(sample)
    sample.add_argument(
        "--samples",
        dest="n_samples",
        metavar="N",
        type=int,
        default=20,
        help="how many of each series (default: 20)",
    )
    sample.add_argument(
        "--noise",
        dest="observation_noise",
        action="store_true",
        help="adds the noise of a measurement to each value",
    )
    sample.add_argument("--seed", type=int, default=0, help="the same seed draws the same (default: 0)")
    _add_out(sample)

    encode = add("encode", texts.ENCODE)
    _add_model_and_data(encode)
    _add_out(encode)

    score = add("score", texts.SCORE)
    _add_model_and_data(score)
    score.add_argument(
        "--by-row", action="store_true", help="a table, by row and channel, in place of the mean"
    )
    score.add_argument("--out", help="file of that table; standard output, if not given")

    evaluate = add("evaluate", texts.EVALUATE)
    _add_model_and_data(evaluate)
    evaluate.add_argument("--train", metavar="FILE", help="table of the fit, for the ridge regression")
    evaluate.add_argument(
        "--after", metavar="TIME", help="ask of rows later than this alone, where the fit's rows are up to it"
    )
    evaluate.add_argument("--task", choices=TASKS, help="what is asked; what the model is for, if not given")
    evaluate.add_argument(
        "--leads",
        nargs="+",
        default=["4"],
        help="how many bins of lead time, or their upper edges, e.g. 6h 24h 48h (default: 4)",
    )
    evaluate.add_argument(
        "--horizon", help="with a number of bins, the lead time beyond which nothing is scored"
    )
    evaluate.add_argument(
        "--baselines", nargs="+", metavar="NAME", help='e.g. "last value" linear; all that suit, if not given'
    )
    _add_bands(evaluate, default=[50.0, 80.0, 90.0, 95.0])
    evaluate.add_argument("--seed", type=int, default=0, help="of what is hidden (default: 0)")
    evaluate.add_argument("--out", help="file of the table of all figures; none, if not given")

    plot = add("plot", texts.PLOT)
    plot.add_argument("file", metavar="MODEL|DATA", help="saved model, or a table alone")
    plot.add_argument("data", nargs="?", help="table to draw with the model")
    _add_roles(plot, "of a table alone")
    plot.add_argument(
        "--kind",
        choices=("trajectories", "latent", "embedding", "prior", "history"),
        help="which picture of a model (default: trajectories)",
    )
    plot.add_argument("--out", required=True, help="file of the picture")
    plot.add_argument("--series", nargs="+", metavar="ID", help="the first few, if not given")
    plot.add_argument("--channels", nargs="+", metavar="COLUMN", help="all, if not given")
    plot.add_argument("--horizon", help="how far beyond the last observation")
    plot.add_argument("--level", nargs="+", type=float, help="coverage of bands, percent (default: 90)")
    plot.add_argument("--color", metavar="COLUMN", help="colours a portrait or an embedding")
    plot.add_argument("--dpi", type=float, default=150.0, help="dots per inch of a .png (default: 150)")

    describe = add("describe", texts.DESCRIBE)
    describe.add_argument("file", help="table or saved model")
    _add_roles(describe, "of a table")

    demo = add("demo", texts.DEMO)
    demo.epilog = "Other options go to the demo: --quick, --out DIR, --max-iter N."
    return parser


def _add_roles(command: argparse.ArgumentParser, of: str = "") -> None:
    command.add_argument(
        "--id", dest="id_col", metavar="COLUMN", help=f"column that names the series {of}".rstrip()
    )
    command.add_argument(
        "--time", dest="time_col", metavar="COLUMN", help=f"column of the times {of}".rstrip()
    )
    command.add_argument(
        "--values",
        dest="value_cols",
        action="extend",
        nargs="+",
        metavar="COLUMN",
        help="the channels; all others, if not given",
    )
    command.add_argument(
        "--static",
        dest="static_cols",
        action="extend",
        nargs="+",
        metavar="COLUMN",
        help="columns that describe a series as a whole, such as age",
    )


def _add_model_and_data(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", help="saved model")
    command.add_argument("data", help="table of what was observed")


def _add_times(command: argparse.ArgumentParser) -> None:
    asked = command.add_mutually_exclusive_group()
    asked.add_argument("--at", nargs="+", metavar="TIME", help="the same times for every series")
    asked.add_argument("--times", metavar="FILE", help="table of ids and times, each series' own")


def _add_bands(command: argparse.ArgumentParser, default: list[float] | None = None) -> None:
    said = "" if default is None else f" (default: {' '.join(f'{level:g}' for level in default)})"
    command.add_argument(
        "--level",
        nargs="+",
        type=float,
        default=default,
        help=f"coverage of bands in percent, e.g. 50 90{said}",
    )
    command.add_argument("--point", choices=("mean", "median"), default="mean", help="(default: mean)")


def _add_parts(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--parts", action="store_true", help="also what of the mean is trajectory, residual and regression"
    )


def _add_out(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", default="-", help="file of the answer; standard output, if not given")
