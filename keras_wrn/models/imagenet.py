"""The ImageNet family: WRN-18 and WRN-34 of any width, WRN-50-2 and WRN-101-2."""

import keras

from keras_wrn.models.blocks import post_activation_block
from keras_wrn.models.ends import (
    check_options,
    check_width,
    finish,
    head,
    image_input,
    normalized,
)
from keras_wrn.models.layers import activate, batch_norm, conv, pad

STEM = 64
MIN_SIZE = 32
SHAPE = (224, 224, 3)


def _bottleneck(width, stage):
    """The (kernel size, filters) of a block's convolutions."""
    inner, outer = round(64 * width) * 2**stage, 256 * 2**stage
    return [(1, inner), (3, inner), (1, outer)]


def _basic(width, stage):
    return [(3, round(64 * 2**stage * width))] * 2


DEPTHS = {
    18: (_basic, (2, 2, 2, 2)),
    34: (_basic, (3, 4, 6, 3)),
    50: (_bottleneck, (3, 4, 6, 3)),
    101: (_bottleneck, (3, 4, 23, 3)),
}


def imagenet_resnet(
    depth, width, *, include_top=True, input_tensor=None, input_shape=SHAPE, pooling=None,
    classes=1000, classifier_activation="softmax", activation="relu", strided_padding="torch",
    name=None, normalization=None,
):  # fmt: skip
    """Build a network of the family with random weights.

    Args:
        depth: int, a key of `DEPTHS`.
        width: float, the paper's k.
        normalization: as for `ends.normalized`.

    The other arguments are those of `keras_wrn.WideResNet50_2`.
    """
    check_width(width, STEM)
    if depth not in DEPTHS:
        depths = ", ".join(map(str, DEPTHS))
        raise ValueError(f"`depth` should be one of {depths}. Received: depth={depth!r}")
    block, num_blocks = DEPTHS[depth]
    check_options(classes, pooling, strided_padding, include_top)
    inputs = image_input(input_tensor, input_shape, MIN_SIZE, SHAPE, include_top)
    x, preprocessing = normalized(inputs, normalization)
    x = conv(x, STEM, 7, 2, strided_padding, name="conv1")
    x = batch_norm(x, name="bn1")
    x = activate(x, activation, name="act1")
    torch = strided_padding == "torch"
    x = pad(x, 1, "pool_pad") if torch else x
    x = keras.layers.MaxPooling2D(
        3, 2, "valid" if torch else "same", data_format="channels_last", name="pool"
    )(x)
    for stage, count in enumerate(num_blocks):
        for index in range(count):
            x = post_activation_block(
                x,
                block(width, stage),
                strides=2 if stage and not index else 1,
                activation=activation,
                strided_padding=strided_padding,
                name=f"stage{stage + 1}_block{index + 1}",
            )
    outputs = head(x, include_top, pooling, classes, classifier_activation)
    return finish(inputs, outputs, input_tensor, name or resnet_name(depth, width), preprocessing)


def resnet_name(depth, width):
    """The name of a network of the family."""
    check_width(width, STEM)
    return f"wide_resnet{depth}_{width:g}"
