"""A small fit, in a process of its own that may be killed."""

from __future__ import annotations

import hashlib
import json
import signal
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo  # every process imports it at its first step; those that fork from this one need not

from latentode import LatentODE
from latentode.training import checkpoint
from tests.conftest import make_frame


def make_model(path: str | None, max_iter: int = 120, **settings: Any) -> LatentODE:
    sizes = {"latent_dim": 2, "encoder_units": 8, "field_units": (8,), "decoder_units": (8,)}
    return LatentODE(
        "patient",
        "hours",
        **sizes,
        residual="ou",
        batch_size=8,
        max_iter=max_iter,
        random_state=0,
        checkpoint=path,
        **settings,
    )


def summary(model: LatentODE) -> dict[str, Any]:
    """What must not depend on whether the fit was killed."""
    digest = hashlib.sha256()
    for name, tensor in model.module_.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    history = model.history_.drop(columns="seconds")
    return {"weights": digest.hexdigest(), "history": json.loads(history.to_json(double_precision=15))}


def checkpoint_always(change: Any = setattr) -> None:
    """Each check writes; otherwise only those that are seconds apart do."""
    change(checkpoint, "SHORTEST_INTERVAL", 0.0)
    change(checkpoint, "LARGEST_SHARE", np.inf)


def fit_and_answer(begun: Connection, path: str, answer: str, max_iter: int) -> None:
    """Says whether it goes on with an earlier fit, fits, and writes what came of it."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
    checkpoint_always()
    model, frame = make_model(path, max_iter), make_frame()
    begun.send(Path(path).exists())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(frame)
    finite = bool(np.isfinite(model.predict(frame).hr).all())
    found = {"warnings": [str(warning.message) for warning in caught], "finite": finite}
    Path(answer).write_text(json.dumps(summary(model) | found))
