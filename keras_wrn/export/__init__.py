"""Artifacts out: a finished model in its serving format, with the preprocessing inside."""

from keras_wrn.errors import ExportError
from keras_wrn.export.bundle import export_version
from keras_wrn.export.fold import fold_batch_norm
from keras_wrn.export.litert import export_litert
from keras_wrn.export.onnx import export_onnx
from keras_wrn.export.openvino import export_openvino
from keras_wrn.export.saved_model import export_saved_model
from keras_wrn.export.serving import export_serving

__all__ = [
    "ExportError",
    "export_litert",
    "export_onnx",
    "export_openvino",
    "export_saved_model",
    "export_serving",
    "export_version",
    "fold_batch_norm",
]
