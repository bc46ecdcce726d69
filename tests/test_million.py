"""A million rows are answered in bounded memory, and their time goes into the model."""

import json
import subprocess
import sys

import pytest

N_ROWS = 1_000_000
MOST_BYTES = 2**30  # beyond the frame's own

# In a process of its own, whose peak is that of this question alone. Numbers are in bytes and CPU seconds.
SCRIPT = """
import json, resource, sys, time

import numpy as np
import pandas as pd
import torch

from latentode import LatentODE, inference
from latentode.datasets import make_oscillator


def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


torch.set_num_threads(1)
model = LatentODE("series", "time", max_iter=30, random_state=0).fit(make_oscillator(24, 50, seed=0)[0])
before = peak()

n_rows, n_series = int(sys.argv[1]), int(sys.argv[1]) // 50
times = np.random.default_rng(0).random((n_series, 50)).cumsum(1).ravel() / 25
frame = pd.DataFrame({"series": np.repeat(np.arange(n_series), 50), "time": times})
frame["position"], frame["velocity"] = np.sin(times), np.cos(times)
frame.loc[::2, ["position", "velocity"]] = np.nan  # every other row is a question

of_model, predict = 0.0, inference.predict


def timed(*arguments, **settings):
    global of_model
    started = time.process_time()
    answer = predict(*arguments, **settings)
    of_model += time.process_time() - started
    return answer


inference.predict = timed
started = time.process_time()
answer = model.predict(frame)
whole = time.process_time() - started
found = {
    "answered": int(answer[["position", "velocity"]].notna().all(axis=1).sum()),
    "bytes": peak() - before - int(frame.memory_usage(deep=True).sum()),
    "share_of_frames": 1 - of_model / whole,
}
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is in kilobytes on Linux only")
def test_a_million_rows_are_answered_in_bounded_memory_and_little_time_for_frames():
    command = [sys.executable, "-c", SCRIPT, str(N_ROWS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["answered"] == N_ROWS
    assert found["bytes"] < MOST_BYTES
    assert found["share_of_frames"] < 1 / 4
