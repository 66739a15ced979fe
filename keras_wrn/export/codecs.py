"""One encoded image to pixels inside a TensorFlow graph: exactly those of Pillow, or an error.

TensorFlow's decoders read much that Pillow refuses or reads otherwise. So each format is first
looked through, block by block, and only what both read alike is handed to TensorFlow, without what
the pixels do not need. Every function raises a TensorFlow error for an image that it does not read.
"""

import zlib

BLOCKS = 400  # that are looked at one by one: a moment's work, and more than files have
SCANS = 32  # of a progressive JPEG, each of which costs as much as the image; encoders write ten
METADATA = 2**16  # bytes of a compressed text or profile in a PNG
MAX_TEXT = 2**20  # Pillow refuses a PNG with a text or profile that is longer

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
IHDR = b"\x00\x00\x00\rIHDR"
IEND = b"\x00\x00\x00\x00IEND\xaeB`\x82"
# What Pillow asks of a chunk's length. It reads the size of an animated PNG's first frame
# elsewhere, and TensorFlow does not.
LEAST = {
    b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9, b"iCCP": 3, b"zTXt": 3,
    b"acTL": 2**32, b"fcTL": 2**32, b"fdAT": 2**32,
}  # fmt: skip
# A frame of one pixel with its own colours: it is read only where all before it was sound.
SOUND = b"\x2c\0\0\0\0\1\0\1\0\x80\0\0\0\0\0\0\2\2\x44\1\0"


def image_size(data):
    """Height and width that an encoded image declares, int64 (2,)."""
    return _by_format(data, _jpeg_size, _png_size, _gif_size, _bmp_size, _webp_size)


def decode(data):
    """Decode one image, str (), to uint8 (height, width, 3)."""
    image = _by_format(data, _jpeg, _png, _gif, _bmp, _webp)
    image.set_shape((None, None, 3))
    return image


def _by_format(data, jpeg, png, gif, bmp, webp):
    """Call that function whose format the first bytes are of."""
    import tensorflow as tf

    cases = [
        (_starts(data, 0, b"\xff\xd8\xff"), lambda: jpeg(data)),
        (_starts(data, 0, PNG_SIGNATURE + IHDR), lambda: png(data)),
        (_starts(data, 0, b"GIF87a") | _starts(data, 0, b"GIF89a"), lambda: gif(data)),
        (_starts(data, 0, b"BM"), lambda: bmp(data)),
    ]
    return tf.case(cases, default=lambda: webp(data))


def _jpeg_size(data):
    import tensorflow as tf

    return tf.cast(tf.io.extract_jpeg_shape(data)[:2], tf.int64)


def _jpeg(data):
    """Segments up to the first scan, no more scans than allowed, and nothing after the end."""
    import tensorflow as tf

    octets = _octets(data)
    known = [*b"\xc0\xc1\xc2\xc4\xc9\xca\xcc\xdb\xdd\xfe", *range(0xE0, 0xF0)]

    def segment(at, count, adobe, frame):
        marker = octets[at + 1]
        length = number(octets, at + 2, 2, big=True)
        is_adobe = (marker == 0xEE) & _starts(data, at + 4, b"Adobe") & (length >= 14)
        checks = [
            _check(octets[at] == 0xFF, "a marker"),
            _check(tf.reduce_any(marker == tf.constant(known, tf.uint8)), "a known marker"),
            _check(length >= 2, "a length"),
        ]
        with tf.control_dependencies(checks):
            is_frame = tf.reduce_any(marker == tf.constant([*b"\xc0\xc1\xc2\xc9\xca"], tf.uint8))
        frame = tf.where(is_frame, at, frame)
        return at + 2 + length, count + 1, adobe | is_adobe, frame

    at, _, adobe, frame = tf.while_loop(
        lambda at, count, *_: (octets[at + 1] != 0xDA) & (count < BLOCKS),
        segment,
        (_int(2), 0, False, _int(0)),
    )
    first, second = octets[at:-1], octets[at + 1 :]
    marked = first == 0xFF
    length = tf.where(marked & (second == 0xD9))[0, 0]
    scans = tf.where((marked & (second == 0xDA))[:length])[:, 0] + at
    channels = tf.io.extract_jpeg_shape(data)[2]
    checks = [
        _check(octets[at] == 0xFF, "a marker"),
        _check(octets[at + 1] == 0xDA, "few segments"),
        _check(tf.size(scans) <= SCANS, "few scans"),
        # Pillow takes every image of four inks as Adobe's, which are inverted.
        _check((channels == 1) | (channels == 3) | (channels == 4) & adobe, "grey, RGB or CMYK"),
    ]
    with tf.control_dependencies(checks):
        marker = octets[frame + 1]
        progressive = (marker == 0xC2) | (marker == 0xCA)
        whole = tf.cond(progressive, lambda: _are_whole(octets, frame, channels, scans), lambda: True)
    with tf.control_dependencies([_check(whole, "all scans")]):
        whole = _cut(data, 0, at + length + 2)
        # The accurate DCT is what Pillow uses.
        return tf.io.decode_jpeg(whole, 3, dct_method="INTEGER_ACCURATE")


def _are_whole(octets, frame, channels, scans):
    """Whether the scans of a progressive JPEG give each component's first frequencies in full.

    Where they do not, libjpeg smooths the blocks, each of its versions in a way of its own.
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


def _png_size(data):
    import tensorflow as tf

    octets = _octets(_cut(data, 0, 24))
    return tf.stack([number(octets, 20, 4, big=True), number(octets, 16, 4, big=True)])


def _png(data):
    """The header and the pixels of a PNG, after a look at all its chunks."""
    import tensorflow as tf

    octets = _octets(data)
    bits, color = octets[24], octets[25]
    types, least = tf.constant([*LEAST]), tf.constant([*LEAST.values()], tf.int64)

    def chunk(at, count, palette, begin, end):
        length, kind = number(octets, at, 4, big=True), _cut(data, at + 4, 4)
        is_pixels, is_palette = kind == b"IDAT", kind == b"PLTE"
        is_text = (kind == b"iCCP") | (kind == b"zTXt")
        is_unpacked = (kind != b"iTXt") | (_after_nul(octets, at + 8) == 0)
        # An upper case letter: a decoder has to know it.
        is_critical = octets[at + 4] < 96
        times = tf.cond(is_pixels, lambda: _repeats(octets, at, 8, length + 12), lambda: _int(1))
        is_clear = (kind != b"tRNS") | (color == 3) | (length >= tf.where(color == 2, _int(6), _int(2)))
        checks = [
            _check(is_clear, "transparency of this kind of pixels"),
            _check(length >= tf.reduce_max(tf.where(types == kind, least, _int(0))), "a length"),
            _check(is_pixels | is_palette | ~is_critical, "a known chunk"),
            _check(~is_pixels | (begin == 0) | (end == at), "pixels in one piece"),
            _check(~is_palette | (palette == 0) & (begin == 0), "a palette before the pixels"),
            _check(is_unpacked, "a text that is not compressed"),
            tf.cond(is_pixels, tf.no_op, lambda: _check_sum(data, octets, at + 4, length + 4)),
            tf.cond(is_text, lambda: _check_text(data, octets, at + 8, length), tf.no_op),
        ]
        with tf.control_dependencies(checks):
            following = at + (length + 12) * times
        return (
            following,
            count + 1,
            tf.where(is_palette, at, palette),
            tf.where(is_pixels & (begin == 0), at, begin),
            tf.where(is_pixels, following, end),
        )

    zero = _int(0)
    at, _, palette, begin, end = tf.while_loop(
        lambda at, count, *_: ~_starts(data, at + 4, b"IEND") & (count < BLOCKS),
        chunk,
        (_int(33), 0, zero, zero, zero),
    )
    whole = [_check(_starts(data, at, IEND), "an end"), _check(begin > 0, "pixels")]

    def rebuilt(header):
        return tf.strings.join([header, _cut(data, begin, end - begin), IEND])

    def deep():
        image = tf.io.decode_png(rebuilt(_cut(data, 0, 33)), 1, dtype=tf.uint16)
        image = tf.cast((tf.cast(image, tf.int32) + 128) // 257, tf.uint8)
        return tf.repeat(image, 3, axis=-1)

    def indexed():
        # Read as grey, the numbers of the colours; the header's check sum changes by a constant.
        change = zlib.crc32(bytes(17)) ^ zlib.crc32(bytes(13) + b"\x03" + bytes(3))
        change = [3] + [0] * 3 + [*change.to_bytes(4, "big")]
        changed = tf.bitwise.bitwise_xor(octets[25:33], tf.constant(change, tf.uint8))
        grey = rebuilt(_cut(data, 0, 25) + _text(changed))
        step = 255 // (2 ** tf.cast(bits, tf.int32) - 1)
        index = tf.cast(tf.io.decode_png(grey, 1)[..., 0], tf.int32) // step
        length = number(octets, palette, 4, big=True)
        colors = tf.reshape(octets[palette + 8 : palette + 8 + length], (-1, 3))
        is_palette = (palette > 0) & (length > 0) & (length <= 768)
        with tf.control_dependencies([_check(is_palette, "a palette")]):
            return tf.gather(colors, index)

    def plain():
        return tf.io.decode_png(rebuilt(_cut(data, 0, 33)), 3)

    with tf.control_dependencies(whole):
        return tf.case([((color == 0) & (bits == 16), deep), (color == 3, indexed)], default=plain)


def _check_sum(data, octets, start, length):
    """Check the CRC of a PNG's chunk: gzip has the same, and TensorFlow reads gzip."""
    import tensorflow as tf

    starts = tf.range(start, start + length, 2**16 - 1)
    lengths = tf.minimum(start + length - starts, 2**16 - 1)
    low, high = lengths % 256, lengths // 256
    last = tf.cast(tf.equal(starts + lengths, start + length), tf.int64)
    headers = _text(tf.stack([last, low, high, 255 - low, 255 - high], axis=-1))
    stored = tf.strings.reduce_join(headers + _cut(data, starts, lengths))
    ends = octets[start + length : start + length + 4][::-1]
    size = _text(length // tf.constant([1, 256, 65536, 2**24], tf.int64) % 256)
    packed = tf.strings.join([b"\x1f\x8b\x08" + bytes(7), stored, _text(ends), size])
    found = tf.strings.length(tf.io.decode_compressed(packed, "GZIP"))
    return _check(tf.cast(found, tf.int64) == length, "a check sum")


def _check_text(data, octets, start, length):
    """Check a compressed text or profile, which follows a name, a NUL, and how it is packed."""
    import tensorflow as tf

    name = tf.argmin(octets[start : start + 80])
    packed = _cut(data, start + name + 2, length - name - 2)
    checks = [
        _check(length <= METADATA, "a short text"),
        _check(_after_nul(octets, start) == 0, "a known compression"),
    ]
    with tf.control_dependencies(checks):
        text = tf.io.decode_compressed(packed, "ZLIB")
    return _check(tf.strings.length(text) <= MAX_TEXT, "a short text")


def _after_nul(octets, start):
    """The octet after the first NUL of the 80 that follow, where a name of a PNG ends."""
    import tensorflow as tf

    return octets[start + tf.argmin(octets[start : start + 80]) + 1]


def _gif_size(data):
    import tensorflow as tf

    octets = _octets(_cut(data, 0, 10))
    return tf.stack([number(octets, 8, 2), number(octets, 6, 2)])


def _gif(data):
    """The first frame of a GIF, which has to fill its screen.

    TensorFlow alone would take room for all frames, and draw what is transparent black; Pillow
    draws it in its colour.
    """
    import tensorflow as tf

    octets = _octets(data)

    def table(at):
        flags = tf.cast(octets[at], tf.int64)
        return tf.where(flags >= 128, 3 * 2 ** (flags % 8 + 1), _int(0))

    def skip_blocks(at, count):
        def block(at, count):
            length = tf.cast(octets[at], tf.int64) + 1
            return at + length * _repeats(octets, at, 1, length), count + 1

        def more(at, count):
            return (octets[at] > 0) & (count < BLOCKS)

        at, count = tf.while_loop(more, block, (at, count))
        with tf.control_dependencies([_check(octets[at] == 0, "few blocks")]):
            return at + 1, count

    def extension(at, count):
        is_sound = (octets[at + 1] != 0xF9) | (octets[at + 2] == 4)
        with tf.control_dependencies([_check(is_sound, "a graphic control of 4 bytes")]):
            return skip_blocks(at + 2, count + 1)

    start, count = tf.while_loop(
        lambda at, count: (octets[at] == 0x21) & (count < BLOCKS),
        extension,
        (13 + table(10), 0),
    )
    end, _ = skip_blocks(start + 11 + table(start + 9), count)
    fills = _starts(data, start, b"\x2c" + bytes(4)) & (
        _cut(data, start + 5, 4) == _cut(data, 6, 4)
    )
    with tf.control_dependencies([_check(fills, "a frame as large as the screen")]):
        head = _cut(data, 0, 13 + table(10))
    frame = _cut(data, start, end - start)
    frames = tf.io.decode_gif(tf.strings.join([head, frame, SOUND + b";"]))
    with tf.control_dependencies([_check(tf.shape(frames)[0] == 2, "a whole frame")]):
        return frames[0]


def _bmp_size(data):
    import tensorflow as tf

    octets = _octets(_cut(data, 0, 26))
    height = number(octets, 22, 4)
    # Negative: the rows come from above.
    height = tf.where(octets[25] == 0xFF, 2**32 - height, height)
    return tf.stack([height, number(octets, 18, 4)])


def _bmp(data):
    """A BMP that is not packed, of 8 bits with a palette, or 24 or 32 in the usual order."""
    import tensorflow as tf

    octets = _octets(data)
    height, width = tf.unstack(_bmp_size(data))
    header, bits = number(octets, 14, 4), number(octets, 28, 2)
    colors = number(octets, 46, 4)
    colors = tf.where(colors == 0, _int(256), colors)
    depth = bits // 8
    start, after = number(octets, 10, 4), 14 + header
    start = tf.where((start == after) & (bits == 8), start + 4 * colors, start)
    stride = (width * depth + 3) // 4 * 4
    checks = [
        _check(tf.reduce_any(header == tf.constant([40, 108, 124], tf.int64)), "a known header"),
        _check(tf.reduce_any(bits == tf.constant([8, 24, 32], tf.int64)), "8, 24 or 32 bits"),
        _check(number(octets, 30, 4) == 0, "no packing"),
        # Of two colours Pillow takes black and white for single bits.
        _check((bits > 8) | (colors > 2) & (colors <= 256), "3 to 256 colours"),
        _check((start >= after) & (width > 0) & (height > 0), "pixels"),
    ]
    with tf.control_dependencies(checks):
        rows = tf.reshape(octets[start : start + stride * height], (height, stride))
    image = tf.reshape(rows[:, : width * depth], (height, width, depth))

    def indexed():
        palette = tf.reshape(octets[after : after + 4 * colors], (colors, 4))
        return tf.gather(palette[:, 2::-1], tf.cast(image[..., 0], tf.int32))

    image = tf.cond(bits == 8, indexed, lambda: image[..., 2::-1])
    return tf.cond(octets[25] == 0xFF, lambda: image, lambda: image[::-1])


def _webp_size(data):
    import tensorflow as tf

    octets = _octets(_cut(data, 0, 30))

    def lossless():
        word = number(octets, 21, 4)
        return tf.stack([word // 2**14 % 2**14 + 1, word % 2**14 + 1])

    def canvas():
        return tf.stack([number(octets, 27, 3) + 1, number(octets, 24, 3) + 1])

    def frame():
        return tf.stack([number(octets, 28, 2) % 2**14, number(octets, 26, 2) % 2**14])

    is_webp = _starts(data, 0, b"RIFF") & _starts(data, 8, b"WEBPVP8")
    with tf.control_dependencies([_check(is_webp, "a known format")]):
        kind = _cut(data, 12, 4)
    return tf.case([(kind == b"VP8L", lossless), (kind == b"VP8X", canvas)], default=frame)


def _webp(data):
    """The one image of a WebP, with its alpha where that lies apart."""
    import tensorflow as tf

    octets = _octets(data)
    total = tf.size(octets, tf.int64)
    known = tf.constant([b"VP8X", b"ICCP", b"ALPH", b"VP8 ", b"VP8L", b"EXIF", b"XMP "])

    def chunk(at, count, alpha, image):
        kind, length = _cut(data, at, 4), number(octets, at + 4, 4)
        is_alpha, is_image = kind == b"ALPH", (kind == b"VP8 ") | (kind == b"VP8L")
        checks = [
            _check(tf.reduce_any(kind == known), "a known chunk"),
            _check(~is_alpha & ~is_image | (image == 0), "one image"),
            _check((at == 12) & is_image | ((at == 12) == (kind == b"VP8X")), "one header"),
        ]
        with tf.control_dependencies(checks):
            following = at + 8 + length + length % 2
        return following, count + 1, tf.where(is_alpha, at, alpha), tf.where(is_image, at, image)

    end, _, alpha, image = tf.while_loop(
        lambda at, count, *_: (at < total) & (count < BLOCKS), chunk, (_int(12), 0, _int(0), _int(0))
    )
    extended = _starts(data, 12, b"VP8X")
    checks = [
        _check(_starts(data, 8, b"WEBP"), "a known format"),
        _check((end == total) & (number(octets, 4, 4) + 8 == total), "whole chunks"),
        _check(image > 0, "an image"),
        # Animation, and what has no meaning.
        _check(~extended | (octets[20] & 0b11000011 == 0), "a still image"),
    ]

    def chunk_at(at):
        length = number(octets, at + 4, 4)
        return _cut(data, at, 8 + length + length % 2)

    def simple():
        return b"WEBP" + chunk_at(image)

    def with_alpha():
        head = b"WEBPVP8X\x0a\0\0\0\x10\0\0\0" + _cut(data, 24, 6)
        return tf.strings.join([head, chunk_at(alpha), chunk_at(image)])

    with tf.control_dependencies(checks):
        parted = extended & (alpha > 0) & _starts(data, image, b"VP8 ")
        body = tf.cond(parted, with_alpha, simple)
    length = tf.cast(tf.strings.length(body), tf.int64)
    size = _text(length // tf.constant([1, 256, 65536, 2**24], tf.int64) % 256)
    alone = tf.strings.join([b"RIFF", size, body])
    clear = parted | _starts(data, image, b"VP8L") & (octets[image + 12] // 16 % 2 == 1)

    def decoded(channels):
        return tf.io.decode_image(alone, channels, expand_animations=False)[..., :3]

    same = tf.reduce_all(_webp_size(alone) == _webp_size(data))
    with tf.control_dependencies([_check(same, "an image as large as its canvas")]):
        return tf.cond(clear, lambda: decoded(4), lambda: decoded(3))


def number(octets, start, length, big=False):
    """An unsigned number in some octets, int64."""
    import tensorflow as tf

    digits = tf.ensure_shape(octets[start : start + length], (length,))
    weights = [256 ** (length - 1 - i if big else i) for i in range(length)]
    return tf.reduce_sum(tf.cast(digits, tf.int64) * tf.constant(weights, tf.int64))


def _repeats(octets, at, width, stride):
    """How many records of `stride` octets in a row have the same first `width`, 256 at most."""
    import tensorflow as tf

    starts = at + stride * tf.range(256, dtype=tf.int64)
    starts = tf.boolean_mask(starts, starts + width <= tf.size(octets, tf.int64))
    heads = tf.gather(octets, starts[:, tf.newaxis] + tf.range(width, dtype=tf.int64))
    same = tf.reduce_all(heads == heads[0], axis=-1)
    return tf.argmin(tf.concat([tf.cast(same, tf.int32), [0]], 0))


def _octets(data):
    import tensorflow as tf

    return tf.io.decode_raw(data, tf.uint8)


def _text(octets):
    """Octets (..., n) as strings (...)."""
    import tensorflow as tf

    table = tf.constant([bytes([i]) for i in range(256)])
    return tf.strings.reduce_join(tf.gather(table, tf.cast(octets, tf.int32)), axis=-1)


def _cut(data, start, length):
    """`length` octets of a string from `start` on, fewer where it ends; a vector of each of many."""
    import tensorflow as tf

    return tf.strings.substr(data, tf.cast(start, tf.int64), tf.cast(length, tf.int64))


def _starts(data, at, text):
    return _cut(data, at, len(text)) == text


def _int(value):
    import tensorflow as tf

    return tf.constant(value, tf.int64)


def _check(condition, expected):
    import tensorflow as tf

    return tf.debugging.Assert(condition, [f"Expected {expected}"])
