"""From a command line to an exit code."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from latentode.cli.arguments import make_parser
from latentode.cli.wording import as_options

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit code: 0, or 1 where it failed; argparse exits with 2.

    A user's mistake and warnings are told in one line each on standard error; --traceback shows where it was raised.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = make_parser()
    chosen, rest = parser.parse_known_args(given)
    if rest and chosen.command != "demo":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    # Only now: torch and pandas take seconds, --help none.
    from latentode.cli import commands

    options = vars(chosen)
    run, shows_traceback = getattr(commands, options.pop("command")), options.pop("traceback")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            run(*rest, **options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has had enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        sys.stderr.write("latentode: interrupted\n")
        return 130
    except (ValueError, TypeError, OSError, ImportError, ArithmeticError, RuntimeError) as failure:
        if shows_traceback:
            raise
        sys.stderr.write(f"latentode: error: {_said(failure)}\n")
        return 1
    return 0


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """In one line, without the place in the program."""
    sys.stderr.write(f"latentode: warning: {_in_a_line(message)}\n")


def _in_a_line(message: object) -> str:
    """With options for parameters."""
    return as_options(" ".join(str(message).split()))


def _said(failure: Exception) -> str:
    """What went wrong, in one line; of a file that is not there only its name."""
    if isinstance(failure, FileNotFoundError) and failure.filename is not None:
        return f"there is no file {failure.filename}"
    return _in_a_line(failure)
