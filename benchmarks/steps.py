"""One training step, and how long it takes."""

import time

import keras
import tensorflow as tf

import keras_wrn


def step_of(model, images, labels):
    """Return a function that makes one step of a model that ends in logits, and waits for it."""
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras_wrn.SGD(0.1), loss, jit_compile=False)
    x, y = tf.constant(images), tf.one_hot(labels, model.output_shape[-1])
    iterator = iter(tf.data.Dataset.from_tensors((x, y)).repeat())
    model.make_train_function()
    return lambda: {name: float(value) for name, value in model.train_function(iterator).items()}


def seconds(step, count):
    """The fastest of `count` steps, in seconds, after three that warm up."""
    times = []
    for _ in range(count + 3):
        begun = time.perf_counter()
        step()
        times.append(time.perf_counter() - begun)
    return min(times[3:])
