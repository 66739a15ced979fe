"""Arithmetic of boxes (..., 4): left, top, right, bottom."""

import numpy as np

# Offsets are divided by these, so that they are about as large as the classes' logits.
DEVIATIONS = np.array([0.1, 0.1, 0.2, 0.2], "float32")
LARGEST = np.float32(np.log(1000 / 16))  # logarithm of a box's side over its anchor's


def overlaps(boxes, others):
    """Intersection over union of each of some boxes with each of others, float32 (n, m).

    Boxes are (..., 4): left, top, right, bottom. An empty box overlaps nothing.
    """
    boxes, others = np.asarray(boxes, "float32"), np.asarray(others, "float32")
    corners = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    corners = corners - np.maximum(boxes[:, None, :2], others[None, :, :2])
    both = np.prod(np.maximum(corners, 0), axis=-1)
    areas = [np.prod(np.maximum(x[:, 2:] - x[:, :2], 0), axis=-1) for x in (boxes, others)]
    either = areas[0][:, None] + areas[1][None, :] - both
    return np.divide(both, either, out=np.zeros_like(both), where=either > 0)


def encode(anchors, boxes):
    """How boxes differ from anchors, float32 (n, 4).

    The distance of the centres over the anchor's width and height, and the logarithm of the ratios
    of widths and heights, divided by `DEVIATIONS`.
    """
    middles, sizes = middles_and_sizes(anchors)
    centers, extents = middles_and_sizes(boxes)
    offsets = np.concatenate([(centers - middles) / sizes, np.log(extents / sizes)], axis=-1)
    return (offsets / DEVIATIONS).astype("float32")


def decode(anchors, offsets, xp=np):
    """The boxes (..., n, 4) that `encode` made offsets (..., n, 4) of; `xp` may be `keras.ops`."""
    middles, sizes = (part.astype("float32") for part in middles_and_sizes(anchors))
    offsets = offsets * DEVIATIONS
    centers = offsets[..., :2] * sizes + middles
    # The exponential of an untrained network's answer may be infinite.
    halves = xp.exp(xp.minimum(offsets[..., 2:], LARGEST)) * sizes / 2
    return xp.concatenate([centers - halves, centers + halves], axis=-1)


def middles_and_sizes(boxes):
    return (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
