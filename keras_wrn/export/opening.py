"""Opens an exported file: what it computes, and the preprocessing and class names it carries."""

import contextlib
import json
import mmap
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_wrn.data.preprocess import Preprocessing
from keras_wrn.errors import ExportError
from keras_wrn.export.formats import BY_ENDING
from keras_wrn.export.head import SIGNATURE, require_extra
from keras_wrn.export.litert import METADATA, open_interpreter
from keras_wrn.export.onnx import open_onnx
from keras_wrn.export.openvino import open_openvino
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


class Opened(NamedTuple):
    """An artifact of another task than classification.

    Args:
        name: str, what it is, for messages.
        run: function from images, (batch, height, width, channels) of 0..255, to a dict of outputs.
        config: dict, its metadata.
    """

    name: str
    run: Callable
    config: dict


def open_task(path, task, signature=SIGNATURE):
    """Open an artifact of a task, such as "detector" or "anomaly".

    Its metadata, JSON, have that key. A SavedModel has them in assets.extra, in a file of the
    task's name.

    Args:
        path: a SavedModel directory, or a file that ends in .tflite, .onnx or .xml.
        task: str.
        signature: str, which of a SavedModel's signatures answers.

    Returns:
        `Opened`, or None if it is an artifact of another task.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read.
        ExportError: a package is missing.
    """
    path = Path(path)
    with reading_artifact(path) as name:
        if path.suffix not in READERS:
            run, text = _of_saved_model(path, task, signature)
        elif not _mentions(path, task):
            return None
        else:
            run, text = READERS[path.suffix](path)
        config = json.loads(text) if text else {}
        return Opened(name, run, config) if task in config else None


def _mentions(path, word):
    """Whether a file has a word somewhere: quick, where opening it takes seconds."""
    if not path.stat().st_size:
        return True  # its reader says what is wrong
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(word.encode()) >= 0


def _of_saved_model(path, task, signature):
    import tensorflow as tf

    file = path / EXTRAS / f"{task}.json"
    if not file.is_file():
        return None, None
    loaded = tf.saved_model.load(str(path))

    def run(images, _=loaded):  # the signature alone does not keep it alive
        answers = loaded.signatures[signature](image=tf.constant(images, tf.float32))
        return {name: value.numpy() for name, value in answers.items()}

    return run, file.read_text()


def _of_onnx(path):
    require_extra("onnx")
    return open_onnx(path)


def _of_litert(path):
    if not zipfile.is_zipfile(path):
        return None, None
    with zipfile.ZipFile(path) as archive:
        text = archive.read(METADATA)
    run = open_interpreter(path, os.cpu_count() or 1).get_signature_runner(SIGNATURE)
    return lambda images: run(image=np.asarray(images, "float32")), text


READERS = {".onnx": _of_onnx, ".tflite": _of_litert, ".xml": open_openvino}
