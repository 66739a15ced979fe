"""A finished detector as a SavedModel, an ONNX file or a LiteRT file."""

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
from keras import ops

from keras_wrn.classifier import resolve_preprocessing
from keras_wrn.data.preprocess import MAX_PIXELS, Preprocessing
from keras_wrn.detection.answers import Selection, select
from keras_wrn.detection.boxes import decode, with_sizes
from keras_wrn.detection.exported import RAW, TASK, open_exported
from keras_wrn.detection.geometry import fit, fitted_size
from keras_wrn.errors import ExportError
from keras_wrn.export.bundle import SAVED_MODEL, new_version
from keras_wrn.export.decode import CLASSIFIED_PIXELS, check_size, decode_with
from keras_wrn.export.fold import fold_batch_norm
from keras_wrn.export.head import (
    LABELS_FILE,
    SIGNATURE,
    in_float32,
    labels_text,
    require_extra,
    require_tensorflow,
    save_signatures,
)
from keras_wrn.export.litert import add_metadata, convert_saved_model
from keras_wrn.export.onnx import converted, open_onnx
from keras_wrn.export.saved_model import EXTRAS, check_max_pixels, for_any_batch, is_saved_model
from keras_wrn.export.serving import serve_version
from keras_wrn.export.verification import check_difference, full_float32, tolerance_of
from keras_wrn.files import written_aside
from keras_wrn.models.complexity import count_macs
from keras_wrn.models.retinanet import anchors_of

DETECT = "detect"
AT_A_LIMIT = 2  # boxes
OTHERS = ".xml", ".keras", ".h5", ".pt", ".pb", ".json"  # endings of no directory
FILES = {"litert": ".tflite", "onnx": ".onnx"}  # the endings of the files by format


def export_detector(
    model, path, *, preprocessing=None, selection=None, max_pixels=CLASSIFIED_PIXELS,
    overwrite=False,
):  # fmt: skip
    """Write a detector as a SavedModel, or by the ending of the path as an ONNX or LiteRT file.

    | path      | takes                         | returns                                        |
    |-----------|-------------------------------|------------------------------------------------|
    | directory | `serving_default`: pixels     | boxes, after non-maximum suppression           |
    |           | `detect`: encoded images      | the same, in pixels of each image, and `valid` |
    |           | `raw`: pixels                 | `box` and `classification` of each anchor      |
    | `.onnx`   | pixels                        | boxes, and `box` and `classification`          |
    | `.tflite` | pixels                        | `box` and `classification` of each anchor      |

    Pixels are `image`, float32 (batch, size, size, 3) of 0..255: a photo fitted into the upper left
    of a black square. Encoded images are `image_bytes`, str (batch,), of any size, in the formats
    of `keras_wrn.export.export_saved_model`'s `classify`, with the same limits.

    Boxes are `boxes`, float32 (batch, most, 4), x, y, width, height in pixels, x and y those of the
    upper left; `scores`, float32 (batch, most), best first; `labels`, int32 (batch, most);
    `classes`, str (batch, most), the names of the classes (not in an ONNX file); and `count`, int32
    (batch,), how many of them there are. What is left is filled with 0, 0, -1 and "". In `detect`,
    an image that cannot be decoded has a `valid` of False and a count of 0, and the others get
    their answers.

    Boxes are cut off at the photo, in `serving_default` at the square, before they are compared.
    LiteRT has no such non-maximum suppression: `keras_wrn.detection.select` turns the answers of a
    `.tflite` file into boxes, with NumPy alone. Weights are float32 in all of them.

    The artifact is written under a temporary name, loaded back, compared with the model, and only
    then renamed to `path`. It holds the preprocessing, the class names, the anchors' size and the
    selection: `keras_wrn.detection.detect` takes it too.

    Args:
        model: a detector as `keras_wrn.detection.retinanet` builds it.
        path: a directory, or a file that ends in .onnx (this needs the extra `onnx`) or .tflite.
        preprocessing: `keras_wrn.Preprocessing`, None for the model's own.
        selection: `Selection`, which boxes are answers; None for the usual ones.
        max_pixels: int, the most pixels of an image that `detect` decodes.
        overwrite: bool, whether an artifact at `path` may be replaced.

    Raises:
        ValueError: the model is no detector, or has no preprocessing.
        FileExistsError: `path` exists, and `overwrite` is False or it is something else.
        ExportError: Keras is not on TensorFlow, the extra is not installed, or the artifact does
            not compute what the model does.

    Source: https://www.tensorflow.org/api_docs/python/tf/image/combined_non_max_suppression.

    Example:

    ```python
    model = keras_wrn.create_model("retinanet_wide_resnet18_1", input_shape=(128, 128, 3))
    model.preprocessing = keras_wrn.Preprocessing(128)
    keras_wrn.detection.export_detector(model, "detector")
    ```
    """
    require_tensorflow()
    parts = _Parts.of(model, preprocessing, selection)
    kinds = {".onnx": (_write_onnx, Path.is_file, "a file"),
             ".tflite": (_write_litert, Path.is_file, "a file")}  # fmt: skip
    if Path(path).suffix == ".onnx":
        require_extra("onnx")
    if Path(path).suffix in OTHERS:
        raise ValueError(
            "`path` should be a directory, or end in .onnx or .tflite: a detector has no other "
            f"format. Received: {path}"
        )
    write, is_ours, kind = kinds.get(
        Path(path).suffix, (_write_saved_model, is_saved_model, "a SavedModel")
    )
    check_max_pixels(max_pixels, parts.preprocessing)
    with written_aside(path, overwrite=overwrite, is_ours=is_ours, kind=kind) as new:
        write(parts, new, max_pixels)
        with full_float32():
            parts.verify(new)


def export_detector_version(
    model, directory, formats=(SAVED_MODEL, "litert"), *, preprocessing=None, selection=None,
    max_pixels=CLASSIFIED_PIXELS, card=None,
):  # fmt: skip
    """Write a detector's artifacts into `directory`/N, where N is the next free integer.

    Args:
        model, preprocessing, selection, max_pixels: as for `export_detector`.
        directory: path of the directory of versions, made when needed.
        formats: some of "saved_model" (the version directory itself), "litert" (model.tflite) and
            "onnx" (model.onnx). The Keras file, model.keras, is always written.
        card: str, the contents of the version's README.md, or None.

    Returns:
        The path of the version.

    Raises:
        ValueError: an unknown format, or none; a directory that is a SavedModel; no detector.
        ExportError: an extra is missing, or an artifact does not compute what the model does.
    """
    if not formats or set(formats) - {SAVED_MODEL, *FILES}:
        raise ValueError(
            f"`formats` of a detector should be some of {(SAVED_MODEL, *FILES)}. Received: "
            f"{tuple(formats)}"
        )
    settings = {"preprocessing": preprocessing, "selection": selection, "max_pixels": max_pixels}
    with new_version(directory, card) as (version, new):
        if SAVED_MODEL in formats:
            export_detector(model, new, **settings)
        new.mkdir(exist_ok=True)
        for name in [x for x in FILES if x in formats]:
            export_detector(model, new / f"model{FILES[name]}", **settings)
        model.save(new / "model.keras")
    return version


def export_detector_serving(
    model, directory, *, name, preprocessing=None, selection=None, max_pixels=CLASSIFIED_PIXELS,
    max_batch_size=None,
):  # fmt: skip
    """Write a detector as the next version in a directory for TensorFlow Serving.

    Args:
        model, preprocessing, selection, max_pixels: as for `export_detector`.
        directory, name, max_batch_size: as for `keras_wrn.export_serving`, whose layout, result and
            errors these are too. `keras_wrn.ServingClient.detect` asks such a server.

    Example:

    ```python
    model = keras_wrn.create_model("retinanet_wide_resnet18_1", input_shape=(128, 128, 3))
    model.preprocessing = keras_wrn.Preprocessing(128)
    keras_wrn.detection.export_detector_serving(model, "serving", name="things")
    ```
    """
    require_tensorflow()
    parts = _Parts.of(model, preprocessing, selection)

    def write(new):
        export_detector(
            model, new, preprocessing=preprocessing, selection=selection, max_pixels=max_pixels
        )

    shape = parts.size, parts.size, 3
    return serve_version(
        directory, name, write, shape, count_macs(model), DETECT, max_batch_size
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Parts:
    """A detector, and what goes into its artifacts."""

    model: keras.Model
    preprocessing: Preprocessing
    selection: Selection
    anchors: np.ndarray
    anchor_size: float

    @classmethod
    def of(cls, model, preprocessing, selection):
        anchors = anchors_of(model)
        classes = model.output["classification"].shape[-1]
        preprocessing = resolve_preprocessing(model, preprocessing, classes=classes)
        return cls(
            model, preprocessing, selection or Selection(), anchors.boxes, float(anchors.base)
        )

    @property
    def names(self):
        classes = self.model.output["classification"].shape[-1]
        return self.preprocessing.class_names or tuple(map(str, range(classes)))

    @property
    def size(self):
        return self.preprocessing.size

    def metadata(self):
        """What a reader of the artifact needs to know, as JSON."""
        return json.dumps(
            {
                "name": self.model.name,
                "task": "detection",
                "image": "0..255, fitted into the upper left of a black square; preprocessing "
                "inside",
                "class_names": self.preprocessing.class_names,
                "preprocessing": self.preprocessing.get_config(),
                TASK: {
                    "anchor_size": self.anchor_size, **dataclasses.asdict(self.selection)
                },
            },
            indent=1,
        )  # fmt: skip

    def raw(self, model):
        """The function from pixels to the answers for each anchor."""

        def raw(image):
            found = model(self.preprocessing.normalize(image), training=False)
            return {name: ops.cast(value, "float32") for name, value in found.items()}

        return raw

    def verify(self, path):
        """Compare an artifact with the model, on random pixels.

        Raises:
            ExportError: they differ.
        """
        size = self.size
        pixels = np.random.default_rng(0).integers(0, 256, (2, size, size, 3)).astype("float32")
        expected = {
            name: ops.convert_to_numpy(value)
            for name, value in self.raw(in_float32(self.model))(pixels).items()
        }
        found = open_exported(path).raw(pixels)
        for name, values in expected.items():
            limit = tolerance_of(self.model) * max(1.0, float(np.abs(values).max()))
            check_difference(found[name], values, limit, name, "The artifact")
        if (run := _suppressing(path)) is not None:
            self._verify_boxes(run(pixels), found)

    def _verify_boxes(self, found, raw):
        """Compare boxes after non-maximum suppression with those of `select`."""
        for i, count in enumerate(found["count"]):
            answers = raw["box"][i], raw["classification"][i]
            within = self.size, self.size
            wanted = select(self.anchors, *answers, self.selection, within=within)
            # A box that is exactly at a limit may be kept by one and not by the other.
            same = np.array_equal(found["labels"][i][:count], wanted["labels"])
            close = same and np.allclose(found["boxes"][i][:count], wanted["boxes"], atol=0.05)
            if not close and abs(int(count) - len(wanted["labels"])) > AT_A_LIMIT:
                raise ExportError(
                    f"The artifact should find {len(wanted['labels'])} boxes in an image of noise, "
                    f"and finds {count}. Nothing was written."
                )


def _suppressing(path):
    """A function from pixels to an artifact's boxes after non-maximum suppression, or None."""
    if Path(path).suffix == ".tflite":
        return None
    if Path(path).suffix == ".onnx":
        return open_onnx(path)[0]
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))

    def run(pixels, _=loaded):
        answers = loaded.signatures[SIGNATURE](image=tf.constant(pixels, tf.float32))
        return {name: value.numpy() for name, value in answers.items()}

    return run


def _answers(tf, parts, raw, within=None):
    """The boxes of a batch, from the answers for each anchor.

    `within` is the height and width of each photo in its square, float32 (batch, 2); None for the
    whole square.
    """
    selection = parts.selection
    boxes, scores = decode(parts.anchors, raw["box"], xp=ops), tf.sigmoid(raw["classification"])
    within = tf.fill((tf.shape(boxes)[0], 2), float(parts.size)) if within is None else within
    boxes = tf.clip_by_value(boxes, 0.0, tf.tile(within[:, ::-1], [1, 2])[:, tf.newaxis])
    some = tf.reduce_all(boxes[..., 2:] > boxes[..., :2], axis=-1, keepdims=True)
    scores = tf.where(some, scores, 0.0)
    flat = tf.reshape(scores, (-1, scores.shape[1] * scores.shape[2]))
    best = tf.math.top_k(flat, min(selection.candidates, flat.shape[1])).values
    scores = tf.where(scores >= best[:, -1:, tf.newaxis], scores, 0.0)
    found, scores, labels, count = tf.image.combined_non_max_suppression(
        boxes[:, :, tf.newaxis], scores, selection.most, selection.most, selection.overlap,
        selection.threshold, clip_boxes=False,
    )  # fmt: skip
    real = tf.range(selection.most) < count[:, tf.newaxis]
    return {
        "boxes": with_sizes(found, ops),
        "scores": scores,
        "labels": tf.where(real, tf.cast(labels, tf.int32), -1),
        "count": count,
    }


def _write_saved_model(parts, new, max_pixels):
    import tensorflow as tf

    size = parts.size
    served = fold_batch_norm(parts.model)
    raw = parts.raw(served)
    shape = (None, size, size, 3)
    names = tf.constant([*parts.names, ""])

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, name="image")])
    def serve_raw(image):
        return for_any_batch(raw, image, shape)

    def with_names(found):
        return {**found, "classes": tf.gather(names, found["labels"] % len(names))}

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, name="image")])
    def serve(image):
        return with_names(_answers(tf, parts, serve_raw(image)))

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="image_bytes")])
    def detect(image_bytes):
        def prepare(image):
            height, width = tf.unstack(tf.shape(image)[:2])
            height, width = fitted_size(height, width, size, tf.experimental.numpy)
            with tf.control_dependencies([check_size(height, width, MAX_PIXELS)]):
                return fit(tf.identity(image), size)

        pixels, valid, sides = decode_with(image_bytes, prepare, shape[1:], max_pixels)
        sides = tf.maximum(sides, 1.0)
        new = fitted_size(sides[:, 0], sides[:, 1], size, tf.experimental.numpy)
        new = tf.cast(tf.stack(new, axis=-1), tf.float32)
        # Of an image that is not valid nothing is within.
        within = tf.where(valid[:, tf.newaxis], new, 0.0)
        found = with_names(_answers(tf, parts, serve_raw(pixels), within))
        scale = tf.tile((sides / tf.maximum(new, 1.0))[:, ::-1], [1, 2])[:, tf.newaxis]
        return {**found, "boxes": found["boxes"] * scale, "valid": valid}

    signatures = {SIGNATURE: serve, RAW: serve_raw, DETECT: detect}
    save_signatures(served, signatures, new)
    parts.preprocessing.save(new / EXTRAS)
    (new / EXTRAS / f"{TASK}.json").write_text(parts.metadata() + "\n")
    if parts.preprocessing.class_names:
        (new / EXTRAS / LABELS_FILE).write_text(labels_text(parts.preprocessing))


def _write_onnx(parts, new, max_pixels):
    import onnx
    import tensorflow as tf

    raw = parts.raw(in_float32(parts.model))

    @tf.function(input_signature=[_pixels(tf, parts)])
    def function(image):
        answers = raw(image)
        return {**_answers(tf, parts, answers), **answers}

    graph = converted(function)
    onnx.helper.set_model_props(graph, {"keras_wrn": parts.metadata()})
    onnx.save(graph, new)


def _write_litert(parts, new, max_pixels):
    import tensorflow as tf

    model = in_float32(parts.model)

    def write(directory):
        function = tf.function(parts.raw(model), input_signature=[_pixels(tf, parts)])
        save_signatures(model, {SIGNATURE: function}, directory)

    new.write_bytes(convert_saved_model(write))
    add_metadata(new, parts.metadata(), parts.preprocessing)


def _pixels(tf, parts):
    return tf.TensorSpec((None, parts.size, parts.size, 3), tf.float32, name="image")
