"""A trained detector ready to find things in photos."""

import dataclasses
import os
from collections.abc import Callable

import numpy as np

from keras_wrn.catalog.opening import load_model
from keras_wrn.classifier import resolve_preprocessing
from keras_wrn.data.images import picture
from keras_wrn.data.preprocess import Preprocessing
from keras_wrn.detection.answers import USUAL, Selection, select
from keras_wrn.detection.exported import open_exported
from keras_wrn.detection.geometry import check_fits, fit, fitted_size, in_photo
from keras_wrn.export.opening import is_artifact
from keras_wrn.models.retinanet import anchors_of, is_detector

BATCH = 8


@dataclasses.dataclass(frozen=True)
class Detector:
    """A trained detector: made by `open_detector`, used by `detect` and `evaluate_detector`.

    Args:
        name: str, what it is, for messages.
        preprocessing: `keras_wrn.Preprocessing`, with the names of the classes.
        classes: int.
        anchors: float32 (n, 4), the anchor boxes.
        raw: function from pixels, float32 (batch, size, size, 3) of 0..255, to a dict of `box`,
            (batch, n, 4), and `classification`, (batch, n, classes).
        selection: `Selection`.
    """

    name: str
    preprocessing: Preprocessing
    classes: int
    anchors: np.ndarray
    raw: Callable
    selection: Selection = USUAL

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, or their numbers if they have no names."""
        return self.preprocessing.class_names or tuple(map(str, range(self.classes)))

    def check(self, photo, name):
        """Raise a ValueError if a photo, uint8 (height, width, 3), is too long and thin."""
        height, width = photo.shape[:2]
        check_fits(name, height, width, self.preprocessing.size)

    def find(self, photos):
        """What is in photos of any size.

        Args:
            photos: list of uint8 arrays (height, width, 3).

        Returns:
            A list of dicts as `select` returns them, the boxes in pixels of each photo.

        Raises:
            ValueError: a photo is too long and thin, or the detector answers with NaN.
        """
        size = self.preprocessing.size
        for number, photo in enumerate(photos):
            self.check(photo, f"photo {number}")
        found = []
        for start in range(0, len(photos), BATCH):
            part = photos[start : start + BATCH]
            raw = self.raw(np.stack([np.asarray(fit(photo, size)) for photo in part]))
            for photo, box, classification in zip(
                part, raw["box"], raw["classification"], strict=True
            ):
                height, width = photo.shape[:2]
                answer = select(
                    self.anchors, box, classification, self.selection,
                    within=fitted_size(height, width, size),
                )  # fmt: skip
                answer["boxes"] = in_photo(answer["boxes"], height, width, size)
                found.append(answer)
        return found


def open_detector(model_or_name, selection=None) -> Detector:
    """Open a trained detector, to use it more than once.

    Args:
        model_or_name: a detector as `retinanet` builds it; the path of a `.keras` file or of a run
            directory; or an exported one: a SavedModel directory, or a .onnx or .tflite file.
        selection: `Selection`, which boxes are answers; None for that of an exported file, or the
            usual one.

    Raises:
        ValueError: there is no such model, or it is no detector.
        FileNotFoundError: there is no such exported file.

    Example:

    ```python
    detector = keras_wrn.detection.open_detector("runs/coco_wrn34_2-seed0")
    keras_wrn.detection.detect(detector, "photo.jpg")["classes"]   # ["dog", "person"]
    ```
    """
    detector = find_detector(model_or_name, selection)
    if isinstance(detector, Detector):
        return detector
    raise ValueError(
        "Expected a detector, as `keras_wrn.detection.retinanet` builds it. Received: "
        f"{getattr(detector, 'name', detector)!r}"
    )


def find_detector(model_or_name, selection=None):
    """`open_detector`, but what is no detector is returned: an opened Keras model, or the path."""
    if isinstance(model_or_name, Detector):
        return model_or_name
    if isinstance(model_or_name, str | os.PathLike) and is_artifact(model_or_name):
        opened = open_exported(model_or_name)
        if opened is None:
            return model_or_name
        detector = Detector(**opened._asdict())
        return detector if selection is None else dataclasses.replace(detector, selection=selection)
    model = load_model(model_or_name)
    if not is_detector(model):
        return model
    classes = model.output["classification"].shape[-1]
    preprocessing = resolve_preprocessing(model, classes=classes)

    def raw(pixels):
        found = model.predict_on_batch(preprocessing.normalize(pixels))
        return {name: np.asarray(value) for name, value in found.items()}

    anchors = anchors_of(model).boxes
    return Detector(model.name, preprocessing, classes, anchors, raw, selection or USUAL)


def detect(model_or_name, image_or_images, *, selection=None):
    """Find things in one photo, or in several.

    Args:
        model_or_name: as for `open_detector`, or what it returned.
        image_or_images: one photo or a list of them, in any form that `keras_wrn.inference_model`
            takes. A file's EXIF orientation is ignored.
        selection: as for `open_detector`.

    Returns:
        For one photo a dict of `boxes`, float32 (k, 4), x, y, width, height in pixels of the photo,
        x and y those of the upper left; `scores`, float32 (k,), best first; `labels`, int32 (k,);
        `classes`, a list of k names. For several, a list of these.

    Raises:
        ValueError: no such detector, or a photo that cannot be fetched or decoded.
        FileNotFoundError: no such file.

    Example:

    ```python
    found = keras_wrn.detection.detect("runs/coco_wrn34_2-seed0", "photo.jpg")
    found["classes"], found["boxes"]   # ['dog'], [[12.1, 40.9, 201.7, 333.0]]
    ```
    """
    detector = open_detector(model_or_name, selection)
    several = isinstance(image_or_images, list | tuple) or getattr(image_or_images, "ndim", 0) == 4
    images = list(image_or_images) if several else [image_or_images]
    results = named(detector, detector.find([picture(image) for image in images]))
    return results if several else results[0]


def named(detector, results):
    """Results with the names of the classes."""
    names = detector.class_names
    return [{**one, "classes": [names[label] for label in one["labels"]]} for one in results]
