"""Random erasing: boxes of drawn area and shape, which images lose."""

import numpy as np

TRIES = 10
COLUMNS = 2 * TRIES + 3  # of an image's row of draws: area and shape of each try, place, whether
SCALE = (0.02, 0.33)  # the smallest and the largest share of the image's area
RATIO = (0.3, 3.3)  # the smallest and the largest height over width


def erased_boxes(draws, probability, size):
    """The box that random erasing takes out of each image; an empty one for none.

    Args:
        draws: float (..., 23) in [0, 1).
        probability: float, the share of the images that lose a box.
        size: (height, width) of the images.

    Returns:
        int32 (..., 4): top, left, bottom, right; the last two are outside the box.

    Source: Zhong et al. 2017, https://arxiv.org/abs/1708.04896, with torchvision's ranges. Keras'
    RandomErasing takes a box out of about half as many images as its factor says.
    """
    height, width = size
    draws = np.asarray(draws, "float64")
    areas = height * width * (SCALE[0] + (SCALE[1] - SCALE[0]) * draws[..., 0 : 2 * TRIES : 2])
    low, high = np.log(RATIO)
    shapes = np.exp(low + (high - low) * draws[..., 1 : 2 * TRIES : 2])
    heights, widths = np.round(np.sqrt(areas * shapes)), np.round(np.sqrt(areas / shapes))
    fits = (heights < height) & (widths < width)
    first = np.argmax(fits, axis=-1)[..., None]
    chosen = fits.any(axis=-1) & (draws[..., -1] < probability)
    sides = [np.take_along_axis(x, first, -1)[..., 0] * chosen for x in (heights, widths)]
    top = np.floor(draws[..., -3] * (height - sides[0] + 1)) * chosen
    left = np.floor(draws[..., -2] * (width - sides[1] + 1)) * chosen
    return np.stack([top, left, top + sides[0], left + sides[1]], axis=-1).astype("int32")
