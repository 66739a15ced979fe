"""Weights between PyTorch checkpoints and the networks here."""

import dataclasses
import os
from collections.abc import Mapping

import keras
import numpy as np

from keras_wrn.models.announce import unannounced
from keras_wrn.models.catalog import create_model, model_info, split_tag
from keras_wrn.weights.files import WeightsError, read_state_dict, unwrap, write_state_dict
from keras_wrn.weights.layouts import LAYOUTS, parse
from keras_wrn.weights.sources import weights_info

# The order of a tensor's axes there and here, by their number.
TO_TORCH = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}
TO_KERAS = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}


def load_torch_weights(model, path_or_state_dict, layout="auto"):
    """Give a network the weights of a PyTorch checkpoint.

    | layout        | networks                                                          |
    |---------------|-------------------------------------------------------------------|
    | "torchvision" | WRN-50-2, WRN-101-2 and ResNet-18/34 of torchvision and timm      |
    | "mmpretrain"  | the same of mmpretrain                                            |
    | "mmrazor"     | the CIFAR networks of mmrazor                                     |
    | "xternalz"    | xternalz' WideResNet-pytorch, AugMix, TRADES, RobustBench         |
    | "functional"  | the authors' own PyTorch code                                     |
    | "deepmind"    | DeepMind's; needs a model built with `strided_padding="tf"` and,  |
    |               | as published, `activation="silu"`                                 |

    Every tensor has to find its place. When one does not, the model is left as it was.

    Args:
        model: a network of this package, built.
        path_or_state_dict: the path of a `.safetensors`, `.pth` or `.pt` file (see
            `read_state_dict`), or a dict from name to array or tensor.
        layout: str of the table, or "auto" to tell by the names.

    Returns:
        dict of `layout` (str) and `ignored`, a sorted list of the names of tensors that no network
        here has a use for (counters of batches, and the classifier when the model has none).

    Raises:
        FileNotFoundError: no such file.
        WeightsError: (a ValueError) a damaged file, an unknown layout, or tensors that are
            missing, left over, of another shape or not finite, all of them listed.

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
        state = unwrap(dict(path_or_state_dict))
    else:
        state = read_state_dict(os.fspath(path_or_state_dict))
    layout = _find_layout(state, layout)
    wanted = _tensors(model, layout)
    _check_padding(model, layout)
    classifier = layout.names["predictions"] + "."
    has_top = any(parse(layer.name)[0] == "predictions" for layer in model.layers)
    ignored = {
        name
        for name in state
        if layout.ignores(name) or (not has_top and name.startswith(classifier))
    }
    shapes = {name: _torch_shape(variable) for name, variable in wanted.items()}
    missing = sorted(set(wanted) - set(state))
    unexpected = sorted(set(state) - set(wanted) - ignored)
    misshapen = [
        f"{name}: {tuple(state[name].shape)} in the checkpoint, {shapes[name]} in the model"
        for name in sorted(set(wanted) & set(state))
        if tuple(state[name].shape) != shapes[name]
    ]
    infinite = [name for name in wanted if name in state and not np.isfinite(state[name]).all()]
    if missing or unexpected or misshapen or infinite:
        lines = [
            f"The checkpoint is not of the model {model.name!r}: it is {describe(state, layout)}."
        ]
        for title, names in (
            ("missing in the checkpoint", missing),
            ("not of the model", unexpected),
            ("of another shape", misshapen),
            ("with NaN or infinite values", infinite),
        ):
            if names:
                lines.append(f"{len(names)} tensors {title}: {', '.join(names)}.")
        raise WeightsError("\n".join(lines))
    for name, variable in wanted.items():
        variable.assign(_to_keras(state[name]))
    return {"layout": layout.name, "ignored": sorted(ignored)}


def save_torch_weights(model, path, layout="auto"):
    """Write the weights of a network as a `.safetensors` file with the names of a layout.

    Args:
        model: a network of this package, built.
        path: the file to make; it ends in `.safetensors`. One that is there is not replaced.
        layout: str, of the table in `load_torch_weights`; "auto" for "torchvision", or "xternalz"
            for a CIFAR network.

    Returns:
        The name of the layout.

    Raises:
        WeightsError: (a ValueError) an unknown layout, or one of the other family of networks.
        FileExistsError: there is something at `path`.

    Example:

    ```python
    model = keras_wrn.WideResNet(16, 2)
    keras_wrn.save_torch_weights(model, "wrn_16_2.safetensors", "xternalz")
    ```
    """
    if layout == "auto":
        layout = "torchvision" if _family(model) == "imagenet" else "xternalz"
    layout = _layout(layout)
    _check_padding(model, layout)
    state = {}
    for name, variable in _tensors(model, layout).items():
        value = keras.ops.convert_to_numpy(variable)
        state[name] = value.transpose(TO_TORCH[value.ndim])
    write_state_dict(state, path)
    return layout.name


def from_checkpoint(path, name, layout="auto", *, activation=None, preprocessing=None):
    """Build the network of a name with the classes of a checkpoint, and load it.

    Args:
        path: the checkpoint; see `read_state_dict`.
        name: str, a name of the catalogue, such as "wide_resnet50_2". With the tag of published
            weights after a dot, or mmpretrain's name of them, the model gets their preprocessing.
        layout: as for `load_torch_weights`.
        activation: str, the name of the activation; None for the layout's: "silu" (Swish) for
            "deepmind", as its published networks have, "relu" for the others. No tensor tells.
        preprocessing: `Preprocessing` that becomes the model's own. None for that of the tag.
            DeepMind's files hold a mean and deviation, which take the place of its own.

    Returns:
        The model, and the name of the layout.

    Raises:
        ValueError: an unknown name, or what `load_torch_weights` raises.

    Example:

    ```python
    model, layout = keras_wrn.weights.from_checkpoint("wrn_28_10.pt", "wrn_28_10")
    ```
    """
    name, tag = split_tag(name)
    model_info(name)
    if tag and preprocessing is None:
        preprocessing = weights_info(name, tag).preprocessing
    state = read_state_dict(path)
    layout = _find_layout(state, layout)
    classifier = state.get(layout.tensor("predictions"))
    settings = {"include_top": False} if classifier is None else {"classes": len(classifier)}
    with unannounced():
        model = create_model(
            name,
            strided_padding=layout.strided_padding,
            activation=activation or layout.activation,
            **settings,
        )
    load_torch_weights(model, state, layout.name)
    if preprocessing is not None:
        inputs = {
            key: tuple(state[key].ravel().tolist()) for key in ("mean", "std") if key in state
        }
        if len(inputs.get("mean", ())) == len(inputs.get("std", ())) == 3:
            preprocessing = dataclasses.replace(preprocessing, **inputs)
        if classifier is None or len(preprocessing.class_names) != len(classifier):
            preprocessing = dataclasses.replace(preprocessing, class_names=())
        model.preprocessing = preprocessing
    return model, layout.name


def describe(state, layout):
    """Which network a checkpoint is of, in words such as "wrn_28_10 with 10 classes"."""
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


def _layout(name):
    if name not in LAYOUTS:
        raise WeightsError(f"`layout` should be one of {sorted(LAYOUTS)}. Received: {name!r}")
    return LAYOUTS[name]


def _find_layout(state, name):
    if name != "auto":
        layout = _layout(name)
        if not layout.owns(state):
            raise WeightsError(
                f"Expected names of the layout {name!r}, such as {layout.tensor('conv')!r}. "
                f"Received: {', '.join(sorted(state)[:5])}, ..."
            )
        return layout
    for layout in LAYOUTS.values():
        if layout.owns(state):
            return layout
    raise WeightsError(
        f"Expected the names of one of the layouts {sorted(LAYOUTS)}. Received: "
        f"{len(state)} tensors, such as {', '.join(sorted(state)[:5])}"
    )


def _tensors(model, layout):
    """The model's variables by their names in the layout."""
    family = _family(model)
    if family != layout.family:
        raise WeightsError(
            f"The layout {layout.name!r} is of the networks of the {layout.family} family. "
            f"Received: the model {model.name!r} of the {family} family"
        )
    found = {}
    for layer in model.layers:
        kind, group, block, number = parse(layer.name)
        for variable in layer.weights:
            if kind not in layout.names:
                raise WeightsError(
                    f"The layer {layer.name!r} has no name in the layout {layout.name!r}: expected "
                    f"a network of this package. Received: the model {model.name!r}"
                )
            name = layout.tensor(kind, variable.name, group, block, number)
            found[name] = variable
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
