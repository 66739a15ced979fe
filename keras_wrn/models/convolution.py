"""The convolution of a WRN, with a gradient of its own where TensorFlow's is slow."""

import keras

from keras_wrn.kernels import conv_in_strips, on_tensorflow, strips_pay

CHANNELS_LAST = "channels_last"


@keras.saving.register_keras_serializable("keras_wrn")
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` with a faster gradient for small maps in bfloat16, on TensorFlow's CPU.

    Only the kernel gradient in training differs, for a 3x3 convolution with stride 1 on small maps
    with many channels: the images are laid side by side in strips of up to 288 pixels (32 images of
    8 pixels), with a column of zeros between them, so that oneDNN works on long rows. The sums are
    the same in another order, and just as close to float32: 0.2 %, if the processor has bfloat16.
    The batch size must be known when the step is compiled, as it is in a run.

    Args:
        *args, **kwargs: those of `keras.layers.Conv2D`.

    Example:

    ```python
    layer = keras_wrn.models.Conv2D(16, 3, padding="same", use_bias=False)
    y = layer(np.ones((2, 8, 8, 16), "float32"))   # (2, 8, 8, 16)
    ```
    """

    def call(self, inputs, training=None):
        if training and self.takes_strips(inputs):
            return conv_in_strips(inputs, self.kernel)
        return super().call(inputs)

    def takes_strips(self, inputs):
        """Whether the kernel gradient is computed from strips of images."""
        return (
            on_tensorflow()
            and self.kernel_size == (3, 3)
            and self.strides == self.dilation_rate == (1, 1)
            and self.padding == "same"
            and self.data_format == CHANNELS_LAST
            and self.groups == 1
            and not self.use_bias
            and self.activation is keras.activations.linear
            and strips_pay(inputs)
        )
