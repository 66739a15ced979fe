"""The CIFAR family of Wide Residual Networks (Zagoruyko & Komodakis 2016, Table 1)."""

import keras

from keras_wrn.checks import is_int
from keras_wrn.models.blocks import parse_block, pre_activation_block
from keras_wrn.models.ends import (
    check_options,
    check_rate,
    check_width,
    finish,
    head,
    image_input,
    normalized,
)
from keras_wrn.models.layers import activate, batch_norm, conv

GROUP_FILTERS = (16, 32, 64)
SHAPE = (32, 32, 3)
MIN_SIZE = 4


def wide_resnet(
    depth, width, dropout=0.0, block="B33", *, num_blocks=None, include_top=True,
    input_tensor=None, input_shape=SHAPE, pooling=None, classes=10,
    classifier_activation="softmax", activation="relu", strided_padding="torch", name=None,
    normalization=None,
):  # fmt: skip
    """Build WRN-n-k with random weights: see `keras_wrn.WideResNet` for the arguments.

    Args:
        normalization: as for `ends.normalized`.
    """
    kernels = parse_block(block)
    num_blocks = _blocks_per_group(depth, num_blocks)
    filters = _filters(width)
    dropout = check_rate("dropout", dropout)
    check_options(classes, pooling, strided_padding, include_top)
    inputs = image_input(input_tensor, input_shape, MIN_SIZE, SHAPE, include_top)
    x, preprocessing = normalized(inputs, normalization)
    gamma = keras.initializers.RandomUniform(0.0, 1.0)

    x = conv(x, GROUP_FILTERS[0], 3, name="conv1")
    for group, group_filters in enumerate(filters, start=1):
        for index in range(1, num_blocks + 1):
            x = pre_activation_block(
                x,
                [(kernel_size, group_filters) for kernel_size in kernels],
                strides=2 if group > 1 and index == 1 else 1,
                dropout=dropout,
                activation=activation,
                strided_padding=strided_padding,
                gamma_initializer=gamma,
                name=f"group{group}_block{index}",
            )
    x = batch_norm(x, gamma, name="bn_final")
    x = activate(x, activation, name="act_final")
    outputs = head(x, include_top, pooling, classes, classifier_activation)
    return finish(inputs, outputs, input_tensor, name or wrn_name(depth, width), preprocessing)


def wrn_name(depth, width):
    """The name of a network of the family."""
    check_width(width, GROUP_FILTERS[0])
    return f"wrn_{depth}_{width:g}"


def _blocks_per_group(depth, num_blocks):
    if num_blocks is not None:
        if not is_int(num_blocks) or num_blocks < 1:
            raise ValueError(
                "`num_blocks` should be a positive integer or None. "
                f"Received: num_blocks={num_blocks!r}"
            )
        return int(num_blocks)
    if not is_int(depth) or depth < 10 or (depth - 4) % 6:
        raise ValueError(
            "`depth` should be an integer 6 N + 4 with N >= 1 (10, 16, 22, 28, 40, ...), or give "
            f"`num_blocks`. Received: depth={depth!r}"
        )
    return (int(depth) - 4) // 6


def _filters(width):
    check_width(width, GROUP_FILTERS[0])
    return [round(base * width) for base in GROUP_FILTERS]
