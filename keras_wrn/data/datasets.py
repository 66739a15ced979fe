"""What each dataset is, and how its images come into memory."""

import dataclasses
import os
from pathlib import Path

import numpy as np

from keras_wrn.data.array_files import read_array_files
from keras_wrn.data.tfds_source import read_splits

DIGITS_SPLIT_SEED = 0


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """The facts of one dataset: names, sizes, splits, the published constants and augmentation."""

    name: str
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train_splits: tuple[str, ...] = ("train",)
    extra_splits: tuple[str, ...] = ()
    size: int = 32
    crop_padding: int = 4
    horizontal_flip: bool = True
    url: str = ""
    source: str = ""

    @property
    def classes(self) -> int:
        return len(self.class_names)


DIGITS = tuple("0123456789")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CIFAR_MEAN = tuple(value / 255 for value in (125.3, 123.0, 113.9))
CIFAR_STD = tuple(value / 255 for value in (63.0, 62.1, 66.7))
CIFAR10_CLASSES = tuple(
    "airplane automobile bird cat deer dog frog horse ship truck".split()
)  # fmt: skip
CIFAR100_CLASSES = tuple(
    """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
    butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab
    crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo
    keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse
    mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy
    porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper
    snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television
    tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm""".split()
)

DATASETS = {
    info.name: info
    for info in (
        DatasetInfo(
            "cifar10", CIFAR10_CLASSES, CIFAR_MEAN, CIFAR_STD, url="https://www.cs.toronto.edu",
            source="Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
        ),
        # The authors use the constants of CIFAR-10 for CIFAR-100 too.
        DatasetInfo(
            "cifar100", CIFAR100_CLASSES, CIFAR_MEAN, CIFAR_STD, url="https://www.cs.toronto.edu",
            source="Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
        ),
        # The paper divides SVHN's pixels by 255 and augments nothing.
        DatasetInfo(
            "svhn_cropped", DIGITS, (0.0,) * 3, (1.0,) * 3, extra_splits=("extra",),
            crop_padding=0, horizontal_flip=False, url="http://ufldl.stanford.edu",
            source="Netzer et al. 2011, Reading Digits in Natural Images",
        ),
        DatasetInfo(
            "digits", DIGITS, (0.0,) * 3, (1.0,) * 3, crop_padding=3, horizontal_flip=False,
            source="scikit-learn's load_digits: UCI optical recognition of handwritten digits",
        ),
    )
}  # fmt: skip


def dataset_info(name: str) -> DatasetInfo:
    """Return the facts of a dataset by its TFDS name, or "digits".

    Raises:
        ValueError: an unknown name; the message lists the known ones.

    Example:

    ```python
    keras_wrn.data.dataset_info("cifar10").class_names   # ("airplane", "automobile", ...)
    ```
    """
    if name not in DATASETS:
        raise ValueError(f"Unknown dataset. Expected one of {sorted(DATASETS)}. Received: {name!r}")
    return DATASETS[name]


def as_folder(path: str) -> str:
    """A folder's path so that it is never taken for a dataset's name: with a separator."""
    return path if os.sep in path else os.path.join(os.curdir, path)


def check_dataset(name: str) -> bool:
    """Whether a dataset is a folder of images, and not one of the known names.

    Raises:
        ValueError: it is neither a known name nor a path.
    """
    if name in DATASETS:
        return False
    if os.sep in name or Path(name).is_dir():
        return True
    raise ValueError(
        f"Unknown dataset. Expected one of {sorted(DATASETS)}, or a folder of images. "
        f"Received: {name!r}"
    )


def held_out_count(validation, count):
    """How many of so many images `validation` holds out: it is their number or, below 1, a share.

    Raises:
        ValueError: it is a broken number.
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
            default, which the environment variable TFDS_DATA_DIR sets. A dataset that is not
            there is downloaded into it. Or a directory that `save_array_files` wrote into.
        extra: bool, whether the training split of SVHN has the `extra` images too, as in the
            paper.
        validation: how many training images to hold out as the "validation" split, int, or which
            share of them, float below 1; chosen by `seed`, the same for every recipe seed.
        seed: int, of the choice of the held-out images.

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
