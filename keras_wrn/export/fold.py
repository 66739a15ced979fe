"""Folds batch norms into the convolutions before them: the same network, with less to compute."""

import keras
import numpy as np

from keras_wrn.errors import ExportError
from keras_wrn.models.convolution import Conv2D


def fold_batch_norm(model):
    """Return a model without the batch norms that directly follow a convolution.

    At inference a batch norm is a scale and an offset for each channel. Both can move into the
    kernel and bias of a convolution that nothing else reads. In a pre-activation network this
    holds for every batch norm of a block but the first, and for the very first of the network if
    its block changes the channels (k > 1). In a post-activation network it holds for all of them.
    A model inside the model stays as it is.

    Args:
        model: a functional `keras.Model`.

    Returns:
        A functional model with the same inputs, outputs and other layers, for inference only: its
        outputs with `training=False` are those of `model` up to rounding. `model` itself when
        there is nothing to fold.

    Raises:
        ExportError: a layer cannot be rebuilt from its configuration.

    Source: Jacob et al. 2018, https://arxiv.org/abs/1712.05877, section 3.2.

    Example:

    ```python
    model = keras_wrn.WideResNet(16, 2)
    folded = keras_wrn.export.fold_batch_norm(model)
    len(model.layers) - len(folded.layers)   # 7, of 13 batch norms
    ```
    """
    config = model.get_config()
    folds = _find_folds(model, config)
    if not folds:
        return model
    for entry in config["layers"]:
        if entry["name"] in folds.values():
            entry["config"]["use_bias"] = True
    config["layers"] = [entry for entry in config["layers"] if entry["name"] not in folds]
    for _, tensor in _tensors(config["layers"]):
        tensor[0] = folds.get(tensor[0], tensor[0])
    try:
        folded = type(model).from_config(config)
    except (TypeError, ValueError, ImportError) as error:
        raise ExportError(
            f"The batch norms of {model.name!r} cannot be folded, because a layer cannot be made "
            f"anew from its configuration; give `fold_batch_norm=False`. {error}"
        ) from error
    norms = {conv: model.get_layer(norm) for norm, conv in folds.items()}
    for layer in folded.layers:
        original = model.get_layer(layer.name)
        if layer.name in norms:
            kernel, bias = _fold(original, norms[layer.name])
            layer.kernel.assign(kernel)
            layer.bias.assign(bias)
            continue
        for variable, value in zip(layer.variables, original.variables, strict=True):
            variable.assign(value)
    return folded


def _fold(conv, norm):
    """Kernel and bias, computed in float64, of a convolution and the batch norm after it."""
    kernel, mean, variance = (
        keras.ops.convert_to_numpy(v).astype("float64")
        for v in (conv.kernel, norm.moving_mean, norm.moving_variance)
    )
    factor = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        factor *= keras.ops.convert_to_numpy(norm.gamma)
    bias = -mean if conv.bias is None else keras.ops.convert_to_numpy(conv.bias) - mean
    bias = bias * factor
    if norm.center:
        bias = bias + keras.ops.convert_to_numpy(norm.beta)
    return kernel * factor, bias


def _find_folds(model, config):
    """The batch norms that can be folded: dict from the layer's name to its convolution's."""
    readers: dict[str, list] = {}
    for reader, (producer, *_) in _tensors(config["layers"]):
        readers.setdefault(producer, []).append(reader)
    outputs = {tensor._keras_history.operation.name for tensor in model.outputs}
    folds = {}
    for entry in config["layers"]:
        name, layer = entry["name"], model.get_layer(entry["name"])
        if not isinstance(layer, keras.layers.BatchNormalization) or name in outputs:
            continue
        sources = [producer for _, (producer, *_) in _tensors([entry])]
        conv = model.get_layer(sources[0])
        if (
            len(sources) == 1
            and readers[conv.name] == [name]
            and conv.name not in outputs
            and len(conv._inbound_nodes) == 1
            and type(conv) in (keras.layers.Conv2D, Conv2D)
            and conv.activation is keras.activations.linear
            and conv.data_format == "channels_last"
            and layer.axis in (-1, 3)
        ):
            folds[name] = conv.name
    return folds


def _tensors(entries):
    """Every tensor that layers read: pairs of the reader's name and [producer, node, index]."""

    def walk(value):
        if isinstance(value, dict):
            if "keras_history" in value:
                yield value["keras_history"]
            for part in value.values():
                yield from walk(part)
        elif isinstance(value, list | tuple):
            for part in value:
                yield from walk(part)

    for entry in entries:
        for tensor in walk(entry["inbound_nodes"]):
            yield entry["name"], tensor
