"""Photos from lists of files and from TFDS: what is read, and what is refused by name."""

import json
import os

import keras
import numpy as np
import pytest
from photo_files import make_folder

import keras_wrn
from keras_wrn.data import Augmentation, Batches, Preprocessing
from keras_wrn.data.file_list import read_list
from keras_wrn.data.folder import scan_folder
from keras_wrn.data.photo_sets import photo_set, photo_splits
from keras_wrn.data.tfds_photos import TFRecords
from keras_wrn.errors import DataError

PREPROCESSING = Preprocessing(16, crop=0.8)
CROPPED = Augmentation(random_resized_crop=True, crop_padding=0)


@pytest.fixture
def folder(tmp_path):
    return scan_folder(make_folder(tmp_path, count=6) / "train")


def write_csv(folder, path, rows=None, head="path,label"):
    names = folder.class_names
    pairs = zip(folder.files, folder.labels, strict=True)
    rows = rows or [f"{os.path.relpath(file, path.parent)},{names[label]}" for file, label in pairs]
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def coco(folder, path):
    """The content of a COCO-style list, its classes in the order dog, cat."""
    images = [
        {"id": 10 + i, "file_name": os.path.relpath(file, path.parent)}
        for i, file in enumerate(folder.files)
    ]
    return {
        "images": images,
        "categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}],
        "annotations": [
            {"image_id": 10 + i, "category_id": 3 if label else 7}
            for i, label in enumerate(folder.labels)
        ],
    }


def test_a_csv_list_is_read_like_its_folder(folder, tmp_path):
    found = read_list(write_csv(folder, tmp_path / "all.csv"))
    assert (found.class_names, found.labels) == (folder.class_names, folder.labels)
    photos = found.photos(PREPROCESSING)
    np.testing.assert_array_equal(photos[:], folder.photos(PREPROCESSING)[:])
    train, test = photo_splits(tmp_path / "all.csv", validation=0.5)
    assert len(train) == len(test) == 6 and set(train.files) | set(test.files) == set(found.files)


def test_numbers_are_in_numeric_order_and_columns_in_any(folder, tmp_path):
    files = [f"train/{file.parent.name}/{file.name}" for file in folder.files]
    rows = [f"{i % 11},{i},{file}" for i, file in enumerate(files)]
    found = read_list(write_csv(folder, tmp_path / "all.csv", rows, head="label,note,path"))
    assert found.class_names == tuple(str(i) for i in range(11))
    assert found.labels == tuple(i % 11 for i in range(len(files)))


def test_a_coco_list_has_the_order_of_its_ids(folder, tmp_path):
    path = tmp_path / "all.json"
    path.write_text(json.dumps(coco(folder, path)))
    found = read_list(path)
    assert found.class_names == ("dog", "cat")
    assert found.labels == tuple(1 - label for label in folder.labels)
    assert found.files == tuple(tmp_path / os.path.relpath(x, tmp_path) for x in folder.files)


def test_labels_in_two_unicode_forms_are_one_class(folder, tmp_path):
    files = [f"train/cat/{i:02}.jpg" for i in range(4)]
    labels = ["caf\u00e9", "cafe\u0301", "z", "z"]
    rows = [f"{file},{label}" for file, label in zip(files, labels, strict=True)]
    found = read_list(write_csv(folder, tmp_path / "all.csv", rows))
    assert found.class_names == ("caf\u00e9", "z") and found.labels == (0, 0, 1, 1)


def test_two_lists_in_a_folder_have_one_order_of_classes(folder, tmp_path):
    write_csv(folder, tmp_path / "train.csv")
    (tmp_path / "train").rename(tmp_path / "files")
    moved = scan_folder(tmp_path / "files")
    write_csv(moved, tmp_path / "train.csv")
    (tmp_path / "val.json").write_text(json.dumps(coco(moved, tmp_path / "val.json")))
    train, test = photo_splits(tmp_path)
    assert train.class_names == test.class_names == ("cat", "dog")
    assert train.labels == test.labels == moved.labels
    assert photo_set(tmp_path, "train") == train
    assert photo_set(tmp_path).class_names == ("dog", "cat")


@pytest.mark.parametrize(
    ("rows", "head", "words"),
    [
        (["a.jpg,cat", "train/cat/00.jpg,dog"], "path,label", r"not there: 1 \(a\.jpg\)"),
        (["train/cat/00.jpg,cat"], "path,label", "at least 2 classes .* Received: cat"),
        (["train/cat/00.jpg,cat", "./train/cat/00.jpg,dog"], "path,label",
         r"each image once in .*Received twice: 1 \(train/cat/00\.jpg\)"),
        (["train/cat/00.jpg,cat", "train/cat/01.jpg,"], "path,label", "label in line 3 of"),
        (["train/cat/00.jpg,cat"], "file,class", "columns path and label .*Received: file, class"),
    ],
)  # fmt: skip
def test_bad_lists_are_refused_by_name(folder, tmp_path, rows, head, words):
    path = write_csv(folder, tmp_path / "all.csv", rows, head)
    with pytest.raises(DataError, match=words) as error:
        photo_splits(path, 0.5)
    assert str(path) in str(error.value)


def changed(content, change):
    change(content)
    return content


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x.pop("images"), "Expected a list called images"),
        (lambda x: x["images"][1].update(id=10), "images of .* a number of its own .*: 10, twice"),
        (lambda x: x["categories"][1].update(id=7), "categories of .* a number of its own .*: 7"),
        (lambda x: x["categories"][1].update(id="a"), "categories of .* a number of its own .*'a'"),
        (lambda x: x["categories"][1].update(name="cat"), "different names .*Received twice: cat"),
        (
            lambda x: x["images"].append([]),
            r"Expected id and file_name in each of the images .* \[\]",
        ),
        (lambda x: x["images"][0].update(file_name="./train/cat/01.jpg"), "twice: 1 .train/cat/01"),
        (lambda x: x["annotations"].pop(), r"one annotation for each image .*: 1 \(train/dog/05"),
        (lambda x: x["annotations"].append(x["annotations"][0]), "one annotation for each image"),
        (lambda x: x["annotations"][0].update(category_id=9), "the category 9, which is not there"),
        (lambda x: x["annotations"][0].update(image_id=9), "the image 9, which is not there"),
        (lambda x: x["categories"].append({"id": 1, "name": "owl"}), "none of owl"),
        (lambda x: x["categories"][0].pop("name"), "id and name in each of the categories"),
    ],
)
def test_bad_coco_lists_are_refused_by_name(folder, tmp_path, change, words):
    path = tmp_path / "all.json"
    path.write_text(json.dumps(changed(coco(folder, path), change)))
    with pytest.raises(DataError, match=words) as error:
        photo_splits(path, 0.5)
    assert str(path) in str(error.value)


def test_what_is_no_list_is_refused(tmp_path):
    for name, content in (("a.csv", b"path,label\n\xff\xfe,cat\n"), ("a.json", b"{")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name} cannot be read"):
            read_list(tmp_path / name)
    with pytest.raises(DataError, match=r"absent\.csv cannot be read"):
        read_list(tmp_path / "absent.csv")


def test_links_that_lead_nowhere_or_back_are_named(folder, tmp_path):
    root = tmp_path / "train"
    (root / "cat" / "loop").symlink_to(root)  # a folder in a class is not entered by a link
    (root / ".cache").symlink_to(tmp_path / "absent")
    assert scan_folder(root) == folder
    (root / "cat" / "self.jpg").symlink_to(root / "cat" / "self.jpg")
    found = scan_folder(root)
    assert len(found) == len(folder) + 1
    with pytest.raises(DataError, match=r"cat/self\.jpg cannot be read: Too many levels"):
        list(found.source.marks())
    with pytest.raises(DataError, match=r"1 image of .*cat/self\.jpg cannot be read"):
        found.photos(PREPROCESSING).check()
    (root / "owl").symlink_to(root / "owl")
    with pytest.raises(DataError, match="train/owl is a link that leads nowhere, or back"):
        scan_folder(root)


@pytest.fixture(scope="module", params=["tfrecord", "array_record"])
def prepared(request, tmp_path_factory):
    """Photos that TFDS has prepared, in a file of that format."""
    import tensorflow_datasets as tfds

    if request.param == "array_record":
        pytest.importorskip("array_record")
    root = make_folder(tmp_path_factory.mktemp("photos"), count=9, splits=("train", "test"))
    data_dir = tmp_path_factory.mktemp("tfds")

    def rows(split):
        for file in sorted((root / split).rglob("*.jpg")):
            yield {"image": file.read_bytes(), "label": file.parent.name, "name": file.name}

    import tensorflow as tf

    signature = {
        "image": tf.TensorSpec((), tf.string),
        "label": tf.TensorSpec((), tf.string),
        "name": tf.TensorSpec((), tf.string),
    }
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "name": tfds.features.Text(),
            "label": tfds.features.ClassLabel(names=["cat", "dog"]),
        }
    )
    tfds.dataset_builders.store_as_tfds_dataset(
        name="pets", version="1.0.0", data_dir=data_dir, features=features,
        file_format=request.param,
        split_datasets={
            split: tf.data.Dataset.from_generator(
                lambda split=split: rows(split), output_signature=signature
            )
            for split in ("train", "test")
        },
    )  # fmt: skip
    return data_dir, root


def test_photos_of_tfds_are_read_by_number(prepared):
    data_dir, root = prepared
    train, test = photo_splits("tfds:pets", data_dir=data_dir)
    assert train.class_names == ("cat", "dog") and len(train) == len(test) == 18
    folder = scan_folder(root / "train")
    expected = {image.tobytes(): y for image, y in
                zip(folder.photos(PREPROCESSING)[:], folder.labels, strict=True)}  # fmt: skip
    photos = train.photos(PREPROCESSING)
    found = {image.tobytes(): y for image, y in zip(photos[:], train.labels, strict=True)}
    assert found == expected
    np.testing.assert_array_equal(photos[::-2], photos[:][::-2])
    kept, held = photo_splits("tfds:pets", validation=6, data_dir=data_dir)
    assert (len(kept), len(held)) == (12, 6) and held.labels.count(0) == 3
    numbers = np.sort(np.concatenate([kept.source.indices, held.source.indices]))
    np.testing.assert_array_equal(numbers, np.arange(18))
    for number, image in zip(held.source.indices, held.photos(PREPROCESSING)[:], strict=True):
        np.testing.assert_array_equal(image, photos[number])


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data")
def test_batches_of_tfds_photos_are_the_same_on_every_backend(prepared):
    train, _ = photo_splits("tfds:pets", data_dir=prepared[0])
    settings = {"batch_size": 4, "preprocessing": PREPROCESSING, "augmentation": CROPPED}
    batches = Batches(train.photos(PREPROCESSING), train.labels, 2, **settings)
    for (x, y), (a, b) in zip(batches.dataset(), batches.arrays(), strict=False):
        assert 255 * np.abs(x - a).max() < 2.001
        np.testing.assert_array_equal(y, b)


def test_a_network_is_evaluated_on_tfds_photos(prepared):
    data_dir, root = prepared
    network = keras_wrn.WideResNet(10, 1, input_shape=(16, 16, 3), classes=2)
    network.preprocessing = keras_wrn.Preprocessing(16, class_names=("cat", "dog"))
    expected = keras_wrn.evaluate(network, root / "test")
    found = keras_wrn.evaluate(network, "tfds:pets", data_dir=data_dir)
    assert found["loss"] == pytest.approx(expected["loss"]) and found["images"] == 18
    train = keras_wrn.evaluate(network, "tfds:pets", split="train", data_dir=data_dir)
    assert train["loss"] != found["loss"]


def test_what_tfds_has_not_prepared_is_named(prepared, tmp_path):
    with pytest.raises(DataError, match=r"TFDS cannot open 'pets'"):
        photo_splits("tfds:pets", data_dir=tmp_path)
    with pytest.raises(DataError, match=r"cannot open 'pets:2\.0\.0'"):
        photo_splits("tfds:pets:2.0.0", data_dir=prepared[0])
    with pytest.raises(DataError, match=r"mnist/3\.0\.1 is not prepared in .*tfds build mnist"):
        photo_splits("tfds:mnist", data_dir=tmp_path)


def test_a_damaged_record_file_is_named(prepared, tmp_path):
    import shutil

    shutil.copytree(prepared[0], tmp_path / "copy")
    train, _ = photo_splits("tfds:pets", data_dir=tmp_path / "copy")
    (file,) = (tmp_path / "copy").rglob("*train*record*-of-*")
    if "array_record" in file.name:
        pytest.skip("array_record checks its files itself")
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match=f"{file.name} holds 18 records.*has .* bytes"):
        train.photos(PREPROCESSING)[0]


def test_records_of_several_files_are_counted_through(tmp_path):
    tf = pytest.importorskip("tensorflow")
    lengths, content = [3, 0, 5, 1], []
    for i, length in enumerate(lengths):
        with tf.io.TFRecordWriter(str(tmp_path / f"{i}")) as writer:
            for j in range(length):
                content.append(f"{i} {j}".encode() * (1 + 50 * j))
                writer.write(content[-1])
    records = TFRecords([tmp_path / f"{i}" for i in range(4)], lengths)
    for number in np.random.default_rng(0).permutation(9):
        assert records[number] == content[number]


def test_pictures_are_decoded_once(prepared):
    """A record's image is its file, not pixels that were encoded again."""
    data_dir, root = prepared
    train, _ = photo_splits("tfds:pets", data_dir=data_dir)
    files = {file.read_bytes() for file in (root / "train").rglob("*.jpg")}
    assert {bytes(train.source.read(i)) for i in range(18)} == files
