"""One training step, and how long it takes."""

import time

import keras
import tensorflow as tf

import keras_wrn


def step_of(depth, width, images, labels):
    """Return a function that makes one step and waits for it."""
    model = keras_wrn.WideResNet(depth, width, classifier_activation=None)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras_wrn.SGD(0.1), loss, jit_compile=False)
    x, y = tf.constant(images), tf.one_hot(labels, 10)
    iterator = iter(tf.data.Dataset.from_tensors((x, y)).repeat())
    model.make_train_function()

    def step():
        model.train_function(iterator)

    for _ in range(3):
        step()
    return step


def seconds(step, count):
    """The quickest of some steps, in seconds."""
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        step()
        times.append(time.perf_counter() - begun)
    return min(times)
