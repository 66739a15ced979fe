"""From any way to name a trained network to the Keras model."""

import os
from pathlib import Path

import keras

from keras_wrn.catalog.creating import create_model
from keras_wrn.catalog.names import is_name
from keras_wrn.weights.keras_files import read_model

MODEL_FILE = "model.keras"
ENDINGS = (".keras", ".h5", ".hdf5")


def load_model(model_or_name):
    """Return a model as it is, or load it from a file or run directory or by name.

    All checksums of a file are checked before anything in it is used.

    Args:
        model_or_name: a `keras.Model`; the path of a `.keras` file, of a legacy Keras 2 `.h5` file,
            or of a directory that holds model.keras; or a catalogue name with published weights,
            such as "wide_resnet50_2.tv2_in1k"; without the tag, the default ones.

    Raises:
        ValueError: there is no such model, its file is damaged or of another kind, or the name has
            no weights.
        OSError: the file may not be read, or (a DownloadError) the published file cannot be
            downloaded.
    """
    if isinstance(model_or_name, keras.Model):
        return model_or_name
    path = Path(model_or_name) if isinstance(model_or_name, str | os.PathLike) else None
    is_path = path is not None and (path.exists() or path.suffix in ENDINGS)
    if path is not None and not is_path and is_name(str(model_or_name)):
        return create_model(str(model_or_name), pretrained=True)
    if path is not None and path.is_dir():
        path = path / MODEL_FILE
    if path is not None and path.name.endswith(".weights.h5"):
        raise ValueError(
            f"{path} holds weights without their network: build it, such as with "
            "`keras_wrn.WideResNet(..., weights=path)`."
        )
    if path is None or path.suffix not in ENDINGS or not path.is_file():
        raise ValueError(
            f"Expected a Keras model, a `.keras` file, a directory that holds {MODEL_FILE}, or a "
            f"name with published weights. Received: {str(model_or_name)!r}"
        )
    return read_model(path)
