"""Normalisation inside a network, which then takes pixels in 0..255."""

import keras
import numpy as np
from keras import ops

LAYER = "normalize"


@keras.saving.register_keras_serializable("keras_wrn")
class Normalization(keras.layers.Layer):
    """Normalise pixels (batch, height, width, channels) in 0..255, keeping the shape.

    It is what `include_preprocessing=True` puts before a network, and what
    `keras_wrn.Preprocessing.normalize` does outside of one. `keras.layers.Rescaling` would not do:
    it takes the channel axis from `keras.config.image_data_format()`.

    Args:
        mean, std: a float for each channel, for pixels in 0..1.
        **kwargs: those of `keras.layers.Layer`.

    Example:

    ```python
    layer = keras_wrn.models.Normalization(mean=(0.5,) * 3, std=(0.25,) * 3)
    y = layer(np.zeros((1, 32, 32, 3), "uint8"))   # all -2.0
    ```
    """

    def __init__(self, mean, std, **kwargs):
        super().__init__(**kwargs)
        self.mean, self.std = tuple(mean), tuple(std)

    def call(self, images):
        mean, std = np.asarray(self.mean, "float64"), np.asarray(self.std, "float64")
        images, scale, shift = (
            ops.cast(values, self.compute_dtype) for values in (images, 1 / (255 * std), mean / std)
        )
        return images * scale - shift

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "mean": self.mean, "std": self.std}


def normalizes(model):
    """Whether a model normalises its own inputs, so that it takes pixels in 0..255."""
    return isinstance(model, keras.Model) and any(
        isinstance(layer, Normalization) for layer in flat_layers(model)
    )


def flat_layers(model):
    """The layers of a model, with models inside it replaced by their own layers."""
    for layer in model.layers:
        yield from flat_layers(layer) if isinstance(layer, keras.Model) else (layer,)
