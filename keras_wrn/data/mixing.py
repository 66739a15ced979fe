"""Heavier augmentation, off in the paper's recipes: jitter, cutout, mixup, CutMix, RandAugment.

What is drawn comes from NumPy, by (seed, epoch, index), and what is done to pixels and labels from
Keras' layers, which take a finished draw. So it is the same on tf.data and from arrays, after a
resume, and for any batch size, with two exceptions that belong to a batch: the partner, who sits in
it, and the coin between mixup and CutMix.

Keras 3.15.1 and keras-cv 0.9.0 have each of the three; measured on 2,048 to 8,192 images of 32x32:

- MixUp. Both have a share of its own for each image, and labels that agree with the pixels within
  3e-7. With `seed` given twice, Keras draws the same again, keras-cv does not.
- CutMix. Own box for each image in both. The label's share against the pixels really kept: off by
  0.011 on average and 0.061 at most in Keras, which takes the box before it is rounded to pixels;
  by 0.169 and 0.688 in keras-cv, which takes it before it is cut off at the border.
- Cutout. Keras' RandomErasing keeps the square inside and starts it between pixels, rounding up:
  with a side of 16 the first row is erased in 0.0 % of the images and the last in 6.4 %. keras-cv's
  RandomCutout centres it on any pixel and cuts it off at the border, as the paper does.

Hence Keras' layers for the pixels, and for both kinds of box the draw as in the papers (a centre on
any pixel, cut off at the border), the label from the area left. CutMix here draws a share and a
box for each image, where the paper draws one for each batch.

Brightness and contrast change the pixels before all else, by Keras' layers too.

Sources: DeVries & Taylor 2017 (cutout), Zhang et al. 2018 (mixup), Yun et al. 2019 (CutMix).
"""

import keras
import numpy as np
from keras import ops

from keras_wrn.data.rand_augment import OPERATIONS, RandAugment

COLUMNS = 8  # of the table of uniform draws in `heavy_draws`


def heavy_draws(augmentation, seed, epoch, count, order, size, mixing=True):
    """Draw what happens to the images of one epoch.

    Args:
        augmentation: `Augmentation`.
        seed: int, of the run.
        epoch: int, from 0.
        count: int, the number of training images.
        order: int (steps, batch), the image in each place of the epoch.
        size: (height, width).
        mixing: bool; False leaves the images of this epoch without mixup and CutMix.

    Returns:
        dict of arrays that begin with (steps,), only of what is on: `cutout` and `cutmix`,
        boxes int32 (steps, batch, 4); `partner` int32 and `mixup`, the share of an image's own
        pixels, float32 (steps, batch); `operations` int32 and `amounts` float32 in [0, 1),
        (steps, batch, 2); `jitter` float32 (steps, batch, 2), what is added to pixels of 0..1,
        and the factor on how far they are from their mean after that.
    """
    # The stream of `epoch_draws` is [seed, epoch]: this one leaves its numbers as they are.
    generator = np.random.default_rng([seed, epoch, 1])
    table = generator.random((count, COLUMNS), dtype="float32")[order]
    plan = {}
    if augmentation.cutout:
        sides = np.full(order.shape, augmentation.cutout)
        plan["cutout"] = clipped_boxes(table[..., 0:2], sides, sides, size)
    if augmentation.mixup or augmentation.cutmix:
        plan["partner"] = np.argsort(table[..., 2], axis=1, kind="stable").astype("int32")
        # With both on, the first image of a batch tosses for all of it.
        tossed = table[:, :1, 3] < 0.5
    if augmentation.mixup:
        own = generator.beta(augmentation.mixup, augmentation.mixup, count).astype("float32")[order]
        mixed = tossed if augmentation.cutmix else True
        plan["mixup"] = np.where(mixed & mixing, own, np.float32(1))
    if augmentation.cutmix:
        own = generator.beta(augmentation.cutmix, augmentation.cutmix, count)[order]
        ratio = np.sqrt(1 - own)
        if augmentation.mixup:
            ratio = np.where(tossed, 0, ratio)
        if augmentation.cutmix_rate < 1:
            chosen = (
                np.random.default_rng([seed, epoch, 2]).random(count) < augmentation.cutmix_rate
            )
            ratio = np.where(chosen[order], ratio, 0)
        ratio = ratio * mixing
        heights, widths = ((ratio * side).astype(int) for side in size)
        plan["cutmix"] = clipped_boxes(table[..., 4:6], heights, widths, size)
    if augmentation.rand_augment:
        last = len(OPERATIONS) - 1
        chosen = np.floor(table[..., 6:8] * len(OPERATIONS)).astype("int32")
        plan["operations"] = np.minimum(chosen, last)
        plan["amounts"] = generator.random((count, 2), dtype="float32")[order]
    if augmentation.jitter:
        drawn = np.random.default_rng([seed, epoch, 3]).random((count, 2), dtype="float32")
        plan["jitter"] = (augmentation.jitter * (2 * drawn - 1) + np.array([0, 1], "float32"))[
            order
        ]
    return plan


def heavy_layers(augmentation):
    """Make the layers that `change_pixels` and `change_batch` use, as a dict."""
    # A seed is given, though none is used, because without one Keras takes it from Python's
    # random state, and the network's weights would begin from other values.
    settings = {"dtype": "float32", "seed": 0}
    layers = {}
    if augmentation.cutout:
        layers["cutout"] = keras.layers.RandomErasing(**settings)
    if augmentation.mixup:
        layers["mixup"] = keras.layers.MixUp(**settings)
    if augmentation.cutmix:
        layers["cutmix"] = keras.layers.CutMix(**settings)
    if augmentation.rand_augment:
        layers["rand_augment"] = RandAugment(augmentation.rand_augment)
    if augmentation.jitter:
        layers["brightness"] = keras.layers.RandomBrightness(0.0, **settings)
        layers["contrast"] = keras.layers.RandomContrast(0.0, (0, 255), **settings)
    return layers


def change_pixels(layers, images, plan):
    """Apply RandAugment and then the jitter, those that are on, to images of 0..255.

    `plan` is one step's part of `heavy_draws`.
    """
    if "rand_augment" in layers:
        images = layers["rand_augment"](images, plan["operations"], plan["amounts"])
    if "brightness" in layers:
        images = ops.cast(ops.convert_to_tensor(images), "float32")
        added, factor = (
            ops.convert_to_tensor(plan["jitter"])[:, i, None, None, None] for i in (0, 1)
        )
        images = layers["brightness"].transform_images(images, {"rgb_delta": 255 * added})
        images = layers["contrast"].transform_images(images, {"contrast_factor": factor})
    return images


def change_batch(layers, images, labels, plan):
    """Apply cutout, mixup and CutMix, those that are on, to normalised images and one-hot labels.

    Cutout erases with 0, which in normalised images is the dataset's mean, as in its paper.
    """
    if not layers.keys() & {"cutout", "mixup", "cutmix"}:
        return images, labels
    images, labels = ops.convert_to_tensor(images), ops.convert_to_tensor(labels)
    plan = {name: ops.convert_to_tensor(part) for name, part in plan.items()}
    height, width = images.shape[1:3]
    if "cutout" in layers:
        erased = {
            "batch_masks": box_masks(plan["cutout"], height, width),
            "apply_erasing": ops.ones(ops.shape(images)[:1], "bool"),
            "fill_value": 0.0,
        }
        images = layers["cutout"].transform_images(images, erased)
    if "mixup" in layers:
        mix = {"mix_weight": plan["mixup"], "permutation_order": plan["partner"]}
        images = layers["mixup"].transform_images(images, mix)
        labels = layers["mixup"].transform_labels(labels, mix)
    if "cutmix" in layers:
        top, left, bottom, right = (plan["cutmix"][:, i] for i in range(4))
        area = ops.cast((bottom - top) * (right - left), "float32")
        mix = {
            "batch_masks": box_masks(plan["cutmix"], height, width),
            "mix_weight": 1 - area / (height * width),
            "permutation_order": plan["partner"],
        }
        images = layers["cutmix"].transform_images(images, mix)
        labels = layers["cutmix"].transform_labels(labels, mix)
    return images, labels


def clipped_boxes(centers, heights, widths, size):
    """Boxes around pixels, cut off at the image's border.

    Args:
        centers: (..., 2) in [0, 1), uniform draws of the row and the column of the centre.
        heights: int (...,), in pixels before the cut.
        widths: int (...,).
        size: (height, width) of the image.

    Returns:
        int32 (..., 4): top, left, bottom, right; the last two are outside the box.
    """
    edges = []
    for axis, sides in enumerate((heights, widths)):
        first = np.floor(centers[..., axis] * size[axis]).astype(int) - sides // 2
        edges.append((np.clip(first, 0, size[axis]), np.clip(first + sides, 0, size[axis])))
    (top, bottom), (left, right) = edges
    return np.stack([top, left, bottom, right], axis=-1).astype("int32")


def box_masks(boxes, height, width):
    """Bool (batch, height, width, 1), true inside boxes (batch, 4): top, left, bottom, right."""
    top, left, bottom, right = (boxes[:, i, None, None, None] for i in range(4))
    rows = ops.reshape(ops.arange(height, dtype="int32"), (1, height, 1, 1))
    columns = ops.reshape(ops.arange(width, dtype="int32"), (1, 1, width, 1))
    inside = ops.logical_and(rows >= top, rows < bottom)
    return ops.logical_and(inside, ops.logical_and(columns >= left, columns < right))
