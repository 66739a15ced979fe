"""Augmentation batch by batch, with separate draws for every image."""

import keras
import numpy as np
from keras import ops


def crop_and_flip(images, offsets, flips, padding, size=None):
    """Crop reflect-padded images, and mirror some, in a single gather.

    Args:
        images: (batch, height, width, channels), a NumPy array or a tensor of the Keras backend.
        offsets: int32 (batch, 2), top and left of each crop in the padded image, 0 to
            2 * padding + (the image's size - the crop's).
        flips: int32 (batch,), 1 where the crop is mirrored left to right.
        padding: int, pixels added on each side, mirrored without repeating the edge.
        size: (height, width) of the crops; None for that of the images.

    Returns:
        Crops (batch, *size, channels) of the same dtype and kind.
    """
    xp = np if isinstance(images, np.ndarray) else ops
    batch, height, width, channels = xp.shape(images)
    rows_out, columns_out = size or (height, width)

    def reflect(position, size):
        position = position - padding
        return (size - 1) - xp.abs((size - 1) - xp.abs(position))

    across = xp.arange(columns_out, dtype="int32")[None, :]
    flips = flips[:, None]
    across = across + flips * (columns_out - 1 - 2 * across)
    rows = reflect(offsets[:, :1] + xp.arange(rows_out, dtype="int32")[None, :], height)
    columns = reflect(offsets[:, 1:] + across, width)
    first = xp.arange(batch, dtype="int32")[:, None] * height
    pixels = ((first + rows) * width)[:, :, None] + columns[:, None, :]
    return xp.take(xp.reshape(images, (-1, channels)), pixels, axis=0)


@keras.saving.register_keras_serializable("keras_wrn")
class ReflectPadCrop(keras.layers.Layer):
    """Pad by reflection, crop to the old size, flip: the authors' augmentation of CIFAR.

    Every image has its own offset and its own coin flip. (`keras.layers.RandomCrop` draws one
    offset for the whole batch.) Works in a model, and in `tf.data` on the TensorFlow backend.

    Args:
        padding: int, pixels added on each side, below the image's size.
        horizontal_flip: bool, whether half of the images are mirrored.
        seed: int or None, for the draws.
        **kwargs: those of `keras.layers.Layer`.

    Call arguments:
        images: (batch, height, width, channels), any dtype, which is kept.
        training: bool. Outside training, images pass unchanged.

    Raises:
        ValueError: `padding` is negative, or not below the images' size.

    Source: the authors' train.lua: 9 x 9 offsets at padding 4, flip with p = 0.5.

    Example:

    ```python
    layer = keras_wrn.data.ReflectPadCrop(4, seed=0)
    images = np.zeros((6, 32, 32, 3), "uint8")
    cropped = layer(images, training=True)   # (6, 32, 32, 3)
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(2)
    dataset = dataset.map(lambda x: layer(x, training=True))
    ```
    """

    def __init__(self, padding=4, horizontal_flip=True, seed=None, **kwargs):
        super().__init__(**kwargs)
        check_padding(padding)
        self.padding = padding
        self.horizontal_flip = horizontal_flip
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.autocast = False  # images keep their dtype

    def call(self, images, training=None):
        check_padding(self.padding, images.shape[1:3])
        if not training:
            return images
        batch = ops.shape(images)[0]
        draws = keras.random.uniform((batch, 3), dtype="float32", seed=self.seed_generator)
        offsets, flips = draw_crop(draws, self.padding, self.horizontal_flip)
        return crop_and_flip(images, offsets, flips, self.padding)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        config = super().get_config()
        config.update(padding=self.padding, horizontal_flip=self.horizontal_flip, seed=self.seed)
        return config


def check_padding(padding, size=()):
    """Raise a ValueError unless images of this size can be padded by reflection."""
    limit = min((side for side in size if side is not None), default=None)
    if padding < 0 or (limit is not None and padding >= limit):
        expected = "0 or more" if limit is None else f"0 or more and below the size {tuple(size)}"
        raise ValueError(f"`padding` should be {expected}. Received: padding={padding!r}")


def draw_crop(draws, padding, horizontal_flip, margin=(0, 0)):
    """Turn uniform draws (batch, at least 3) into int32 offsets (batch, 2) and flips (batch,).

    `margin` is how much taller and wider the images are than the crops.
    """
    xp = np if isinstance(draws, np.ndarray) else ops
    positions = np.asarray([2 * padding + 1 + side for side in margin], "float32")
    offsets = xp.minimum(xp.floor(draws[:, :2] * positions), positions - 1)
    flips = xp.floor(draws[:, 2] * 2) if horizontal_flip else 0 * draws[:, 2]
    if xp is np:
        return offsets.astype("int32"), flips.astype("int32")
    return ops.cast(offsets, "int32"), ops.cast(flips, "int32")
