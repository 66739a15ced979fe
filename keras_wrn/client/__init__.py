"""A client for a TensorFlow Serving that serves one of our SavedModels."""

from keras_wrn.client.client import ServingClient
from keras_wrn.errors import ServingError

__all__ = ["ServingClient", "ServingError"]
