"""Adam for several devices."""

import keras

from keras_wrn.kernels import on_tensorflow


@keras.saving.register_keras_serializable("keras_wrn")
class Adam(keras.optimizers.Adam):
    """Keras' Adam, which limits the length of the gradient of the whole batch.

    Under a `tf.distribute` strategy Keras 3.15 limits the gradient of each device before it adds
    them up. Two devices then train otherwise than one wherever the limit is reached.

    Args:
        learning_rate: float or schedule.
        global_clipnorm: float, the limit of the length of the gradient over all variables; None for
            none.
        **kwargs: those of `keras.optimizers.Adam`, but for `clipnorm` and `clipvalue`.

    Source: Kingma & Ba 2015, https://arxiv.org/abs/1412.6980.

    Example:

    ```python
    model = keras_wrn.WideResNet(10, 1)
    model.compile(keras_wrn.optim.Adam(1e-3, global_clipnorm=10.0), "categorical_crossentropy")
    ```
    """

    def _clip_gradients(self, grads):
        # On TensorFlow they are not added up yet.
        return grads if on_tensorflow() else super()._clip_gradients(grads)

    def _all_reduce_sum_gradients(self, grads_and_vars):
        added = super()._all_reduce_sum_gradients(grads_and_vars)
        clipped = super()._clip_gradients([gradient for gradient, _ in added])
        return [
            (gradient, variable) for gradient, (_, variable) in zip(clipped, added, strict=True)
        ]
