"""Photos of any size as the squares that a network looks at."""

import numpy as np
from PIL import Image

from keras_wrn.data.images import picture
from keras_wrn.data.preprocess import resample


def as_square(photo, size, interpolation):
    """The whole photo, uint8 (height, width, 3), squeezed into a square: (size, size, 3)."""
    image = Image.fromarray(photo)
    return np.asarray(image.resize((size, size), resample(interpolation)), "uint8")


def listed(image_or_images):
    """A list of images, and whether several were given."""
    several = isinstance(image_or_images, list | tuple)
    several = several or getattr(image_or_images, "ndim", 0) == 4
    return list(image_or_images) if several else [image_or_images], several


def read_squares(images, preprocessing):
    """All photos as squares, uint8 (n, size, size, 3).

    Args:
        images: list of images in any form that `keras_wrn.inference_model` takes.
        preprocessing: `keras_wrn.Preprocessing`, which has the size and the interpolation.

    Raises:
        ValueError: an image cannot be fetched or decoded.
        OSError: a file cannot be read.
    """
    size = preprocessing.size
    squares = np.empty((len(images), size, size, 3), "uint8")
    for number, image in enumerate(images):
        photo = picture(image, f"photo {number}")
        squares[number] = as_square(photo, size, preprocessing.interpolation)
    return squares
