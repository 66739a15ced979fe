"""How images become what a network was trained on: size, mean and std, or GCN and ZCA."""

import dataclasses
import json
import math
from pathlib import Path

import keras
import numpy as np

from keras_wrn.checks import check_count
from keras_wrn.data.names import checked_names
from keras_wrn.data.zca import UNREADABLE, ZCA

KINDS = ("meanstd", "scale", "zca")
JSON_FILE = "preprocessing.json"
ZCA_FILE = "zca.npz"
MAX_PIXELS = 2**26  # in an image to decode, or once resized: 8192 x 8192


@keras.saving.register_keras_serializable("keras_wrn")
@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Turn pixels in 0..255 into a network's inputs. Frozen; it reads and writes JSON.

    Args:
        size: int, height and width of the network's images in pixels.
        crop: float in (0, 1], the share of the resized image that the central crop keeps; the
            short side is resized to `floor(size / crop)`.
        interpolation: "nearest", "bilinear" or "bicubic", for the resize.
        mean: tuple of floats, each channel's mean, for pixels in 0..1.
        std: tuple of floats, each channel's standard deviation, for pixels in 0..1.
        zca: `ZCA` or None. When given, images are contrast normalised (GCN) and whitened with
            it, and mean and std are not used.
        class_names: tuple of str, the names of the classes in the order of the outputs, each a
            line of text; they are kept in the Unicode form NFC.
        in_model: bool, whether the network takes pixels in 0..255 and normalises them itself
            (`include_preprocessing=True`); then `normalize` does not. A model sets this in the
            preprocessing that it is given.

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
    zca: ZCA | None = None
    class_names: tuple[str, ...] = ()
    in_model: bool = False

    def __post_init__(self):
        object.__setattr__(self, "class_names", checked_names(self.class_names))
        for field in ("mean", "std"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        object.__setattr__(self, "size", check_count("size", self.size))
        # Not NumPy's, which JSON cannot hold.
        object.__setattr__(self, "crop", float(self.crop))
        for field in ("mean", "std"):
            object.__setattr__(self, field, tuple(float(v) for v in getattr(self, field)))
        if not 0 < self.crop <= 1:
            raise ValueError(f"`crop` should be in (0, 1]. Received: crop={self.crop!r}")
        if self.interpolation not in ("nearest", "bilinear", "bicubic"):
            raise ValueError(
                "`interpolation` should be 'nearest', 'bilinear' or 'bicubic'. "
                f"Received: interpolation={self.interpolation!r}"
            )
        finite = np.isfinite([*self.mean, *self.std]).all()
        if len(self.mean) != len(self.std) or not finite or min(self.std, default=0) <= 0:
            raise ValueError(
                "`mean` and `std` should have one finite value a channel, std above 0. "
                f"Received: mean={self.mean}, std={self.std}"
            )
        if self.zca is not None and self.in_model:
            raise ValueError(
                "Expected a network that takes normalised images, to whiten them with `zca`. "
                "Received: one that normalises them by itself (`include_preprocessing=True`)"
            )

    @property
    def channels(self) -> int:
        return len(self.mean)

    @property
    def short_side(self) -> int:
        """What the short side of an image is resized to before the crop."""
        return max(self.size, math.floor(self.size / self.crop + 1e-6))

    @property
    def scale_and_shift(self):
        """What pixels are multiplied with, and what is then subtracted: float32 (channels,)."""
        mean, std = np.asarray(self.mean, "float64"), np.asarray(self.std, "float64")
        return (1 / (255 * std)).astype("float32"), (mean / std).astype("float32")

    def normalize(self, images):
        """Turn images (batch, height, width, channels) in 0..255 into what the network takes.

        The result is float32 of the same shape, normalised unless the network does that
        (`in_model`). Takes a NumPy array, or a tensor of the Keras backend.
        """
        is_array = isinstance(images, np.ndarray)
        images = images.astype("float32") if is_array else keras.ops.cast(images, "float32")
        if self.in_model:
            return images
        if self.zca is not None:
            return self.zca(images)
        scale, shift = self.scale_and_shift
        _, *shape = images.shape
        if None in shape:
            return images * scale - shift
        # By rows of pixels: broadcasting over every 3 numbers takes twice as long.
        *height, width, channels = shape
        scale, shift = (np.tile(values, width) for values in (scale, shift))
        xp = np if is_array else keras.ops
        rows = xp.reshape(images, (-1, *height, width * channels)) * scale - shift
        return xp.reshape(rows, (-1, *shape))

    def resized(self, size):
        """The width and height that an image of that (width, height) is resized to.

        Raises:
            ValueError: it would have more than `MAX_PIXELS`.
        """
        short = self.short_side
        width, height = (short * side // min(size) for side in size)
        if width * height > MAX_PIXELS:
            raise ValueError(
                f"Expected an image of at most {MAX_PIXELS:,} pixels once its short side is "
                f"{short}. Received: {size[0]} x {size[1]}"
            )
        return width, height

    def prepare(self, image):
        """Resize and crop one PIL image to uint8 (size, size, channels).

        The sizes and the position of the crop match torchvision's and timm's evaluation transforms:
        the long side is rounded down, and half pixels in the position are rounded to even.

        Raises:
            ValueError: the preprocessing has neither 1 nor 3 channels, or the image is so long and
                thin that it would have more than `MAX_PIXELS` once resized.
        """
        if self.channels not in (1, 3):
            raise ValueError(
                "Expected a preprocessing of 1 (grey) or 3 (RGB) channels. Received: mean and std "
                f"of {self.channels}; give arrays of the model's size instead"
            )
        image = image.convert("RGB" if self.channels == 3 else "L")
        width, height = self.resized(image.size)
        if (width, height) != image.size:
            image = image.resize((width, height), resample(self.interpolation))
        left, top = round((width - self.size) / 2), round((height - self.size) / 2)
        image = image.crop((left, top, left + self.size, top + self.size))
        return np.asarray(image, "uint8").reshape(self.size, self.size, self.channels)

    def get_config(self):
        config = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        for field in ("mean", "std", "class_names"):
            config[field] = list(config[field])
        if not self.in_model:
            del config["in_model"]  # which earlier versions do not know
        config["zca"] = None if self.zca is None else {"file": ZCA_FILE, "sha256": self.zca.digest}
        return config

    @classmethod
    def from_config(cls, config):
        """Make one from `get_config()`.

        The ZCA matrices are in a file that only `load` reads; until then normalising is an error.
        """
        zca = config["zca"] and _MissingZCA(config["zca"]["sha256"])
        return cls(**{**config, "zca": zca})

    def save(self, directory):
        """Write preprocessing.json, and zca.npz if there is one, into the directory."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / JSON_FILE).write_text(json.dumps(self.get_config(), indent=1) + "\n")
        if self.zca is not None:
            self.zca.save(directory / ZCA_FILE)

    @classmethod
    def load(cls, directory):
        """Read what `save` wrote, from its directory or from its JSON file under any name.

        Raises:
            ValueError: a file is damaged, or the matrices are not those of the JSON file.
        """
        file = Path(directory)
        file = file / JSON_FILE if file.is_dir() else file
        directory = file.parent
        try:
            config = json.loads(file.read_text())
            stored = config["zca"]
            path = None if stored is None else directory / stored["file"]
            preprocessing = cls.from_config(config)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else error
            names = ", ".join(f.name for f in dataclasses.fields(cls))
            raise ValueError(
                f"{file} is not what `Preprocessing.save` writes, an object of {names}: {reason}"
            ) from error
        if path is None:
            return preprocessing
        try:
            zca = ZCA.load(path)
        except UNREADABLE as error:
            raise ValueError(f"{path}, the whitening, cannot be read: {error}") from error
        if zca.digest != stored["sha256"]:
            raise ValueError(
                f"{path} is not the file {JSON_FILE} was saved with. "
                f"Expected sha256 {stored['sha256']}. Received: {zca.digest}"
            )
        return dataclasses.replace(preprocessing, zca=zca)


def resample(interpolation):
    """Pillow's filter of that name; they are smoothed when an image becomes smaller."""
    from PIL import Image

    return getattr(Image.Resampling, interpolation.upper())


@dataclasses.dataclass(frozen=True)
class _MissingZCA:
    """Stands in for `ZCA` if a configuration has whitening but not its matrices."""

    digest: str
    mean: tuple = ()

    def __call__(self, images):
        raise ValueError(
            "This preprocessing whitens with ZCA, and its matrices are not part of a "
            "configuration. Load the model from its `.keras` file, or the preprocessing with "
            "`Preprocessing.load(directory)`."
        )

    save = __call__


def default_preprocessing(info, kind="meanstd", train_images=None):
    """Return the `Preprocessing` of a dataset.

    Args:
        info: `DatasetInfo`.
        kind: "meanstd" for the authors' constants, "scale" to divide by 255, "zca" for GCN and
            ZCA whitening.
        train_images: uint8 (n, height, width, channels), which "zca" is fitted on.

    Raises:
        ValueError: an unknown kind, or "zca" without images.

    Example:

    ```python
    info = keras_wrn.data.dataset_info("cifar10")
    preprocessing = keras_wrn.data.default_preprocessing(info, "scale")
    ```
    """
    if kind not in KINDS:
        raise ValueError(f"The kind should be one of {KINDS}. Received: kind={kind!r}")
    if kind == "zca" and train_images is None:
        raise ValueError("The kind 'zca' is fitted on `train_images`. Received: None")
    channels = len(info.mean)
    return Preprocessing(
        size=info.size,
        mean=info.mean if kind == "meanstd" else (0.0,) * channels,
        std=info.std if kind == "meanstd" else (1.0,) * channels,
        zca=ZCA.fit(train_images) if kind == "zca" else None,
        class_names=info.class_names,
    )
