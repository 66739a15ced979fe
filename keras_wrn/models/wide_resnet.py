"""The CIFAR family of Wide Residual Networks (Zagoruyko & Komodakis 2016, Table 1)."""

import numbers

import keras

from keras_wrn.checks import is_int
from keras_wrn.data.datasets import CIFAR_MEAN, CIFAR_STD
from keras_wrn.data.preprocess import Preprocessing
from keras_wrn.models.blocks import parse_block, residual_block
from keras_wrn.models.ends import (
    check_options,
    check_width,
    finish,
    head,
    image_input,
    nearest_int,
    normalized,
)
from keras_wrn.models.layers import activate, batch_norm, conv

GROUP_FILTERS = (16, 32, 64)
SHAPE = (32, 32, 3)
MIN_SIZE = 4


def WideResNet(
    depth: int = 28,
    width: float = 10,
    dropout: float = 0.0,
    block: str = "B33",
    *,
    num_blocks: int | None = None,
    include_top: bool = True,
    weights=None,
    input_tensor=None,
    input_shape: tuple | None = SHAPE,
    pooling: str | None = None,
    classes: int = 10,
    classifier_activation: str | None = "softmax",
    activation: str = "relu",
    strided_padding: str = "torch",
    name: str | None = None,
    include_preprocessing: bool = False,
) -> keras.Model:
    """Build WRN-n-k, the paper's pre-activation network for small images.

    It takes images that were normalised, `model.preprocessing.normalize(pixels)`; pixels of 0..255
    themselves with `include_preprocessing=True`. Weights are random unless `weights` says which.

    | group  | output size | layers                    |
    |--------|-------------|---------------------------|
    | conv1  | 32 x 32     | 3x3, 16                   |
    | group1 | 32 x 32     | N blocks, 16 k (conv2)    |
    | group2 | 16 x 16     | N blocks, 32 k (conv3)    |
    | group3 | 8 x 8       | N blocks, 64 k (conv4)    |
    |        | 1 x 1       | BN-ReLU, average pool, FC |

    Args:
        depth: int, the paper's n: 6 N + 4 with N blocks per group, for every block type (as in
            the paper's Table 2). A label only when `num_blocks` is given.
        width: float, the paper's k; a group has `round(base * k)` channels.
        dropout: float in [0, 1), the rate before every convolution of a block but its first.
        block: str, the kernel sizes of a block: "B33" is the paper's B(3,3). Any "B" followed by
            1s and 3s.
        num_blocks: int or None, N itself (as in the paper's Table 3).
        include_top: bool, whether to end in the classifier. Without it the model ends in the
            final BN-ReLU, (batch, height / 4, width / 4, 64 k), or what `pooling` makes of it.
        weights: None for random weights; "cifar10" for those of WRN-16-2 that come with the
            package, or another tag (see `keras_wrn.list_models(pretrained=True)`), with their
            `preprocessing`; or the path of a weights file (`.weights.h5`, `.weights.json` or
            `.keras`) of the same network.
        input_tensor: Keras tensor to use as the input, or None.
        input_shape: (height, width, channels). Height and width are at least 4, or None for
            any size. None for (32, 32, 3), and without the top for any size.
        pooling: without the top only: None, "avg" or "max".
        classes: int, the number of classes.
        classifier_activation: str or None; None returns the logits.
        activation: str, the name of the activation in the blocks, such as "relu", "silu" or, with
            its negative slope, "leaky_relu:0.1".
        strided_padding: "torch" pads (1, 1) before a stride-2 3x3 convolution, as every published
            WRN was trained; "tf" is TensorFlow's `same`.
        name: str, the model's name; "wrn_{depth}_{width}" when None.
        include_preprocessing: bool, whether the network normalises by itself and takes pixels of
            0..255: with the mean and deviation of the `weights`, or else those of CIFAR.

    Returns:
        A functional `keras.Model` from (batch, height, width, channels) to (batch, classes).

    Raises:
        ValueError: an argument that cannot be built; the message says what was expected, what
            came, and the nearest valid value.

    Source: https://arxiv.org/abs/1605.07146 and the authors' models/wide-resnet.lua: dropout and
    shortcuts as there, gamma drawn from U(0, 1), no bias in convolutions.

    Example:

    ```python
    model = keras_wrn.WideResNet(28, 10, dropout=0.3, classes=100)
    model.count_params()   # 36,554,836 with the moving statistics; 36,536,884 trainable
    ```
    """
    kernels = parse_block(block)
    num_blocks = _blocks_per_group(depth, num_blocks)
    filters = _filters(width)
    dropout = _check_dropout(dropout)
    check_options(classes, pooling, strided_padding, include_top)
    inputs = image_input(input_tensor, input_shape, MIN_SIZE, SHAPE, include_top)
    catalogue_name = f"wrn_{depth}_{width:g}"
    default = Preprocessing(SHAPE[0], mean=CIFAR_MEAN, std=CIFAR_STD)
    x, preprocessing = normalized(inputs, include_preprocessing, weights, catalogue_name, default)
    gamma = keras.initializers.RandomUniform(0.0, 1.0)

    x = conv(x, GROUP_FILTERS[0], 3, name="conv1")
    for group, group_filters in enumerate(filters, start=1):
        for index in range(1, num_blocks + 1):
            x = residual_block(
                x,
                group_filters,
                kernels,
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
    return finish(inputs, outputs, input_tensor, weights, name, catalogue_name, preprocessing)


def _blocks_per_group(depth, num_blocks):
    if num_blocks is not None:
        if not is_int(num_blocks) or num_blocks < 1:
            raise ValueError(
                "`num_blocks` should be a positive integer or None. Nearest valid value: "
                f"{nearest_int(num_blocks, 1)}. Received: num_blocks={num_blocks!r}"
            )
        return int(num_blocks)
    if not is_int(depth) or depth < 10 or (depth - 4) % 6:
        nearest = 6 * max(1, round((nearest_int(depth, 10) - 4) / 6)) + 4
        raise ValueError(
            "`depth` should be an integer 6 N + 4 with N >= 1 (10, 16, 22, 28, 40, ...), or give "
            f"`num_blocks`. Nearest valid value: {nearest}. Received: depth={depth!r}"
        )
    return (int(depth) - 4) // 6


def _filters(width):
    check_width(width, GROUP_FILTERS[0])
    return [round(base * width) for base in GROUP_FILTERS]


def _check_dropout(dropout):
    valid = isinstance(dropout, numbers.Real) and not isinstance(dropout, bool)
    if not valid or not 0 <= dropout < 1:
        nearest = 0.9 if valid and dropout >= 1 else 0.0
        raise ValueError(
            "`dropout` should be a rate, 0 <= dropout < 1. Nearest valid value: "
            f"{nearest}. Received: dropout={dropout!r}"
        )
    return float(dropout)
