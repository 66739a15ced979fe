"""PatchCore: how far the patches of a photo are from those of good photos."""

import keras
import numpy as np
from keras import ops

from keras_wrn.anomaly.coreset import BLOCK, greedy_coreset
from keras_wrn.anomaly.model import AnomalyModel
from keras_wrn.checks import is_int
from keras_wrn.kernels import after, on_tensorflow

PROJECTED = 128  # channels in which the coreset is searched
LARGEST = 2.0**15  # half of what float16 holds
AT_ONCE = 2**23  # distances of one photo that are in memory at once: 32 MiB


@keras.saving.register_keras_serializable("keras_wrn")
class PatchCore(AnomalyModel):
    """Tell odd photos by the distance of their patches to the nearest ones of good photos.

    A patch is the features of a place and its neighbours: those of some stages, each averaged over
    3x3 places (zeros beyond the border) and resized to the first. A few patches of the good photos,
    chosen greedily so that they are far apart, are kept. A patch is as odd as it is far from the
    nearest of them; distances are computed in blocks of 32 MiB for each photo of a batch. The map
    is this distance, resized to the image and blurred. The score of a photo is that of its oddest
    patch, a little less if the kept patch next to it is far from other kept ones; or, with a
    `top_share`, the mean of the highest values of the map.

    Deviations from the paper: the whole photo is squeezed into a square, without a crop. The
    coreset is searched in a projection to 128 channels by random numbers of a Gaussian. Channels
    are not pooled to 1024. For networks of the CIFAR family the score is a mean.

    Args:
        model_or_name: a network of this package, what `keras_wrn.load_model` takes for one, or a
            model of `keras_wrn.feature_extractor`, with its stages and size. For WRN-50-2 and
            WRN-101-2 the weights tv_in1k are better than torchvision's newer ones.
        stages: ints, the stages whose features are joined; None for 2 and 3 of an ImageNet network,
            1 to 3 of a CIFAR network.
        image_size: int, height and width of the images in pixels; None for 256, or 48 for a CIFAR
            network.
        coreset: float in (0, 1], the share of the patches that are kept.
        neighbours: int, how many kept patches weigh the score: the nearest one and those around it;
            0 for no weight. Not used with a `top_share`.
        top_share: float in 0..1, the share of the map whose mean is the score; 0 for the oddest
            patch, weighted; None for 0, or 0.01 for a CIFAR network.
        smoothing: float, the standard deviation of the blur of the map in pixels; None for 1/64 of
            the image's side.
        seed: int, of the projection, the first patch and the photos held out.
        name: str, the model's name.

    Raises:
        ValueError: no such network or stage, or a setting is out of range.

    Source: Roth et al. 2022, https://arxiv.org/abs/2106.08265.

    Example:

    ```python
    network = keras_wrn.WideResNet(16, 2)   # or a name, such as "wide_resnet50_2.tv_in1k"
    network.preprocessing = keras_wrn.Preprocessing(32, mean=(0.5,) * 3, std=(0.25,) * 3)
    good = np.random.default_rng(0).integers(0, 256, (5, 60, 80, 3), "uint8")
    model = keras_wrn.anomaly.PatchCore(network).fit(good)
    model.score(good[0])["map"].shape   # (60, 80)
    ```
    """

    LOCAL = True
    STAGES = "patchcore"
    LEARNED = "bank", "center", "scale", "near", "limit"

    def __init__(
        self, model_or_name="wide_resnet50_2.tv_in1k", stages=None, image_size=None, coreset=0.1,
        neighbours=9, top_share=None, smoothing=None, seed=0, name=None, **kwargs,
    ):  # fmt: skip
        if not 0 < coreset <= 1:
            raise ValueError(f"`coreset` should be in (0, 1]. Received: {coreset!r}")
        if not is_int(neighbours) or neighbours < 0 or neighbours == 1:
            raise ValueError(f"`neighbours` should be 0, or 2 or more. Received: {neighbours!r}")
        super().__init__(
            model_or_name, stages, image_size, top_share, smoothing, seed, name, **kwargs
        )
        self.coreset, self.neighbours = float(coreset), int(neighbours)

    def get_config(self):
        return {**super().get_config(), "coreset": self.coreset, "neighbours": self.neighbours}

    def _remember(self, points):
        """Make the weights for so many patches."""
        self.points = points
        settings = {"initializer": "zeros", "trainable": False}
        near = min(self.neighbours, points)
        reals = {"dtype": "float32", **settings}
        self.bank = self.add_weight(shape=(points, self.width), name="bank", **reals)
        self.center = self.add_weight(shape=(self.channels,), name="center", **reals)
        self.scale = self.add_weight(shape=(), name="scale", **reals)
        self.near = self.add_weight(shape=(points, near), dtype="int32", name="near", **settings)
        self.limit = self.add_weight(shape=(), name="threshold", **reals)

    def _learn(self, features):
        features = features.reshape(-1, features.shape[-1])
        random = np.random.default_rng([self.seed, 1])
        count = max(1, round(self.coreset * len(features)))
        start = int(random.integers(len(features)))
        kept = features[greedy_coreset(_projected(features, random), count, start=start)]
        del features
        self._remember(count)
        center = kept.mean(axis=0)
        self._keep(kept - center, center)
        self.near.assign(nearest_of_each(kept - center, min(self.neighbours, count)))

    def _keep(self, patches, center):
        lengths, scale = in_two(np.einsum("ij,ij->i", patches, patches, dtype="float64"))
        if not np.isfinite(lengths).all():
            raise ValueError(
                f"Expected features of {self.trunk.name!r} that are less than 30,000 from their "
                "mean. Received: larger ones"
            )
        self.bank.assign(np.concatenate([patches, lengths], axis=1))
        self.center.assign(center)
        self.scale.assign(scale)

    def round_memory(self):
        """Round what was learned to numbers that float16 holds, for a file of such weights.

        A converter would do so, but then the squared lengths would be those of other patches.

        Raises:
            ValueError: a number is too large.
        """
        bank, center = (ops.convert_to_numpy(x.value) for x in (self.bank, self.center))
        patches = bank[:, : self.channels] + center
        center = center.astype("float16").astype("float32")
        patches = (patches - center).astype("float16").astype("float32")
        if not (np.isfinite(patches).all() and np.isfinite(center).all()):
            raise ValueError(
                f"The features of {self.trunk.name!r} are too large for a file in float16: above "
                f"{np.finfo('float16').max:,.0f}"
            )
        self._keep(patches, center)

    def _distances(self, patches):
        """The distance of each patch to the nearest kept one, float32 (batch, places), and the
        score of the oddest.

        A row of the bank is a kept patch b, and its squared length in two parts. A row of what is
        asked of it is -2 x, and twice what these parts were divided by. Their product is, but for
        the squared length of x, the squared distance.
        """
        places = patches.shape[1]
        patches = ops.reshape(patches, (-1, self.channels)) - self.center
        asked = ops.concatenate([-2 * patches, ops.ones_like(patches[:, :2]) * self.scale], axis=1)
        rows = max(1, AT_ONCE // places)
        nearest = None
        for start in range(0, self.points, rows):
            if nearest is not None:  # one block at a time, or memory would grow with the bank
                asked = after(nearest, asked) if on_tensorflow() else asked
            part = self.bank[start : start + rows]
            found = ops.min(ops.matmul(asked, ops.transpose(part)), axis=1)
            nearest = found if nearest is None else ops.minimum(nearest, found)
        squared = ops.maximum(nearest + ops.sum(ops.square(patches), axis=1), 0.0)
        distances = ops.sqrt(ops.reshape(squared, (-1, places)))
        if self.top_share:
            return distances, None
        return distances, self._weighted(distances, ops.reshape(asked, (-1, places, self.width)))

    @property
    def width(self):
        """The columns of the bank."""
        return self.channels + 2

    def _weighted(self, distances, asked):
        """The distance of the oddest patch of each photo, weighted."""
        far, place = ops.top_k(distances, 1)  # argmax would not become a LiteRT file
        if self.near.shape[1] < 2:  # the weight of a lone patch would be 0
            return far[:, 0]
        mask = ops.one_hot(place[:, 0], distances.shape[1], dtype="float32")
        asked = ops.matmul(mask[:, None], asked)[:, 0]
        _, kept = ops.top_k(-ops.matmul(asked, ops.transpose(self.bank)), 1)
        around = ops.take(self.near, kept[:, 0], axis=0)
        points = ops.take(self.bank, around, axis=0)[:, :, : self.channels]
        patch = asked[:, None, : self.channels] / -2
        apart = ops.sqrt(ops.sum(ops.square(points - patch), axis=-1))
        # The first is that patch itself: far[:, 0] again, but without the rounding of a difference.
        return (1 - ops.softmax(apart)[:, 0]) * apart[:, 0]

    @property
    def distance_macs(self):
        """Multiply-adds of the distances of a photo, int."""
        return self.places[0] * self.places[1] * self.points * self.channels

    def _bytes(self, photos):
        patches = photos * self.places[0] * self.places[1]
        kept = max(1, round(self.coreset * patches))
        searched = 3 * min(PROJECTED, self.channels)  # the projection, and what the search copies
        return 4 * (patches * (self.channels + searched) + 3 * kept * self.channels)

    def _why(self, photos):
        patches = photos * self.places[0] * self.places[1]
        return f"{patches:,} patches of {self.channels:,} channels"

    def _less(self):
        return "fewer `stages`"


def _projected(features, random):
    """Features in fewer channels, in which distances are about the same."""
    channels = features.shape[1]
    if channels <= PROJECTED:
        return features
    matrix = random.standard_normal((channels, PROJECTED)).astype("float32") / PROJECTED**0.5
    return features @ matrix


def in_two(lengths):
    """Squared lengths as sums of two numbers that float16 holds, times a power of two.

    A converter may make every constant float16. A squared length in one part would then be off by
    more than small distances are.

    Args:
        lengths: float64 (n,).

    Returns:
        float32 (n, 2), and what both are to be multiplied with, a float.
    """
    power = np.ceil(np.log2(max(lengths.max(), 1e-30) / LARGEST))
    scale = 2.0 ** float(np.clip(power, -14, 15))  # float16 holds it
    with np.errstate(over="ignore", invalid="ignore"):  # of numbers that are too large
        high = (lengths / scale).astype("float16")
        low = (lengths / scale - high).astype("float16")
    return np.stack([high, low], axis=1).astype("float32"), scale


def nearest_of_each(points, count):
    """The nearest points of each point, itself first: int32 (n, count).

    Args:
        points: float32 (n, channels), around 0.
        count: int, at most n.
    """
    near = np.zeros((len(points), count), "int32")
    if not count:
        return near
    norms = np.einsum("ij,ij->i", points, points)
    rows = max(1, BLOCK // 8 // len(points))  # beside each distance is an index, twice as long
    for start in range(0, len(points), rows):
        part = slice(start, min(start + rows, len(points)))
        distances = norms - 2 * (points[part] @ points.T)
        own = np.arange(part.start, part.stop)
        distances[own - start, own] = -np.inf
        found = np.argpartition(distances, count - 1, axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(distances, found, 1), axis=1, kind="stable")
        near[part] = np.take_along_axis(found, order, 1)
    return near
