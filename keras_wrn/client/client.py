"""A client for a TensorFlow Serving that serves one of our SavedModels."""

import contextlib
import math
import os
import time
from pathlib import Path

import numpy as np

from keras_wrn.client.answers import WrongAnswer, classified, detected, inspected, predicted
from keras_wrn.client.grpc import GrpcProtocol
from keras_wrn.client.rest import RestProtocol
from keras_wrn.client.target import Target
from keras_wrn.data.images import check_array, png_bytes, to_pil
from keras_wrn.errors import ServingError


class ServingClient:
    """A client of one model on one server.

    If the server is unavailable (starting, or its queue is full), the request is retried after
    pauses that double. The server takes up to 1024 images per request (see `export_serving`).

    Args:
        url: str; for REST "http://host:8501", for gRPC "host:8500".
        model: str, the model's name on the server.
        protocol: "rest", or "grpc", which needs the extra `serving`.
        timeout: float, seconds that a method call may take, retries included.
        version: int, or None for the newest.
        label: str such as "stable", instead of `version`.
        retries: int, how often a request is retried, 0 to 4.
        backoff: float, seconds, the pause that is doubled.

    Raises:
        ValueError: another protocol, another kind of URL, or both a version and a label.
        ServingError: raised by every method: no server there, no such model, an input of another
            shape, no answer in time, a redirect (none is followed), or an answer that no SavedModel
            of this package gives: other outputs, not one row for each image, NaN.

    Source: https://www.tensorflow.org/tfx/serving/api_rest.

    Example:

    ```python
    client = keras_wrn.ServingClient("http://localhost:8501", model="cifar10_wrn16_2")
    client.wait(60)
    client.classify("photo.jpg")["pred_class"]
    ```
    """

    def __init__(
        self, url, model, *, protocol="rest", timeout=10.0, version=None, label=None, retries=4,
        backoff=0.1,
    ):  # fmt: skip
        if protocol not in ("rest", "grpc"):
            raise ValueError(f"`protocol` should be 'rest' or 'grpc'. Received: {protocol!r}")
        if version is not None and label is not None:
            raise ValueError(
                f"Expected a version or a label. Received: version={version}, label={label!r}"
            )
        is_http = str(url).startswith(("http://", "https://"))
        if is_http != (protocol == "rest"):
            expected = "http://host:8501" if protocol == "rest" else "host:8500"
            raise ValueError(
                f"`url` should be such as {expected!r} for {protocol}. Received: {url!r}"
            )
        if not 0 < timeout < math.inf or retries not in range(5) or not 0 <= backoff < math.inf:
            raise ValueError(  # gRPC allows four
                "`timeout` should be above 0, `retries` 0 to 4, and `backoff` 0 or more. "
                f"Received: timeout={timeout}, retries={retries}, backoff={backoff}"
            )
        self.url, self.model = str(url).rstrip("/"), model
        kind = RestProtocol if protocol == "rest" else GrpcProtocol
        self._target = Target(self.url, model, version, label, timeout, retries, backoff)
        self._protocol: RestProtocol | GrpcProtocol = kind(self._target)

    def classify(self, image_or_images):
        """Classify encoded images; the server decodes, resizes and crops.

        Args:
            image_or_images: one image or a list of them: the path of an image file, its bytes, a
                `PIL.Image`, or a uint8 array (height, width, channels). An array (batch, height,
                width, channels) is a list of images.

        Returns:
            For one image a dict of `valid` (bool, whether it could be decoded), `pred_label` (int),
            `pred_score` (float), `pred_class` (str), and `top_k`, a list of {"label", "class",
            "score"}, best first. For an image that is not valid these are -1, 0, "" and []. For
            several images, a list of such dicts.

        Raises:
            FileNotFoundError: no such image file.
            ValueError: an array of another type or rank, or a PIL image with float pixels.
        """
        return self._of_encoded("classify", image_or_images, classified)

    def detect(self, image_or_images):
        """Find things in encoded images, with a served detector; the server decodes them.

        Args:
            image_or_images: as for `classify`.

        Returns:
            For one image a dict of `valid` (bool, whether it could be decoded), `boxes`, float32
            (k, 4), x, y, width, height in pixels of the image, `scores`, float32 (k,), best
            first, `labels`, int32 (k,), and `classes`, a list of k names. For an image that is not
            valid, k is 0. For several images, a list of such dicts.

        Raises:
            FileNotFoundError: no such image file.
            ValueError: an array of another type or rank, or a PIL image with float pixels.
        """
        return self._of_encoded("detect", image_or_images, detected)

    def inspect(self, image_or_images):
        """Ask how odd encoded images are, of a served PatchCore or PaDiM; the server decodes them.

        Args:
            image_or_images: as for `classify`.

        Returns:
            For one image a dict of `valid` (bool, whether it could be decoded), `score`, float,
            higher for what looks odd, `is_anomaly` (bool), and `map`, float32 (size, size), of the
            image squeezed into the model's square. For an image that is not valid these are 0,
            False and zeros. For several images, a list of such dicts.

        Raises:
            FileNotFoundError: no such image file.
            ValueError: an array of another type or rank, or a PIL image with float pixels.
        """
        return self._of_encoded("inspect", image_or_images, inspected)

    def predict(self, images):
        """Ask for the outputs of the network on pixels of its own size.

        Args:
            images: (batch, height, width, channels) of 0..255, uint8 or float.

        Returns:
            dict of `probabilities` and `logits`, float32 (batch, classes).

        Raises:
            ValueError: an array of another rank or type, empty, or with values outside 0..255.
        """
        images = check_array(images, "the images", rank=4)
        signature = "serve_uint8" if images.dtype == np.uint8 else "serving_default"
        dtype = "uint8" if signature == "serve_uint8" else "float32"
        with self._answers():
            return predicted(self._ask(signature, {"image": images.astype(dtype)}), len(images))

    def status(self):
        """The state of each version, or of the client's own: dict such as {1: "AVAILABLE"}."""
        return self._status(self._target.timeout)

    def wait(self, seconds=60.0):
        """Wait until the model is available.

        Raises:
            ServingError: it is not available after so many seconds.
        """
        end, reason = time.monotonic() + seconds, None
        while True:
            try:
                left = max(end - time.monotonic(), 1.0)
                states = self._status(min(left, self._target.timeout))
                if "AVAILABLE" in states.values():
                    return
                reason = f"its state is {states}"
            except ServingError as error:
                reason = str(error)
            if time.monotonic() > end:
                raise ServingError(
                    f"The model {self.model!r} is not available at {self.url} after {seconds:g} s: "
                    f"{reason}"
                )
            time.sleep(min(0.5, max(0.0, end - time.monotonic()) + 0.01))

    def close(self):
        """Close the connections."""
        self._protocol.close()

    def _of_encoded(self, signature, image_or_images, read):
        several = isinstance(image_or_images, list | tuple)
        several = several or getattr(image_or_images, "ndim", 0) == 4
        images = list(image_or_images) if several else [image_or_images]
        if not images:
            return []
        data = np.array([_encoded(image) for image in images], object)
        with self._answers():
            results = read(self._ask(signature, {"image_bytes": data}), len(images))
        return results if several else results[0]

    def _ask(self, signature, inputs):
        return self._protocol.predict(signature, inputs, self._target.timeout)

    def _status(self, timeout):
        with self._answers():
            return self._protocol.status(timeout)

    @contextlib.contextmanager
    def _answers(self):
        """Name the model and server in errors about a wrong answer."""
        try:
            yield
        except WrongAnswer as error:
            raise self._target.wrong(error) from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _encoded(image):
    """The bytes of an image file, however the image is given."""
    if isinstance(image, str | os.PathLike):
        return Path(image).read_bytes()
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    from PIL import Image

    if not isinstance(image, Image.Image):
        array = np.asarray(image)
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (1, 3):
            raise ValueError(
                "Expected an image as a path, bytes, a PIL image or a uint8 array (height, width, "
                f"1 or 3). Received: {type(image).__name__}, {array.dtype} of shape {array.shape}"
            )
        image = to_pil(array)
    return png_bytes(image)
