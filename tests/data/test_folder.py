"""Folders of images: what is found, what is refused, and the pixels."""

import os

import numpy as np
import pytest
from PIL import Image

from keras_wrn.data import Preprocessing, folder
from keras_wrn.data.folder import (
    find_images,
    fits_memory,
    left_out_text,
    read_folder,
    scan_folder,
    stream_folder,
)
from keras_wrn.data.photo_sets import photo_splits
from keras_wrn.errors import DataError


def make(root, **classes):
    generator = np.random.default_rng(0)
    for name, count in classes.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            pixels = generator.integers(0, 256, (20 + i, 24, 3), dtype="uint8")
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


def test_images_are_found_by_class_and_other_files_left_out(tmp_path):
    make(tmp_path, dog=2, cat=3)
    (tmp_path / "cat" / "Thumbs.db").write_text("")
    (tmp_path / "cat" / ".hidden.png").write_text("")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "cat" / "more").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "cat" / "more" / "X.JPEG")
    found = scan_folder(tmp_path)
    assert found.class_names == ("cat", "dog") and found.labels == (0, 0, 0, 0, 1, 1)
    assert [path.name for path in found.files] == ["0.png", "1.png", "2.png", "X.JPEG", "0.png",
                                                   "1.png"]  # fmt: skip
    assert len(found) == 6


def test_what_is_hidden_anywhere_below_the_folder_is_no_image(tmp_path):
    root = make(tmp_path / ".kept" / "photos", dog=1, cat=1)  # hidden above it: no matter
    for inside in (".ipynb_checkpoints", ".cache/deep", "more/.thumbs"):
        make(root / "cat", **{inside: 1})
    make(root, **{".git": 2})
    assert [path.name for path in scan_folder(root).files] == ["0.png", "0.png"]
    assert [path.parent.name for path in find_images(root)[0]] == ["cat", "dog"]
    assert not scan_folder(root).left_out


def test_files_left_out_by_their_endings_are_counted(tmp_path):
    make(tmp_path, dog=1, cat=1)
    for name in ("a.jfif", "b.JFIF", "c.tif", "d", "e.avif", ".hidden.tif", ".git/x.tif"):
        (tmp_path / "cat" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "cat" / name).write_text("")
    (tmp_path / "dog" / "f.tif").write_text("")
    found = scan_folder(tmp_path)
    assert found.left_out == {".jfif": 2, ".tif": 2, "": 1, ".avif": 1}
    assert left_out_text(found.left_out).startswith(
        "6 files were left out: 2 .jfif, 2 .tif, 1 without ending, 1 .avif; images end in .jpg, "
    )
    assert left_out_text(scan_folder(make(tmp_path / "x", cat=1, dog=1)).left_out) == ""
    make(tmp_path, owl=0)
    (tmp_path / "owl" / "g.heic").write_text("")
    with pytest.raises(DataError, match=r"Received: none in owl.* 1 \.heic"):
        scan_folder(tmp_path)


def test_folders_called_by_all_numbers_are_in_their_order(tmp_path):
    make(tmp_path / "all", **{str(i): 1 for i in range(12)})
    found = scan_folder(tmp_path / "all")
    assert found.class_names == tuple(map(str, range(12)))
    assert [path.parent.name for path in found.files] == list(found.class_names)
    make(tmp_path / "padded", **{name: 1 for name in ("0", "01", "2", "10")})
    assert scan_folder(tmp_path / "padded").class_names == ("0", "01", "10", "2")


def test_names_in_two_unicode_forms_are_one(tmp_path):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    make(tmp_path / "train", **{composed: 4, "bar": 4})
    make(tmp_path / "val", **{decomposed: 1, "bar": 1})
    train, test = photo_splits(tmp_path)
    assert train.class_names == test.class_names == ("bar", composed)
    make(tmp_path / "train", **{decomposed: 2})  # half of it copied from a Mac
    assert scan_folder(tmp_path / "train").labels == (0,) * 4 + (1,) * 6


@pytest.mark.parametrize("name", ["two\nlines", "tab\there", " ", b"caf\xe9"])
def test_a_folder_whose_name_is_no_line_of_text_is_refused(tmp_path, name):
    make(tmp_path, cat=1, dog=1)
    (tmp_path / "dog").rename(tmp_path / os.fsdecode(name))
    with pytest.raises(DataError, match=rf"Sub-folders of {tmp_path} .* a line of text"):
        scan_folder(tmp_path)


def test_a_class_without_images_is_named(tmp_path):
    make(tmp_path, cat=1, dog=1, owl=0)
    with pytest.raises(DataError, match=r"Received: none in owl"):
        scan_folder(tmp_path)


def test_one_class_is_none(tmp_path):
    with pytest.raises(DataError, match=r"at least 2 sub-folders .* Received: cat"):
        scan_folder(make(tmp_path, cat=1))
    with pytest.raises(DataError, match="Expected a folder with one sub-folder"):
        scan_folder(tmp_path / "absent")


@pytest.mark.parametrize("held_out", ["val", "validation", "test"])
def test_held_out_images_have_a_folder(tmp_path, held_out):
    make(tmp_path / "train", cat=2, dog=2)
    make(tmp_path / held_out, cat=1, dog=1)
    train, test = photo_splits(tmp_path)
    assert (len(train), len(test)) == (4, 2) and train.class_names == test.class_names


def test_classes_that_differ_are_named(tmp_path):
    make(tmp_path / "train", cat=2, dog=2)
    make(tmp_path / "val", cat=1, owl=1)
    with pytest.raises(DataError, match=r"without dog and with owl, of which there are none"):
        photo_splits(tmp_path)


def test_images_are_held_out_of_each_class(tmp_path):
    make(tmp_path / "train", cat=8, dog=4)
    with pytest.raises(DataError, match=r"Expected one of val, validation, test beside"):
        photo_splits(tmp_path)
    with pytest.raises(DataError, match=r"Received: data\.validation=1"):
        photo_splits(tmp_path, 1)
    train, test = photo_splits(tmp_path, 3)
    assert [test.labels.count(label) for label in (0, 1)] == [2, 1]
    assert not set(train.files) & set(test.files) and len(train) == 9
    assert photo_splits(tmp_path, 3) == (train, test)


def test_a_folder_of_classes_is_split_by_a_share_or_a_number(tmp_path):
    make(tmp_path, cat=20, dog=10)
    for validation in (0.2, 6):
        train, test = photo_splits(tmp_path, validation)
        assert train.path == test.path == tmp_path
        assert [test.labels.count(label) for label in (0, 1)] == [4, 2] and len(train) == 24
        assert not set(train.files) & set(test.files)
        assert photo_splits(tmp_path, validation) == (train, test)
    assert photo_splits(tmp_path, 6, seed=1) != (train, test)
    for validation in (0, 0.01, 30):
        with pytest.raises(DataError, match=rf"train/ and val/ in .* such as 0\.2 .*={validation}"):
            photo_splits(tmp_path, validation)
    with pytest.raises(ValueError, match=r"`validation` should be a number of images, or a share"):
        photo_splits(tmp_path, 1.5)
    make(tmp_path, val=2)
    with pytest.raises(DataError, match="train/ beside val/"):
        photo_splits(tmp_path, 6)


@pytest.mark.parametrize(("validation", "what"), [(3, "held out"), (26, "for training")])
def test_a_rare_class_is_not_lost(tmp_path, validation, what):
    make(tmp_path / "train", cat=14, dog=13, owl=2)
    with pytest.raises(DataError, match=rf"{what}\. Received: none of owl with data\.validation"):
        photo_splits(tmp_path, validation)


def test_pixels_are_those_of_the_preprocessing(tmp_path):
    found = scan_folder(make(tmp_path, cat=3, dog=2))
    preprocessing = Preprocessing(16, crop=0.8)
    images, labels = read_folder(found, preprocessing)
    expected = [preprocessing.prepare(Image.open(path)) for path in found.files]
    np.testing.assert_array_equal(images, expected)
    np.testing.assert_array_equal(labels, [0, 0, 0, 1, 1])
    parts = list(stream_folder(found, preprocessing, 2))
    assert [len(part[0]) for part in parts] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), images)


def test_unreadable_files_are_all_named(tmp_path):
    make(tmp_path, cat=8, dog=8)
    for i in range(7):
        (tmp_path / "dog" / f"{i}.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"7 images of .*dog/0\.png.*dog/4\.png.*and 2 more"):
        read_folder(scan_folder(tmp_path), Preprocessing(8))
    with pytest.raises(DataError, match=r"dog/0\.png"):
        list(stream_folder(scan_folder(tmp_path), Preprocessing(8), 4))


def test_images_beyond_the_memory_are_told(monkeypatch):
    assert fits_memory((10, 100))
    monkeypatch.setattr(folder.os, "sysconf", lambda name: 1000)
    assert fits_memory((1, 100), (1, 200))  # 2 x 150,000 of 1,000,000 bytes
    assert not fits_memory((1, 100), (4, 200))
