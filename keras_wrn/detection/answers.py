"""From what a detector answers to boxes: thresholds, and non-maximum suppression."""

import dataclasses

import numpy as np

from keras_wrn.detection.boxes import decode, overlaps


@dataclasses.dataclass(frozen=True)
class Selection:
    """Which boxes of a detector are answers.

    Args:
        threshold: float, the score that a box has to be above.
        overlap: float, the intersection over union with a better box of the same class that a box
            has to be below.
        most: int, how many boxes of an image are kept: the best.
    """

    threshold: float = 0.05
    overlap: float = 0.5
    most: int = 100

    def __post_init__(self):
        for field in ("threshold", "overlap"):
            value = getattr(self, field)
            if not isinstance(value, int | float) or not 0 <= value <= 1:
                raise ValueError(f"`{field}` should be in [0, 1]. Received: {field}={value!r}")
        if not isinstance(self.most, int) or isinstance(self.most, bool) or self.most < 1:
            raise ValueError(f"`most` should be a positive integer. Received: {self.most!r}")


def select(anchors, box, classification, selection=Selection()):
    """The boxes that a detector finds in one image, from its raw answers.

    This needs NumPy alone. It is for whoever runs a file without non-maximum suppression in it,
    such as a LiteRT file.

    Args:
        anchors: float32 (n, 4), `keras_wrn.models.retinanet.Anchors(size, base).boxes`.
        box: float32 (n, 4), and
        classification: float32 (n, classes): the detector's answers for the image.
        selection: `Selection`.

    Returns:
        dict of `boxes`, float32 (k, 4), left, top, right, bottom in pixels of the detector's
        images; `scores`, float32 (k,), best first; `labels`, int32 (k,).

    Raises:
        ValueError: the answers are not for these anchors, or not finite.

    Example:

    ```python
    anchors = keras_wrn.models.retinanet.Anchors(128).boxes
    answers = np.zeros((len(anchors), 4), "float32"), np.full((len(anchors), 3), -9.0, "float32")
    keras_wrn.detection.select(anchors, *answers)["boxes"].shape   # (0, 4)
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
    boxes, scores = decode(anchors, box), sigmoid(classification)
    found = []
    for label in np.flatnonzero((scores > selection.threshold).any(axis=0)):
        column = scores[:, label]
        places = np.flatnonzero(column > selection.threshold)
        places = places[np.argsort(-column[places], kind="stable")]
        kept = _unlike(boxes[places], selection)
        found += [(column[i], label, i) for i in places[kept]]
    found.sort(key=lambda row: (-row[0], row[1]))
    found = found[: selection.most]
    return {
        "boxes": boxes[[row[2] for row in found]].reshape(-1, 4),
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
