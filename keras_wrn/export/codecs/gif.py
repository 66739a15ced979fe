"""The first frame of a GIF, as far as TensorFlow and Pillow read it alike."""

from keras_wrn.export.codecs.lzw import check_codes
from keras_wrn.export.codecs.octets import (
    BLOCKS,
    check,
    cut,
    integer,
    number,
    octets_of,
    repeats,
    starts,
)

# A one-pixel frame with its own palette: it is read only if everything before it was sound.
SOUND = b"\x2c\0\0\0\0\1\0\1\0\x80\0\0\0\0\0\0\2\2\x44\1\0"


def size(data):
    import tensorflow as tf

    octets = octets_of(cut(data, 0, 10))
    return tf.stack([number(octets, 8, 2), number(octets, 6, 2)])


def decode(data):
    """Decode the first frame of a GIF, which has to fill the screen.

    TensorFlow alone would allocate memory for all frames and draw transparent pixels black; Pillow
    draws them in their colour.
    """
    import tensorflow as tf

    octets = octets_of(data)

    def table(at):
        flags = tf.cast(octets[at], tf.int64)
        return tf.where(flags >= 128, 3 * 2 ** (flags % 8 + 1), integer(0))

    def blocks(at, count):
        """Where blocks end, and their contents."""

        def block(at, count, parts):
            length = tf.cast(octets[at], tf.int64) + 1
            times = repeats(octets, at, 1, length)
            contents = cut(data, at + 1 + length * tf.range(times), tf.fill([times], length - 1))
            parts = parts.write(parts.size(), tf.strings.reduce_join(contents))
            return at + length * times, count + 1, parts

        parts = tf.TensorArray(tf.string, 1, dynamic_size=True, element_shape=())
        at, count, parts = tf.while_loop(
            lambda at, count, _: (octets[at] > 0) & (count < BLOCKS),
            block,
            (at, count, parts.write(0, "")),
        )
        with tf.control_dependencies([check(octets[at] == 0, "few blocks")]):
            return at + 1, count, parts

    def extension(at, count):
        label, length = octets[at + 1], octets[at + 2]
        is_loop = (label == 0xFF) & (length >= 11) & starts(data, at + 3, b"NETSCAPE2.0")
        # A block that Pillow looks into has to be there.
        checks = [
            check((label != 0xF9) | (length == 4), "a graphic control of 4 bytes"),
            check((label == 0xFE) | (length > 0), "an extension with a block"),
            check(~is_loop | (octets[at + 3 + tf.cast(length, tf.int64)] > 0), "a loop's block"),
        ]
        with tf.control_dependencies(checks):
            return blocks(at + 2, count + 1)[:2]

    start, count = tf.while_loop(
        lambda at, count: (octets[at] == 0x21) & (count < BLOCKS),
        extension,
        (13 + table(10), 0),
    )
    fills = starts(data, start, b"\x2c" + bytes(4)) & (cut(data, start + 5, 4) == cut(data, 6, 4))
    with tf.control_dependencies([check(fills, "a frame as large as the screen")]):
        codes = start + 11 + table(start + 9)
    end, _, parts = blocks(codes, count)
    contents = octets_of(tf.strings.reduce_join(parts.stack()))
    with tf.control_dependencies([check_codes(contents, tf.cast(octets[codes - 1], tf.int64))]):
        head, frame = cut(data, 0, 13 + table(10)), cut(data, start, end - start)
    frames = tf.io.decode_gif(tf.strings.join([head, frame, SOUND + b";"]))
    with tf.control_dependencies([check(tf.shape(frames)[0] == 2, "a whole frame")]):
        return frames[0]
