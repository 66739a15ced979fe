"""From TFDS's files: right when they are, and an error that helps when they are not."""

import json
import os

import numpy as np
import pytest
import requests

from keras_wrn.data import load_arrays
from keras_wrn.errors import DataError

FILE = "svhn_cropped-test.tfrecord-00000-of-00001"


def folder(data_dir):
    return data_dir / "svhn_cropped" / "3.1.0"


def as_set(images, labels):
    return {(image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)}


def test_svhn_is_prepared_and_read_whole(prepared_svhn, svhn_source):
    for split, extra, names in (
        ("test", True, ["test"]),
        ("train", True, ["train", "extra"]),
        ("train", False, ["train"]),
    ):
        images, labels = load_arrays("svhn_cropped", split, data_dir=prepared_svhn, extra=extra)
        assert images.dtype == "uint8" and labels.dtype == "int32"
        expected = set()
        for name in names:
            source, digits = svhn_source[name]
            expected |= as_set(np.moveaxis(source, -1, 0), digits.ravel() % 10)  # 10 stands for 0
        assert as_set(images, labels) == expected and len(images) == len(expected)


def test_tfds_data_dir_is_honoured(prepared_svhn, run_python):
    code = (
        "from keras_wrn.data import load_arrays\n"
        "print('shape', load_arrays('svhn_cropped', 'test')[0].shape)"
    )
    assert "shape (20, 32, 32, 3)" in run_python(code, TFDS_DATA_DIR=str(prepared_svhn))


def remove_extra(data_dir):
    path = folder(data_dir) / "dataset_info.json"
    info = json.loads(path.read_text())
    info["splits"] = [split for split in info["splits"] if split["name"] != "extra"]
    path.write_text(json.dumps(info))


def test_without_extra_the_message_says_how_to_go_on(svhn):
    remove_extra(svhn)
    with pytest.raises(DataError, match=r"no split 'extra', only \['test', 'train'\].*no-extra"):
        load_arrays("svhn_cropped", "train", data_dir=svhn)
    images, _ = load_arrays("svhn_cropped", "train", data_dir=svhn, extra=False)
    assert len(images) == 30
    assert len(load_arrays("svhn_cropped", "test", data_dir=svhn)[0]) == 20


def flip_byte(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)


def cut_at_a_record(path):
    """Keep the first record alone: what is left is a sound file."""
    content = path.read_bytes()
    path.write_bytes(content[: 16 + int.from_bytes(content[:8], "little")])


def shorten(path):
    path.write_bytes(path.read_bytes()[:10_000])


@pytest.mark.parametrize(
    "damage",
    [
        shorten,
        cut_at_a_record,
        lambda path: flip_byte(path, 5_000),
        lambda path: flip_byte(path, 0),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
    ],
    ids=["truncated", "cut_at_a_record", "pixel", "length", "empty", "missing"],
)
def test_a_damaged_file_is_named(svhn, damage):
    damage(folder(svhn) / FILE)
    with pytest.raises(DataError, match=f"{FILE}.*Delete the folder.*3.1.0 and prepare"):
        load_arrays("svhn_cropped", "test", data_dir=svhn)
    assert len(load_arrays("svhn_cropped", "train", data_dir=svhn)[0]) == 55


def test_more_examples_than_announced_are_an_error(svhn):
    path = folder(svhn) / "dataset_info.json"
    path.write_text(path.read_text().replace('"20"', '"19"'))
    with pytest.raises(DataError, match=f"{FILE} holds 20 records, and should hold 19"):
        load_arrays("svhn_cropped", "test", data_dir=svhn)


def test_damaged_metadata_is_named(svhn):
    (folder(svhn) / "dataset_info.json").write_text("{ nonsense")
    with pytest.raises(DataError, match=r"cannot open svhn_cropped in .*dataset_info\.json"):
        load_arrays("svhn_cropped", "test", data_dir=svhn)


def test_missing_metadata_is_an_error_without_a_download(svhn, no_network):
    (folder(svhn) / "dataset_info.json").unlink()
    with pytest.raises(DataError, match=r"3\.1\.0 has no dataset_info\.json.*Delete the folder"):
        load_arrays("svhn_cropped", "test", data_dir=svhn)


def test_a_label_that_is_no_class_is_an_error_that_names_the_field(svhn, monkeypatch):
    import dataclasses

    from keras_wrn.data import datasets

    info = dataclasses.replace(datasets.DATASETS["svhn_cropped"], class_names=("0", "1", "2"))
    monkeypatch.setitem(datasets.DATASETS, "svhn_cropped", info)
    with pytest.raises(DataError, match=r"field 'label' should be in 0\.\.2.*labels 0 to 9"):
        load_arrays("svhn_cropped", "test", data_dir=svhn)


@pytest.fixture
def no_network(monkeypatch):
    """Offline: hosts do not answer, and TFDS's own attempt, which takes minutes, is a failure."""
    import tensorflow_datasets as tfds

    def head(url, timeout):
        assert timeout <= 30
        raise requests.ConnectionError("Name or service not known")

    def prepare(self):
        if not self.data_path.exists():
            pytest.fail("TFDS was asked to download")

    monkeypatch.setattr(requests, "head", head)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", prepare)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn_cropped"])
def test_offline_a_missing_dataset_is_a_short_error_at_once(name, tmp_path, no_network):
    with pytest.raises(DataError) as raised:
        load_arrays(name, "test", data_dir=tmp_path)
    message = str(raised.value)
    assert f"{name} is not prepared in {tmp_path}" in message
    assert "--data-dir or TFDS_DATA_DIR, or go online" in message
    assert len(message) < 300 + len(str(tmp_path)) and "\n" not in message
    assert not any(tmp_path.iterdir())  # nothing left behind


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device"), "OSError.*No space left.*TFDS_DATA_DIR"),
        (ValueError("first\nsecond"), "ValueError: first. Give"),
        (ModuleNotFoundError("No module named 'importlib_resources'"), "Install it.*scipy"),
    ],
)
def test_a_failed_preparation_says_why(error, message, tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    def prepare(self):
        raise error

    monkeypatch.setattr(requests, "head", lambda url, timeout: None)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", prepare)
    with pytest.raises(DataError, match=message):
        load_arrays("svhn_cropped", "test", data_dir=tmp_path)


def test_downloads_that_are_there_are_used_offline(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    calls = []
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "train.mat").write_text("")
    monkeypatch.setattr(requests, "head", lambda url, timeout: pytest.fail("asked a host"))
    prepare = lambda self: calls.append(self.name)  # noqa: E731
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", prepare)
    with pytest.raises(DataError):
        load_arrays("svhn_cropped", "test", data_dir=tmp_path)
    assert len(calls) == 1


def test_a_wrong_data_directory_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent' does not exist.*holds cifar10/"):
        load_arrays("cifar10", "test", data_dir=tmp_path / "absent")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file' does not exist"):
        load_arrays("cifar10", "test", data_dir=tmp_path / "file")


@pytest.mark.parametrize("inside", ["svhn_cropped", "svhn_cropped/3.1.0"])
def test_the_datasets_own_folder_is_told_from_its_parent(svhn, inside):
    with pytest.raises(DataError) as raised:
        load_arrays("svhn_cropped", "test", data_dir=svhn / inside)
    assert f"holds svhn_cropped/: {str(svhn)!r}" in str(raised.value)


def test_a_home_directory_is_expanded(prepared_svhn, monkeypatch):
    monkeypatch.setenv("HOME", str(prepared_svhn.parent))
    images, _ = load_arrays("svhn_cropped", "test", data_dir=os.path.join("~", prepared_svhn.name))
    assert len(images) == 20


def test_the_packages_that_tfds_does_not_declare_are_there():
    """SVHN's preparation needs them: `prepared_svhn` above fails without."""
    import importlib_resources
    import scipy.io

    assert importlib_resources and scipy.io


@pytest.mark.parametrize("below", [".", ".."])
def test_a_relative_path_into_the_dataset_is_named(svhn, monkeypatch, below):
    monkeypatch.chdir(folder(svhn))
    with pytest.raises(DataError, match=r"is a dataset's own folder.*holds svhn_cropped/"):
        load_arrays("svhn_cropped", "test", data_dir=below)
