"""Ctrl-C ends a fit with a model."""

import json
import os
import signal
import threading
import time

import pytest
import torch

from latentode import TrainingOptions, train
from latentode.fitting import fit as fitting
from latentode.training import Checkpoint, loop
from tests.problems import held_waves, noisy_waves, small_model
from tests.processes import start
from tests.unbroken import checkpoint_always, make_model, summary


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fit.checkpoint"


@pytest.fixture
def always(monkeypatch):
    checkpoint_always(monkeypatch.setattr)


def interrupt_at(iteration):
    def progress(record):
        if record.iteration >= iteration:
            raise KeyboardInterrupt

    return progress


def fit(progress, pairs=None):
    model = small_model()
    options = TrainingOptions(max_iter=40, n_checks=20, batch_size=8)
    generator = torch.Generator().manual_seed(0)
    return model, train(model, noisy_waves(), options, generator, validation=pairs, progress=progress)


def test_an_interrupt_keeps_the_best_weights():
    pairs = held_waves()
    model, history = fit(interrupt_at(12), pairs)
    assert [record.ended for record in history] == [""] * 5 + ["interrupt"]
    assert not model.training
    best = max(record.validation for record in history)
    assert loop._score(model, pairs) == best


def test_an_interrupt_without_validation_keeps_the_weights_of_the_last_check():
    seen = []
    sound = small_model()
    options = TrainingOptions(max_iter=40, n_checks=20, batch_size=8)
    train(
        sound,
        noisy_waves(),
        options,
        torch.Generator().manual_seed(0),
        progress=lambda _: seen.append({name: tensor.clone() for name, tensor in sound.state_dict().items()}),
    )
    model, _ = fit(interrupt_at(12))
    assert all(torch.equal(tensor, seen[5][name]) for name, tensor in model.state_dict().items())


def test_an_interrupt_works_in_a_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(fit(interrupt_at(6))[1]))
    thread.start()
    thread.join()
    assert found[0][-1].ended == "interrupt"


def test_an_interrupt_before_the_first_check_is_raised(frame, monkeypatch):
    def interrupting(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "elbo", interrupting)
    model = make_model(None, 20)
    with pytest.raises(KeyboardInterrupt):
        model.fit(frame)
    assert not hasattr(model, "module_")


@pytest.mark.usefixtures("always")
def test_a_second_interrupt_is_raised(frame, path, monkeypatch):
    def interrupting(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "write", interrupting)  # the first, amid training
    with monkeypatch.context() as patched:
        patched.setattr(fitting, "_probe", interrupting)  # the second, after it
        with pytest.raises(KeyboardInterrupt):
            make_model(path, 20).fit(frame)
    said = "training was interrupted after its check at step 1 of 20"
    with pytest.warns(UserWarning, match=said) as caught:
        model = make_model(path, 20).fit(frame)
    assert caught[0].filename == __file__  # it points at the line that called fit
    assert model.history_.ended.tolist() == ["interrupt"]


@pytest.mark.usefixtures("always")
@pytest.mark.filterwarnings("ignore:training was interrupted")
def test_an_interrupted_warm_start_goes_on_from_what_it_had_started_from(frame, path, monkeypatch):
    def model():
        return make_model(None, 10).fit(frame).set_params(warm_start=True, checkpoint=path, max_iter=12)

    expected = summary(model().fit(frame))
    cut_off = model()
    write, count = Checkpoint.write, iter(range(100))

    def interrupting(self, *packed):
        write(self, *packed)
        if next(count) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "write", interrupting)
    cut_off.fit(frame)
    assert cut_off.history_.ended.iloc[-1] == "interrupt"
    assert path.exists()
    assert summary(cut_off.fit(frame)) == expected


def test_a_fit_that_ended_says_why(frame):
    history = make_model(None, 20).fit(frame).history_
    assert history.ended.tolist() == [""] * (len(history) - 1) + ["max_iter"]


def test_ctrl_c_ends_a_fit_with_a_model(path, tmp_path):
    process, _ = start(path, tmp_path / "answer", 20_000)
    try:
        deadline = time.monotonic() + 300
        while not path.exists():  # its first check
            time.sleep(0.05)
            assert process.is_alive()
            assert time.monotonic() < deadline
        os.kill(process.pid, signal.SIGINT)
        process.join(300)
        assert process.exitcode == 0
    finally:
        process.kill()
    answer = json.loads((tmp_path / "answer").read_text())
    assert answer["finite"]
    assert "interrupt" in answer["history"]["ended"].values()
    (message,) = [text for text in answer["warnings"] if "interrupted" in text]
    assert "training was interrupted after its check at step" in message
    assert f"The same call of fit goes on from the checkpoint {path}" in message
    assert path.exists()
