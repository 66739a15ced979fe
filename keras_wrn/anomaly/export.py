"""A fitted PatchCore or PaDiM as a SavedModel, a LiteRT, ONNX or OpenVINO file."""

import json
from pathlib import Path

import keras
import numpy as np
from keras import ops

from keras_wrn.anomaly.exported import TASK, open_exported
from keras_wrn.anomaly.model import AnomalyModel
from keras_wrn.anomaly.photos import read_squares
from keras_wrn.errors import ExportError
from keras_wrn.export.bundle import SAVED_MODEL, check_writable, new_version
from keras_wrn.export.decode import CLASSIFIED_PIXELS, decode_with, resize_rows
from keras_wrn.export.fold import fold_batch_norm
from keras_wrn.export.formats import BY_ENDING, FORMATS
from keras_wrn.export.head import (
    CALIBRATION_IMAGES,
    SIGNATURE,
    in_float32,
    require_tensorflow,
    save_signatures,
)
from keras_wrn.export.litert import add_metadata, convert_saved_model
from keras_wrn.export.onnx import converted
from keras_wrn.export.openvino import quantized, read_written, write_pair
from keras_wrn.export.saved_model import EXTRAS, check_max_pixels, for_any_batch, is_saved_model
from keras_wrn.export.serving import serve_version
from keras_wrn.export.verification import full_float32, tolerance_of
from keras_wrn.files import written_aside
from keras_wrn.models.complexity import count_macs

INSPECT = "inspect"
PRECISIONS = {
    ".tflite": ("float32", "float16"), ".onnx": ("float32",), ".xml": ("float32", "int8"),
}  # fmt: skip
LARGEST_FILE = 2.0e9  # bytes of weights
VERIFIED = 32  # photos that an int8 file is compared on
# How far scores and maps may be from the model's: as a share of the largest value; for int8 the
# root of the mean square, as a share of that of the values, or of the threshold if it is larger.
LIMITS = {"float16": 1e-2, "int8": 0.1}


def export_anomaly(
    model, path, *, precision="float32", calibration=None, max_pixels=CLASSIFIED_PIXELS,
    overwrite=False,
):  # fmt: skip
    """Write a fitted model as a SavedModel, or by the ending of the path as a single file.

    | path      | takes                                                    | precision         |
    |-----------|----------------------------------------------------------|-------------------|
    | directory | `serving_default`: float pixels; `serve_uint8`: pixels;  | float32           |
    |           | `inspect`: encoded images                                |                   |
    | `.tflite` | pixels                                                   | float32, float16  |
    | `.onnx`   | pixels                                                   | float32           |
    | `.xml`    | pixels (OpenVINO, with a .bin beside it)                 | float32, int8     |

    Pixels are `image`, (batch, size, size, 3) of 0..255: the whole photo squeezed into a square.
    Encoded images are `image_bytes`, str (batch,), of any size, in the formats of
    `keras_wrn.export.export_saved_model`'s `classify`, with the same limits.

    All return `score`, float32 (batch,), `map`, float32 (batch, size, size), and `is_anomaly`, bool
    (batch,). `inspect` returns `valid` too, bool (batch,). An image that cannot be decoded has a
    `valid` of False, a score and a map of 0, and the others get their answers.

    With "float16" the weights are float16, and all is computed in float32. With "int8" the
    convolutions of the trunk are int8, and the distances stay float32: as integers they would spoil
    the map. The batch norms of a SavedModel are folded into its convolutions.

    The artifact is written under a temporary name, loaded back, compared with the model, and only
    then renamed to `path`. It holds the threshold and how photos become squares:
    `keras_wrn.anomaly.open_inspector` takes it.

    Args:
        model: a fitted `PatchCore` or `PaDiM`.
        path: a directory, or a file that ends in .tflite, .onnx (this needs the extra `onnx`) or
            .xml (the extra `openvino`).
        precision: one from the table.
        calibration: for "int8", good photos in any form that `fit` takes; the first 500 are used.
        max_pixels: int, the most pixels of an image that `inspect` decodes.
        overwrite: bool, whether an artifact at `path` may be replaced.

    Raises:
        ValueError: the model is not fitted, there is no such precision or format, or calibration is
            missing or not needed.
        FileExistsError: `path` exists, and `overwrite` is False or it is something else.
        ExportError: Keras is not on TensorFlow, the extra is not installed, or the artifact does
            not compute what the model does.

    Example:

    ```python
    network = keras_wrn.WideResNet(16, 2)
    network.preprocessing = keras_wrn.Preprocessing(32, mean=(0.5,) * 3, std=(0.25,) * 3)
    good = np.random.default_rng(0).integers(0, 256, (4, 60, 80, 3), "uint8")
    model = keras_wrn.anomaly.PatchCore(network, image_size=32).fit(good)
    keras_wrn.anomaly.export_anomaly(model, "inspector")
    ```
    """
    require_tensorflow()
    _check_fitted(model)
    ending = Path(path).suffix
    if ending in (".keras", ".h5", ".pt", ".pb", ".json", ".bin"):
        raise ValueError(
            f"`path` should be a directory, or end in {', '.join(PRECISIONS)}. Received: {path}"
        )
    having = PRECISIONS.get(ending, ("float32",))
    if precision not in having:
        raise ValueError(
            f"`precision` of {path} should be one of {having}. Received: precision={precision!r}"
        )
    if (precision == "int8") != (calibration is not None):
        raise ValueError(
            "`calibration`, good photos, is for precision='int8', which needs it. Received: "
            f"precision={precision!r}, calibration={calibration!r:.80}"
        )
    if ending in BY_ENDING:
        BY_ENDING[ending].require([precision])
    check_max_pixels(max_pixels, model.preprocessing)
    if ending in (".onnx", ".tflite") and not fits_in_file(model, precision):
        raise ExportError(
            f"A {ending} file holds at most 2 GB, and this model has more weights. Export it as a "
            "SavedModel or for OpenVINO, or fit it on fewer photos."
        )
    pixels = None
    if calibration is not None:
        photos = model.listed_photos(calibration)[:CALIBRATION_IMAGES]
        if not photos:
            raise ValueError("`calibration` should be good photos. Received: none")
        pixels = read_squares(photos, model.preprocessing).astype("float32")
    plain = _served(model, in_float32(model.trunk), copy=precision == "float16")
    if precision == "float16":
        plain.round_memory()
    if ending == ".xml":

        def verify(run):
            _verify(run, model, precision, pixels)

        write_pair(
            path, lambda: _openvino(plain, pixels), _metadata(model, precision), verify, overwrite
        )
        return
    is_ours, kind = (
        (Path.is_file, "a file") if ending in PRECISIONS else (is_saved_model, "a SavedModel")
    )
    with written_aside(path, overwrite=overwrite, is_ours=is_ours, kind=kind) as new:
        if ending == ".tflite":
            new.write_bytes(convert_saved_model(_plain_writer(plain), precision))
            add_metadata(new, _metadata(model, precision), model.preprocessing)
        elif ending == ".onnx":
            _write_onnx(plain, new, _metadata(model, precision))
        else:
            served = _served(model, fold_batch_norm(model.trunk))
            _write_saved_model(served, new, max_pixels)
            model.preprocessing.save(new / EXTRAS)
            (new / EXTRAS / f"{TASK}.json").write_text(_metadata(model, precision) + "\n")
        _verify(open_exported(new).answer, model, precision)


def fits_in_file(model, precision="float32"):
    """Whether a model's weights fit into a LiteRT or ONNX file."""
    numbers = sum(int(np.prod(weight.shape)) for weight in model.weights)
    return numbers * (2 if precision == "float16" else 4) <= LARGEST_FILE


def export_anomaly_version(
    model, directory, formats=(SAVED_MODEL, "litert"), *, precisions=("float32",),
    calibration=None, max_pixels=CLASSIFIED_PIXELS, card=None,
):  # fmt: skip
    """Write a fitted model's artifacts into `directory`/N, where N is the next free integer.

    Args:
        model, calibration, max_pixels: as for `export_anomaly`.
        directory: path of the directory of versions, made when needed.
        formats: some of "saved_model" (the version directory itself), "litert", "onnx" and
            "openvino", named as `keras_wrn.export.export_version` names them. The Keras file,
            model.keras, is always written.
        precisions: "float32", "float16" and "int8"; a format that has none of those given is
            written in float32.
        card: str, the contents of the version's README.md, or None.

    Returns:
        The path of the version.

    Raises:
        ValueError: an unknown format, or none; a precision that none of the formats has; a
            directory that is a SavedModel.
        ExportError: an extra is missing, or an artifact does not compute what the model does.
    """
    known = SAVED_MODEL, *FORMATS
    if not formats or set(formats) - set(known):
        raise ValueError(f"`formats` should be some of {known}. Received: {tuple(formats)}")
    endings = [row.ending for row in FORMATS.values() if row.name in formats]
    for precision in set(precisions) - {"float32"}:
        if not any(precision in PRECISIONS[ending] for ending in endings):
            having = [e for e, known in PRECISIONS.items() if precision in known] or "no"
            raise ValueError(
                f"A file in {precision!r} should end in one of {having}. Received: the formats "
                f"{', '.join(formats)}"
            )
    check_writable(formats, ["float32"])
    _check_fitted(model)
    with new_version(directory, card) as (version, new):
        if SAVED_MODEL in formats:
            export_anomaly(model, new, max_pixels=max_pixels)
        new.mkdir(exist_ok=True)
        for row in [row for row in FORMATS.values() if row.name in formats]:
            has = [x for x in precisions if x in PRECISIONS[row.ending]]
            for precision in has or ["float32"]:
                stem = "model" if precision == "float32" else f"model_{precision}"
                photos = calibration if precision == "int8" else None
                export_anomaly(
                    model, new / f"{stem}{row.ending}", precision=precision, calibration=photos
                )
        model.save(new / "model.keras")
    return version


def export_anomaly_serving(
    model, directory, *, name, max_pixels=CLASSIFIED_PIXELS, max_batch_size=None
):
    """Write a fitted model as the next version in a directory for TensorFlow Serving.

    Args:
        model, max_pixels: as for `export_anomaly`.
        directory, name, max_batch_size: as for `keras_wrn.export_serving`, whose layout, result and
            errors these are too. `keras_wrn.ServingClient.inspect` asks such a server.

    Example:

    ```python
    network = keras_wrn.WideResNet(16, 2)
    network.preprocessing = keras_wrn.Preprocessing(32, mean=(0.5,) * 3, std=(0.25,) * 3)
    good = np.random.default_rng(0).integers(0, 256, (4, 60, 80, 3), "uint8")
    model = keras_wrn.anomaly.PaDiM(network, image_size=32).fit(good)
    keras_wrn.anomaly.export_anomaly_serving(model, "serving", name="inspector")
    ```
    """
    require_tensorflow()
    _check_fitted(model)
    size = model.preprocessing.size

    def write(new):
        export_anomaly(model, new, max_pixels=max_pixels)

    macs = count_macs(model.trunk) + model.distance_macs
    return serve_version(directory, name, write, (size, size, 3), macs, INSPECT, max_batch_size)


def _check_fitted(model):
    if not isinstance(model, AnomalyModel) or not model.is_fitted:
        name = getattr(model, "name", model)
        raise ValueError(f"Expected a fitted PatchCore or PaDiM. Received: {name!r:.200}")


def _served(model, trunk, copy=False):
    """A model with the same memory on another trunk; the model itself if the trunk is its own."""
    if trunk is model.trunk and not copy:
        return model
    trunk.preprocessing = model.preprocessing
    twin = type(model)(**{**model.get_config(), "model_or_name": trunk})
    twin.build_from_config(model.get_build_config())
    for name in model.LEARNED:
        getattr(twin, name).assign(getattr(model, name).value)
    return twin


def _metadata(model, precision):
    """What a reader of the artifact needs to know, as JSON."""
    return json.dumps(
        {
            "name": model.name,
            "precision": precision,
            "image": "0..255, the whole photo squeezed into a square; preprocessing inside",
            "outputs": ["score", "map", "is_anomaly"],
            "preprocessing": model.preprocessing.get_config(),
            TASK: {"method": type(model).__name__, "threshold": model.threshold},
        },
        indent=1,
    )


def _pixels(tf, model, dtype="float32"):
    size = model.preprocessing.size
    return tf.TensorSpec((None, size, size, 3), dtype, name="image")


def _plain_writer(model):
    """A function that writes a SavedModel with only `serving_default`, for the converters."""
    import tensorflow as tf

    def write(directory):
        function = tf.function(model.call, input_signature=[_pixels(tf, model)])
        save_signatures(model, {SIGNATURE: function}, directory)

    return write


def _openvino(model, pixels):
    found = read_written(_plain_writer(model))
    if pixels is None:
        return found
    return quantized(found, pixels, _beyond_trunk(found).__contains__)


def _beyond_trunk(found):
    """The names of the operations that no convolution of the trunk needs, but these themselves.

    The blur of the map is made of convolutions too, of one channel.
    """
    ordered = found.get_ordered_ops()
    convolutions = [
        op for op in ordered
        if op.get_type_name() == "Convolution" and op.input(0).get_partial_shape()[1] != 1
    ]  # fmt: skip
    needed: set = set()
    waiting = list(convolutions)
    while waiting:
        name = (op := waiting.pop()).get_friendly_name()
        if name not in needed:
            needed.add(name)
            waiting += [value.get_source_output().get_node() for value in op.inputs()]
    return {op.get_friendly_name() for op in ordered} - needed


def _write_onnx(model, new, metadata):
    import onnx
    import tensorflow as tf

    learned = {name: getattr(model, name) for name in model.LEARNED}

    # What was learned goes past the converter, as inputs: it would copy a large bank until 20 GB
    # are full.
    @tf.function(input_signature=[
        _pixels(tf, model),
        *(tf.TensorSpec(x.shape, x.dtype, name=name) for name, x in learned.items()),
    ])  # fmt: skip
    def function(image, *values):
        with keras.StatelessScope(list(zip(learned.values(), values, strict=True))):
            return model.call(image)

    file = converted(function)
    kept = [value for value in file.graph.input if value.name not in learned]
    del file.graph.input[:]
    file.graph.input.extend(kept)
    used = {name for node in file.graph.node for name in node.input}
    for name, variable in learned.items():
        if name not in used:  # such as the neighbours, where they weigh nothing
            continue
        array = ops.convert_to_numpy(variable.value)
        file.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    onnx.helper.set_model_props(file, {"keras_wrn": metadata})
    onnx.save(file, new)


def _write_saved_model(model, new, max_pixels):
    import tensorflow as tf

    size, interpolation = model.preprocessing.size, model.preprocessing.interpolation
    shape = None, size, size, 3

    @tf.function(input_signature=[_pixels(tf, model)])
    def serve(image):
        return for_any_batch(model.call, image, shape)

    @tf.function(input_signature=[_pixels(tf, model, "uint8")])
    def serve_uint8(image):
        return serve(tf.cast(image, tf.float32))

    def squeezed(image):
        for _ in range(2):  # as Pillow does it, the width first
            image = resize_rows(tf.transpose(image, (1, 0, 2)), size, 0, size, interpolation)
        return tf.cast(image, tf.float32)

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="image_bytes")])
    def inspect(image_bytes):
        pixels, valid, _ = decode_with(image_bytes, squeezed, shape[1:], max_pixels)
        found = serve(pixels)
        return {
            "score": tf.where(valid, found["score"], 0.0),
            "map": tf.where(valid[:, tf.newaxis, tf.newaxis], found["map"], 0.0),
            "is_anomaly": found["is_anomaly"] & valid,
            "valid": valid,
        }

    signatures = {SIGNATURE: serve, "serve_uint8": serve_uint8, INSPECT: inspect}
    save_signatures(model, signatures, new)


def _verify(run, model, precision, photos=None):
    """Compare an artifact with the model: on noise and on a smooth image, or on photos.

    Raises:
        ExportError: they differ.
    """
    pixels = _examples(model.preprocessing.size) if photos is None else photos[:VERIFIED]
    with full_float32():
        expected = {name: ops.convert_to_numpy(x) for name, x in model.call(pixels).items()}
    found = run(pixels)
    limit = max(LIMITS.get(precision, 0.0), tolerance_of(model.trunk))
    expected["is_anomaly"] = found["score"] > np.float32(model.threshold)
    if not np.array_equal(found["is_anomaly"], expected["is_anomaly"]):
        raise ExportError(
            f"The artifact's is_anomaly should be {expected['is_anomaly']} with scores "
            f"{found['score']} and the threshold {model.threshold}, and is {found['is_anomaly']}. "
            "Nothing was written."
        )
    for name in ("score", "map"):
        value, wanted = np.asarray(found[name], "float32"), expected[name]
        if value.shape != wanted.shape:
            difference = np.inf
        elif photos is None:
            difference = np.abs(value - wanted).max() / max(np.abs(wanted).max(), 1e-9)
        else:
            # Photos that it was learned from are hardly odd: the threshold is the measure.
            size = max(np.sqrt(np.mean(wanted**2)), abs(model.threshold))
            difference = np.sqrt(np.mean((value - wanted) ** 2)) / size
        if not difference <= limit:
            raise ExportError(
                f"The artifact does not compute what the model does: its {name} should differ by "
                f"{limit:.3g} of its size at most, and differs by {difference:.3g}. Nothing was "
                "written."
            )


def _examples(size):
    """An image of noise and a smooth one, float32 (2, size, size, 3)."""
    ramp = np.linspace(0, 255, size)
    smooth = np.stack([*np.meshgrid(ramp, ramp), np.full((size, size), 128.0)], axis=-1)
    noise = np.random.default_rng(0).integers(0, 256, smooth.shape)
    return np.stack([noise, smooth]).astype("float32")
