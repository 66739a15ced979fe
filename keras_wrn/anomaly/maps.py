"""Operations on maps of features and of distances, (batch, height, width, channels)."""

import numpy as np
from keras import ops

CUT = 4.0  # standard deviations of a Gaussian that are kept


def local_average(maps):
    """The mean of each place and its eight neighbours; beyond the border are zeros."""
    padded = ops.pad(maps, [[0, 0], [1, 1], [1, 1], [0, 0]])
    return ops.average_pool(padded, 3, 1, padding="valid", data_format="channels_last")


def resized(maps, height, width):
    """Maps in another size, bilinear, with the centres of pixels at their halves."""
    if tuple(maps.shape[1:3]) == (height, width):
        return maps
    return ops.image.resize(
        maps, (height, width), interpolation="bilinear", data_format="channels_last"
    )


def patches(maps, local):
    """The features of each place: those of several stages, in the size of the first and largest.

    Args:
        maps: list of (batch, height, width, channels).
        local: bool, whether each is averaged locally first.

    Returns:
        float32 (batch, places, channels), the channels of all stages.
    """
    height, width = maps[0].shape[1:3]
    parts = []
    for one in maps:
        one = ops.cast(one, "float32")
        one = resized(local_average(one) if local else one, height, width)
        parts.append(ops.reshape(one, (-1, height * width, one.shape[-1])))
    return ops.concatenate(parts, axis=-1)


def smooth(maps, sigma):
    """Blur maps of one channel with a Gaussian; beyond the border they are mirrored.

    Args:
        maps: (batch, height, width, 1).
        sigma: float, its standard deviation in pixels; 0 for no blur.
    """
    if not sigma:
        return maps
    radius = int(CUT * sigma + 0.5)
    places = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (places / sigma) ** 2)
    weights = (weights / weights.sum()).astype("float32")
    maps = ops.pad(maps, [[0, 0], [radius] * 2, [radius] * 2, [0, 0]], mode="reflect")
    for shape in ((-1, 1, 1, 1), (1, -1, 1, 1)):
        kernel = ops.convert_to_tensor(weights.reshape(shape))
        maps = ops.conv(maps, kernel, padding="valid", data_format="channels_last")
    return maps
