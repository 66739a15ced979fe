"""Arithmetic of boxes (..., 4): left, top, right, bottom, called corners elsewhere."""

import numpy as np

# Offsets are divided by these, so that they are about as large as the classes' logits.
DEVIATIONS = np.array([0.1, 0.1, 0.2, 0.2], "float32")
ZERO = np.float32(0)
LARGEST = np.float32(np.log(1000 / 16))  # logarithm of a box's side over its anchor's


def with_sizes(corners, xp=np):
    """Corners as x, y, width, height: x and y are those of the upper left."""
    return xp.concatenate([corners[..., :2], corners[..., 2:] - corners[..., :2]], axis=-1)


def overlaps(boxes, others, xp=np):
    """Intersection over union of each of some boxes with each of others, float32 (n, m).

    Boxes are (..., 4): left, top, right, bottom. An empty box overlaps nothing. `xp` may be
    TensorFlow's NumPy.
    """
    a, b = boxes[:, None], others[None]
    sides = [xp.minimum(a[..., i + 2], b[..., i + 2]) - xp.maximum(a[..., i], b[..., i])
             for i in (0, 1)]  # fmt: skip
    both = xp.maximum(sides[0], ZERO) * xp.maximum(sides[1], ZERO)
    areas = [xp.maximum(x[..., 2] - x[..., 0], ZERO) * xp.maximum(x[..., 3] - x[..., 1], ZERO)
             for x in (a, b)]  # fmt: skip
    either = areas[0] + areas[1] - both
    return both / xp.where(either > 0, either, np.float32(1))


def encode(anchors, boxes, xp=np):
    """How boxes differ from anchors, float32 (n, 4). `xp` may be TensorFlow's NumPy.

    The distance of the centres over the anchor's width and height, and the logarithm of the ratios
    of widths and heights, divided by `DEVIATIONS`.
    """
    middles, sizes = middles_and_sizes(anchors)
    centers, extents = middles_and_sizes(boxes)
    offsets = xp.concatenate([(centers - middles) / sizes, xp.log(extents / sizes)], axis=-1)
    return offsets / DEVIATIONS


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
