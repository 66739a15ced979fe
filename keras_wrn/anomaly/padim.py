"""PaDiM: how unlikely the features of each place are, by a Gaussian of those of good photos."""

import keras
import numpy as np
from keras import ops

from keras_wrn.anomaly.model import AnomalyModel
from keras_wrn.anomaly.trunk import usual
from keras_wrn.checks import check_count

ADDED = 0.01  # to the diagonal of a covariance
BLOCK = 64  # places whose covariances are decomposed at once


@keras.saving.register_keras_serializable("keras_wrn")
class PaDiM(AnomalyModel):
    """Tell odd photos by the Mahalanobis distance of their features at each place.

    The features of some stages, resized to the first, are joined, and some channels are chosen at
    random. For each place of the image, their mean and covariance over the good photos are
    learned. The map is the distance at each place, resized to the image and blurred; the score of a
    photo is its maximum, or with a `top_share` the mean of its highest values.

    This is for things that lie in the same place in every photo. The covariance is that of the
    paper, with 0.01 added to its diagonal. It is not stored: a few photos determine it by as many
    vectors for each place, which takes less memory and gives the same distance. Deviations from the
    paper: the whole photo is squeezed into a square, without a crop; stages are resized with
    bilinear interpolation, where the paper and anomalib take the nearest place; for networks of the
    CIFAR family the score is a mean.

    Args:
        model_or_name: as for `PatchCore`.
        stages: ints, the stages whose features are joined; None for 1 to 3.
        image_size: int, height and width of the images in pixels; None for 256, or 48 for a CIFAR
            network.
        features: int, how many channels are chosen; None for 550 of a network with bottlenecks,
            100 of any other, as in the paper.
        top_share: float in 0..1, the share of the map whose mean is the score; 0 for its maximum;
            None for 0, or 0.01 for a CIFAR network.
        smoothing: float, the standard deviation of the blur of the map in pixels; None for 1/64 of
            the image's side.
        seed: int, of the channels and the photos held out.
        name: str, the model's name.

    Raises:
        ValueError: no such network or stage, or a setting is out of range.

    Source: Defard et al. 2020, https://arxiv.org/abs/2011.08785.

    Example:

    ```python
    network = keras_wrn.WideResNet(16, 2)
    network.preprocessing = keras_wrn.Preprocessing(32, mean=(0.5,) * 3, std=(0.25,) * 3)
    good = np.random.default_rng(0).integers(0, 256, (5, 60, 80, 3), "uint8")
    model = keras_wrn.anomaly.PaDiM(network).fit(good)
    model.score(good[0])["is_anomaly"]
    ```
    """

    STAGES = "padim"
    LEAST = 2
    LEARNED = "mean", "directions", "limit"

    def __init__(
        self, model_or_name="wide_resnet50_2.tv_in1k", stages=None, image_size=None, features=None,
        top_share=None, smoothing=None, seed=0, name=None, **kwargs,
    ):  # fmt: skip
        super().__init__(
            model_or_name, stages, image_size, top_share, smoothing, seed, name, **kwargs
        )
        if features is None:
            features = min(usual(self.trunk).features(self.trunk), self.channels)
        self.features = check_count("features", features, self.channels)
        random = np.random.default_rng([self.seed, 1])
        chosen = random.choice(self.channels, self.features, replace=False)
        self.picked = tuple(int(channel) for channel in np.sort(chosen))

    def get_config(self):
        return {**super().get_config(), "features": self.features}

    def _remember(self, points):
        """Make the weights for so many vectors a place."""
        self.points = points
        places = self.places[0] * self.places[1]
        settings = {"initializer": "zeros", "trainable": False, "dtype": "float32"}
        self.mean = self.add_weight(shape=(places, self.features), name="mean", **settings)
        self.directions = self.add_weight(
            shape=(places, points, self.features), name="directions", **settings
        )
        self.limit = self.add_weight(shape=(), name="threshold", **settings)

    def _learn(self, features):
        mean, directions = gaussians(features)
        self._remember(directions.shape[1])
        self.mean.assign(mean)
        self.directions.assign(directions)

    def _patches(self, maps):
        return ops.take(super()._patches(maps), np.array(self.picked, "int32"), axis=-1)

    def _distances(self, patches):
        """The distance at each place, float32 (batch, places), and None: the map has the score."""
        apart = patches - self.mean
        apart = ops.transpose(apart, (1, 0, 2))
        along = ops.einsum("pbd,prd->pbr", apart, self.directions)
        apart = (apart - ops.matmul(along, self.directions)) / ADDED**0.5
        return ops.transpose(ops.sqrt(ops.sum(ops.square(apart), axis=-1))), None

    @property
    def distance_macs(self):
        """Multiply-adds of the distances of a photo, int."""
        return 2 * self.places[0] * self.places[1] * self.points * self.features

    def _bytes(self, photos):
        places, vectors = self.places[0] * self.places[1], min(photos - 1, self.features)
        return 4 * places * self.features * (2 * photos + 2 * vectors)

    def _why(self, photos):
        vectors = min(photos - 1, self.features)
        return (
            f"{self.places[0] * self.places[1]:,} places with {vectors} vectors of "
            f"{self.features} features each"
        )

    def _less(self):
        return "fewer `features`"


def gaussians(features):
    """The Gaussian of each place.

    Args:
        features: float32 (n, places, d), of n photos.

    Returns:
        The mean, float32 (places, d), and vectors v, float32 (places, r, d), r = min(n - 1, d), so
        that the Mahalanobis distance of x is the length of z - sum (z . v) v, z = x - mean, divided
        by the root of 0.01. The covariance is that of n - 1 degrees of freedom, with 0.01 added to
        its diagonal. It has the eigenvalue e + 0.01 along a vector v, whose squared length is
        1 - sqrt(0.01 / (e + 0.01)), and 0.01 in all other directions.
    """
    count, places, width = features.shape
    rank = min(count - 1, width)
    mean = features.mean(axis=0, dtype="float64").astype("float32")
    vectors = np.empty((places, rank, width), "float32")
    for start in range(0, places, BLOCK):
        part = slice(start, start + BLOCK)
        apart = np.moveaxis(features[:, part] - mean[part], 0, 1).astype("float64")
        apart /= (count - 1) ** 0.5
        _, sizes, right = np.linalg.svd(apart, full_matrices=False)
        kept = 1 - np.sqrt(ADDED / (sizes[:, :rank] ** 2 + ADDED))
        vectors[part] = np.sqrt(kept)[..., None] * right[:, :rank]
    return mean, vectors
