"""Uncompressed BMP, read as Pillow reads it."""

from keras_wrn.export.codecs.octets import (
    check,
    cut,
    integer,
    number,
    octets_of,
)


def size(data):
    import tensorflow as tf

    octets = octets_of(cut(data, 0, 26))
    height = number(octets, 22, 4)
    # A negative height: the rows go from top to bottom.
    height = tf.where(octets[25] == 0xFF, 2**32 - height, height)
    return tf.stack([height, number(octets, 18, 4)])


def decode(data):
    """Decode an uncompressed BMP: 8 bits with a palette, or 24 or 32 bits in the usual order."""
    import tensorflow as tf

    octets = octets_of(data)
    height, width = tf.unstack(size(data))
    header, bits = number(octets, 14, 4), number(octets, 28, 2)
    colors = number(octets, 46, 4)
    colors = tf.where(colors == 0, integer(256), colors)
    depth = bits // 8
    start, after = number(octets, 10, 4), 14 + header
    start = tf.where((start == after) & (bits == 8), start + 4 * colors, start)
    stride = (width * depth + 3) // 4 * 4
    checks = [
        check(tf.reduce_any(header == tf.constant([40, 108, 124], tf.int64)), "a known header"),
        check(tf.reduce_any(bits == tf.constant([8, 24, 32], tf.int64)), "8, 24 or 32 bits"),
        check(number(octets, 30, 4) == 0, "no packing"),
        # Pillow takes a palette of just black and white for single bits.
        check((bits > 8) | (colors > 2) & (colors <= 256), "3 to 256 colours"),
        check((start >= after) & (width > 0) & (height > 0), "pixels"),
    ]
    with tf.control_dependencies(checks):
        rows = tf.reshape(octets[start : start + stride * height], (height, stride))
    image = tf.reshape(rows[:, : width * depth], (height, width, depth))

    def indexed():
        palette = tf.reshape(octets[after : after + 4 * colors], (colors, 4))
        return tf.gather(palette[:, 2::-1], tf.cast(image[..., 0], tf.int32))

    image = tf.cond(bits == 8, indexed, lambda: image[..., 2::-1])
    return tf.cond(octets[25] == 0xFF, lambda: image, lambda: image[::-1])
