"""The random-resized crop of photos: which part of an image is cut out, and how it is resized."""

import math

import numpy as np

from keras_wrn.data.preprocess import resample

TRIES = 10
COLUMNS = 2 * TRIES + 2  # of an image's row of draws: area and shape of each try, and the place


def resized_box(draws, height, width, scale, ratio, xp=np):
    """The part of an image that a random-resized crop cuts out.

    Of ten tries, the first box that fits into the image is taken: its area is a uniform share of
    the image's, its width over height log-uniform. If none fits, it is the largest central box of
    an allowed shape.

    Args:
        draws: float (22,) in [0, 1): for each of ten tries area and shape, then top and left.
        height, width: of the image in pixels, numbers or float64 tensors.
        scale: the smallest and the largest share of the image's area.
        ratio: the smallest and the largest width over height.
        xp: `numpy`, or for tensors `tensorflow.experimental.numpy`.

    Returns:
        top, left, height, width in whole pixels, as float64.

    Source: torchvision's RandomResizedCrop. That of the authors' fb.resnet.torch draws the shape
    uniformly and swaps its sides in half of the images; the range is the same.
    """

    def rounded(side):
        return xp.floor(side + 0.5)

    draws = xp.asarray(draws, "float64")
    tries = xp.reshape(draws[: 2 * TRIES], (TRIES, 2))
    low, high = scale
    area = height * width * (low + (high - low) * tries[:, 0])
    narrow, wide = (math.log(side) for side in ratio)
    shape = xp.exp(narrow + (wide - narrow) * tries[:, 1])
    widths, heights = rounded(xp.sqrt(area * shape)), rounded(xp.sqrt(area / shape))
    fits = (widths >= 1) & (widths <= width) & (heights >= 1) & (heights <= height)
    first = xp.argmax(xp.asarray(fits, "int32"))
    # None fits: the whole image, without what is too wide or too high.
    full_width = xp.minimum(1.0 * width, rounded(height * ratio[1]))
    full_height = xp.minimum(1.0 * height, rounded(width / ratio[0]))
    found = xp.any(fits)
    box_height = xp.where(found, heights[first], xp.maximum(full_height, 1.0))
    box_width = xp.where(found, widths[first], xp.maximum(full_width, 1.0))
    spare_height, spare_width = height - box_height, width - box_width
    top = xp.where(found, xp.floor(draws[-2] * (spare_height + 1)), xp.floor(spare_height / 2))
    left = xp.where(found, xp.floor(draws[-1] * (spare_width + 1)), xp.floor(spare_width / 2))
    return top, left, box_height, box_width


def resized_crop(image, draws, size, scale, ratio, interpolation):
    """Cut a random-resized crop out of a PIL image; returns another of `size` (height, width)."""
    top, left, height, width = (
        int(side) for side in resized_box(draws, image.height, image.width, scale, ratio)
    )
    image = image.crop((left, top, left + width, top + height))
    return image.resize((size[1], size[0]), resample(interpolation))
