"""WebP with a single image, as far as TensorFlow and Pillow read it alike."""

from keras_wrn.export.codecs.octets import (
    BLOCKS,
    check,
    cut,
    integer,
    number,
    octets_of,
    starts,
    text_of,
)


def size(data):
    import tensorflow as tf

    octets = octets_of(cut(data, 0, 30))

    def lossless():
        word = number(octets, 21, 4)
        return tf.stack([word // 2**14 % 2**14 + 1, word % 2**14 + 1])

    def canvas():
        return tf.stack([number(octets, 27, 3) + 1, number(octets, 24, 3) + 1])

    def frame():
        return tf.stack([number(octets, 28, 2) % 2**14, number(octets, 26, 2) % 2**14])

    is_webp = starts(data, 0, b"RIFF") & starts(data, 8, b"WEBPVP8")
    with tf.control_dependencies([check(is_webp, "a known format")]):
        kind = cut(data, 12, 4)
    return tf.case([(kind == b"VP8L", lossless), (kind == b"VP8X", canvas)], default=frame)


def decode(data):
    """Decode the single image of a WebP, with its alpha if that is stored apart."""
    import tensorflow as tf

    octets = octets_of(data)
    total = number(octets, 4, 4) + 8  # what follows is ignored
    known = tf.constant([b"VP8X", b"ICCP", b"ALPH", b"VP8 ", b"VP8L", b"EXIF", b"XMP "])

    def chunk(at, count, alpha, image):
        kind, length = cut(data, at, 4), number(octets, at + 4, 4)
        is_alpha, is_image = kind == b"ALPH", (kind == b"VP8 ") | (kind == b"VP8L")
        checks = [
            check(tf.reduce_any(kind == known), "a known chunk"),
            check(~is_alpha & ~is_image | (image == 0), "one image"),
            check((at == 12) & is_image | ((at == 12) == (kind == b"VP8X")), "one header"),
        ]
        with tf.control_dependencies(checks):
            following = at + 8 + length + length % 2
        return following, count + 1, tf.where(is_alpha, at, alpha), tf.where(is_image, at, image)

    end, _, alpha, image = tf.while_loop(
        lambda at, count, *_: (at < total) & (count < BLOCKS),
        chunk,
        (integer(12), 0, integer(0), integer(0)),
    )
    extended = starts(data, 12, b"VP8X")
    checks = [
        check(starts(data, 8, b"WEBP"), "a known format"),
        check((end == total) & (total <= tf.size(octets, tf.int64)), "whole chunks"),
        check(image > 0, "an image"),
        # Neither animation nor reserved bits.
        check(~extended | starts(data, 16, b"\x0a\0\0\0"), "a header of 10 bytes"),
        check(~extended | (octets[20] & 0b11000011 == 0), "a still image"),
    ]

    def chunk_at(at):
        length = number(octets, at + 4, 4)
        return cut(data, at, 8 + length + length % 2)

    def simple():
        return b"WEBP" + chunk_at(image)

    def with_alpha():
        head = b"WEBPVP8X\x0a\0\0\0\x10\0\0\0" + cut(data, 24, 6)
        return tf.strings.join([head, chunk_at(alpha), chunk_at(image)])

    with tf.control_dependencies(checks):
        parted = extended & (alpha > 0) & starts(data, image, b"VP8 ")
        body = tf.cond(parted, with_alpha, simple)
    length = tf.cast(tf.strings.length(body), tf.int64)
    stated = text_of(length // tf.constant([1, 256, 65536, 2**24], tf.int64) % 256)
    alone = tf.strings.join([b"RIFF", stated, body])
    clear = parted | starts(data, image, b"VP8L") & (octets[image + 12] // 16 % 2 == 1)

    def decoded(channels):
        return tf.io.decode_image(alone, channels, expand_animations=False)[..., :3]

    same = tf.reduce_all(size(alone) == size(data))
    with tf.control_dependencies([check(same, "an image as large as its canvas")]):
        return tf.cond(clear, lambda: decoded(4), lambda: decoded(3))
