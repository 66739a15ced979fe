"""What an artifact should answer, and whether it does."""

import contextlib

import keras
import numpy as np
from keras import ops

from keras_wrn.classifier import find_classifier, input_shape
from keras_wrn.errors import ExportError
from keras_wrn.export.head import classifier_outputs
from keras_wrn.models.normalization import flat_layers

TOLERANCE = 1e-4
# Under mixed precision an artifact rounds in other places than the model does.
LOW_TOLERANCE = 3e-2
# How far the logits of an int8 file may be from the model's: relative root mean square.
INT8_LIMIT = 0.25


@contextlib.contextmanager
def full_float32():
    """Switch off TensorFloat-32, whose rounding on a GPU is coarser than the tolerance."""
    import tensorflow as tf

    enabled = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(enabled)


def tolerance_of(model):
    """How far an artifact may be from a model, for values of about 1."""
    low = any(layer.compute_dtype in ("float16", "bfloat16") for layer in flat_layers(model))
    return LOW_TOLERANCE if low else TOLERANCE


def check_difference(found, expected, limit, name, what):
    """The largest difference of an artifact's output.

    Raises:
        ExportError: it is more than the limit, or not finite.
    """
    difference = np.abs(np.asarray(found, "float32") - expected).max()
    if not difference <= limit:
        raise ExportError(
            f"{what} does not compute what the model does: its {name} should differ by "
            f"{limit:.3g} at most, and differ by {difference:.3g}. Nothing was written."
        )
    return difference


class Verification:
    """What an artifact should answer on a few images.

    Args:
        model: the `keras.Model` exported.
        preprocessing: `keras_wrn.Preprocessing`.
        images: (n, height, width, channels) of 0..255, of which the first 32 are used; None for
            random ones.
    """

    def __init__(self, model, preprocessing, images=None):
        height, width, channels = input_shape(model, preprocessing)
        shape = 2, height or preprocessing.size, width or preprocessing.size, channels
        if images is None:
            images = np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")
        self.images = np.asarray(images[:32])
        softmax = find_classifier(model).activation is keras.activations.softmax
        outputs = classifier_outputs(model, preprocessing)

        def answers(images):
            found = outputs(images)
            whole = model(preprocessing.normalize(images), training=False)
            found["probabilities" if softmax else "logits"] = whole
            return {name: ops.convert_to_numpy(value) for name, value in found.items()}

        # Keras keeps all activations of a call: 200 MB per image for WRN-50-2.
        parts = [answers(self.images[i : i + 4]) for i in range(0, len(self.images), 4)]
        self.expected = {
            name: np.concatenate([part[name] for part in parts]).astype("float32")
            for name in parts[0]
        }
        self.tolerance = tolerance_of(model)

    def check(self, outputs, what):
        """Compare an artifact's outputs on `images` with the model's.

        Large logits are rounded by more than the tolerance for probabilities, so probabilities may
        also differ by what softmax makes of the difference of the logits.

        Raises:
            ExportError: they differ by more than the tolerance, or are not finite.
        """
        moved = 0.0
        for name, expected in sorted(self.expected.items()):  # the logits come first
            limit = self.tolerance * max(1.0, np.abs(expected).max())
            if name == "probabilities":
                limit += moved / 2  # the most that softmax makes of it
            moved = check_difference(outputs[name], expected, limit, name, what)

    def check_quantized(self, logits, limit, what):
        """Compare the logits on `images` of an artifact that is meant to differ a little.

        Raises:
            ExportError: the root mean square of the difference is more than `limit` times that of
                the model's logits.
        """
        expected = self.expected["logits"]
        difference = np.sqrt(np.mean((logits - expected) ** 2) / np.mean(expected**2))
        if not difference <= limit:
            raise ExportError(
                f"{what} does not compute what the model does: its logits should differ by {limit} "
                f"of their size at most, and differ by {difference:.3g}. Nothing was written."
            )


def verify_file(run, model, preprocessing, calibration, what):
    """Compare a float32 file, or an int8 file if there was a calibration, with the model.

    Args:
        run: a function from images to the file's outputs by name.
        model, preprocessing: what was exported.
        calibration: the images for an int8 file, or None.
        what: str, the file's name in messages.

    Raises:
        ExportError: the file does not compute what the model does.
    """
    with full_float32():
        verification = Verification(model, preprocessing, calibration)
    outputs = run(verification.images)
    if calibration is None:
        verification.check(outputs, what)
    else:
        verification.check_quantized(outputs["logits"], INT8_LIMIT, what)
