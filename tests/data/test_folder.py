"""Folders of images: what is found, what is refused, and the pixels."""

import numpy as np
import pytest
from PIL import Image

from keras_wrn.data import DataError, Preprocessing, folder
from keras_wrn.data.folder import check_memory, read_folder, scan_folder, scan_splits, stream_folder


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
    train, test = scan_splits(tmp_path)
    assert (len(train), len(test)) == (4, 2) and train.class_names == test.class_names


def test_classes_that_differ_are_named(tmp_path):
    make(tmp_path / "train", cat=2, dog=2)
    make(tmp_path / "val", cat=1, owl=1)
    with pytest.raises(DataError, match=r"without dog and with owl, of which there are none"):
        scan_splits(tmp_path)


def test_images_are_held_out_of_each_class(tmp_path):
    make(tmp_path / "train", cat=8, dog=4)
    with pytest.raises(DataError, match=r"Expected one of val, validation, test beside"):
        scan_splits(tmp_path)
    with pytest.raises(DataError, match=r"Received: data\.validation=1"):
        scan_splits(tmp_path, 1)
    train, test = scan_splits(tmp_path, 3)
    assert [test.labels.count(label) for label in (0, 1)] == [2, 1]
    assert not set(train.files) & set(test.files) and len(train) == 9
    assert scan_splits(tmp_path, 3) == (train, test)


@pytest.mark.parametrize(("validation", "what"), [(3, "held out"), (26, "for training")])
def test_a_rare_class_is_not_lost(tmp_path, validation, what):
    make(tmp_path / "train", cat=14, dog=13, owl=2)
    with pytest.raises(DataError, match=rf"{what}\. Received: none of owl with data\.validation"):
        scan_splits(tmp_path, validation)


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


def test_images_beyond_the_memory_are_refused(monkeypatch):
    check_memory((10, 100))
    monkeypatch.setattr(folder.os, "sysconf", lambda name: 1000)
    check_memory((1, 100), (1, 200))  # 2 x 150,000 of 1,000,000 bytes
    with pytest.raises(DataError, match=r"1 of 100 x 100 and 4 of 200 x 200.*data\.image_size"):
        check_memory((1, 100), (4, 200))
