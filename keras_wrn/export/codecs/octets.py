"""Octets of a file inside a TensorFlow graph."""

BLOCKS = 400  # the most that are checked one by one: quick, and more than files have


def octets_of(data):
    import tensorflow as tf

    return tf.io.decode_raw(data, tf.uint8)


def cut(data, start, length):
    """`length` octets of a string from `start` on, fewer at its end; a vector for vectors."""
    import tensorflow as tf

    return tf.strings.substr(data, tf.cast(start, tf.int64), tf.cast(length, tf.int64))


def starts(data, at, text):
    return cut(data, at, len(text)) == text


def number(octets, start, length, big=False):
    """The unsigned number in some octets, int64."""
    import tensorflow as tf

    digits = tf.ensure_shape(octets[start : start + length], (length,))
    weights = [256 ** (length - 1 - i if big else i) for i in range(length)]
    return tf.reduce_sum(tf.cast(digits, tf.int64) * tf.constant(weights, tf.int64))


def text_of(octets):
    """Octets (..., n) as strings (...)."""
    import tensorflow as tf

    table = tf.constant([bytes([i]) for i in range(256)])
    return tf.strings.reduce_join(tf.gather(table, tf.cast(octets, tf.int32)), axis=-1)


def repeats(octets, at, width, stride):
    """How many records of `stride` octets in a row share the first `width`, 256 at most."""
    import tensorflow as tf

    starts = at + stride * tf.range(256, dtype=tf.int64)
    starts = tf.boolean_mask(starts, starts + width <= tf.size(octets, tf.int64))
    heads = tf.gather(octets, starts[:, tf.newaxis] + tf.range(width, dtype=tf.int64))
    same = tf.reduce_all(heads == heads[0], axis=-1)
    return tf.argmin(tf.concat([tf.cast(same, tf.int32), [0]], 0))


def integer(value):
    import tensorflow as tf

    return tf.constant(value, tf.int64)


def check(condition, expected):
    import tensorflow as tf

    return tf.debugging.Assert(condition, [f"Expected {expected}"])
