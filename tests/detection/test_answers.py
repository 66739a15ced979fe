"""Thresholds and non-maximum suppression, against TensorFlow's and a plain reference."""

import keras
import numpy as np
import pytest

from keras_wrn.detection import Anchors, Selection, select
from keras_wrn.detection.boxes import decode, overlaps

ANCHORS = Anchors(64, 16).boxes


def answers(seed=0, classes=4, mean=-3.0):
    random = np.random.default_rng(seed)
    box = random.normal(0, 1, (len(ANCHORS), 4)).astype("float32")
    return box, random.normal(mean, 1.5, (len(ANCHORS), classes)).astype("float32")


def reference(box, logits, selection):
    """One box after the other, the best first."""
    boxes, scores = decode(ANCHORS, box), 1 / (1 + np.exp(-logits.astype("float64")))
    kept = []
    for label in range(logits.shape[1]):
        for place in np.argsort(-scores[:, label], kind="stable"):
            if scores[place, label] <= selection.threshold:
                break
            mine = [other for other in kept if other[1] == label]
            if len(mine) < selection.most and all(
                overlaps(boxes[[place]], boxes[[other[2]]])[0, 0] <= selection.overlap
                for other in mine
            ):
                kept.append((scores[place, label], label, place))
    return sorted(kept, key=lambda row: -row[0])[: selection.most]


@pytest.mark.parametrize(
    "selection", [Selection(), Selection(0.3, 0.2, 5), Selection(0.0, 1.0, 300)]
)
def test_the_best_boxes_of_each_class_that_are_unlike(selection):
    box, logits = answers(mean=-4.0)
    found, expected = select(ANCHORS, box, logits, selection), reference(box, logits, selection)
    assert len(found["scores"]) == len(expected) > 4
    np.testing.assert_allclose(found["scores"], [row[0] for row in expected], rtol=1e-5)
    np.testing.assert_array_equal(found["labels"], [row[1] for row in expected])
    boxes = decode(ANCHORS, box)[[row[2] for row in expected]]
    np.testing.assert_allclose(found["boxes"], boxes, rtol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_tensorflow_finds_the_same(seed):
    import tensorflow as tf

    box, logits = answers(seed)
    selection = Selection(0.2, 0.5, 50)
    found = select(ANCHORS, box, logits, selection)
    boxes, scores, labels, count = tf.image.combined_non_max_suppression(
        decode(ANCHORS, box)[None, :, None], tf.sigmoid(logits)[None], 50, 50, 0.5, 0.2,
        clip_boxes=False,
    )  # fmt: skip
    count = int(count[0])
    assert count == len(found["scores"])
    np.testing.assert_allclose(scores[0, :count], found["scores"], rtol=1e-5)
    np.testing.assert_array_equal(labels[0, :count], found["labels"])
    np.testing.assert_allclose(boxes[0, :count], found["boxes"], rtol=1e-5)


def test_nothing_found():
    found = select(ANCHORS, *answers(mean=-90))
    assert found["boxes"].shape == (0, 4) and found["labels"].dtype == "int32"
    assert found["scores"].shape == (0,)


def test_what_is_wrong_is_named():
    box, logits = answers()
    with pytest.raises(ValueError, match=rf"for {len(ANCHORS)} anchors.*\(3, 4\)"):
        select(ANCHORS, box[:3], logits)
    with pytest.raises(ValueError, match="NaN"):
        select(ANCHORS, box, logits * np.nan)
    for settings, word in (((1.5,), "threshold"), ((0.1, -1), "overlap"), ((0.1, 0.5, 0), "most")):
        with pytest.raises(ValueError, match=f"`{word}`"):
            Selection(*settings)


def test_decoding_is_the_same_in_keras():
    box, _ = answers()
    found = keras.ops.convert_to_numpy(decode(ANCHORS, box, keras.ops))
    np.testing.assert_allclose(found, decode(ANCHORS, box), rtol=1e-4, atol=1e-3)
