"""The same bits from the same seed, wherever; and nothing outside a model is touched by it."""

import inspect
import os
import random
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch

from latentode import LatentODE, plotting
from tests.conftest import make_frame

ROOT = Path(__file__).parents[1]

# What a fit is worth in bits: fits, saves, loads, and prints a digest of every answer.
PROGRAM = """
import hashlib, sys, warnings
import pandas as pd, torch
from latentode import LatentODE
from tests.conftest import make_frame

torch.set_num_threads(1)
frame = make_frame()
filters = list(warnings.filters)
model = LatentODE("patient", "hours", max_iter=6, random_state=3).fit(frame)
assert warnings.filters == filters, "torch imports sympy at its first optimiser, which adds filters"
model.save(sys.argv[1])

def digest(model):
    answers = [
        model.predict(frame, level=90),
        model.forecast(frame, 5.0, 3),
        model.sample(frame, [1.0, 20.0], n_samples=3),
        model.sample_prior(3),
        model.encode(frame),
        model.score_samples(frame),
        pd.DataFrame(model.history_).drop(columns="seconds"),
    ]
    text = "".join(pd.util.hash_pandas_object(answer).to_csv() for answer in answers)
    weights = b"".join(tensor.numpy().tobytes() for tensor in model.module_.state_dict().values())
    return hashlib.sha256(text.encode() + weights + repr(model.score(frame)).encode()).hexdigest()

print(digest(model))
print(digest(LatentODE.load(sys.argv[1])))
"""


def run(path, hash_seed):
    """The digests that a fresh process prints, its hashes seeded otherwise."""
    environment = os.environ | {"PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_two_processes_fit_save_and_load_the_same_bits(tmp_path):
    one, other = run(tmp_path / "one", 0), run(tmp_path / "other", 1)
    assert one[0] == one[1] == other[0] == other[1]
    # The files differ in the seconds that a fit took, and in nothing else that answers depend on.
    assert LatentODE.load(tmp_path / "one").score(make_frame()) == LatentODE.load(tmp_path / "other").score(
        make_frame()
    )


def everything_global():
    """All that a library might change behind its user's back."""
    return {
        "torch's random state": torch.get_rng_state().numpy().tobytes(),
        "NumPy's random state": repr(np.random.get_state()),  # noqa: NPY002 - it is what must not change
        "Python's random state": random.getstate(),
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "anomalies": torch.is_anomaly_enabled(),
        "NumPy's errors": np.geterr(),
        "matplotlib": dict(mpl.rcParams),
        "warnings": list(warnings.filters),
        "pandas": {name: pd.get_option(name) for name in ("display.max_rows", "display.precision")},
        "folder": os.getcwd(),
        # torch notes the folder of its compiler's cache there, at its first optimiser.
        "environment": {name: value for name, value in os.environ.items() if not name.startswith("TORCH")},
    }


@pytest.mark.parametrize("seed", [0, None])
def test_nothing_global_is_touched(tmp_path, seed):
    frame = make_frame()
    torch.set_default_dtype(torch.float64)  # not the default, so that setting it would be seen too
    try:
        before = everything_global()
        model = LatentODE("patient", "hours", max_iter=3, random_state=seed).fit(frame)
        model.predict(frame, level=90)
        model.forecast(frame, 2.0)
        model.sample(frame, n_samples=2, random_state=seed)
        model.sample_prior(2, random_state=seed)
        model.impute(frame)
        model.encode(frame)
        model.score(frame)
        model.score_samples(frame)
        model.set_solver(method="dopri5").predict(frame)
        model.save(tmp_path / "m")
        LatentODE.load(tmp_path / "m").predict(frame)
        axes = plotting.plot_trajectories(model, frame, series=["p0"], horizon=2.0)
        mpl.pyplot.close(np.ravel(axes)[0].figure)
        after = everything_global()
    finally:
        torch.set_default_dtype(torch.float32)
    for name, state in before.items():
        assert after[name] == state, f"{name} changed"


def test_a_failed_fit_touches_nothing_either():
    frame = make_frame()
    before = everything_global()
    with pytest.raises(ValueError, match="infinite"):
        LatentODE("patient", "hours", random_state=0).fit(frame.assign(hr=np.inf))
    assert everything_global() == before


def test_a_fitted_models_answers_do_not_depend_on_the_default_dtype(fitted):
    frame = make_frame()
    one = fitted.predict(frame, level=90)
    drawn = fitted.sample(frame, [1.0], n_samples=2)
    torch.set_default_dtype(torch.float64)
    try:
        pd.testing.assert_frame_equal(fitted.predict(frame, level=90), one)
        pd.testing.assert_frame_equal(fitted.sample(frame, [1.0], n_samples=2), drawn)
    finally:
        torch.set_default_dtype(torch.float32)


def test_other_random_numbers_drawn_in_between_do_not_matter(fitted):
    frame = make_frame()
    one = fitted.sample(frame, [1.0], n_samples=2)
    torch.rand(7), np.random.random(3), random.random()  # noqa: NPY002
    pd.testing.assert_frame_equal(fitted.sample(frame, [1.0], n_samples=2), one)


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_a_fit_takes_gradients_whatever_its_caller_has_turned_off(off):
    frame = make_frame()
    expected = LatentODE("patient", "hours", max_iter=3, random_state=0).fit(frame)
    with off():
        model = LatentODE("patient", "hours", max_iter=3, random_state=0).fit(frame)
        assert not torch.is_grad_enabled()
    pd.testing.assert_frame_equal(model.predict(frame), expected.predict(frame), check_exact=True)
    model.set_params(warm_start=True).fit(frame)


@contextmanager
def default_device(name):
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


@pytest.mark.parametrize("chosen", [default_device, torch.device])
def test_the_default_device_does_not_matter(chosen, tmp_path):
    """Tensors on the meta device hold no values: whatever is made there shows."""
    frame = make_frame()

    def answers(path):
        model = LatentODE("patient", "hours", max_iter=3, random_state=0).fit(frame)
        model.save(path)
        model.set_solver(method="dopri5")
        latent = model.latent(frame)
        return [
            model.predict(frame, level=90),
            model.forecast(frame, 2.0),
            model.sample(frame, n_samples=2, random_state=0),
            model.sample_prior(2, random_state=0),
            model.impute(frame),
            model.encode(frame),
            latent,
            model.velocity(latent),
            model.score_samples(frame),
            pd.DataFrame({"score": [model.score(frame)], "error": [model.solver_report_.error]}),
            LatentODE.load(path).predict(frame),
        ]

    expected = answers(tmp_path / "one")
    with chosen("meta"):
        found = answers(tmp_path / "other")
        assert torch.empty(0).is_meta
    for one, other in zip(found, expected, strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_every_public_method_is_kept_from_the_default_device():
    methods = [name for name, _ in inspect.getmembers(LatentODE, callable) if not name.startswith("_")]
    ours = [getattr(LatentODE, name) for name in methods]
    ours = [method for method in ours if method.__module__.startswith("latentode")]
    assert len(ours) > 12
    assert all(hasattr(method, "__wrapped__") for method in ours)


def test_threads_may_fit_and_ask_at_once(fitted):
    frame = make_frame()

    def fit(_):
        return (
            LatentODE("patient", "hours", max_iter=3, residual="ou", random_state=0).fit(frame).predict(frame)
        )

    expected = fitted.predict(frame, level=90)
    with ThreadPoolExecutor(4) as threads:
        for found in threads.map(lambda _: fitted.predict(frame, level=90), range(8)):
            pd.testing.assert_frame_equal(found, expected, check_exact=True)
        first, *others = threads.map(fit, range(4))
    for found in others:
        pd.testing.assert_frame_equal(found, first, check_exact=True)
