"""A checkpoint's tensors by the names of one layout, whatever prefixes those names have."""

import numpy as np

from keras_wrn.errors import WeightsError
from keras_wrn.weights.layouts import LAYOUTS

HEADS = ("fc", "linear", "output", "classifier", "head", "logits", "predictions")
CONSTANTS = (("mean", "std"), ("mu", "sigma"))  # what the input is normalised with


def layout_of(name):
    """Return a layout by name."""
    if name not in LAYOUTS:
        raise WeightsError(f"`layout` should be one of {sorted(LAYOUTS)}. Received: {name!r}")
    return LAYOUTS[name]


def find_layout(state, name="auto"):
    """The layout of a state dict, and the state dict with the names of that layout.

    A prefix of all the network's names ("1.", "encoder.", "backbone.") is removed, and a classifier
    with another common name ("linear", "output") gets the layout's.

    Raises:
        WeightsError: the names fit no layout, or another one, or are those of several networks.
    """
    layouts = list(LAYOUTS.values()) if name == "auto" else [layout_of(name)]
    for layout in layouts:
        if layout.owns(state):
            return layout, _with_head(state, layout)
    for layout in layouts:
        found = {prefix: _without(state, prefix) for prefix in _prefixes(state, layout)}
        found = {prefix: inner for prefix, inner in found.items() if layout.owns(inner)}
        if len(found) > 1:
            raise WeightsError(
                f"Expected the tensors of one network. Received: those of {len(found)}, whose "
                f"names begin with {', '.join(map(repr, sorted(found)))}"
            )
        for inner in found.values():
            return layout, _with_head(inner, layout)
    some = f"{len(state)} tensors, such as {', '.join(sorted(state)[:5])}"
    if name == "auto":
        raise WeightsError(
            f"Expected the names of one of the layouts {sorted(LAYOUTS)}. Received: {some}"
        )
    raise WeightsError(
        f"Expected names of the layout {name!r}, such as {layouts[0].tensor('conv')!r}. "
        f"Received: {some}"
    )


def input_constants(state):
    """The names and values of the buffers that a checkpoint's network normalises its input with.

    Returns:
        The set of their names; and (mean, std), two tuples with one number per channel, for pixels
        in 0..1, or None if there are no such buffers.
    """
    for name in sorted(state):
        *path, last = name.split(".")
        for first, second in CONSTANTS:
            other = ".".join([*path, second])
            if last != first or other not in state:
                continue
            mean, std = (np.asarray(state[x], "float64").ravel() for x in (name, other))
            if len(mean) == len(std) and len(mean) in (1, 3):
                scale = 255 if mean.max() > 1 else 1  # for pixels in 0..255
                return {name, other}, tuple(tuple((x / scale).tolist()) for x in (mean, std))
    return set(), None


def _prefixes(state, layout):
    stem = layout.tensor("conv1")
    return sorted({name.removesuffix(stem) for name in state if name.endswith(f".{stem}")}, key=len)


def _without(state, prefix):
    inner = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    outside = {k: v for k, v in state.items() if not k.startswith(prefix)}
    return {} if inner.keys() & outside.keys() else inner | outside


def _with_head(state, layout):
    """The state dict with its classifier renamed to the layout's name, if it has another."""
    head = layout.names["predictions"]
    if f"{head}.weight" in state:
        return state
    found = [
        module
        for module, _, tensor in (name.rpartition(".") for name in state)
        if tensor == "weight"
        and module.split(".")[-1] in HEADS
        and len(np.shape(state[f"{module}.weight"])) == 2
    ]
    if len(found) != 1:
        return state
    renamed = {f"{found[0]}.{part}": f"{head}.{part}" for part in ("weight", "bias")}
    return {renamed.get(name, name): value for name, value in state.items()}
