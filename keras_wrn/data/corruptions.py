"""Fifteen ways in which small images are spoilt, at five severities, made from given images.

They follow CIFAR-10-C in their kinds and in their severities where these are plain numbers (the
deviation of noise, the radius of a blur, the quality of a JPEG). They are not its files: snow,
frost, fog, the blurs and the elastic transform are drawn by this code, the last with severities of
its own, and errors differ from those on CIFAR-10-C. The numbers suit images of about 32 pixels.

Source: Hendrycks & Dietterich 2019, https://arxiv.org/abs/1903.12261.
"""

import io

import numpy as np

SEVERITIES = (1, 2, 3, 4, 5)


def corrupt(images, kind, severity, first=0):
    """Spoil images, each by draws of its own.

    Args:
        images: uint8 (n, height, width, 3).
        kind: str, one of `CORRUPTIONS`.
        severity: int, 1 to 5.
        first: int, the number of the first image: an image has the same draws in any batch.

    Returns:
        uint8, the same shape.

    Raises:
        ValueError: another kind or severity, or images of another shape or dtype.

    Example:

    ```python
    images = np.full((2, 32, 32, 3), 128, "uint8")
    foggy = keras_wrn.data.corrupt(images, "fog", 3)   # (2, 32, 32, 3)
    ```
    """
    if kind not in CORRUPTIONS:
        raise ValueError(f"`kind` should be one of {', '.join(CORRUPTIONS)}. Received: {kind!r}")
    if severity not in SEVERITIES:
        raise ValueError(f"`severity` should be 1 to 5. Received: severity={severity!r}")
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        raise ValueError(
            f"Expected images uint8 (n, height, width, 3). Received: {images.dtype} {images.shape}"
        )
    change, levels = CORRUPTIONS[kind]
    number = list(CORRUPTIONS).index(kind)
    spoilt = np.empty_like(images)
    for i, image in enumerate(images):
        random = np.random.default_rng([number, severity, first + i])
        result = change(image.astype("float32") / 255, random, levels[severity - 1])
        spoilt[i] = np.rint(255 * np.clip(result, 0, 1))
    return spoilt


def _gaussian_noise(image, random, deviation):
    return image + random.normal(0, deviation, image.shape)


def _shot_noise(image, random, photons):
    return random.poisson(image * photons) / photons


def _impulse_noise(image, random, share):
    draws = random.random(image.shape)
    return np.where(draws < share / 2, 0, np.where(draws < share, 1, image))


def _filtered(image, kernel):
    from scipy.ndimage import convolve

    return convolve(image, kernel[..., None].astype("float32"), mode="mirror")


def _disk(radius, soft):
    from scipy.ndimage import gaussian_filter

    side = int(np.ceil(radius)) + 2
    y, x = np.mgrid[-side : side + 1, -side : side + 1]
    disk = gaussian_filter((x**2 + y**2 <= radius**2).astype("float64"), soft)
    return disk / disk.sum()


def _defocus_blur(image, random, level):
    return _filtered(image, _disk(*level))


def _glass_blur(image, random, level):
    from scipy.ndimage import gaussian_filter

    deviation, reach, rounds = level
    image = gaussian_filter(image, (deviation, deviation, 0))
    height, width = image.shape[:2]
    for _ in range(rounds):  # each pixel changes places with one nearby
        moves = random.integers(-reach, reach + 1, (height, width, 2))
        for y in range(height - 1, -1, -1):
            for x in range(width - 1, -1, -1):
                other_y = min(max(y + moves[y, x, 0], 0), height - 1)
                other_x = min(max(x + moves[y, x, 1], 0), width - 1)
                kept = image[y, x].copy()
                image[y, x], image[other_y, other_x] = image[other_y, other_x], kept
    return gaussian_filter(image, (deviation, deviation, 0))


def _line(length, angle):
    side = int(np.ceil(length))
    kernel = np.zeros((2 * side + 1, 2 * side + 1))
    for t in np.linspace(0, length, 4 * side + 1):  # it trails behind, as motion does
        kernel[round(side + t * np.sin(angle)), round(side + t * np.cos(angle))] += 1
    return kernel / kernel.sum()


def _motion_blur(image, random, length):
    return _filtered(image, _line(length, random.uniform(-np.pi / 4, np.pi / 4)))


def _zoomed(image, factor):
    from scipy.ndimage import affine_transform

    center = (np.array(image.shape[:2]) - 1) / 2
    matrix = np.diag([1 / factor, 1 / factor])
    offset = center - matrix @ center
    channels = [
        affine_transform(image[..., i], matrix, offset, order=1, mode="mirror") for i in range(3)
    ]
    return np.stack(channels, axis=-1)


def _zoom_blur(image, random, level):
    most, step = level
    factors = np.arange(1, most + 1e-9, step)
    return np.mean([image, *(_zoomed(image, factor) for factor in factors)], axis=0)


def _snow(image, random, level):
    from scipy.ndimage import zoom

    mean, deviation, scale, threshold, length, kept = level
    height, width = image.shape[:2]
    flakes = random.normal(mean, deviation, (height, width))
    flakes = zoom(flakes, scale, order=1)
    top, left = ((a - b) // 2 for a, b in zip(flakes.shape, (height, width), strict=True))
    flakes = flakes[top : top + height, left : left + width]
    flakes = np.clip(np.where(flakes < threshold, 0, flakes), 0, 1)[..., None]
    flakes = _filtered(flakes, _line(length, random.uniform(-3 * np.pi / 4, -np.pi / 4)))
    grey = image @ np.array([0.299, 0.587, 0.114])
    paler = np.maximum(image, grey[..., None] * 1.5 + 0.5)
    return kept * image + (1 - kept) * paler + flakes + flakes[::-1, ::-1]


def _clouds(random, side, smoothness):
    """A fractal pattern in 0..1 by midpoint displacement on a torus (the plasma of fog).

    The swing of the finest details is the smaller, the larger `smoothness`.
    """
    size = 1 << int(np.ceil(np.log2(side)))
    heights = np.zeros((size, size))
    step, swing = size, 100.0
    while step > 1:
        half = step // 2
        corners = heights[::step, ::step]
        middle = corners + np.roll(corners, -1, 0)
        middle = (middle + np.roll(middle, -1, 1)) / 4
        heights[half::step, half::step] = middle + random.uniform(-swing, swing, middle.shape)
        centers = heights[half::step, half::step]
        across = (corners + np.roll(corners, -1, 1) + centers + np.roll(centers, 1, 0)) / 4
        down = (corners + np.roll(corners, -1, 0) + centers + np.roll(centers, 1, 1)) / 4
        heights[::step, half::step] = across + random.uniform(-swing, swing, across.shape)
        heights[half::step, ::step] = down + random.uniform(-swing, swing, down.shape)
        step, swing = half, swing / smoothness
    heights -= heights.min()
    return heights[:side, :side] / max(heights.max(), 1e-9)


def _frost(image, random, level):
    kept, strength = level
    height, width = image.shape[:2]
    side = max(height, width)
    # Ridges of a fractal pattern look like needles of ice.
    ridges = 1 - np.abs(2 * _clouds(random, side, 2.5) - 1)
    ice = (ridges**3)[:height, :width, None] * np.array([0.8, 0.9, 1.0])
    return kept * image + strength * ice


def _fog(image, random, level):
    strength, smoothness = level
    height, width = image.shape[:2]
    fog = _clouds(random, max(height, width), smoothness)[:height, :width, None]
    most = image.max()
    return (image + strength * fog) * most / (most + strength)


def _brightness(image, random, added):
    # In HSV the value is the largest of the three, and saturation and hue stay.
    value = image.max(axis=-1, keepdims=True)
    raised = np.clip(value + added, 0, 1)
    return np.where(value > 0, image * raised / np.maximum(value, 1e-6), raised)


def _contrast(image, random, factor):
    mean = image.mean(axis=(0, 1), keepdims=True)
    return (image - mean) * factor + mean


def _elastic_transform(image, random, level):
    from scipy.ndimage import gaussian_filter, map_coordinates

    amount, smooth, affine = level
    height, width = image.shape[:2]
    moves = random.uniform(-1, 1, (2, height, width))
    moves = np.stack([gaussian_filter(move, smooth, mode="reflect", truncate=3) for move in moves])
    turn = np.eye(2) + random.uniform(-affine, affine, (2, 2))
    center = (np.array([height, width]) - 1) / 2
    grid = np.array(np.mgrid[:height, :width], "float64")
    places = np.tensordot(turn, grid - center[:, None, None], 1) + center[:, None, None]
    places += amount * moves
    moved = (map_coordinates(image[..., i], places, order=1, mode="mirror") for i in range(3))
    return np.stack([np.asarray(channel) for channel in moved], axis=-1)


def _pixelate(image, random, share):
    from PIL import Image

    height, width = image.shape[:2]
    small = max(1, int(width * share)), max(1, int(height * share))
    picture = Image.fromarray(np.rint(255 * image).astype("uint8"))
    box = Image.Resampling.BOX
    picture = picture.resize(small, box).resize((width, height), box)
    return np.asarray(picture, "float32") / 255


def _jpeg_compression(image, random, quality):
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.rint(255 * image).astype("uint8")).save(file, "JPEG", quality=quality)
    with Image.open(file) as picture:
        return np.asarray(picture, "float32") / 255


# Name: the function, and its level for each severity.
CORRUPTIONS = {
    "gaussian_noise": (_gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),
    "shot_noise": (_shot_noise, (500, 250, 100, 75, 50)),
    "impulse_noise": (_impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07)),
    "defocus_blur": (_defocus_blur, ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))),
    "glass_blur": (
        _glass_blur,
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    ),
    "motion_blur": (_motion_blur, (1.5, 2.0, 2.5, 3.0, 4.0)),
    "zoom_blur": (
        _zoom_blur,
        ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    ),
    "snow": (
        _snow,
        ((0.1, 0.2, 1, 0.6, 2, 0.95), (0.1, 0.2, 1, 0.5, 2.5, 0.9), (0.15, 0.3, 1.75, 0.55, 3, 0.9),
         (0.25, 0.3, 2.25, 0.6, 3.5, 0.85), (0.3, 0.3, 1.25, 0.65, 4, 0.8)),
    ),
    "frost": (_frost, ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))),
    "fog": (_fog, ((0.2, 9), (0.5, 9), (0.75, 6.25), (1, 4), (1.5, 3.06))),
    "brightness": (_brightness, (0.05, 0.1, 0.15, 0.2, 0.3)),
    "contrast": (_contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),
    "elastic_transform": (
        _elastic_transform,
        ((2, 3.2, 0.02), (2.5, 3.2, 0.03), (3.5, 3.2, 0.04), (4.5, 3.2, 0.05), (6, 3.2, 0.06)),
    ),
    "pixelate": (_pixelate, (0.95, 0.9, 0.85, 0.75, 0.65)),
    "jpeg_compression": (_jpeg_compression, (80, 65, 58, 50, 40)),
}  # fmt: skip
