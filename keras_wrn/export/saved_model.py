"""A finished model as a TensorFlow SavedModel, ready for TF Serving."""

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

EXTRAS = "assets.extra"
LABELS_FILE = "labels.txt"
CONTENTS = {"assets", EXTRAS, "fingerprint.pb", "saved_model.pb", "variables"}


def export_saved_model(model, path, *, preprocessing=None, overwrite=False):
    """Write a model as a TensorFlow SavedModel that takes pixels.

    It has two signatures. `serving_default` takes `image`, float32 (batch, height, width,
    channels) of 0..255; `serve_uint8` takes `image` as uint8. Both return `probabilities` and
    `logits`, float32 (batch, classes), whatever the model's precision; an empty batch is answered
    with empty outputs. The directory `assets.extra` inside holds preprocessing.json, and
    labels.txt with a class a line where the classes have names.

    The SavedModel is written aside, loaded back, compared with the model on random images, and
    only then renamed to `path`.

    Args:
        model: a functional `keras.Model` that ends in a `Dense` layer with softmax or without
            activation, such as `keras_wrn.WideResNet(16, 2)`.
        path: the directory to make.
        preprocessing: `keras_wrn.Preprocessing`, None for the model's own.
        overwrite: bool, whether a SavedModel at `path`, with nothing beside it, may be replaced.

    Raises:
        ValueError: the model is no classifier, or has no preprocessing.
        FileExistsError: there is something at `path`, and not both a SavedModel and `overwrite`.
        ExportError: Keras is not on TensorFlow, or the SavedModel does not compute what the model
            does.

    Source: https://www.tensorflow.org/guide/saved_model.

    Example:

    ```python
    import tensorflow as tf

    model = keras_wrn.WideResNet(16, 2)
    model.preprocessing = keras_wrn.Preprocessing(size=32, mean=(0.5,) * 3, std=(0.25,) * 3)
    keras_wrn.export.export_saved_model(model, "wrn_16_2")
    serve = tf.saved_model.load("wrn_16_2").signatures["serve_uint8"]
    serve(image=np.zeros((1, 32, 32, 3), "uint8"))["probabilities"]   # (1, 10)
    ```
    """
    require_tensorflow()
    find_classifier(model)
    preprocessing = resolve_preprocessing(model, preprocessing)
    with written_aside(path, overwrite=overwrite, is_ours=_is_ours, kind="a SavedModel") as new:
        write_saved_model(model, preprocessing, new)
        preprocessing.save(new / EXTRAS)
        if preprocessing.class_names:
            labels = "".join(f"{name}\n" for name in preprocessing.class_names)
            (new / EXTRAS / LABELS_FILE).write_text(labels)
        with full_float32():
            _verify(new, Verification(model, preprocessing))


def write_saved_model(model, preprocessing, directory):
    """Write the SavedModel itself, without a check."""
    import tensorflow as tf

    shape = (None, *input_shape(model, preprocessing))
    pixels = tf.TensorSpec(shape, tf.float32, name="image")
    outputs = classifier_outputs(model, preprocessing)

    # Traced once for both signatures: with ZCA it holds a large constant.
    @tf.function(input_signature=[pixels])
    def serve(image):
        # oneDNN's convolution fails on an empty batch: it sees one black image, then cut off.
        count = tf.shape(image)[0]
        missing = tf.cast(count < 1, tf.int32)
        image = tf.pad(image, [[0, missing], [0, 0], [0, 0], [0, 0]])
        return {name: output[:count] for name, output in outputs(image).items()}

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.uint8, name="image")])
    def serve_uint8(image):
        return serve(tf.cast(image, tf.float32))

    # Not keras.export.ExportArchive: Keras 3.15 stores every variable twice.
    module = tf.Module()
    module.model_variables = [variable.value for variable in model.variables]
    signatures = {"serving_default": serve, "serve_uint8": serve_uint8}
    tf.saved_model.save(module, str(directory), signatures=signatures)


def _verify(directory, verification):
    import tensorflow as tf

    signatures = tf.saved_model.load(str(directory)).signatures
    images = verification.images
    for name, batch in (("serving_default", images.astype("float32")), ("serve_uint8", images)):
        verification.check(signatures[name](image=batch), f"The SavedModel's {name}")


def _is_ours(path):
    # A version directory may hold the Keras file too: that is more than this function wrote.
    return path.is_dir() and {entry.name for entry in path.iterdir()} <= CONTENTS
