"""The convolution of a WRN, and how its gradient is computed where TensorFlow's own is slow."""

import math

import keras

CHANNELS_LAST = "channels_last"
REWRITE = "auto_mixed_precision_onednn_bfloat16"
STRIP_WIDTH = 288  # pixels, at most
SMALL = (8, 256), (16, 320)  # maps of at most so many pixels a side, with so many channels or more


@keras.saving.register_keras_serializable("keras_wrn")
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` with a faster gradient for small maps in bfloat16, on TensorFlow's CPU.

    What differs is how the gradient by the kernel of a 3x3 convolution without stride is computed
    in training, where the maps are small and have many channels: images lie side by side in strips
    of up to 288 pixels (32 images of 8 pixels), with a column of zeros between them, so that oneDNN
    works on long rows. The sums are the same, in another order, and as near to those in float32:
    0.2 %, where the processor has bfloat16. The size of the batch must be known when the step is
    compiled, as it is in a run.

    Args:
        *args, **kwargs: those of `keras.layers.Conv2D`.

    Example:

    ```python
    layer = keras_wrn.models.Conv2D(16, 3, padding="same", use_bias=False)
    y = layer(np.ones((2, 8, 8, 16), "float32"))   # (2, 8, 8, 16)
    ```
    """

    def call(self, inputs, training=None):
        if training and self._strips_pay(inputs):
            return _in_strips(inputs, self.kernel)
        return super().call(inputs)

    def _strips_pay(self, inputs):
        if keras.backend.backend() != "tensorflow":
            return False
        import tensorflow as tf

        plain = (
            self.kernel_size == (3, 3)
            and self.strides == self.dilation_rate == (1, 1)
            and self.padding == "same"
            and self.data_format == CHANNELS_LAST
            and self.groups == 1
            and not self.use_bias
            and self.activation is keras.activations.linear
        )
        *known, channels = inputs.shape
        if not plain or None in known:
            return False
        small = any(max(known[1:]) <= side and channels >= least for side, least in SMALL)
        # The option is on where TensorFlow puts bfloat16 into a float32 step by itself.
        rewrite = tf.config.optimizer.get_experimental_options().get(REWRITE, False)
        low = inputs.dtype == tf.bfloat16 or rewrite
        return small and low and not tf.config.list_physical_devices("GPU")


def _in_strips(inputs, kernel):
    """The convolution, with the gradient by the kernel from strips of images."""
    import tensorflow as tf

    @tf.custom_gradient
    def convolve(inputs, kernel):
        def gradient(upstream):
            raw = tf.raw_ops
            by_inputs = raw.Conv2DBackpropInput(
                input_sizes=tf.shape(inputs), filter=kernel, out_backprop=upstream,
                strides=[1] * 4, padding="SAME",
            )  # fmt: skip
            by_kernel = raw.Conv2DBackpropFilter(
                input=_strips(inputs), filter_sizes=kernel.shape, out_backprop=_strips(upstream),
                strides=[1] * 4, padding="SAME",
            )  # fmt: skip
            return by_inputs, by_kernel

        return tf.nn.conv2d(inputs, kernel, 1, "SAME"), gradient

    return convolve(inputs, tf.convert_to_tensor(kernel, inputs.dtype))


def _strips(images):
    """(n, h, w, c) to (strips, h, (n / strips) (w + 1), c); added images and columns are zero."""
    import tensorflow as tf

    count, height, width, channels = images.shape
    strips = math.ceil(count / (STRIP_WIDTH // (width + 1)))
    long = math.ceil(count / strips)
    images = tf.pad(images, [[0, strips * long - count], [0, 0], [0, 1], [0, 0]])
    apart = tf.reshape(images, (strips, long, height, width + 1, channels))
    together = tf.transpose(apart, (0, 2, 1, 3, 4))
    return tf.reshape(together, (strips, height, long * (width + 1), channels))
