"""A finished model as a LiteRT (TensorFlow Lite) file, for phones and small machines."""

import tempfile
import warnings
from pathlib import Path

import keras

from keras_wrn.export.aside import written_aside
from keras_wrn.export.head import (
    Verification,
    classifier_outputs,
    find_classifier,
    full_float32,
    input_shape,
    require_tensorflow,
    resolve_preprocessing,
)

SIGNATURE = "serving_default"


def export_litert(model, path, *, preprocessing=None, overwrite=False):
    """Write a model as a float32 LiteRT file that takes pixels.

    Its one signature, `serving_default`, takes `image`, float32 (batch, height, width, channels)
    of 0..255, and returns `probabilities` and `logits`, float32 (batch, classes). The batch may
    have any size but 0: the interpreter's signature runner resizes the input by itself. A model
    of another precision is converted to float32 first.

    The file is written aside, run by the LiteRT interpreter, compared with the model on random
    images, and only then renamed to `path`.

    Args:
        model: a functional `keras.Model` that ends in a `Dense` layer with softmax or without
            activation, such as `keras_wrn.WideResNet(16, 2)`.
        path: the file to make; it ends in `.tflite`.
        preprocessing: `keras_wrn.Preprocessing`, None for the model's own.
        overwrite: bool, whether a file at `path` may be replaced.

    Raises:
        ValueError: the path ends otherwise, the model is no classifier, or has no preprocessing.
        FileExistsError: there is something at `path`, and not both a file and `overwrite`.
        ExportError: Keras is not on TensorFlow, or the file does not compute what the model does.

    Source: https://ai.google.dev/edge/litert.

    Example:

    ```python
    from ai_edge_litert.interpreter import Interpreter

    model = keras_wrn.WideResNet(16, 2)
    model.preprocessing = keras_wrn.Preprocessing(size=32, mean=(0.5,) * 3, std=(0.25,) * 3)
    keras_wrn.export.export_litert(model, "wrn_16_2.tflite")
    run = Interpreter("wrn_16_2.tflite").get_signature_runner()
    run(image=np.zeros((1, 32, 32, 3), "float32"))["probabilities"]   # (1, 10)
    ```
    """
    if not str(path).endswith(".tflite"):
        raise ValueError(f"`path` should end in '.tflite'. Received: path={str(path)!r}")
    require_tensorflow()
    find_classifier(model)
    preprocessing = resolve_preprocessing(model, preprocessing)
    with written_aside(path, overwrite=overwrite, is_ours=Path.is_file, kind="a file") as new:
        model = in_float32(model)
        new.write_bytes(convert(model, preprocessing))
        with full_float32():
            _verify(new, Verification(model, preprocessing))


def in_float32(model):
    """The model itself, or its twin that computes in float32 where it does not."""
    if all(layer.compute_dtype == "float32" for layer in model.layers):
        return model

    def clone(layer):
        return layer.__class__.from_config({**layer.get_config(), "dtype": "float32"})

    twin = keras.models.clone_model(model, clone_function=clone)
    for variable, value in zip(twin.variables, model.variables, strict=True):
        variable.assign(value)
    return twin


def convert(model, preprocessing):
    """The bytes of the LiteRT file, without a check."""
    import tensorflow as tf

    shape = (None, *input_shape(model, preprocessing))
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        SIGNATURE,
        classifier_outputs(model, preprocessing),
        input_signature=[tf.TensorSpec(shape, tf.float32, name="image")],
    )
    # Converted from concrete functions, the variables would stay outside the file.
    with tempfile.TemporaryDirectory() as directory:
        archive.write_out(directory, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(directory, signature_keys=[SIGNATURE])
        return converter.convert()


def open_interpreter(path):
    """An interpreter of the file: of the package ai-edge-litert, or TensorFlow's where absent."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import tensorflow as tf

        Interpreter = tf.lite.Interpreter
    with warnings.catch_warnings():
        # TensorFlow's says with each use that it will go, which is why ours comes second.
        warnings.filterwarnings("ignore", "(?s).*tf.lite.Interpreter is deprecated")
        return Interpreter(str(path), num_threads=1)


def _verify(path, verification):
    run = open_interpreter(path).get_signature_runner(SIGNATURE)
    verification.check(run(image=verification.images.astype("float32")), "The LiteRT file")
