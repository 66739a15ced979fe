"""Reuse of a trained network's parts: feature maps, a new classifier."""

import dataclasses

import keras

from keras_wrn.catalog.announce import announce_features
from keras_wrn.catalog.opening import load_model
from keras_wrn.checks import is_int
from keras_wrn.models.ends import check_classes
from keras_wrn.models.image_model import ImageModel
from keras_wrn.models.layers import classifier
from keras_wrn.models.stages import below, check_stages, copied, stage_outputs


@keras.saving.register_keras_serializable("keras_wrn")
class FeatureModel(ImageModel):
    """A model from images to a dictionary of feature maps; see `feature_extractor`."""

    @property
    def feature_info(self):
        """dict from an output's name to its `channels` and `stride` in image pixels."""
        stem = 2 if any(layer.name == "bn1" for layer in self.layers) else 1
        info = {}
        for name, output in self.output.items():
            stage = 0 if name == "stem" else int(name.removeprefix("stage"))
            stride = stem if not stage else stem**2 * 2 ** (stage - 1)
            info[name] = {"channels": output.shape[-1], "stride": stride}
        return info


keras.saving.get_custom_objects()["FeatureModel"] = FeatureModel  # in `.h5` files; see ImageModel


def feature_extractor(model_or_name, stages=(2, 3), activated=False):
    """Return the part of a network that computes the feature maps of some stages.

    | stage | WRN-50-2: channels, stride | WRN-28-10 | raw output of                 |
    |-------|----------------------------|-----------|-------------------------------|
    | 0     | 64, 2                      | 16, 1     | the stem                      |
    | 1     | 256, 4                     | 160, 1    | `stage1` or `group1`          |
    | 2     | 512, 8                     | 320, 2    | `stage2` or `group2`          |
    | 3     | 1024, 16                   | 640, 4    | `stage3` or `group3`          |
    | 4     | 2048, 32                   |           | `stage4`                      |

    Args:
        model_or_name: a network of this package, or what `keras_wrn.load_model` takes for
            one: a path, or the name of a network with published weights. Of the ImageNet weights
            tv_in1k are the usual ones for features; with others, one line says so.
        stages: ints from the table, in any order.
        activated: bool. In the CIFAR family a stage ends in a bare sum; with True, the next batch
            norm and activation are applied to it. The ImageNet family's stages end in an
            activation, so it makes no difference there.

    Returns:
        A `keras.Model` from images (batch, height, width, channels) as the network takes them to a
        dict such as {"stage2": (batch, height / 8, width / 8, 512), ...}; stage 0 is "stem". It
        shares its layers with the network, has its `preprocessing`, and `feature_info`, a dict
        from output to its `channels` and `stride`.

    Raises:
        ValueError: no such model, or no such stage in it.

    Source: stages as in torchvision's `layer1` to `layer4`. Stages 2 and 3 of WRN-50-2 are what
    PatchCore uses, https://arxiv.org/abs/2106.08265.

    Example:

    ```python
    extractor = keras_wrn.feature_extractor(keras_wrn.WideResNet50_2())   # or a name with weights
    extractor.feature_info["stage2"]   # {"channels": 512, "stride": 8}
    maps = extractor(np.zeros((1, 224, 224, 3), "float32"))
    maps["stage3"].shape   # (1, 14, 14, 1024)
    ```
    """
    announce_features(model_or_name)
    model = load_model(model_or_name)
    tensors = stage_outputs(model, activated)
    stages = tuple(stages) if isinstance(stages, tuple | list | range) else (stages,)
    unknown = [s for s in stages if s not in tensors or not is_int(s)]
    if unknown or not stages or len(set(stages)) < len(stages):
        raise ValueError(
            f"`stages` should be different ones of {sorted(tensors)}, the stages of "
            f"{model.name!r}. Received: stages={stages!r}"
        )
    outputs = {"stem" if s == 0 else f"stage{s}": tensors[s] for s in stages}
    extractor = FeatureModel(model.inputs[0], outputs, name=f"{model.name}_features")
    extractor.preprocessing = getattr(model, "preprocessing", None)
    return extractor


def reset_classifier(
    model, classes, *, class_names=(), frozen_stages=0, classifier_activation="softmax", name=None,
    share_layers=False,
):  # fmt: skip
    """Give a network a new, random classifier for other classes, or remove its classifier.

    The new network has its own weights: training it leaves the given one unchanged.

    Args:
        model: a network of this package, with or without its classifier, or what
            `keras_wrn.load_model` takes for one.
        classes: int, the number of classes. With 0 there is no classifier, and the network ends in
            the pooled features (batch, channels), as in timm.
        class_names: names of the classes in the order of the outputs, or none. They go into the new
            model's `preprocessing`, so the given model must have one.
        frozen_stages: int, how many stages to freeze, along with the stem; see
            `keras_wrn.models.freeze_stages`. Layers that are already frozen stay frozen.
        classifier_activation: str or None; None returns the logits.
        name: str, the new model's name; None for that of the given one.
        share_layers: bool, whether the layers below the classifier are the given model's own
            instead of copies. The given model then trains, freezes and unfreezes with the new one.

    Returns:
        A functional `keras.Model` with the preprocessing of the given one.

    Raises:
        ValueError: the model is not a network of this package, or an argument is out of range.

    Example:

    ```python
    model = keras_wrn.create_model("wrn_16_2.cifar10")
    mine = keras_wrn.reset_classifier(model, 3, frozen_stages=1)
    multipliers = {"group2": 0.1, "group3": 0.3}
    mine.compile(keras_wrn.SGD(0.01, lr_multipliers=multipliers), "categorical_crossentropy")
    ```
    """
    if not is_int(classes) or classes != 0:
        check_classes(classes)
    model = load_model(model)
    class_names = tuple(class_names)
    preprocessing = getattr(model, "preprocessing", None)
    if class_names and preprocessing is None:
        raise ValueError(
            f"`class_names` are kept in a model's preprocessing. Set `model.preprocessing` first. "
            f"Received: {model.name!r} without any"
        )
    if class_names and len(class_names) != classes:
        raise ValueError(
            f"`class_names` should be {classes} names, or none. Received: {len(class_names)} names"
        )
    check_stages(model, frozen_stages)
    names = [layer.name for layer in model.layers]
    features = model.get_layer("predictions").input if "predictions" in names else model.output
    trunk = keras.Model(model.inputs[0], features)
    if not share_layers:
        trunk = copied(trunk)
    for layer in trunk.layers:
        if below(layer, frozen_stages, trunk):
            layer.trainable = False
    features = trunk.output
    if len(features.shape) == 4:
        pool = keras.layers.GlobalAveragePooling2D(data_format="channels_last", name="avg_pool")
        features = pool(features)
    outputs = classifier(features, classes, classifier_activation) if classes else features
    new = ImageModel(trunk.inputs[0], outputs, name=name or model.name)
    if preprocessing is not None:
        new.preprocessing = dataclasses.replace(preprocessing, class_names=class_names)
    return new
