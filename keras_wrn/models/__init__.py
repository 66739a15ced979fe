"""What a WRN is. Keras only, on any of its backends."""

from keras_wrn.models.complexity import count_macs
from keras_wrn.models.convolution import Conv2D
from keras_wrn.models.image_model import ImageModel
from keras_wrn.models.layers import BatchNormalization, Dropout, PaddedShortcut, StochasticDepth
from keras_wrn.models.normalization import Normalization
from keras_wrn.models.stages import freeze_stages

__all__ = [
    "BatchNormalization",
    "Conv2D",
    "Dropout",
    "ImageModel",
    "Normalization",
    "PaddedShortcut",
    "StochasticDepth",
    "count_macs",
    "freeze_stages",
]
