"""Convolution padding, initial weights and batch norm, against NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_wrn.catalog import WideResNet
from keras_wrn.models import BatchNormalization
from keras_wrn.models.layers import conv


@pytest.fixture(scope="module")
def wide():
    keras.utils.set_random_seed(0)
    return WideResNet(10, 8, input_shape=(8, 8, 3))


def test_convolutions_are_drawn_from_the_untruncated_normal_of_fan_in(wide):
    for name in ["group1_block1_conv2", "group2_block1_conv1", "group3_block1_shortcut"]:
        kernel = wide.get_layer(name).kernel.numpy()
        scaled = kernel / np.sqrt(2 / np.prod(kernel.shape[:3]))
        assert abs(scaled.mean()) < 0.02
        assert abs(scaled.std() - 1) < 0.01
        # A normal cut off at two deviations, as HeNormal, never reaches three before rescaling.
        assert abs((np.abs(scaled) > 3).mean() - 0.0027) < 0.0008


def test_every_batch_norm_starts_at_a_uniform_gamma_of_its_own(wide):
    norms = [layer for layer in wide.layers if isinstance(layer, BatchNormalization)]
    gamma = np.concatenate([layer.gamma.numpy() for layer in norms])
    assert 0 <= gamma.min() < 0.01
    assert 0.99 < gamma.max() <= 1
    assert abs(gamma.mean() - 0.5) < 0.03
    assert abs(gamma.std() - 12**-0.5) < 0.02
    assert len(np.unique(gamma)) > 0.99 * len(gamma)  # no two layers share a seed
    assert all(np.all(layer.beta.numpy() == 0) for layer in norms)
    assert all(np.all(layer.moving_mean.numpy() == 0) for layer in norms)
    assert all(np.all(layer.moving_variance.numpy() == 1) for layer in norms)


def test_the_classifier_is_uniform_within_one_over_root_in():
    keras.utils.set_random_seed(0)
    layer = WideResNet(10, 8, classes=100, input_shape=(8, 8, 3)).get_layer("predictions")
    kernel = layer.kernel.numpy() * np.sqrt(512)
    assert 0.99 < np.abs(kernel).max() <= 1
    assert abs(kernel.std() - 3**-0.5) < 0.005
    assert np.all(layer.bias.numpy() == 0)


def test_the_seed_fixes_the_weights():
    def draw(seed):
        keras.utils.set_random_seed(seed)
        return np.concatenate([w.ravel() for w in WideResNet(10, 1).get_weights()])

    assert np.array_equal(draw(1), draw(1))
    assert not np.allclose(draw(1), draw(2))


def test_batch_norm_has_torch_defaults_and_convolutions_no_bias(wide):
    for layer in wide.layers:
        if isinstance(layer, BatchNormalization):
            assert (layer.momentum, layer.epsilon) == (0.9, 1e-5)
        if isinstance(layer, keras.layers.Conv2D):
            assert not layer.use_bias


def strided_sums(image, before):
    """Sums of the 3x3 windows at stride 2, the first of which starts `before` pixels outside."""
    height, width = image.shape
    padded = np.pad(image, ((before, 3), (before, 3)))
    return np.array(
        [
            [padded[i : i + 3, j : j + 3].sum() for j in range(0, width, 2)]
            for i in range(0, height, 2)
        ]
    )


@pytest.mark.parametrize(
    ("padding", "size", "before"), [("torch", 8, 1), ("torch", 7, 1), ("tf", 8, 0), ("tf", 7, 1)]
)
def test_where_a_strided_window_starts(padding, size, before):
    inputs = keras.Input((size, size, 1))
    model = keras.Model(inputs, conv(inputs, 1, 3, 2, padding, name="conv1"))
    model.set_weights([np.ones((3, 3, 1, 1))])
    image = np.random.default_rng(0).normal(size=(size, size)).astype("float32")
    output = np.array(model(image[None, ..., None]))[0, ..., 0]
    np.testing.assert_allclose(output, strided_sums(image, before), atol=1e-5)


def test_the_paddings_differ_on_even_sizes_only():
    for size, same in [(8, False), (9, True)]:
        torch, tensorflow = (
            WideResNet(10, 1, input_shape=(size, size, 3), strided_padding=padding)
            for padding in ("torch", "tf")
        )
        tensorflow.set_weights(torch.get_weights())
        images = np.random.default_rng(0).normal(size=(2, size, size, 3)).astype("float32")
        assert np.allclose(torch(images), tensorflow(images), atol=1e-6) == same


def batch_norm(fused, dtype="float32", **kwargs):
    """A built layer with weights far from their initial values, on one of its two roads."""
    layer = BatchNormalization(dtype=dtype, **kwargs)
    layer.build((None, 5, 3, 4))
    values = np.random.default_rng(1).uniform(0.5, 1.5, (4, 4))
    layer.set_weights(values)
    if not fused:
        layer._fusable = lambda inputs: False
    return layer


IMAGES = np.random.default_rng(0).normal(2, 3, (6, 5, 3, 4)).astype("float32")


@pytest.mark.parametrize("fused", [True, False])
def test_training_normalises_and_keeps_the_unbiased_variance(fused):
    layer = batch_norm(fused)
    gamma, beta, old_mean, old_variance = layer.get_weights()
    y = np.array(layer(IMAGES, training=True))
    mean, variance = IMAGES.mean((0, 1, 2)), IMAGES.var((0, 1, 2))
    np.testing.assert_allclose(
        y, (IMAGES - mean) / np.sqrt(variance + 1e-5) * gamma + beta, atol=1e-5
    )
    unbiased = IMAGES.reshape(-1, 4).var(axis=0, ddof=1)
    np.testing.assert_allclose(layer.moving_mean, 0.9 * old_mean + 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(
        layer.moving_variance, 0.9 * old_variance + 0.1 * unbiased, rtol=1e-5
    )


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_inference_and_a_frozen_layer_use_the_moving_statistics(fused, frozen):
    layer = batch_norm(fused)
    layer.trainable = not frozen
    before = layer.get_weights()
    gamma, beta = layer.gamma.numpy(), layer.beta.numpy()
    mean, variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    y = np.array(layer(IMAGES, training=frozen))
    np.testing.assert_allclose(
        y, (IMAGES - mean) / np.sqrt(variance + 1e-5) * gamma + beta, atol=1e-5
    )
    assert all(np.array_equal(a, b) for a, b in zip(before, layer.get_weights(), strict=True))


@pytest.mark.parametrize("shape", [(6, 5, 3, 4), (1, 1, 1, 4)])
@pytest.mark.parametrize("training", [True, False])
def test_fused_and_decomposed_are_one_layer(training, shape):
    images = tf.constant(np.resize(IMAGES, shape))
    target = np.random.default_rng(2).normal(size=shape).astype("float32")
    results = []
    for fused in (True, False):
        layer = batch_norm(fused)
        with tf.GradientTape() as tape:
            tape.watch(images)
            y = layer(images, training=training)
            loss = tf.reduce_sum(y * target)
        gradients = tape.gradient(loss, [images, layer.gamma.value, layer.beta.value])
        results.append([y, *gradients, *layer.non_trainable_variables])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_keeps_float32_statistics(dtype):
    for fused in (True, False):
        layer = batch_norm(fused, f"mixed_{dtype}")
        y = layer(tf.cast(IMAGES, dtype), training=True)
        exact = batch_norm(fused)
        expected = exact(IMAGES, training=True)
        assert y.dtype == dtype
        assert layer.moving_variance.dtype == "float32"
        np.testing.assert_allclose(tf.cast(y, "float32"), expected, atol=0.05)
        np.testing.assert_allclose(layer.moving_variance, exact.moving_variance, rtol=5e-3)


def test_the_fused_kernel_runs_where_it_can():
    def operations(layer, dtype="float32"):
        traced = tf.function(lambda x: layer(x, training=True))
        graph = traced.get_concrete_function(tf.TensorSpec((2, 5, 3, 4), dtype)).graph
        return {operation.type for operation in graph.get_operations()}

    assert "FusedBatchNormV3" in operations(batch_norm(True))
    assert "FusedBatchNormV3" in operations(batch_norm(True, "mixed_bfloat16"), "bfloat16")
    assert "FusedBatchNormV3" not in operations(batch_norm(True, synchronized=True))
    assert "FusedBatchNormV3" not in operations(batch_norm(True, "float64"), "float64")


def test_the_unbiased_variance_of_another_axis():
    layer = BatchNormalization(axis=1)
    images = np.moveaxis(IMAGES, -1, 1)
    layer(images, training=True)
    unbiased = IMAGES.reshape(-1, 4).var(axis=0, ddof=1)
    np.testing.assert_allclose(layer.moving_variance, 0.9 + 0.1 * unbiased, rtol=1e-5)
