"""Opens the artifacts of a detector."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from keras_wrn.data.preprocess import Preprocessing
from keras_wrn.detection.answers import Selection
from keras_wrn.export.opening import open_task, reading_artifact
from keras_wrn.models.retinanet import Anchors

TASK = "detector"
RAW = "raw"  # the signature without non-maximum suppression


class Exported(NamedTuple):
    """An opened artifact: the fields of a `Detector`."""

    name: str
    preprocessing: Preprocessing
    classes: int
    anchors: np.ndarray
    raw: Callable
    selection: Selection


def open_exported(path):
    """Open a SavedModel, ONNX or LiteRT file of a detector.

    Args:
        path: a SavedModel directory, or a file that ends in .onnx or .tflite.

    Returns:
        `Exported`, or None if it is not one of a detector.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read.
        ExportError: a package is missing.
    """
    opened = open_task(path, TASK, RAW)
    if opened is None:
        return None
    with reading_artifact(path):
        preprocessing = Preprocessing.from_config(opened.config["preprocessing"])
        settings = dict(opened.config[TASK])
        anchors = Anchors(preprocessing.size, settings.pop("anchor_size")).boxes
        blank = np.zeros((1, preprocessing.size, preprocessing.size, 3), "float32")
        classes = opened.run(blank)["classification"].shape[-1]
        selection = Selection(**settings)
        return Exported(opened.name, preprocessing, classes, anchors, opened.run, selection)
