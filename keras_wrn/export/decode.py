"""Turns encoded images into a network's pixels inside a TensorFlow graph, as Pillow would."""

from keras_wrn.data.preprocess import MAX_PIXELS
from keras_wrn.export.codecs import decode, image_size

CLASSIFIED_PIXELS = 2**24  # per image, unless the export says otherwise: 4096 x 4096
FULL_SIZED = 16  # how many images of that size a batch may have


def decode_images(image_bytes, preprocessing, max_pixels=CLASSIFIED_PIXELS):
    """Decode, resize and crop encoded images, each on its own.

    The formats are JPEG, PNG (8 and 16 bits), GIF (its first frame), BMP and WebP, grey, with a
    palette or with alpha, as far as this TensorFlow decodes them as Pillow does. Alpha is dropped,
    16-bit grey is scaled to 8 bits, and EXIF orientation is not applied. The pixels are those of
    `Preprocessing.prepare`, up to the rounding of the resize and, for a CMYK JPEG, one level.

    Args:
        image_bytes: str tensor (batch,), each an encoded image.
        preprocessing: `keras_wrn.Preprocessing` of 1 or 3 channels.
        max_pixels: int, the most pixels that an image may have. A batch may have sixteen times as
            many; if it has more, its largest images are not decoded.

    Returns:
        Pixels, float32 (batch, size, size, channels) of 0..255, and `valid`, bool (batch,). An
        image is black and not valid, and does not affect the others, if Pillow cannot decode it,
        if its pixels would differ here, if it has too many of them, as declared or once resized
        (`MAX_PIXELS`), or if it has more pieces than are checked: see `codecs`. Among those are
        animated PNG and WebP, GIF with a first frame smaller than the screen, and BMP that is
        compressed, has masks, or has fewer than 8 bits.
    """
    shape = preprocessing.size, preprocessing.size, preprocessing.channels
    pixels, valid, _ = decode_with(
        image_bytes, lambda image: prepare(image, preprocessing), shape, max_pixels
    )
    return pixels, valid


def decode_with(image_bytes, prepare, shape, max_pixels):
    """`decode_images` with another way to prepare an image, and the sizes of the images.

    Args:
        image_bytes, max_pixels: as for `decode_images`.
        prepare: function from uint8 (height, width, 3) to float32 of the `shape`.
        shape: (height, width, channels).

    Returns:
        Pixels, float32 (batch, *shape); `valid`, bool (batch,); and the height and width of each
        image as it declares them, float32 (batch, 2), 0 where it has none.
    """
    import tensorflow as tf

    count = tf.size(image_bytes, out_type=tf.int64)

    @tf.function(input_signature=[tf.TensorSpec((), tf.int64)], autograph=False)
    def declared(index):
        height, width = tf.unstack(tf.cast(image_size(image_bytes[index]), tf.float64))
        with tf.control_dependencies([check_size(height, width, max_pixels)]):
            return index, tf.stack([height, width])

    # A function of its own, so that it is traced once. AutoGraph is slow and not needed here.
    @tf.function(input_signature=[tf.TensorSpec((), tf.int64)], autograph=False)
    def prepared(index):
        image = prepare(decode(image_bytes[index]))
        return index, tf.ensure_shape(image, shape)

    def rows(datasets, shape, dtype):
        """The values of datasets of (index, value), each at its index; zeros where they failed."""
        # One row more than there are images, so that there is always something to batch.
        found = tf.data.Dataset.from_tensors((count, tf.zeros(shape, dtype)))
        for dataset in datasets:
            found = found.concatenate(dataset.ignore_errors())
        indices, values = found.batch(count + 1).get_single_element()
        sizes = tf.stack([count + 1, *shape])
        return indices, tf.scatter_nd(indices[:, tf.newaxis], values, sizes)[:count]

    def together(indices, function, at_once=None):
        return tf.data.Dataset.from_tensor_slices(indices).map(function, at_once)

    _, sides = rows([together(tf.range(count), declared, FULL_SIZED)], (2,), tf.float64)
    pixels = tf.reduce_prod(sides, axis=-1)
    order = tf.argsort(pixels, stable=True)
    pixels = tf.gather(pixels, order)
    within = (pixels > 0) & (tf.cumsum(pixels) <= FULL_SIZED * max_pixels)
    order = tf.cast(order, tf.int64)
    # Sixteen of these take as much memory as one of the largest, which are decoded one by one.
    small = pixels <= max_pixels / FULL_SIZED
    datasets = [
        together(order[within & small], prepared, FULL_SIZED),
        together(order[within & ~small], prepared),
    ]
    indices, images = rows(datasets, shape, tf.float32)
    found = tf.scatter_nd(indices[:, tf.newaxis], tf.ones_like(indices, tf.int32), [count + 1])
    return images, found[:count] > 0, tf.cast(sides, tf.float32)


def check_size(height, width, most):
    """Fail if an image has no pixels, or more than allowed."""
    import tensorflow as tf

    pixels = tf.cast(height, tf.float64) * tf.cast(width, tf.float64)
    return tf.debugging.Assert((pixels > 0) & (pixels <= most), ["so many pixels", height, width])


def prepare(image, preprocessing):
    """Resize and crop uint8 (height, width, 3) like `Preprocessing.prepare`, to float32 pixels."""
    import tensorflow as tf

    if preprocessing.channels == 1:
        image = grey(image)
    size = preprocessing.size
    old = tf.cast(tf.shape(image)[:2], tf.int64)
    new = preprocessing.short_side * old // tf.reduce_min(old)
    with tf.control_dependencies([check_size(new[0], new[1], MAX_PIXELS)]):
        start = tf.cast(tf.round(tf.cast(new - size, tf.float32) / 2), tf.int32)
    # Only the middle of a long image is computed. Pillow resizes the width first and then rounds;
    # TensorFlow starts with the height, so the image is transposed before each pass.
    for axis in (1, 0):
        image = tf.transpose(image, (1, 0, 2))
        image = resize_rows(image, new[axis], start[axis], size, preprocessing.interpolation)
    return tf.cast(image, tf.float32)


def resize_rows(image, new, start, size, interpolation):
    """Rows `start` to `start + size` of an image resized to `new` rows: (size, width, channels)."""
    import tensorflow as tf

    old, width = tf.unstack(tf.shape(image)[:2])
    if interpolation == "nearest":
        return tf.gather(image, nearest(old, tf.cast(new, tf.int32))[start : start + size])
    resized = tf.raw_ops.ScaleAndTranslate(
        images=image[tf.newaxis],
        size=tf.stack([size, width]),
        scale=tf.stack([tf.cast(new, tf.float32) / tf.cast(old, tf.float32), 1.0]),
        translation=tf.stack([-tf.cast(start, tf.float32), 0.0]),
        kernel_type={"bilinear": "triangle", "bicubic": "keyscubic"}[interpolation],
        antialias=True,
    )
    return tf.clip_by_value(tf.round(resized[0]), 0, 255)


def nearest(old, new):
    """Which of the `old` rows each of the `new` rows takes, int32 (new,)."""
    import tensorflow as tf

    step = tf.cast(old, tf.float64) / tf.cast(new, tf.float64)
    # Summed as Pillow does it: where a row lies on the edge of two, rounding decides.
    centres = tf.cumsum(tf.concat([[step * 0.5], tf.fill([new - 1], step)], 0))
    return tf.minimum(tf.cast(centres, tf.int32), old - 1)


def grey(image):
    """ITU-R 601-2 luma, in integers as Pillow computes it: uint8 (h, w, 3) to (h, w, 1)."""
    import tensorflow as tf

    weights = 19595, 38470, 7471
    parts = [w * tf.cast(image[..., i], tf.int32) for i, w in enumerate(weights)]
    return tf.cast((tf.add_n(parts) + 2**15) // 2**16, tf.uint8)[..., tf.newaxis]
