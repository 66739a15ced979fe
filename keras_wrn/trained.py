"""A trained classifier ready to predict, from a Keras model or an exported file."""

import dataclasses
import functools
import os
from collections.abc import Callable

import keras
import numpy as np

from keras_wrn.catalog.opening import load_model
from keras_wrn.classifier import check_names, find_classifier, resolve_preprocessing
from keras_wrn.data.preprocess import Preprocessing
from keras_wrn.data.views import views_of
from keras_wrn.export.opening import is_artifact, open_artifact
from keras_wrn.models.stages import copied


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A trained classifier: made by `open_classifier`, used by `inference_model` and `evaluate`.

    Args:
        name: str, what it is, for messages.
        preprocessing: `keras_wrn.Preprocessing`, with the names of the classes.
        classes: int.
        answer: function from images (batch, size, size, channels) in 0..255 to logits
            (batch, classes), or to log probabilities, which differ from them by a constant per
            image.
    """

    name: str
    preprocessing: Preprocessing
    classes: int
    answer: Callable

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, or their numbers if they have no names."""
        return self.preprocessing.class_names or tuple(map(str, range(self.classes)))

    def log_probabilities(self, images, views=1):
        """Log probabilities, float64 (batch, classes), for images of the classifier's size.

        With several `views`, the logits are averaged over them.

        Raises:
            ValueError: the answer has NaN or infinity.
        """
        logits = sum(weight * self._logits(view) for weight, view in views_of(images, views))
        logits = logits - logits.max(axis=-1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))

    def _logits(self, images):
        logits = np.asarray(self.answer(images), "float64")
        if not np.isfinite(logits).all():
            raise ValueError(f"The model {self.name!r} answers with NaN or infinity.")
        return logits


def open_classifier(model_or_name, preprocessing=None, size=None, crop=None) -> Classifier:
    """Open a trained classifier, to predict with it more than once.

    Args:
        model_or_name: as for `keras_wrn.inference_model`, or a `Classifier`.
        preprocessing: `keras_wrn.Preprocessing`, None for its own.
        size: int, height and width of the images instead of the preprocessing's, None for those;
            an exported file is for one size.
        crop: float in (0, 1], instead of the preprocessing's crop, or None.

    Raises:
        ValueError: there is no such model, it is not a classifier, no preprocessing fits it, or it
            cannot take images of that size.
        FileNotFoundError: there is no such exported file.

    Example:

    ```python
    classifier = keras_wrn.trained.open_classifier("saved_models/cifar10_wrn16_2/1/model.tflite")
    keras_wrn.inference_model(classifier, "photo.jpg")["pred_class"]
    ```
    """
    changes = {"size": size, "crop": crop}
    changes = {name: value for name, value in changes.items() if value is not None}
    if isinstance(model_or_name, Classifier):
        if changes:
            raise ValueError(
                f"{model_or_name.name!r} is open with its size and crop. Received: {changes}"
            )
        if preprocessing is not None and preprocessing is not model_or_name.preprocessing:
            raise ValueError(
                f"{model_or_name.name!r} is open with its preprocessing. Expected no other. "
                f"Received: preprocessing={preprocessing!r}"
            )
        return model_or_name
    if isinstance(model_or_name, str | os.PathLike) and is_artifact(model_or_name):
        if changes:
            raise ValueError(
                "`size` and `crop` are for Keras models: export one for that size. Received: "
                f"{changes} for {model_or_name}"
            )
        return _exported(model_or_name, preprocessing)
    model = load_model(model_or_name)
    softmax = find_classifier(model).activation is keras.activations.softmax
    preprocessing = resolve_preprocessing(model, preprocessing)
    if changes:
        preprocessing = dataclasses.replace(preprocessing, **changes)
        try:
            model = copied(model, preprocessing.size)
        except ValueError as error:
            raise ValueError(
                f"The model {model.name!r} cannot take images of {preprocessing.size} pixels: "
                f"{error}"
            ) from error
        preprocessing = resolve_preprocessing(model, preprocessing)
    answer = functools.partial(_of_keras, model, preprocessing, softmax)
    return Classifier(model.name, preprocessing, model.output_shape[-1], answer)


def _of_keras(model, preprocessing, softmax, images):
    outputs = model.predict_on_batch(preprocessing.normalize(images)).astype("float64")
    if softmax:  # it rounds small values to 0; NaN stays
        outputs = np.log(np.maximum(outputs, np.finfo("float32").tiny))
    return outputs


def _exported(path, preprocessing):
    logits, own, name = open_artifact(path)
    preprocessing = own if preprocessing is None else preprocessing
    if not isinstance(preprocessing, Preprocessing):
        raise ValueError(
            f"`preprocessing` should be a `keras_wrn.Preprocessing`, where {name} carries none. "
            f"Received: preprocessing={preprocessing!r}"
        )
    shape = 1, preprocessing.size, preprocessing.size, preprocessing.channels
    try:
        classes = logits(np.zeros(shape, "float32")).shape[1]
    except Exception as error:  # the runtimes raise what they like
        raise ValueError(
            f"Expected {name} to take images {shape}, as its preprocessing says. Received: {error}"
        ) from error
    check_names(preprocessing.class_names, classes)
    return Classifier(name, preprocessing, classes, logits)
