"""A model of good photos, ready to look at others: opened from Keras or from an exported file."""

import dataclasses
from collections.abc import Callable

import numpy as np
from PIL import Image

from keras_wrn.anomaly.photos import as_square, listed
from keras_wrn.data.images import picture
from keras_wrn.data.preprocess import Preprocessing

BATCH = 8


@dataclasses.dataclass(frozen=True)
class Inspector:
    """A fitted PatchCore or PaDiM: made by `open_inspector`.

    Args:
        name: str, what it is, for messages.
        preprocessing: `keras_wrn.Preprocessing`: the size of the squares, and the resize.
        threshold: float, above which a photo is taken for an anomaly.
        answer: function from pixels, float32 (batch, size, size, 3) of 0..255, to a dict of
            `score`, (batch,), `map`, (batch, size, size), and `is_anomaly`, (batch,).
    """

    name: str
    preprocessing: Preprocessing
    threshold: float
    answer: Callable

    def score(self, image_or_images):
        """Look at one photo, or at several.

        Args:
            image_or_images: one photo or a list of them, in any form that
                `keras_wrn.inference_model` takes. A file's EXIF orientation is ignored.

        Returns:
            For one photo a dict of `score`, float, higher for what looks odd; `map`, float32
            (height, width), the same for each pixel of the photo; `is_anomaly`, bool, whether the
            score is above the threshold. For several, a list of these.

        Raises:
            ValueError: a photo cannot be fetched or decoded, or the answer has NaN.
            FileNotFoundError: no such file.
        """
        images, several = listed(image_or_images)
        photos = [picture(image, f"photo {number}") for number, image in enumerate(images)]
        results = self.inspect(photos) if photos else []
        return results if several else results[0]

    def inspect(self, photos):
        """`score` for photos, uint8 (height, width, 3) each."""
        size, interpolation = self.preprocessing.size, self.preprocessing.interpolation
        squares = np.stack([as_square(photo, size, interpolation) for photo in photos])
        parts = [self.answer(part.astype("float32")) for _, part in batches(squares)]
        answer = {
            name: np.concatenate([np.asarray(part[name]) for part in parts])[: len(squares)]
            for name in ("score", "map", "is_anomaly")
        }
        if not all(np.isfinite(answer[name]).all() for name in ("score", "map")):
            raise ValueError(f"The model {self.name!r} answers with NaN or infinity.")
        return [
            {
                "score": float(score),
                "map": in_photo(one, *photo.shape[:2]),
                "is_anomaly": bool(is_anomaly),
            }
            for score, one, is_anomaly, photo in zip(
                answer["score"], answer["map"], answer["is_anomaly"], photos, strict=True
            )
        ]


def batches(squares):
    """Pairs of a start and the squares from there; the last ones are filled up to a batch.

    With batches of one size, TensorFlow traces a function once.
    """
    if len(squares) <= BATCH:
        return [(0, squares)]
    places = np.minimum(np.arange(-(-len(squares) // BATCH) * BATCH), len(squares) - 1)
    return [(i, squares[places[i : i + BATCH]]) for i in range(0, len(squares), BATCH)]


def in_photo(one, height, width):
    """A map (size, size) in the size of its photo, bilinear: float32 (height, width)."""
    image = Image.fromarray(np.asarray(one, "float32"))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
