"""Opens an exported file: what it computes, and the preprocessing and class names it carries."""

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
    """Whether a path is an exported file, by its ending, or a SavedModel directory."""
    path = Path(path)
    return path.suffix in BY_ENDING or (path / SAVED_MODEL).is_file()


def open_artifact(path):
    """Open a SavedModel, LiteRT, ONNX or OpenVINO file that this package exported.

    Each runs in its own runtime on the CPU, or in TensorFlow on whatever device that has. OpenVINO
    computes in float32, even where it would choose bfloat16: the answers are then the same on any
    machine.

    Args:
        path: a SavedModel directory, or a file that ends in .tflite, .onnx or .xml.

    Returns:
        A function from images, (batch, height, width, channels) of 0..255, to logits, float32
        (batch, classes); the file's `Preprocessing`, None if it carries none; and what it is, str.

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
    row = BY_ENDING.get(path.suffix)
    with reading_artifact(path) as name:
        if row is None:
            logits, preprocessing = _saved_model(path)
        else:
            logits, text = row.open(path)
            preprocessing = _of_metadata(text)
    return logits, preprocessing, name


@contextlib.contextmanager
def reading_artifact(path):
    """Say what an artifact is, and name it in any error from reading it.

    Raises:
        FileNotFoundError, ValueError, ExportError: as for `open_artifact`.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(2, "No such file or directory", str(path))
    row = BY_ENDING.get(path.suffix)
    kind = row.title if row else "SavedModel"
    with _naming(path, kind, row.extra if row else ""):
        yield f"the {kind} {path}"


@contextlib.contextmanager
def _naming(path, kind, extra):
    """Name the file in any error from reading it."""
    try:
        yield
    except (ExportError, OSError, MemoryError):
        raise
    except ImportError as error:
        hint = f", which comes with the extra `{extra}`" if extra else ""
        raise ExportError(f"{path} cannot be run here: {error}{hint}") from error
    except Exception as error:  # the runtimes raise anything for a damaged file
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

    def logits(images, _=loaded):  # the signature alone does not keep it alive
        return run(image=tf.constant(images, tf.float32))["logits"].numpy()

    return logits, preprocessing


def _of_metadata(text):
    """The preprocessing in a file's metadata, None if there is none."""
    return Preprocessing.from_config(json.loads(text)["preprocessing"]) if text else None
