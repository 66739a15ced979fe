"""From the settings of a recipe to the model."""

import keras

from keras_wrn.anomaly.model import AnomalyModel
from keras_wrn.anomaly.padim import PaDiM
from keras_wrn.anomaly.patchcore import PatchCore
from keras_wrn.anomaly.recipe import AnomalyConfig
from keras_wrn.catalog.names import build, split_tag
from keras_wrn.catalog.sources import weights_info


def build_model(config: AnomalyConfig, seed=0, name=None) -> AnomalyModel:
    """The `PatchCore` or `PaDiM` of some settings, not fitted.

    Args:
        config: `AnomalyConfig`.
        seed: int.
        name: str, the model's name, or None.

    Raises:
        ValueError: the network is unknown, or a setting does not fit it.
    """
    network = _untrained(config.model, seed) if config.untrained else config.model
    settings = {
        "stages": config.stages or None,
        "image_size": config.image_size,
        "top_share": config.top_share,
        "smoothing": config.smoothing,
        "seed": seed,
        "name": name,
    }
    if config.method == "padim":
        return PaDiM(network, features=config.features, **settings)
    return PatchCore(network, coreset=config.coreset, neighbours=config.neighbours, **settings)


def _untrained(name, seed):
    """A network by its name, of random weights, with the preprocessing of its published ones."""
    preprocessing = weights_info(name).preprocessing
    keras.utils.set_random_seed(seed)
    network = build(split_tag(name)[0])
    network.preprocessing = preprocessing
    return network
