"""Encoded images to a network's pixels inside a TensorFlow graph, as Pillow would have it."""

from keras_wrn.data.preprocess import MAX_PIXELS


def decode_images(image_bytes, preprocessing):
    """Decode, resize and crop encoded images, each on its own.

    JPEG, PNG (8 and 16 bits), GIF (its first frame), BMP and WebP, grey, with palette or alpha,
    as far as this TensorFlow decodes them. Alpha is dropped, 16 bits are scaled to 8. The pixels
    are those of `Preprocessing.prepare`, up to the rounding of the resize.

    Args:
        image_bytes: str tensor (batch,), each an encoded image.
        preprocessing: `keras_wrn.Preprocessing` of 1 or 3 channels.

    Returns:
        Pixels, float32 (batch, size, size, channels) of 0..255, and `valid`, bool (batch,). An
        image that cannot be decoded, or that has more than `MAX_PIXELS` as declared or once
        resized, is black and not valid; it does nothing to the others.
    """
    import tensorflow as tf

    count = tf.size(image_bytes, out_type=tf.int64)
    shape = preprocessing.size, preprocessing.size, preprocessing.channels

    def prepared(index):
        image = prepare(decode(image_bytes[index]), preprocessing)
        return index, tf.ensure_shape(image, shape)

    images = tf.data.Dataset.range(count).map(prepared, num_parallel_calls=tf.data.AUTOTUNE)
    # One image more than came: there is always something to batch, and it is cut off again.
    last = tf.data.Dataset.from_tensors((count, tf.zeros(shape)))
    batch = images.ignore_errors().concatenate(last).batch(count + 1)
    indices, pixels = batch.get_single_element()
    indices = indices[:, tf.newaxis]
    pixels = tf.scatter_nd(indices, pixels, tf.stack([count + 1, *shape]))
    found = tf.scatter_nd(indices, tf.ones(tf.shape(indices)[:1], tf.int32), [count + 1])
    return pixels[:count], found[:count] > 0


def decode(data):
    """Decode one image to uint8 (height, width, 3); fails when it is none, or too large."""
    import tensorflow as tf

    def starts(*magic):
        return tf.reduce_any([tf.strings.substr(data, 0, len(m)) == m for m in magic])

    def jpeg():
        height, width = tf.unstack(tf.io.extract_jpeg_shape(data)[:2])
        with tf.control_dependencies([check_size(height, width)]):
            # The accurate DCT is what Pillow uses.
            return tf.io.decode_jpeg(data, 3, dct_method="INTEGER_ACCURATE")

    def png():
        width, height = number(data, 16, 4, big=True), number(data, 20, 4, big=True)

        def deep():
            image = tf.cast(tf.io.decode_png(data, 3, dtype=tf.uint16), tf.int32)
            return tf.cast((image + 128) // 257, tf.uint8)

        with tf.control_dependencies([check_size(height, width)]):
            is_deep = number(data, 24, 1) == 16
            return tf.cond(is_deep, deep, lambda: tf.io.decode_png(data, 3))

    magic = [
        (starts(b"\xff\xd8\xff"), jpeg),
        (starts(b"\x89PNG"), png),
        (starts(b"GIF8"), lambda: gif(data)),
        (starts(b"BM"), lambda: bmp(data)),
    ]
    image = tf.case(magic, default=lambda: webp(data))
    image.set_shape((None, None, 3))
    return image


def gif(data):
    """Decode the first frame of a GIF; TensorFlow alone would take room for all of them."""
    import tensorflow as tf

    octets = tf.cast(tf.io.decode_raw(data, tf.uint8), tf.int64)

    def table(flags):
        return tf.where(flags >= 128, 3 * 2 ** (flags % 8 + 1), 0)

    def skip_blocks(at):
        (at,) = tf.while_loop(lambda at: octets[at] > 0, lambda at: (at + octets[at] + 1,), (at,))
        return at + 1

    start = 13 + table(octets[10])
    (start,) = tf.while_loop(
        lambda at: octets[at] == 0x21, lambda at: (skip_blocks(at + 2),), (start,)
    )
    left, top, width, height = (number(data, start + i, 2) for i in (1, 3, 5, 7))
    end = skip_blocks(start + 11 + table(octets[start + 9]))
    screen = number(data, 6, 2), number(data, 8, 2)
    checks = [
        check_size(screen[1], screen[0]),
        tf.debugging.Assert(octets[start] == 0x2C, ["no image in the GIF"]),
        tf.debugging.Assert(
            (left + width <= screen[0]) & (top + height <= screen[1]), ["a frame beyond the GIF"]
        ),
    ]
    with tf.control_dependencies(checks):
        first = tf.strings.substr(data, tf.constant(0, tf.int64), end) + b";"
    return tf.io.decode_image(first, 3, expand_animations=False)


def bmp(data):
    """Decode a BMP of 8 bits with its palette, which TensorFlow takes for grey, or 24 or 32."""
    import tensorflow as tf

    width, height = number(data, 18, 4), number(data, 22, 4)
    height = tf.minimum(height, 2**32 - height)  # negative: the rows come from above
    bits, packed, colors = number(data, 28, 2), number(data, 30, 4), number(data, 46, 4)

    def palette():
        start = tf.cast(14 + number(data, 14, 4), tf.int32)
        count = tf.where(colors == 0, tf.constant(256, tf.int64), colors)
        table = tf.strings.substr(data, start, tf.cast(4 * count, tf.int32))
        table = tf.reshape(tf.io.decode_raw(table, tf.uint8), (-1, 4))
        index = tf.io.decode_bmp(data)[..., 0]
        return tf.gather(table[:, 2::-1], tf.cast(index, tf.int32))

    checks = [
        check_size(height, width),
        tf.debugging.Assert((bits > 8) | (packed == 0), ["a packed BMP"]),
    ]
    with tf.control_dependencies(checks):
        return tf.cond(bits == 8, palette, lambda: tf.io.decode_bmp(data)[..., :3])


def webp(data):
    """Decode a WebP image, the only format of those that come last."""
    import tensorflow as tf

    chunk = tf.strings.substr(data, 8, 8)
    lossless, extended = chunk == b"WEBPVP8L", chunk == b"WEBPVP8X"
    known = tf.debugging.Assert(lossless | extended | (chunk == b"WEBPVP8 "), ["not an image"])

    def of_bits():
        word = number(data, 21, 4)
        return word % 2**14 + 1, word // 2**14 % 2**14 + 1, word // 2**28 % 2

    def of_canvas():
        return number(data, 24, 3) + 1, number(data, 27, 3) + 1, number(data, 20, 1) // 16 % 2

    def of_frame():
        none = tf.constant(0, tf.int64)
        return number(data, 26, 2) % 2**14, number(data, 28, 2) % 2**14, none

    with tf.control_dependencies([known]):
        cases = [(lossless, of_bits), (extended, of_canvas)]
        width, height, alpha = tf.case(cases, default=of_frame)

    def decoded(channels):
        return tf.io.decode_image(data, channels, expand_animations=False)[..., :3]

    with tf.control_dependencies([check_size(height, width)]):
        return tf.cond(alpha == 1, lambda: decoded(4), lambda: decoded(3))


def number(data, start, length, big=False):
    """An unsigned number in the bytes of a string tensor, as int64."""
    import tensorflow as tf

    start, count = tf.cast(start, tf.int64), tf.constant(length, tf.int64)
    digits = tf.io.decode_raw(tf.strings.substr(data, start, count), tf.uint8)
    weights = [256 ** (length - 1 - i if big else i) for i in range(length)]
    digits = tf.ensure_shape(digits, (length,))
    return tf.reduce_sum(tf.cast(digits, tf.int64) * tf.constant(weights, tf.int64))


def check_size(height, width):
    """Fail when an image has more than `MAX_PIXELS`."""
    import tensorflow as tf

    height, width = tf.cast(height, tf.float64), tf.cast(width, tf.float64)
    return tf.debugging.Assert(height * width <= MAX_PIXELS, ["too many pixels", height, width])


def prepare(image, preprocessing):
    """Resize and crop uint8 (height, width, 3) as `Preprocessing.prepare`, to float32 pixels."""
    import tensorflow as tf

    if preprocessing.channels == 1:
        image = grey(image)
    size = preprocessing.size
    shape = tf.shape(image)[:2]
    sides = tf.cast(shape, tf.int64)
    new = preprocessing.short_side * sides // tf.reduce_min(sides)
    with tf.control_dependencies([check_size(new[0], new[1])]):
        new = tf.cast(new, tf.int32)
    if preprocessing.interpolation == "nearest":
        for axis in (1, 0):
            image = tf.gather(image, nearest(shape[axis], new[axis]), axis=axis)
    else:
        # Pillow rounds after each of the two directions.
        for target in (tf.stack([shape[0], new[1]]), new):
            image = tf.image.resize(image, target, preprocessing.interpolation, antialias=True)
            image = tf.clip_by_value(tf.round(image), 0, 255)
    offsets = tf.round(tf.cast(new - size, tf.float32) / 2)
    top, left = tf.unstack(tf.cast(offsets, tf.int32))
    return tf.image.crop_to_bounding_box(tf.cast(image, tf.float32), top, left, size, size)


def nearest(old, new):
    """Which of `old` rows each of `new` rows takes, int32 (new,)."""
    import tensorflow as tf

    step = tf.cast(old, tf.float64) / tf.cast(new, tf.float64)
    # A sum as Pillow makes it: where a row lies on the edge of two, rounding decides.
    centres = tf.cumsum(tf.concat([[step * 0.5], tf.fill([new - 1], step)], 0))
    return tf.minimum(tf.cast(centres, tf.int32), old - 1)


def grey(image):
    """Luma of ITU-R 601-2, in whole numbers as Pillow computes it: uint8 (h, w, 3) to (h, w, 1)."""
    import tensorflow as tf

    weights = tf.constant([19595, 38470, 7471])
    luma = tf.reduce_sum(tf.cast(image, tf.int32) * weights, axis=-1, keepdims=True)
    return tf.cast((luma + 2**15) // 2**16, tf.uint8)
