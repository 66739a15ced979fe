"""Folded batch norms: which of them, and that nothing else changes."""

import keras
import numpy as np
import pytest
from tiny import randomize

import keras_wrn
from keras_wrn.errors import ExportError
from keras_wrn.export import fold_batch_norm


def norms(model):
    return {x.name for x in model.layers if isinstance(x, keras.layers.BatchNormalization)}


def outputs(model, shape=(32, 32, 3)):
    x = np.random.default_rng(0).normal(size=(4, *shape)).astype("float32")
    y = model(x, training=False)
    return [keras.ops.convert_to_numpy(part) for part in (y if isinstance(y, list) else [y])]


def same(model, folded, **settings):
    for a, b in zip(outputs(model, **settings), outputs(folded, **settings), strict=True):
        assert np.ptp(a) > 1e-3
        np.testing.assert_allclose(b, a, atol=1e-5 * np.abs(a).max())


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        ({"width": 1}, {"group1_block1_bn1", "group2_block1_bn1", "group3_block1_bn1", "bn_final"}),
        # The stem is read by the first batch norm alone: the shortcut comes after it.
        ({"width": 2}, {"group2_block1_bn1", "group3_block1_bn1", "bn_final"}),
        (
            {"width": 1, "block": "B313", "dropout": 0.3, "classifier_activation": None},
            {"group1_block1_bn1", "group2_block1_bn1", "group3_block1_bn1", "bn_final"},
        ),
    ],
)
def test_what_a_pre_activation_network_keeps(arguments, left):
    keras.utils.set_random_seed(0)
    model = randomize(keras_wrn.WideResNet(10, **arguments))
    before = [keras.ops.convert_to_numpy(v) for v in model.variables]
    folded = fold_batch_norm(model)
    assert norms(folded) == left and norms(model) > left
    same(model, folded)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)
    kept = {layer.name for layer in model.layers} - norms(model)
    assert {layer.name for layer in folded.layers} - norms(folded) == kept
    assert folded.input.name == "image"


def block(x, filters, **settings):
    """Post-activation, with every kind of batch norm and a convolution that has a bias."""
    y = keras.layers.Conv2D(filters, 3, padding="same", use_bias=True)(x)
    y = keras.layers.BatchNormalization(epsilon=1e-2, **settings)(y)
    y = keras.layers.Activation("relu")(y)
    y = keras.layers.Conv2D(filters, 3, padding="same", groups=2, use_bias=False)(y)
    return keras.layers.BatchNormalization(**settings)(y)


@pytest.mark.parametrize("settings", [{}, {"scale": False}, {"center": False}])
def test_a_post_activation_network_is_folded_entirely(settings):
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 4))
    x = keras.layers.Add()([block(image, 6, **settings), block(image, 6, **settings)])
    model = randomize(keras.Model(image, keras.layers.GlobalAveragePooling2D()(x)))
    folded = fold_batch_norm(model)
    assert len(norms(model)) == 4 and norms(folded) == set()
    same(model, folded, shape=(8, 8, 4))


@pytest.mark.parametrize("builder", [keras_wrn.WideResNet18, keras_wrn.WideResNet50_2])
def test_the_imagenet_family_is_folded_entirely(builder):
    keras.utils.set_random_seed(0)
    model = randomize(builder(classes=10, input_shape=(64, 64, 3)))
    folded = fold_batch_norm(model)
    assert norms(model) and norms(folded) == set()
    same(model, folded, shape=(64, 64, 3))


def test_what_cannot_be_folded_stays():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 4))

    def conv(**settings):
        return keras.layers.Conv2D(4, 3, padding="same", **settings)

    shared, twice, output, norm = conv(), conv(), conv(), keras.layers.BatchNormalization
    a = norm(name="read_by_two")(y := shared(image))
    b = norm(name="conv_used_twice")(twice(twice(image)))
    c = norm(name="conv_with_relu")(conv(activation="relu")(image))
    d = norm(name="other_axis", axis=1)(conv()(image))
    e = norm(name="conv_is_an_output")(z := output(image))
    f = norm(name="is_an_output")(conv()(image))
    total = keras.layers.Add()([y, a, b, c, d, e])
    model = randomize(keras.Model(image, [total, z, f]))
    assert fold_batch_norm(model) is model
    g = norm(name="foldable")(conv()(total))
    model = randomize(keras.Model(image, [keras.layers.ReLU()(g), z, f]))
    folded = fold_batch_norm(model)
    assert norms(model) - norms(folded) == {"foldable"}
    same(model, folded, shape=(8, 8, 4))


def test_a_layer_that_cannot_be_made_anew_is_said():
    class Odd(keras.layers.Layer):
        def __init__(self, needed):
            super().__init__()

        def call(self, x):
            return x

        def get_config(self):
            return {}

    image = keras.Input((8, 8, 3))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(image))
    model = keras.Model(image, keras.layers.ReLU()(Odd(1)(x)))
    with pytest.raises(ExportError, match="fold_batch_norm=False"):
        fold_batch_norm(model)
