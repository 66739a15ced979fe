"""Artifacts out: a finished model as a SavedModel or a LiteRT file, preprocessing inside."""

from keras_wrn.export.bundle import export_version
from keras_wrn.export.fold import fold_batch_norm
from keras_wrn.export.head import ExportError
from keras_wrn.export.litert import export_litert
from keras_wrn.export.saved_model import export_saved_model

__all__ = [
    "ExportError",
    "export_litert",
    "export_saved_model",
    "export_version",
    "fold_batch_norm",
]
