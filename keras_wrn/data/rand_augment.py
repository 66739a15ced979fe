"""RandAugment: two operations for each image, drawn from fourteen, on pixels in tf.data.

Keras 3.15.1 and keras-cv 0.9.0 both have a RandAugment layer, but neither would do; measured on 128
images of CIFAR-10 at strength 0.5:

- Keras' layer draws the two operations once for the whole batch; only the amounts differ between
  images. Its equalisation takes the histogram over the batch: a pixel changed by up to 149 of 255
  when the other images were changed. Its rotation reaches factor x 360 degrees (180 at 0.5), its
  contrast only rises, its sharpness only blurs.
- keras-cv's layer draws the operations for each image, but the same `seed` gives different images:
  its amounts come from TensorFlow's stateful generators, which a resumed run cannot repeat.
- Keras' individual layers draw for each image (64 copies of one image come out in 57 to 64 versions
  if the amount is continuous) and stay in 0..255.
- In tf.data, on two busy cores: 800 to 900 images per second with Keras' layer, 2,900 to 5,000 with
  keras-cv's. With each operation applied only to its own images, as here: 17,800 on quiet cores
  (benchmarks/results/input_pipeline.json).

So Keras' individual layers change the pixels, and its affine transform does the moves. Each image's
operations and amounts are drawn outside, by (seed, epoch, index), with the paper's amounts, and the
equalisation is called on one image at a time. Brightness is added rather than multiplied.

Source: Cubuk et al. 2020, RandAugment; the ranges at full strength are AutoAugment's, a translation
of 10 of 32 pixels as RandAugment has it on CIFAR.
"""

import math

import keras

LARGEST_ROTATION = math.radians(30)
LARGEST_SHEAR = 0.3
LARGEST_TRANSLATION = 10 / 32
LARGEST_ENHANCEMENT = 0.9  # of color, contrast and sharpness: by 0.1 to 1.9
LARGEST_BRIGHTNESS = 0.5
FEWEST_BITS = 4

OPERATIONS = (
    "identity auto_contrast equalize rotate solarize color posterize contrast brightness sharpness "
    "shear_x shear_y translate_x translate_y"
).split()
MOVES = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")


class RandAugment:
    """Apply to each image the operations chosen for it, one after the other.

    Args:
        strength: float in (0, 1], the share of each operation's largest amount that is used; an
            image's amount is a share of that, in both directions.
    """

    def __init__(self, strength):
        import tensorflow as tf

        self.strength = strength
        self.layers = _layers()
        # Traced once, for all datasets of a run.
        self._traced = tf.function(self._augment, autograph=False)

    def __call__(self, images, operations, amounts):
        """Augment one batch.

        Args:
            images: tensor (batch, height, width, channels) in 0..255.
            operations: int32 tensor (batch, n), indices into `OPERATIONS`.
            amounts: float32 tensor (batch, n) in [0, 1): how much of each; 0.5 for nothing if an
                operation has two directions.

        Returns:
            float32 tensor of the same shape, in 0..255.
        """
        return self._traced(images, operations, amounts)

    def _augment(self, images, operations, amounts):
        import tensorflow as tf

        shape = images.shape
        images = tf.cast(images, "float32")
        for slot in range(operations.shape[1]):
            places = tf.dynamic_partition(
                tf.range(tf.shape(images)[0]), operations[:, slot], len(OPERATIONS)
            )
            parts = [
                self._apply(name, tf.gather(images, place), tf.gather(amounts[:, slot], place))
                for name, place in zip(OPERATIONS, places, strict=True)
            ]
            # Interpolation can leave 0..255 by a rounding error.
            images = tf.clip_by_value(tf.dynamic_stitch(places, parts), 0, 255)
        images.set_shape(shape)
        return images

    def _apply(self, name, images, amount):
        """Apply one operation to images (n, height, width, 3), with amounts (n,) in [0, 1)."""
        import tensorflow as tf

        if name == "identity":
            return images
        if name == "equalize":
            layer = self.layers[name]
            return tf.map_fn(lambda image: layer.transform_single_image(image, None), images)
        if name == "auto_contrast":
            return self.layers[name].transform_images(images, None)
        both_ways = self.strength * (2 * amount - 1)
        if name in MOVES:
            matrix = _matrix(name, both_ways, *images.shape[1:3])
            return keras.ops.image.affine_transform(
                images, matrix, "bilinear", "constant", 128.0, data_format="channels_last"
            )
        return self.layers[name].transform_images(images, self._draw(name, amount, both_ways))

    def _draw(self, name, amount, both_ways):
        """What an operation's layer would draw, for these amounts."""
        import tensorflow as tf

        column = both_ways[:, None, None, None]
        enhancement = LARGEST_ENHANCEMENT * column
        if name == "brightness":
            return {"rgb_delta": 255 * LARGEST_BRIGHTNESS * column}
        if name == "contrast":
            return {"contrast_factor": 1 + enhancement}
        if name == "color":
            return {"factor": enhancement}
        if name == "sharpness":
            # Keras' factor f stands for 2 f: 0.5 leaves the image as it is.
            return {"factor": 0.5 + LARGEST_ENHANCEMENT / 2 * both_ways}
        if name == "posterize":
            span = round(self.strength * (8 - FEWEST_BITS))
            return {"shift_factor": tf.cast(tf.math.ceil(amount * span), tf.uint8)}
        thresholds = 255 * (1 - self.strength * amount)[:, None, None, None]
        return {"additions": tf.zeros_like(thresholds), "thresholds": thresholds}


def _matrix(name, both_ways, height, width):
    """The rows that `affine_transform` takes, (n, 8): where each pixel's value comes from."""
    import tensorflow as tf

    one, zero = tf.ones_like(both_ways), tf.zeros_like(both_ways)
    if name == "rotate":
        angle = both_ways * LARGEST_ROTATION
        cos, sin = tf.cos(angle), tf.sin(angle)
        x, y = (width - 1) / 2, (height - 1) / 2
        rows = [cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y]
    else:
        shear, shift = both_ways * LARGEST_SHEAR, both_ways * LARGEST_TRANSLATION
        rows = [
            one, shear if name == "shear_x" else zero,
            shift * width if name == "translate_x" else zero,
            shear if name == "shear_y" else zero, one,
            shift * height if name == "translate_y" else zero,
        ]  # fmt: skip
    return tf.stack([*rows, zero, zero], axis=-1)


def _layers():
    """The layers that work on pixels. Their own draws, by the seeds given here, are not used."""
    made, plain = keras.layers, {"dtype": "float32"}
    drawn = {**plain, "seed": 0}
    return {
        "auto_contrast": made.AutoContrast(**plain),
        "equalize": made.Equalization(**plain),
        "solarize": made.Solarization(**drawn),
        "color": made.RandomColorDegeneration(1.0, **drawn),
        "posterize": made.RandomPosterization(8, **drawn),
        "contrast": made.RandomContrast(1.0, **drawn),
        "brightness": made.RandomBrightness(1.0, **drawn),
        "sharpness": made.RandomSharpness(1.0, **drawn),
    }
