"""The ImageNet family: WRN-18 and WRN-34 of any width, WRN-50-2 and WRN-101-2."""

import keras

from keras_wrn.data.datasets import IMAGENET_MEAN, IMAGENET_STD
from keras_wrn.data.preprocess import Preprocessing
from keras_wrn.models.announce import announce_random
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


def WideResNet50_2(
    include_top: bool = True,
    weights=None,
    input_tensor=None,
    input_shape: tuple | None = SHAPE,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    activation: str = "relu",
    strided_padding: str = "torch",
    name: str | None = None,
    include_preprocessing: bool = False,
) -> keras.Model:
    """Build WRN-50-2: ResNet-50 with twice the channels in the 3x3 convolution of every block.

    It takes images that were normalised, `model.preprocessing.normalize(pixels)` or
    `keras_wrn.preprocess_input(pixels)`; pixels of 0..255 themselves with
    `include_preprocessing=True`. Weights are random unless `weights` says which.

    | stage  | output size | layers                                                    |
    |--------|-------------|-----------------------------------------------------------|
    | conv1  | 112 x 112   | 7x7, 64, stride 2                                         |
    | pool   | 56 x 56     | 3x3 max pool, stride 2                                    |
    | stage1 | 56 x 56     | 3 blocks of 1x1, 128; 3x3, 128; 1x1, 256                  |
    | stage2 | 28 x 28     | 4 blocks of 256, 256, 512                                 |
    | stage3 | 14 x 14     | 6 blocks of 512, 512, 1024                                |
    | stage4 | 7 x 7       | 3 blocks of 1024, 1024, 2048                              |
    |        | 1 x 1       | average pool, FC                                          |

    BN and ReLU follow every convolution, and a block's last ReLU its sum. The 3x3 has the stride.

    Args:
        include_top: bool, whether to end in the classifier. Without it the model ends in stage 4,
            (batch, height / 32, width / 32, 2048), or what `pooling` makes of it.
        weights: None for random weights; "imagenet" or another tag of published weights (see
            `keras_wrn.list_models(pretrained=True)`), which come with their `preprocessing`; or
            the path of a weights file (`.weights.h5`, `.weights.json` or `.keras`) of the same
            network.
        input_tensor: Keras tensor to use as the input, or None.
        input_shape: (height, width, channels). Height and width are at least 32, or None for any
            size. None for (224, 224, 3), and without the top for any size.
        pooling: without the top only: None, "avg" or "max".
        classes: int, the number of classes.
        classifier_activation: str or None; None returns the logits.
        activation: str, the name of the activation, such as "relu" or "leaky_relu:0.1".
        strided_padding: "torch" pads evenly before a strided convolution and the pool, as every
            published network was trained; "tf" is TensorFlow's `same`.
        name: str, the model's name; "wide_resnet50_2" when None.
        include_preprocessing: bool, whether the network normalises by itself and takes pixels of
            0..255: with the mean and deviation of the `weights`, or else those of ImageNet.

    Returns:
        A functional `keras.Model` from (batch, height, width, channels) to (batch, classes).

    Raises:
        ValueError: an argument that cannot be built; the message says what was expected, what
            came, and the nearest valid value.

    Source: https://arxiv.org/abs/1605.07146, Table 8, and the authors' pretrained/wide-resnet.lua.

    Example:

    ```python
    model = keras_wrn.WideResNet50_2(classes=10)
    model.output_shape   # (None, 10)
    ```
    """
    return _build(
        "wide_resnet50_2", _bottleneck, (3, 4, 6, 3), 2,
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation,
        activation, strided_padding, name, include_preprocessing,
    )  # fmt: skip


def WideResNet101_2(
    include_top: bool = True,
    weights=None,
    input_tensor=None,
    input_shape: tuple | None = SHAPE,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    activation: str = "relu",
    strided_padding: str = "torch",
    name: str | None = None,
    include_preprocessing: bool = False,
) -> keras.Model:
    """Build WRN-101-2: WRN-50-2 with 23 blocks in stage 3.

    It takes images that were normalised, or pixels with `include_preprocessing=True`. Arguments,
    result and errors are those of `WideResNet50_2`.

    Example:

    ```python
    trunk = keras_wrn.WideResNet101_2(include_top=False, input_shape=(64, 64, 3))
    trunk.output_shape   # (None, 2, 2, 2048)
    ```
    """
    return _build(
        "wide_resnet101_2", _bottleneck, (3, 4, 23, 3), 2,
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation,
        activation, strided_padding, name, include_preprocessing,
    )  # fmt: skip


def WideResNet18(
    width: float = 1.0,
    include_top: bool = True,
    weights=None,
    input_tensor=None,
    input_shape: tuple | None = SHAPE,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    activation: str = "relu",
    strided_padding: str = "torch",
    name: str | None = None,
    include_preprocessing: bool = False,
) -> keras.Model:
    """Build WRN-18-k, ResNet-18 with k times the channels in every block (the paper's Table 7).

    It takes images that were normalised, or pixels with `include_preprocessing=True`.

    Four stages of 2 blocks of two 3x3 convolutions, with 64 k, 128 k, 256 k and 512 k channels.
    The stem keeps its 64.

    Args:
        width: float, the paper's k.

    The other arguments, result and errors are those of `WideResNet50_2`.

    Example:

    ```python
    model = keras_wrn.WideResNet18(1.5)
    model.name   # "wide_resnet18_1.5"
    ```
    """
    check_width(width, STEM)
    return _build(
        f"wide_resnet18_{width:g}", _basic, (2, 2, 2, 2), width,
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation,
        activation, strided_padding, name, include_preprocessing,
    )  # fmt: skip


def WideResNet34(
    width: float = 1.0,
    include_top: bool = True,
    weights=None,
    input_tensor=None,
    input_shape: tuple | None = SHAPE,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    activation: str = "relu",
    strided_padding: str = "torch",
    name: str | None = None,
    include_preprocessing: bool = False,
) -> keras.Model:
    """Build WRN-34-k: WRN-18-k with 3, 4, 6 and 3 blocks in its stages (the paper's Table 7).

    It takes images that were normalised, or pixels with `include_preprocessing=True`. Arguments,
    result and errors are those of `WideResNet18`.

    Example:

    ```python
    model = keras_wrn.WideResNet34(2, include_top=False, pooling="avg")
    model.output_shape   # (None, 1024)
    ```
    """
    check_width(width, STEM)
    return _build(
        f"wide_resnet34_{width:g}", _basic, (3, 4, 6, 3), width,
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation,
        activation, strided_padding, name, include_preprocessing,
    )  # fmt: skip


def _bottleneck(width, stage):
    """The (kernel size, filters) of a block's convolutions."""
    inner, outer = round(64 * width) * 2**stage, 256 * 2**stage
    return [(1, inner), (3, inner), (1, outer)]


def _basic(width, stage):
    return [(3, round(64 * 2**stage * width))] * 2


def _build(
    default_name, block, num_blocks, width, include_top, weights, input_tensor, input_shape,
    pooling, classes, classifier_activation, activation, strided_padding, name,
    include_preprocessing,
):  # fmt: skip
    check_options(classes, pooling, strided_padding, include_top)
    inputs = image_input(input_tensor, input_shape, MIN_SIZE, SHAPE, include_top)
    default = Preprocessing(SHAPE[0], mean=IMAGENET_MEAN, std=IMAGENET_STD)
    x, preprocessing = normalized(inputs, include_preprocessing, weights, default_name, default)
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
    if weights is None and torch and activation == "relu":
        announce_random(default_name)
    return finish(inputs, outputs, input_tensor, weights, name, default_name, preprocessing)
