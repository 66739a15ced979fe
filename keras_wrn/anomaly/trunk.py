"""The part of a network whose features show what is odd in a photo."""

import dataclasses
from collections.abc import Callable

from keras_wrn.catalog.opening import load_model
from keras_wrn.catalog.transfer import feature_extractor
from keras_wrn.models.stages import copied, stage_outputs


@dataclasses.dataclass(frozen=True)
class Usual:
    """What suits a family of networks.

    Args:
        image_size: int, height and width of the photos in pixels.
        patchcore, padim: tuples of the stages for each method.
        top_share: float, the share of a map whose mean is the score of a photo; 0 for one place.
        features: function from the network to the number of channels that PaDiM chooses.
    """

    image_size: int
    patchcore: tuple[int, ...]
    padim: tuple[int, ...]
    top_share: float
    features: Callable


def _of_bottlenecks(network):
    return 550 if any(layer.name.endswith("_conv3") for layer in network.layers) else 100


IMAGENET = Usual(256, (2, 3), (1, 2, 3), 0.0, _of_bottlenecks)
# These networks see parts of things in small images.
CIFAR = Usual(48, (1, 2, 3), (1, 2, 3), 0.01, lambda network: 100)


def usual(network):
    """The `Usual` settings of a network."""
    return IMAGENET if any(layer.name == "bn1" for layer in network.layers) else CIFAR


def open_trunk(model_or_name, stages, image_size):
    """A `FeatureModel` from normalised images to the maps of some stages, with its own weights.

    Args:
        model_or_name: a network, or what `keras_wrn.load_model` takes for one.
        stages: int or ints.
        image_size: int, height and width of the images.

    Raises:
        ValueError: there is no such network or stage, it cannot take images of that size, has no
            preprocessing, or is not for photos in colour.
    """
    network = load_model(model_or_name)
    stage_outputs(network)
    _check_preprocessing(network)
    if isinstance(stages, tuple | list | range):
        stages = sorted(stages)
    extractor = feature_extractor(copied(network, image_size), stages)
    extractor.preprocessing = dataclasses.replace(
        network.preprocessing, size=image_size, crop=1.0, class_names=()
    )
    return extractor


def own_trunk(extractor):
    """A copy of a `FeatureModel`, after checking that it is for photos of a known size."""
    _check_preprocessing(extractor)
    sides = extractor.inputs[0].shape[1:3]
    if any(side != extractor.preprocessing.size for side in sides):
        raise ValueError(
            f"Expected a feature model for square images of its preprocessing's size, "
            f"{extractor.preprocessing.size}. Received: {extractor.name!r} for {tuple(sides)}"
        )
    preprocessing = extractor.preprocessing
    copy = copied(extractor)
    copy.preprocessing = dataclasses.replace(preprocessing, crop=1.0, class_names=())
    return copy


def _check_preprocessing(network):
    preprocessing = getattr(network, "preprocessing", None)
    if preprocessing is None or preprocessing.channels != 3 or preprocessing.zca is not None:
        kind = "none" if preprocessing is None else f"{preprocessing!r:.200}"
        raise ValueError(
            f"Expected {network.name!r} to have a `preprocessing` for photos in colour, without "
            f"whitening. Received: {kind}"
        )
