"""An exported file -> what it computes, and the preprocessing and class names that it carries."""

import contextlib
import json
from pathlib import Path

from keras_wrn.data.preprocess import Preprocessing
from keras_wrn.errors import ExportError
from keras_wrn.export.formats import BY_ENDING
from keras_wrn.export.head import SIGNATURE
from keras_wrn.export.saved_model import EXTRAS

SAVED_MODEL = "saved_model.pb"


def is_artifact(path):
    """Whether a path is that of an exported file, by its ending, or of a SavedModel's directory."""
    path = Path(path)
    return path.suffix in BY_ENDING or (path / SAVED_MODEL).is_file()


def open_artifact(path):
    """Open a SavedModel, LiteRT, ONNX or OpenVINO file that this package exported.

    Each is run by its own runtime on the CPU, or by TensorFlow on what it has. OpenVINO computes in
    float32, also where it would take bfloat16 by itself: so the answers are those of any machine.

    Args:
        path: the directory of a SavedModel, or a file that ends in .tflite, .onnx or .xml.

    Returns:
        A function from images, (batch, height, width, channels) of 0..255, to logits, float32
        (batch, classes); the file's `Preprocessing`, None where it carries none; and what it is,
        str.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or is not what this package exports.
        ExportError: a package is missing.

    Example:

    ```python
    logits, preprocessing, _ = open_artifact("saved_models/cifar10_wrn16_2/1/model.onnx")
    logits(np.zeros((1, 32, 32, 3), "uint8")).shape   # (1, 10)
    ```
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(2, "No such file or directory", str(path))
    row = BY_ENDING.get(path.suffix)
    kind = row.title if row else "SavedModel"
    with _naming(path, kind):
        if row is None:
            logits, preprocessing = _saved_model(path)
        else:
            logits, text = row.open(path)
            preprocessing = _of_metadata(text)
    return logits, preprocessing, f"the {kind} {path}"


@contextlib.contextmanager
def _naming(path, kind):
    """Say of any failure to read whose it is."""
    try:
        yield
    except (ExportError, OSError, MemoryError):
        raise
    except ImportError as error:
        hint = ", which comes with the extra `onnx`" if path.suffix == ".onnx" else ""
        raise ExportError(f"{path} cannot be run here: {error}{hint}") from error
    except Exception as error:  # the runtimes raise what they like of a damaged file
        lines = [x for x in str(error).splitlines() if not x.startswith("Exception from")]
        reason = (lines or [f"its reader fails with {type(error).__name__}"])[0]
        raise ValueError(
            f"{path} cannot be read as the {kind} of a `keras-wrn export`: {reason}"
        ) from error


def _saved_model(path):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    run = loaded.signatures[SIGNATURE]
    preprocessing = Preprocessing.load(path / EXTRAS) if (path / EXTRAS).is_dir() else None

    def logits(images, _=loaded):  # which the signature alone does not keep
        return run(image=tf.constant(images, tf.float32))["logits"].numpy()

    return logits, preprocessing


def _of_metadata(text):
    """The preprocessing in what a file says of itself, None where it says nothing."""
    return Preprocessing.from_config(json.loads(text)["preprocessing"]) if text else None
