"""A finished model as an ONNX file, for ONNX Runtime and anything else that reads the format."""

import contextlib
import ctypes
import gc
import os
import tempfile
from pathlib import Path

import numpy as np

from keras_wrn.export.head import (
    check_calibration,
    exportable,
    in_float32,
    metadata_json,
    pixel_function,
    require_extra,
)
from keras_wrn.export.verification import verify_file
from keras_wrn.files import written_aside

OPSET = 18
PRECISIONS = ("float32", "int8")
CALIBRATION_BATCH = 5  # 50 take ten times the memory and are no faster


def export_onnx(
    model, path, *, precision="float32", calibration=None, preprocessing=None, class_names=None,
    overwrite=False,
):  # fmt: skip
    """Write a model as an ONNX file that takes pixels. Needs the extra `onnx`.

    The file takes `image`, float32 (batch, height, width, channels) of 0..255, and returns
    `probabilities` and `logits`, float32 (batch, classes), for a batch of any size. A model in
    another precision is converted to float32 first. Batch norms that follow a convolution are
    folded into it. The precision, the preprocessing inside and the class names are stored as JSON
    in the file's metadata, under `keras_wrn`.

    With precision "int8" the file has about a quarter of the size. The weights of its convolutions
    are int8, with a scale for each channel; their inputs and outputs are uint8, in ranges found by
    calibration; everything else stays float32, including the input and outputs of the file. The
    weights use 7 of their 8 bits: with all 8, sums overflow on processors without VNNI, which
    costs accuracy. OpenVINO reads both files too, but is faster with its own int8 files.

    The file is written under a temporary name, run by ONNX Runtime, compared with the model, and
    only then renamed to `path`. The conversion takes 40 to 50 times the memory of the float32
    file: 7 GB for WRN-28-10, 12 GB for WRN-50-2; int8 takes no more. The int8 conversion puts a
    few such files into the system's temporary directory.

    Args:
        model: a functional `keras.Model` that ends in a `Dense` layer with softmax or no
            activation, such as `keras_wrn.WideResNet(16, 2)`.
        path: the file to write; it ends in `.onnx`.
        precision: "float32" or "int8".
        calibration: uint8 or float (n, height, width, channels) of 0..255, training images before
            preprocessing; needed for "int8". The first 500 are used.
        preprocessing: `keras_wrn.Preprocessing`, None for the model's own.
        class_names: list of str in the order of the outputs, None for those of `preprocessing`.
        overwrite: bool, whether a file at `path` may be replaced.

    Raises:
        ValueError: the path has another ending; there is no such precision; the model is not a
            classifier, has no preprocessing, or has another number of classes; calibration is
            missing, not needed, or has the wrong shape.
        FileExistsError: `path` exists, and `overwrite` is False or it is not a file.
        ExportError: Keras is not on TensorFlow, the extra is not installed, or the file does not
            compute what the model does.

    Source: https://onnx.ai.

    Example:

    ```python
    import onnxruntime

    model = keras_wrn.WideResNet(16, 2)
    model.preprocessing = keras_wrn.Preprocessing(size=32, mean=(0.5,) * 3, std=(0.25,) * 3)
    keras_wrn.export.export_onnx(model, "wrn_16_2.onnx")
    session = onnxruntime.InferenceSession("wrn_16_2.onnx")
    session.run(["probabilities"], {"image": np.zeros((1, 32, 32, 3), "float32")})[0]   # (1, 10)
    ```
    """
    if not str(path).endswith(".onnx"):
        raise ValueError(f"`path` should end in '.onnx'. Received: path={str(path)!r}")
    if precision not in PRECISIONS:
        raise ValueError(f"`precision` should be one of {PRECISIONS}. Received: {precision!r}")
    preprocessing = exportable(model, preprocessing, class_names)
    images = check_calibration(calibration, precision, model, preprocessing)
    require_extra("onnx")
    import onnx

    with written_aside(path, overwrite=overwrite, is_ours=Path.is_file, kind="a file") as new:
        plain = in_float32(model)
        graph = converted(pixel_function(plain, preprocessing))
        if images is not None:
            graph = _quantized(graph, images)
        metadata = metadata_json(plain, preprocessing, precision=precision)
        onnx.helper.set_model_props(graph, {"keras_wrn": metadata})
        onnx.save(graph, new)
        verify_file(open_onnx(new)[0], plain, preprocessing, images, "The ONNX file")


def converted(function):
    """The ONNX graph of a `tf.function` that has an input signature."""
    import tf2onnx

    with _no_copies():
        graph, _ = tf2onnx.convert.from_function(
            function, input_signature=function.input_signature, opset=OPSET
        )
    _free_memory()
    return graph


@contextlib.contextmanager
def _no_copies():
    """Keep tf2onnx from copying the weights in each pass, as it does to undo a failed one."""
    name = "TF2ONNX_CATCH_ERRORS"
    before = os.environ.get(name)
    os.environ[name] = "FALSE"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _free_memory():
    """Return to the system the gigabytes that tf2onnx no longer needs and glibc would keep."""
    gc.collect()
    with contextlib.suppress(OSError, TypeError, AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def _quantized(graph, images):
    """The graph with its convolutions in int8."""
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(quantization.CalibrationDataReader):
        def __init__(self):
            ends = range(CALIBRATION_BATCH, len(images), CALIBRATION_BATCH)
            self.batches = iter(np.split(images, ends))

        def get_next(self):
            batch = next(self.batches, None)
            return None if batch is None else {"image": batch}

    with tempfile.TemporaryDirectory() as directory:
        before, prepared, after = (Path(directory, f"{i}.onnx") for i in range(3))
        onnx.save(graph, before)
        quant_pre_process(before, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            after,
            Images(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Relu"],  # a ReLU after a convolution gives its range
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
        )
        return onnx.load(after)


def open_onnx(path):
    """A function from images to the outputs of an ONNX file by name, computed by ONNX Runtime on
    the CPU; and the file's metadata, JSON or None."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(images):
        answer = session.run(names, {"image": np.asarray(images, "float32")})
        return dict(zip(names, answer, strict=True))

    return run, session.get_modelmeta().custom_metadata_map.get("keras_wrn")
