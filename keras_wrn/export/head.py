"""The two ends of a finished network: pixels in, probabilities and logits out."""

import contextlib
import importlib
import json
import sys
import threading

import keras
from keras import ops

from keras_wrn.classifier import find_classifier, input_shape, resolve_preprocessing
from keras_wrn.data.images import check_array
from keras_wrn.distribution import install_extra
from keras_wrn.errors import ExportError
from keras_wrn.models.normalization import flat_layers

CALIBRATION_IMAGES = 500
LABELS_FILE = "labels.txt"
SIGNATURE = "serving_default"
EXTRAS = {
    "onnx": ("onnx", "onnxruntime", "tf2onnx"),
    "openvino": ("openvino",),
    "serving": ("tensorflow_serving.apis",),
}
_HIDING = threading.RLock()


def require_tensorflow():
    """Raise an ExportError unless Keras runs on TensorFlow."""
    if keras.backend.backend() != "tensorflow":
        raise ExportError(
            "Artifacts are written on the TensorFlow backend. Save the model as `.keras` and "
            "export it in a process with KERAS_BACKEND=tensorflow. Received: "
            f"KERAS_BACKEND={keras.backend.backend()}"
        )


def require_extra(extra, *more):
    """Raise an ExportError unless the packages of one of `EXTRAS` can be imported, and `more` that
    come with it."""
    for package in (*EXTRAS[extra], *more):
        try:
            with _unreported():
                importlib.import_module(package)
        except ImportError as error:
            raise ExportError(
                f"This needs the package {package}, which comes with the extra `{extra}`: "
                f"{install_extra(extra)}. Received: {error}"
            ) from error


@contextlib.contextmanager
def _unreported():
    """Hide the telemetry package of OpenVINO and NNCF, which neither needs."""
    name = "openvino_telemetry"
    with _HIDING:
        before = {name: sys.modules[name]} if name in sys.modules else {}
        sys.modules[name] = None  # type: ignore[assignment]
        try:
            yield
        finally:
            del sys.modules[name]
            sys.modules.update(before)


def exportable(model, preprocessing=None, class_names=None):
    """Check that a model can be exported, and return its preprocessing.

    Raises:
        ValueError: the model is not a classifier, or the preprocessing does not fit it.
        ExportError: Keras is not on TensorFlow.
    """
    require_tensorflow()
    find_classifier(model)
    return resolve_preprocessing(model, preprocessing, class_names)


def check_calibration(calibration, precision, model, preprocessing):
    """The images to calibrate with, float32 (n, height, width, channels), or None.

    Raises:
        ValueError: there are none for "int8", some for another precision, or the shape is wrong.
    """
    if precision != "int8":
        if calibration is not None:
            raise ValueError(
                f"`calibration` is for precision='int8'. Received: precision={precision!r}"
            )
        return None
    if calibration is None:
        raise ValueError(
            "precision='int8' needs `calibration`, images of the training set, such as "
            "`keras_wrn.data.load_arrays(name, 'train')[0][:500]`. Received: None"
        )
    images = check_array(calibration, "the calibration images", rank=4)
    height, width, channels = input_shape(model, preprocessing)
    expected = height or preprocessing.size, width or preprocessing.size, channels
    if images.shape[1:] != expected:
        raise ValueError(
            f"`calibration` should be images of shape {expected}. Received: {images.shape[1:]}"
        )
    return images[:CALIBRATION_IMAGES].astype("float32")


def in_float32(model):
    """The model itself if it computes in float32, else a copy that does."""
    if all(layer.compute_dtype == "float32" for layer in flat_layers(model)):
        return model

    def clone(layer):
        if isinstance(layer, keras.Model):
            return in_float32(layer)
        return layer.__class__.from_config({**layer.get_config(), "dtype": "float32"})

    twin = keras.models.clone_model(model, clone_function=clone)
    for variable, value in zip(twin.variables, model.variables, strict=True):
        variable.assign(value)
    return twin


def metadata_json(model, preprocessing, **settings):
    """The metadata of a file with one signature, as JSON."""
    return json.dumps(
        {
            "name": model.name,
            **settings,
            "signature": SIGNATURE,
            "image": "0..255, preprocessing inside",
            "outputs": ["probabilities", "logits"],
            "class_names": preprocessing.class_names,
            "preprocessing": preprocessing.get_config(),
        },
        indent=1,
    )


def labels_text(preprocessing):
    """The contents of labels.txt: the class names, one per line."""
    return "".join(f"{name}\n" for name in preprocessing.class_names)


def classifier_outputs(model, preprocessing):
    """The function that an artifact computes.

    Args:
        model: a functional `keras.Model` that ends in a `Dense` layer; see `find_classifier`.
        preprocessing: `keras_wrn.Preprocessing`.

    Returns:
        A function from images (batch, height, width, channels) of 0..255 to a dict of
        "probabilities" and "logits", float32 (batch, classes) whatever the model's precision.
    """
    dense = find_classifier(model)
    trunk = keras.Model(model.input, dense.input)

    def outputs(image):
        features = trunk(preprocessing.normalize(image), training=False)
        logits = ops.matmul(ops.cast(features, "float32"), ops.cast(dense.kernel, "float32"))
        if dense.use_bias:
            logits = logits + ops.cast(dense.bias, "float32")
        return {"probabilities": ops.softmax(logits), "logits": logits}

    return outputs


def pixel_function(model, preprocessing):
    """`classifier_outputs` as a `tf.function` of one argument, `image`."""
    import tensorflow as tf

    shape = (None, *input_shape(model, preprocessing))
    signature = [tf.TensorSpec(shape, tf.float32, name="image")]
    return tf.function(classifier_outputs(model, preprocessing), input_signature=signature)


def write_plain_saved_model(model, preprocessing, directory):
    """Write a SavedModel with only `serving_default`, to convert to other formats."""
    save_signatures(model, {SIGNATURE: pixel_function(model, preprocessing)}, directory)


def save_signatures(model, signatures, directory):
    """Write a SavedModel with these signatures, a dict of `tf.function`s, and the variables of a
    model."""
    import tensorflow as tf

    # Not keras.export.ExportArchive: Keras 3.15 stores every variable twice.
    module = tf.Module()
    module.model_variables = [variable.value for variable in model.variables]
    tf.saved_model.save(module, str(directory), signatures=signatures)
