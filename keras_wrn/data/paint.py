"""Changes to single images by Pillow: colour jitter and TrivialAugment, from given draws.

Pillow's operations are those that torchvision's recipes were trained with. Keras 3.15.1 and
keras-cv 0.9.0 have layers for them, and none would do; measured on TensorFlow:

- None of Keras' layers gives the same images again where tf.data calls it in parallel.
- RandomBrightness adds: 100 becomes up to 202 at a factor of 0.4, and 140 by torchvision's rule.
- RandomSaturation changes nothing at a factor of 0.5, and does not clip: at 0.9 values of noise go
  down to -2,016.
- Neither package has a TrivialAugment.

Sources: Mueller & Hutter 2021, https://arxiv.org/abs/2103.10158 (TrivialAugment, the wide space);
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


def _up_to(most):
    return np.linspace(0, most, BINS)


# Name: the levels, whether they have a sign, and the change.
TRIVIAL = {
    "identity": (_up_to(0), False, lambda image, level: image),
    "shear_x": (_up_to(0.99), True, _move(lambda level: (1, level, 0, 0, 1, 0))),
    "shear_y": (_up_to(0.99), True, _move(lambda level: (1, 0, 0, level, 1, 0))),
    "translate_x": (_up_to(32), True, _move(lambda level: (1, 0, -int(level), 0, 1, 0))),
    "translate_y": (_up_to(32), True, _move(lambda level: (1, 0, 0, 0, 1, -int(level)))),
    "rotate": (_up_to(135), True, lambda image, level: image.rotate(level)),
    "brightness": (_up_to(0.99), True, _enhance("Brightness")),
    "color": (_up_to(0.99), True, _enhance("Color")),
    "contrast": (_up_to(0.99), True, _enhance("Contrast")),
    "sharpness": (_up_to(0.99), True, _enhance("Sharpness")),
    "posterize": (
        8 - np.round(_up_to(6)),
        False,
        _operation("posterize", lambda level: [int(level)]),
    ),
    "solarize": (255 - _up_to(255), False, _operation("solarize", lambda x: [x])),
    "auto_contrast": (_up_to(0), False, _operation("autocontrast", lambda x: [])),
    "equalize": (_up_to(0), False, _operation("equalize", lambda x: [])),
}


def trivial_augment(image, draws):
    """Change a PIL image by one of fourteen operations at one of 31 levels.

    Args:
        image: RGB.
        draws: float (3,) in [0, 1): operation, level, sign.
    """
    names = list(TRIVIAL)
    levels, has_sign, change = TRIVIAL[names[int(draws[0] * len(names))]]
    level = float(levels[int(draws[1] * BINS)])
    return change(image, -level if has_sign and draws[2] < 0.5 else level)


def paint(images, plan):
    """Change a batch of images, each by its own part of a plan.

    Args:
        images: uint8 (batch, height, width, 3), a NumPy array.
        plan: dict with `color` (batch, 4) or `trivial` (batch, 3) or both; see `jitter_draws` and
            `trivial_augment`.

    Returns:
        uint8, the same shape.
    """
    from PIL import Image

    painted = np.empty_like(images)
    for i, pixels in enumerate(images):
        image = Image.fromarray(pixels)
        if "color" in plan:
            image = color_jitter(image, plan["color"][i])
        if "trivial" in plan:
            image = trivial_augment(image, plan["trivial"][i])
        painted[i] = np.asarray(image)
    return painted
