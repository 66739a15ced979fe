"""A finished model in OpenVINO's format, for Intel and other x86 CPUs."""

import contextlib
import logging
import os
import tempfile
import threading
from pathlib import Path

import numpy as np

from keras_wrn.export.head import (
    check_calibration,
    exportable,
    in_float32,
    metadata_json,
    require_extra,
    write_plain_saved_model,
)
from keras_wrn.export.verification import verify_file
from keras_wrn.files import written_aside

PACKAGES: dict = {"float32": (), "int8": ("nncf",)}  # besides OpenVINO
PRECISIONS = tuple(PACKAGES)
_QUANTIZING = threading.Lock()


def export_openvino(
    model, path, *, precision="float32", calibration=None, preprocessing=None, class_names=None,
    overwrite=False,
):  # fmt: skip
    """Write a model as the pair of files (.xml, .bin) that OpenVINO reads. Needs the extra
    `openvino`.

    The model takes `image`, float32 (batch, height, width, channels) of 0..255, and returns
    `probabilities` and `logits`, float32 (batch, classes), for a batch of any size. On a CPU with
    bfloat16, OpenVINO computes float32 models in bfloat16 unless told otherwise
    (`{"INFERENCE_PRECISION_HINT": "f32"}`). The precision, the preprocessing inside and the class
    names are stored as JSON in the model's runtime information, under `keras_wrn`.

    With precision "int8" the weights take about a quarter of the space. NNCF, OpenVINO's own
    quantisation tool, makes the weights of the convolutions int8, with a scale for each channel,
    and rounds the inputs of convolutions and additions to 8 bits, in ranges found by calibration;
    the classifier and any whitening stay float32. The weights use 7 of their 8 bits: with all 8,
    sums overflow on processors without VNNI, which costs accuracy.

    The files are written under temporary names, run by OpenVINO in float32, compared with the
    model, and only then renamed. OpenVINO and NNCF report their use to their makers; this is
    switched off if this function is the first to import them.

    Args:
        model: a functional `keras.Model` that ends in a `Dense` layer with softmax or no
            activation, such as `keras_wrn.WideResNet(16, 2)`.
        path: the file to write; it ends in `.xml`. The weights go beside it, into a file of the
            same name that ends in `.bin`.
        precision: "float32" or "int8".
        calibration: uint8 or float (n, height, width, channels) of 0..255, training images before
            preprocessing; needed for "int8". The first 500 are used.
        preprocessing: `keras_wrn.Preprocessing`, None for the model's own.
        class_names: list of str in the order of the outputs, None for those of `preprocessing`.
        overwrite: bool, whether files at both paths may be replaced.

    Raises:
        ValueError: the path has another ending; there is no such precision; the model is not a
            classifier, has no preprocessing, or has another number of classes; calibration is
            missing, not needed, or has the wrong shape; there is no convolution to make int8.
        FileExistsError: either path exists, and `overwrite` is False or it is not a file.
        ExportError: Keras is not on TensorFlow, the extra is not installed, or the files do not
            compute what the model does.

    Source: https://docs.openvino.ai.

    Example:

    ```python
    import openvino

    model = keras_wrn.WideResNet(16, 2)
    model.preprocessing = keras_wrn.Preprocessing(size=32, mean=(0.5,) * 3, std=(0.25,) * 3)
    keras_wrn.export.export_openvino(model, "wrn_16_2.xml")
    compiled = openvino.compile_model("wrn_16_2.xml", "CPU")
    compiled(np.zeros((1, 32, 32, 3), "float32"))["probabilities"]   # (1, 10)
    ```
    """
    if not str(path).endswith(".xml"):
        raise ValueError(f"`path` should end in '.xml'. Received: path={str(path)!r}")
    if precision not in PRECISIONS:
        raise ValueError(f"`precision` should be one of {PRECISIONS}. Received: {precision!r}")
    preprocessing = exportable(model, preprocessing, class_names)
    images = check_calibration(calibration, precision, model, preprocessing)
    require_extra("openvino", *PACKAGES[precision])
    plain = in_float32(model)

    def convert():
        converted = read_written(
            lambda directory: write_plain_saved_model(plain, preprocessing, directory)
        )
        return converted if images is None else quantized(converted, images)

    def verify(run):
        verify_file(run, plain, preprocessing, images, "The OpenVINO model")

    metadata = metadata_json(plain, preprocessing, precision=precision)
    write_pair(path, convert, metadata, verify, overwrite)


def write_pair(path, convert, metadata, verify, overwrite):
    """Write an OpenVINO model into its two files.

    Args:
        path: the .xml file; the weights go beside it.
        convert: function that returns the OpenVINO model.
        metadata: str, JSON.
        verify: function of a function from images to the outputs of the written model by name; it
            raises if these are wrong.
        overwrite: bool, whether files at both paths may be replaced.
    """
    import openvino

    settings = {"overwrite": overwrite, "is_ours": Path.is_file, "kind": "a file"}
    with (
        written_aside(path, **settings) as new,
        written_aside(Path(path).with_suffix(".bin"), **settings) as new_weights,
    ):
        converted = convert()
        converted.set_rt_info(metadata, ["keras_wrn"])
        openvino.save_model(converted, new, compress_to_fp16=False)
        verify(open_openvino(new)[0])
        os.replace(new.with_suffix(".bin"), new_weights)
        # From here to the end there is no model to load, rather than one with another's weights.
        if overwrite:
            Path(path).unlink(missing_ok=True)


def read_written(write):
    """The OpenVINO model of a SavedModel that a function writes into a directory."""
    import openvino

    with tempfile.TemporaryDirectory() as directory:
        write(directory)
        # Not convert_model: it reports each conversion if OpenVINO was imported before.
        return openvino.Core().read_model(directory)


def quantized(model, images, is_kept=lambda name: False):
    """An OpenVINO model with its convolutions in int8.

    Args:
        model: the OpenVINO model.
        images: float32 (n, height, width, channels) of 0..255, to calibrate with.
        is_kept: function from the name of an operation to whether it stays in float32.

    Raises:
        ValueError: there is no convolution.
    """
    import nncf

    kinds = [(op.get_friendly_name(), op.get_type_name()) for op in model.get_ordered_ops()]
    convolutions = [i for i, (_, kind) in enumerate(kinds) if kind.endswith("Convolution")]
    if not convolutions:
        raise ValueError("precision='int8' is for models with convolutions. Received: none")
    kept = [name for i, (name, _) in enumerate(kinds) if i < convolutions[0] or is_kept(name)]
    with _silent():
        return nncf.quantize(
            model,
            nncf.Dataset([image[None] for image in images]),
            subset_size=len(images),
            ignored_scope=nncf.IgnoredScope(kept, types=["MatMul"], validate=False),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=nncf.OverflowFix.ENABLE
            ),
        )


@contextlib.contextmanager
def _silent():
    """Hide NNCF's progress bars and notes; its warnings remain."""
    import rich

    logger, console = logging.getLogger("nncf"), rich.get_console()
    with _QUANTIZING:
        level, quiet = logger.level, console.quiet
        logger.setLevel(max(level, logging.WARNING))
        console.quiet = True
        try:
            yield
        finally:
            logger.setLevel(level)
            console.quiet = quiet


def open_openvino(path):
    """A function from images to the outputs of an OpenVINO model by name, computed in float32 on
    the CPU; and the model's metadata, JSON or None."""
    require_extra("openvino")
    import openvino

    with open(path, "rb") as file:
        if not file.read(100).lstrip().startswith(b"<?xml"):  # else other formats are tried
            raise ValueError("it is no XML")
    model = openvino.Core().read_model(path)
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(images):
        answer = compiled(np.asarray(images, "float32"))
        return {output.any_name: value for output, value in answer.items()}

    known = model.has_rt_info(["keras_wrn"])
    return run, model.get_rt_info(["keras_wrn"]).astype(str) if known else None
