"""The photos of a dataset, in two parts: of a folder, of a list of files, or of TFDS."""

import dataclasses
from pathlib import Path

import numpy as np

from keras_wrn.data.arrays import held_out_count
from keras_wrn.data.datasets import DATASETS, is_tfds
from keras_wrn.data.file_list import ENDINGS, is_list, read_list
from keras_wrn.data.folder import scan_folder
from keras_wrn.data.tfds_photos import held_out_split, open_tfds, tfds_photos
from keras_wrn.errors import DataError

HELD_OUT = "val", "validation", "test"


def photo_splits(name, validation=0, seed=0, data_dir=None):
    """The training and the held-out photos of a dataset.

    A folder has train/ and one of val/, validation/ and test/, or lists of files of those names
    (train.csv, val.csv; see `read_list`). With `validation`, part of the training images is held
    out instead, or of the class sub-folders if the folder has only those, or of a single list:
    stratified by class, by `seed`. What TFDS has prepared (`imagenet2012`, `tfds:NAME`) has the
    split validation or else test.

    Args:
        name: path of a folder or of a list, or str as for `is_tfds`.
        validation: int, a number of images, or float below 1, a share of them.
        seed: int.
        data_dir: path or None, where TFDS keeps its data.

    Returns:
        Two `ImageFolder`s or `PhotoSet` with the same classes.

    Raises:
        DataError: the dataset is absent or not as described; or nothing is held out, or a class is
            missing from one of the two.
    """
    if is_tfds(str(name)):
        builder = open_tfds(str(name), data_dir)
        train = tfds_photos(builder, "train")
        if validation:
            return _hold_out(train, validation, seed, "a split to evaluate on")
        return train, tfds_photos(builder, held_out_split(builder))
    path = Path(name)
    if is_list(path):
        return _hold_out(read_list(path), validation, seed, f"train and val lists beside {path}")
    if not path.is_dir():
        raise DataError(
            "Expected a folder that holds train/ and val/, or one sub-folder for each class; or a "
            f"list of images, .csv or .json; or one of the datasets {', '.join(DATASETS)}. "
            f"Received: {path}"
        )
    train_place, held_out = part_of(path, ("train",)), part_of(path, HELD_OUT)
    if train_place is None:
        if held_out is not None:
            raise DataError(f"Expected a folder that holds train/ beside {held_out.name}/: {path}")
        where = f"train/ and val/ in {path}"
        return _hold_out(scan_folder(path), validation, seed, where)
    train = read_part(train_place)
    if held_out is None or validation:
        where = f"one of {', '.join(HELD_OUT)} beside {train_place}"
        return _hold_out(train, validation, seed, where)
    return train, _of_same_classes(read_part(held_out), train, train_place)


def photo_set(name, split="test", data_dir=None):
    """The photos of one part of a dataset, or of a folder or list that has no parts.

    Args:
        name: as for `photo_splits`.
        split: str, "train" or "test"; what is held out for evaluation is "test".
        data_dir: path or None, where TFDS keeps its data.

    Raises:
        DataError: there are no such photos.
    """
    if is_tfds(str(name)):
        builder = open_tfds(str(name), data_dir)
        return tfds_photos(builder, "train" if split == "train" else held_out_split(builder))
    place = part_of(name, HELD_OUT if split == "test" else ("train",))
    return read_part(place or Path(name))


def own_part(recipe_data, part, data_dir=None):
    """The photos that a run trained on ("train") or was evaluated on ("test").

    Args:
        recipe_data: `DataConfig` of the run.
        part: str.
        data_dir: path or None, where TFDS keeps its data.
    """
    name, validation = recipe_data.dataset, recipe_data.validation
    if validation or is_list(name) or (part == "train" and not is_tfds(name)):
        return photo_splits(name, validation, data_dir=data_dir)[part == "test"]
    return photo_set(name, part, data_dir)


def part_of(folder, names):
    """The sub-folder of one of those names, or else the list of files; None if there is none."""
    places = [*(Path(folder, name) for name in names),
              *(Path(folder, name + ending) for name in names for ending in ENDINGS)]  # fmt: skip
    return next((x for x in places if (x.is_file() if is_list(x) else x.is_dir())), None)


def read_part(place):
    """The photos of a folder of class sub-folders, or of a list."""
    return read_list(place) if is_list(place) else scan_folder(place)


def _of_same_classes(test, train, train_place):
    """The held-out photos, their labels those of the training photos' classes."""
    missing = sorted(set(train.class_names) - set(test.class_names))
    unknown = sorted(set(test.class_names) - set(train.class_names))
    if missing or unknown:
        problems = []
        if missing:
            problems.append(f"without {', '.join(missing)}")
        if unknown:
            problems.append(f"with {', '.join(unknown)}, of which there are none in train/")
        raise DataError(
            f"Expected the classes of {train_place} in {test.path}. Received: it "
            f"{' and '.join(problems)}"
        )
    places = [train.class_names.index(name) for name in test.class_names]
    return dataclasses.replace(
        test, class_names=train.class_names, labels=tuple(places[label] for label in test.labels)
    )


def _hold_out(train, validation, seed, otherwise):
    classes = len(train.class_names)
    count = held_out_count(validation, len(train))
    if not classes <= count < len(train):
        raise DataError(
            f"Expected {otherwise}, or `data.validation`, a share of the images such as 0.2 or "
            f"their number: at least one of each of the {classes} classes and fewer than "
            f"{len(train)}. Received: data.validation={validation}"
        )
    from sklearn.model_selection import train_test_split

    try:
        kept, held = train_test_split(
            np.arange(len(train)), test_size=count, stratify=train.labels, random_state=seed
        )
    except ValueError as error:
        raise DataError(f"{train.path} cannot be split: {error}") from error
    parts = train.take(np.sort(kept)), train.take(np.sort(held))
    for part, what in zip(parts, ("for training", "held out"), strict=True):
        labels = set(part.labels)
        missing = [name for i, name in enumerate(train.class_names) if i not in labels]
        if missing:
            raise DataError(
                f"Expected images of each class of {train.path} {what}. Received: none of "
                f"{', '.join(missing)} with data.validation={validation}"
            )
    return parts
