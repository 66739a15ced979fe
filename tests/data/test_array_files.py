"""Datasets as array files, for machines without TFDS."""

import numpy as np
import pytest

from keras_wrn.data import array_files, load_arrays, save_array_files
from keras_wrn.errors import DataError

COUNTS = {"train": 50, "test": 30, "extra": 10}


def split_of(split):
    generator = np.random.default_rng(len(split))
    images = generator.integers(0, 256, (COUNTS[split], 32, 32, 3), dtype="uint8")
    return images, generator.integers(0, 10, COUNTS[split]).astype("int32")


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.setattr(array_files, "FILE_IMAGES", 20)
    monkeypatch.setattr(array_files, "read_splits", lambda info, splits, _: split_of(*splits))
    paths = [*save_array_files("cifar10", tmp_path / "arrays"),
             *save_array_files("svhn_cropped", tmp_path / "arrays")]  # fmt: skip
    assert sorted(paths) == sorted((tmp_path / "arrays").iterdir())
    assert len(paths) == (3 + 2) + (3 + 1 + 2)
    return tmp_path / "arrays"


@pytest.mark.parametrize("by_environment", [False, True])
def test_what_was_saved_is_loaded_without_tfds(directory, monkeypatch, by_environment):
    monkeypatch.setitem(__import__("sys").modules, "tensorflow_datasets", None)
    if by_environment:
        monkeypatch.setenv("TFDS_DATA_DIR", str(directory))
    where = None if by_environment else directory
    for split in ("train", "test"):
        for found, expected in zip(
            load_arrays("cifar10", split, data_dir=where), split_of(split), strict=True
        ):
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == expected.dtype
    images, _ = load_arrays("svhn_cropped", "train", data_dir=where)
    together = np.concatenate([split_of("train")[0], split_of("extra")[0]])
    np.testing.assert_array_equal(images, together)
    assert len(load_arrays("svhn_cropped", "train", data_dir=where, extra=False)[0]) == 50


def test_missing_and_damaged_files_are_named(directory):
    path = directory / "cifar10-train-01-of-03.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cifar10-train-01-of-03.npz cannot be read.*Copy it"):
        load_arrays("cifar10", "train", data_dir=directory)
    path.unlink()
    with pytest.raises(DataError, match=r"Expected 3 files cifar10-train-\*.npz.*Received: 2"):
        load_arrays("cifar10", "train", data_dir=directory)


def test_digits_need_no_files(tmp_path):
    with pytest.raises(ValueError, match="should be a dataset of TFDS"):
        save_array_files("digits", tmp_path)
