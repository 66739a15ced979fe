"""PNG, as far as TensorFlow and Pillow read it alike."""

import zlib

from keras_wrn.export.codecs.octets import (
    BLOCKS,
    check,
    cut,
    integer,
    number,
    octets_of,
    repeats,
    starts,
    text_of,
)

METADATA = 3 * 2**13  # bytes of a compressed text or profile: 25 MB at worst
MAX_TEXT = 2**20  # bytes of a text or profile; Pillow refuses longer ones
MAX_TEXTS = 16 * MAX_TEXT  # of all of them, compressed ones counted in full; Pillow allows 64 MB
SIGNATURE = b"\x89PNG\r\n\x1a\n"
IHDR = b"\x00\x00\x00\rIHDR"
IEND = b"\x00\x00\x00\x00IEND\xaeB`\x82"
# The least length that Pillow accepts for a chunk. The chunks of an animated PNG, which TensorFlow
# does not know, are never long enough.
LEAST = {
    b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9, b"iCCP": 3, b"zTXt": 3,
    b"acTL": 2**32, b"fcTL": 2**32, b"fdAT": 2**32,
}  # fmt: skip


def size(data):
    import tensorflow as tf

    octets = octets_of(cut(data, 0, 24))
    return tf.stack([number(octets, 20, 4, big=True), number(octets, 16, 4, big=True)])


def decode(data):
    """Decode the header and the pixels of a PNG, after checking all its chunks."""
    import tensorflow as tf

    octets = octets_of(data)
    bits, color = octets[24], octets[25]
    palette, begin, end = walked(data, octets)

    def rebuilt(header):
        return tf.strings.join([header, cut(data, begin, end - begin), IEND])

    def deep():
        image = tf.io.decode_png(rebuilt(cut(data, 0, 33)), 1, dtype=tf.uint16)
        image = tf.cast((tf.cast(image, tf.int32) + 128) // 257, tf.uint8)
        return tf.repeat(image, 3, axis=-1)

    def indexed():
        # Read as grey, these are palette indices; the header's checksum changes by a constant.
        crc = zlib.crc32(bytes(17)) ^ zlib.crc32(bytes(13) + b"\x03" + bytes(3))
        change = tf.constant([3, 0, 0, 0, *crc.to_bytes(4, "big")], tf.uint8)
        changed = tf.bitwise.bitwise_xor(octets[25:33], change)
        grey = rebuilt(cut(data, 0, 25) + text_of(changed))
        step = 255 // (2 ** tf.cast(bits, tf.int32) - 1)
        index = tf.cast(tf.io.decode_png(grey, 1)[..., 0], tf.int32) // step
        length = number(octets, palette, 4, big=True)
        colors = tf.reshape(octets[palette + 8 : palette + 8 + length], (-1, 3))
        is_palette = (palette > 0) & (length > 0) & (length <= 768)
        with tf.control_dependencies([check(is_palette, "a palette")]):
            return tf.gather(colors, index)

    def plain():
        return tf.io.decode_png(rebuilt(cut(data, 0, 33)), 3)

    return tf.case([((color == 0) & (bits == 16), deep), (color == 3, indexed)], default=plain)


def walked(data, octets):
    """Walk all chunks: where the palette is, 0 for none, and where the pixels begin and end."""
    import tensorflow as tf

    color = octets[25]
    types, least = tf.constant([*LEAST]), tf.constant([*LEAST.values()], tf.int64)

    def chunk(at, count, texts, palette, begin, end):
        length, kind = number(octets, at, 4, big=True), cut(data, at + 4, 4)
        is_pixels, is_palette = kind == b"IDAT", kind == b"PLTE"
        is_text = (kind == b"iCCP") | (kind == b"zTXt")
        is_plain = (kind == b"tEXt") | (kind == b"iTXt")
        texts += tf.where(is_text, integer(MAX_TEXT), tf.where(is_plain, length, integer(0)))
        is_unpacked = (kind != b"iTXt") | (after_nul(octets, at + 8) == 0)
        # The first letter is upper case: a decoder has to know the chunk.
        is_critical = octets[at + 4] < 96
        times = tf.cond(is_pixels, lambda: repeats(octets, at, 8, length + 12), lambda: integer(1))
        is_clear = (
            (kind != b"tRNS")
            | (color == 3)
            | (length >= tf.where(color == 2, integer(6), integer(2)))
        )
        checks = [
            check(is_clear, "transparency of this kind of pixels"),
            check(length >= tf.reduce_max(tf.where(types == kind, least, integer(0))), "a length"),
            check(is_pixels | is_palette | ~is_critical, "a known chunk"),
            check(~is_pixels | (begin == 0) | (end == at), "pixels in one piece"),
            check(~is_palette | (palette == 0) & (begin == 0), "a palette before the pixels"),
            check(is_unpacked, "a text that is not compressed"),
            check(texts <= MAX_TEXTS, "few texts"),
            tf.cond(is_pixels, tf.no_op, lambda: check_sum(data, octets, at + 4, length + 4)),
            tf.cond(is_text, lambda: check_text(data, octets, at + 8, length), tf.no_op),
        ]
        with tf.control_dependencies(checks):
            following = at + (length + 12) * times
        return (
            following,
            count + 1,
            texts,
            tf.where(is_palette, at, palette),
            tf.where(is_pixels & (begin == 0), at, begin),
            tf.where(is_pixels, following, end),
        )

    zero = integer(0)
    at, _, _, palette, begin, end = tf.while_loop(
        lambda at, count, *_: ~starts(data, at + 4, b"IEND") & (count < BLOCKS),
        chunk,
        (integer(33), 0, zero, zero, zero, zero),
    )
    with tf.control_dependencies(
        [check(starts(data, at, IEND), "an end"), check(begin > 0, "pixels")]
    ):
        return tf.identity(palette), tf.identity(begin), tf.identity(end)


def check_sum(data, octets, start, length):
    """Check the CRC of a PNG chunk: gzip has the same one, and TensorFlow reads gzip.

    Pillow checks the chunks before the pixels; libpng would go on without it.
    """
    import tensorflow as tf

    starts = tf.range(start, start + length, 2**16 - 1)
    lengths = tf.minimum(start + length - starts, 2**16 - 1)
    low, high = lengths % 256, lengths // 256
    last = tf.cast(tf.equal(starts + lengths, start + length), tf.int64)
    headers = text_of(tf.stack([last, low, high, 255 - low, 255 - high], axis=-1))
    stored = tf.strings.reduce_join(headers + cut(data, starts, lengths))
    ends = octets[start + length : start + length + 4][::-1]
    size = text_of(length // tf.constant([1, 256, 65536, 2**24], tf.int64) % 256)
    packed = tf.strings.join([b"\x1f\x8b\x08" + bytes(7), stored, text_of(ends), size])
    found = tf.strings.length(tf.io.decode_compressed(packed, "GZIP"))
    return check(tf.cast(found, tf.int64) == length, "a check sum")


def check_text(data, octets, start, length):
    """Check a compressed text or profile, which follows a name, a NUL and a compression method."""
    import tensorflow as tf

    name = tf.argmin(octets[start : start + 80])
    packed = cut(data, start + name + 2, length - name - 2)
    checks = [
        check(length <= METADATA, "a short text"),
        check(after_nul(octets, start) == 0, "a known compression"),
    ]
    with tf.control_dependencies(checks):
        text = tf.io.decode_compressed(packed, "ZLIB")
    return check(tf.strings.length(text) <= MAX_TEXT, "a short text")


def after_nul(octets, start):
    """The octet after the first NUL within 80 octets: names in a PNG end with a NUL."""
    import tensorflow as tf

    return octets[start + tf.argmin(octets[start : start + 80]) + 1]
