"""A trained classifier ready to predict, from a Keras model or an exported file; ensembles."""

import dataclasses
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
from keras_wrn.scores import at_temperature


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What a classifier says of a batch.

    Args:
        logs: float64 (batch, classes), log probabilities.
        energy: float64 (batch,), log of the sum of the exponentials of the logits, higher for what
            looks known; of Liu et al. 2020, https://arxiv.org/abs/2010.03759, with the other sign.
    """

    logs: np.ndarray
    energy: np.ndarray


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A trained classifier: made by `open_classifier`, used by `inference_model` and `evaluate`.

    Args:
        name: str, what it is, for messages.
        preprocessing: `keras_wrn.Preprocessing`, with the names of the classes.
        classes: int.
        answer: function from images (batch, size, size, channels) in 0..255 to logits
            (batch, classes).
        temperature: float, by which the logits are divided for the probabilities.
    """

    name: str
    preprocessing: Preprocessing
    classes: int
    answer: Callable
    temperature: float = 1.0

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, or their numbers if they have no names."""
        return self.preprocessing.class_names or tuple(map(str, range(self.classes)))

    def predictions(self, images, views=1) -> Predictions:
        """The `Predictions` for images of the classifier's size.

        With several `views`, the logits are averaged over them.

        Raises:
            ValueError: the answer has NaN or infinity.
        """
        logits = sum(weight * self._logits(view) for weight, view in views_of(images, views))
        energy = np.logaddexp.reduce(logits, axis=-1)
        return Predictions(at_temperature(logits, self.temperature), energy)

    def _logits(self, images):
        logits = np.asarray(self.answer(images), "float64")
        if not np.isfinite(logits).all():
            raise ValueError(f"The model {self.name!r} answers with NaN or infinity.")
        return logits


@dataclasses.dataclass(frozen=True)
class Ensemble(Classifier):
    """Classifiers whose probabilities are averaged.

    Args:
        members: tuple of `Classifier`.
    """

    members: tuple = ()

    def predictions(self, images, views=1) -> Predictions:
        parts = [member.predictions(images, views) for member in self.members]
        logs = np.logaddexp.reduce([part.logs for part in parts]) - np.log(len(parts))
        energy = np.mean([part.energy for part in parts], axis=0)
        return Predictions(at_temperature(logs, self.temperature), energy)


def open_ensemble(models, preprocessing=None, size=None, crop=None) -> Ensemble:
    """Open several trained classifiers as one: the mean of their probabilities.

    Args:
        models: list of what `open_classifier` takes, for the same images and classes.
        preprocessing, size, crop: as for `open_classifier`, for all of them.

    Raises:
        ValueError: there are none, or they are for other images or classes; or as for
            `open_classifier`.

    Example:

    ```python
    ensemble = keras_wrn.trained.open_ensemble(["runs/a-seed0", "runs/a-seed1"])
    keras_wrn.evaluate(ensemble, "cifar10")["error"]
    ```
    """
    if not models:
        raise ValueError("Expected one model or more. Received: none")
    members = tuple(open_classifier(model, preprocessing, size, crop) for model in models)
    first = members[0]
    for member in members[1:]:
        for what, ours, theirs in (
            ("classes", first.class_names, member.class_names),
            *(
                (field, getattr(first.preprocessing, field), getattr(member.preprocessing, field))
                for field in ("size", "crop", "interpolation", "channels")
            ),
        ):
            if ours != theirs:
                raise ValueError(
                    "The models of an ensemble should be for the same images and classes. "
                    f"Received: {first.name!r} with {what} {ours!r:.200}, {member.name!r} with "
                    f"{theirs!r:.200}"
                )
    name = " + ".join(member.name for member in members)
    return Ensemble(name, first.preprocessing, first.classes, first.answer, members=members)


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
    find_classifier(model)
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
    dense = find_classifier(model)
    trunk = keras.Model(model.inputs, dense.input)
    kernel, *biases = (weight.astype("float64") for weight in dense.get_weights())

    def answer(images):  # not from the softmax, which rounds small values to 0
        features = trunk.predict_on_batch(preprocessing.normalize(images))
        return np.asarray(features, "float64") @ kernel + sum(biases)

    return Classifier(model.name, preprocessing, model.output_shape[-1], answer)


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
