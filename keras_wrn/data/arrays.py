"""A dataset's images, all in memory."""

import numpy as np

from keras_wrn.data.array_files import read_array_files
from keras_wrn.data.datasets import dataset_info
from keras_wrn.data.tfds_source import read_splits

DIGITS_SPLIT_SEED = 0


def held_out_count(validation, count):
    """How many of `count` images `validation` holds out: it is a number or, below 1, a share.

    Raises:
        ValueError: it is above 1 and not a whole number.
    """
    if validation >= 1 and validation != int(validation):
        raise ValueError(
            "`validation` should be a number of images, or a share of them below 1. "
            f"Received: validation={validation!r}"
        )
    return round(validation * count) if 0 < validation < 1 else int(validation)


def load_arrays(name, split, *, data_dir=None, extra=True, validation=0, seed=0):
    """Load a split into memory.

    Args:
        name: str, "cifar10", "cifar100", "svhn_cropped" (from TFDS) or "digits" (bundled with
            scikit-learn: 1,437 training and 360 test images, a stratified fifth held out).
        split: "train", "test" or "validation".
        data_dir: path or None, the directory that holds TFDS's cifar10/ and so on; None for its
            default, which the environment variable TFDS_DATA_DIR sets. A missing dataset is
            downloaded there. Or a directory that `save_array_files` wrote to.
        extra: bool, whether the training split of SVHN has the `extra` images too, as in the
            paper.
        validation: int, how many training images to hold out as the "validation" split, or float
            below 1, which share of them. `seed` chooses them, the same for every recipe seed.
        seed: int, for choosing the held-out images.

    Returns:
        images, uint8 (n, 32, 32, 3), and labels, int32 (n,), in the dataset's own order.

    Raises:
        DataError: the data is missing or unreadable; the message says what and where.
        ValueError: an unknown name or split.

    Example:

    ```python
    images, labels = keras_wrn.data.load_arrays("digits", "train")   # (1437, 32, 32, 3), (1437,)
    ```
    """
    info = dataset_info(name)
    if split not in ("train", "test", "validation"):
        raise ValueError(
            f"`split` should be 'train', 'test' or 'validation'. Received: split={split!r}"
        )
    if split == "validation" and not validation:
        raise ValueError("The split 'validation' needs `validation` images. Received: validation=0")
    if name == "digits":
        images, labels = _digits("test" if split == "test" else "train")
    else:
        training = info.train_splits + (info.extra_splits if extra else ())
        splits = ("test",) if split == "test" else training
        images, labels = read_array_files(info, splits, data_dir) or read_splits(
            info, splits, data_dir
        )
    if split != "test" and validation:
        given, validation = validation, held_out_count(validation, len(images))
        if not 0 < validation < len(images):
            raise ValueError(
                f"`validation` should be between 1 and {len(images) - 1}, fewer than the training "
                f"images of {name}, or a share of them. Received: validation={given!r}"
            )
        order = np.random.default_rng(seed).permutation(len(images))
        chosen = np.sort(order[:validation] if split == "validation" else order[validation:])
        images, labels = images[chosen], labels[chosen]
    return images, labels


def _digits(split):
    from scipy import ndimage
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    small = digits.images / 16 * 255  # (1797, 8, 8), from 0..16
    large = ndimage.zoom(small, (1, 4, 4), order=1, mode="nearest", grid_mode=True)
    images = np.repeat(np.rint(large).astype("uint8")[..., None], 3, axis=-1)
    parts = train_test_split(
        images,
        digits.target.astype("int32"),
        test_size=0.2,
        stratify=digits.target,
        random_state=DIGITS_SPLIT_SEED,
    )
    train_images, test_images, train_labels, test_labels = parts
    return (test_images, test_labels) if split == "test" else (train_images, train_labels)
