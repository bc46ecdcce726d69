"""Command lines, run in this process."""

from latentode.cli import main


def run(*arguments):
    return main([str(argument) for argument in arguments])


def told(capsys):
    """The one line on standard error."""
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    assert captured.out == ""
    return lines[0]
