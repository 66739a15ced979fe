"""A directory that TensorFlow Serving can be pointed at: versions, settings, warm-up, manifests."""

import base64
import io
import json
import os
import re
import string
from importlib import resources
from pathlib import Path

import numpy as np

from keras_wrn.export.aside import written_aside
from keras_wrn.export.bundle import next_version
from keras_wrn.export.head import ExportError, exportable, input_shape, require_extra
from keras_wrn.export.saved_model import EXTRAS as ASSETS
from keras_wrn.export.saved_model import export_saved_model

RELEASE = "2.20.0"  # of TensorFlow Serving: the newest that has an image
WARMUP = "tf_serving_warmup_requests"
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
    "--monitoring_config_file=/serving/config/monitoring.config",
)


class _Template(string.Template):
    delimiter = "%"


def export_serving(
    model, directory, *, name, preprocessing=None, class_names=None, top_k=5,
    fold_batch_norm=True, max_batch_size=32,
):  # fmt: skip
    """Write a model as the next version in a directory for TensorFlow Serving.

    Needs the extra `serving`. The directory is mounted as it is, at /serving:

        models/NAME/N/      the SavedModel, with warm-up requests for every signature and batch size
        config/             models.config (every model below models/, its newest two versions, and
                            the labels `stable` and `canary`), batching, monitoring, readiness
        docker-compose.yml, kubernetes.yaml, kserve.yaml, smoke.sh, requests/, README.md

    The version appears whole, after it is verified; the other files, which name all models of the
    directory, are then written anew. A server that runs on the directory loads both by itself.

    Args:
        model: a functional `keras.Model` that ends in a `Dense` layer with softmax or without
            activation, such as `keras_wrn.WideResNet(16, 2)`.
        directory: path, made when needed, or that of an earlier `export_serving`.
        name: str, under which the model is asked for: letters, digits, "-" and "_".
        preprocessing, class_names, top_k, fold_batch_norm: see `export_saved_model`.
        max_batch_size: int, a power of two, the most images that the server computes at once.

    Returns:
        The path of the version.

    Raises:
        ValueError: a name or batch size of another kind, or a model that cannot be exported.
        FileExistsError: a file that would be written is there, and is none of `export_serving`.
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
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?", str(name)):
        raise ValueError(
            "`name` should have at most 63 letters, digits, '-' and '_', and begin and end with a "
            f"letter or digit. Received: name={name!r}"
        )
    sizes = [2**i for i in range(11) if 2**i <= max_batch_size]
    if max_batch_size not in sizes:
        raise ValueError(
            "`max_batch_size` should be a power of two, at most 1024. "
            f"Received: max_batch_size={max_batch_size!r}"
        )
    preprocessing = exportable(model, preprocessing, class_names)
    require_extra("serving")
    directory = Path(os.path.abspath(directory))
    _check_files_are_ours(directory)
    version = directory / "models" / name / str(next_version(directory / "models" / name))
    with written_aside(version, overwrite=False, is_ours=Path.is_dir, kind="a version") as new:
        export_saved_model(
            model, new, preprocessing=preprocessing, top_k=top_k, fold_batch_norm=fold_batch_norm
        )
        _write_warmup(new, model, preprocessing, name, sizes)
    request = _smoke_request(preprocessing, input_shape(model, preprocessing))
    files = {f"requests/{name}.json": json.dumps(request), **_files(directory, sizes)}
    settings = {"overwrite": True, "is_ours": Path.is_file, "kind": "a file"}
    for file, text in files.items():
        with written_aside(directory / file, **settings) as new:
            new.write_text(text)
    return version


def replay(path, signatures, what="The SavedModel"):
    """Ask the signatures of a SavedModel what the records of a warm-up file ask.

    Returns:
        The number of records by (signature, batch size).

    Raises:
        ExportError: a record that does not fit, or an answer that is not finite.
    """
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    counts: dict[tuple[str, int], int] = {}
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        signature = request.model_spec.signature_name
        inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
        try:
            outputs = signatures[signature](**{k: tf.constant(v) for k, v in inputs.items()})
        except (KeyError, TypeError, ValueError, tf.errors.OpError) as error:
            raise ExportError(f"{what} does not answer its warm-up requests: {error}") from error
        (batch,) = {len(value) for value in inputs.values()}
        for key, value in outputs.items():
            finite = not value.dtype.is_floating or np.isfinite(value.numpy()).all()
            if len(value) != batch or not finite:
                raise ExportError(
                    f"{what} should answer {batch} finite {key} to a warm-up request for "
                    f"{signature}, and answers {value.numpy()}"
                )
        counts[signature, batch] = counts.get((signature, batch), 0) + 1
    return counts


def _write_warmup(version, model, preprocessing, name, sizes):
    """Write one PredictionLog for each signature and batch size, and ask each once."""
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    height, width, channels = input_shape(model, preprocessing)
    shape = height or preprocessing.size, width or preprocessing.size, channels
    signatures = tf.saved_model.load(str(version)).signatures
    path = version / ASSETS / WARMUP
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature in signatures:
            for size in sizes:
                log = prediction_log_pb2.PredictionLog()
                request = log.predict_log.request
                request.model_spec.name = name
                request.model_spec.signature_name = signature
                key, tensor = _grey(signature, size, shape)
                request.inputs[key].CopyFrom(tensor)
                writer.write(log.SerializeToString())
    replay(path, signatures)


def _grey(signature, size, shape):
    """Name and value of a batch of grey images; of one number, however large the batch is."""
    import tensorflow as tf

    if signature == "classify":
        encoded = [_encoded(shape, kind) for kind in ("JPEG", "PNG")]
        return "image_bytes", tf.make_tensor_proto((encoded * size)[:size])
    dtype = tf.uint8 if signature == "serve_uint8" else tf.float32
    return "image", tf.make_tensor_proto(128, dtype, (size, *shape))


def _encoded(shape, kind):
    from PIL import Image

    data = io.BytesIO()
    pixels = np.full(shape, 128, "uint8")
    Image.fromarray(pixels if shape[2] == 3 else pixels[..., 0]).save(data, kind)
    return data.getvalue()


def _smoke_request(preprocessing, shape):
    """The body of a REST request with one image."""
    size = preprocessing.size
    if shape[2] not in (1, 3):
        image = np.full((size, size, shape[2]), 128).tolist()
        return {"signature_name": "serve_uint8", "inputs": {"image": [image]}}
    image = {"b64": base64.b64encode(_encoded((size, size, shape[2]), "PNG")).decode()}
    return {"signature_name": "classify", "inputs": {"image_bytes": [image]}}


def _files(directory, sizes):
    """Every file that names the models of the directory: dict from its path to its contents."""
    found = sorted(path for path in (directory / "models").iterdir() if _versions(path))
    models = [path.name for path in found]
    words = {
        "image": f"tensorflow/serving:{RELEASE}",
        "version": RELEASE,
        "max_batch_size": sizes[-1],
        "allowed_batch_sizes": "\n".join(f"allowed_batch_sizes: {size}" for size in sizes),
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
            names = [{"name": m, "dashed_name": m.lower().replace("_", "-")} for m in models]
            files[file] = "---\n".join(_template(kind, **words, **name) for name in names)
        else:
            files[file] = _template(kind, **words, name=models[0])
    return files


def _template(file, **words):
    text = resources.files("keras_wrn.export").joinpath("templates", file).read_text()
    return _Template(text).substitute(words)


def _models_config(paths):
    """The ModelServerConfig of the models with these directories, as text."""
    lines = [
        f"# {MARK}, and written anew by the next export into this directory.",
        "# The newest two versions are served; requests that name neither go to the newest.",
        "model_config_list {",
    ]
    for path in paths:
        versions = _versions(path)
        stable, canary = versions[-2:][0], versions[-1]
        lines += [
            "  config {",
            f'    name: "{path.name}"',
            f'    base_path: "/serving/models/{path.name}"',
            '    model_platform: "tensorflow"',
            "    model_version_policy { latest { num_versions: 2 } }",
            f'    version_labels {{ key: "stable" value: {stable} }}',
            f'    version_labels {{ key: "canary" value: {canary} }}',
            "  }",
        ]
    return "\n".join([*lines, "}", ""])


def _versions(path):
    return sorted(int(version.name) for version in path.glob("*") if version.name.isdecimal())


def _check_files_are_ours(directory):
    """Raise a FileExistsError where a file that is not ours would be replaced."""
    for path in map(directory.joinpath, FILES):
        if os.path.lexists(path) and not (
            path.is_file() and MARK in path.read_text(errors="replace")
        ):
            raise FileExistsError(
                f"Expected no file, or one of an earlier export. Received: {path}"
            )
