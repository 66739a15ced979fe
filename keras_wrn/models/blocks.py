"""Residual blocks with any convolutions: the paper's pre-activation one, and the ImageNet one."""

import re

import keras

from keras_wrn.models.layers import (
    CONV_INITIALIZER,
    Dropout,
    PaddedShortcut,
    StochasticDepth,
    activate,
    batch_norm,
    conv,
)

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
    x, convs, strides, activation, strided_padding, gamma_initializer, *, name, dropout=0.0,
    drop_rate=0.0, shared=False, padded=False, initializer=CONV_INITIALIZER,
):  # fmt: skip
    """Add one block of the CIFAR family to x (batch, height, width, channels).

    Each convolution follows a BN and an activation, and all but the first also a dropout. The first
    convolution has the stride. When channels or size change, the first BN-activation is shared: the
    branch and a bare 1x1 shortcut both read it. Otherwise the shortcut is x itself, raw.

    Args:
        x: Keras tensor.
        convs: list of (kernel size, filters).
        strides: int.
        activation, strided_padding: as for `keras_wrn.WideResNet`.
        gamma_initializer: of the batch norms.
        name: str, the prefix of the layers' names.
        dropout: float in [0, 1).
        drop_rate: float in [0, 1), of stochastic depth.
        shared: bool, whether the shortcut reads the first BN-activation in any case.
        padded: bool, whether the shortcut pads with zeros where it changes, and has no convolution.
        initializer: of the convolutions.
    """
    shortcut, outer = x, convs[-1][1]
    changes = x.shape[-1] != outer or strides != 1
    for i, (kernel_size, filters) in enumerate(convs, start=1):
        x = batch_norm(x, gamma_initializer, name=f"{name}_bn{i}")
        x = activate(x, activation, name=f"{name}_act{i}")
        if i == 1 and (shared or changes):
            shortcut = x
            if changes:
                shortcut = _shortcut(x, outer, strides, padded, initializer, name)
        if i > 1 and dropout:
            x = Dropout(dropout, name=f"{name}_dropout{i}")(x)
        x = conv(
            x, filters, kernel_size, strides if i == 1 else 1, strided_padding, initializer,
            name=f"{name}_conv{i}",
        )  # fmt: skip
    return _sum(shortcut, x, drop_rate, name)


def _shortcut(x, filters, strides, padded, initializer, name):
    if padded:
        return PaddedShortcut(filters, strides, name=f"{name}_shortcut")(x)
    return conv(x, filters, 1, strides, initializer=initializer, name=f"{name}_shortcut")


def _sum(shortcut, x, drop_rate, name):
    if drop_rate:
        x = StochasticDepth(drop_rate, name=f"{name}_stochastic_depth")(x)
    return keras.layers.Add(name=f"{name}_add")([shortcut, x])


def post_activation_block(
    x, convs, strides, activation, strided_padding, *, name, drop_rate=0.0, padded=False,
    initializer=CONV_INITIALIZER,
):  # fmt: skip
    """Add one block of the ImageNet family to x (batch, height, width, channels).

    Every convolution is followed by a BN, and the activation comes after the sum. The first 3x3
    has the stride. When the shape changes, the shortcut is a 1x1 convolution and a BN, or with
    `padded` has no parameters.

    Args:
        x: Keras tensor.
        convs: list of (kernel size, filters).
        strides, activation, strided_padding, name, drop_rate, padded, initializer: as for
            `pre_activation_block`.
    """
    shortcut, strided = x, [size for size, _ in convs].index(3)
    if strides != 1 or x.shape[-1] != convs[-1][1]:
        shortcut = _shortcut(x, convs[-1][1], strides, padded, initializer, name)
        if not padded:
            shortcut = batch_norm(shortcut, name=f"{name}_shortcut_bn")
    for i, (kernel_size, filters) in enumerate(convs):
        if i:
            x = activate(x, activation, name=f"{name}_act{i}")
        x = conv(
            x, filters, kernel_size, strides if i == strided else 1, strided_padding,
            initializer, name=f"{name}_conv{i + 1}",
        )  # fmt: skip
        x = batch_norm(x, name=f"{name}_bn{i + 1}")
    x = _sum(shortcut, x, drop_rate, name)
    return activate(x, activation, name=f"{name}_act{len(convs)}")
