"""Opens the artifacts of a detector."""

import json
import os
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_wrn.data.preprocess import Preprocessing
from keras_wrn.detection.answers import Selection, select
from keras_wrn.export.head import SIGNATURE, require_extra
from keras_wrn.export.litert import METADATA, open_interpreter
from keras_wrn.export.onnx import open_onnx
from keras_wrn.export.opening import reading_artifact
from keras_wrn.export.saved_model import EXTRAS
from keras_wrn.models.retinanet import Anchors

DETECTOR_FILE = "detector.json"  # in a SavedModel's assets.extra


class Exported(NamedTuple):
    """An opened artifact: the fields of a `Detector`, and its raw answers.

    Fields:
        name, preprocessing, classes, answer: as for `Detector`.
        raw: function from pixels to a dict of `box` and `classification`.
    """

    name: str
    preprocessing: Preprocessing
    classes: int
    answer: object
    raw: object


def open_exported(path, selection=None):
    """Open a SavedModel, ONNX or LiteRT file of a detector; None if it is not one.

    Args:
        path: a SavedModel directory, or a file that ends in .onnx or .tflite.
        selection: `Selection` for a LiteRT file, which has none inside; None for the usual one.

    Returns:
        `Exported`, or None.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or has a selection inside and another is given.
        ExportError: a package is missing.
    """
    path = Path(path)
    openers = {".onnx": _onnx, ".tflite": _litert, ".xml": lambda path: (None, None)}
    with reading_artifact(path) as name:
        run, text = openers.get(path.suffix, _saved_model)(path)
        config = json.loads(text) if text else {}
        if "detector" not in config:
            return None
        preprocessing = Preprocessing.from_config(config["preprocessing"])
        settings = dict(config["detector"])
        anchors = Anchors(preprocessing.size, settings.pop("anchor_size")).boxes
        own = Selection(**settings)
        blank = np.zeros((1, preprocessing.size, preprocessing.size, 3), "float32")
        first = run(blank)
        classes = first["classification"].shape[-1]
    if "boxes" not in first:

        def answer(pixels):
            raw = run(pixels)
            rows = zip(raw["box"], raw["classification"], strict=True)
            return [select(anchors, *row, selection or own) for row in rows]

    elif selection not in (None, own):
        raise ValueError(
            f"{name} has {own} inside. Expected no other selection. Received: {selection}"
        )
    else:

        def answer(pixels):
            found = run(pixels)
            return [
                {key: found[key][i][:count] for key in ("boxes", "scores", "labels")}
                for i, count in enumerate(found["count"])
            ]

    return Exported(name, preprocessing, classes, answer, run)


def _saved_model(path):
    import tensorflow as tf

    file = path / EXTRAS / DETECTOR_FILE
    if not file.is_file():
        return None, None
    loaded = tf.saved_model.load(str(path))

    def run(images, _=loaded):  # the signatures alone do not keep it alive
        found = {}
        for signature in ("raw", SIGNATURE):
            answers = loaded.signatures[signature](image=tf.constant(images, tf.float32))
            found.update({name: value.numpy() for name, value in answers.items()})
        return found

    return run, file.read_text()


def _onnx(path):
    require_extra("onnx")
    return open_onnx(path)


def _litert(path):
    text = None
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            text = archive.read(METADATA)
    run = open_interpreter(path, os.cpu_count() or 1).get_signature_runner(SIGNATURE)
    return lambda images: run(image=np.asarray(images, "float32")), text
