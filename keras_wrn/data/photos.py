"""Photos that stay on disk: read, decoded and cropped one at a time, by index."""

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from keras_wrn.data.images import decoding, open_image
from keras_wrn.data.preprocess import Preprocessing
from keras_wrn.data.resized_crop import resized_crop
from keras_wrn.errors import DataError
from keras_wrn.files import printable

NAMED = 5  # the most files that a message names
CHUNK = 256  # images that are decoded at once


class Files:
    """Encoded images, one a file.

    Args:
        paths: the files.
        root: the folder that messages name.
    """

    def __init__(self, paths, root):
        self.paths = [os.fspath(path) for path in paths]
        self.root = root

    def __len__(self):
        return len(self.paths)

    def read(self, index):
        """The bytes of one image."""
        return Path(self.paths[index]).read_bytes()

    def take(self, indices):
        """Some of these images, by their indices."""
        return Files([self.paths[i] for i in indices], self.root)

    def graph_reader(self):
        """`read` for tensors inside tf.data."""
        import tensorflow as tf

        paths = tf.constant([os.fsencode(path) for path in self.paths])
        return lambda index: tf.io.read_file(tf.gather(paths, index))

    def name(self, index):
        """One image, in messages."""
        return f"the file {printable(self.paths[index])}"

    def marks(self):
        """Yield what tells these images from others, without reading them: bytes for each."""
        for index, path in enumerate(self.paths):
            try:
                size = os.path.getsize(path)
            except OSError as error:
                raise DataError(f"{self.name(index)} cannot be read: {error.strerror}") from error
            yield os.fsencode(os.path.relpath(path, self.root)) + f" {size}\n".encode()


class Encoded:
    """Encoded images in memory; see `Files`.

    Args:
        images: sequence of bytes.
        root: str, what they are, for messages.
    """

    def __init__(self, images, root):
        self.images, self.root = list(images), root

    def __len__(self):
        return len(self.images)

    def read(self, index):
        """The bytes of one image."""
        return self.images[index]

    def graph_reader(self):
        """`read` for tensors inside tf.data."""
        import tensorflow as tf

        images = tf.constant(self.images)
        return lambda index: tf.gather(images, index)

    def name(self, index):
        """One image, in messages."""
        return f"number {index} of {self.root}"

    def marks(self):
        """Yield the images themselves."""
        yield from self.images


class Photos:
    """Encoded images as an array (n, size, size, channels) of uint8 that is not in memory.

    An index, a slice or an array of indices reads, decodes, resizes and crops those images, in
    several threads.

    Args:
        source: `Files` or the like, with the same methods.
        preprocessing: `Preprocessing`, whose size, crop and interpolation are used.

    Attributes:
        failed: str, a sentence on the first image that could not be read or decoded; "" if all were
            so far. TensorFlow does not pass on an error's text as it is.

    Raises:
        DataError: on taking images that cannot be read or decoded; the message names them.

    Example:

    ```python
    folder = keras_wrn.data.folder.scan_folder("photos/train")
    photos = folder.photos(keras_wrn.Preprocessing(224, crop=0.875))
    photos.shape         # (1000, 224, 224, 3)
    photos[:8].shape     # (8, 224, 224, 3)
    ```
    """

    def __init__(self, source, preprocessing: Preprocessing):
        self.source, self.preprocessing = source, preprocessing
        side = preprocessing.size
        self.shape = len(source), side, side, preprocessing.channels
        self.ndim, self.dtype = 4, np.dtype("uint8")
        self.failed = ""
        self._pool: ThreadPoolExecutor | None = None

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        if isinstance(index, int | np.integer):
            return self._whole(index)
        chosen = np.arange(len(self))[index]
        images = np.empty((len(chosen), *self.shape[1:]), "uint8")
        for i, image in enumerate(self._each(self._whole, chosen)):
            images[i] = image
        return images

    def decoded(self, index):
        """One image as it is, neither resized nor cropped: uint8 (height, width, channels)."""
        mode = "RGB" if self.shape[3] == 3 else "L"
        return self._opened(index, lambda image: np.atleast_3d(np.asarray(image.convert(mode))))

    def crop(self, index, draws, size, scale, ratio):
        """A random-resized crop of one image: uint8 (*size, channels).

        Args:
            index: int.
            draws: float (22,); see `resized_box`.
            size: (height, width).
            scale, ratio: pairs of floats; see `resized_box`.
        """
        channels, interpolation = self.shape[3], self.preprocessing.interpolation

        def cut(image):
            image = image.convert("RGB" if channels == 3 else "L")
            image = resized_crop(image, draws, size, scale, ratio, interpolation)
            return np.asarray(image, "uint8").reshape(*size, channels)

        return self._opened(index, cut)

    def crops(self, indices, draws, size, scale, ratio):
        """Random-resized crops of several images, (n, *size, channels); see `crop`."""
        rows = [(index, row, size, scale, ratio) for index, row in zip(indices, draws, strict=True)]
        return np.stack(self._each(lambda row: self.crop(*row), rows))

    def in_memory(self):
        """All images as an array.

        Raises:
            DataError: some cannot be read or decoded; the message names the first of them.
        """
        images, problems = np.empty(self.shape, "uint8"), []
        for start in range(0, len(self), CHUNK):
            for i, image in enumerate(self._tried(self._whole, self._chunk(start)), start):
                if isinstance(image, DataError):
                    problems.append(image)
                else:
                    images[i] = image
        self._raise(problems)
        return images

    def check(self, check_size=None):
        """Decode all images, without keeping any, and see whether they can be resized.

        Args:
            check_size: function of an image's index, width and height that raises a ValueError if
                the image cannot be used; by default, if it cannot be resized by the preprocessing.

        Raises:
            DataError: some cannot be read, decoded or used; the message names the first of them.
        """
        if check_size is None:

            def check_size(index, width, height):
                self.preprocessing.resized((width, height))

        def decode(index):
            self._opened(index, lambda image: check_size(index, *image.size))

        found = (x for start in range(0, len(self), CHUNK)
                 for x in self._tried(decode, self._chunk(start)))  # fmt: skip
        self._raise([x for x in found if x is not None])

    def _chunk(self, start):
        return range(start, min(len(self), start + CHUNK))

    def _whole(self, index):
        return self._opened(index, self.preprocessing.prepare)

    def _opened(self, index, function):
        """What a function makes of one decoded image."""
        name = self.source.name(index)
        try:
            image = open_image(self.source.read(index), name)
            with decoding(name):
                return function(image)
        except (OSError, ValueError) as error:
            reason = str(error)
            if isinstance(error, OSError):
                reason = f"{name} cannot be read: {error.strerror or error}"
            self.failed = self.failed or reason
            raise DataError(reason) from error

    def _each(self, function, items):
        """A function's results, in order, from several threads."""
        results = self._tried(function, items)
        self._raise([x for x in results if isinstance(x, DataError)])
        return results

    def _tried(self, function, items):
        def tried(item):
            try:
                return function(item)
            except DataError as error:
                return error

        if self._pool is None:
            self._pool = ThreadPoolExecutor(min(32, os.cpu_count() or 1))
        return list(self._pool.map(tried, items))

    def _raise(self, problems):
        if problems:
            images = "1 image" if len(problems) == 1 else f"{len(problems)} images"
            more = f"; and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
            named = "; ".join(str(problem) for problem in problems[:NAMED])
            raise DataError(f"{images} of {self.source.root} cannot be read: {named}{more}")


@dataclasses.dataclass(frozen=True)
class PhotoSet:
    """Labelled photos that are not files of a folder: of TFDS, or made up.

    Args:
        path: str, what they are, for messages.
        class_names: tuple of str.
        labels: tuple of int, the class of each photo.
        source: `keras_wrn.data.tfds_photos.Records`, `Encoded` or the like.
        left_out: dict, always empty; see `keras_wrn.data.folder.ImageFolder`.
    """

    path: str
    class_names: tuple[str, ...]
    labels: tuple[int, ...]
    source: Any
    left_out: dict = dataclasses.field(default_factory=dict, hash=False)

    def __len__(self):
        return len(self.labels)

    def take(self, indices):
        """The same with some of its photos, by their indices."""
        return dataclasses.replace(
            self, labels=tuple(self.labels[i] for i in indices), source=self.source.take(indices)
        )

    def photos(self, preprocessing):
        """The `Photos`, as a preprocessing resizes and crops them."""
        return Photos(self.source, preprocessing)
