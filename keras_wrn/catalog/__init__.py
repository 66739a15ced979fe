"""Networks by name, what is known about them, and their published weights."""

from keras_wrn.catalog.building import from_checkpoint
from keras_wrn.catalog.creating import create_model, list_models
from keras_wrn.catalog.fetch import load_published
from keras_wrn.catalog.names import ModelInfo, model_info
from keras_wrn.catalog.networks import (
    PreActResNet,
    ResNet,
    WideResNet,
    WideResNet18,
    WideResNet34,
    WideResNet50_2,
    WideResNet101_2,
)
from keras_wrn.catalog.opening import load_model
from keras_wrn.catalog.sources import PublishedWeights, weights_info
from keras_wrn.catalog.transfer import feature_extractor, reset_classifier
from keras_wrn.errors import DownloadError

__all__ = [
    "DownloadError",
    "ModelInfo",
    "PreActResNet",
    "PublishedWeights",
    "ResNet",
    "WideResNet",
    "WideResNet18",
    "WideResNet34",
    "WideResNet50_2",
    "WideResNet101_2",
    "create_model",
    "feature_extractor",
    "from_checkpoint",
    "list_models",
    "load_model",
    "load_published",
    "model_info",
    "reset_classifier",
    "weights_info",
]
