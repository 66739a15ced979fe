"""The convolution of a WRN, and how its gradient is computed where TensorFlow's own is slow."""

import keras

from keras_wrn.kernels import conv_in_strips, on_tensorflow, strips_pay

CHANNELS_LAST = "channels_last"


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
        if training and self.takes_strips(inputs):
            return conv_in_strips(inputs, self.kernel)
        return super().call(inputs)

    def takes_strips(self, inputs):
        """Whether the gradient by the kernel is computed from strips of images."""
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
