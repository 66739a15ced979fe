"""What each anchor box of a detector is to become for an image: in TensorFlow, for tf.data."""

import numpy as np

from keras_wrn.detection.boxes import encode, overlaps

POSITIVE, NEGATIVE = 0.5, 0.4  # overlaps
BACKGROUND, IGNORED = -1, -2


def targets(anchors, boxes, labels):
    """What each anchor is to become for one image.

    An anchor belongs to the box that it overlaps most, if by 0.5 or more. Below 0.4 it is
    background, in between it counts for nothing. Each box also has the anchor that overlaps it
    most, however little: without that, small boxes would have none. Of two boxes with one best
    anchor the one with the larger overlap has it.

    Args:
        anchors: float32 (n, 4), a NumPy array.
        boxes: float32 tensor (m, 4), left, top, right, bottom, each of some size.
        labels: int32 tensor (m,).

    Returns:
        Tensors: float32 (n, 4), offsets, see `encode`; 0 where there is no box. int32 (n,), labels,
        or `BACKGROUND` or `IGNORED`.
    """
    import tensorflow as tf

    xp = tf.experimental.numpy
    # One box of no size, which overlaps nothing, so that there is always one.
    boxes = tf.concat([tf.cast(boxes, "float32"), tf.zeros((1, 4))], axis=0)
    labels = tf.concat([tf.cast(labels, "int32"), [BACKGROUND]], axis=0)
    shared = overlaps(tf.constant(anchors), boxes, xp)
    nearest, most = tf.argmax(shared, axis=1, output_type="int32"), tf.reduce_max(shared, axis=1)
    best, top = tf.argmax(shared, axis=0, output_type="int32"), tf.reduce_max(shared, axis=0)
    order = tf.argsort(top, stable=True)
    # The last of the boxes in that order whose best anchor this is, -1 for none.
    ranks = tf.where(tf.gather(top, order) > 0, tf.range(tf.size(order)), -1)
    none = tf.fill([len(anchors)], -1)
    rank = tf.tensor_scatter_nd_max(none, tf.gather(best, order)[:, tf.newaxis], ranks)
    forced = rank >= 0
    nearest = tf.where(forced, tf.gather(order, tf.maximum(rank, 0)), nearest)
    belongs = forced | (most >= POSITIVE)
    found = tf.where(belongs, tf.gather(labels, nearest), BACKGROUND)
    found = tf.where(~belongs & (most >= NEGATIVE), IGNORED, found)
    # Where there is no box, the anchor's own: the logarithm of nothing is infinite.
    own = tf.where(belongs[:, tf.newaxis], tf.gather(boxes, nearest), anchors)
    return tf.where(belongs[:, tf.newaxis], encode(anchors, own, xp), np.float32(0)), found
