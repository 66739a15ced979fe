"""The networks as users build them, with any weights."""

import keras

from keras_wrn.catalog.names import CIFAR, IMAGENET, THIN
from keras_wrn.catalog.starting import start
from keras_wrn.models import imagenet, thin_resnet, wide_resnet


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
    input_shape: tuple | None = wide_resnet.SHAPE,
    pooling: str | None = None,
    classes: int = 10,
    classifier_activation: str | None = "softmax",
    activation: str = "relu",
    strided_padding: str = "torch",
    name: str | None = None,
    include_preprocessing: bool = False,
) -> keras.Model:
    """Build WRN-n-k, the paper's pre-activation network for small images.

    It takes normalised images, `model.preprocessing.normalize(pixels)`; with
    `include_preprocessing=True`, pixels in 0..255. Weights are random unless `weights` is given.

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
        dropout: float in [0, 1), the rate before every convolution of a block except the first.
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
            any size. None means (32, 32, 3), or without the top any size.
        pooling: without the top only: None, "avg" or "max".
        classes: int, the number of classes.
        classifier_activation: str or None; None returns the logits.
        activation: str, the name of the activation in the blocks, such as "relu", "silu" or, with
            its negative slope, "leaky_relu:0.1".
        strided_padding: "torch" pads (1, 1) before a stride-2 3x3 convolution, as every published
            WRN was trained; "tf" is TensorFlow's `same`.
        name: str, the model's name; "wrn_{depth}_{width}" when None.
        include_preprocessing: bool, whether the network normalises its own inputs and takes pixels
            in 0..255: with the mean and standard deviation of the `weights`, or else those of
            CIFAR.

    Returns:
        A functional `keras.Model` from (batch, height, width, channels) to (batch, classes).

    Raises:
        ValueError: an argument that cannot be built; the message says what was expected and
            what was received.

    Source: https://arxiv.org/abs/1605.07146 and the authors' models/wide-resnet.lua: dropout and
    shortcuts as there, gamma drawn from U(0, 1), no bias in convolutions.

    Example:

    ```python
    model = keras_wrn.WideResNet(28, 10, dropout=0.3, classes=100)
    model.count_params()   # 36,554,836 with the moving statistics; 36,536,884 trainable
    ```
    """
    return start(CIFAR, **locals())


def PreActResNet(
    depth: int = 164,
    bottleneck: bool | None = None,
    stochastic_depth: float = 0.0,
    *,
    include_top: bool = True,
    weights=None,
    input_tensor=None,
    input_shape: tuple | None = thin_resnet.SHAPE,
    pooling: str | None = None,
    classes: int = 10,
    classifier_activation: str | None = "softmax",
    activation: str = "relu",
    strided_padding: str = "torch",
    name: str | None = None,
    include_preprocessing: bool = False,
) -> keras.Model:
    """Build a thin pre-activation ResNet for small images, such as ResNet-110, -164 and -1001.

    These are the networks that the paper makes wider and shallower. It takes normalised images, or
    pixels with `include_preprocessing=True`. Weights are random unless `weights` is given.

    | group  | output size | with bottlenecks                  | without               |
    |--------|-------------|-----------------------------------|-----------------------|
    | conv1  | 32 x 32     | 3x3, 16                           | 3x3, 16               |
    | group1 | 32 x 32     | N blocks of 1x1, 16; 3x3; 1x1, 64 | N blocks of 3x3 x2, 16|
    | group2 | 16 x 16     | N blocks of 32, 32, 128           | N blocks of 32        |
    | group3 | 8 x 8       | N blocks of 64, 64, 256           | N blocks of 64        |
    |        | 1 x 1       | BN-ReLU, average pool, FC         | the same              |

    The first BN-ReLU of each group is shared by the branch and the shortcut. The block's first
    convolution has the stride. Where the shape changes, the shortcut is a 1x1 convolution with
    bottlenecks, and else every second pixel and channels of zeros.

    Args:
        depth: int, 9 N + 2 with bottlenecks, 6 N + 2 without.
        bottleneck: bool, None for bottlenecks from ResNet-164 on.
        stochastic_depth: float in [0, 1), the probability that a batch of training images skips
            the last block; it rises linearly from the first block on. 0.5 in its paper.

    The other arguments, result and errors are those of `WideResNet`.

    Source: He et al. 2016, https://arxiv.org/abs/1603.05027, and its code, resnet-pre-act.lua:
    kernels drawn from N(0, 2 / fan-out), gamma 1; for the basic blocks, fb.resnet.torch.

    Example:

    ```python
    model = keras_wrn.PreActResNet(164)
    sum(w.size for w in map(np.array, model.trainable_weights))   # 1,703,258
    ```
    """
    return start(THIN, pre_activation=True, **locals())


def ResNet(
    depth: int = 110,
    stochastic_depth: float = 0.0,
    *,
    include_top: bool = True,
    weights=None,
    input_tensor=None,
    input_shape: tuple | None = thin_resnet.SHAPE,
    pooling: str | None = None,
    classes: int = 10,
    classifier_activation: str | None = "softmax",
    activation: str = "relu",
    strided_padding: str = "torch",
    name: str | None = None,
    include_preprocessing: bool = False,
) -> keras.Model:
    """Build an original thin ResNet for small images, such as ResNet-110 and -1202.

    Groups as in `PreActResNet` without bottlenecks, but BN and ReLU follow each convolution, and
    the block's last ReLU follows its sum. It takes normalised images, or pixels with
    `include_preprocessing=True`.

    Args:
        depth: int, 6 N + 2.
        stochastic_depth: float in [0, 1), as for `PreActResNet`.

    The other arguments, result and errors are those of `WideResNet`.

    Source: He et al. 2015, https://arxiv.org/abs/1512.03385, with option A for shortcuts, and Huang
    et al. 2016, https://arxiv.org/abs/1603.09382.

    Example:

    ```python
    model = keras_wrn.ResNet(20, stochastic_depth=0.5, classes=100)
    model.output_shape   # (None, 100)
    ```
    """
    return start(THIN, pre_activation=False, **locals())


def WideResNet50_2(
    include_top: bool = True,
    weights=None,
    input_tensor=None,
    input_shape: tuple | None = imagenet.SHAPE,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    activation: str = "relu",
    strided_padding: str = "torch",
    name: str | None = None,
    include_preprocessing: bool = False,
) -> keras.Model:
    """Build WRN-50-2: ResNet-50 with twice the channels in the 3x3 convolution of every block.

    It takes normalised images, `model.preprocessing.normalize(pixels)` or
    `keras_wrn.preprocess_input(pixels)`; with `include_preprocessing=True`, pixels in 0..255.
    Weights are random unless `weights` is given.

    | stage  | output size | layers                                                    |
    |--------|-------------|-----------------------------------------------------------|
    | conv1  | 112 x 112   | 7x7, 64, stride 2                                         |
    | pool   | 56 x 56     | 3x3 max pool, stride 2                                    |
    | stage1 | 56 x 56     | 3 blocks of 1x1, 128; 3x3, 128; 1x1, 256                  |
    | stage2 | 28 x 28     | 4 blocks of 256, 256, 512                                 |
    | stage3 | 14 x 14     | 6 blocks of 512, 512, 1024                                |
    | stage4 | 7 x 7       | 3 blocks of 1024, 1024, 2048                              |
    |        | 1 x 1       | average pool, FC                                          |

    BN and ReLU follow every convolution, but a block's last ReLU follows its sum. The 3x3 has the
    stride.

    Args:
        include_top: bool, whether to end in the classifier. Without it the model ends in stage 4,
            (batch, height / 32, width / 32, 2048), or what `pooling` makes of it.
        weights: None for random weights; "imagenet" or another tag of published weights (see
            `keras_wrn.list_models(pretrained=True)`), which come with their `preprocessing`; or
            the path of a weights file (`.weights.h5`, `.weights.json` or `.keras`) of the same
            network.
        input_tensor: Keras tensor to use as the input, or None.
        input_shape: (height, width, channels). Height and width are at least 32, or None for any
            size. None means (224, 224, 3), or without the top any size.
        pooling: without the top only: None, "avg" or "max".
        classes: int, the number of classes.
        classifier_activation: str or None; None returns the logits.
        activation: str, the name of the activation, such as "relu" or "leaky_relu:0.1".
        strided_padding: "torch" pads evenly before a strided convolution and the pool, as every
            published network was trained; "tf" is TensorFlow's `same`.
        name: str, the model's name; "wide_resnet50_2" when None.
        include_preprocessing: bool, whether the network normalises its own inputs and takes pixels
            in 0..255: with the mean and standard deviation of the `weights`, or else those of
            ImageNet.

    Returns:
        A functional `keras.Model` from (batch, height, width, channels) to (batch, classes).

    Raises:
        ValueError: an argument that cannot be built; the message says what was expected and
            what was received.

    Source: https://arxiv.org/abs/1605.07146, Table 8, and the authors' pretrained/wide-resnet.lua.

    Example:

    ```python
    model = keras_wrn.WideResNet50_2(classes=10)
    model.output_shape   # (None, 10)
    ```
    """
    return start(IMAGENET, depth=50, width=2, **locals())


def WideResNet101_2(
    include_top: bool = True,
    weights=None,
    input_tensor=None,
    input_shape: tuple | None = imagenet.SHAPE,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    activation: str = "relu",
    strided_padding: str = "torch",
    name: str | None = None,
    include_preprocessing: bool = False,
) -> keras.Model:
    """Build WRN-101-2: WRN-50-2 with 23 blocks in stage 3.

    It takes normalised images, or pixels with `include_preprocessing=True`. Arguments, result and
    errors are those of `WideResNet50_2`.

    Example:

    ```python
    trunk = keras_wrn.WideResNet101_2(include_top=False, input_shape=(64, 64, 3))
    trunk.output_shape   # (None, 2, 2, 2048)
    ```
    """
    return start(IMAGENET, depth=101, width=2, **locals())


def WideResNet18(
    width: float = 1.0,
    include_top: bool = True,
    weights=None,
    input_tensor=None,
    input_shape: tuple | None = imagenet.SHAPE,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    activation: str = "relu",
    strided_padding: str = "torch",
    name: str | None = None,
    include_preprocessing: bool = False,
) -> keras.Model:
    """Build WRN-18-k, ResNet-18 with k times the channels in every block (the paper's Table 7).

    It takes normalised images, or pixels with `include_preprocessing=True`.

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
    return start(IMAGENET, depth=18, **locals())


def WideResNet34(
    width: float = 1.0,
    include_top: bool = True,
    weights=None,
    input_tensor=None,
    input_shape: tuple | None = imagenet.SHAPE,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    activation: str = "relu",
    strided_padding: str = "torch",
    name: str | None = None,
    include_preprocessing: bool = False,
) -> keras.Model:
    """Build WRN-34-k: WRN-18-k with 3, 4, 6 and 3 blocks in its stages (the paper's Table 7).

    It takes normalised images, or pixels with `include_preprocessing=True`. Arguments, result and
    errors are those of `WideResNet18`.

    Example:

    ```python
    model = keras_wrn.WideResNet34(2, include_top=False, pooling="avg")
    model.output_shape   # (None, 1024)
    ```
    """
    return start(IMAGENET, depth=34, **locals())
