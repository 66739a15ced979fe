"""Photos inside tf.data: the crop alone is decoded, in TensorFlow's own threads.

A JPEG in grey or RGB, which nearly every photo is, is decoded and resized by TensorFlow: within one
grey level of Pillow (`bilinear`; three for `bicubic`) where the same part is resized. Every other
image is Pillow's, one at a time. Measured ways and costs are in benchmarks/NOTES.md.
"""

import numpy as np

from keras_wrn.data.preprocess import MAX_PIXELS
from keras_wrn.data.resized_crop import resized_box
from keras_wrn.errors import DataError

MARGIN = 2  # pixels


def photo_reader(photos, size, scale, ratio, flip=None):
    """A function from one image's row of a plan to its pixels, to be mapped over a dataset.

    Args:
        photos: `Photos`.
        size: (height, width) of the crops.
        scale, ratio: pairs of floats for random-resized crops (see `resized_box`), None for whole
            images.
        flip: int, the column of `draws` that mirrors an image if it is a half or more; None for no
            mirror images.

    Returns:
        A function from a dict with `order`, the image's index, `draws`, with random-resized crops
        `crop`, their draws, and maybe `needed`, False for a black image, to a uint8 tensor
        (height, width, channels).
    """
    import tensorflow as tf

    channels, preprocessing = photos.shape[3], photos.preprocessing
    shape = (*(size if scale else photos.shape[1:3]), channels)
    contents_of = photos.source.graph_reader()

    def with_pillow(index, draws, mirrored):
        if scale is None:
            image = photos[int(index)]
        else:
            image = photos.crop(int(index), draws, size, scale, ratio)
        return np.ascontiguousarray(image[:, ::-1]) if mirrored else image

    def with_tensorflow(contents, height, width, draws, mirrored):
        settings = {"channels": 3, "dct_method": "INTEGER_ACCURATE"}
        if scale is None:
            image = tf.io.decode_jpeg(contents, **settings)
            short = tf.minimum(height, width)
            height, width = (preprocessing.short_side * side // short for side in (height, width))
            image = _resized(tf, image, (height, width), preprocessing.interpolation, mirrored)
            # Half pixels are rounded to even, as in `Preprocessing.prepare`.
            top, left = (
                tf.cast(tf.round((side - preprocessing.size) / 2), "int32")
                for side in (height, width)
            )
            return image[top : top + shape[0], left : left + shape[1]]
        sides = tf.cast(height, "float64"), tf.cast(width, "float64")
        box = resized_box(draws, *sides, scale, ratio, tf.experimental.numpy)
        top, left, box_height, box_width = (tf.cast(side, "int32") for side in box)
        # A little more to both sides: at the edge of what is decoded, colours are upsampled without
        # their neighbours.
        before = tf.minimum(left, MARGIN)
        wider = tf.minimum(before + box_width + MARGIN, width - left + before)
        window = tf.stack([top, left - before, box_height, wider])
        image = tf.io.decode_and_crop_jpeg(contents, window, **settings)
        image = image[:, before : before + box_width]
        return _resized(tf, image, size, preprocessing.interpolation, mirrored)

    @tf.autograph.experimental.do_not_convert
    def read(row):
        index, draws = row["order"], row.get("crop", tf.zeros(()))
        mirrored = False if flip is None else row["draws"][flip] >= 0.5
        contents = contents_of(index)

        def jpeg():
            height, width, components = tf.unstack(tf.io.extract_jpeg_shape(contents))
            sides = tf.cast(tf.stack([height, width]), "int64")
            pixels = tf.reduce_prod(sides)
            if scale is None:  # once resized
                resized = preprocessing.short_side * sides // tf.reduce_min(sides)
                pixels = tf.maximum(pixels, tf.reduce_prod(resized))
            usual = tf.logical_and(components != 4, pixels <= MAX_PIXELS)
            given = contents, height, width, draws, mirrored
            return tf.cond(usual, lambda: with_tensorflow(*given), anything)

        def anything():
            image = tf.numpy_function(with_pillow, [index, draws, mirrored], "uint8")
            return tf.ensure_shape(image, shape)

        known = channels == 3 and preprocessing.interpolation != "nearest"
        image = tf.cond(tf.io.is_jpeg(contents), jpeg, anything) if known else anything()
        return tf.ensure_shape(image, shape)

    @tf.autograph.experimental.do_not_convert
    def read_needed(row):
        if "needed" not in row:
            return read(row)
        return tf.cond(row["needed"], lambda: read(row), lambda: tf.zeros(shape, "uint8"))

    return read_needed


def _resized(tf, image, size, interpolation, mirrored):
    """An image (height, width, 3) in another size, as uint8."""
    width = tf.shape(image)[1]

    def lower(image, columns, rows):
        """With so many rows. The columns are taken for channels, which takes half of the time."""
        image = tf.image.resize(
            tf.reshape(image, (1, -1, 1, columns * 3)), (rows, 1), interpolation, antialias=True
        )
        return tf.reshape(image, (rows, columns, 3))

    image = tf.transpose(lower(image, width, size[0]), (1, 0, 2))
    image = lower(image, size[0], size[1])
    if mirrored is not False:
        # Its columns are in rows here. A slice with a negative step would take ten times as long.
        columns = tf.range(size[1])
        image = tf.gather(image, tf.where(mirrored, columns[::-1], columns))
    image = tf.transpose(image, (1, 0, 2))
    if interpolation == "bicubic":  # which goes beyond what it is made of
        image = tf.clip_by_value(image, 0, 255)
    return tf.cast(image + 0.5, "uint8")


def damaged_photo(photos, read, rows):
    """A sentence on the first photo that cannot be read; None if they all can.

    Args:
        photos: `Photos`.
        read: what `photo_reader` returned.
        rows: iterable of the photos' rows of a plan.
    """
    import tensorflow as tf

    for row in rows:
        index = int(row["order"])
        try:
            read({name: tf.constant(part) for name, part in row.items()})
        except (tf.errors.OpError, DataError) as error:
            try:
                photos[index]
            except DataError as problem:
                return str(problem)
            reason = str(error).splitlines()[0]
            return f"{photos.source.name(index)} cannot be decoded by TensorFlow: {reason}"
    return None
