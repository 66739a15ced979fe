"""A finished model as a TensorFlow SavedModel, ready for TF Serving."""

import numpy as np

from keras_wrn.checks import check_count, is_int
from keras_wrn.classifier import input_shape
from keras_wrn.data.preprocess import MAX_PIXELS
from keras_wrn.errors import ExportError
from keras_wrn.export.decode import CLASSIFIED_PIXELS, decode_images
from keras_wrn.export.fold import fold_batch_norm as fold
from keras_wrn.export.head import (
    LABELS_FILE,
    classifier_outputs,
    exportable,
    labels_text,
    save_signatures,
)
from keras_wrn.export.verification import Verification, full_float32
from keras_wrn.files import written_aside

EXTRAS = "assets.extra"
CONTENTS = {"assets", EXTRAS, "fingerprint.pb", "saved_model.pb", "variables"}


def export_saved_model(
    model, path, *, preprocessing=None, class_names=None, top_k=5, fold_batch_norm=True,
    max_pixels=CLASSIFIED_PIXELS, overwrite=False,
):  # fmt: skip
    """Write a model as a TensorFlow SavedModel that takes pixels.

    It has three signatures. `serving_default` takes `image`, float32 (batch, height, width,
    channels) of 0..255; `serve_uint8` takes `image` as uint8. Both return `probabilities` and
    `logits`, float32 (batch, classes), whatever the model's precision.

    `classify` takes `image_bytes`, str (batch,), encoded images of any size in the formats of
    `decode_images`; EXIF orientation is not applied, as in `inference_model`. It returns, best
    first, `classes`, str (batch, k), the class names, or the class numbers if there are no names;
    `scores`, float32 (batch, k); `indices`, int32 (batch, k); and `valid`, bool (batch,). An image
    that cannot be decoded as Pillow decodes it gets "", 0, -1 and False; the others get their
    answers. A model with neither 1 nor 3 channels has no `classify`.

    An empty batch gets empty outputs. The directory `assets.extra` inside holds
    preprocessing.json and, if the classes have names, labels.txt with one class per line.

    The SavedModel is written under a temporary name, loaded back, compared with the model on
    random images, and only then renamed to `path`.

    Args:
        model: a functional `keras.Model` that ends in a `Dense` layer with softmax or no
            activation, such as `keras_wrn.WideResNet(16, 2)`.
        path: the directory to write.
        preprocessing: `keras_wrn.Preprocessing`, None for the model's own.
        class_names: list of str in the order of the outputs, None for those of `preprocessing`.
        top_k: int, how many classes `classify` lists, at most all.
        fold_batch_norm: bool, whether batch norms move into the convolutions before them; see
            `fold_batch_norm`.
        max_pixels: int, the most pixels of an image that `classify` decodes, at most 8192 x 8192;
            a batch may have sixteen times as many. Sixteen of the default, 4096 x 4096, take less
            than 1 GB of memory.
        overwrite: bool, whether a SavedModel at `path`, with nothing else in it, may be replaced.

    Raises:
        ValueError: the model is not a classifier, has no preprocessing, or has another number of
            classes.
        FileExistsError: `path` exists, and `overwrite` is False or it is not a SavedModel.
        ExportError: Keras is not on TensorFlow, or the SavedModel does not compute what the model
            does.

    Source: https://www.tensorflow.org/guide/saved_model.

    Example:

    ```python
    import tensorflow as tf

    model = keras_wrn.WideResNet(16, 2)
    model.preprocessing = keras_wrn.Preprocessing(size=32, mean=(0.5,) * 3, std=(0.25,) * 3)
    keras_wrn.export.export_saved_model(model, "wrn_16_2")
    serve = tf.saved_model.load("wrn_16_2").signatures["serve_uint8"]
    serve(image=np.zeros((1, 32, 32, 3), "uint8"))["probabilities"]   # (1, 10)
    ```
    """
    preprocessing = exportable(model, preprocessing, class_names)
    top_k = check_count("top_k", top_k)
    check_max_pixels(max_pixels, preprocessing)
    with written_aside(
        path, overwrite=overwrite, is_ours=is_saved_model, kind="a SavedModel"
    ) as new:
        served = fold(model) if fold_batch_norm else model
        write_saved_model(served, preprocessing, new, top_k, max_pixels)
        preprocessing.save(new / EXTRAS)
        if preprocessing.class_names:
            (new / EXTRAS / LABELS_FILE).write_text(labels_text(preprocessing))
        with full_float32():
            _verify(new, model, preprocessing)


def check_max_pixels(max_pixels, preprocessing):
    """Raise a ValueError unless images of the network's size fit into `max_pixels`."""
    least = preprocessing.short_side**2
    if not is_int(max_pixels) or not least <= max_pixels <= MAX_PIXELS:
        raise ValueError(
            f"`max_pixels` should be an integer of {least:,}, an image of the network's size, to "
            f"{MAX_PIXELS:,}. Received: max_pixels={max_pixels!r}"
        )


def write_saved_model(model, preprocessing, directory, top_k, max_pixels):
    """Write the SavedModel itself, without a check."""
    import tensorflow as tf

    shape = (None, *input_shape(model, preprocessing))
    pixels = tf.TensorSpec(shape, tf.float32, name="image")
    outputs = classifier_outputs(model, preprocessing)

    # Traced once for both signatures: with ZCA it holds a large constant.
    @tf.function(input_signature=[pixels])
    def serve(image):
        return for_any_batch(outputs, image, shape)

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.uint8, name="image")])
    def serve_uint8(image):
        return serve(tf.cast(image, tf.float32))

    names = preprocessing.class_names or tuple(map(str, range(model.output_shape[-1])))

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="image_bytes")])
    def classify(image_bytes):
        pixels, valid = decode_images(image_bytes, preprocessing, max_pixels)
        probabilities = serve(pixels)["probabilities"]
        scores, indices = tf.math.top_k(probabilities, min(top_k, len(names)))
        classes = tf.gather(tf.constant(names), indices)
        row = valid[:, tf.newaxis]
        return {
            "classes": tf.where(row, classes, ""),
            "scores": tf.where(row, scores, 0.0),
            "indices": tf.where(row, indices, -1),
            "valid": valid,
        }

    signatures = {"serving_default": serve, "serve_uint8": serve_uint8}
    if preprocessing.channels in (1, 3):
        signatures["classify"] = classify
    save_signatures(model, signatures, directory)


def for_any_batch(outputs, image, shape):
    """What a function returns for a batch of images of a shape, (None, ...), which may be empty."""
    import tensorflow as tf

    # A session, which servers use, would accept a tensor of any other shape.
    image = tf.ensure_shape(image, shape)
    # oneDNN's convolution fails on an empty batch: it gets one black image, cut off later.
    count = tf.shape(image)[0]
    missing = tf.cast(count < 1, tf.int32)
    image = tf.pad(image, [[0, missing], [0, 0], [0, 0], [0, 0]])
    return {name: output[:count] for name, output in outputs(image).items()}


def _verify(directory, model, preprocessing):
    import tensorflow as tf

    signatures = tf.saved_model.load(str(directory)).signatures
    verification = Verification(model, preprocessing)
    images = verification.images
    for name, batch in (("serving_default", images.astype("float32")), ("serve_uint8", images)):
        verification.check(signatures[name](image=batch), f"The SavedModel's {name}")
    if "classify" in signatures:
        _verify_classify(signatures, preprocessing, verification.tolerance)


def _verify_classify(signatures, preprocessing, tolerance):
    """Compare the answers for encoded images, one of them invalid, with those for their pixels."""
    import tensorflow as tf

    # A size that needs no resize, so that the pixels are the same to the last bit.
    side = preprocessing.short_side
    shape = 2, side, side, preprocessing.channels
    images = np.random.default_rng(1).integers(0, 256, shape, dtype="uint8")
    encoded = [tf.io.encode_png(image).numpy() for image in images]
    image_bytes = tf.constant([encoded[0], b"no image", encoded[1]])
    found = signatures["classify"](image_bytes=image_bytes)
    found = {name: value.numpy() for name, value in found.items()}
    edge = round((side - preprocessing.size) / 2)
    kept = slice(edge, edge + preprocessing.size)
    served = signatures["serve_uint8"](image=images[:, kept, kept])
    probabilities = served["probabilities"].numpy()
    scores, indices = (found[name][[0, 2]] for name in ("scores", "indices"))
    best = np.sort(probabilities, axis=-1)[:, ::-1][:, : scores.shape[1]]
    right = (
        found["valid"].tolist() == [True, False, True]
        and np.abs(scores - best).max() <= tolerance
        and np.abs(scores - np.take_along_axis(probabilities, indices, -1)).max() <= tolerance
        and (found["indices"][1] == -1).all()
    )
    if not right:
        raise ExportError(
            "The SavedModel's classify does not answer as its serve_uint8 does. Nothing was "
            f"written. It answers {found}, and {probabilities} were expected."
        )


def is_saved_model(path):
    """Whether a path is a SavedModel of ours with nothing else in it."""
    # A version directory may hold the Keras file too: that is more than this function wrote.
    return path.is_dir() and {entry.name for entry in path.iterdir()} <= CONTENTS
