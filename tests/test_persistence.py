"""A saved model predicts the same bits; anything else in the file is an error."""

import hashlib
import io
import json
import re
import zipfile

import numpy as np
import pandas as pd
import pytest

from latentode import LatentODE, archive
from latentode.persistence import FORMAT_VERSION, read_model_file
from tests.conftest import no_room_beyond
from tests.data import FOLDER as DATA
from tests.data import make_model


@pytest.fixture
def path(fitted, tmp_path):
    fitted.save(tmp_path / "m.latentode")
    return tmp_path / "m.latentode"


@pytest.mark.filterwarnings("ignore:times are asked that lie up to")
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


# ---------------------------------------------------------------- damage


def _flip(content, random):
    for place in random.integers(0, len(content), random.integers(1, 5)):
        content[place] ^= 1 << int(random.integers(8))


def _cut(content, random):
    del content[int(random.integers(0, len(content))) :]


def _cut_front(content, random):
    del content[: int(random.integers(1, len(content)))]


def _insert(content, random):
    place = int(random.integers(0, len(content)))
    content[place:place] = random.bytes(int(random.integers(1, 40)))


def _remove(content, random):
    place = int(random.integers(0, len(content)))
    del content[place : place + int(random.integers(1, 40))]


def _zero(content, random):
    place, length = int(random.integers(0, len(content))), int(random.integers(1, 4096))
    content[place : place + length] = bytes(len(content[place : place + length]))


def _swap(content, random):
    size = int(random.integers(1, 512))
    one, other = sorted(random.integers(0, len(content) - size, 2).tolist())
    if other - one >= size:
        content[one : one + size], content[other : other + size] = (
            content[other : other + size],
            content[one : one + size],
        )


def _append(content, random):
    content += random.bytes(int(random.integers(1, 40)))


def _spoil_header(content, random):
    content[int(random.integers(0, 83))] = int(random.integers(0, 256))


DAMAGES = [_flip, _cut, _cut_front, _insert, _remove, _zero, _swap, _append, _spoil_header]
CLEAR = r"is damaged: its contents do not match|is no saved latentode model|install a newer latentode"


def check_damaged_files(folder, n_files, seed):
    """Each is refused in plain words, or says what the whole file says."""
    frame = pd.read_csv(DATA / "model-1-frame.csv")
    whole = (DATA / "model-1.latentode").read_bytes()
    expected = LatentODE.load(DATA / "model-1.latentode").predict(frame)
    random = np.random.default_rng(seed)
    refused = 0
    for number in range(n_files):
        content = bytearray(whole)
        DAMAGES[number % len(DAMAGES)](content, random)
        (folder / "spoilt").write_bytes(content)
        try:
            loaded = LatentODE.load(folder / "spoilt")
        except ValueError as failure:
            assert re.search(CLEAR, str(failure)), failure  # noqa: PT017
            refused += 1
        else:
            pd.testing.assert_frame_equal(loaded.predict(frame), expected, check_exact=True)
            assert content == whole
    assert refused > 0.97 * n_files  # a few zeroed zeros, or two equal blocks that changed places


def test_damaged_files_are_refused(tmp_path):
    check_damaged_files(tmp_path, 450, seed=0)


N_DAMAGED = 10_000


@pytest.mark.slow
def test_ten_thousand_damaged_files_are_refused(tmp_path):
    check_damaged_files(tmp_path, N_DAMAGED, seed=1)


# ---------------------------------------------------------------- files of bad will: their checksum is right


def sealed(path, body):
    path.write_bytes(b"latentode model 1 " + hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    return path


def zipped(members, compression=zipfile.ZIP_DEFLATED):
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return body.getvalue()


def members_of(path):
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def npy(array, **changes):
    buffer = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": array.shape} | changes
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + array.astype("f4").tobytes()


def describe(**changes):
    def change(members):
        description = json.loads(members["model.json"]) | changes
        return members | {"model.json": json.dumps(description)}

    return change


def deepen(field, **changes):
    def change(members):
        description = json.loads(members["model.json"])
        description[field] |= changes
        return members | {"model.json": json.dumps(description)}

    return change


def tensor(content):
    return lambda members: members | {"tensors/scaling.center.npy": content}


def without(name):
    return lambda members: {key: value for key, value in members.items() if key != name}


NUMBERS = np.zeros(3)
CURVES = ("ahead.leads", "ahead.scores", "between.leads", "between.scores")
PICKLED = io.BytesIO()
np.save(PICKLED, np.array([{"a": 1}], dtype=object), allow_pickle=True)
ILL_WILLED = {
    "no description": (without("model.json"), "although its checksum is right: .*model.json"),
    "no json": (lambda m: m | {"model.json": "{"}, "although its checksum is right"),
    "a list as description": (lambda m: m | {"model.json": "[1]"}, "holds no description"),
    "endless nesting": (lambda m: m | {"model.json": "[" * 100_000}, "although its checksum is right"),
    "no text": (lambda m: m | {"model.json": b"\xff\xfe\x00\xff"}, "although its checksum is right"),
    "a pickle": (tensor(PICKLED.getvalue()), "holds object, which are no numbers"),
    "text as tensor": (tensor(b"no array"), "although its checksum is right"),
    "a huge shape": (tensor(npy(NUMBERS, shape=(10**18,))), "another number of bytes"),
    "a huge matrix": (tensor(npy(NUMBERS, shape=(2**40, 2**40))), "another number of bytes"),
    "a negative shape": (tensor(npy(NUMBERS, shape=(-1, -3))), "another number of bytes"),
    "words": (tensor(npy(NUMBERS, descr="<U1")), "which are no numbers"),
    "too few numbers": (tensor(npy(NUMBERS, shape=(4,))), "another number of bytes"),
    "another number of channels": (tensor(npy(np.zeros(2))), "scaling has another number of channels"),
    "a tensor is missing": (without("tensors/scaling.spread.npy"), "can't make a model of it: KeyError"),
    "a weight is missing": (
        without("tensors/module.likelihood.raw_noise.npy"),
        "don't have the shapes of its networks",
    ),
    "a tensor too many": (
        lambda m: m | {"tensors/module.more.npy": npy(NUMBERS)},
        "don't have the shapes of its networks",
    ),
    "networks of another size": (
        deepen("architecture", latent_dim=4),
        "don't have the shapes of its networks",
    ),
    "networks of a size no machine holds": (
        deepen("architecture", encoder_units=10**6),
        "don't have the shapes of its networks",
    ),
    "networks of a size no number holds": (deepen("architecture", encoder_units=10**9), "can't make a model"),
    "a setting of the future": (
        deepen("architecture", attention=True),
        "latentode 0.1.0, and .*unexpected keyword",
    ),
    "no architecture": (describe(architecture=None), "can't make a model of it"),
    "an unknown solver": (deepen("solver", method="magic"), "unknown solver method 'magic'"),
    "an unknown dtype": (describe(dtype="object"), "can't make a model of it: KeyError"),
    "a parameter of the future": (
        deepen("parameters", horizon=3),
        r"does not know: \['horizon'\]; install a newer",
    ),
    "parameters that are none": (describe(parameters=[1]), "can't make a model of it"),
    "signal of other channels": (describe(signal=[{}]), "signal has another number of channels"),
    "a history of the future": (describe(history=[{"loss": 1}]), "can't make a model of it"),
    "half a calibration": (
        lambda m: m | {"tensors/calibration.ahead.leads.npy": npy(NUMBERS)},
        "can't make a model of it: KeyError",
    ),
    "a calibration of other channels": (
        lambda m: m | {f"tensors/calibration.{name}.npy": npy(NUMBERS) for name in CURVES},
        "calibration doesn't have the shape of its channels",
    ),
}


@pytest.mark.parametrize("name", ILL_WILLED)
def test_files_of_ill_will_are_refused(tmp_path, name):
    change, message = ILL_WILLED[name]
    file = sealed(tmp_path / "ill", zipped(change(members_of(DATA / "model-1.latentode"))))
    with pytest.raises(ValueError, match=message):
        LatentODE.load(file)


def test_a_small_file_that_unpacks_to_a_huge_one_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MOST_BYTES", 2**24)
    bomb = zipped(members_of(DATA / "model-1.latentode") | {"tensors/bomb.npy": bytes(2**25)})
    assert len(bomb) < 2**18
    with pytest.raises(ValueError, match=r"it unpacks to 33.* bytes; none takes more"):
        LatentODE.load(sealed(tmp_path / "bomb", bomb))


def test_an_archive_that_is_none_is_refused(tmp_path):
    for body in (b"", b"no archive at all", zipped({})[:-4]):
        with pytest.raises(
            ValueError, match=r"is no saved latentode model .*, although its checksum is right"
        ):
            LatentODE.load(sealed(tmp_path / "none", body))


def test_a_file_sealed_again_unchanged_is_read(tmp_path):
    """The refusals above are of what was changed in it."""
    file = sealed(tmp_path / "same", zipped(members_of(DATA / "model-1.latentode"), zipfile.ZIP_STORED))
    frame = pd.read_csv(DATA / "model-1-frame.csv")
    pd.testing.assert_frame_equal(
        LatentODE.load(file).predict(frame), LatentODE.load(DATA / "model-1.latentode").predict(frame)
    )


# ---------------------------------------------------------------- files of other times and places


@pytest.mark.parametrize("name", ["model-1", "model-1-shortcuts"])
def test_a_file_of_the_first_format_is_read_for_ever(name):
    model = LatentODE.load(DATA / f"{name}.latentode")
    assert model.residual_ == ("ou", "matern32", "iou")
    assert np.isfinite(model.solver_report_.error)  # although such files hold nothing to judge it on
    frame = pd.read_csv(DATA / "model-1-frame.csv")
    expected = pd.read_csv(DATA / f"{name}-answers.csv")
    # Another machine or torch sums in another order: single precision, relative to each channel's spread.
    found = make_model.ask(model, frame)
    for column in expected.columns[2:]:
        spread = model.scaling_.spread[model.value_cols_.index(column.split("-")[0])]
        assert (found[column] - expected[column]).abs().max() < 1e-3 * spread, column


def test_a_file_says_which_version_wrote_it_and_in_which_format():
    content = (DATA / "model-1.latentode").read_bytes()
    assert content.startswith(b"latentode model 1 ")
    assert read_model_file(DATA / "model-1.latentode")[0]["written_by"] == "0.1.0"


def test_an_unknown_device_is_named(path):
    with pytest.raises(ValueError, match="device='abacus' can't be used"):
        LatentODE.load(path, device="abacus")


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


def test_a_full_disk_leaves_the_old_file(fitted, path):
    before = path.read_bytes()
    for name, kept in ((path, "; the file that was there is whole"), (path.with_name("new"), "")):
        said = rf"the model could not be saved \(File too large\){kept}: '.*{name.name}'"
        with no_room_beyond(2000), pytest.raises(OSError, match=said):
            fitted.save(name)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    with pytest.raises(FileNotFoundError, match="nowhere is no folder; make it before saving m there"):
        fitted.save(path.parent / "nowhere" / "m")


def test_columns_named_by_tuples_keep_their_names(frame, tmp_path):
    wide = frame.set_index(["patient", "hours"])
    wide.columns = pd.MultiIndex.from_tuples([("vital", "hr"), ("vital", 7), ("none", None)])
    model = LatentODE(max_iter=1, residual="ou", random_state=0).fit(wide)
    model.save(tmp_path / "m")
    loaded = LatentODE.load(tmp_path / "m")
    pd.testing.assert_frame_equal(loaded.predict(wide), model.predict(wide))
    assert str(loaded.summary()) == str(model.summary())
    flat = frame.rename(columns={"patient": ("id", 1), "hours": ("t", 2), "hr": ("hr", 3)})
    roles = {"id_col": ("id", 1), "time_col": ("t", 2), "value_cols": [("hr", 3), "temp"]}
    model = LatentODE(**roles, max_iter=1, residual="ou", random_state=0).fit(flat)
    model.save(tmp_path / "m")
    loaded = LatentODE.load(tmp_path / "m")
    assert {name: loaded.get_params()[name] for name in roles} == roles
    pd.testing.assert_frame_equal(loaded.forecast(flat, 2.0, 2), model.forecast(flat, 2.0, 2))
    model = LatentODE("patient", "hours", max_iter=1, residual="ou", random_state=0)
    odd = model.fit(frame.rename(columns={"hr": pd.Timestamp("2024")}))
    with pytest.raises(
        TypeError, match="can't be written to a file; name columns by text, numbers or tuples"
    ):
        odd.save(tmp_path / "m")


def test_a_failed_save_leaves_the_old_file(fitted, path):
    before = path.read_bytes()
    broken = LatentODE("patient", "hours")
    broken.__dict__ |= {name: value for name, value in fitted.__dict__.items() if name.endswith("_")}
    broken.fit_parameters_ = fitted.fit_parameters_ | {"random_state": object()}
    with pytest.raises(TypeError, match="random_state holds"):
        broken.save(path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]
