"""Thresholds and non-maximum suppression, against a plain reference."""

import keras
import numpy as np
import pytest

from keras_wrn.detection import Anchors, Selection, select
from keras_wrn.detection.boxes import decode, overlaps

ANCHORS = Anchors(64, 16).boxes
WITHIN = 50, 64  # the height and width of a photo


def answers(seed=0, classes=4, mean=-3.0):
    random = np.random.default_rng(seed)
    box = random.normal(0, 1, (len(ANCHORS), 4)).astype("float32")
    return box, random.normal(mean, 1.5, (len(ANCHORS), classes)).astype("float32")


def reference(box, logits, selection):
    """One box after the other, the best first."""
    boxes = np.clip(decode(ANCHORS, box), 0, [WITHIN[1], WITHIN[0]] * 2).astype("float32")
    scores = 1 / (1 + np.exp(-logits.astype("float64")))
    scores[(boxes[:, 2:] <= boxes[:, :2]).any(axis=-1)] = 0
    scores[scores < np.sort(scores, axis=None)[-min(selection.candidates, scores.size)]] = 0
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
    "selection",
    [Selection(), Selection(0.3, 0.2, 5), Selection(0.0, 1.0, 300), Selection(candidates=30)],
)
def test_the_best_boxes_of_each_class_that_are_unlike(selection):
    box, logits = answers(mean=-4.0)
    found, expected = (
        select(ANCHORS, box, logits, selection, within=WITHIN),
        reference(box, logits, selection),
    )
    assert len(found["scores"]) == len(expected) > 4
    np.testing.assert_allclose(found["scores"], [row[0] for row in expected], rtol=1e-5)
    np.testing.assert_array_equal(found["labels"], [row[1] for row in expected])
    boxes = decode(ANCHORS, box)[[row[2] for row in expected]]
    corners = np.clip(boxes, 0, [64, 50, 64, 50])
    np.testing.assert_allclose(found["boxes"][:, :2], corners[:, :2], rtol=1e-6)
    sizes = corners[:, 2:] - corners[:, :2]
    np.testing.assert_allclose(found["boxes"][:, 2:], sizes, atol=1e-4)
    assert (found["boxes"][:, 2:] > 0).all()


def test_nothing_found():
    found = select(ANCHORS, *answers(mean=-90), within=WITHIN)
    assert found["boxes"].shape == (0, 4) and found["labels"].dtype == "int32"
    assert found["scores"].shape == (0,)


def test_what_is_wrong_is_named():
    box, logits = answers()
    with pytest.raises(ValueError, match=rf"for {len(ANCHORS)} anchors.*\(3, 4\)"):
        select(ANCHORS, box[:3], logits, within=WITHIN)
    with pytest.raises(ValueError, match="NaN"):
        select(ANCHORS, box, logits * np.nan, within=WITHIN)
    for settings, word in (
        ((1.5,), "threshold"),
        ((0.1, -1), "overlap"),
        ((0.1, 0.5, 0), "most"),
        ((0.1, 0.5, 9, 0), "candidates"),
        ((True,), "threshold"),
    ):
        with pytest.raises(ValueError, match=f"`{word}`"):
            Selection(*settings)


def test_numbers_of_numpy_are_taken():
    assert Selection(np.float64(0.3), 0.5, np.int64(5)) == Selection(0.3, 0.5, 5)


def test_decoding_is_the_same_in_keras():
    box, _ = answers()
    found = keras.ops.convert_to_numpy(decode(ANCHORS, box, keras.ops))
    np.testing.assert_allclose(found, decode(ANCHORS, box), rtol=1e-4, atol=1e-3)
