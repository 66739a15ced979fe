"""Weights from elsewhere, and to there."""

from keras_wrn.weights.building import from_checkpoint
from keras_wrn.weights.convert import load_torch_weights, save_torch_weights
from keras_wrn.weights.errors import WeightsError
from keras_wrn.weights.fetch import DownloadError, load_published
from keras_wrn.weights.files import read_state_dict
from keras_wrn.weights.opening import load_model
from keras_wrn.weights.sources import PublishedWeights, weights_info

__all__ = [
    "DownloadError",
    "PublishedWeights",
    "WeightsError",
    "from_checkpoint",
    "load_model",
    "load_published",
    "load_torch_weights",
    "read_state_dict",
    "save_torch_weights",
    "weights_info",
]
