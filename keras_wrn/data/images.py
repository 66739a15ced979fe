"""From one image in any form (a file, bytes, a PIL image, an array) to the network's pixels."""

import contextlib
import io
import os
import warnings
from pathlib import Path

import keras
import numpy as np

from keras_wrn.data.preprocess import MAX_PIXELS
from keras_wrn.files import printable
from keras_wrn.web import ask

FORMATS = "JPEG", "PNG", "GIF", "BMP", "WEBP"  # of files, by Pillow's names
MAX_BYTES = 2**26  # of an image at a URL
TIMEOUT = 30  # seconds that its download may take


def image_pixels(image, preprocessing, what="the image"):
    """Bring one image to the size that a network takes.

    Args:
        image: the path of an image file, a URL (http or https), its bytes, a `PIL.Image`, or an
            array (height, width, channels) in 0..255; a grey one may also be (height, width), and
            have one channel if the network takes three. An array of the network's size is returned
            as it is; any other image is resized and cropped by `preprocessing`.
        preprocessing: `keras_wrn.Preprocessing`.
        what: str, the image's name in messages.

    Returns:
        An array (size, size, channels) in 0..255, uint8 unless an array of another type was given.

    Raises:
        ValueError: an image that cannot be fetched or decoded for any reason, or an array of the
            wrong rank, number of channels or range.
        OSError: the file cannot be read, for example because there is none (`FileNotFoundError`).

    Example:

    ```python
    preprocessing = keras_wrn.Preprocessing(size=32, crop=0.875)
    photo = np.zeros((480, 640, 3), "uint8")
    keras_wrn.data.images.image_pixels(photo, preprocessing).shape   # (32, 32, 3)
    ```
    """
    size, channels = preprocessing.size, preprocessing.channels
    image, what = _read(image, what)
    if isinstance(image, np.ndarray):
        if image.shape[2] == 1 and channels == 3:
            image = np.repeat(image, 3, axis=2)  # as for grey files
        if image.shape[2] != channels:
            raise ValueError(
                f"Expected {what} with the model's {channels} channels. "
                f"Received: shape {image.shape}"
            )
        if image.shape == (size, size, channels):
            return image
    if channels not in (1, 3):
        raise ValueError(
            "Only images of 1 or 3 channels can be read from files or resized. Expected "
            f"{what} as an array ({size}, {size}, {channels})."
        )
    image = to_pil(image) if isinstance(image, np.ndarray) else image
    with decoding(what):
        return preprocessing.prepare(image)


def picture(image, what="the image"):
    """Any image that `image_pixels` takes, as a uint8 array to look at, in its own size."""
    image, what = _read(image, what)
    if isinstance(image, np.ndarray):
        image = to_pil(image)
    with decoding(what):
        return np.asarray(image.convert("RGB"))


def png_bytes(image, what="the image"):
    """A PIL image as the bytes of a PNG, with the pixels that `image_pixels` gets from it."""
    image = _to_8_bits(image, what)
    image = image.convert("L" if image.mode in ("1", "L") else "RGB")
    image.info = {}  # without profiles and the like, which Pillow would write too
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def jpeg_bytes(array):
    """An array (height, width, 1 or 3) of 0..255 as the bytes of a JPEG."""
    data = io.BytesIO()
    to_pil(array).save(data, "JPEG")
    return data.getvalue()


def check_array(image, what, rank=3):
    """Return images as a NumPy array in 0..255, or say what is wrong with them.

    Raises:
        ValueError: the wrong rank or type, an empty array, or values outside 0..255.
    """
    array = keras.ops.convert_to_numpy(image) if keras.ops.is_tensor(image) else np.asarray(image)
    if array.ndim != rank or array.dtype.kind not in "uif" or 0 in array.shape:
        shape = "(height, width, channels)" if rank == 3 else "(n, height, width, channels)"
        raise ValueError(
            f"Expected {what} as an array {shape} of 0..255"
            f"{', or a path, bytes or PIL image' if rank == 3 else ''}. "
            f"Received: {type(image).__name__} of shape {array.shape} and type {array.dtype}"
        )
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= 255):
        raise ValueError(f"Expected pixels of 0..255 for {what}. Received: {low} to {high}")
    if array.dtype.kind == "f" and 0 < high <= 1:
        warnings.warn(
            f"Pixels are expected in 0..255, and those of {what} are floats of {low:.3g} to "
            f"{high:.3g}: multiply by 255 if they were scaled to 0..1.",
            stacklevel=2,
        )
    return array


def _read(image, what):
    """A PIL image from a path, bytes or PIL image, a checked array from anything else; its name."""
    from PIL import Image

    if isinstance(image, str) and image.startswith(("http://", "https://")):
        return open_image(_fetch(image), image), image
    if isinstance(image, str) and "://" in image and not os.path.exists(image):
        raise ValueError(f"Expected a file, or a URL of http or https. Received: {image}")
    if isinstance(image, str | os.PathLike):
        what = f"the file {printable(os.fspath(image))}"
        return open_image(Path(image).read_bytes(), what), what
    if isinstance(image, bytes | bytearray | memoryview):
        return open_image(bytes(image), what), what
    if isinstance(image, Image.Image):
        with decoding(what):
            image.load()
        return _to_8_bits(image, what), what
    grey = getattr(image, "ndim", None) == 2
    return check_array(image[..., None] if grey else image, what), what


def _fetch(url):
    """The bytes of an image at a URL."""
    try:
        answer, body = ask("GET", url, TIMEOUT, MAX_BYTES)
        answer.raise_for_status()
    except OSError as error:  # HTTP errors too
        raise ValueError(f"{url} cannot be fetched: {error}") from error
    return bytes(body)


def open_image(data, what):
    """Decode the bytes of an image file: a PIL image of at most 8 bits a channel.

    Raises:
        ValueError: they are not an image of a known format, or a damaged or too large one.
    """
    from PIL import Image

    with decoding(what):
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} is above {MAX_PIXELS:,} pixels")
        image.load()
    return _to_8_bits(image, what)


@contextlib.contextmanager
def decoding(what):
    """Name the image in any failure to decode it."""
    from PIL import UnidentifiedImageError

    try:
        yield
    except Exception as error:  # decoders of damaged files raise what they like
        reason = (str(error).splitlines() or [f"its decoder fails with {type(error).__name__}"])[0]
        if isinstance(error, UnidentifiedImageError):  # its text names an object in memory
            reason = "no known image format"
        raise ValueError(f"Expected an image for {what}; it cannot be decoded: {reason}") from error


def _to_8_bits(image, what):
    from PIL import Image

    if image.mode == "F":
        raise ValueError(
            f"Expected 8 or 16 bits a pixel in {what}. Received: floats, whose range is unknown; "
            "give an array of 0..255"
        )
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip at 255
        pixels = np.asarray(image, "int64")
        return Image.fromarray(np.clip((pixels + 128) // 257, 0, 255).astype("uint8"))
    return image


def to_pil(array):
    """An array (height, width, 1 or 3) of 0..255 as a PIL image.

    Raises:
        ValueError: it has other channels.
    """
    from PIL import Image

    array = np.rint(array).astype("uint8")
    if array.shape[2] not in (1, 3):
        raise ValueError(f"Expected an image of 1 or 3 channels. Received: shape {array.shape}")
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
