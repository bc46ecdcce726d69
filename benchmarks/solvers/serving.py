"""A rival's side of the conversation: one JSON question a line, one JSON answer a line.

    {"open": FILE}                   its rows for the workload in FILE (see `client.write_workload`), versions
    {"time": ROW}                    does one step: CPU milliseconds, and the system's part of them
    {"gradient": ROW, "to": FILE}    the gradient of that row's last step, as one vector

Needs nothing but numpy, because every rival has an environment of its own.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from benchmarks.timing import cpu_ms

__all__ = ["RivalStep", "serve"]


class RivalStep(Protocol):
    def __call__(self) -> None:
        """Does one training step and waits for it."""

    def gradient(self) -> np.ndarray:
        """That of the last step, in the order in which the workload lists the parameters."""


def serve(
    make_steps: Callable[[Mapping[str, np.ndarray]], Mapping[str, RivalStep]], versions: Mapping[str, str]
) -> None:
    # What a library prints must not look like an answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    steps: Mapping[str, RivalStep] = {}
    for line in sys.stdin:
        question = json.loads(line)
        answer: object = None
        if "open" in question:
            with np.load(question["open"]) as file:
                steps = make_steps(dict(file))
            answer = {"rows": list(steps), "versions": dict(versions)}
        elif "time" in question:
            answer = cpu_ms(steps[question["time"]])
        else:
            np.save(question["to"], steps[question["gradient"]].gradient())
        print(json.dumps(answer), file=answers, flush=True)
