"""A saved model predicts the same bits; anything else in the file is an error."""

import zipfile

import numpy as np
import pandas as pd
import pytest

from latentode import LatentODE
from latentode.persistence import FORMAT_VERSION, read_model_file


@pytest.fixture
def path(fitted, tmp_path):
    fitted.save(tmp_path / "m.latentode")
    return tmp_path / "m.latentode"


def test_a_loaded_model_predicts_the_same_bits(fitted, frame, path):
    loaded = LatentODE.load(path)
    pd.testing.assert_frame_equal(loaded.predict(frame, level=90), fitted.predict(frame, level=90))
    pd.testing.assert_frame_equal(loaded.sample(frame, [40.0]), fitted.sample(frame, [40.0]))
    pd.testing.assert_frame_equal(loaded.sample_prior(2), fitted.sample_prior(2))
    pd.testing.assert_frame_equal(loaded.history_, fitted.history_)
    assert loaded.score(frame) == fitted.score(frame)
    assert loaded.get_params() == fitted.get_params()


def test_the_file_holds_the_parameters_of_the_fit(frame, tmp_path):
    model = LatentODE("patient", "hours", latent_dim=3, max_iter=1, random_state=0).fit(frame)
    model.set_params(latent_dim=9).save(tmp_path / "m")
    assert LatentODE.load(tmp_path / "m").latent_dim == 3


def test_a_loaded_model_keeps_roles_and_clock(frame, tmp_path):
    zoned = frame.assign(hours=pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(frame.hours, "h"))
    zoned = zoned.set_index(["patient", "hours"])
    model = LatentODE(residual=["ou", "iou", "matern32"], max_iter=3, random_state=0).fit(zoned)
    model.save(tmp_path / "m")
    loaded = LatentODE.load(tmp_path / "m")
    pd.testing.assert_frame_equal(loaded.forecast(zoned, "3h", 2), model.forecast(zoned, "3h", 2))
    with pytest.raises(TypeError, match="kind 'number'"):
        loaded.predict(frame.set_index(["patient", "hours"]))


def test_any_flipped_byte_is_found(path, tmp_path):
    content = path.read_bytes()
    random = np.random.default_rng(0)
    for place in random.integers(0, len(content), 200):
        spoilt = bytearray(content)
        spoilt[place] ^= 1 << int(random.integers(8))
        (tmp_path / "spoilt").write_bytes(spoilt)
        with pytest.raises(ValueError, match=r"damaged|no saved latentode model|newer latentode"):
            LatentODE.load(tmp_path / "spoilt")


def test_any_truncation_is_found(path, tmp_path):
    content = path.read_bytes()
    for length in np.linspace(0, len(content) - 1, 60).astype(int):
        (tmp_path / "short").write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"damaged|no saved latentode model"):
            LatentODE.load(tmp_path / "short")


def test_other_files_are_named(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"x\.csv is no saved latentode model"):
        LatentODE.load(tmp_path / "x.csv")
    with pytest.raises(FileNotFoundError):
        LatentODE.load(tmp_path / "nothing")


def test_a_newer_format_says_so(path, tmp_path):
    newer = path.read_bytes().replace(b"model %d " % FORMAT_VERSION, b"model %d " % (FORMAT_VERSION + 1), 1)
    (tmp_path / "newer").write_bytes(newer)
    with pytest.raises(ValueError, match="install a newer latentode"):
        LatentODE.load(tmp_path / "newer")


def test_the_file_is_a_plain_archive_without_pickles(path):
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    assert "model.json" in names
    assert all(name == "model.json" or name.endswith(".npy") for name in names)
    description, _ = read_model_file(path)
    assert description["clock"] == {"kind": "number", "aware": False}


def test_a_failed_save_leaves_the_old_file(fitted, path):
    before = path.read_bytes()
    broken = LatentODE("patient", "hours")
    broken.__dict__ |= {name: value for name, value in fitted.__dict__.items() if name.endswith("_")}
    broken.fit_parameters_ = fitted.fit_parameters_ | {"random_state": object()}
    with pytest.raises(TypeError, match="random_state holds"):
        broken.save(path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]
