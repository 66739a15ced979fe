"""The thin ResNets for small images that the paper compares with (He et al. 2015 and 2016)."""

from keras_wrn.checks import is_int
from keras_wrn.models.blocks import post_activation_block, pre_activation_block
from keras_wrn.models.ends import (
    check_options,
    check_rate,
    finish,
    head,
    image_input,
    normalized,
)
from keras_wrn.models.image_model import allow_depth
from keras_wrn.models.layers import FAN_OUT, activate, batch_norm, conv

FILTERS = 16, 32, 64
SHAPE = (32, 32, 3)
MIN_SIZE = 4
BOTTLENECKS = 164  # the least pre-activation depth that has them


def thin_resnet(
    depth, *, bottleneck=None, pre_activation=True, stochastic_depth=0.0, include_top=True,
    input_tensor=None, input_shape=SHAPE, pooling=None, classes=10,
    classifier_activation="softmax", activation="relu", strided_padding="torch", name=None,
    normalization=None,
):  # fmt: skip
    """Build a thin ResNet with random weights: see `keras_wrn.PreActResNet` for the arguments.

    Args:
        pre_activation: bool; False for the original blocks, whose last activation follows the sum.
        normalization: as for `ends.normalized`.
    """
    usual = pre_activation and is_int(depth) and depth >= BOTTLENECKS
    bottleneck = usual if bottleneck is None else bottleneck
    count = _blocks_per_group(depth, bottleneck)
    allow_depth(4 * depth)
    drop_rate = check_rate("stochastic_depth", stochastic_depth)
    check_options(classes, pooling, strided_padding, include_top)
    inputs = image_input(input_tensor, input_shape, MIN_SIZE, SHAPE, include_top)
    x, preprocessing = normalized(inputs, normalization)
    x = conv(x, FILTERS[0], 3, initializer=FAN_OUT, name="conv1")
    if not pre_activation:
        x = batch_norm(x, name="bn1")
        x = activate(x, activation, name="act1")
    for group, filters in enumerate(FILTERS, start=1):
        for index in range(1, count + 1):
            settings = {
                "convs": _convs(filters, bottleneck),
                "strides": 2 if group > 1 and index == 1 else 1,
                "activation": activation,
                "strided_padding": strided_padding,
                "drop_rate": drop_rate * ((group - 1) * count + index) / (3 * count),
                "padded": not bottleneck,
                "initializer": FAN_OUT,
                "name": f"group{group}_block{index}",
            }
            if pre_activation:
                first = index == 1
                x = pre_activation_block(x, gamma_initializer="ones", shared=first, **settings)
            else:
                x = post_activation_block(x, **settings)
    if pre_activation:
        x = batch_norm(x, name="bn_final")
        x = activate(x, activation, name="act_final")
    outputs = head(x, include_top, pooling, classes, classifier_activation)
    own = thin_name(depth, pre_activation)
    if bottleneck != usual:
        own += "_bottleneck" if bottleneck else "_basic"
    name = name or own
    return finish(inputs, outputs, input_tensor, name, preprocessing)


def thin_name(depth, pre_activation):
    """The name of a network of the family."""
    return f"preact_resnet_{depth}" if pre_activation else f"resnet_{depth}"


def _convs(filters, bottleneck):
    """The (kernel size, filters) of a block's convolutions."""
    if bottleneck:
        return [(1, filters), (3, filters), (1, 4 * filters)]
    return [(3, filters)] * 2


def _blocks_per_group(depth, bottleneck):
    convs = 9 if bottleneck else 6
    if not is_int(depth) or depth < convs + 2 or (depth - 2) % convs:
        examples = "11, 20, 164, 1001" if bottleneck else "8, 20, 110, 1202"
        kind = "with" if bottleneck else "without"
        raise ValueError(
            f"`depth` should be an integer {convs} N + 2 with N >= 1 ({examples}) {kind} "
            f"bottlenecks. Received: depth={depth!r}, bottleneck={bottleneck!r}"
        )
    return (int(depth) - 2) // convs
