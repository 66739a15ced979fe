"""What a WRN is. Keras only, on any of its backends."""

from keras_wrn.models.catalog import create_model, list_models, model_info
from keras_wrn.models.complexity import count_macs
from keras_wrn.models.convolution import Conv2D
from keras_wrn.models.image_model import ImageModel
from keras_wrn.models.imagenet import (
    WideResNet18,
    WideResNet34,
    WideResNet50_2,
    WideResNet101_2,
)
from keras_wrn.models.layers import BatchNormalization, Dropout
from keras_wrn.models.normalization import Normalization
from keras_wrn.models.transfer import feature_extractor, freeze_stages, reset_classifier
from keras_wrn.models.wide_resnet import WideResNet

__all__ = [
    "BatchNormalization",
    "Conv2D",
    "Dropout",
    "ImageModel",
    "Normalization",
    "WideResNet",
    "WideResNet18",
    "WideResNet34",
    "WideResNet50_2",
    "WideResNet101_2",
    "count_macs",
    "create_model",
    "feature_extractor",
    "freeze_stages",
    "list_models",
    "model_info",
    "reset_classifier",
]
