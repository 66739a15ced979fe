"""Photos inside tf.data: the crop alone is decoded, in TensorFlow's own threads.

A JPEG in grey or RGB, which nearly every photo is, is decoded and resized by TensorFlow. Its pixels
are Pillow's but for 2 in 100, which differ by a grey level, and a few in a million, by two. Every
other image is Pillow's, one at a time. Measured ways and costs are in benchmarks/NOTES.md.
"""

import functools

import numpy as np

from keras_wrn.data.preprocess import MAX_PIXELS
from keras_wrn.data.resized_crop import resized_box
from keras_wrn.errors import DataError

MARGIN = 2  # pixels
HALF = (
    0.5001  # what lies half-way is rounded up, as by Pillow, in spite of the last bits of float32
)
DECODING = {"channels": 3, "dct_method": "INTEGER_ACCURATE"}  # the other is a grey level off


class PhotoReader:
    """A function from one image's row of a plan to its pixels, to be mapped over a dataset.

    Args:
        photos: `Photos`.
        size: (height, width) of the crops.
        scale, ratio: pairs of floats for random-resized crops (see `resized_box`), None for whole
            images.
        flip: int, the column of `draws` that mirrors an image if it is a half or more; None for no
            mirror images.

    Call arguments:
        row: dict of tensors with `order`, the image's index; `draws`; with random-resized crops
            `crop`, their draws; and maybe `needed`, False for a black image.

    It returns a uint8 tensor (height, width, channels).
    """

    def __init__(self, photos, size, scale, ratio, flip=None):
        self.photos, self.size, self.scale, self.ratio = photos, size, scale, ratio
        self.flip = flip
        self.shape = (*(size if scale else photos.shape[1:3]), photos.shape[3])
        self.contents = photos.source.graph_reader()

    def __call__(self, row):
        import tensorflow as tf

        if "needed" not in row:
            return self._read(tf, row)
        black = functools.partial(tf.zeros, self.shape, "uint8")
        return tf.cond(row["needed"], lambda: self._read(tf, row), black)

    def _read(self, tf, row):
        index, draws = row["order"], row.get("crop", tf.zeros(()))
        mirrored = False if self.flip is None else row["draws"][self.flip] >= 0.5
        contents = self.contents(index)

        def any_kind():
            image = tf.numpy_function(self._with_pillow, [index, draws, mirrored], "uint8")
            return tf.ensure_shape(image, self.shape)

        def jpeg():
            height, width, components = tf.unstack(tf.io.extract_jpeg_shape(contents))
            usual = tf.logical_and(components != 4, self._pixels(tf, height, width) <= MAX_PIXELS)
            cut = self._whole if self.scale is None else self._cropped
            given = tf, contents, height, width, draws, mirrored
            return tf.cond(usual, lambda: cut(*given), any_kind)

        if self.shape[2] == 3 and self.photos.preprocessing.interpolation != "nearest":
            image = tf.cond(tf.io.is_jpeg(contents), jpeg, any_kind)
        else:
            image = any_kind()
        return tf.ensure_shape(image, self.shape)

    def _with_pillow(self, index, draws, mirrored):
        if self.scale is None:
            image = self.photos[int(index)]
        else:
            image = self.photos.crop(int(index), draws, self.size, self.scale, self.ratio)
        return np.ascontiguousarray(image[:, ::-1]) if mirrored else image

    def _pixels(self, tf, height, width):
        """The pixels of an image, or of the resized one if that is larger."""
        sides = tf.cast(tf.stack([height, width]), "int64")
        pixels = tf.reduce_prod(sides)
        if self.scale is not None:
            return pixels
        resized = self.photos.preprocessing.short_side * sides // tf.reduce_min(sides)
        return tf.maximum(pixels, tf.reduce_prod(resized))

    def _whole(self, tf, contents, height, width, draws, mirrored):
        """The image resized and cropped as `Preprocessing.prepare` does it."""
        preprocessing = self.photos.preprocessing
        image = tf.io.decode_jpeg(contents, **DECODING)
        short = tf.minimum(height, width)
        height, width = (preprocessing.short_side * side // short for side in (height, width))
        image = _resized(tf, image, (height, width), preprocessing.interpolation, mirrored)
        # Half pixels are rounded to even, as there.
        top, left = (
            tf.cast(tf.round((side - preprocessing.size) / 2), "int32") for side in (height, width)
        )
        return image[top : top + self.shape[0], left : left + self.shape[1]]

    def _cropped(self, tf, contents, height, width, draws, mirrored):
        """A random-resized crop, of which the crop alone is decoded."""
        sides = tf.cast(height, "float64"), tf.cast(width, "float64")
        box = resized_box(draws, *sides, self.scale, self.ratio, tf.experimental.numpy)
        top, left, box_height, box_width = (tf.cast(side, "int32") for side in box)
        # A little more to both sides: at the edge of what is decoded, colours are upsampled without
        # their neighbours.
        before = tf.minimum(left, MARGIN)
        wider = tf.minimum(before + box_width + MARGIN, width - left + before)
        window = tf.stack([top, left - before, box_height, wider])
        image = tf.io.decode_and_crop_jpeg(contents, window, **DECODING)
        image = image[:, before : before + box_width]
        return _resized(tf, image, self.size, self.photos.preprocessing.interpolation, mirrored)


class WholePhotoReader(PhotoReader):
    """A `PhotoReader` of photos in their own sizes, neither resized nor cropped.

    Args:
        photos: `Photos` in colour.
    """

    def __init__(self, photos):
        super().__init__(photos, photos.shape[1:3], None, None)
        self.shape = (None, None, photos.shape[3])

    def _with_pillow(self, index, draws, mirrored):
        return self.photos.decoded(int(index))

    def _whole(self, tf, contents, height, width, draws, mirrored):
        return tf.io.decode_jpeg(contents, **DECODING)


def _resized(tf, image, size, interpolation, mirrored):
    """An image (height, width, 3) in another size, as uint8."""
    height = tf.shape(image)[0]

    def lower(image, columns, rows):
        """With so many rows. The columns are taken for channels, which takes half of the time."""
        image = tf.image.resize(
            tf.reshape(image, (1, -1, 1, columns * 3)), (rows, 1), interpolation, antialias=True
        )
        if interpolation == "bicubic":  # which goes beyond what it is made of
            image = tf.clip_by_value(image, 0, 255)
        return tf.cast(tf.reshape(image, (rows, columns, 3)) + HALF, "uint8")

    # As in Pillow the width comes first, and whole numbers are between.
    image = lower(tf.transpose(image, (1, 0, 2)), height, size[1])
    if mirrored is not False:
        # Its columns are in rows here. A slice with a negative step would take ten times as long.
        columns = tf.range(size[1])
        image = tf.gather(image, tf.where(mirrored, columns[::-1], columns))
    return lower(tf.transpose(image, (1, 0, 2)), size[1], size[0])


def damaged_photo(photos, read, rows):
    """A sentence on the first photo that cannot be read; None if they all can.

    Args:
        photos: `Photos`.
        read: `PhotoReader`.
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
