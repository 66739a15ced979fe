"""The shape of the network: layers, sizes, inputs and tops."""

import itertools
import math

import keras
import numpy as np
import pytest
from tiny import without_values

from keras_wrn.catalog import WideResNet
from keras_wrn.models import ImageModel


def sources(model, name):
    """The names of the layers whose outputs a layer reads."""
    tensors = model.get_layer(name).input
    tensors = tensors if isinstance(tensors, list) else [tensors]
    return [tensor._keras_history.operation.name for tensor in tensors]


def edges(model, prefix):
    names = [layer.name for layer in model.layers if layer.name.startswith(prefix)]
    return {name.removeprefix(prefix): sources(model, name) for name in names}


def kernels(model, prefix):
    convolutions = [
        layer
        for layer in model.layers
        if layer.name.startswith(prefix) and isinstance(layer, keras.layers.Conv2D)
    ]
    return {
        layer.name.removeprefix(prefix): (*layer.kernel.shape, layer.strides[0])
        for layer in convolutions
    }


def test_the_chain_from_image_to_classes():
    model = WideResNet(16, 1, input_shape=(8, 8, 3))
    assert isinstance(model, ImageModel)
    assert sources(model, "conv1") == ["image"]
    assert sources(model, "group1_block1_bn1") == ["conv1"]
    for group, index in itertools.product((1, 2, 3), (1, 2)):
        block = f"group{group}_block{index}"
        after = {"group1_block2": "group2_block1", "group2_block2": "group3_block1"}.get(block)
        after = f"group{group}_block2" if index == 1 else after
        assert sources(model, f"{after}_bn1" if after else "bn_final") == [f"{block}_add"]
    assert sources(model, "act_final") == ["bn_final"]
    assert sources(model, "avg_pool") == ["act_final"]
    assert sources(model, "predictions") == ["avg_pool"]
    assert model.layers[-1].name == "predictions"


def test_a_block_that_widens_shares_its_first_activation():
    model = WideResNet(16, 2, dropout=0.3, input_shape=(8, 8, 3))
    assert edges(model, "group2_block1_") == {
        "bn1": ["group1_block2_add"],
        "act1": ["group2_block1_bn1"],
        "shortcut": ["group2_block1_act1"],
        "pad1": ["group2_block1_act1"],
        "conv1": ["group2_block1_pad1"],
        "bn2": ["group2_block1_conv1"],
        "act2": ["group2_block1_bn2"],
        "dropout2": ["group2_block1_act2"],
        "conv2": ["group2_block1_dropout2"],
        "add": ["group2_block1_shortcut", "group2_block1_conv2"],
    }
    assert kernels(model, "group2_block1_") == {
        "shortcut": (1, 1, 32, 64, 2),
        "conv1": (3, 3, 32, 64, 2),
        "conv2": (3, 3, 64, 64, 1),
    }
    assert sources(model, "group1_block1_shortcut") == ["group1_block1_act1"]


def test_a_block_that_does_not_widen_adds_the_raw_input():
    model = WideResNet(16, 2, input_shape=(8, 8, 3))
    assert edges(model, "group2_block2_") == {
        "bn1": ["group2_block1_add"],
        "act1": ["group2_block2_bn1"],
        "conv1": ["group2_block2_act1"],
        "bn2": ["group2_block2_conv1"],
        "act2": ["group2_block2_bn2"],
        "conv2": ["group2_block2_act2"],
        "add": ["group2_block1_add", "group2_block2_conv2"],
    }
    assert kernels(model, "group2_block2_")["conv1"] == (3, 3, 64, 64, 1)


def test_one_wide_has_the_raw_input_in_its_first_block():
    model = WideResNet(10, 1, input_shape=(8, 8, 3))
    assert sources(model, "group1_block1_add") == ["conv1", "group1_block1_conv2"]


@pytest.mark.parametrize("block", ["B3", "B13", "B31", "B131", "B311", "B313", "B3333"])
def test_kernels_strides_and_dropout_of_every_block_type(block):
    model = WideResNet(10, 2, 0.2, block, num_blocks=1, input_shape=(8, 8, 3))
    sizes = [int(digit) for digit in block[1:]]
    found = kernels(model, "group3_block1_")
    assert found.pop("shortcut") == (1, 1, 64, 128, 2)
    assert found == {
        f"conv{i}": (size, size, 64 if i == 1 else 128, 128, 2 if i == 1 else 1)
        for i, size in enumerate(sizes, start=1)
    }
    steps = edges(model, "group3_block1_")
    # Before every convolution but the first, after its activation.
    for i in range(2, len(sizes) + 1):
        assert steps[f"conv{i}"] == [f"group3_block1_dropout{i}"]
        assert steps[f"dropout{i}"] == [f"group3_block1_act{i}"]
    assert "dropout1" not in steps
    # An explicit padding only where a 3x3 has the stride.
    assert [name for name in steps if name.startswith("pad")] == ["pad1"] * (block[1] == "3")


def test_dropout_zeroes_in_training_only():
    model = WideResNet(10, 1, dropout=0.4, input_shape=(8, 8, 3), classifier_activation=None)
    assert all(
        layer.rate == 0.4 for layer in model.layers if isinstance(layer, keras.layers.Dropout)
    )
    tap = keras.Model(model.input, model.get_layer("group1_block1_dropout2").output)
    x = np.random.default_rng(0).normal(size=(8, 8, 8, 3)).astype("float32")
    kept = tap(x, training=False).numpy()
    dropped = tap(x, training=True).numpy()
    alive = np.abs(dropped) > 0
    assert 0.2 < alive.mean() / (kept > 0).mean() < 0.8  # about 0.6
    assert not any(
        isinstance(layer, keras.layers.Dropout) for layer in WideResNet(10, 1, 0.0).layers
    )


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(4, 4), (5, 7), (33, 31)])
def test_any_size_and_channels(size, channels):
    model = WideResNet(10, 1, input_shape=(*size, channels), include_top=False)
    images = np.zeros((2, *size, channels), "float32")
    expected = (2, *(math.ceil(side / 4) for side in size), 64)
    assert model(images).shape == expected
    assert model.output_shape[1:] == expected[1:]
    classified = WideResNet(10, 1, input_shape=(*size, channels))(images)
    assert np.allclose(np.sum(classified, axis=-1), 1)


def test_an_open_size_takes_images_of_every_size():
    model = WideResNet(10, 1, input_shape=(None, None, 3))
    assert model.output_shape == (None, 10)
    for size in [(8, 8), (9, 6)]:
        images = np.random.default_rng(0).normal(size=(2, *size, 3)).astype("float32")
        fixed = WideResNet(10, 1, input_shape=(*size, 3))
        fixed.set_weights(model.get_weights())
        np.testing.assert_allclose(model(images), fixed(images), atol=1e-6)


def test_pooling_is_what_it_says():
    trunk = WideResNet(10, 1, include_top=False, input_shape=(8, 8, 3))
    assert trunk.layers[-1].name == "act_final"
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    features = np.array(trunk(images))
    assert features.shape == (2, 2, 2, 64)
    assert features.min() >= 0
    for pooling, reduce in [("avg", np.mean), ("max", np.max)]:
        model = WideResNet(10, 1, include_top=False, pooling=pooling, input_shape=(8, 8, 3))
        model.set_weights(trunk.get_weights())
        np.testing.assert_allclose(model(images), reduce(features, axis=(1, 2)), rtol=1e-5)


def test_the_top_is_a_softmax_of_a_dense_layer_on_the_average():
    model = WideResNet(10, 1, classes=7, input_shape=(8, 8, 3))
    logits = WideResNet(10, 1, classes=7, input_shape=(8, 8, 3), classifier_activation=None)
    logits.set_weights(model.get_weights())
    images = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype("float32")
    raw = np.array(logits(images))
    exponent = np.exp(raw - raw.max(axis=1, keepdims=True))
    np.testing.assert_allclose(
        model(images), exponent / exponent.sum(axis=1, keepdims=True), rtol=1e-4
    )
    kernel, bias = logits.get_layer("predictions").get_weights()
    pooled = keras.Model(logits.input, logits.get_layer("avg_pool").output)
    np.testing.assert_allclose(np.array(pooled(images)) @ kernel + bias, raw, atol=1e-5)


def test_an_input_tensor_is_used_as_it_is():
    image = keras.Input((8, 8, 3), name="pixels")
    model = WideResNet(10, 1, input_tensor=keras.layers.Rescaling(1 / 255)(image))
    plain = WideResNet(10, 1, input_shape=(8, 8, 3))
    plain.set_weights(model.get_weights())
    assert model.input is image
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype("float32")
    np.testing.assert_allclose(model(pixels), plain(pixels / 255), atol=1e-5)


def test_the_activation_can_be_another():
    model = WideResNet(10, 1, activation="swish", input_shape=(8, 8, 3))
    activations = [x for x in model.layers if isinstance(x, keras.layers.Activation)]
    assert {layer.activation for layer in activations} == {keras.activations.swish}
    assert len(activations) == 7


def test_names():
    assert without_values(WideResNet).name == "wrn_28_10"
    assert WideResNet(10, 1.5).name == "wrn_10_1.5"
    assert WideResNet(10, 1, name="mine").name == "mine"
    names = [layer.name for layer in WideResNet(10, 2, 0.3, "B313").layers]
    assert len(set(names)) == len(names)
    # The second network of a process has the names of the first.
    assert names == [layer.name for layer in WideResNet(10, 2, 0.3, "B313").layers]


def test_channels_are_last_whatever_keras_is_told():
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        assert WideResNet(10, 1, include_top=False).output_shape == (None, 8, 8, 64)
    finally:
        keras.config.set_image_data_format(before)
