"""What a WRN is. Keras only, on any of its backends."""

from keras_wrn.models.catalog import create_model, list_models, model_info
from keras_wrn.models.complexity import count_macs
from keras_wrn.models.image_model import ImageModel
from keras_wrn.models.layers import BatchNormalization
from keras_wrn.models.wide_resnet import WideResNet

__all__ = [
    "BatchNormalization",
    "ImageModel",
    "WideResNet",
    "count_macs",
    "create_model",
    "list_models",
    "model_info",
]
