"""Small networks and folders of made-up photos, some of them odd."""

import keras
import numpy as np
from photo_files import write
from PIL import Image

import keras_wrn


def network(seed=0):
    """A WRN of random weights whose batch norms have statistics."""
    keras.utils.set_random_seed(seed)
    model = keras_wrn.WideResNet(10, 1)
    random = np.random.default_rng(seed)
    for layer in model.layers:
        if hasattr(layer, "moving_mean"):
            layer.moving_mean.assign(random.normal(0, 0.3, layer.moving_mean.shape))
            layer.moving_variance.assign(random.uniform(0.5, 1.5, layer.moving_variance.shape))
    model.preprocessing = keras_wrn.Preprocessing(32, mean=(0.5,) * 3, std=(0.25,) * 3)
    return model


def photo(random, height=40, width=60, odd=False):
    """A smooth photo, and where it is odd: bool (height, width)."""
    ramp = np.linspace(40, 200, width) + np.linspace(-20, 20, height)[:, None]
    pixels = ramp[..., None] + random.normal(0, 4, (height, width, 3))
    mask = np.zeros((height, width), bool)
    if odd:
        top, left = random.integers(0, height // 2), random.integers(0, width // 2)
        mask[top : top + height // 3, left : left + width // 4] = True
        pixels[mask] = 255 - pixels[mask]
    return np.clip(pixels, 0, 255).astype("uint8"), mask


def good(count, seed=0):
    """Good photos, a list of uint8 arrays."""
    random = np.random.default_rng(seed)
    return [photo(random)[0] for _ in range(count)]


def folder(root, masks=True, suffix="_mask"):
    """A folder in MVTec AD's layout; returns `root`."""
    random = np.random.default_rng(0)
    for part, kind, count in (("train", "good", 6), ("test", "good", 3), ("test", "hole", 3),
                              ("test", "scratch", 2)):  # fmt: skip
        for i in range(count):
            pixels, mask = photo(random, 40 + i, 60 - i, kind != "good")
            write(Image.fromarray(pixels), root / part / kind / f"{i:03}.png")
            if kind != "good" and masks:
                path = root / "ground_truth" / kind / f"{i:03}{suffix}.png"
                write(Image.fromarray((mask * 255).astype("uint8")), path)
    return root
