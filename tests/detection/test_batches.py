"""Batches of a detector: the plan, the targets, the weights; resumed, streamed, held out."""

import json

import keras
import numpy as np
import pytest
from finders import coco_folder

from keras_wrn import Preprocessing
from keras_wrn.data.photos import Photos
from keras_wrn.detection import Anchors, BoxBatches, BoxLoss, ClassLoss, read_coco
from keras_wrn.detection.batches import held_out_batches
from keras_wrn.detection.geometry import augment
from keras_wrn.detection.targets import targets as graph_targets

ANCHORS = Anchors(64, 16)
PREPROCESSING = Preprocessing(64, mean=(0.5,) * 3, std=(0.25,) * 3)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return read_coco(coco_folder(tmp_path_factory.mktemp("coco")) / "instances_train.json")


def batches_of(photos, **settings):
    settings = {"batch_size": 4, "preprocessing": PREPROCESSING, "seed": 3, **settings}
    return BoxBatches(photos, ANCHORS, **settings)


def as_numpy(dataset):
    return keras.tree.map_structure(np.asarray, list(dataset.as_numpy_iterator()))


def test_a_batch_is_its_plan(photos):
    import tensorflow as tf

    batches = batches_of(photos)
    assert batches.steps_per_epoch == 1
    x, y = as_numpy(batches.dataset(1, 2))[0]
    plan = batches.plan(1)
    positives = 0
    expected = []
    for index, draws in zip(plan["order"][0], plan["draws"][0], strict=True):
        image = Photos(photos.source, PREPROCESSING).decoded(index)
        kept = ~photos.crowds[index]
        left, top, width, height = photos.boxes[index][kept].T
        given = np.stack([left, top, left + width, top + height], -1), photos.labels[index][kept]
        pixels, boxes, labels = augment(
            tf.constant(image), *map(tf.constant, given), draws, 64, (0.8, 1.25), True
        )
        alive = np.asarray(labels) >= 0
        found = graph_targets(ANCHORS.boxes, boxes.numpy()[alive], labels.numpy()[alive])
        offsets, labels = map(np.asarray, found)
        positives += (labels >= 0).sum()
        expected.append((PREPROCESSING.normalize(pixels.numpy()[None])[0], offsets, labels))
    assert positives > 4
    for i, (pixels, offsets, labels) in enumerate(expected):
        np.testing.assert_allclose(x[i], pixels, atol=0.05)
        np.testing.assert_allclose(y["box"][i, :, :4], offsets, atol=1e-4)
        weight = 4 / positives
        np.testing.assert_allclose(y["box"][i, :, 4], weight * (labels >= 0), rtol=1e-6)
        np.testing.assert_array_equal(y["classification"][i, :, 0], np.maximum(labels, -1))
        np.testing.assert_allclose(y["classification"][i, :, 1], weight * (labels >= -1), rtol=1e-6)


def test_epochs_differ_and_seeds_too_and_a_run_goes_on_anywhere(photos):
    batches = batches_of(photos, batch_size=2)
    whole = as_numpy(batches.dataset(0, 3))
    assert len(whole) == 9 == int(batches.dataset(0, 3).cardinality())
    rest = as_numpy(batches.dataset(4, 3))
    assert len(rest) == 5
    for a, b in zip(whole[4:], rest, strict=True):
        keras.tree.map_structure(np.testing.assert_array_equal, a, b)
    assert np.abs(whole[0][0] - whole[3][0]).max() > 0.1
    other = as_numpy(batches_of(photos, batch_size=2, seed=4).dataset(0, 1))
    assert np.abs(whole[0][0] - other[0][0]).max() > 0.1
    for epoch in range(2):
        assert sorted(batches.plan(epoch)["order"].ravel()) == list(range(6))


def test_a_batch_without_boxes_trains_its_background(photos):
    empty = photos.take([0])
    batches = BoxBatches(empty, ANCHORS, batch_size=1, preprocessing=PREPROCESSING)
    _, y = as_numpy(batches.dataset())[0]
    assert (y["box"][..., 4] == 0).all() and (y["classification"][..., 0] == -1).all()
    np.testing.assert_array_equal(y["classification"][..., 1], 1)
    logits = np.full((1, len(ANCHORS.boxes), 3), -2.0, "float32")
    assert float(ClassLoss()(y["classification"], logits)) > 0.1
    assert float(BoxLoss()(y["box"], np.ones((1, len(ANCHORS.boxes), 4), "float32"))) == 0


def test_crowds_are_not_trained(photos):
    crowd = photos.take([5])
    assert crowd.crowds[0].tolist() == [True]
    _, y = as_numpy(BoxBatches(crowd, ANCHORS, batch_size=1, preprocessing=PREPROCESSING)
                    .dataset())[0]  # fmt: skip
    assert (y["classification"][..., 0] == -1).all()


def test_held_out_photos_are_fitted_and_each_counts_once(photos):
    reader = Photos(photos.source, PREPROCESSING)
    settings = {"batch_size": 4, "preprocessing": PREPROCESSING}
    found = as_numpy(held_out_batches(photos, ANCHORS, reader, **settings))
    assert [len(x) for x, _ in found] == [4, 4]
    assert (found[1][1]["classification"][2:, :, 1] == 0).all()  # they fill the batch up
    assert (found[1][1]["box"][2:, :, 4] == 0).all()
    counts = [(y["box"][..., 4] > 0).sum() for _, y in found]
    for (_, y), count in zip(found, counts, strict=True):
        np.testing.assert_allclose(y["box"][..., 4].sum(), 4 * (count > 0), rtol=1e-5)


def test_a_broken_photo_is_named(photos, tmp_path):
    folder = coco_folder(tmp_path / "coco")
    broken = folder / "images" / "train3.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    batches = batches_of(read_coco(folder / "instances_train.json"), batch_size=6)
    assert "train3.jpg" in batches.problem(0)
    import tensorflow as tf

    with pytest.raises(tf.errors.OpError):
        list(batches.dataset())


def test_a_photo_of_another_size_is_named(tmp_path):
    folder = coco_folder(tmp_path / "coco")
    content = json.loads((folder / "instances_train.json").read_text())
    content["images"][3]["width"] += 1
    (folder / "instances_train.json").write_text(json.dumps(content))
    batches = batches_of(read_coco(folder / "instances_train.json"), batch_size=6)
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError, match="another size"):
        list(batches.dataset())
    assert "train3.jpg should be 76 x 71" in batches.problem(0)


def test_a_batch_larger_than_the_photos_is_refused(photos):
    with pytest.raises(ValueError, match=r"between 1 and the 6 training photos.*batch_size=7"):
        batches_of(photos, batch_size=7)
    with pytest.raises(ValueError, match=r"in 0\.\.1.*start_step=2"):
        batches_of(photos).dataset(2)
