"""A functional Keras model that knows how its images are prepared."""

import keras


@keras.saving.register_keras_serializable("keras_wrn")
class ImageModel(keras.Model):
    """A functional `keras.Model` with a `preprocessing` attribute that is saved with it.

    Every model this package returns is one. `preprocessing` is a `keras_wrn.Preprocessing` or
    None; it survives `model.save("model.keras")` and `keras.models.load_model`.

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
    preprocessing = None

    def get_config(self):
        config = super().get_config()
        config["preprocessing"] = keras.saving.serialize_keras_object(self.preprocessing)
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
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


# What a `.h5` file of Keras 2's kind calls it, which knows no packages.
keras.saving.get_custom_objects()["ImageModel"] = ImageModel
