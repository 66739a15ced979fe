"""RetinaNet on the trunk of a network for photos."""

import math

import keras
from keras import ops

from keras_wrn.catalog.transfer import feature_extractor
from keras_wrn.checks import check_count
from keras_wrn.detection.anchors import LEVELS, RATIOS, SCALES
from keras_wrn.models.convolution import CHANNELS_LAST
from keras_wrn.models.image_model import ImageModel
from keras_wrn.models.layers import at_least_float32

CHANNELS = 256  # of the pyramid and the heads
DEPTH = 4  # convolutions of a head
GROUPS = 32  # of the heads' normalisation
PRIOR = 0.01  # the probability of each class at each anchor before training
PER_CELL = len(SCALES) * len(RATIOS)


def retinanet(trunk, classes, *, name=None):
    """Build a detector on a network, with random weights above it.

    A feature pyramid joins the stages 2 to 4 of the network, and two coarser levels follow. Two
    heads, each the same for all levels, say what is in each anchor box and how the box is to move.

    Args:
        trunk: a network of `keras_wrn.WideResNet18` and the like for images of a fixed size; its
            layers are shared, and its classifier, if it has one, is left out.
        classes: int.
        name: str, the model's name; None for the trunk's with "retinanet_" before it.

    Returns:
        A functional `keras.Model` from images (batch, height, width, 3), normalised as the trunk
        takes them, to a dict of `box` (batch, anchors, 4), offsets that `decode` turns into boxes,
        and `classification` (batch, anchors, classes), logits; both float32.

    Raises:
        ValueError: the trunk has no four stages, or no fixed size; or `classes` is no count.

    Source: Lin et al. 2017, https://arxiv.org/abs/1708.02002. The normalisation of the heads, by
    groups of channels, is not in the paper.

    Example:

    ```python
    trunk = keras_wrn.WideResNet18(include_top=False, input_shape=(128, 128, 3))
    model = retinanet(trunk, classes=80)
    model.output["classification"].shape   # (None, 3087, 80)
    ```
    """
    classes = check_count("classes", classes)
    trunk = feature_extractor(trunk, stages=(2, 3, 4))
    if None in trunk.input_shape[1:]:
        raise ValueError(
            "A detector is for images of a fixed size. Received: a network for images of shape "
            f"{trunk.input_shape[1:]}"
        )
    levels = _pyramid([trunk.output[f"stage{stage}"] for stage in (2, 3, 4)])
    bias = keras.initializers.Constant(-math.log((1 - PRIOR) / PRIOR))
    outputs = {
        "box": _head(levels, 4, "zeros", "box"),
        "classification": _head(levels, classes, bias, "class"),
    }
    model = ImageModel(trunk.inputs[0], outputs, name=name or f"retinanet_{trunk.name}")
    model.preprocessing = trunk.preprocessing
    return model


def _pyramid(stages):
    """The five levels, the finest first, of the maps of three stages."""
    inner = [
        _conv(CHANNELS, 1, name=f"pyramid_inner{level}")(stage)
        for level, stage in zip(LEVELS, stages, strict=False)
    ]
    for i in (1, 0):  # from coarse to fine
        height, width = inner[i].shape[1:3]
        above = keras.layers.UpSampling2D(
            2, data_format=CHANNELS_LAST, name=f"pyramid_up{LEVELS[i]}"
        )(inner[i + 1])
        if above.shape[1:3] != (height, width):  # a side that is no multiple of the stride
            crop = ((0, above.shape[1] - height), (0, above.shape[2] - width))
            above = keras.layers.Cropping2D(
                crop, data_format=CHANNELS_LAST, name=f"pyramid_crop{LEVELS[i]}"
            )(above)
        inner[i] = keras.layers.Add(name=f"pyramid_add{LEVELS[i]}")([inner[i], above])
    levels = [
        _conv(CHANNELS, 3, name=f"pyramid_outer{level}")(x)
        for level, x in zip(LEVELS, inner, strict=False)
    ]
    levels.append(_conv(CHANNELS, 3, 2, name="pyramid_outer6")(stages[-1]))
    x = keras.layers.Activation("relu", name="pyramid_act6")(levels[-1])
    return [*levels, _conv(CHANNELS, 3, 2, name="pyramid_outer7")(x)]


def _conv(filters, size, strides=1, *, name, **settings):
    return keras.layers.Conv2D(
        filters, size, strides, "same", data_format=CHANNELS_LAST,
        **{"kernel_initializer": "he_normal", **settings}, name=name,
    )  # fmt: skip


def _head(levels, values, bias, name):
    """The outputs (batch, anchors, values) of one head for all levels, whose layers they share."""
    layers = []
    for i in range(1, DEPTH + 1):
        layers += [
            _conv(CHANNELS, 3, use_bias=False, name=f"{name}_conv{i}"),
            keras.layers.GroupNormalization(GROUPS, epsilon=1e-5, name=f"{name}_norm{i}"),
            keras.layers.Activation("relu", name=f"{name}_act{i}"),
        ]
    small = keras.initializers.RandomNormal(stddev=0.01)
    settings = {"kernel_initializer": small, "bias_initializer": bias, "dtype": at_least_float32()}
    layers.append(_conv(PER_CELL * values, 3, **settings, name=f"{name}_output"))
    outputs = []
    for level, x in zip(LEVELS, levels, strict=True):
        for layer in layers:
            x = layer(x)
        outputs.append(keras.layers.Reshape((-1, values), name=f"{name}_flat{level}")(x))
    return keras.layers.Concatenate(axis=1, dtype=at_least_float32(), name=name)(outputs)


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
    """Focal loss of the classes: a weighted sum for each image, then the mean.

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
