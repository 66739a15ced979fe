"""Requests that TensorFlow Serving sends a model before it reports the model as available."""

import io

import numpy as np

from keras_wrn.errors import ExportError
from keras_wrn.export.saved_model import EXTRAS

WARMUP = "tf_serving_warmup_requests"
ENCODED = "classify", "detect", "inspect"  # signatures that take encoded images


def write_warmup(version, name, shape, sizes):
    """Write one PredictionLog for each signature and batch size, and run each once.

    Args:
        version: path of the SavedModel.
        name: str, the model's name on the server.
        shape: (height, width, channels) of an image.
        sizes: list of int, the batch sizes.

    Raises:
        ExportError: the SavedModel does not answer one of them.
    """
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    signatures = tf.saved_model.load(str(version)).signatures
    path = version / EXTRAS / WARMUP
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
    """Name and value of a batch of grey images; pixels are one number, however large the batch."""
    import tensorflow as tf

    if signature in ENCODED:
        both = [encoded(shape, kind) for kind in ("JPEG", "PNG")]
        return "image_bytes", tf.make_tensor_proto((both * size)[:size])
    dtype = tf.uint8 if signature == "serve_uint8" else tf.float32
    return "image", tf.make_tensor_proto(128, dtype, (size, *shape))


def encoded(shape, kind):
    """A grey image of a shape (height, width, 1 or 3) as the bytes of a JPEG or PNG."""
    from PIL import Image

    data = io.BytesIO()
    pixels = np.full(shape, 128, "uint8")
    Image.fromarray(pixels if shape[2] == 3 else pixels[..., 0]).save(data, kind)
    return data.getvalue()


def replay(path, signatures, what="The SavedModel"):
    """Send the requests of a warm-up file to the signatures of a SavedModel.

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
