"""A functional Keras model that knows how its images are prepared."""

import dataclasses
import sys

import keras

from keras_wrn.data.preprocess import Preprocessing
from keras_wrn.kernels import on_tensorflow
from keras_wrn.models.normalization import normalizes
from keras_wrn.models.unnormalised import watched

MARK = "_keras_wrn_preprocessing"  # on the outputs of a model that is being cloned


@keras.saving.register_keras_serializable("keras_wrn")
class ImageModel(keras.Model):
    """A functional `keras.Model` with a `preprocessing` attribute that is saved with it.

    Every model this package returns is one. `preprocessing` is a `keras_wrn.Preprocessing` or
    None; it survives `model.save("model.keras")` and `keras.models.load_model`. A model that has
    one takes what its `normalize` returns; `fit`, `evaluate` and `predict` warn once about images
    that were clearly not normalised: integers, or values far outside what it returns.

    Args:
        inputs: the input tensor or tensors, as for `keras.Model`.
        outputs: the output tensor or tensors.
        **kwargs: those of `keras.Model` (`name`, `trainable`).

    Example:

    ```python
    model = keras_wrn.WideResNet(16, 2)
    model.preprocessing = keras_wrn.Preprocessing(size=32, mean=(0.5,) * 3, std=(0.25,) * 3)
    model.save("model.keras")
    ```
    """

    # Keras recognises a functional model by its constructor: it must not be overridden.
    warned = False  # that images were not normalised

    @property
    def preprocessing(self):
        """The `keras_wrn.Preprocessing` of the model's images, or None."""
        outputs = getattr(self, "outputs", None) or [None]
        return self.__dict__.get("_preprocessing", getattr(outputs[0], MARK, None))

    @preprocessing.setter
    def preprocessing(self, value):
        if value is not None and not isinstance(value, Preprocessing):
            raise ValueError(
                "`preprocessing` should be a `keras_wrn.Preprocessing` or None. Received: "
                f"preprocessing={value!r}"
            )
        if value is not None and value.in_model != normalizes(self):
            value = dataclasses.replace(value, in_model=normalizes(self))
        self._preprocessing = value

    def fit(self, x=None, *args, **kwargs):
        self._build_optimizer()
        return super().fit(watched(self, x), *args, **kwargs)

    def train_on_batch(self, x, *args, **kwargs):
        self._build_optimizer()
        return super().train_on_batch(x, *args, **kwargs)

    def _build_optimizer(self):
        """Make the optimizer's variables now.

        On TensorFlow, Keras makes them while it traces the training step, and then traces it once
        more: of ResNet-1001, the first step took 82 seconds, and takes 43.
        """
        optimizer = getattr(self, "optimizer", None)
        if on_tensorflow() and self.built and optimizer is not None and not optimizer.built:
            with self.distribute_strategy.scope():
                optimizer.build(self.trainable_variables)

    def evaluate(self, x=None, *args, **kwargs):
        return super().evaluate(watched(self, x), *args, **kwargs)

    def predict(self, x, *args, **kwargs):
        return super().predict(watched(self, x), *args, **kwargs)

    def _run_through_graph(self, *args, **kwargs):
        # keras.models.clone_model makes a clone's outputs with this. Apart from its class and name,
        # nothing else ties a clone to its model.
        outputs = super()._run_through_graph(*args, **kwargs)
        for tensor in keras.tree.flatten(outputs):
            if keras.utils.is_keras_tensor(tensor):
                setattr(tensor, MARK, self.preprocessing)
        return outputs

    def get_config(self):
        config = super().get_config()
        config["preprocessing"] = keras.saving.serialize_keras_object(self.preprocessing)
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        allow_depth(len(config.get("layers", ())))
        preprocessing = config.pop("preprocessing", None)
        model = super().from_config(config, custom_objects=custom_objects)
        model.preprocessing = keras.saving.deserialize_keras_object(preprocessing)
        return model

    def save_assets(self, dir_path):
        if self.preprocessing is not None:
            self.preprocessing.save(dir_path)

    def load_assets(self, dir_path):
        if self.preprocessing is not None:
            self.preprocessing = type(self.preprocessing).load(dir_path)


def allow_depth(layers):
    """Let Keras walk a graph of that many layers: it calls itself once for each.

    The limit stays: so do later copies and parts of a deep network, which are walked too.
    """
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 1000 + 2 * layers))


# Its name in a legacy `.h5` file (Keras 2), which has no package names.
keras.saving.get_custom_objects()["ImageModel"] = ImageModel
