"""Loads published weights into a model: from the package or the cache, or downloaded once."""

import contextlib
import dataclasses
import importlib.util
import os
import time
import urllib.request
from pathlib import Path

import keras

from keras_wrn.catalog.names import build, model_info
from keras_wrn.catalog.sources import PublishedWeights, weights_info
from keras_wrn.distribution import carried
from keras_wrn.errors import DownloadError, WeightsError
from keras_wrn.files import TEMPORARY, locked, replacing
from keras_wrn.models.stages import copy_trunk
from keras_wrn.web import within
from keras_wrn.weights.convert import load_torch_weights
from keras_wrn.weights.files import sha256
from keras_wrn.weights.keras_files import read_model

MIRROR = "KERAS_WRN_MIRROR"
LOCK = ".keras_wrn.lock"  # beside the directory
TIMEOUT = 30  # seconds for a server to send anything at all
SLOWEST, PATIENCE = 1_000, 60  # the fewest bytes per second on average, over so many seconds
ROOM = 16, 2**24  # the most bytes: per parameter (four times a float32's), and on top
SHIPPED = {"wrn_16_2.cifar10": ("shipped/cifar10_wrn16_2", "saved_models/cifar10_wrn16_2/1")}


def load_published(name: str, tag: str = ""):
    """Return the network with published weights and their preprocessing.

    The file is downloaded on first use, checked against the hash in its name, converted and kept as
    `.keras` in Keras' cache: `~/.keras/keras_wrn`, or below `KERAS_HOME`. If several processes need
    it at once, one does this and the others wait. If the environment variable KERAS_WRN_MIRROR is
    set to a URL, the files are downloaded from there.

    Args:
        name, tag: as for `keras_wrn.catalog.weights_info`.

    Returns:
        A functional `keras.Model` with softmax and `preprocessing`.

    Raises:
        ValueError: there are no such weights.
        DownloadError: (an OSError) the file cannot be downloaded, has the wrong hash, is too large
            for the network, or arrives slower than 1 kB per second; the message says what to
            download and where to put it.
        WeightsError: (a ValueError) torch, which reads these files, is missing, or a file is
            damaged.

    Example:

    ```python
    model = keras_wrn.catalog.load_published("wrn_16_2.cifar10")
    ```
    """
    weights = weights_info(name, tag)
    if not weights.url:
        return read_model(_shipped(weights))
    converted = cache_dir() / f"{weights.name}-{weights.sha256}.keras"
    kept = _kept(converted)
    if kept is not None:
        return kept
    if importlib.util.find_spec("torch") is None:
        raise WeightsError(
            f"{weights.file} is a PyTorch file, which needs the package torch to read once: "
            "pip install torch"
        )
    with contextlib.suppress(OSError):  # the download reports it, with what to do about it
        cache_dir().parent.mkdir(parents=True, exist_ok=True)
    with locked(cache_dir().with_name(LOCK)) as held:
        for left in cache_dir().glob(TEMPORARY) if held else ():
            left.unlink()  # by a killed process, since live ones wait
        return _kept(converted) or _convert(weights, converted)


def _kept(converted):
    """The network that was converted before; None if there is none, or it is damaged."""
    try:
        return read_model(converted) if converted.is_file() else None
    except WeightsError:
        return None


def _convert(weights, converted):
    """The network with the published file's weights, which is also written to `converted`."""
    path = _download(weights)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")  # the file serves processes of any precision
    try:
        model = build(weights.model, classes=len(weights.class_names))
    finally:
        keras.config.set_dtype_policy(policy)
    load_torch_weights(model, path)
    model.preprocessing = weights.preprocessing
    with replacing(converted) as temporary:
        model.save(temporary)
    return model


def load_into(model, name, tag):
    """Load published weights and their preprocessing into a network that was just built.

    Raises:
        ValueError: there are no such weights, or the model differs in its classes or architecture;
            also what `load_published` raises.
    """
    weights = weights_info(name, tag)
    top = model.layers[-1] if model.layers[-1].name == "predictions" else None
    classes = len(weights.class_names)
    if top is not None and top.units != classes:
        raise ValueError(
            f"`classes` should be {classes} with `weights={tag!r}` and `include_top=True`: build "
            "the network with them and give it to `keras_wrn.reset_classifier` for other classes. "
            f"Received: classes={top.units}"
        )
    source = load_published(weights.name)
    copy_trunk(source, model)
    if top is not None:
        top.set_weights(source.layers[-1].get_weights())
    preprocessing = weights.preprocessing
    height, width = model.input_shape[1:3]
    if height == width and height is not None:
        preprocessing = dataclasses.replace(preprocessing, size=height)
    if top is None:
        preprocessing = dataclasses.replace(preprocessing, class_names=())
    model.preprocessing = preprocessing


def cache_dir() -> Path:
    """Where downloaded and converted weights are kept."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "keras_wrn"


def _shipped(weights):
    for folder in carried(*SHIPPED[weights.name]):
        if (folder / "model.keras").is_file():
            return folder / "model.keras"
    raise WeightsError(f"This installation lacks the weights {weights.name}: install it anew")


def _download(weights: PublishedWeights) -> Path:
    """The path of the published file in the cache, its hash checked."""
    mirror = os.environ.get(MIRROR)
    url = f"{mirror.rstrip('/')}/{weights.file}" if mirror else weights.url
    path = cache_dir() / weights.file
    advice = (
        f"Download {weights.url} by other means and put it at {path}, or set {MIRROR} to a URL "
        f"below which {weights.file} is found"
    )
    fresh = not path.is_file()
    if fresh:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            per_parameter, besides = ROOM
            parameters = model_info(weights.model).params or 0
            _fetch(url, path, per_parameter * parameters + besides)
        except Exception as error:  # whatever urllib raises
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DownloadError(f"{url} cannot be downloaded: {reason}. {advice}") from error
    digest = sha256(path)
    if not digest.startswith(weights.sha256):
        if fresh:
            path.unlink()
        raise DownloadError(
            f"{url if fresh else path} is not the file that was published, or is cut off: expected "
            f"a SHA-256 that begins with {weights.sha256}. Received: {digest}. "
            f"{advice if fresh else 'Delete it, and try again'}"
        )
    return path


def _fetch(url, path, most):
    """Download a file of at most `most` bytes; it is at `path` only once it is complete."""
    with (
        replacing(path) as temporary,
        within(PATIENCE, urllib.request.urlopen, url, timeout=TIMEOUT) as reply,
        open(temporary, "wb") as file,
    ):
        length = reply.headers.get("Content-Length")
        length = int(length) if length else None
        bar = keras.utils.Progbar(length, unit_name="byte")
        received, mark, began = 0, 0, time.monotonic()
        while chunk := reply.read1(2**20):
            file.write(chunk)
            received += len(chunk)
            if max(received, length or 0) > most:
                raise OSError(f"it is larger than the {most:,} bytes that the weights may take")
            seconds = time.monotonic() - began
            if seconds > PATIENCE:
                if received - mark < SLOWEST * seconds:
                    raise OSError(f"{received - mark:,} bytes came in {seconds:.0f} seconds")
                mark, began = received, time.monotonic()
            bar.update(received, finalize=received == length)
        if length is not None and received != length:
            raise OSError(f"{received:,} of {length:,} bytes came")
