"""What PatchCore and PaDiM have in common: a trunk, a memory of good photos, and a threshold."""

import numbers
import os
import re
import time

import keras
import numpy as np
from keras import ops

from keras_wrn.anomaly.inspector import Inspector, batches
from keras_wrn.anomaly.maps import patches, resized, smooth
from keras_wrn.anomaly.measures import best_f1
from keras_wrn.anomaly.photos import listed, read_squares
from keras_wrn.anomaly.sets import defect_photos, good_photos
from keras_wrn.anomaly.trunk import open_trunk, own_trunk, usual
from keras_wrn.catalog.announce import announce_features
from keras_wrn.catalog.opening import load_model
from keras_wrn.catalog.transfer import FeatureModel
from keras_wrn.checks import check_count, is_int
from keras_wrn.errors import DataError

SIGMA = 1 / 64  # of the blur, as a share of the image's side: 4 pixels of 256
GIGABYTE = 1e9


class AnomalyModel(keras.Model):
    """A Keras model that tells how odd photos are; see `PatchCore` and `PaDiM`.

    It takes `image`, float32 (batch, size, size, 3) of 0..255, the whole photo squeezed into a
    square, and returns a dict of `score`, float32 (batch,), `map`, float32 (batch, size, size),
    both higher for what is odd, and `is_anomaly`, bool (batch,). What it learned are weights.
    """

    LOCAL = False  # whether features are averaged with their neighbours
    STAGES = ""  # the field of `Usual` with its stages
    LEAST = 1  # photos to learn from
    LEARNED: tuple[str, ...] = ()  # the names of the weights besides the trunk's

    def __init__(
        self, model_or_name, stages, image_size, top_share, smoothing, seed, name, **kwargs
    ):  # fmt: skip
        check_name(name)
        # In float32 whatever the global policy is: distances need it. The trunk has its own.
        super().__init__(name=name or type(self).__name__.lower(), dtype="float32", **kwargs)
        if not is_int(seed) or seed < 0:
            raise ValueError(f"`seed` should be a whole number, 0 or more. Received: {seed!r}")
        if isinstance(model_or_name, FeatureModel):
            if (stages, image_size) != (None, None):
                raise ValueError(
                    "A feature model has its stages and size. Received with it: "
                    f"stages={stages!r}, image_size={image_size!r}"
                )
            self.trunk = own_trunk(model_or_name)
        else:
            announce_features(model_or_name)
            network = load_model(model_or_name)
            suits = usual(network)
            self.trunk = open_trunk(
                network,
                getattr(suits, self.STAGES) if stages is None else stages,
                suits.image_size if image_size is None else check_count("image_size", image_size),
            )
        self.trunk.trainable = False
        self.preprocessing = self.trunk.preprocessing
        if top_share is None:
            top_share = usual(self.trunk).top_share
        if smoothing is None:
            smoothing = SIGMA * self.preprocessing.size
        if not is_number(top_share) or not 0 <= top_share <= 1:
            raise ValueError(f"`top_share` should be in 0..1. Received: {top_share!r}")
        if not is_number(smoothing) or not 0 <= smoothing <= self.preprocessing.size / 8:
            raise ValueError(
                f"`smoothing` should be 0 to {self.preprocessing.size / 8:g} pixels, an eighth of "
                f"the images. Received: {smoothing!r}"
            )
        self.top_share, self.smoothing, self.seed = float(top_share), float(smoothing), int(seed)
        # Keras sorts the outputs by name, in which the stem comes after stage 1.
        self.maps = tuple(sorted(self.trunk.output, key=lambda name: name.replace("stem", "")))
        self.places = tuple(self.trunk.output[self.maps[0]].shape[1:3])
        self.channels = sum(output.shape[-1] for output in self.trunk.outputs)
        self.points = 0
        self.is_fitted = False

    @property
    def threshold(self):
        """The score above which a photo is taken for an anomaly, float. It can be set."""
        self._require_fitted()
        return float(ops.convert_to_numpy(self.limit.value))

    @threshold.setter
    def threshold(self, value):
        self._require_fitted()
        if not np.isfinite(value):
            raise ValueError(f"`threshold` should be a number. Received: {value!r}")
        self.limit.assign(value)

    def fit(
        self, good, *, defects=None, validation=0.2, quantile=0.95, max_memory=None, log=None
    ):  # fmt: skip
        """Learn what good photos look like, and choose a threshold.

        Some of the good photos are held out. The threshold is a quantile of their scores; or, if
        photos of defects are given, the one with the best F1 on both.

        Args:
            good: a folder of good photos, bare or with train/good as in MVTec AD; or a list of
                photos in any form that `keras_wrn.inference_model` takes. Each is squeezed into a
                square, whatever its size.
            defects: photos of defects: a list, a bare folder, or a folder with test/KIND as in
                MVTec AD; or None.
            validation: float in (0, 1), the share of the good photos that is held out, one at
                least.
            quantile: float in (0, 1], of the scores of the photos held out.
            max_memory: float, in GB, the most that features and what is learned from them may
                take; None for any amount.
            log: function that gets a dict after each step: `step`, a str, `seconds`, and numbers
                of what there is; or None.

        Returns:
            The model itself.

        Raises:
            DataError: there are too few photos, or one cannot be read.
            ValueError: a setting is out of range, the memory does not suffice, the features have
                NaN, or the model is fitted already.
        """
        if self.points:
            raise ValueError(
                f"This {type(self).__name__} is fitted already, or its fit was cut off. Make a new "
                "one for other photos."
            )
        if not 0 < validation < 1:
            raise ValueError(f"`validation` should be in (0, 1). Received: {validation!r}")
        if not 0 < quantile <= 1:
            raise ValueError(f"`quantile` should be in (0, 1]. Received: {quantile!r}")
        good = self.listed_photos(good)
        if defects is not None:
            is_folder = isinstance(defects, str | os.PathLike)
            defects = defect_photos(defects) if is_folder else listed(defects)[0]
        held = held_out(len(good), validation)
        if len(good) - held < self.LEAST:
            raise DataError(
                f"Expected {self.LEAST + 1} good photos or more: {self.LEAST} to learn from, and "
                f"one to choose the threshold on. Received: {len(good)}"
            )
        self.check_memory(len(good) - held, max_memory)
        steps = _Steps(log)
        try:
            squares = read_squares(good, self.preprocessing)
            odd = read_squares(defects or [], self.preprocessing)
        except (ValueError, OSError) as error:
            raise DataError(str(error)) from error
        steps.done("photos", good=len(squares), defects=len(odd))
        order = np.random.default_rng(self.seed).permutation(len(squares))
        features = [self._features(squares[np.sort(order[held:])])]
        steps.done("features", photos=len(good) - held, places=features[0].shape[1])
        self._learn(features.pop())  # which is the last to have them, and can let them go
        steps.done("memory", points=self.points)
        scores = self._scores(squares[np.sort(order[:held])])
        threshold = np.quantile(scores, quantile)
        if len(odd):
            truth = np.r_[np.zeros(len(scores)), np.ones(len(odd))]
            threshold = best_f1(np.r_[scores, self._scores(odd)], truth)[1]
        self.limit.assign(threshold)
        self.is_fitted = True
        steps.done("threshold", held_out=held, threshold=self.threshold)
        return self

    @staticmethod
    def listed_photos(photos):
        """A list of photos, from one or from a folder; see `fit`."""
        return good_photos(photos) if isinstance(photos, str | os.PathLike) else listed(photos)[0]

    def score(self, image_or_images):
        """Look at one photo, or at several; see `Inspector.score`."""
        self._require_fitted()
        return self.inspector().score(image_or_images)

    def inspector(self):
        """The model as an `Inspector`."""
        return Inspector(self.name, self.preprocessing, self.threshold, self.predict_on_batch)

    def build(self, input_shape):
        if not self.points:
            self._require_fitted()

    def call(self, image):
        maps = self.trunk(self.preprocessing.normalize(image), training=False)
        distances, worst = self._distances(self._patches(maps))
        size = self.preprocessing.size
        grid = ops.reshape(distances, (-1, *self.places, 1))
        grid = smooth(resized(grid, size, size), self.smoothing)
        odd = ops.reshape(grid, (-1, size, size))
        if worst is None:
            values = ops.reshape(odd, (-1, size * size))
            count = max(1, round(self.top_share * size * size))
            worst = ops.mean(ops.top_k(values, count)[0], axis=1)
        limit = ops.cast(self.limit, "float32")
        return {"score": worst, "map": odd, "is_anomaly": worst > limit}

    def get_config(self):
        return {
            "name": self.name,
            "model_or_name": keras.saving.serialize_keras_object(self.trunk),
            "top_share": self.top_share,
            "smoothing": self.smoothing,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        trunk = keras.saving.deserialize_keras_object(
            config["model_or_name"], custom_objects=custom_objects
        )
        return cls(**{**config, "model_or_name": trunk})

    def get_build_config(self):
        return {"points": self.points} if self.is_fitted else {}

    def build_from_config(self, config):
        if config.get("points"):
            self._remember(config["points"])
            self.is_fitted = True

    def round_memory(self):
        """Prepare what was learned for a file of float16 weights."""

    def _patches(self, maps):
        """The features of each place, float32 (batch, places, channels)."""
        return patches([maps[name] for name in self.maps], self.LOCAL)

    def _features(self, squares):
        """The features of photos, float32 (n, places, channels)."""
        features = None
        for start, part in batches(squares):
            maps = self.trunk.predict_on_batch(self.preprocessing.normalize(part))
            found = ops.convert_to_numpy(self._patches(maps))
            if not np.isfinite(found).all():
                raise ValueError(f"The features of {self.trunk.name!r} have NaN or infinity.")
            if features is None:
                features = np.empty((len(squares), *found.shape[1:]), "float32")
            rows = features[start : start + len(part)]
            rows[:] = found[: len(rows)]
        return features

    def _scores(self, squares):
        parts = [self.predict_on_batch(part.astype("float32")) for _, part in batches(squares)]
        return np.concatenate([part["score"] for part in parts])[: len(squares)]

    def check_memory(self, photos, most):
        """Raise a ValueError if so many photos to learn from need more than `most` GB."""
        needed = self._bytes(photos) / GIGABYTE
        if most is not None and needed > most:
            raise ValueError(
                f"{photos} photos need {needed:.2g} GB: {self._why(photos)}. The limit is {most:g} "
                "GB (`max_memory`). Give fewer photos, a smaller `image_size`, or "
                f"{self._less()}"
            )

    def _require_fitted(self):
        if not self.is_fitted:
            raise ValueError(f"This {type(self).__name__} has seen no photos yet: call `fit`.")


def held_out(count, share):
    """How many of the good photos are held out for the threshold, int."""
    return max(1, round(share * count))


def step_line(line):
    """What `fit` logs of a step, for the terminal."""
    words = ", ".join(f"{key} {value:.4g}" for key, value in line.items() if key != "step")
    return f"{line['step']:10} {words}"


def check_name(name):
    """Raise a ValueError if TensorFlow cannot name a part of a graph so."""
    if name is not None and not re.fullmatch(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*", name):
        raise ValueError(
            "`name` should be letters of English, digits, '_', '-' and '.'. Received: "
            f"name={name!r}"
        )


def is_number(value):
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


class _Steps:
    """Tells a function how long each step took."""

    def __init__(self, log):
        self.log, self.begun = log, time.monotonic()

    def done(self, step, **found):
        now = time.monotonic()
        if self.log is not None:
            self.log({"step": step, "seconds": round(now - self.begun, 2), **found})
        self.begun = now
