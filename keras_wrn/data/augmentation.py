"""The augmentation of training images: one object, passed from a recipe to the batches."""

import dataclasses
from typing import Annotated

from keras_wrn.checks import Range, out_of_range

Pixels = Annotated[int, Range(0)]
Alpha = Annotated[float, Range(0)]
Part = Annotated[float, Range(0, 1, "(]")]
Strength = Annotated[float, Range(0, 1, "[]")]
PAINTED = "color_jitter", "rand_augment", "trivial_augment"  # by Pillow, in memory


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """The augmentation of training images. Every field is keyword-only.

    In this order: the crop of a photo; on pixels in 0..255 jitter, colour jitter, RandAugment,
    TrivialAugment and lighting; crop and flip; normalisation; cutout and erasing; and last mixup
    and CutMix on images and labels. With both of these on, a coin flip picks one of them for each
    batch.

    Example:

    ```python
    augmentation = keras_wrn.data.Augmentation(crop_padding=2, cutout=8)
    ```
    """

    random_resized_crop: bool = False
    """Photos from files: instead of padding, cut out a part of random area and shape, resized."""
    crop_scale: tuple[float, float] = (0.08, 1.0)
    """random_resized_crop: the smallest and the largest share of a photo's area."""
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """random_resized_crop: the smallest and the largest width over height."""
    crop_padding: Pixels = 4
    """Pixels of reflection padding around the random crop; 0 for no crop."""
    horizontal_flip: bool = True
    """Mirror half of the training images."""
    alternating_flip: bool = False
    """Mirror each image every other epoch, from a random start, instead of by a coin each epoch."""
    cutout: Pixels = 0
    """Side in pixels of the square erased from each training image; 0 for none."""
    mixup: Alpha = 0.0
    """Alpha of mixup's Beta distribution; 0 for none."""
    cutmix: Alpha = 0.0
    """Alpha of CutMix's Beta distribution; 0 for none."""
    cutmix_rate: Part = 1.0
    """The share of the images that CutMix mixes."""
    jitter: Strength = 0.0
    """Change each image's brightness and contrast by up to this share; 0 for none."""
    color_jitter: Strength = 0.0
    """Change brightness, contrast and saturation, in random order, each by a factor that differs
    from 1 by up to this; 0 for none."""
    lighting: Annotated[float, Range(0)] = 0.0
    """Add a random colour along ImageNet's principal ones, of this deviation; 0 for none."""
    trivial_augment: bool = False
    """TrivialAugment: one of fourteen operations for each image, at any strength."""
    erasing: Strength = 0.0
    """The share of the images that lose a rectangle of random area and shape."""
    rand_augment: Strength = 0.0
    """RandAugment: two of fourteen operations for each image, at this share of the largest amounts
    (0.3 is the usual magnitude 9 of 30); 0 for none."""


def conflicts(augmentation, whitened, prefix=""):
    """Yield a sentence for each setting that does not go with the others or with ZCA whitening."""
    low, high = augmentation.crop_scale
    if not 0 < low <= high <= 1:
        yield f"`{prefix}crop_scale` should be two rising shares in (0, 1], received {(low, high)}"
    narrow, wide = augmentation.crop_ratio
    if not 0 < narrow <= wide < float("inf"):
        yield (
            f"`{prefix}crop_ratio` should be two rising numbers above 0, received {(narrow, wide)}"
        )
    if augmentation.random_resized_crop and augmentation.crop_padding:
        yield (
            f"`{prefix}random_resized_crop` takes the place of `{prefix}crop_padding`, which "
            f"should be 0, received {augmentation.crop_padding}"
        )
    if augmentation.alternating_flip and not augmentation.horizontal_flip:
        yield f"`{prefix}alternating_flip` needs `{prefix}horizontal_flip`, received False"
    for field in ("jitter", *PAINTED, "lighting"):
        if getattr(augmentation, field) and whitened:
            yield f"`{prefix}{field}` works on pixels, and does not go with ZCA whitening"


def check_augmentation(augmentation, size, whitened, channels):
    """Raise a ValueError for augmentation that the images cannot have.

    Args:
        augmentation: `Augmentation`.
        size: (height, width) of the crops.
        whitened: bool, whether the images are ZCA whitened first.
        channels: int.
    """
    problems = [*out_of_range(augmentation), *conflicts(augmentation, whitened)]
    if problems:
        raise ValueError("; ".join(problems))
    if augmentation.cutout > min(size):
        raise ValueError(
            f"`cutout` should be at most the image size {size}. "
            f"Received: cutout={augmentation.cutout!r}"
        )
    for field in (*PAINTED, "lighting"):
        if getattr(augmentation, field) and channels != 3:
            raise ValueError(
                f"`{field}` is for RGB images. "
                f"Received: {field}={getattr(augmentation, field)!r} with {channels} channels"
            )
