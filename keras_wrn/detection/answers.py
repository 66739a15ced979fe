"""From what a detector answers to boxes: thresholds, and non-maximum suppression."""

import dataclasses
import numbers

import numpy as np

from keras_wrn.checks import check_count
from keras_wrn.detection.boxes import decode, overlaps, with_sizes


@dataclasses.dataclass(frozen=True)
class Selection:
    """Which boxes of a detector are answers.

    Args:
        threshold: float, the score that a box has to be above.
        overlap: float, the intersection over union with a better box of the same class up to which
            a box is kept.
        most: int, how many boxes of an image are kept: the best.
        candidates: int, how many boxes, one for each class, are compared with each other: the best.
    """

    threshold: float = 0.05
    overlap: float = 0.5
    most: int = 100
    candidates: int = 1000

    def __post_init__(self):
        for field in ("threshold", "overlap"):
            value = getattr(self, field)
            valid = isinstance(value, numbers.Real) and not isinstance(value, bool)
            if not valid or not 0 <= value <= 1:
                raise ValueError(f"`{field}` should be in [0, 1]. Received: {field}={value!r}")
            object.__setattr__(self, field, float(value))
        for field in ("most", "candidates"):
            object.__setattr__(self, field, check_count(field, getattr(self, field)))


USUAL = Selection()


def select(anchors, box, classification, selection=USUAL, *, within):
    """The boxes that a detector finds in one image, from its raw answers.

    This needs NumPy alone. It is for whoever runs a file without non-maximum suppression in it,
    such as a LiteRT file.

    Args:
        anchors: float32 (n, 4), `keras_wrn.detection.Anchors(size, base).boxes`.
        box: float32 (n, 4), and
        classification: float32 (n, classes): the detector's answers for the image.
        selection: `Selection`.
        within: (height, width) of the image in pixels of the detector's square, which it fills from
            the upper left on. Boxes are cut off there, and left out if nothing remains.

    Returns:
        dict of `boxes`, float32 (k, 4), x, y, width, height in pixels of the square, x and y those
        of the upper left; `scores`, float32 (k,), best first; `labels`, int32 (k,).

    Raises:
        ValueError: the answers are not for these anchors, or not finite.

    Example:

    ```python
    anchors = keras_wrn.detection.Anchors(128).boxes
    answers = np.zeros((len(anchors), 4), "float32"), np.full((len(anchors), 3), -9.0, "float32")
    found = keras_wrn.detection.select(anchors, *answers, within=(96, 128))
    found["boxes"].shape   # (0, 4)
    ```
    """
    box, classification = np.asarray(box, "float32"), np.asarray(classification, "float32")
    if box.shape != (len(anchors), 4) or classification.shape[:-1] != (len(anchors),):
        raise ValueError(
            f"Expected answers for {len(anchors)} anchors, (anchors, 4) and (anchors, classes). "
            f"Received: shapes {box.shape} and {classification.shape}"
        )
    if not (np.isfinite(box).all() and np.isfinite(classification).all()):
        raise ValueError("The detector answers with NaN or infinity.")
    height, width = within
    boxes = np.clip(decode(anchors, box), 0, np.array([width, height] * 2, "float32"))
    scores = sigmoid(classification)
    scores[(boxes[:, 2:] <= boxes[:, :2]).any(axis=-1)] = 0
    count = min(selection.candidates, scores.size)
    least = np.partition(scores, scores.size - count, axis=None)[scores.size - count]
    candidates = (scores > selection.threshold) & (scores >= least)
    found = []
    for label in np.flatnonzero(candidates.any(axis=0)):
        column = scores[:, label]
        places = np.flatnonzero(candidates[:, label])
        places = places[np.argsort(-column[places], kind="stable")]
        kept = _unlike(boxes[places], selection)
        found += [(column[i], label, i) for i in places[kept]]
    found.sort(key=lambda row: (-row[0], row[1]))
    found = found[: selection.most]
    return {
        "boxes": with_sizes(boxes[[row[2] for row in found]].reshape(-1, 4)),
        "scores": np.array([row[0] for row in found], "float32"),
        "labels": np.array([row[1] for row in found], "int32"),
    }


def sigmoid(logits):
    """The scores of logits, float32, without overflow."""
    small = np.exp(-np.abs(logits))
    return (np.where(logits >= 0, 1, small) / (1 + small)).astype("float32")


def _unlike(boxes, selection):
    """The places of the boxes, best first, that overlap no better one too much."""
    kept: list[int] = []
    left = np.arange(len(boxes))
    while len(left) and len(kept) < selection.most:
        best, left = left[0], left[1:]
        kept.append(int(best))
        if len(left):
            left = left[overlaps(boxes[best : best + 1], boxes[left])[0] <= selection.overlap]
    return kept
