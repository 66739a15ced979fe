"""The file formats that a model is exported to, one row each."""

import dataclasses
import os
import zipfile
from collections.abc import Callable

import numpy as np

from keras_wrn.export.head import SIGNATURE, require_extra
from keras_wrn.export.litert import METADATA, dequantize, export_litert, open_interpreter
from keras_wrn.export.litert import PRECISIONS as LITERT_PRECISIONS
from keras_wrn.export.onnx import PRECISIONS as ONNX_PRECISIONS
from keras_wrn.export.onnx import export_onnx, open_onnx
from keras_wrn.export.openvino import PACKAGES, export_openvino, open_openvino


@dataclasses.dataclass(frozen=True)
class Format:
    """One file format.

    Args:
        name: str, as in `keras-wrn export --format`.
        title: str, what messages call such a file.
        ending: str, the ending of its name.
        write: function of a model, a path and `precision`; for "int8" also of `calibration`.
        open: function of a path that returns a function from images, (batch, height, width,
            channels) of 0..255, to logits (batch, classes); and the file's metadata, JSON or None.
        precisions: tuple of str.
        extra: str, the extra that writing it needs, or "".
        packages: dict from a precision to the packages of the extra that it also needs.
        integers: bool, whether an int8 file may take and give integers.
    """

    name: str
    title: str
    ending: str
    write: Callable
    open: Callable
    precisions: tuple[str, ...]
    extra: str = ""
    packages: dict = dataclasses.field(default_factory=dict)
    integers: bool = False

    def require(self, precisions):
        """Raise an ExportError unless the packages for these precisions can be imported."""
        if self.extra:
            more = (self.packages.get(precision, ()) for precision in precisions)
            require_extra(self.extra, *(package for each in more for package in each))


def _open_litert(path):
    run = open_interpreter(path, os.cpu_count() or 1).get_signature_runner(SIGNATURE)
    dtype = run.get_input_details()["image"]["dtype"]
    details = run.get_output_details()["logits"]
    text = None
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            text = archive.read(METADATA)

    def logits(images):
        pixels = images if dtype == np.float32 else np.rint(images)
        return dequantize(run(image=np.asarray(pixels, dtype))["logits"], details)

    return logits, text


def _logits_of(opened):
    """Turn a reader that returns all outputs by name into one that returns the logits alone."""

    def open_file(path):
        run, text = opened(path)
        return lambda images: run(images)["logits"], text

    return open_file


FORMATS = {
    row.name: row
    for row in (
        Format(
            "litert", "LiteRT file", ".tflite", export_litert, _open_litert, LITERT_PRECISIONS,
            integers=True,
        ),
        Format(
            "onnx", "ONNX file", ".onnx", export_onnx, _logits_of(open_onnx), ONNX_PRECISIONS,
            "onnx",
        ),
        Format(
            "openvino", "OpenVINO model", ".xml", export_openvino, _logits_of(open_openvino),
            tuple(PACKAGES), "openvino", PACKAGES,
        ),
    )
}  # fmt: skip
BY_ENDING = {row.ending: row for row in FORMATS.values()}
PRECISIONS = tuple(dict.fromkeys(p for row in FORMATS.values() for p in row.precisions))
