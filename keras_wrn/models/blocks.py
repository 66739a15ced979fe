"""Residual blocks with any convolutions: the paper's pre-activation one, and the ImageNet one."""

import re

import keras

from keras_wrn.models.layers import Dropout, activate, batch_norm, conv

PAPER_BLOCKS = ("B33", "B31", "B13", "B311", "B131", "B313")


def parse_block(block):
    """Return the kernel sizes of a block type: "B313" -> (3, 1, 3).

    Args:
        block: str, the paper's B(3,1,3) written "B313": B, then one digit, 1 or 3, for each
            convolution.

    Raises:
        ValueError: anything else.
    """
    if isinstance(block, str) and re.fullmatch("B[13]+", block):
        return tuple(int(digit) for digit in block[1:])
    raise ValueError(
        "`block` should be 'B' followed by the kernel size, 1 or 3, of each convolution, such as "
        f"{', '.join(PAPER_BLOCKS)}. Received: block={block!r}"
    )


def pre_activation_block(
    x, convs, strides, dropout, activation, strided_padding, gamma_initializer, *, name
):
    """Add one block of the CIFAR family to x (batch, height, width, channels).

    Each convolution follows a BN and an activation, and all but the first also a dropout. The first
    convolution has the stride. When channels or size change, the first BN-activation is shared: the
    branch and a bare 1x1 shortcut both read it. Otherwise the shortcut is x itself, raw.

    Args:
        x: Keras tensor.
        convs: list of (kernel size, filters).
        strides: int.
        dropout: float in [0, 1).
        activation, strided_padding: as for `keras_wrn.WideResNet`.
        gamma_initializer: of the batch norms.
        name: str, the prefix of the layers' names.
    """
    shortcut, outer = x, convs[-1][1]
    for i, (kernel_size, filters) in enumerate(convs, start=1):
        changes = i == 1 and (x.shape[-1] != outer or strides != 1)
        x = batch_norm(x, gamma_initializer, name=f"{name}_bn{i}")
        x = activate(x, activation, name=f"{name}_act{i}")
        if changes:
            shortcut = conv(x, outer, 1, strides, name=f"{name}_shortcut")
        if i > 1 and dropout:
            x = Dropout(dropout, name=f"{name}_dropout{i}")(x)
        x = conv(
            x, filters, kernel_size, strides if i == 1 else 1, strided_padding,
            name=f"{name}_conv{i}",
        )  # fmt: skip
    return keras.layers.Add(name=f"{name}_add")([shortcut, x])


def post_activation_block(x, convs, strides, activation, strided_padding, *, name):
    """Add one block of the ImageNet family to x (batch, height, width, channels).

    Every convolution is followed by a BN, and the activation comes after the sum. The first 3x3
    has the stride. When the shape changes, the shortcut is a 1x1 convolution and a BN.

    Args:
        x: Keras tensor.
        convs: list of (kernel size, filters).
        strides, activation, strided_padding, name: as for `pre_activation_block`.
    """
    shortcut, strided = x, [size for size, _ in convs].index(3)
    if strides != 1 or x.shape[-1] != convs[-1][1]:
        shortcut = conv(x, convs[-1][1], 1, strides, name=f"{name}_shortcut")
        shortcut = batch_norm(shortcut, name=f"{name}_shortcut_bn")
    for i, (kernel_size, filters) in enumerate(convs):
        if i:
            x = activate(x, activation, name=f"{name}_act{i}")
        x = conv(
            x, filters, kernel_size, strides if i == strided else 1, strided_padding,
            name=f"{name}_conv{i + 1}",
        )  # fmt: skip
        x = batch_norm(x, name=f"{name}_bn{i + 1}")
    x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return activate(x, activation, name=f"{name}_act{len(convs)}")
