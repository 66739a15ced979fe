"""JPEG, as far as TensorFlow and Pillow read it alike."""

from keras_wrn.export.codecs.octets import (
    BLOCKS,
    check,
    cut,
    integer,
    number,
    octets_of,
    starts,
)

# The most in a progressive JPEG; each costs as much as the image. Encoders write ten, 18 for CMYK.
SCANS = 18
# The least length that Pillow accepts for a segment, by its marker and first bytes.
LEAST = [(0xE0, b"JFIF", 9), (0xEE, b"Adobe", 9), (0xE2, b"ICC_PROFILE\0", 16)]


def size(data):
    import tensorflow as tf

    return tf.cast(tf.io.extract_jpeg_shape(data)[:2], tf.int64)


def decode(data):
    """Check the segments before the first scan, and the number of scans; decode up to the end."""
    import tensorflow as tf

    octets = octets_of(data)
    known = [*b"\xc0\xc1\xc2\xc4\xc9\xca\xcc\xdb\xdd\xfe", *range(0xE0, 0xF0)]

    def segment(at, count, adobe, frame):
        marker = octets[at + 1]
        length = number(octets, at + 2, 2, big=True)
        is_adobe = (marker == 0xEE) & starts(data, at + 4, b"Adobe") & (length >= 14)
        checks = [
            check(octets[at] == 0xFF, "a marker"),
            check(tf.reduce_any(marker == tf.constant(known, tf.uint8)), "a known marker"),
            check(length >= 2, "a length"),
            *(
                check((marker != of) | (length >= least) | ~starts(data, at + 4, name), "a length")
                for of, name, least in LEAST
            ),
        ]
        with tf.control_dependencies(checks):
            is_frame = tf.reduce_any(marker == tf.constant([*b"\xc0\xc1\xc2\xc9\xca"], tf.uint8))
        frame = tf.where(is_frame, at, frame)
        return at + 2 + length, count + 1, adobe | is_adobe, frame

    at, _, adobe, frame = tf.while_loop(
        lambda at, count, *_: (octets[at + 1] != 0xDA) & (count < BLOCKS),
        segment,
        (integer(2), 0, False, integer(0)),
    )
    first, second = octets[at:-1], octets[at + 1 :]
    marked = first == 0xFF
    length = tf.where(marked & (second == 0xD9))[0, 0]
    scans = tf.where((marked & (second == 0xDA))[:length])[:, 0] + at
    channels = tf.io.extract_jpeg_shape(data)[2]
    checks = [
        check(octets[at] == 0xFF, "a marker"),
        check(octets[at + 1] == 0xDA, "few segments"),
        check(tf.size(scans) <= SCANS, "few scans"),
        # Pillow treats every four-channel image as Adobe's, whose values are inverted.
        check((channels == 1) | (channels == 3) | (channels == 4) & adobe, "grey, RGB or CMYK"),
    ]
    with tf.control_dependencies(checks):
        marker = octets[frame + 1]
        progressive = (marker == 0xC2) | (marker == 0xCA)
        whole = tf.cond(
            progressive, lambda: _are_whole(octets, frame, channels, scans), lambda: True
        )
    with tf.control_dependencies([check(whole, "all scans")]):
        whole = cut(data, 0, at + length + 2)
        # Pillow uses the accurate DCT.
        return tf.io.decode_jpeg(whole, 3, dct_method="INTEGER_ACCURATE")


def _are_whole(octets, frame, channels, scans):
    """Whether the scans of a progressive JPEG give each component's first frequencies in full.

    If they do not, libjpeg smooths the blocks, and each version does so in its own way.
    """
    import tensorflow as tf

    names = octets[frame + 10 : frame + 10 + 3 * tf.cast(channels, tf.int64) : 3]
    # Frequencies come in scans of one component: its name, first and last frequency, and how many
    # bits are still to come.
    _, _, _, _, single, name, _, first, last, bits = tf.unstack(
        tf.gather(octets, scans[:, tf.newaxis] + tf.range(10, dtype=tf.int64)), axis=-1
    )
    frequencies = tf.range(1, 10)
    covered = (
        (tf.cast(first, tf.int32)[:, tf.newaxis] <= frequencies)
        & (frequencies <= tf.cast(last, tf.int32)[:, tf.newaxis])
        & ((single == 1) & (bits % 16 == 0))[:, tf.newaxis]
    )
    found = (name[:, tf.newaxis] == names)[..., tf.newaxis] & covered[:, tf.newaxis]
    return tf.reduce_all(tf.reduce_any(found, axis=0))
