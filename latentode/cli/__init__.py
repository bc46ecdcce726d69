"""The command `latentode`: fit, ask, draw and describe from a shell, with files in and out."""

from latentode.cli.main import main

__all__ = ["main"]
