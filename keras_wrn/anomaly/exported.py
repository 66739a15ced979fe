"""Opens what answers for photos: a fitted Keras model, or an artifact of one."""

import os

from keras_wrn.anomaly.inspector import Inspector
from keras_wrn.anomaly.model import AnomalyModel
from keras_wrn.catalog.opening import load_model
from keras_wrn.data.preprocess import Preprocessing
from keras_wrn.export.opening import is_artifact, open_task, reading_artifact

TASK = "anomaly"


def open_exported(path):
    """Open a SavedModel, LiteRT, ONNX or OpenVINO file as an `Inspector`.

    Returns:
        `Inspector`, or None if it is an artifact of another task.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read.
        ExportError: a package is missing.
    """
    opened = open_task(path, TASK)
    if opened is None:
        return None
    with reading_artifact(path):
        preprocessing = Preprocessing.from_config(opened.config["preprocessing"])
        threshold = float(opened.config[TASK]["threshold"])
    return Inspector(opened.name, preprocessing, threshold, opened.run)


def find_inspector(model_or_name):
    """`open_inspector`, but what is none is returned: an opened Keras model, or the path."""
    if isinstance(model_or_name, Inspector):
        return model_or_name
    if isinstance(model_or_name, str | os.PathLike) and is_artifact(model_or_name):
        return open_exported(model_or_name) or model_or_name
    model = load_model(model_or_name)
    return model.inspector() if isinstance(model, AnomalyModel) else model


def open_inspector(model_or_name) -> Inspector:
    """Open a fitted PatchCore or PaDiM, to look at photos more than once.

    Args:
        model_or_name: a fitted model; the path of a `.keras` file or of a run directory; or an
            exported one: a SavedModel directory, or a .tflite, .onnx or .xml file.

    Raises:
        ValueError: there is no such model, or it is none that was fitted on good photos.
        FileNotFoundError: there is no such exported file.

    Example:

    ```python
    inspector = keras_wrn.anomaly.open_inspector("runs/anomaly_folder-cookies-seed0")
    inspector.score("photo.jpg")["is_anomaly"]   # True
    ```
    """
    found = find_inspector(model_or_name)
    if isinstance(found, Inspector):
        return found
    raise ValueError(
        "Expected a fitted `keras_wrn.anomaly.PatchCore` or `PaDiM`. Received: "
        f"{getattr(found, 'name', found)!r}"
    )
