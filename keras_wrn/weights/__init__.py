"""Weights in Keras files, and in the layouts and files of other projects."""

from keras_wrn.errors import WeightsError
from keras_wrn.weights.convert import load_torch_weights, save_torch_weights
from keras_wrn.weights.files import read_state_dict

__all__ = ["WeightsError", "load_torch_weights", "read_state_dict", "save_torch_weights"]
