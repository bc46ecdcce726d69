"""`python -m latentode` is the command `latentode`."""

from __future__ import annotations

import sys

from latentode.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
