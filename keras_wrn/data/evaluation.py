"""Labelled images in equal batches for evaluation: none dropped, whatever their number."""

import math

import keras
import numpy as np

from keras_wrn.data.photos import Photos


def eval_arrays(images, labels, classes, *, batch_size, replicas=1):
    """Split images into equal batches without dropping any, whatever their number.

    Every batch has the same size, a multiple of `replicas`. Black images of weight 0 fill the rest.
    A real image's weight is (images with padding) / (images), so that Keras' loss, a mean over the
    batch's rows, averages to the exact mean over the images.

    Args:
        images: (n, height, width, channels), or `Photos`.
        labels: int (n,).
        classes: int.
        batch_size: int, the most images in a batch before it is rounded up to a multiple of
            `replicas`.
        replicas: int.

    Returns:
        images (batches, size, height, width, channels), or the numbers of the `Photos` as
        `take_numbered` takes them (batches, size); one-hot labels (batches, size, classes); weights
        float32 (batches, size).

    Raises:
        ValueError: images and labels do not match, or a label is not a class.

    Example:

    ```python
    images, labels = keras_wrn.data.load_arrays("digits", "test")   # 360
    x, y, weights = keras_wrn.data.eval_arrays(images, labels, 10, batch_size=128, replicas=2)
    weights.shape, (weights > 0).sum()   # (3, 120), 360
    ```
    """
    check_images(images, labels)
    check_labels(labels, classes)
    if not (batch_size >= 1 and replicas >= 1):
        raise ValueError(
            "`batch_size` and `replicas` should be 1 or more. "
            f"Received: batch_size={batch_size!r}, replicas={replicas!r}"
        )
    count = len(images)
    batches = math.ceil(count / batch_size)
    size = math.ceil(count / batches / replicas) * replicas
    missing = batches * size - count
    weights = np.full(count, batches * size / count, "float32")
    if isinstance(images, Photos):
        images = np.arange(1, count + 1)  # 0 for the images that fill a batch
    parts = [images, one_hot(labels, classes), weights]
    if missing:
        parts = [np.pad(p, [(0, missing)] + [(0, 0)] * (p.ndim - 1)) for p in parts]
    return tuple(p.reshape(batches, size, *p.shape[1:]) for p in parts)


def take_numbered(photos, numbers):
    """Some `Photos` by their numbers, from 1 on, as an array; 0 stands for a black image."""
    images = np.zeros((len(numbers), *photos.shape[1:]), "uint8")
    real = numbers > 0
    images[real] = photos[numbers[real] - 1]
    return images


def eval_dataset(images, labels, classes, *, batch_size, preprocessing, replicas=1, rows=None):
    """A `tf.data.Dataset` of (images, one-hot labels, weights) in order; see `eval_arrays`.

    `rows` is a function from a batch's size to the slice of it that this process evaluates. The
    other `Photos` are black; a strategy drops them.

    Example:

    ```python
    images, labels = keras_wrn.data.load_arrays("digits", "test")
    preprocessing = keras_wrn.Preprocessing(32)
    dataset = keras_wrn.data.eval_dataset(
        images, labels, 10, batch_size=128, preprocessing=preprocessing
    )
    ```
    """
    check_backend("eval_dataset", "EvalBatches")
    import tensorflow as tf

    check_channels(images, preprocessing)

    parts = eval_arrays(images, labels, classes, batch_size=batch_size, replicas=replicas)
    if rows is not None and isinstance(images, Photos):
        own = np.zeros(parts[0].shape[1], bool)
        own[rows(len(own))] = True
        parts = (parts[0] * own, *parts[1:])
    dataset = tf.data.Dataset.from_tensor_slices(parts)
    if isinstance(images, Photos):

        @tf.autograph.experimental.do_not_convert
        def pixels(numbers, *rest):
            batch = tf.numpy_function(lambda n: take_numbered(images, n), [numbers], "uint8")
            batch.set_shape((*numbers.shape, *images.shape[1:]))
            return batch, *rest

        dataset = dataset.map(pixels)  # it has threads of its own
    dataset = dataset.map(lambda x, y, w: (preprocessing.normalize(x), y, w))
    return unsharded(tf, dataset).prefetch(2)


class EvalBatches(keras.utils.PyDataset):
    """The batches of `eval_dataset` as NumPy arrays, for the JAX and torch backends.

    `rows` is a function from a batch's size to the slice of it that this process evaluates.
    """

    def __init__(
        self, images, labels, classes, *, batch_size, preprocessing, replicas=1, rows=None
    ):
        super().__init__()
        check_channels(images, preprocessing)
        self.parts = eval_arrays(images, labels, classes, batch_size=batch_size, replicas=replicas)
        self.rows = slice(None) if rows is None else rows(self.parts[0].shape[1])
        self.preprocessing = preprocessing
        self.photos = images if isinstance(images, Photos) else None

    def __len__(self):
        return len(self.parts[0])

    def __getitem__(self, index):
        x, y, weights = (part[index, self.rows] for part in self.parts)
        if self.photos is not None:
            x = take_numbered(self.photos, x)
        return self.preprocessing.normalize(x), y, weights


def check_backend(name, instead):
    """Raise a ValueError unless Keras runs on TensorFlow, which layers in `tf.data` need."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"`{name}` needs the TensorFlow backend; use `{instead}`, which makes the same batches "
            f"from arrays. Received: the backend {keras.backend.backend()!r}"
        )


def check_images(images, labels):
    """Raise a ValueError unless there are images (n, height, width, channels) with a label each."""
    if np.ndim(images) != 4 or not len(images) or len(images) != len(labels):
        raise ValueError(
            "Expected images (n, height, width, channels), at least one, and as many labels. "
            f"Received: images of shape {np.shape(images)}, labels of shape {np.shape(labels)}"
        )


def check_channels(images, preprocessing):
    """Raise a ValueError unless the images have the channels that the preprocessing is for."""
    channels = np.shape(images)[-1]
    if preprocessing.zca is None and channels != preprocessing.channels:
        raise ValueError(
            f"Expected images of {preprocessing.channels} channels, for which the preprocessing "
            f"has mean and std. Received: images of shape {np.shape(images)}"
        )


def check_labels(labels, classes):
    """Raise a ValueError unless the labels are integers (n,) below the number of classes."""
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "ui":
        raise ValueError(
            "Expected integer labels of shape (n,), one an image. "
            f"Received: {labels.dtype} of shape {labels.shape}"
        )
    low, high = int(np.min(labels)), int(np.max(labels))
    if low < 0 or high >= classes:
        advice = f" Give the model `classes={high + 1}`." if low >= 0 else ""
        raise ValueError(
            f"The field 'label' should be in 0..{classes - 1}, one of the model's {classes} "
            f"classes. Received: labels {low} to {high}.{advice}"
        )


def one_hot(labels, classes):
    """float32 (n, classes), a NumPy array."""
    return np.eye(classes, dtype="float32")[labels]


def unsharded(tf, dataset):
    """Keep a strategy from sharding a dataset by files."""
    # A strategy splits each batch over its replicas; there are no files to shard.
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options)
