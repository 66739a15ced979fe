"""Warns when a network that expects normalised images gets ones that clearly are not."""

import sys
import warnings

import keras
import numpy as np

IMAGES = 32  # how many are checked of an array, or of each batch of a dataset
FAR = 10  # times the largest value that normalising a pixel gives


def watched(model, x):
    """Check what a model with preprocessing is given, and warn, once per model.

    Args:
        model: an `ImageModel`.
        x: what `fit`, `evaluate` or `predict` takes. Arrays, tensors, `keras.utils.PyDataset`s and
            `tf.data.Dataset`s are checked; the last batch by batch as they come, because reading
            one ahead would change what the next epochs read.

    Returns:
        What to give to Keras instead of x.
    """
    preprocessing = model.preprocessing
    if preprocessing is None or preprocessing.in_model or model.warned:
        return x
    limit = FAR * _largest(preprocessing)
    tf = sys.modules.get("tensorflow")
    if tf is not None and isinstance(x, tf.data.Dataset):
        return _watched_dataset(model, x, limit)
    images = x[0] if isinstance(x, keras.utils.PyDataset) and len(x) else x
    images = images[0] if isinstance(images, tuple | list) and images else images
    if isinstance(images, np.ndarray) or keras.ops.is_tensor(images):
        sample = keras.ops.convert_to_numpy(images[:IMAGES])
        if sample.dtype.kind in "ui":
            _warn(model, f"integers ({sample.dtype})")
        elif sample.dtype.kind == "f" and sample.size and np.abs(sample).max() > limit:
            _warn(model, f"values of up to {np.abs(sample).max():.3g}")
    return x


def _largest(preprocessing):
    """The largest absolute value that a pixel can have once normalised; infinity for ZCA."""
    if preprocessing.zca is not None:
        return np.inf
    ends = np.array([0, 255], "uint8").reshape(2, 1, 1, 1)
    ends = np.broadcast_to(ends, (2, 1, 1, preprocessing.channels))
    return np.abs(preprocessing.normalize(ends)).max()


def _watched_dataset(model, dataset, limit):
    import tensorflow as tf

    spec = dataset.element_spec
    several = isinstance(spec, tuple)
    spec = spec[0] if several and spec else spec
    if not isinstance(spec, tf.TensorSpec):
        return dataset
    if spec.dtype.is_integer:
        _warn(model, f"integers ({spec.dtype.name})")
    if not spec.dtype.is_floating or not np.isfinite(limit):
        return dataset

    def say(largest):
        _warn(model, f"values of up to {largest:.3g}")

    def look(*element):
        images = element[0]
        largest = tf.reduce_max(tf.abs(tf.cast(images[:IMAGES], "float32")))
        operation = tf.cond(
            largest > limit,
            lambda: tf.group(tf.numpy_function(say, [largest], [])),
            lambda: tf.no_op(),
        )
        with tf.control_dependencies([operation]):
            images = tf.identity(images)
        return (images, *element[1:]) if several else images

    return dataset.map(look)


def _warn(model, what):
    if model.warned:
        return
    model.warned = True
    warnings.warn(
        f"{model.name} expects normalised images and received {what}. Pass "
        "`model.preprocessing.normalize(pixels)`, or build it with `include_preprocessing=True`, "
        "and it takes pixels of 0..255.",
        stacklevel=4,
    )
