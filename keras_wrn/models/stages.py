"""The stages of a network: what they end in, freezing them, and copying their weights."""

import keras

from keras_wrn.checks import is_int
from keras_wrn.models.layer_names import parse


def stage_outputs(model, activated=False):
    """The Keras tensors that a network's stages end in, by stage number; 0 is the stem.

    Raises:
        ValueError: the model is not a network of this package.
    """
    names = [layer.name for layer in model.layers]
    last: dict[int, str] = {}  # the last layer of each stage
    for name in names:
        if stage := parse(name)[1]:
            last[stage] = name
    if "conv1" not in names or not last:
        raise ValueError(
            f"Expected a network of this package. Received: {getattr(model, 'name', model)!r}"
        )
    if "bn1" in names:
        last[0] = "act1"
    else:
        last[0] = "conv1"
        if activated:
            following = [*(f"group{group}_block1_act1" for group in sorted(last)[1:]), "act_final"]
            last = dict(zip(sorted(last), following, strict=True))
    return {stage: model.get_layer(name).output for stage, name in last.items()}


def freeze_stages(model, count):
    """Freeze the stem and the first stages of a network, and only those, in place.

    Their batch norms use the moving statistics, in training too, and do not update them. Dropout in
    them, if the network has any, stays on.

    Args:
        model: a network of this package.
        count: int, 0 for none, so that all layers train; 1 for the stem and stage 1, and so on.

    Raises:
        ValueError: the model has fewer stages.

    Example:

    ```python
    model = keras_wrn.WideResNet(16, 2)
    keras_wrn.models.freeze_stages(model, 2)
    model.get_layer("group2_block1_conv1").trainable   # False
    ```
    """
    check_stages(model, count)
    for layer in model.layers:
        layer.trainable = not below(layer, count, model)


def check_stages(model, count):
    stages = max(stage_outputs(model))
    if not is_int(count) or not 0 <= count <= stages:
        raise ValueError(
            f"`frozen_stages` should be in 0..{stages}, the stages of {model.name!r}. "
            f"Received: frozen_stages={count!r}"
        )


def below(layer, count, model):
    """Whether a layer belongs to a model's stem or to one of its first `count` stages."""
    stage = parse(layer.name)[1]
    stem = layer.name in ("conv1", "bn1") and count
    final = layer.name == "bn_final" and count == max(stage_outputs(model))
    return bool(stem or final or 0 < stage <= count)


def copied(model, size=None):
    """A copy of a functional model with its own, equal weights; frozen layers stay frozen.

    With a `size` it is for images of that height and width.
    """
    inputs, given = None, model.inputs[0]
    if size is not None:
        inputs = keras.Input((size, size, given.shape[3]), name=given.name, dtype=given.dtype)
    copy = keras.models.clone_model(model, input_tensors=inputs)
    for variable, value in zip(copy.variables, model.variables, strict=True):
        variable.assign(value)
    return copy


def copy_trunk(source, model):
    """Copy all weights except the classifier's from another network of the same kind.

    Raises:
        ValueError: the networks differ; the message lists how, layer by layer.
    """
    kinds = keras.layers.Conv2D, keras.layers.BatchNormalization, keras.layers.Activation
    theirs = {layer.name: layer for layer in source.layers if isinstance(layer, kinds)}
    ours = {layer.name: layer for layer in model.layers if isinstance(layer, kinds)}
    differing = [
        f"{name} {_described(theirs.get(name))} there, {_described(ours.get(name))} here"
        for name in dict.fromkeys([*ours, *theirs])
        if _described(ours.get(name)) != _described(theirs.get(name))
    ]
    if differing:
        raise ValueError(
            f"Expected weights of the network {model.name!r}. Received: those of {source.name!r}. "
            f"{len(differing)} layers differ: {'; '.join(differing[:5])}"
            f"{'; ...' if len(differing) > 5 else ''}"
        )
    for name, layer in ours.items():
        for variable, value in zip(layer.weights, theirs[name].weights, strict=True):
            variable.assign(keras.ops.convert_to_numpy(value))


def _described(layer):
    """What two layers of the same name must have in common."""
    if layer is None:
        return "absent"
    config = layer.get_config()
    kept = {key: config[key] for key in ("activation", "padding", "strides") if key in config}
    return [tuple(w.shape) for w in layer.weights] + [f"{k}={v!r}" for k, v in kept.items()]
