"""Splits of a dataset as array files, for machines without TFDS."""

import os
from pathlib import Path

import numpy as np

from keras_wrn.data.datasets import dataset_info
from keras_wrn.data.tfds_source import read_splits
from keras_wrn.errors import DataError

FILE_IMAGES = 10_000  # per file: 31 MB of 32 x 32 x 3 before compression


def save_array_files(name, directory, *, data_dir=None):
    """Write the splits of a dataset as compressed NumPy files, to be copied to another machine.

    There `load_arrays`, and so a run, reads them, with the directory as `data_dir` or in the
    environment variable TFDS_DATA_DIR. That needs neither TensorFlow nor TFDS.

    Args:
        name: str, "cifar10", "cifar100" or "svhn_cropped".
        directory: path, created if needed, for the files NAME-SPLIT-00-of-05.npz and so on. Each
            has at most 10,000 images, uint8 (n, 32, 32, 3), and labels, int32 (n,).
        data_dir: path or None, where TFDS keeps its data.

    Returns:
        list of the paths.

    Raises:
        DataError: the data is missing or unreadable.
        ValueError: an unknown name.

    Example:

    ```python
    keras_wrn.data.save_array_files("cifar10", "arrays")   # six files
    ```
    """
    info = dataset_info(name)
    if name == "digits":
        raise ValueError(
            "`name` should be a dataset of TFDS. Received: 'digits', from scikit-learn"
        )
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for split in (*info.train_splits, *info.extra_splits, "test"):
        images, labels = read_splits(info, (split,), data_dir)
        starts = range(0, len(images), FILE_IMAGES)
        for number, start in enumerate(starts):
            path = directory / f"{name}-{split}-{number:02d}-of-{len(starts):02d}.npz"
            part = slice(start, start + FILE_IMAGES)
            np.savez_compressed(path, images=images[part], labels=labels[part])
            written.append(path)
    return written


def read_array_files(info, splits, data_dir):
    """Read splits that `save_array_files` wrote, and join them; None if there are none.

    Raises:
        DataError: a file is missing or unreadable.
    """
    data_dir = data_dir or os.environ.get("TFDS_DATA_DIR")
    if data_dir is None:
        return None
    data_dir = Path(data_dir).expanduser()
    if not any(data_dir.glob(f"{info.name}-*.npz")):
        return None
    parts = []
    for split in splits:
        paths = sorted(data_dir.glob(f"{info.name}-{split}-??-of-??.npz"))
        count = int(paths[0].stem[-2:]) if paths else 0
        if not paths or len(paths) != count:
            raise DataError(
                f"Expected {count or 'some'} files {info.name}-{split}-*.npz in {data_dir}, as "
                f"save_array_files wrote them. Received: {len(paths)}"
            )
        for path in paths:
            try:
                with np.load(path) as file:
                    parts.append((file["images"], file["labels"]))
            except Exception as error:  # from zlib, zipfile and NumPy
                raise DataError(f"{path} cannot be read: {error}. Copy it again.") from error
    images, labels = zip(*parts, strict=True)
    return np.concatenate(images), np.concatenate(labels)
