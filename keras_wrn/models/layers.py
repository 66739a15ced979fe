"""Convolution, batch norm and padding of a WRN: every default in one place.

Images are channels last throughout, whatever `keras.config.image_data_format()` says.
"""

import keras
from keras import ops

from keras_wrn.kernels import fused_batch_norm, on_tensorflow, replica_dropout, replicas
from keras_wrn.models.convolution import CHANNELS_LAST, Conv2D

# He et al. with fan-in, *untruncated*, as models/wide-resnet.lua has drawn it since 2016-09-08.
CONV_INITIALIZER = keras.initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")
FAN_OUT = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
# Torch7's nn.Linear: U(-1/sqrt(in), 1/sqrt(in)).
DENSE_INITIALIZER = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")


@keras.saving.register_keras_serializable("keras_wrn")
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation over (batch, height, width), with Torch's moving statistics.

    Three things differ from `keras.layers.BatchNormalization`:

    - the moving variance is the *unbiased* one (divided by n - 1), as in Torch and in
      TensorFlow's fused kernel, on every backend;
    - on TensorFlow it runs that fused kernel, unless statistics are synchronised, the dtype is
      float64 or the input is not an image batch; then the decomposed formula runs;
    - unsynchronised moving statistics are averaged over the replicas of a
      `tf.distribute` strategy, where Keras keeps those of replica 0.

    Args:
        momentum: float, the share of the old moving statistics kept at each step. 0.9 is
            Torch's 0.1.
        epsilon: float, added to the variance.
        gamma_initializer: initializer of the scale. The authors' code draws it from U(0, 1)
            (torch7's default); the ImageNet family uses ones.
        **kwargs: those of `keras.layers.BatchNormalization`.

    Source: Ioffe & Szegedy 2015, https://arxiv.org/abs/1502.03167.

    Example:

    ```python
    layer = keras_wrn.models.BatchNormalization()
    y = layer(np.ones((2, 8, 8, 16), "float32"), training=True)   # (2, 8, 8, 16)
    ```
    """

    def __init__(self, momentum=0.9, epsilon=1e-5, gamma_initializer="ones", **kwargs):
        super().__init__(
            momentum=momentum, epsilon=epsilon, gamma_initializer=gamma_initializer, **kwargs
        )

    def add_weight(self, *args, trainable=True, **kwargs):
        if not trainable:
            kwargs["aggregation"] = "mean"
        return super().add_weight(*args, trainable=trainable, **kwargs)

    def call(self, inputs, training=None, mask=None):
        if mask is not None or self.renorm:
            return super().call(inputs, training=training, mask=mask)
        training = bool(training) and self.trainable
        if self._fusable(inputs):
            return self._fused(inputs, training)
        return self._decomposed(inputs, training)

    def _fusable(self, inputs):
        return (
            on_tensorflow()
            and not self.synchronized
            and self.center
            and self.scale
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and keras.backend.standardize_dtype(inputs.dtype) in ("float32", "bfloat16", "float16")
        )

    def _fused(self, inputs, training):
        y, mean, variance = fused_batch_norm(
            inputs, self.gamma, self.beta, self.moving_mean, self.moving_variance, self.epsilon,
            training,
        )  # fmt: skip
        if training:
            self._update(mean, variance)
        return y

    def _decomposed(self, inputs, training):
        # Not keras.backend.result_type: off TensorFlow it lowers float64 to float32.
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        x = ops.cast(inputs, "float64" if dtype == "float64" else "float32")
        mean, variance = self.moving_mean, self.moving_variance
        if training:
            axes = self._reduction_axes
            mean, variance = ops.moments(x, axes=axes, synchronized=self.synchronized)
            shape = ops.shape(x)
            count = ops.prod([shape[axis] for axis in axes])
            count = ops.cast(count * (replicas() if self.synchronized else 1), x.dtype)
            self._update(mean, variance * (count / ops.maximum(count - 1, 1)))
        y = ops.batch_normalization(
            x=x,
            mean=ops.cast(mean, x.dtype),
            variance=ops.cast(variance, x.dtype),
            axis=self.axis,
            offset=ops.cast(self.beta, x.dtype) if self.center else None,
            scale=ops.cast(self.gamma, x.dtype) if self.scale else None,
            epsilon=self.epsilon,
        )
        return ops.cast(y, self.compute_dtype)

    def _update(self, mean, unbiased_variance):
        for moving, batch in (
            (self.moving_mean, mean),
            (self.moving_variance, unbiased_variance),
        ):
            batch = ops.cast(ops.stop_gradient(batch), moving.dtype)
            moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))


@keras.saving.register_keras_serializable("keras_wrn")
class Dropout(keras.layers.Dropout):
    """Dropout with a different mask on each replica of a `tf.distribute` strategy.

    `keras.layers.Dropout` (3.15) draws from a state that all replicas share, so every replica gets
    the same mask. On one device the two layers are the same.

    Args:
        rate: float in [0, 1].
        **kwargs: those of `keras.layers.Dropout`.

    Example:

    ```python
    y = keras_wrn.models.Dropout(0.3)(np.ones((2, 8), "float32"), training=True)   # (2, 8)
    ```
    """

    def call(self, inputs, training=False):
        if not training or not self.rate or replicas() == 1:
            return super().call(inputs, training=training)
        return replica_dropout(inputs, self.rate, self.noise_shape, self.seed_generator.next())


@keras.saving.register_keras_serializable("keras_wrn")
class StochasticDepth(Dropout):
    """Leave a block's branch out of some training steps: all images of a batch lose it together.

    Outside training the branch is multiplied by the probability that it stays. The branch is
    computed all the same: nothing is saved, and its batch norms see each batch.

    Args:
        rate: float in [0, 1), the probability that a batch goes without.
        **kwargs: those of `keras.layers.Dropout`.

    Source: Huang et al. 2016, https://arxiv.org/abs/1603.09382.

    Example:

    ```python
    branch = np.ones((2, 8, 8, 16), "float32")
    y = keras_wrn.models.StochasticDepth(0.5)(branch)   # 0.5 everywhere
    ```
    """

    def __init__(self, rate, noise_shape=(1, 1, 1, 1), **kwargs):
        super().__init__(rate, noise_shape=noise_shape, **kwargs)

    def call(self, inputs, training=False):
        return (1 - self.rate) * super().call(inputs, training=training)


@keras.saving.register_keras_serializable("keras_wrn")
class PaddedShortcut(keras.layers.Layer):
    """A shortcut without parameters: every `strides`-th pixel, and channels of zeros behind.

    Args:
        filters: int, the channels of the result, not fewer than those of the input.
        strides: int.
        **kwargs: those of `keras.layers.Layer`.

    Source: He et al. 2015, https://arxiv.org/abs/1512.03385, option A.

    Example:

    ```python
    x = np.ones((2, 8, 8, 16), "float32")
    y = keras_wrn.models.PaddedShortcut(32, 2)(x)   # (2, 4, 4, 32)
    ```
    """

    def __init__(self, filters, strides=1, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.strides = strides

    def call(self, inputs):
        x = inputs[:, :: self.strides, :: self.strides]
        return ops.pad(x, [(0, 0), (0, 0), (0, 0), (0, self.filters - x.shape[-1])])

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        sides = (s if s is None else -(-s // self.strides) for s in (height, width))
        return (batch, *sides, self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "strides": self.strides}


def pad(x, padding, name):
    """Zero-pad height and width of x (batch, height, width, channels) by `padding` on each side."""
    return keras.layers.ZeroPadding2D(padding, data_format=CHANNELS_LAST, name=name)(x)


def conv(
    x, filters, kernel_size, strides=1, strided_padding="torch", initializer=CONV_INITIALIZER,
    *, name,
):  # fmt: skip
    """Convolve x (batch, height, width, channels) without bias; output is ceil(size / strides).

    A strided kernel larger than 1 pads evenly on both sides, as every published WRN was trained;
    `strided_padding="tf"` leaves it to TensorFlow's `same`, which pads (0, 1) on even sizes.
    """
    explicit = strides > 1 and kernel_size > 1 and strided_padding == "torch"
    if explicit:
        x = pad(x, kernel_size // 2, name.replace("conv", "pad"))
    return Conv2D(
        filters,
        kernel_size,
        strides,
        padding="valid" if explicit else "same",
        data_format=CHANNELS_LAST,
        use_bias=False,
        kernel_initializer=initializer.clone(),
        name=name,
    )(x)


def batch_norm(x, gamma_initializer="ones", *, name):
    """Normalise x (batch, height, width, channels) over all but its channels."""
    # A copy: an initializer shared by two layers draws the same numbers twice.
    gamma_initializer = keras.initializers.get(gamma_initializer).clone()
    return BatchNormalization(gamma_initializer=gamma_initializer, name=name)(x)


def activate(x, activation, *, name):
    """Apply an activation to x: a Keras name, or "leaky_relu:0.1" with its negative slope."""
    if isinstance(activation, str) and activation.startswith("leaky_relu:"):
        try:
            slope = float(activation.partition(":")[2])
            activation = keras.layers.LeakyReLU(slope, name="leaky_relu")
        except ValueError as error:
            raise ValueError(
                "Expected a slope of 0 or more, as in 'leaky_relu:0.1'. "
                f"Received: activation={activation!r}"
            ) from error
    return keras.layers.Activation(activation, name=name)(x)


def at_least_float32():
    """The dtype of a layer that computes in float32 or float64, whatever the policy."""
    low = keras.config.dtype_policy().compute_dtype in ("float16", "bfloat16")
    return "float32" if low else None


def classifier(x, classes, activation, *, name="predictions"):
    """The fully connected layer on top, in at least float32 whatever the dtype policy."""
    return keras.layers.Dense(
        int(classes),
        activation=activation,
        kernel_initializer=DENSE_INITIALIZER.clone(),
        dtype=at_least_float32(),
        name=name,
    )(x)
