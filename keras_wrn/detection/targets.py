"""What each anchor box of a detector is to become for an image."""

import numpy as np

from keras_wrn.detection.boxes import encode, overlaps

POSITIVE, NEGATIVE = 0.5, 0.4  # overlaps
BACKGROUND, IGNORED = -1, -2


def targets(anchors, boxes, labels):
    """What each anchor is to become for one image.

    An anchor belongs to the box that it overlaps most, if by 0.5 or more. Below 0.4 it is
    background, in between it counts for nothing. Each box also has the anchor that overlaps it
    most, however little: without that, small boxes would have none.

    Args:
        anchors: float32 (n, 4).
        boxes: float32 (m, 4), left, top, right, bottom, each of some size.
        labels: int (m,).

    Returns:
        float32 (n, 4), offsets, see `encode`; 0 where there is no box. int32 (n,), labels, or
        `BACKGROUND` or `IGNORED`.
    """
    offsets = np.zeros((len(anchors), 4), "float32")
    found = np.full(len(anchors), BACKGROUND, "int32")
    if not len(boxes):
        return offsets, found
    shared = overlaps(anchors, boxes)
    nearest, most = shared.argmax(axis=1), shared.max(axis=1)
    found[most >= NEGATIVE] = IGNORED
    belongs = most >= POSITIVE
    # In the order of their overlap: of two boxes with one best anchor the better one has it.
    for box in np.argsort(shared.max(axis=0), kind="stable"):
        if shared[:, box].max() > 0:
            best = shared[:, box].argmax()
            nearest[best], belongs[best] = box, True
    found[belongs] = np.asarray(labels)[nearest[belongs]]
    offsets[belongs] = encode(anchors[belongs], np.asarray(boxes, "float32")[nearest[belongs]])
    return offsets, found
