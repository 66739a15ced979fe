"""Any way to say which trained network -> the Keras model."""

import os
import zipfile
from pathlib import Path

import keras

from keras_wrn.models.catalog import create_model, is_name

MODEL_FILE = "model.keras"


def load_model(model_or_name):
    """Return the model itself, or the one of a file, of a run directory, or of a name.

    Args:
        model_or_name: a `keras.Model`; the path of a `.keras` file, or of a directory that holds
            model.keras; or a name of the catalogue with published weights, such as
            "wide_resnet50_2.tv2_in1k", without the tag for the default one.

    Raises:
        ValueError: there is no such model, its file cannot be read, or the name has no weights.
        DownloadError: the published file cannot be fetched.
    """
    if isinstance(model_or_name, keras.Model):
        return model_or_name
    path = Path(model_or_name) if isinstance(model_or_name, str | os.PathLike) else None
    is_path = path is not None and (path.exists() or path.suffix == ".keras")
    if path is not None and not is_path and is_name(str(model_or_name)):
        return create_model(str(model_or_name), pretrained=True)
    if path is not None and path.is_dir():
        path = path / MODEL_FILE
    if path is None or path.suffix != ".keras" or not path.is_file():
        raise ValueError(
            f"Expected a Keras model, a `.keras` file, a directory that holds {MODEL_FILE}, or a "
            f"name with published weights. Received: {str(model_or_name)!r}"
        )
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is damaged: it is not the archive that `model.save` writes.")
    return keras.models.load_model(path, compile=False)
