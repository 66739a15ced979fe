"""The first convolution, trained in the whitened space of the training images' patches."""

import keras
import numpy as np
from keras import ops

STEM = "conv1"
IMAGES = 5000  # about how many the covariance is computed from
PART = 100  # how many are normalised at a time
EPSILON = 1e-2  # times a pixel's mean square, added to the eigenvalues


@keras.saving.register_keras_serializable("keras_wrn")
class WhitenedConv2D(keras.layers.Conv2D):
    """A convolution whose trained weights multiply whitened patches instead of the patches.

    Its kernel is W M: W, `whitening`, is fixed, and M is trained. That is the same family of
    functions as the plain convolution, whose kernel is `kernel`, but gradient descent makes faster
    progress, because the pixels of a patch are nearly equal and whitened ones are not.

    Args:
        *args, **kwargs: those of `keras.layers.Conv2D`.

    Source: a fixed whitening convolution before a learned 1x1 one, Page 2019, "How to train your
    ResNet 8: bag of tricks".

    Example:

    ```python
    layer = keras_wrn.training.WhitenedConv2D(16, 3, use_bias=False)
    y = layer(np.ones((1, 8, 8, 3), "float32"))   # (1, 6, 6, 16)
    layer.whitening.shape   # (27, 27)
    ```
    """

    def build(self, input_shape):
        super().build(input_shape)
        side = int(np.prod(self._kernel.shape[:-1]))
        self.whitening = self.add_weight(
            shape=(side, side), initializer="identity", trainable=False, name="whitening"
        )

    @property
    def kernel(self):
        learned = super().kernel
        flat = ops.reshape(learned, (-1, learned.shape[-1]))
        whitening = ops.cast(self.whitening, flat.dtype)
        return ops.reshape(ops.matmul(whitening, flat), learned.shape)

    # Conv2D saves and loads only its kernel and bias.
    def save_own_variables(self, store):
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store):
        keras.layers.Layer.load_own_variables(self, store)


def whiten_stem(model, preprocessing, images):
    """Rebuild an untrained model with a `WhitenedConv2D` as its first convolution.

    Args:
        model: functional `keras.Model` whose first convolution is called conv1.
        preprocessing: `Preprocessing` of its inputs.
        images: uint8 (n, height, width, channels), of which about 5,000 are used.
    """

    def rebuilt(layer):
        cls = WhitenedConv2D if layer.name == STEM else type(layer)
        return cls.from_config(layer.get_config())

    model = keras.models.clone_model(model, clone_function=rebuilt)
    stem = model.get_layer(STEM)
    chosen = images[:: max(1, len(images) // IMAGES)]  # a folder's images come class by class
    stem.whitening.assign(whitening_of(chosen, preprocessing, stem.kernel_size))
    return model


def whitening_of(images, preprocessing, kernel_size):
    """The symmetric matrix that whitens the patches of normalised images.

    Args:
        images: uint8 (n, height, width, channels).
        preprocessing: `Preprocessing` that normalises them.
        kernel_size: (height, width) of a patch.

    Returns:
        float32 (d, d), d = height * width * channels of a patch, the inverse root of the patches'
        uncentred covariance with a hundredth of the pixels' mean square added to its eigenvalues.
    """
    side = images.shape[-1] * kernel_size[0] * kernel_size[1]
    total, count = np.zeros((side, side)), 0
    for start in range(0, len(images), PART):
        x = keras.ops.convert_to_numpy(preprocessing.normalize(images[start : start + PART]))
        for windows in np.lib.stride_tricks.sliding_window_view(x, kernel_size, axis=(1, 2)):
            patches = windows.transpose(0, 1, 3, 4, 2).reshape(-1, side)
            total += patches.T @ patches
            count += len(patches)
    values, vectors = np.linalg.eigh(total / count)
    added = EPSILON * values.sum() / side
    return ((vectors / np.sqrt(values + added)) @ vectors.T).astype("float32")
