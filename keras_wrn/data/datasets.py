"""What each dataset is, and how its images come into memory."""

import dataclasses
import os
from pathlib import Path

import numpy as np

DIGITS_SPLIT_SEED = 0


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """The facts of one dataset: names, sizes, splits and the published constants."""

    name: str
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train_splits: tuple[str, ...] = ("train",)
    extra_splits: tuple[str, ...] = ()
    size: int = 32
    source: str = ""

    @property
    def classes(self) -> int:
        return len(self.class_names)


DIGITS = tuple("0123456789")
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
            "cifar10", CIFAR10_CLASSES, CIFAR_MEAN, CIFAR_STD,
            source="Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
        ),
        # The authors use the constants of CIFAR-10 for CIFAR-100 too.
        DatasetInfo(
            "cifar100", CIFAR100_CLASSES, CIFAR_MEAN, CIFAR_STD,
            source="Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
        ),
        DatasetInfo(
            "svhn_cropped", DIGITS, (0.0,) * 3, (1.0,) * 3, extra_splits=("extra",),
            source="Netzer et al. 2011, Reading Digits in Natural Images",
        ),
        DatasetInfo(
            "digits", DIGITS, (0.0,) * 3, (1.0,) * 3,
            source="scikit-learn's load_digits: UCI optical recognition of handwritten digits",
        ),
    )
}  # fmt: skip


class DataError(Exception):
    """A dataset that is missing, unreadable or not what was asked for."""


def dataset_info(name: str) -> DatasetInfo:
    """Return the facts of a dataset by its TFDS name, or "digits".

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    if name not in DATASETS:
        raise ValueError(f"Unknown dataset. Expected one of {sorted(DATASETS)}. Received: {name!r}")
    return DATASETS[name]


def load_arrays(name, split, *, data_dir=None, extra=True, validation=0, seed=0):
    """Load a split into memory.

    Args:
        name: str, "cifar10", "cifar100", "svhn_cropped" (from TFDS) or "digits" (bundled with
            scikit-learn: 1,437 training and 360 test images, a stratified fifth held out).
        split: "train", "test" or "validation".
        data_dir: str or None, where TFDS keeps its data; None for its default, which the
            environment variable TFDS_DATA_DIR sets.
        extra: bool, whether the training split of SVHN has the `extra` images too, as in the
            paper.
        validation: int, how many training images to hold out as the "validation" split; chosen
            by `seed`, the same for every recipe seed.
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
        splits = ("test",)
        if split != "test":
            splits = info.train_splits + (info.extra_splits if extra else ())
        images, labels = _from_tfds(info, splits, data_dir)
    if split != "test" and validation:
        if not 0 < validation < len(images):
            raise ValueError(
                f"`validation` should be between 1 and {len(images) - 1}, fewer than the training "
                f"images of {name}. Received: validation={validation!r}"
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


def _from_tfds(info, splits, data_dir):
    import tensorflow_datasets as tfds

    builder = _builder(tfds, info, data_dir)
    for split in splits:
        if split not in builder.info.splits:
            hint = ""
            if split in info.extra_splits:
                hint = "; `--no-data.extra` trains on `train` alone (a worse network: 96 %)"
            raise DataError(
                f"{info.name} in {builder.data_path} has no split {split!r}, only "
                f"{sorted(builder.info.splits)}. Prepare it with TFDS{hint}."
            )
    if builder.info.features["label"].num_classes != info.classes:
        raise DataError(
            f"{info.name} in {builder.data_path}: the field 'label' should have {info.classes} "
            f"classes, and has {builder.info.features['label'].num_classes}."
        )
    parts = [_read(tfds, builder, split) for split in splits]
    images = np.concatenate([images for images, _ in parts]) if len(parts) > 1 else parts[0][0]
    labels = np.concatenate([labels for _, labels in parts])
    return images, labels.astype("int32")


def _builder(tfds, info, data_dir):
    if data_dir is not None and not Path(data_dir).is_dir():
        raise DataError(
            f"The data directory {os.fspath(data_dir)!r} does not exist. Give the directory that "
            f"holds {info.name}/, or make it first to have TFDS download {info.name} into it."
        )
    builder = tfds.builder(info.name, data_dir=data_dir)
    if builder.info.splits:
        return builder
    try:
        builder.download_and_prepare()
    except Exception as error:
        where = os.path.dirname(os.path.dirname(str(builder.data_path)))
        raise DataError(
            f"{info.name} is not prepared in {where}, and TFDS could not download it: "
            f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}. Give the "
            f"directory that holds {info.name}/ with --data-dir or TFDS_DATA_DIR, or go online."
        ) from error
    return builder


def _read(tfds, builder, split):
    import tensorflow as tf

    dataset = builder.as_dataset(split=split, shuffle_files=False)
    count = builder.info.splits[split].num_examples
    images = np.empty((count, *builder.info.features["image"].shape), "uint8")
    labels = np.empty((count,), "int64")
    position = 0
    try:
        for batch in tfds.as_numpy(dataset.batch(1000).prefetch(2)):
            n = len(batch["label"])
            images[position : position + n] = batch["image"]
            labels[position : position + n] = batch["label"]
            position += n
    except (tf.errors.OpError, ValueError) as error:
        path = _unreadable_file(tf, builder.info.splits[split].filepaths)
        raise DataError(
            f"{builder.name}, split {split!r}: {path or builder.data_path} cannot be read "
            f"({type(error).__name__}). Delete the folder {builder.data_path} and prepare "
            "the dataset anew."
        ) from error
    if position != count:
        raise DataError(
            f"{builder.name}, split {split!r}: {builder.data_path} holds {position} examples, and "
            f"its dataset_info.json says {count}. Delete the folder and prepare the dataset anew."
        )
    return images, labels


def _unreadable_file(tf, paths):
    for path in paths:
        try:
            for _ in tf.data.TFRecordDataset(os.fspath(path)):
                pass
        except tf.errors.OpError:
            return os.fspath(path)
    return None
