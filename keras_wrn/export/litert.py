"""A finished model as a LiteRT (TensorFlow Lite) file, for phones and small machines."""

import contextlib
import json
import tempfile
import warnings
import zipfile
from pathlib import Path

import numpy as np

from keras_wrn.export.head import (
    LABELS_FILE,
    SIGNATURE,
    check_calibration,
    exportable,
    in_float32,
    labels_text,
    metadata_json,
    write_plain_saved_model,
)
from keras_wrn.export.verification import INT8_LIMIT, Verification, full_float32
from keras_wrn.files import written_aside
from keras_wrn.quiet import remarks_hidden

PRECISIONS = ("float32", "float16", "dynamic_int8", "int8")
SIDECAR = "the JSON that lies beside a LiteRT file"
METADATA = "metadata.json"  # inside the file, which is also a ZIP archive
# How far the logits of quantised weights may be from the model's: relative root mean square.
LIMITS = {"float16": 0.02, "dynamic_int8": INT8_LIMIT, "int8": INT8_LIMIT}


def export_litert(
    model, path, *, precision="float32", calibration=None, integer_io=False, preprocessing=None,
    class_names=None, overwrite=False,
):  # fmt: skip
    """Write a model as a LiteRT file that takes pixels.

    Its one signature, `serving_default`, takes `image`, float32 (batch, height, width, channels)
    of 0..255, and returns `probabilities` and `logits`, float32 (batch, classes). The batch may
    have any size but 0: the interpreter's signature runner resizes the input by itself. A model
    in another precision is converted to float32 first.

    | precision      | weights | computation                       | size |
    |----------------|---------|-----------------------------------|------|
    | "float32"      | float32 | float32                           | 1    |
    | "float16"      | float16 | float32, or float16 on a GPU      | 1/2  |
    | "dynamic_int8" | int8    | int8, ranges found as it runs     | 1/4  |
    | "int8"         | int8    | int8, ranges found in calibration | 1/4  |

    The file is written under a temporary name, run by the LiteRT interpreter, compared with the
    model, and only then renamed to `path`. It is also a ZIP archive: it holds metadata.json
    (precision, preprocessing, class names) and, if the classes have names, labels.txt (one class
    per line). The same JSON is written beside it, under the file's name with the ending `.json`.

    Args:
        model: a functional `keras.Model` that ends in a `Dense` layer with softmax or no
            activation, such as `keras_wrn.WideResNet(16, 2)`.
        path: the file to write; it ends in `.tflite`.
        precision: one from the table.
        calibration: uint8 or float (n, height, width, channels) of 0..255, training images before
            preprocessing; needed for "int8". The first 500 are used.
        integer_io: bool, for "int8": whether input (pixels as they are) and outputs are uint8.
        preprocessing: `keras_wrn.Preprocessing`, None for the model's own.
        class_names: list of str in the order of the outputs, None for those of `preprocessing`.
        overwrite: bool, whether the file at `path` and the JSON beside it may be replaced.

    Raises:
        ValueError: the path has another ending; the model is not a classifier, has no
            preprocessing, or has another number of classes; calibration is missing, not needed,
            or has the wrong shape.
        FileExistsError: `path` or the JSON beside it exists, and `overwrite` is False or it is not
            a file (for the JSON, not one that this function wrote).
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
    if precision not in PRECISIONS:
        raise ValueError(f"`precision` should be one of {PRECISIONS}. Received: {precision!r}")
    if integer_io and precision != "int8":
        raise ValueError(f"`integer_io` needs precision='int8'. Received: precision={precision!r}")
    preprocessing = exportable(model, preprocessing, class_names)
    images = check_calibration(calibration, precision, model, preprocessing)
    settings = {"precision": precision, "integer_io": integer_io}
    metadata = metadata_json(model, preprocessing, **settings)
    sidecar = Path(path).with_suffix(".json")
    with (
        written_aside(sidecar, overwrite=overwrite, is_ours=_is_sidecar, kind=SIDECAR) as beside,
        written_aside(path, overwrite=overwrite, is_ours=Path.is_file, kind="a file") as new,
    ):
        model = in_float32(model)
        new.write_bytes(convert(model, preprocessing, precision, images, integer_io))
        with full_float32():
            _verify(new, Verification(model, preprocessing, images), precision)
        add_metadata(new, metadata, preprocessing)
        beside.write_text(metadata)


def add_metadata(path, metadata, preprocessing):
    """Make a LiteRT file a ZIP archive too, with its metadata and the names of its classes."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(METADATA, metadata)
        if preprocessing.class_names:
            archive.writestr(LABELS_FILE, labels_text(preprocessing))


def _is_sidecar(path):
    """Whether a file is the JSON that `export_litert` wrote beside another."""
    try:
        return json.loads(path.read_text())["signature"] == SIGNATURE
    except (ValueError, LookupError, TypeError, OSError):
        return False


def convert(model, preprocessing, precision="float32", images=None, integer_io=False):
    """The bytes of the LiteRT file, without a check."""

    def write(directory):
        write_plain_saved_model(model, preprocessing, directory)

    return convert_saved_model(write, precision, images, integer_io)


def convert_saved_model(write, precision="float32", images=None, integer_io=False):
    """The bytes of the LiteRT file of a SavedModel.

    Args:
        write: function that writes the SavedModel, whose only signature is `serving_default`, into
            a directory.
        precision, images, integer_io: as for `convert`.
    """
    import tensorflow as tf

    # If it were converted from concrete functions, the variables would stay outside the file.
    with tempfile.TemporaryDirectory() as directory:
        write(directory)
        converter = tf.lite.TFLiteConverter.from_saved_model(directory, signature_keys=[SIGNATURE])
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if precision == "int8":
            converter.representative_dataset = lambda: (
                (SIGNATURE, {"image": image[np.newaxis]}) for image in images
            )
        if integer_io:
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.uint8
        with _no_deprecation_warning(), remarks_hidden():
            return converter.convert()


def open_interpreter(path, threads=1):
    """An interpreter for the file: ai-edge-litert's, or TensorFlow's if that is not installed."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import tensorflow as tf

        Interpreter = tf.lite.Interpreter
    with _no_deprecation_warning(), remarks_hidden():
        interpreter = Interpreter(str(path), num_threads=threads)
        interpreter.allocate_tensors()  # prints a remark on its kernels, once per process
        return interpreter


@contextlib.contextmanager
def _no_deprecation_warning():
    """Hide the warning of TensorFlow's interpreter, with which the converter calibrates."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*tf.lite.Interpreter is deprecated")
        yield


def _verify(path, verification, precision):
    interpreter = open_interpreter(path)
    run = interpreter.get_signature_runner(SIGNATURE)
    images = verification.images.astype(run.get_input_details()["image"]["dtype"])
    outputs = run(image=images)
    if precision == "float32":
        verification.check(outputs, "The LiteRT file")
        return
    details = run.get_output_details()["logits"]
    logits = dequantize(outputs["logits"], details)
    verification.check_quantized(logits, LIMITS[precision], "The LiteRT file")


def dequantize(values, details):
    """The values of an interpreter's input or output as float32, whatever their type."""
    scale, zero = details["quantization"]
    values = np.asarray(values, "float32")
    return (values - zero) * scale if scale else values
