"""A killed fit goes on from its checkpoint to the same bits."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import time

import numpy as np
import pandas as pd
import pytest
import torch

from latentode import LatentODE, TrainingOptions, train
from latentode.archive import write_archive
from latentode.elbo import elbo
from latentode.training import Checkpoint, checkpoint, loop
from tests.conftest import no_room_beyond
from tests.problems import held_waves, noisy_waves, small_model, times_nan
from tests.processes import start
from tests.unbroken import checkpoint_always, make_model, summary


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fit.checkpoint"


@pytest.fixture
def always(monkeypatch):
    checkpoint_always(monkeypatch.setattr)


class Killed(BaseException):
    pass


@contextlib.contextmanager
def killed_at_write(monkeypatch, number, *, amid=False):
    """Expects to be cut off after the checkpoint's write of that number, or in its middle."""
    calls = iter(range(1, 10_000))
    write = Checkpoint.write

    def cut_off(*_):
        raise Killed

    def killing(self, *state):
        if next(calls) != number:
            return write(self, *state)
        if amid:
            patched.setattr(os, "replace", cut_off)
        write(self, *state)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "write", killing)
        with pytest.raises(Killed):
            yield


def survive_kills(path, answer, n_kills, seed):
    """Kills the fit at random moments until it has been often enough, checking each that ends before.

    Returns:
        How many fits went on with a killed one.
    """
    random = np.random.default_rng(seed)
    process, _ = start(path, answer)
    began = time.monotonic()
    process.join()
    seconds = time.monotonic() - began
    expected = json.loads(answer.read_text())
    n_resumed = 0
    while True:
        answer.unlink()
        answer.touch()
        process, goes_on = start(path, answer)
        n_resumed += goes_on
        process.join(random.uniform(0, 0.7 * seconds) if n_kills else None)
        if process.is_alive():
            process.kill()
            process.join()
        if process.exitcode == -signal.SIGKILL:  # it was not through just before
            n_kills -= 1
            continue
        assert process.exitcode == 0
        assert json.loads(answer.read_text()) == expected
        assert [file.name for file in path.parent.iterdir()] == [answer.name]
        if not n_kills:
            return n_resumed


# ---------------------------------------------------------------- kills


def test_a_fit_killed_once_ends_at_the_same_bits(path, tmp_path):
    assert survive_kills(path, tmp_path / "answer", n_kills=1, seed=1) >= 1


N_KILLS = 20


@pytest.mark.slow
def test_a_fit_killed_twenty_times_ends_at_the_same_bits(path, tmp_path):
    assert survive_kills(path, tmp_path / "answer", n_kills=N_KILLS, seed=0) >= N_KILLS / 2


CUTS = [(1, False), (2, True), (17, True), (39, False), (40, False)]


@pytest.mark.parametrize(
    ("number", "amid"), [pytest.param(*cut, marks=[pytest.mark.slow] * (cut != (2, True))) for cut in CUTS]
)
@pytest.mark.usefixtures("always")
def test_a_fit_cut_off_at_a_write_ends_at_the_same_bits(frame, path, monkeypatch, number, amid):
    expected = summary(make_model(None, 40).fit(frame))
    with killed_at_write(monkeypatch, number, amid=amid):
        make_model(path, 40).fit(frame)
    assert path.exists()
    assert summary(make_model(path, 40).fit(frame)) == expected
    assert not path.exists()


@pytest.mark.usefixtures("always")
def test_rollbacks_and_patience_are_kept_through_a_kill(path, monkeypatch):
    data, options = noisy_waves(), TrainingOptions(max_iter=60, n_checks=30, batch_size=8, patience=3)

    def run(file=None, fault_at=9, stop_at=None):
        model, generator = small_model(), torch.Generator().manual_seed(0)
        kept = None if file is None else Checkpoint(file, {})
        state = {"step": 0 if kept is None or kept.saved is None else kept.saved[0]["iteration"]}

        def spoilt(*arguments, **settings):
            state["step"] += 1
            bound = elbo(*arguments, **settings)
            return times_nan(bound) if state["step"] == fault_at else bound

        def stop(record):
            if record.iteration == stop_at:
                raise Killed

        monkeypatch.setattr(loop, "elbo", spoilt)
        history = train(
            model, data, options, generator, validation=held_waves(), checkpoint=kept, progress=stop
        )
        plain = [{**vars(record), "seconds": 0} for record in history]
        return {name: tensor.tolist() for name, tensor in model.state_dict().items()}, repr(plain)

    expected = run()
    assert "'recoveries': 1" in expected[1]
    for stop_at in (8, 10, 12, 40):
        with pytest.raises(Killed):
            run(path, stop_at=stop_at)
    assert run(path) == expected
    # What had ended is not gone on with.
    assert run(path, fault_at=0) == expected


@pytest.mark.usefixtures("always")
def test_a_warm_start_goes_on_too(frame, path, monkeypatch):
    expected = make_model(None, 20, warm_start=True).fit(frame).fit(frame)
    model = make_model(path, 20, warm_start=True).fit(frame)
    with killed_at_write(monkeypatch, 7):
        model.fit(frame)
    with pytest.raises(ValueError, match=r"the model to start from was sha256 .* and is a fresh one"):
        make_model(path, 20, warm_start=True).fit(frame)
    assert summary(model.fit(frame)) == summary(expected)


@pytest.mark.usefixtures("always")
def test_fitting_again_after_a_fit_that_ended_fits_anew(frame, path):
    model = make_model(path, 10).fit(frame)
    first = model.module_
    assert not path.exists()
    model.set_params(learning_rate=0.02).fit(frame.iloc[5:])
    assert model.module_ is not first


def test_checkpoints_are_rare_and_cheap(path, monkeypatch):
    kept = Checkpoint(path, {})
    now = [100.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    kept._due = 105.0
    assert not kept.is_due

    def slow(*_, **__):
        now[0] += 2.0

    monkeypatch.setattr(checkpoint, "write_archive", slow)
    now[0] = 105.0
    assert kept.is_due
    kept.write({}, {})
    # Two seconds of writing are at most a hundredth of the time until the next.
    now[0] += 199.0
    assert not kept.is_due
    now[0] += 2.0
    assert kept.is_due


# ---------------------------------------------------------------- what is refused


@pytest.fixture
def left(frame, path, monkeypatch):
    """What a killed fit of the frame left."""
    checkpoint_always(monkeypatch.setattr)
    with killed_at_write(monkeypatch, 3):
        make_model(path, 10).fit(frame)
    return path


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_iter": 11}, "max_iter was 10 and is 11"),
        (
            {"kl_weight": 0.2, "task": "extrapolate"},
            "kl_weight was None and is 0.2; task was 'both' and is 'extrapolate'",
        ),
        ({"random_state": 1}, "random_state was 0 and is 1"),
        ({"value_cols": ["hr"]}, r"value_cols was \['hr', 'temp', 'flat'\] and is \['hr'\]"),
    ],
)
def test_a_checkpoint_of_other_parameters_is_refused_by_name(frame, left, settings, message):
    before = left.read_bytes()
    with pytest.raises(ValueError, match=f"{left.name} is the checkpoint of another fit.*{message}"):
        make_model(left, 10).set_params(**settings).fit(frame)
    assert left.read_bytes() == before


def test_a_checkpoint_of_other_data_is_refused(frame, left):
    other = frame.assign(hr=frame.hr.where(frame.index != 7, 81.0))
    with pytest.raises(ValueError, match=r"the data was 14 series.*\(sha256 .*\) and is 14 series"):
        make_model(left, 10).fit(other)


def test_what_changes_no_weight_may_change(frame, left):
    expected = summary(make_model(None, 10).fit(frame))
    parts = [part.sample(frac=1, random_state=0) for _, part in frame.groupby("patient", sort=False)]
    shuffled = pd.concat(parts)
    model = make_model(str(left), np.int64(10), n_samples=3, value_cols=np.array(["hr", "temp", "flat"]))
    assert summary(model.fit(shuffled)) == expected


def test_a_damaged_checkpoint_and_other_files_are_named(frame, left):
    content = left.read_bytes()
    left.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"fit\.checkpoint is damaged.*delete it to fit anew"):
        make_model(left, 10).fit(frame)
    left.write_text("my notes")
    with pytest.raises(ValueError, match=r"fit\.checkpoint is no checkpoint of a fit; name another file"):
        make_model(left, 10).fit(frame)
    write_archive(left, "model", 1, {}, {})
    with pytest.raises(ValueError, match="is no checkpoint of a fit"):
        make_model(left, 10).fit(frame)


def test_a_checkpoint_needs_a_seed(frame, path):
    for seed in (None, np.random.RandomState(0)):
        with pytest.raises(ValueError, match="checkpoint needs an int for random_state"):
            make_model(path, 10).set_params(random_state=seed).fit(frame)


def test_a_place_that_can_not_be_written_is_refused_before_training(frame, path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="nowhere is no folder; make it before the fit"):
        make_model(path.parent / "nowhere" / "x", 10).fit(frame)
    with pytest.raises(IsADirectoryError, match="is a folder; name a file in it"):
        make_model(path.parent, 10).fit(frame)
    monkeypatch.setattr(os, "access", lambda *_: False)  # permissions bind no superuser
    with pytest.raises(PermissionError, match=r"fit\.checkpoint: the folder .* can't be written to"):
        make_model(path, 10).fit(frame)


@pytest.mark.usefixtures("always")
def test_a_full_disk_stops_the_fit_and_leaves_the_last_checkpoint(frame, left):
    before = left.read_bytes()
    said = r"checkpoint could not be written.*the one before is whole"
    with no_room_beyond(20_000), pytest.raises(OSError, match=said) as failure:
        make_model(left, 10).fit(frame)
    assert failure.value.errno == errno.EFBIG
    assert left.read_bytes() == before
    assert [file.name for file in left.parent.iterdir()] == [left.name]
    assert summary(make_model(left, 10).fit(frame)) == summary(make_model(None, 10).fit(frame))


def test_a_folder_that_vanished_is_named(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    kept = Checkpoint(folder / "fit", {})
    folder.rmdir()
    with pytest.raises(FileNotFoundError, match=r"scratch is no folder; make it before saving fit there$"):
        kept.write({}, {})


@pytest.mark.parametrize("name", ["fit", "fit[1]", "*"])
def test_a_fit_that_ended_removes_its_own_files_only(tmp_path, name):
    kept = {f".{name}.notes", f".{name}.12.txt", ".fit1.12", f"{name}.12"}
    for file in {f".{name}.12", *kept}:
        (tmp_path / file).touch()
    Checkpoint(tmp_path / name, {}).remove()
    assert {file.name for file in tmp_path.iterdir()} == kept


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own, where the system lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.usefixtures("always")
def test_a_disk_without_room_or_made_read_only_leaves_the_last_checkpoint(frame, disk, monkeypatch):
    path = disk / "fit.checkpoint"
    with killed_at_write(monkeypatch, 3):
        make_model(path, 10).fit(frame)
    before = path.read_bytes()
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:  # until there is no room
            file.write(bytes(4096))
    with pytest.raises(
        OSError, match=r"could not be written \(No space left on device\); the one before is whole"
    ):
        make_model(path, 10).fit(frame)
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(PermissionError, match=r"fit\.checkpoint: the folder .* can't be written to"):
        make_model(path, 10).fit(frame)
    assert path.read_bytes() == before
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    assert [file.name for file in disk.iterdir()] == [path.name]
    assert summary(make_model(path, 10).fit(frame)) == summary(make_model(None, 10).fit(frame))


def test_a_path_is_a_parameter_like_others(frame, path, tmp_path):
    model = make_model(path, 5).fit(frame)
    model.save(tmp_path / "m")
    assert LatentODE.load(tmp_path / "m").checkpoint == str(path)
    with pytest.raises(TypeError, match="checkpoint"):
        make_model(True).fit(frame)
