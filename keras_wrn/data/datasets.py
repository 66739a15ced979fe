"""Facts about each dataset."""

import dataclasses
import os
from pathlib import Path

from keras_wrn.data.augmentation import Augmentation

USUAL = Augmentation()


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """Facts about one dataset: names, sizes, splits, the published constants and augmentation."""

    name: str
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train_splits: tuple[str, ...] = ("train",)
    extra_splits: tuple[str, ...] = ()
    size: int = 32
    augmentation: Augmentation = USUAL
    url: str = ""
    source: str = ""
    licence: str = "its authors state no licence"

    @property
    def classes(self) -> int:
        return len(self.class_names)


IMAGENET = "imagenet2012"
TFDS = "tfds:"  # before the name of any other dataset of photos that TFDS has prepared
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
            augmentation=Augmentation(crop_padding=0, horizontal_flip=False),
            url="http://ufldl.stanford.edu",
            source="Netzer et al. 2011, Reading Digits in Natural Images",
            licence="see its web page",
        ),
        DatasetInfo(
            "digits", DIGITS, (0.0,) * 3, (1.0,) * 3,
            augmentation=Augmentation(crop_padding=3, horizontal_flip=False),
            source="scikit-learn's load_digits: UCI optical recognition of handwritten digits",
            licence="CC BY 4.0",
        ),
    )
}  # fmt: skip


def dataset_info(name: str) -> DatasetInfo:
    """Return the facts about a dataset by its TFDS name, or "digits".

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


def has_photos(name: str) -> bool:
    """Whether a recipe's dataset is photos on disk, and not one that is held in memory."""
    return name not in DATASETS


def is_tfds(name: str) -> bool:
    """Whether a dataset is photos that TFDS has prepared: imagenet2012 or tfds:NAME."""
    return name == IMAGENET or name.startswith(TFDS)


def is_folder(name: str) -> bool:
    """Whether a recipe's dataset is a folder of images, or a list of them: it has no other name."""
    return has_photos(name) and not is_tfds(name)


def as_folder(path: str) -> str:
    """A folder's path with a separator, so that it is never taken for a dataset's name."""
    return path if os.sep in path else os.path.join(os.curdir, path)


def check_dataset(name: str) -> bool:
    """Whether a dataset is photos: an existing folder or list of images, or prepared by TFDS.

    Raises:
        ValueError: it is none of them, nor one of the known names.
    """
    if not has_photos(name):
        return False
    if is_tfds(name) or os.sep in name or Path(name).exists():
        return True
    raise ValueError(
        f"Unknown dataset. Expected one of {sorted([*DATASETS, IMAGENET])}, a folder of images, a "
        f"list of them (.csv or .json), or {TFDS}NAME. Received: {name!r}"
    )
