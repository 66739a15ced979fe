"""Changes to single images by Pillow, from given draws: colour jitter, RandAugment, TrivialAugment.

Pillow's operations are those that torchvision's recipes were trained with. Keras 3.15.1 and
keras-cv 0.9.0 have layers for them, and none would do; measured on TensorFlow:

- None of Keras' layers gives the same images again where tf.data calls it in parallel.
- RandomBrightness adds: 100 becomes up to 202 at a factor of 0.4, and 140 by torchvision's rule.
- RandomSaturation changes nothing at a factor of 0.5, and does not clip: at 0.9 values of noise go
  down to -2,016.
- Neither package has a TrivialAugment.
- RandAugment: Keras' layer draws the two operations once for the whole batch, and its equalisation
  takes the histogram over the batch: a pixel changed by up to 149 of 255 when the other images were
  changed. keras-cv's layer gives other images for the same `seed`, which a resumed run cannot have.

The levels of both are torchvision's: RandAugment's, of 30 steps up to the largest amount, are a
share here, so that 0.3 is its magnitude 9. What comes in from outside is black. One level differs:
half of TrivialAugment's 32 pixels are 16 here, and 15 there, where float32 has 15.999999.

Sources: Mueller & Hutter 2021, https://arxiv.org/abs/2103.10158 (TrivialAugment, the wide space);
Cubuk et al. 2020, https://arxiv.org/abs/1909.13719 (RandAugment, two operations);
the authors' fb.resnet.torch (colour jitter, lighting), which does not round or clip in between.
"""

import itertools

import numpy as np

BINS = 31  # magnitudes of TrivialAugment, from nothing to all
ORDERS = tuple(itertools.permutations(range(3)))  # of brightness, contrast, saturation
# Eigenvalues and eigenvectors of the colours of ImageNet, in 0..1: the authors' constants.
COLOR_VALUES = np.array([0.2175, 0.0188, 0.0045])
COLOR_VECTORS = np.array(
    [
        [-0.5675, 0.7192, 0.4009],
        [-0.5808, -0.0045, -0.8140],
        [-0.5836, -0.6948, 0.4203],
    ]
)


def jitter_draws(strength, uniform):
    """Factors of brightness, contrast and saturation, and their order, from uniform draws.

    Args:
        strength: float in [0, 1]; the factors are in 1 - strength to 1 + strength.
        uniform: float (..., 4) in [0, 1).

    Returns:
        float32 (..., 4): three factors, and the index of the order in `ORDERS`.
    """
    factors = 1 + strength * (2 * uniform[..., :3] - 1)
    order = np.floor(uniform[..., 3:] * len(ORDERS))
    return np.concatenate([factors, order], axis=-1).astype("float32")


def color_jitter(image, draws):
    """Change the brightness, contrast and saturation of a PIL image; `draws` as above (4,)."""
    from PIL import ImageEnhance

    kinds = ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color
    for which in ORDERS[int(draws[3])]:
        image = kinds[which](image).enhance(float(draws[which]))
    return image


def lighting(deviation, normal):
    """What PCA lighting adds to red, green and blue in 0..255.

    Args:
        deviation: float, of the shares of the eigenvalues; 0.1 in the paper's recipe.
        normal: float (..., 3), standard normal draws.

    Returns:
        float32 (..., 3).
    """
    return (255 * (deviation * normal * COLOR_VALUES) @ COLOR_VECTORS.T).astype("float32")


def _enhance(name):
    def change(image, level):
        from PIL import ImageEnhance

        return getattr(ImageEnhance, name)(image).enhance(1 + level)

    return change


def _move(coefficients):
    """An affine change; `coefficients` takes the level to Pillow's, from new pixels to old."""

    def change(image, level):
        from PIL import Image

        return image.transform(image.size, Image.Transform.AFFINE, coefficients(level))

    return change


def _operation(name, arguments):
    """An operation of `PIL.ImageOps`, whose arguments are made of the level."""

    def change(image, level):
        from PIL import ImageOps

        return getattr(ImageOps, name)(image, *arguments(level))

    return change


CHANGES = {
    "identity": lambda image, level: image,
    "shear_x": _move(lambda level: (1, level, 0, 0, 1, 0)),
    "shear_y": _move(lambda level: (1, 0, 0, level, 1, 0)),
    "translate_x": _move(lambda level: (1, 0, -int(level), 0, 1, 0)),
    "translate_y": _move(lambda level: (1, 0, 0, 0, 1, -int(level))),
    "rotate": lambda image, level: image.rotate(level),
    "brightness": _enhance("Brightness"),
    "color": _enhance("Color"),
    "contrast": _enhance("Contrast"),
    "sharpness": _enhance("Sharpness"),
    "posterize": _operation("posterize", lambda level: [8 - round(level)]),
    "solarize": _operation("solarize", lambda level: [255 - level]),
    "auto_contrast": _operation("autocontrast", lambda level: []),
    "equalize": _operation("equalize", lambda level: []),
}
NAMES = tuple(CHANGES)
SIGNED = NAMES[1:10]


def trivial_augment(image, draws):
    """Change a PIL image by one of fourteen operations at one of 31 levels.

    Args:
        image: RGB.
        draws: float (3,) in [0, 1): operation, level, sign.
    """
    share = int(draws[1] * BINS) / (BINS - 1) * (-1 if draws[2] < 0.5 else 1)
    most = _largest(shear=0.99, shifts=(32, 32), angle=135, enhancement=0.99, bits=6)
    return _change(image, int(draws[0] * len(NAMES)), share, most)


def rand_draws(strength, uniform):
    """Two operations of RandAugment and how much of each, from uniform draws.

    Args:
        strength: float in [0, 1], the share of each operation's largest amount.
        uniform: float (..., 4) in [0, 1): operation and sign, twice.

    Returns:
        float32 (..., 4): the index of an operation in `NAMES` and a share in -1..1, twice.
    """
    operations = np.floor(uniform[..., ::2] * len(NAMES))
    shares = np.where(uniform[..., 1::2] < 0.5, -strength, strength)
    return np.stack([operations, shares], axis=-1).reshape(uniform.shape).astype("float32")


def rand_augment(image, draws):
    """Change a PIL image by two of fourteen operations, one after the other; `draws` as above."""
    shifts = [side * 150 / 331 for side in image.size]
    most = _largest(shear=0.3, shifts=shifts, angle=30, enhancement=0.9, bits=4)
    for which, share in draws.reshape(2, 2):
        image = _change(image, int(which), share, most)
    return image


def _largest(shear, shifts, angle, enhancement, bits):
    """The largest amount of each operation."""
    amounts = [0, shear, shear, *shifts, angle, *[enhancement] * 4, bits, 255, 0, 0]
    return dict(zip(NAMES, amounts, strict=True))


def _change(image, which, share, most):
    """Apply an operation; the sign of `share` counts for those that have two directions."""
    name = NAMES[which]
    share = share if name in SIGNED else abs(share)
    # Of a float, 16 pixels can be 15.9999 and become 15.
    return CHANGES[name](image, round(float(share) * most[name], 4))


def paint(images, plan):
    """Change a batch of images, each by its own part of a plan.

    Args:
        images: uint8 (batch, height, width, 3), a NumPy array.
        plan: dict of what is on of `color` (batch, 4), `rand` (batch, 4) and `trivial` (batch, 3);
            see `jitter_draws`, `rand_draws` and `trivial_augment`.

    Returns:
        uint8, the same shape.
    """
    from PIL import Image

    painted = np.empty_like(images)
    for i, pixels in enumerate(images):
        image = Image.fromarray(pixels)
        if "color" in plan:
            image = color_jitter(image, plan["color"][i])
        if "rand" in plan:
            image = rand_augment(image, plan["rand"][i])
        if "trivial" in plan:
            image = trivial_augment(image, plan["trivial"][i])
        painted[i] = np.asarray(image)
    return painted
