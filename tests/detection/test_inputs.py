"""What a recipe trains a detector on: folders, files, TFDS; what is refused, by name."""

import dataclasses
import io
import json

import numpy as np
import pytest
from finders import NAMES, coco_folder
from PIL import Image

from keras_wrn.detection import BoxDataConfig, DetectionRecipe
from keras_wrn.detection.inputs import box_splits, check_photos, load_boxes
from keras_wrn.errors import DataError


def recipe_for(dataset, **settings):
    return DetectionRecipe(
        "test", data=BoxDataConfig(str(dataset), image_size=64, **settings), batch_size=2
    )


def test_a_folder_with_two_files(tmp_path):
    inputs = load_boxes(recipe_for(coco_folder(tmp_path / "coco")))
    assert inputs.counts == (6, 6) and inputs.classes == 3
    assert inputs.preprocessing.class_names == NAMES and inputs.preprocessing.size == 64
    assert any("5 boxes of 3 classes, 1 of them around crowds; 1 photos without a box" in note
               for note in inputs.notes)  # fmt: skip
    again = load_boxes(recipe_for(tmp_path / "coco"))
    assert again.marks() == inputs.marks()
    file = tmp_path / "coco" / "instances_train.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["bbox"][0] += 1
    file.write_text(json.dumps(content))
    assert load_boxes(recipe_for(tmp_path / "coco")).marks() != inputs.marks()


@pytest.mark.parametrize("layout", ["one file", "folder of one file", "coco", "sub-folders"])
def test_other_layouts(tmp_path, layout):
    root = tmp_path / "coco"
    validation = 0
    if layout in ("one file", "folder of one file"):
        coco_folder(root, parts=("",))
        validation = 2
    else:
        coco_folder(root)
        for part in ("train", "val"):
            file = root / f"instances_{part}.json"
            if layout == "coco":
                (root / "annotations").mkdir(exist_ok=True)
                file.rename(root / "annotations" / f"instances_{part}2017.json")
                images = root / f"{part}2017"
            else:
                (root / part).mkdir()
                file.rename(root / part / "instances.json")
                images = root / part / "images"
            images.mkdir()
            for path in (root / "images").glob(f"{part}*.jpg"):
                path.rename(images / path.name)
    name = root / "instances.json" if layout == "one file" else root
    train, test = box_splits(str(name), validation)
    assert (len(train), len(test)) == ((4, 2) if validation else (6, 6))
    assert not validation or not set(train.image_ids) & set(test.image_ids)
    for part in (train, test):
        check_photos(part, load_boxes(recipe_for(name, validation=validation)).preprocessing)


def test_what_is_no_dataset_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"Expected a folder with images/.*Received: .*nothing"):
        box_splits(str(tmp_path / "nothing"))
    coco_folder(tmp_path / "one", parts=("",))
    with pytest.raises(DataError, match=r"share of the 6 photos.*data\.validation=0"):
        box_splits(str(tmp_path / "one"))
    folder = coco_folder(tmp_path / "two")
    content = json.loads((folder / "instances_val.json").read_text())
    content["categories"].append({"id": 9, "name": "fish"})
    (folder / "instances_val.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"more of them, such as.*fish"):
        box_splits(str(folder))


def test_photos_of_another_size_or_too_thin_are_named(tmp_path):
    folder = coco_folder(tmp_path / "coco")
    Image.new("RGB", (10, 10)).save(folder / "images" / "val2.jpg")
    with pytest.raises(DataError, match=r"val2\.jpg should be 80 x 64.*is 10 x 10"):
        load_boxes(recipe_for(folder))
    load_boxes(recipe_for(folder, check="none"))
    Image.new("RGB", (2000, 3)).save(folder / "images" / "val2.jpg")
    file = folder / "instances_val.json"
    content = json.loads(file.read_text())
    content["images"][2].update(width=2000, height=3)
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"val2\.jpg is too long and thin"):
        load_boxes(recipe_for(folder))


def test_recipes_that_make_no_sense_are_refused():
    recipe = DetectionRecipe("test")
    for changes, message in (
        ({"model": dataclasses.replace(recipe.model, name="wrn_16_2")}, "four stages"),
        ({"data": BoxDataConfig("cifar10")}, "photos with boxes"),
        ({"data": BoxDataConfig(scale=(2.0, 1.0))}, "low first"),
        ({"data": BoxDataConfig(validation=-1)}, "share of them"),
        ({"data": BoxDataConfig(image_size=8)}, "image_size"),
        ({"batch_size": 0}, "batch_size"),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(recipe, **changes)
    assert DetectionRecipe.from_json(recipe.to_json()) == recipe


@pytest.fixture(scope="module", params=["tfrecord", "array_record"])
def prepared(request, tmp_path_factory):
    """Photos with boxes as TFDS prepares coco/2017, and what is in them."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    if request.param == "array_record":
        pytest.importorskip("array_record")
    directory = tmp_path_factory.mktemp("tfds")

    def examples():
        random = np.random.default_rng(0)
        for i in range(4):
            data = io.BytesIO()
            pixels = random.integers(0, 256, (40 + i, 60, 3), dtype="uint8")
            Image.fromarray(pixels).save(data, "JPEG")
            count = int(i > 0)
            yield {
                "image": data.getvalue(),
                "image/id": 100 + i,
                "objects": {
                    "bbox": np.array([[0.1, 0.25, 0.5, 0.75]] * count, "float32").reshape(-1, 4),
                    "label": [i % 2] * count,
                    "area": [7 * i] * count,
                    "is_crowd": [i == 3] * count,
                },
            }

    signature = {
        "image": tf.TensorSpec((), tf.string),
        "image/id": tf.TensorSpec((), tf.int64),
        "objects": {
            "bbox": tf.TensorSpec((None, 4), tf.float32),
            "label": tf.TensorSpec((None,), tf.int64),
            "area": tf.TensorSpec((None,), tf.int64),
            "is_crowd": tf.TensorSpec((None,), tf.bool),
        },
    }
    objects = {
        "bbox": tfds.features.BBoxFeature(),
        "label": tfds.features.ClassLabel(names=["cat", "dog"]),
        "area": np.int64,
        "is_crowd": np.bool_,
    }
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "image/id": np.int64,
            "objects": tfds.features.Sequence(objects),
        }
    )
    tfds.dataset_builders.store_as_tfds_dataset(
        name="things", version="1.0.0", features=features, data_dir=directory,
        file_format=request.param,
        split_datasets={
            split: tf.data.Dataset.from_generator(examples, output_signature=signature)
            for split in ("train", "validation")
        },
    )  # fmt: skip
    return directory


def test_what_tfds_has_prepared(prepared):
    train, test = box_splits("tfds:things", data_dir=prepared)
    assert len(train) == len(test) == 4 and train.class_names == ("cat", "dog")
    order = np.argsort(train.image_ids)
    for i, place in enumerate(order):
        assert train.image_ids[place] == 100 + i
        assert tuple(train.sizes[place]) == (40 + i, 60)
        assert len(train.boxes[place]) == (i > 0)
        if i:
            expected = [[15, 0.1 * (40 + i), 30, 0.4 * (40 + i)]]
            np.testing.assert_allclose(train.boxes[place], expected, rtol=1e-5)
            assert train.labels[place].tolist() == [i % 2]
            assert train.crowds[place].tolist() == [i == 3]
            assert train.areas[place].tolist() == [7 * i]
    inputs = load_boxes(recipe_for("tfds:things"), data_dir=prepared)
    assert inputs.counts == (4, 4)
    kept, held = box_splits("tfds:things", 1, prepared)
    assert (len(kept), len(held)) == (3, 1)


def test_tfds_without_boxes_is_refused(prepared, tmp_path):
    with pytest.raises(DataError, match="cannot open 'absent'"):
        box_splits("tfds:absent", data_dir=prepared)
