"""What a network costs."""

import math

import keras


def count_macs(model, trained_only: bool = False) -> int:
    """Multiply-accumulates for one image in the model's convolutions and dense layers.

    Args:
        model: a built functional `keras.Model` with a fixed input size, such as
            `keras_wrn.WideResNet(16, 2)`.
        trained_only: bool, whether frozen layers are left out.

    Raises:
        ValueError: the model takes images of any size.

    Example:

    ```python
    keras_wrn.models.count_macs(keras_wrn.WideResNet(28, 10))   # 5243328768
    ```
    """
    if None in model.input_shape[1:]:
        raise ValueError(
            f"Expected a model with a fixed input size. Received: {model.input_shape[1:]}"
        )
    total = 0
    for layer, output in _calls(model):
        if trained_only and not layer.trainable:
            continue
        if isinstance(layer, keras.layers.Conv2D):
            total += math.prod(output.shape[1:3]) * math.prod(layer.kernel.shape)
        elif isinstance(layer, keras.layers.Dense):
            total += math.prod(layer.kernel.shape)
    return total


def _calls(model):
    """Each layer with its output, once for each time that the model calls it."""
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs, model.outputs)
    for nodes in model._nodes_by_depth.values():
        for node in nodes:
            yield node.operation, node.outputs[0]
