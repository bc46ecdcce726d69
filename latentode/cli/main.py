"""From a command line to an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from latentode._version import __version__

__all__ = ["main"]

_HELP = """\
Latent ODE models of irregular time series, from a table to forecasts with bands.

  latentode describe labs.csv --id patient --time drawn_at
  latentode fit labs.csv --id patient --time drawn_at --out labs.latentode
  latentode forecast labs.latentode labs.csv --horizon 48h --steps 8 --level 90 --out ahead.csv
  latentode plot labs.latentode labs.csv --series p17 --horizon 48h --out p17.png

Tables are .csv, .csv.gz, .tsv or .parquet files, by their suffix; - is CSV on standard input or output. A table
has a row for each (series, time), a column for each channel, and empty cells where nothing was measured.
`latentode COMMAND --help` has each command's options and examples.
"""

_FIT = """\
Fit a model to a table and save it.

  latentode fit storms.csv --id storm --time time --values lat long wind pressure \\
      --task extrapolate --set origin=last --set max_iter=600 --out storms.latentode
"""

_PREDICT = """\
Answer with the posterior mean (or median) and bands, at the rows of the table or at times asked for.

  latentode predict labs.latentode labs.csv --level 90 --out filled.csv
  latentode predict labs.latentode labs.csv --at 2026-03-01T12:00 2026-03-02T12:00
  latentode predict labs.latentode labs.csv --times asked.csv --level 50 90
"""

_FORECAST = """\
Answer at equal steps beyond each series' last observation.

  latentode forecast labs.latentode labs.csv --horizon 48h --steps 8 --level 90 --out ahead.parquet
"""

_PLOT = """\
Draw a table's observations, or what a model makes of them; .png, .pdf or .svg by the suffix.

  latentode plot labs.csv --id patient --time drawn_at --out raw.png
  latentode plot labs.latentode labs.csv --series p17 p20 --channels potassium --horizon 48h --out p17.pdf
  latentode plot labs.latentode labs.csv --kind embedding --color ward --out wards.png
  latentode plot labs.latentode --kind history --out training.png
"""

_DESCRIBE = """\
Describe a table before a fit (what is there, what fit would refuse, what looks like a mistake), or a saved model.

  latentode describe labs.csv --id patient --time drawn_at
  latentode describe labs.latentode
"""

_DEMO = """\
Fit 485 Atlantic storms, forecast 118 later ones, and print the errors beside those of trivial answers and tuned
regressions; tables and figures are written to out/. Takes a minute or two, with --quick half of one.

  latentode demo --quick
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit code: 0, or 1 where it failed; argparse exits with 2.

    A user's mistake is told in one line on standard error; --traceback shows where it was raised.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    chosen, rest = parser.parse_known_args(given)
    if rest and chosen.command != "demo":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    # Only now: torch and pandas take seconds, --help none.
    from latentode.cli import commands

    run = getattr(commands, chosen.command)
    try:
        run(chosen, rest) if chosen.command == "demo" else run(chosen)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has had enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        sys.stderr.write("latentode: interrupted\n")
        return 130
    except (ValueError, TypeError, OSError, ImportError, ArithmeticError, RuntimeError) as failure:
        if chosen.traceback:
            raise
        sys.stderr.write(f"latentode: error: {' '.join(str(failure).split())}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    plain = {"formatter_class": argparse.RawDescriptionHelpFormatter}
    parser = argparse.ArgumentParser(prog="latentode", description=_HELP, **plain)  # type: ignore[arg-type]
    parser.add_argument("--version", action="version", version=f"latentode {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        summary = text.partition("\n")[0]
        command = commands.add_parser(name, help=summary, description=text, **plain)  # type: ignore[arg-type]
        command.add_argument("--traceback", action="store_true", help="show where an error was raised")
        return command

    fit = add("fit", _FIT)
    fit.add_argument("data", help="table to fit to")
    _add_roles(fit)
    fit.add_argument("--out", required=True, help="file of the fitted model")
    fit.add_argument("--task", choices=("both", "interpolate", "extrapolate"), help="what the model is for")
    fit.add_argument("--seed", type=int, default=0, help="a fit of the same seed repeats (default: 0)")
    fit.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other parameter of LatentODE, e.g. --set max_iter=300 --set residual=ou; may be repeated",
    )
    fit.add_argument(
        "--threads", type=int, default=1, help="threads of torch; one is often fastest (default: 1)"
    )
    fit.add_argument("--quiet", action="store_true", help="no progress on standard error")

    predict = add("predict", _PREDICT)
    _add_model_and_data(predict)
    asked = predict.add_mutually_exclusive_group()
    asked.add_argument("--at", nargs="+", metavar="TIME", help="the same times for every series")
    asked.add_argument("--times", metavar="FILE", help="table of ids and times, each series' own")
    _add_answer(predict)

    forecast = add("forecast", _FORECAST)
    _add_model_and_data(forecast)
    forecast.add_argument(
        "--horizon", required=True, help="how far: 48h, or a number where times are numbers"
    )
    forecast.add_argument("--steps", type=int, default=10, help="how many steps (default: 10)")
    _add_answer(forecast)

    plot = add("plot", _PLOT)
    plot.add_argument("file", metavar="MODEL|DATA", help="saved model, or a table alone")
    plot.add_argument("data", nargs="?", help="table to draw with the model")
    _add_roles(plot, "of a table alone")
    plot.add_argument(
        "--kind",
        choices=("trajectories", "latent", "embedding", "prior", "history"),
        default="trajectories",
        help="which picture of a model (default: trajectories)",
    )
    plot.add_argument("--out", required=True, help="file of the picture")
    plot.add_argument("--series", nargs="+", metavar="ID", help="the first few, if not given")
    plot.add_argument("--channels", nargs="+", metavar="COLUMN", help="all, if not given")
    plot.add_argument("--horizon", help="how far beyond the last observation")
    plot.add_argument("--level", nargs="+", type=float, default=[90.0], help="coverage of bands, percent")
    plot.add_argument("--color", metavar="COLUMN", help="colours a portrait or an embedding")
    plot.add_argument("--dpi", type=float, default=150.0, help="dots per inch of a .png (default: 150)")

    describe = add("describe", _DESCRIBE)
    describe.add_argument("file", help="table or saved model")
    _add_roles(describe, "of a table")

    demo = add("demo", _DEMO)
    demo.epilog = "Other options go to the demo: --quick, --out DIR, --max-iter N."
    return parser


def _add_roles(command: argparse.ArgumentParser, of: str = "") -> None:
    command.add_argument("--id", metavar="COLUMN", help=f"column that names the series {of}".rstrip())
    command.add_argument("--time", metavar="COLUMN", help=f"column of the times {of}".rstrip())
    command.add_argument(
        "--values", nargs="+", metavar="COLUMN", help="the channels; all others, if not given"
    )


def _add_model_and_data(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", help="saved model")
    command.add_argument("data", help="table of what was observed")


def _add_answer(command: argparse.ArgumentParser) -> None:
    command.add_argument("--level", nargs="+", type=float, help="coverage of bands in percent, e.g. 50 90")
    command.add_argument("--point", choices=("mean", "median"), default="mean", help="(default: mean)")
    command.add_argument("--out", default="-", help="file of the answer; standard output, if not given")
