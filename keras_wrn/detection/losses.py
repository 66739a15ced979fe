"""The losses of a detector. Each anchor's weight comes with its target."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_wrn")
class BoxLoss(keras.losses.Loss):
    """Smooth absolute difference of offsets: a weighted sum for each image, then the mean.

    Args:
        **kwargs: those of `keras.losses.Loss`.

    `y_true` is (batch, anchors, 5): offsets, and the anchor's weight, 0 where there is no box.
    """

    def __init__(self, name="box", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        difference = ops.abs(y_pred - y_true[..., :4])
        smooth = ops.where(difference < 1, 0.5 * difference**2, difference - 0.5)
        return ops.sum(ops.sum(smooth, axis=-1) * y_true[..., 4], axis=-1)


@keras.saving.register_keras_serializable("keras_wrn")
class ClassLoss(keras.losses.Loss):
    """keras-cv's focal loss of the classes: a weighted sum for each image, then the mean.

    Args:
        **kwargs: those of `keras.losses.Loss`.

    `y_true` is (batch, anchors, 2): the label, -1 for background, and the anchor's weight.
    """

    def __init__(self, name="classification", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        from keras_cv.losses import FocalLoss

        truth = ops.one_hot(ops.cast(y_true[..., 0], "int32"), y_pred.shape[-1], dtype="float32")
        losses = FocalLoss(alpha=0.25, gamma=2.0, from_logits=True).call(truth, y_pred)
        return ops.sum(losses * y_true[..., 1], axis=-1)
