"""Heavier augmentation, off in the paper's recipes for small images.

NumPy makes the draws, by (seed, epoch, index), and Keras' layers apply them to pixels and labels.
So the result is the same on tf.data and from arrays, after a resume, and for any batch size, with
two exceptions that depend on the batch: the mixing partner, which comes from it, and the coin flip
between mixup and CutMix.

Keras 3.15.1 and keras-cv 0.9.0 both have mixup, CutMix and cutout; measured on 2,048 to 8,192
images of 32x32:

- MixUp. Both draw a separate share for each image, and the labels agree with the pixels to within
  3e-7. Given the same `seed` twice, Keras repeats its draws and keras-cv does not.
- CutMix. Both draw a separate box for each image. The label's share differs from the share of the
  pixels really kept by 0.011 on average and 0.061 at most in Keras, which uses the box before it is
  rounded to pixels, and by 0.169 and 0.688 in keras-cv, which uses it before it is clipped at the
  border.
- Cutout. Keras' RandomErasing keeps the square inside the image and starts it between pixels,
  rounding up: with a side of 16, the first row is erased in 0.0 % of the images and the last in
  6.4 %. keras-cv's RandomCutout centres it on any pixel and clips it at the border, as the paper
  does.

So Keras' layers change the pixels, both kinds of box are drawn as in the papers (centred on any
pixel, clipped at the border), and the label comes from the area that is left. CutMix here draws a
share and a box for each image, where the paper draws one for each batch.

Brightness and contrast change the pixels first, also with Keras' layers.

Sources: DeVries & Taylor 2017 (cutout), Zhang et al. 2018 (mixup), Yun et al. 2019 (CutMix).
"""

import keras
import numpy as np
from keras import ops

from keras_wrn.data import erasing
from keras_wrn.data.paint import jitter_draws, lighting, paint, rand_draws

COLUMNS = 8  # of the table of draws in `heavy_draws`: two are free, six would change the others


def heavy_draws(augmentation, seed, epoch, count, order, size, mixing=True):
    """Draw what happens to the images of one epoch.

    Args:
        augmentation: `Augmentation`.
        seed: int, of the run.
        epoch: int, from 0.
        count: int, the number of training images.
        order: int (steps, batch), the image at each position of the epoch.
        size: (height, width).
        mixing: bool; False for an epoch without mixup and CutMix.

    Returns:
        dict of arrays whose first axis is (steps,), only for what is on: `cutout` and `cutmix`,
        boxes int32 (steps, batch, 4); `partner` int32 and `mixup`, the share of an image's own
        pixels, float32 (steps, batch); `jitter` float32 (steps, batch, 2), what is added to pixels
        in 0..1, and the factor on their distance from the mean after that; `color` and `rand`
        float32 (steps, batch, 4) and `trivial` (steps, batch, 3), see `paint`; `lighting` float32
        (steps, batch, 3), what is added to red, green and blue in 0..255; `erased`, boxes like
        those of cutout.
    """

    def stream(number, kind="random", columns=1):
        """One row of draws for each image, from a stream that nothing else uses."""
        drawing = getattr(np.random.default_rng([seed, epoch, number]), kind)
        return drawing((count, columns), dtype="float32")[order]

    # `Batches` draws the crops of photos from stream 4.

    # `epoch_draws` uses the stream [seed, epoch]: this one leaves its numbers unchanged.
    generator = np.random.default_rng([seed, epoch, 1])
    table = generator.random((count, COLUMNS), dtype="float32")[order]
    plan = {}
    if augmentation.cutout:
        sides = np.full(order.shape, augmentation.cutout)
        plan["cutout"] = clipped_boxes(table[..., 0:2], sides, sides, size)
    if augmentation.mixup or augmentation.cutmix:
        plan["partner"] = np.argsort(table[..., 2], axis=1, kind="stable").astype("int32")
        # With both on, the first image of a batch flips the coin for the whole batch.
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
    if augmentation.jitter:
        drawn = stream(3, columns=2)
        plan["jitter"] = augmentation.jitter * (2 * drawn - 1) + np.array([0, 1], "float32")
    if augmentation.color_jitter:
        plan["color"] = jitter_draws(augmentation.color_jitter, stream(5, columns=4))
    if augmentation.lighting:
        plan["lighting"] = lighting(augmentation.lighting, stream(6, "standard_normal", 3))
    if augmentation.rand_augment:
        plan["rand"] = rand_draws(augmentation.rand_augment, stream(9, columns=4))
    if augmentation.trivial_augment:
        plan["trivial"] = stream(7, columns=3)
    if augmentation.erasing:
        drawn = stream(8, columns=erasing.COLUMNS)
        plan["erased"] = erasing.erased_boxes(drawn, augmentation.erasing, size)
    return plan


def heavy_layers(augmentation):
    """Make the layers that `change_pixels` and `change_batch` use, as a dict."""
    # The seed is not used. Without one, Keras would take it from Python's random state, and the
    # network's initial weights would change.
    settings = {"dtype": "float32", "seed": 0}
    layers = {}
    if augmentation.cutout or augmentation.erasing:
        layers["cutout"] = keras.layers.RandomErasing(**settings)
    if augmentation.mixup:
        layers["mixup"] = keras.layers.MixUp(**settings)
    if augmentation.cutmix:
        layers["cutmix"] = keras.layers.CutMix(**settings)
    if augmentation.jitter:
        layers["brightness"] = keras.layers.RandomBrightness(0.0, **settings)
        layers["contrast"] = keras.layers.RandomContrast(0.0, (0, 255), **settings)
    return layers


def change_pixels(layers, images, plan):
    """Apply what is on of jitter, colour jitter, RandAugment, TrivialAugment and lighting, in turn.

    The images are in 0..255; `plan` is one step's part of `heavy_draws`.
    """
    if "brightness" in layers:
        images = ops.cast(ops.convert_to_tensor(images), "float32")
        added, factor = (
            ops.convert_to_tensor(plan["jitter"])[:, i, None, None, None] for i in (0, 1)
        )
        images = layers["brightness"].transform_images(images, {"rgb_delta": 255 * added})
        images = layers["contrast"].transform_images(images, {"contrast_factor": factor})
    pillow = {x: plan[x] for x in ("color", "rand", "trivial") if x in plan}
    if pillow:
        images = _painted(images, pillow)
    if "lighting" in plan:
        added = ops.convert_to_tensor(plan["lighting"])[:, None, None, :]
        images = ops.cast(ops.convert_to_tensor(images), "float32") + added
    return images


def _painted(images, plan):
    """`paint`, of arrays or inside tf.data."""

    def painted(pixels, *parts):
        pixels = np.clip(np.rint(pixels), 0, 255).astype("uint8")  # after jitter
        return paint(pixels, dict(zip(plan, parts, strict=True)))

    if isinstance(images, np.ndarray) or keras.backend.backend() != "tensorflow":
        return painted(ops.convert_to_numpy(images), *plan.values())
    import tensorflow as tf

    shape = images.shape
    images = tf.numpy_function(painted, [images, *plan.values()], "uint8")
    images.set_shape(shape)
    return images


def change_batch(layers, images, labels, plan):
    """Apply what is on of cutout, erasing, mixup and CutMix.

    The images are normalised, the labels one-hot. Cutout and erasing fill with 0, which is then the
    dataset's mean, as in their papers.
    """
    if not layers.keys() & {"cutout", "mixup", "cutmix"}:
        return images, labels
    images, labels = ops.convert_to_tensor(images), ops.convert_to_tensor(labels)
    plan = {name: ops.convert_to_tensor(part) for name, part in plan.items()}
    height, width = images.shape[1:3]
    for boxes in (plan[x] for x in ("cutout", "erased") if x in plan):
        erased = {
            "batch_masks": box_masks(boxes, height, width),
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
    """Boxes around pixels, clipped at the image's border.

    Args:
        centers: (..., 2) in [0, 1), uniform draws for the centre's row and column.
        heights: int (...,), in pixels before clipping.
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
