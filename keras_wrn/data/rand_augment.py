"""RandAugment: two operations for each image, drawn from fourteen, on pixels in tf.data.

Keras 3.15.1 and keras-cv 0.9.0 both have a RandAugment layer, and neither would do; measured on
128 images of CIFAR-10 at strength 0.5:

- Keras' layer draws the two operations once for the whole batch; only their amounts are an image's
  own. Its equalisation takes the histogram over the batch: a pixel moved by up to 149 of 255 when
  the other images were changed. Its rotation reaches factor x 360 degrees (180 at 0.5), its
  contrast only rises, its sharpness only blurs.
- keras-cv's draws the operations for each image, but with `seed` given twice the images differ: its
  amounts come from TensorFlow's stateful generators, which a resumed run cannot repeat.
- The single layers of Keras draw for each image (64 copies of one image come out in 57 to 64
  versions where the amount is continuous) and keep to 0..255.
- In tf.data, on two busy cores: 800 to 900 images a second with Keras' layer, 2,900 to 5,000 with
  keras-cv's, 11,600 to 11,900 here, where each operation sees only its own images.

So the single layers of Keras are used, with the choice of operations made for each image, the
amounts of the paper, and the equalisation called with one image at a time. Solarization's
thresholds are brought into range here: Keras takes the lower bound for a grey level, the upper for
a share of 255. Brightness is added rather than multiplied.

Source: Cubuk et al. 2020, RandAugment; the ranges at full strength are AutoAugment's, a translation
of 10 of 32 pixels as RandAugment has it on CIFAR.
"""

import keras

LARGEST_ROTATION = 30 / 360
LARGEST_SHEAR = 0.3
LARGEST_TRANSLATION = 10 / 32
LARGEST_ENHANCEMENT = 0.9  # of color, contrast and sharpness: by 0.1 to 1.9
LARGEST_BRIGHTNESS = 0.5
FEWEST_BITS = 4

OPERATIONS = (
    "identity auto_contrast equalize rotate solarize color posterize contrast brightness sharpness "
    "shear_x shear_y translate_x translate_y"
).split()


class StepSeeds(keras.random.SeedGenerator):
    """A `SeedGenerator` without a state: seeds that follow from a tensor, the seed of a step.

    Made anew in each traced function, it numbers the seeds that are asked for there.
    """

    def __init__(self, seed):
        self.seed = seed
        self.count = 0

    def next(self, ordered=True):
        import tensorflow as tf

        self.count += 1
        return tf.random.fold_in(self.seed, self.count)


class RandAugment:
    """Apply to each image the operations chosen for it, one after the other.

    Args:
        strength: float in (0, 1], the share of the largest amount of each operation; the amount is
            uniform up to that, in both directions.
    """

    def __init__(self, strength):
        import tensorflow as tf

        self.strength = strength
        self.layers = _layers(strength)
        self._traced = tf.function(
            self._augment, autograph=False
        )  # once, for all datasets of a run

    def __call__(self, images, operations, seed):
        """Augment one batch.

        Args:
            images: tensor (batch, height, width, channels) of 0..255.
            operations: int32 tensor (batch, n), indices into `OPERATIONS`.
            seed: int32 tensor (2,), which the amounts follow from.

        Returns:
            float32 tensor of the same shape, of 0..255.
        """
        return self._traced(images, operations, seed)

    def _augment(self, images, operations, seed):
        import tensorflow as tf

        seeds = StepSeeds(seed)
        shape = images.shape
        images = tf.cast(images, "float32")
        for slot in range(operations.shape[1]):
            places = tf.dynamic_partition(
                tf.range(tf.shape(images)[0]), operations[:, slot], len(OPERATIONS)
            )
            parts = [
                self._apply(name, tf.gather(images, place), seeds)
                for name, place in zip(OPERATIONS, places, strict=True)
            ]
            # Interpolation can leave 0..255 by a rounding error.
            images = tf.clip_by_value(tf.dynamic_stitch(places, parts), 0, 255)
        images.set_shape(shape)
        return images

    def _apply(self, name, images, seeds):
        import tensorflow as tf

        layer = self.layers[name]
        if layer is None:
            return images
        if name == "equalize":
            return tf.map_fn(lambda image: layer.transform_single_image(image, None), images)
        amounts = layer.get_random_transformation(images, seed=seeds)
        if name == "solarize":  # from 0..255
            amounts["thresholds"] = 255 - self.strength * (255 - amounts["thresholds"])
        return layer.transform_images(images, amounts)


def _layers(strength):
    made = keras.layers
    plain = {"dtype": "float32"}
    drawn = {**plain, "seed": 0}  # unused: the seed comes with each call
    moved = {**drawn, "fill_mode": "constant", "fill_value": 128.0}
    amount = strength * LARGEST_ENHANCEMENT
    shear = strength * LARGEST_SHEAR
    shift = strength * LARGEST_TRANSLATION
    bits = 8 - round(strength * (8 - FEWEST_BITS))
    layers = {
        "identity": None,
        "auto_contrast": made.AutoContrast(**plain),
        "equalize": made.Equalization(**plain),
        "rotate": made.RandomRotation(strength * LARGEST_ROTATION, **moved),
        "solarize": made.Solarization(threshold_factor=1.0, **drawn),
        "color": made.RandomColorDegeneration((-amount, amount), **drawn),
        "posterize": made.RandomPosterization((bits, 8), **drawn),
        "contrast": made.RandomContrast((amount, amount), **drawn),
        "brightness": made.RandomBrightness(strength * LARGEST_BRIGHTNESS, **drawn),
        # Keras' factor f stands for 2 f: 0.5 leaves the image as it is.
        "sharpness": made.RandomSharpness((0.5 - amount / 2, 0.5 + amount / 2), **drawn),
        "shear_x": made.RandomShear(x_factor=shear, **moved),
        "shear_y": made.RandomShear(y_factor=shear, **moved),
        "translate_x": made.RandomTranslation(0.0, shift, **moved),
        "translate_y": made.RandomTranslation(shift, 0.0, **moved),
    }
    assert list(layers) == OPERATIONS
    return layers
