"""Test-time augmentation: several views of one image, whose predictions are averaged."""

import numpy as np

VIEWS = (1, 2, 6)


def views_of(images, count):
    """The views of a batch and their weights, which sum to 1.

    1 is the image itself; 2 is the image and its mirror image; 6 is those two, with half of the
    weight, and the same two of the image shifted by one pixel up and left, and down and right, with
    a quarter each. Reflection fills the edges.

    Args:
        images: array (batch, height, width, channels).
        count: int, 1, 2 or 6.

    Returns:
        list of (float, array like `images`).

    Raises:
        ValueError: another count.

    Source: Jordan 2024, https://arxiv.org/abs/2404.00498, whose accuracies are of these six.

    Example:

    ```python
    views = keras_wrn.data.views_of(np.zeros((1, 32, 32, 3), "uint8"), 6)
    [weight for weight, _ in views]
    # [0.25, 0.25, 0.125, 0.125, 0.125, 0.125]
    ```
    """
    check_views(count)
    if count == 1:
        return [(1.0, images)]
    if count == 2:
        return _with_mirror(0.5, images)
    padded = np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)], mode="reflect")
    return [
        *_with_mirror(0.25, images),
        *_with_mirror(0.125, padded[:, 2:, 2:]),
        *_with_mirror(0.125, padded[:, :-2, :-2]),
    ]


def check_views(count):
    """Raise a ValueError unless `count` is one of `VIEWS`."""
    if isinstance(count, bool) or count not in VIEWS:
        raise ValueError(f"`views` should be one of {VIEWS}. Received: views={count!r}")


def _with_mirror(weight, images):
    return [(weight, images), (weight, images[:, :, ::-1])]
