"""A directory that TensorFlow Serving can be pointed at: versions, settings, warm-up, manifests."""

import base64
import json
import os
import re
import string
from importlib import resources
from pathlib import Path

import numpy as np

from keras_wrn.classifier import input_shape
from keras_wrn.export.bundle import next_version, versions
from keras_wrn.export.decode import CLASSIFIED_PIXELS
from keras_wrn.export.head import exportable, require_extra
from keras_wrn.export.saved_model import export_saved_model
from keras_wrn.export.warmup import ENCODED, encoded, write_warmup
from keras_wrn.files import written_aside
from keras_wrn.models import count_macs

RELEASE = "2.20.0"  # of TensorFlow Serving: the newest with a Docker image
BATCHING = "batching_params.pbtxt"  # beside saved_model.pb, where the server looks for it
LARGEST_REQUEST = 1024
# A batch should take a fifth of a second on two CPU cores, about 200 GFLOP/s.
MACS_PER_BATCH, MACS_PER_MILLISECOND = 20e9, 100e6
# What needs no quotes in a shell, a URL, YAML and the text of protocol buffers.
NAME = re.compile(r"[A-Za-z]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")
KIND_OF_NAME = (
    "1 to 63 letters, digits, '-' and '_', starting with a letter and ending with a letter or digit"
)
MARK = "Written by keras_wrn"
FILES = (
    "README.md",
    "config/batching.config",
    "config/models.config",
    "config/monitoring.config",
    "config/ready.sh",
    "docker-compose.yml",
    "kserve.yaml",
    "kubernetes.yaml",
    "smoke.sh",
)
FLAGS = (
    "--model_config_file=/serving/config/models.config",
    "--model_config_file_poll_wait_seconds=60",
    "--allow_version_labels_for_unavailable_models=true",
    "--enable_batching=true",
    "--batching_parameters_file=/serving/config/batching.config",
    "--enable_per_model_batching_parameters=true",
    "--monitoring_config_file=/serving/config/monitoring.config",
)


class _Template(string.Template):
    delimiter = "%"


def export_serving(
    model, directory, *, name, preprocessing=None, class_names=None, top_k=5,
    fold_batch_norm=True, max_pixels=CLASSIFIED_PIXELS, max_batch_size=None,
):  # fmt: skip
    """Write a model as the next version in a directory for TensorFlow Serving.

    Needs the extra `serving`. The directory is mounted as it is, at /serving:

        models/NAME/N/      the SavedModel, its batching_params.pbtxt, and warm-up requests for
                            every signature and each power of two up to the largest batch
        config/             models.config (every model below models/, its newest versions, and
                            the labels `stable` and `canary`), batching, monitoring, readiness
        docker-compose.yml, kubernetes.yaml, kserve.yaml, smoke.sh, requests/, README.md

    The version appears whole, after it is verified; the other files, which name all models of the
    directory, are then rewritten. A running server loads both by itself.
    A model for images of any size is not batched: the server cannot join images of two sizes.

    Args:
        model: a functional `keras.Model` that ends in a `Dense` layer with softmax or no
            activation, such as `keras_wrn.WideResNet(16, 2)`.
        directory: path, made when needed, or that of an earlier `export_serving`.
        name: str, the model's name in requests: a letter, then letters, digits, "-" and "_".
        preprocessing, class_names, top_k, fold_batch_norm, max_pixels: see `export_saved_model`.
        max_batch_size: int, a power of two, the most images that the server computes at once; None
            for what two CPU cores compute in a fifth of a second, 64 at most. A request may have
            1024 images: the server splits it.

    Returns:
        The path of the version.

    Raises:
        ValueError: the name, that of a model already there, or the batch size is not allowed; the
            model cannot be exported.
        FileExistsError: a file to be written exists, and is not from `export_serving`.
        ExportError: the extra is not installed, Keras is not on TensorFlow, or the SavedModel does
            not compute what the model does.

    Source: https://www.tensorflow.org/tfx/serving/serving_config.

    Example:

    ```python
    model = keras_wrn.WideResNet(16, 2)
    model.preprocessing = keras_wrn.Preprocessing(size=32, mean=(0.5,) * 3, std=(0.25,) * 3)
    keras_wrn.export.export_serving(model, "serving", name="wrn")   # serving/models/wrn/1
    ```
    """
    preprocessing = exportable(model, preprocessing, class_names)
    shape = input_shape(model, preprocessing)

    def write(new):
        export_saved_model(
            model,
            new,
            preprocessing=preprocessing,
            top_k=top_k,
            fold_batch_norm=fold_batch_norm,
            max_pixels=max_pixels,
        )

    return serve_version(
        directory,
        name,
        write,
        (*(side or preprocessing.size for side in shape[:2]), shape[2]),
        None if None in shape else count_macs(model),
        "classify" if shape[2] in (1, 3) else "serve_uint8",
        max_batch_size,
    )


def serve_version(directory, name, write, image_shape, macs, signature, max_batch_size=None):
    """Write the next version of a model into a directory for TensorFlow Serving.

    Args:
        directory, name, max_batch_size: as for `export_serving`.
        write: function that writes the SavedModel into a new directory.
        image_shape: (height, width, channels) of an image.
        macs: int, multiply-adds for an image; None for a model that cannot be batched.
        signature: str, which one the request to try it with asks.

    The result and errors are those of `export_serving`.
    """
    if not NAME.fullmatch(str(name)):
        raise ValueError(f"`name` should be {KIND_OF_NAME}. Received: name={name!r}")
    powers = [2**i for i in range(11)]
    if max_batch_size not in (None, *powers):
        raise ValueError(
            "`max_batch_size` should be a power of two, at most 1024, or None. "
            f"Received: max_batch_size={max_batch_size!r}"
        )
    require_extra("serving")
    directory = Path(os.path.abspath(directory))
    _check_files_are_ours(directory, name)
    if max_batch_size is None:
        suitable = [size for size in powers[:7] if size * (macs or 0) <= MACS_PER_BATCH]
        max_batch_size = max(suitable, default=1) if macs else 1
    sizes = [size for size in powers if size <= max_batch_size]
    version = directory / "models" / name / str(next_version(directory / "models" / name))
    with written_aside(version, overwrite=False, is_ours=Path.is_dir, kind="a version") as new:
        write(new)
        write_warmup(new, name, image_shape, sizes)
        if macs:
            (new / BATCHING).write_text(_batching(macs, max_batch_size))
    request = _smoke_request(image_shape, signature)
    file = directory / "requests" / f"{name}.json"
    with written_aside(file, overwrite=True, is_ours=Path.is_file, kind="a file") as new:
        new.write_text(json.dumps(request))
    files = _files(directory)
    settings = {"overwrite": True, "is_ours": Path.is_file, "kind": "a file"}
    for file, text in files.items():
        with written_aside(directory / file, **settings) as new:
            new.write_text(text)
    return version


def _smoke_request(shape, signature):
    """The body of a REST request with one image."""
    if signature not in ENCODED:
        image = np.full(shape, 128).tolist()
        return {"signature_name": signature, "inputs": {"image": [image]}}
    image = {"b64": base64.b64encode(encoded(shape, "PNG")).decode()}
    return {"signature_name": signature, "inputs": {"image_bytes": [image]}}


def _batching(macs, max_batch_size):
    """BatchingParameters, as text, of a model that takes `macs` multiply-adds per image."""
    milliseconds = macs / MACS_PER_MILLISECOND
    timeout = round(1000 * min(max(milliseconds / 2, 1), 10))
    return _template(
        BATCHING,
        max_batch_size=max_batch_size,
        largest_request=LARGEST_REQUEST,
        timeout=timeout,
        million_macs=f"{macs / 1e6:,.0f}",
        milliseconds=f"{milliseconds:,.1f}",
    )


def _files(directory):
    """Every file that names the models of the directory: dict from its path to its contents."""
    found = _models(directory)
    models = [path.name for path in found]
    words = {
        "method": _method(directory, models[0]),
        "image": f"tensorflow/serving:{RELEASE}",
        "version": RELEASE,
        "flags": "\n".join(f"      - {flag}" for flag in FLAGS),
        "deep_flags": "\n".join(f"            - {flag}" for flag in FLAGS),
        "models": " ".join(models),
        "quoted_models": ", ".join(f'"{model}"' for model in models),
        "listed_models": ", ".join(f"`{model}`" for model in models),
        "title": ", ".join(models),
    }
    files = {}
    for file in FILES:
        kind = Path(file).name
        if kind == "models.config":
            files[file] = _models_config(found)
        elif kind == "kserve.yaml":  # a document for each model
            names = [{"name": m, "dashed_name": _dashed(m)} for m in models]
            files[file] = "---\n".join(_template(kind, **words, **name) for name in names)
        else:
            files[file] = _template(kind, **words, name=models[0])
    return files


def _method(directory, model):
    """What `ServingClient` has for a model of the directory, by the request to try it with."""
    try:
        text = (directory / "requests" / f"{model}.json").read_text()
        signature = json.loads(text)["signature_name"]
    except (OSError, ValueError, LookupError, TypeError):  # it was removed, or is not ours
        signature = ""
    return signature if signature in ENCODED else "classify"


def _models(directory):
    """The directories of the models in it; their names are safe to write into its files.

    Raises:
        ValueError: a name is not safe.
    """
    found = sorted(path for path in (directory / "models").glob("*") if versions(path))
    for path in found:
        if not NAME.fullmatch(path.name):
            raise ValueError(
                f"Expected every model in {directory / 'models'} to have a name that is "
                f"{KIND_OF_NAME}: rename or move the other. Received: {path.name!r}"
            )
    return found


def _template(file, **words):
    text = resources.files("keras_wrn.export").joinpath("templates", file).read_text()
    return _Template(text).substitute(words)


def _models_config(paths):
    """The ModelServerConfig of the models with these directories, as text."""
    lines = [
        f"# {MARK}, and written anew by the next export into this directory.",
        "# Requests without a version go to the newest. Three are kept, so that `stable` has one",
        "# to go to between the loading of a new version and the next reading of this file.",
        "model_config_list {",
    ]
    for path in paths:
        newest = versions(path)[-2:]
        stable, canary = newest[0], newest[-1]
        lines += [
            "  config {",
            f'    name: "{path.name}"',
            f'    base_path: "/serving/models/{path.name}"',
            '    model_platform: "tensorflow"',
            "    model_version_policy { latest { num_versions: 3 } }",
            f'    version_labels {{ key: "stable" value: {stable} }}',
            f'    version_labels {{ key: "canary" value: {canary} }}',
            "  }",
        ]
    return "\n".join([*lines, "}", ""])


def _check_files_are_ours(directory, name):
    """Raise an error if a file or a model that is not ours would be replaced."""
    request = f"requests/{name}.json"
    for file in (*FILES, request):
        path, mark = directory / file, '"signature_name"' if file == request else MARK
        if os.path.lexists(path) and not (
            path.is_file() and mark in path.read_text(errors="replace")
        ):
            raise FileExistsError(
                f"Expected no file, or one of an earlier export. Received: {path}"
            )
    for other in _models(directory):
        if other.name != name and _dashed(other.name) == _dashed(name):
            raise ValueError(
                f"`name` should differ from {other.name!r}, a model of the directory, in more than "
                f"case, '-' and '_', which Kubernetes does not tell apart. Received: name={name!r}"
            )


def _dashed(name):
    """A name as Kubernetes allows it."""
    return name.lower().replace("_", "-")
