"""Networks by name."""

import fnmatch

from keras_wrn.catalog.names import CATALOG, model_info, split_tag
from keras_wrn.catalog.sources import published, weights_info
from keras_wrn.catalog.starting import start


def list_models(pattern: str = "*", pretrained: bool = False) -> list[str]:
    """Return the catalogue names that match a shell pattern, sorted.

    Args:
        pattern: str, such as "wrn_28_*".
        pretrained: bool, list published weights instead: names with a tag after a dot.

    Example:

    ```python
    keras_wrn.list_models("wrn_16_*")   # ['wrn_16_1', 'wrn_16_10', 'wrn_16_2', ...]
    keras_wrn.list_models("wide_resnet101_2", pretrained=True)
    # ['wide_resnet101_2.tv2_in1k', 'wide_resnet101_2.tv_in1k']
    ```
    """
    if pretrained:
        return published(pattern)
    return sorted(fnmatch.filter(CATALOG, pattern))


def create_model(name: str, *, pretrained: bool = False, **overrides):
    """Build a network by its name in the catalogue.

    Its weights are random, unless the name has a tag or `pretrained` or `weights` says otherwise.
    By contrast, whatever takes a trained model (`inference_model`, `evaluate`, `feature_extractor`,
    the command line) reads a name without a tag as its default published weights. The network takes
    normalised images, `model.preprocessing.normalize(pixels)`; with `include_preprocessing=True`,
    pixels in 0..255.

    Args:
        name: str, one of `list_models()`, or wrn_{depth}_{width} of any size. With a tag after a
            dot, one of `list_models(pretrained=True)`, it has those published weights; mmpretrain's
            names for such weights work too.
        pretrained: bool, whether to load the network's default weights for a name without a tag.
        **overrides: arguments of the network's builder that differ from the catalogue's.

    Returns:
        A functional `keras.Model`; see `keras_wrn.WideResNet` and `keras_wrn.WideResNet50_2`. With
        published weights it has their `preprocessing`.

    Raises:
        ValueError: an unknown name or tag, an argument that cannot be built, or `pretrained` for a
            network without published weights.
        OSError: the published file cannot be downloaded; the message says what to do.

    Example:

    ```python
    model = keras_wrn.create_model("wrn_16_4", classes=100, dropout=0.3)
    model = keras_wrn.create_model("wrn_16_2.cifar10")
    ```
    """
    model, tag = split_tag(name)
    info = model_info(model)
    if (tag or pretrained) and "weights" in overrides:
        raise ValueError(
            f"Expected a name without a tag, and no `pretrained`, to go with `weights`. Received: "
            f"{name!r}, pretrained={pretrained}, weights={overrides['weights']!r}"
        )
    arguments = {**info.arguments, **overrides}
    if tag or pretrained:
        weights = weights_info(name)
        arguments["weights"] = weights.tag
        arguments.setdefault("classes", len(weights.class_names))
    return start(info.family, **arguments)
