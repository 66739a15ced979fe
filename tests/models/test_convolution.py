"""The gradient by the kernel that is taken from strips of images."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_wrn
from keras_wrn import kernels
from keras_wrn.models import Conv2D, convolution
from keras_wrn.training import devices


def gradients(layer, images, upstream):
    """The output and both gradients of a layer in training."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        y = layer(images, training=True)
    return y, *tape.gradient(y, (images, layer.kernel.value), upstream)


needs_bfloat16 = pytest.mark.skipif(
    not devices.cpu_has_bfloat16(), reason="the processor has no bfloat16"
)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [("float32", 1e-5), pytest.param("bfloat16", 0.01, marks=needs_bfloat16)],
)
@pytest.mark.parametrize(
    ("count", "side", "strips"),
    [(1, 8, 1), (32, 8, 1), (33, 8, 2), (7, 8, 1), (100, 8, 4), (50, 16, 4), (5, (3, 8), 1)],
)
def test_strips_give_the_gradients_of_a_plain_convolution(
    monkeypatch, count, side, strips, dtype, tolerance
):
    monkeypatch.setattr(kernels, "SMALL", ((16, 4),))
    if dtype == "float32":  # where no strips are taken, but the sums can be told apart
        monkeypatch.setattr(convolution, "strips_pay", lambda inputs: True)
    seen, original = [], kernels._strips
    monkeypatch.setattr(
        kernels, "_strips", lambda images: seen.append(original(images)) or seen[-1]
    )
    height, width = side if isinstance(side, tuple) else (side, side)
    random = np.random.default_rng(0)
    images = tf.constant(random.standard_normal((count, height, width, 4)), dtype)
    upstream = tf.constant(random.standard_normal((count, height, width, 6)), dtype)
    policy = dtype if dtype == "float32" else f"mixed_{dtype}"
    settings = {"padding": "same", "use_bias": False, "dtype": policy}
    ours, keras_own = Conv2D(6, 3, **settings), keras.layers.Conv2D(6, 3, **settings)
    keras_own.build(images.shape)
    ours.build(images.shape)
    ours.kernel.assign(keras_own.kernel)

    found = gradients(ours, images, upstream)
    assert [len(strip) for strip in seen] == [strips, strips]
    assert seen[0].shape[2] <= kernels.STRIP_WIDTH
    expected = gradients(keras_own, images, upstream)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        scale = float(tf.reduce_max(tf.abs(tf.cast(b, "float32"))))
        np.testing.assert_allclose(
            tf.cast(a, "float32"), tf.cast(b, "float32"), atol=tolerance * scale, rtol=0
        )


@needs_bfloat16
@pytest.mark.parametrize(("side", "channels"), [(8, 256), (16, 320), (7, 512)])
def test_the_gradient_is_as_near_to_float32_as_tensorflow_s_own(side, channels):
    random = np.random.default_rng(0)
    values = random.standard_normal((2, 16, side, side, channels)).astype("float32")
    images, upstream = (tf.constant(tf.cast(value, "bfloat16")) for value in values)
    kernel = tf.constant(tf.cast(random.standard_normal((3, 3, channels, channels)), "bfloat16"))

    def by_kernel(convolve, dtype):
        k = tf.cast(kernel, dtype)
        with tf.GradientTape() as tape:
            tape.watch(k)
            y = convolve(tf.cast(images, dtype), k)
        return tf.cast(tape.gradient(y, k, tf.cast(upstream, dtype)), "float32").numpy()

    def plain(x, k):
        return tf.nn.conv2d(x, k, 1, "SAME")

    expected = by_kernel(plain, "float32")
    errors = [
        np.linalg.norm(by_kernel(convolve, "bfloat16") - expected) / np.linalg.norm(expected)
        for convolve in (kernels.conv_in_strips, plain)
    ]
    assert errors[0] == pytest.approx(errors[1], rel=0.02) and errors[0] < 0.002


@pytest.mark.parametrize(
    ("changes", "shape", "dtype"),
    [
        ({"strides": 2}, (4, 8, 8, 256), "bfloat16"),
        ({"padding": "valid"}, (4, 8, 8, 256), "bfloat16"),
        ({"use_bias": True}, (4, 8, 8, 256), "bfloat16"),
        ({"activation": "relu"}, (4, 8, 8, 256), "bfloat16"),
        ({"groups": 2}, (4, 8, 8, 256), "bfloat16"),
        ({"dilation_rate": 2}, (4, 8, 8, 256), "bfloat16"),
        ({}, (4, 8, 8, 128), "bfloat16"),
        ({}, (4, 16, 16, 256), "bfloat16"),
        ({}, (4, 8, 8, 256), "float32"),
        ({}, (None, 8, 8, 256), "bfloat16"),
    ],
)
def test_what_is_not_faster_in_strips_is_left_to_keras(changes, shape, dtype):
    settings = {"padding": "same", "use_bias": False, **changes}
    assert not Conv2D(6, 3, **settings).takes_strips(keras.KerasTensor(shape, dtype))


def test_a_run_in_bfloat16_trains_in_strips_and_one_in_float32_does_not(monkeypatch):
    taken, original = [], kernels.conv_in_strips
    monkeypatch.setattr(
        convolution, "conv_in_strips", lambda x, k: taken.append(k.shape) or original(x, k)
    )
    images = np.random.default_rng(0).standard_normal((4, 32, 32, 3), "float32")
    labels = np.arange(4)
    losses = []
    for precision in ("float32", "bfloat16"):
        with devices.precision_scope(precision):
            keras.utils.set_random_seed(0)
            model = keras_wrn.WideResNet(10, 4, classifier_activation=None)
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(keras_wrn.SGD(0.1), loss, jit_compile=False)
            data = tf.data.Dataset.from_tensors((images, labels)).repeat(3)
            taken.clear()
            losses.append(model.fit(data, verbose=0).history["loss"][0])
        # group3 has one convolution of 256 to 256 channels without stride
        assert set(taken) == ({(3, 3, 256, 256)} if precision == "bfloat16" else set())
        taken.clear()
        model.predict(images, verbose=0)
        assert not taken
    assert losses[0] == pytest.approx(losses[1], abs=0.05)
