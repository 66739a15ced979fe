"""How images become what a network was trained on: size, mean and std, or GCN and ZCA."""

import dataclasses
import hashlib
import json
import os
from pathlib import Path

import keras
import numpy as np

GCN_SCALE = 55.0  # pylearn2's make_cifar10_gcn_whitened, which the authors' whitened sets come from
ZCA_BIAS = 0.1
JSON_FILE = "preprocessing.json"
ZCA_FILE = "zca.npz"


@keras.saving.register_keras_serializable("keras_wrn")
@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Turn pixels of 0..255 into the inputs of a network. Frozen; it reads and writes JSON.

    Args:
        size: int, height and width of the network's images in pixels.
        crop: float in (0, 1], the share of the resized image that the central crop keeps; the
            short side is resized to `round(size / crop)`.
        interpolation: "nearest", "bilinear" or "bicubic", of the resize.
        mean: tuple of floats, a channel's mean, of pixels in 0..1.
        std: tuple of floats, a channel's standard deviation, of pixels in 0..1.
        zca: `ZCA` or None. When given, images are contrast normalised (GCN) and whitened with
            it, and mean and std are not used.
        class_names: tuple of str, the names of the classes in the order of the outputs.

    Raises:
        ValueError: a value out of range.

    Example:

    ```python
    preprocessing = keras_wrn.Preprocessing(size=32, mean=(0.5,) * 3, std=(0.25,) * 3)
    x = preprocessing.normalize(np.zeros((1, 32, 32, 3), "uint8"))   # all -2.0
    ```
    """

    size: int
    crop: float = 1.0
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    zca: "ZCA | None" = None
    class_names: tuple[str, ...] = ()

    def __post_init__(self):
        for field in ("mean", "std", "class_names"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        if self.size < 1:
            raise ValueError(f"`size` should be positive. Received: size={self.size!r}")
        if not 0 < self.crop <= 1:
            raise ValueError(f"`crop` should be in (0, 1]. Received: crop={self.crop!r}")
        if self.interpolation not in ("nearest", "bilinear", "bicubic"):
            raise ValueError(
                "`interpolation` should be 'nearest', 'bilinear' or 'bicubic'. "
                f"Received: interpolation={self.interpolation!r}"
            )
        if len(self.mean) != len(self.std) or min(self.std, default=0) <= 0:
            raise ValueError(
                "`mean` and `std` should have one value a channel, std above 0. "
                f"Received: mean={self.mean}, std={self.std}"
            )

    @property
    def channels(self) -> int:
        return len(self.mean)

    def normalize(self, images):
        """Normalise images (batch, height, width, channels) of 0..255 to float32, same shape.

        Takes a NumPy array, or a tensor of the Keras backend.
        """
        is_array = isinstance(images, np.ndarray)
        images = images.astype("float32") if is_array else keras.ops.cast(images, "float32")
        if self.zca is not None:
            return self.zca(images)
        scale = (1 / (255 * np.asarray(self.std, "float64"))).astype("float32")
        shift = (np.asarray(self.mean, "float64") / np.asarray(self.std, "float64")).astype(
            "float32"
        )
        return images * scale - shift

    def prepare(self, image):
        """Resize and crop one PIL image to uint8 (size, size, channels)."""
        from PIL import Image

        image = image.convert("RGB" if self.channels == 3 else "L")
        short = max(self.size, round(self.size / self.crop))
        scale = short / min(image.size)
        width, height = (max(short, round(side * scale)) for side in image.size)
        if (width, height) != image.size:
            resample = getattr(Image.Resampling, self.interpolation.upper())
            image = image.resize((width, height), resample)
        left, top = (width - self.size) // 2, (height - self.size) // 2
        image = image.crop((left, top, left + self.size, top + self.size))
        return np.asarray(image, "uint8").reshape(self.size, self.size, self.channels)

    def get_config(self):
        config = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        for field in ("mean", "std", "class_names"):
            config[field] = list(config[field])
        config["zca"] = None if self.zca is None else {"file": ZCA_FILE, "sha256": self.zca.digest}
        return config

    @classmethod
    def from_config(cls, config):
        """Make one from `get_config()`. The ZCA matrices are files: only `load` brings them."""
        return cls(**{**config, "zca": None})

    def save(self, directory):
        """Write preprocessing.json, and zca.npz where there is one, into the directory."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / JSON_FILE).write_text(json.dumps(self.get_config(), indent=1) + "\n")
        if self.zca is not None:
            self.zca.save(directory / ZCA_FILE)

    @classmethod
    def load(cls, directory):
        """Read what `save` wrote.

        Raises:
            ValueError: the matrices are not those of the JSON file.
        """
        directory = Path(directory)
        config = json.loads((directory / JSON_FILE).read_text())
        stored = config["zca"]
        preprocessing = cls.from_config(config)
        if stored is None:
            return preprocessing
        zca = ZCA.load(directory / stored["file"])
        if zca.digest != stored["sha256"]:
            raise ValueError(
                f"{directory / stored['file']} is not the file {JSON_FILE} was saved with. "
                f"Expected sha256 {stored['sha256']}. Received: {zca.digest}"
            )
        return dataclasses.replace(preprocessing, zca=zca)


@dataclasses.dataclass(frozen=True, eq=False)
class ZCA:
    """Global contrast normalisation, then ZCA whitening, of images of one size.

    An image is brought to mean 0 and length 55, as in pylearn2's script; then x becomes
    (x - mean) @ matrix, with matrix = U (S + 0.1)^(-1/2) U' from the covariance U S U' of the
    training images.

    Args:
        mean: float32 (d,), d = height x width x channels.
        matrix: float32 (d, d).
    """

    mean: np.ndarray
    matrix: np.ndarray

    @classmethod
    def fit(cls, images, cache_dir=None):
        """Fit on training images (n, height, width, channels) of 0..255.

        The result is cached by the images' hash in `cache_dir`: None for
        `keras_wrn` in Keras' own directory (KERAS_HOME or ~/.keras), False for no cache.
        """
        if cache_dir is None:
            cache_dir = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "keras_wrn"
        path = None
        if cache_dir is not False:
            key = hashlib.sha256(repr((images.shape, str(images.dtype))).encode())
            key.update(np.ascontiguousarray(images))
            path = Path(cache_dir) / f"zca-{key.hexdigest()[:16]}.npz"
            if path.exists():
                return cls.load(path)
        x = _contrast_normalize(images.astype("float32")).reshape(len(images), -1)
        mean = x.mean(axis=0, dtype="float64")
        x = x - mean.astype("float32")
        covariance = (x.T @ x).astype("float64") / len(x) + ZCA_BIAS * np.eye(x.shape[1])
        values, vectors = np.linalg.eigh(covariance)
        matrix = (vectors / np.sqrt(values)) @ vectors.T
        zca = cls(mean.astype("float32"), matrix.astype("float32"))
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            zca.save(path)
        return zca

    def __call__(self, images):
        """Whiten float32 images (batch, height, width, channels) of 0..255, to the same shape."""
        xp = np if isinstance(images, np.ndarray) else keras.ops
        x = xp.reshape(_contrast_normalize(images), (-1, len(self.mean)))
        return xp.reshape(xp.matmul(x - self.mean, self.matrix), (-1, *images.shape[1:]))

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.mean.tobytes() + self.matrix.tobytes()).hexdigest()

    def save(self, path):
        """Write the two arrays to a `.npz` file, aside first and then renamed."""
        temporary = Path(path).with_suffix(f".{os.getpid()}.tmp")
        with open(temporary, "wb") as file:
            np.savez(file, mean=self.mean, matrix=self.matrix)
        os.replace(temporary, path)

    @classmethod
    def load(cls, path):
        with np.load(path) as arrays:
            return cls(arrays["mean"], arrays["matrix"])


def _contrast_normalize(images):
    xp = np if isinstance(images, np.ndarray) else keras.ops
    axes = tuple(range(1, len(images.shape)))
    images = images - xp.mean(images, axis=axes, keepdims=True)
    length = xp.sqrt(xp.sum(images * images, axis=axes, keepdims=True))
    return images * (GCN_SCALE / xp.where(length < 1e-8, xp.ones_like(length), length))
