"""The boxes that a detector starts from, and what each of them is to become for an image."""

import dataclasses

import numpy as np

LEVELS = 3, 4, 5, 6, 7  # of the pyramid; level l has a cell for every 2 ** l pixels
SCALES = tuple(2 ** (octave / 3) for octave in range(3))
RATIOS = 0.5, 1.0, 2.0  # height over width
POSITIVE, NEGATIVE = 0.5, 0.4  # overlaps
BACKGROUND, IGNORED = -1, -2
# Offsets are divided by these, so that they are about as large as the classes' logits.
DEVIATIONS = np.array([0.1, 0.1, 0.2, 0.2], "float32")


@dataclasses.dataclass(frozen=True)
class Anchors:
    """Nine boxes around the centre of each cell of a feature pyramid.

    Args:
        size: int, height and width of the images in pixels.
        base: float, the side in pixels of the smallest square anchor. Its box is twice as large at
            each further level of the pyramid. The paper has 32, for images of 800 pixels.

    Source: Lin et al. 2017, https://arxiv.org/abs/1708.02002.

    Example:

    ```python
    anchors = Anchors(256, base=16)
    anchors.boxes.shape   # (12276, 4)
    ```
    """

    size: int
    base: float = 32.0

    @property
    def boxes(self):
        """float32 (n, 4): left, top, right, bottom in pixels, level by level, row by row."""
        levels = []
        for level in LEVELS:
            stride, side = 2**level, self.base * 2 ** (level - LEVELS[0])
            shapes = [
                (side * scale / ratio**0.5, side * scale * ratio**0.5)  # width, height
                for scale in SCALES
                for ratio in RATIOS
            ]
            centers = (np.arange(-(-self.size // stride)) + 0.5) * stride
            y, x = np.meshgrid(centers, centers, indexing="ij")
            middles = np.stack([x, y], axis=-1)[:, :, None]
            halves = np.array(shapes) / 2
            levels.append(np.concatenate([middles - halves, middles + halves], -1).reshape(-1, 4))
        return np.concatenate(levels).astype("float32")


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


def encode(anchors, boxes):
    """How boxes differ from anchors, float32 (n, 4).

    The distance of the centres over the anchor's width and height, and the logarithm of the ratios
    of widths and heights, divided by `DEVIATIONS`.
    """
    middles, sizes = _middles_and_sizes(anchors)
    centers, extents = _middles_and_sizes(boxes)
    offsets = np.concatenate([(centers - middles) / sizes, np.log(extents / sizes)], axis=-1)
    return (offsets / DEVIATIONS).astype("float32")


def decode(anchors, offsets, xp=np):
    """The boxes (..., n, 4) that `encode` made offsets (..., n, 4) of; `xp` may be `keras.ops`."""
    middles, sizes = (part.astype("float32") for part in _middles_and_sizes(anchors))
    offsets = offsets * DEVIATIONS
    centers = offsets[..., :2] * sizes + middles
    # Twice the largest sensible ratio: an exponential of an untrained network may be infinite.
    halves = xp.exp(xp.minimum(offsets[..., 2:], np.float32(np.log(1000 / 16)))) * sizes / 2
    return xp.concatenate([centers - halves, centers + halves], axis=-1)


def _middles_and_sizes(boxes):
    return (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
