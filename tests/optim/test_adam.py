"""Adam is Keras' own on one device; several are in tests/training/test_detection_runs.py."""

import keras
import numpy as np
import pytest
from tiny import gradients_of, variables_of

from keras_wrn.optim import Adam

SHAPES = {"conv1/kernel": (3, 3, 3, 8), "bn1/gamma": (8,)}


@pytest.mark.parametrize("limit", [None, 0.5, 100.0])
def test_it_is_that_of_keras(limit):
    ends = []
    for kind in (Adam, keras.optimizers.Adam):
        variables = variables_of(SHAPES)
        optimizer = kind(0.01, global_clipnorm=limit)
        optimizer.build(variables)
        for step in range(4):
            gradients = map(keras.ops.convert_to_tensor, gradients_of(SHAPES, step))
            optimizer.apply(list(gradients), variables)
        ends.append([keras.ops.convert_to_numpy(v.value) for v in variables])
    for ours, theirs in zip(*ends, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_a_saved_one_is_the_same():
    optimizer = Adam(0.01, global_clipnorm=3.0)
    read = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(read, Adam) and read.get_config() == optimizer.get_config()
