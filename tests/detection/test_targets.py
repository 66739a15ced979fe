"""Anchors and what they are to become, against slow and plain references."""

import numpy as np
import pytest

from keras_wrn.detection import targets as module
from keras_wrn.detection.boxes import decode, encode, overlaps
from keras_wrn.detection.targets import BACKGROUND, IGNORED
from keras_wrn.models.retinanet import Anchors


def some_boxes(count, size=200, seed=0):
    random = np.random.default_rng(seed)
    corners = random.uniform(0, size, (count, 2, 2))
    return np.concatenate([corners.min(axis=1), corners.max(axis=1) + 1], axis=-1).astype("float32")


def targets(anchors, boxes, labels):
    boxes = np.asarray(boxes, "float32").reshape(-1, 4)
    return [np.asarray(x) for x in module.targets(anchors, boxes, np.asarray(labels, "int32"))]


def reference(anchors, boxes, labels):
    """The rules one after the other."""
    offsets, found = np.zeros((len(anchors), 4)), np.full(len(anchors), BACKGROUND)
    shared = overlaps(anchors, boxes)
    nearest, most = shared.argmax(axis=1), shared.max(axis=1)
    found[most >= 0.4] = IGNORED
    belongs = most >= 0.5
    for box in np.argsort(shared.max(axis=0), kind="stable"):
        best = shared[:, box].argmax()
        nearest[best], belongs[best] = box, True
    found[belongs] = labels[nearest[belongs]]
    offsets[belongs] = encode(anchors[belongs], boxes[nearest[belongs]])
    return offsets, found


def overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
    return width * height / (sum(areas) - width * height)


def test_overlaps_are_those_of_the_definition():
    boxes, others = some_boxes(20), some_boxes(30, seed=1)
    expected = [[overlap(a, b) for b in others] for a in boxes]
    np.testing.assert_allclose(overlaps(boxes, others), expected, atol=1e-5)
    empty = np.array([[3, 3, 3, 3]], "float32")
    assert overlaps(empty, empty) == 0


def test_there_are_nine_anchors_around_the_centre_of_each_cell():
    boxes = Anchors(256, base=32).boxes
    cells = [32**2, 16**2, 8**2, 4**2, 2**2]
    assert boxes.shape == (9 * sum(cells), 4) and boxes.dtype == "float32"
    starts = 9 * np.cumsum([0, *cells[:-1]])
    for start, level in zip(starts, range(3, 8), strict=True):
        first = boxes[start : start + 9]
        middles = (first[:, :2] + first[:, 2:]) / 2
        np.testing.assert_allclose(middles, 2**level / 2, atol=1e-4)
        sizes = first[:, 2:] - first[:, :2]
        sides = 32 * 2 ** (level - 3) * np.repeat([1, 2 ** (1 / 3), 2 ** (2 / 3)], 3)
        np.testing.assert_allclose(np.sqrt(sizes.prod(axis=1)), sides, rtol=1e-5)
        np.testing.assert_allclose(sizes[:, 1] / sizes[:, 0], [0.5, 1, 2] * 3, rtol=1e-5)
    second = boxes[9]  # the next cell is to the right
    np.testing.assert_allclose((second[:2] + second[2:]) / 2, [12, 4], atol=1e-4)


def test_sizes_that_are_no_multiple_have_cells_at_the_border():
    assert len(Anchors(100).boxes) == 9 * (13**2 + 7**2 + 4**2 + 2**2 + 1)


def test_boxes_come_back_from_their_offsets():
    anchors, boxes = some_boxes(50), some_boxes(50, seed=3)
    np.testing.assert_allclose(decode(anchors, encode(anchors, boxes)), boxes, atol=1e-2)
    same = encode(anchors, anchors)
    np.testing.assert_allclose(same, 0, atol=1e-6)
    wild = decode(anchors, np.full((50, 4), 1e6, "float32"))
    assert np.isfinite(wild).all()


def test_offsets_are_those_of_the_definition():
    anchor, box = np.array([[10, 20, 30, 60]], "float32"), np.array([[15, 20, 35, 100]], "float32")
    # Centres (20, 40) and (25, 60), sizes (20, 40) and (20, 80).
    expected = [5 / 20 / 0.1, 20 / 40 / 0.1, 0, np.log(2) / 0.2]
    np.testing.assert_allclose(encode(anchor, box)[0], expected, rtol=1e-6)


def test_anchors_belong_to_the_box_that_they_overlap_most():
    anchors = Anchors(128, base=16).boxes
    boxes, labels = some_boxes(5, size=120, seed=7), np.array([3, 1, 4, 1, 5])
    offsets, found = targets(anchors, boxes, labels)
    shared = np.array([[overlap(a, b) for b in boxes] for a in anchors])
    best = set(shared.argmax(axis=0))
    for anchor in range(len(anchors)):
        if anchor in best:
            continue
        most = shared[anchor].max()
        if most >= 0.5:
            assert found[anchor] == labels[shared[anchor].argmax()]
        else:
            assert found[anchor] == (IGNORED if most >= 0.4 else BACKGROUND)
            assert not offsets[anchor].any()
    positive = found >= 0
    assert best <= set(np.flatnonzero(positive))
    decoded = decode(anchors[positive], offsets[positive])
    nearest = overlaps(decoded, boxes).max(axis=1)
    np.testing.assert_allclose(nearest, 1, atol=1e-3)


def test_a_box_smaller_than_all_anchors_has_one_too():
    anchors = Anchors(64, base=32).boxes
    _, found = targets(anchors, np.array([[30, 30, 33, 33]], "float32"), np.array([2]))
    assert (found == 2).sum() == 1


def test_an_image_without_boxes_is_all_background():
    anchors = Anchors(64).boxes
    offsets, found = targets(anchors, np.zeros((0, 4)), np.zeros(0, int))
    assert (found == BACKGROUND).all() and not offsets.any()


@pytest.mark.parametrize("count", [1, 3, 40])
def test_each_box_has_an_anchor(count):
    anchors = Anchors(256, base=16).boxes
    boxes = some_boxes(count, size=250, seed=count)
    _, found = targets(anchors, boxes, np.arange(count))
    assert set(range(count)) - set(found.tolist()) == set() or count == 40


@pytest.mark.parametrize("seed", range(10))
def test_the_rules_one_after_the_other_give_the_same(seed):
    """Many small boxes, of which several have one best anchor."""
    anchors = Anchors(64, base=32).boxes
    boxes = (
        some_boxes(30, size=60, seed=seed) * [1, 1, 0.5, 0.5] if seed % 2 else some_boxes(30, 60)
    )
    boxes = np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:] - 1), boxes[:, 2:]], axis=-1)
    boxes, labels = boxes.astype("float32"), np.arange(30)
    for ours, expected in zip(targets(anchors, boxes, labels),
                              reference(anchors, boxes, labels), strict=True):  # fmt: skip
        np.testing.assert_allclose(ours, expected, atol=1e-3)
