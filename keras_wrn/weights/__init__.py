"""Weights from elsewhere, and to there."""

from keras_wrn.weights.convert import from_checkpoint, load_torch_weights, save_torch_weights
from keras_wrn.weights.files import WeightsError, read_state_dict

__all__ = [
    "WeightsError",
    "from_checkpoint",
    "load_torch_weights",
    "read_state_dict",
    "save_torch_weights",
]
