"""Opens the artifacts of a detector."""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_wrn.data.preprocess import Preprocessing
from keras_wrn.detection.answers import Selection
from keras_wrn.export.head import SIGNATURE, require_extra
from keras_wrn.export.litert import METADATA, open_interpreter
from keras_wrn.export.onnx import open_onnx
from keras_wrn.export.opening import reading_artifact
from keras_wrn.export.saved_model import EXTRAS
from keras_wrn.models.retinanet import Anchors

DETECTOR_FILE = "detector.json"  # in a SavedModel's assets.extra
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
    path = Path(path)
    with reading_artifact(path) as name:
        run, text = READERS.get(path.suffix, _saved_model)(path)
        config = json.loads(text) if text else {}
        if "detector" not in config:
            return None
        preprocessing = Preprocessing.from_config(config["preprocessing"])
        settings = dict(config["detector"])
        anchors = Anchors(preprocessing.size, settings.pop("anchor_size")).boxes
        blank = np.zeros((1, preprocessing.size, preprocessing.size, 3), "float32")
        classes = run(blank)["classification"].shape[-1]
        return Exported(name, preprocessing, classes, anchors, run, Selection(**settings))


def _saved_model(path):
    import tensorflow as tf

    file = path / EXTRAS / DETECTOR_FILE
    if not file.is_file():
        return None, None
    loaded = tf.saved_model.load(str(path))

    def run(images, _=loaded):  # the signature alone does not keep it alive
        answers = loaded.signatures[RAW](image=tf.constant(images, tf.float32))
        return {name: value.numpy() for name, value in answers.items()}

    return run, file.read_text()


def _onnx(path):
    require_extra("onnx")
    return open_onnx(path)


def _litert(path):
    if not zipfile.is_zipfile(path):
        return None, None
    with zipfile.ZipFile(path) as archive:
        text = archive.read(METADATA)
    if b'"detector"' not in text:
        return None, None
    run = open_interpreter(path, os.cpu_count() or 1).get_signature_runner(SIGNATURE)
    return lambda images: run(image=np.asarray(images, "float32")), text


READERS = {".onnx": _onnx, ".tflite": _litert, ".xml": lambda path: (None, None)}
