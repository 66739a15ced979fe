"""Global contrast normalisation and ZCA whitening."""

import dataclasses
import hashlib
import os
import warnings
import zipfile
from pathlib import Path

import keras
import numpy as np

from keras_wrn.files import replacing

GCN_SCALE = 55.0  # pylearn2's make_cifar10_gcn_whitened, which the authors' whitened sets come from
ZCA_BIAS = 0.1
UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


@dataclasses.dataclass(frozen=True, eq=False)
class ZCA:
    """Global contrast normalisation, then ZCA whitening, of images of one size.

    Each image is scaled to mean 0 and length 55, as in pylearn2's script; then x becomes
    (x - mean) @ matrix, with matrix = U (S + 0.1)^(-1/2) U' from the covariance U S U' of the
    training images.

    Args:
        mean: float32 (d,), d = height x width x channels.
        matrix: float32 (d, d).

    Example:

    ```python
    images, labels = keras_wrn.data.load_arrays("digits", "train")
    zca = keras_wrn.data.ZCA.fit(images[:100, 12:20, 12:20], cache_dir=False)
    x = zca(images[:5, 12:20, 12:20].astype("float32"))   # (5, 8, 8, 3)
    ```
    """

    mean: np.ndarray
    matrix: np.ndarray

    @classmethod
    def fit(cls, images, cache_dir=None):
        """Fit on training images (n, height, width, channels) in 0..255.

        The result is cached by the images' hash in `cache_dir`: None for `keras_wrn` in Keras' own
        directory (KERAS_HOME or ~/.keras), False for no cache. A damaged file there is replaced.
        """
        if cache_dir is None:
            cache_dir = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "keras_wrn"
        path = None
        if cache_dir is not False:
            facts = images.shape, str(images.dtype), GCN_SCALE, ZCA_BIAS
            key = hashlib.sha256(repr(facts).encode())
            key.update(np.ascontiguousarray(images).data)
            path = Path(cache_dir) / f"zca-{key.hexdigest()[:16]}.npz"
            try:
                return cls.load(path)
            except UNREADABLE:
                pass
        x = contrast_normalize(images.astype("float32")).reshape(len(images), -1)
        mean = x.mean(axis=0, dtype="float64")
        x = x - mean.astype("float32")
        covariance = (x.T @ x).astype("float64") / len(x) + ZCA_BIAS * np.eye(x.shape[1])
        values, vectors = np.linalg.eigh(covariance)
        matrix = (vectors / np.sqrt(values)) @ vectors.T
        zca = cls(mean.astype("float32"), matrix.astype("float32"))
        if path is not None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                zca.save(path)
            except OSError as error:
                warnings.warn(f"The whitening could not be cached: {error}", stacklevel=2)
        return zca

    def __call__(self, images):
        """Whiten float32 images (batch, height, width, channels) in 0..255, to the same shape."""
        size = int(np.prod(images.shape[1:]))
        if size != len(self.mean):
            raise ValueError(
                f"Images should have {len(self.mean)} values, as those the whitening was fitted "
                f"on. Received: images of shape {tuple(images.shape[1:])}"
            )
        xp = np if isinstance(images, np.ndarray) else keras.ops
        x = xp.reshape(contrast_normalize(images), (-1, size))
        return xp.reshape(xp.matmul(x - self.mean, self.matrix), (-1, *images.shape[1:]))

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.mean.tobytes() + self.matrix.tobytes()).hexdigest()

    def save(self, path):
        """Write the two arrays to a `.npz` file, aside first and then renamed."""
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, mean=self.mean, matrix=self.matrix)

    @classmethod
    def load(cls, path):
        """Read what `save` wrote. A missing or damaged file raises one of `UNREADABLE`."""
        with open(path, "rb") as file, np.load(file) as arrays:
            return cls(arrays["mean"], arrays["matrix"])


def contrast_normalize(images):
    """Scale each float32 image to mean 0 and length 55; see `ZCA`."""
    xp = np if isinstance(images, np.ndarray) else keras.ops
    axes = tuple(range(1, len(images.shape)))
    images = images - xp.mean(images, axis=axes, keepdims=True)
    length = xp.sqrt(xp.sum(images * images, axis=axes, keepdims=True))
    return images * (GCN_SCALE / xp.where(length < 1e-8, xp.ones_like(length), length))
