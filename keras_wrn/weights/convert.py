"""Converts weights between PyTorch checkpoints and the networks here."""

import os
from collections.abc import Mapping

import keras
import numpy as np

from keras_wrn.errors import WeightsError
from keras_wrn.models.layer_names import parse
from keras_wrn.weights.choosing import choose
from keras_wrn.weights.files import OTHERWISE, among, read_checkpoint, write_state_dict
from keras_wrn.weights.layouts import TORCH
from keras_wrn.weights.naming import find_layout, input_constants, layout_of
from keras_wrn.weights.reading import reading

# The order of a tensor's axes there and here, by the number of axes.
TO_TORCH = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}
TO_KERAS = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}


def load_torch_weights(model, path_or_state_dict, layout="auto", *, weights=None):
    """Load the weights of a PyTorch checkpoint into a network.

    | layout        | networks                                                          |
    |---------------|-------------------------------------------------------------------|
    | "torchvision" | WRN-50-2, WRN-101-2 and ResNet-18/34 of torchvision and timm      |
    | "mmpretrain"  | the same of mmpretrain                                            |
    | "mmrazor"     | the CIFAR networks of mmrazor                                     |
    | "xternalz"    | xternalz' WideResNet-pytorch, AugMix, TRADES, RobustBench         |
    | "functional"  | the authors' own PyTorch code                                     |
    | "deepmind"    | DeepMind's; needs a model built with `strided_padding="tf"` and,  |
    |               | as published, `activation="silu"`                                 |

    Every tensor must find its place. If one does not, the model is left unchanged. The names do not
    tell the activation or what the shortcuts read: see docs/checkpoints.md.

    Args:
        model: a network of this package, built.
        path_or_state_dict: the path of a safetensors or PyTorch file (see `read_state_dict`), or a
            dict from name to array or tensor.
        layout: str from the table, or "auto" to tell it from the names.
        weights: str, the key of the weights to take if there are several, such as "model"; None
            prefers averaged ones.

    Returns:
        dict of `layout` (str) and `ignored`, a sorted list of the names of tensors that no network
        here uses (batch counters, the input constants, and the classifier if the model has none).
        If there were several sets of weights, also `taken` (str), the key of those that were taken,
        and `others`, the list of the other keys.

    Raises:
        OSError: no such file, or no permission to read it.
        WeightsError: (a ValueError) a damaged file, an unknown layout, or tensors that are
            missing, left over, of the wrong shape or not finite; the message lists them all.

    Source: the names of torchvision, timm, mmpretrain and mmrazor; and of
    https://github.com/xternalz/WideResNet-pytorch,
    https://github.com/szagoruyko/wide-residual-networks,
    https://github.com/google-deepmind/deepmind-research.

    Example:

    ```python
    model = keras_wrn.WideResNet50_2(classifier_activation=None)
    keras_wrn.load_torch_weights(model, "wide_resnet50_2.pth")["layout"]   # "torchvision"
    ```
    """
    if isinstance(path_or_state_dict, Mapping):
        state, taken, others = choose(dict(path_or_state_dict), weights=weights)
        result = assign(model, state, layout, among("The checkpoint", taken, others))
    else:
        path = os.fspath(path_or_state_dict)
        state, taken, others = read_checkpoint(path, weights)
        with reading(path, OTHERWISE):
            result = assign(model, state, layout, among(path, taken, others))
    return result | ({"taken": taken, "others": list(others)} if others else {})


def assign(model, state, layout="auto", what="The checkpoint"):
    """Load the tensors of a state dict into a network; see `load_torch_weights`."""
    layout, state = find_layout(state, layout)
    wanted = _tensors(model, layout)
    for layer, _ in wanted.values():
        if getattr(layer, "lora_enabled", False):
            raise WeightsError(
                f"The layer {layer.name!r} has LoRA, which would be added to the weights: load "
                "them first, and enable LoRA then."
            )
    _check_padding(model, layout)
    classifier = layout.names["predictions"] + "."
    has_top = any(parse(layer.name)[0] == "predictions" for layer in model.layers)
    constants, _ = input_constants(state)
    ignored = {
        name
        for name in state
        if layout.ignores(name)
        or name in constants
        or (not has_top and name.startswith(classifier))
    }
    shapes = {name: _torch_shape(variable) for name, (_, variable) in wanted.items()}
    missing = sorted(set(wanted) - set(state))
    unexpected = sorted(set(state) - set(wanted) - ignored)
    fitting = [n for n in wanted if n in state and tuple(state[n].shape) == shapes[n]]
    misshapen = [
        f"{name}: {tuple(state[name].shape)} in the checkpoint, {shapes[name]} in the model"
        for name in sorted((set(wanted) & set(state)).difference(fitting))
    ]
    infinite = [name for name in fitting if not np.isfinite(state[name]).all()]
    if missing or unexpected or misshapen or infinite:
        lines = [f"{what} is not of the model {model.name!r}: it is {describe(state, layout)}."]
        for title, names in (
            ("missing in the checkpoint", missing),
            ("not of the model", unexpected),
            ("of another shape", misshapen),
            ("with NaN or infinite values", infinite),
        ):
            if names:
                lines.append(f"{len(names)} tensors {title}: {', '.join(names)}.")
        raise WeightsError("\n".join(lines))
    for name, (_, variable) in wanted.items():
        variable.assign(_to_keras(state[name]))
    return {"layout": layout.name, "ignored": sorted(ignored)}


def save_torch_weights(model, path, layout="auto"):
    """Write a network's weights to a `.safetensors` file with the names of a layout.

    LoRA weights are added to the kernels that have them.

    Args:
        model: a network of this package, built.
        path: the file to write; it ends in `.safetensors`. An existing file is not replaced.
        layout: str, from the table in `load_torch_weights`; "auto" for "torchvision", or "xternalz"
            for a CIFAR network.

    Returns:
        The name of the layout.

    Raises:
        WeightsError: (a ValueError) an unknown layout, or one for the other family of networks.
        FileExistsError: something is at `path` already.

    Example:

    ```python
    model = keras_wrn.WideResNet(16, 2)
    keras_wrn.save_torch_weights(model, "wrn_16_2.safetensors", "xternalz")
    ```
    """
    if layout == "auto":
        layout = "torchvision" if _family(model) == "imagenet" else "xternalz"
    layout = layout_of(layout)
    _check_padding(model, layout)
    state = {}
    for name, (layer, variable) in _tensors(model, layout).items():
        # Through the attribute, which adds LoRA's part to a kernel.
        value = keras.ops.convert_to_numpy(getattr(layer, variable.name))
        state[name] = value.transpose(TO_TORCH[value.ndim])
    write_state_dict(state, path)
    return layout.name


def describe(state, layout):
    """Which network a checkpoint is for, in words such as "wrn_28_10 with 10 classes"."""
    groups = []
    for g in range(1, 5):
        blocks = 0
        while layout.tensor("conv", g=g, b=blocks + 1) in state:
            blocks += 1
        groups += [blocks] if blocks else []
    convs = 0
    while layout.tensor("conv", i=convs + 1) in state:
        convs += 1
    if not convs:
        return "of a network without its first block"
    sizes = [np.shape(state[layout.tensor("conv", i=i)])[:1] for i in (1, convs)]
    if not all(sizes):
        return "of a network whose convolutions have no shape"
    channels = sizes[1][0]
    classifier = layout.tensor("predictions")
    classes = np.shape(state.get(classifier, ()))[:1]
    top = f"{classes[0]} classes" if classes else "no classifier"
    if layout.family == "cifar":
        block = "" if convs == 2 else f", blocks of {convs} convolutions"
        return f"wrn_{6 * groups[0] + 4}_{channels / 16:g}{block}, with {top}"
    inner = state[layout.tensor("conv")].shape[0]
    depths = {"2222": "18", "3463": "34" if convs == 2 else "50", "34233": "101"}
    depth = depths.get("".join(map(str, groups)), f" of {groups} blocks ")
    return f"wide_resnet{depth}_{inner / 64:g}, with {top}"


def _tensors(model, layout):
    """The model's layers and variables by their names in the layout."""
    family = _family(model)
    if family != layout.family:
        raise WeightsError(
            f"The layout {layout.name!r} is of the networks of the {layout.family} family. "
            f"Received: the model {model.name!r} of the {family} family"
        )
    found = {}
    for layer in model.layers:
        kind, group, block, number = parse(layer.name)
        lora = getattr(layer, "lora_enabled", False)
        for variable in layer.weights:
            if lora and variable.name.startswith("lora_"):
                continue
            if kind not in layout.names or variable.name not in TORCH:
                raise WeightsError(
                    f"The layer {layer.name!r} has no name in the layout {layout.name!r} for its "
                    f"{variable.name}: expected a network of this package. Received: the model "
                    f"{model.name!r}"
                )
            name = layout.tensor(kind, variable.name, group or 1, block or 1, number)
            found[name] = layer, variable
    return found


def _family(model):
    return "imagenet" if any(x.name.startswith("stage") for x in model.layers) else "cifar"


def _check_padding(model, layout):
    strided = [
        layer.padding
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
        and layer.strides != (1, 1)
        and layer.kernel_size != (1, 1)
    ]
    for padding in strided[:1]:
        built_with = "torch" if padding == "valid" else "tf"
        if built_with != layout.strided_padding:
            raise WeightsError(
                f"The networks of the layout {layout.name!r} need a model built with "
                f"`strided_padding={layout.strided_padding!r}`. Received: a model with "
                f"strided_padding={built_with!r}"
            )


def _torch_shape(variable):
    shape = tuple(variable.shape)
    return tuple(shape[axis] for axis in TO_TORCH[len(shape)])


def _to_keras(array):
    return np.asarray(array).transpose(TO_KERAS[array.ndim])
