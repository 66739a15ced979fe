"""Reads splits of TFDS datasets into memory; errors say which file is bad and what to do."""

from pathlib import Path

import numpy as np

from keras_wrn.errors import DataError

PROBE_SECONDS = 10


def read_splits(info, splits, data_dir):
    """Read and join the splits of a TFDS dataset, preparing it first if needed.

    Args:
        info: `DatasetInfo`.
        splits: tuple of str, TFDS's names.
        data_dir: path or None, as for `load_arrays`.

    Returns:
        images, uint8 (n, height, width, channels), and labels, int32 (n,), in the files' order.

    Raises:
        DataError: the data is missing or unreadable.
    """
    builder = _prepared(info, _checked(info, data_dir))
    for split in splits:
        if split not in builder.info.splits:
            hint = ""
            if split in info.extra_splits:
                hint = (
                    ", or train on `train` alone with `--data.no-extra` (extra=False in Python), "
                    "which costs accuracy"
                )
            raise DataError(
                f"{info.name} in {builder.data_path} has no split {split!r}, only "
                f"{sorted(builder.info.splits)}. Delete the folder and run again to have TFDS "
                f"prepare all splits{hint}."
            )
    parts = [_read(info, builder, split) for split in splits]
    images = np.concatenate([images for images, _ in parts]) if len(parts) > 1 else parts[0][0]
    return images, np.concatenate([labels for _, labels in parts]).astype("int32")


def _checked(info, data_dir):
    if data_dir is None:
        return None
    path = Path(data_dir).expanduser()
    if not path.is_dir():
        raise DataError(
            f"The data directory {str(path)!r} does not exist. Give the directory that holds "
            f"{info.name}/, or make it first to have TFDS download {info.name} into it."
        )
    described = next(path.glob("dataset_info.json"), next(path.glob("*/dataset_info.json"), None))
    if described is not None:
        raise DataError(
            f"{str(path)!r} is a dataset's own folder. Give the directory that holds "
            f"{info.name}/: {str(described.resolve().parents[2])!r}"
        )
    return path


def _prepared(info, data_dir):
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise DataError(
            f"{info.name} is read by tensorflow-datasets, which is not installed. Install it, or "
            "give a directory that keras_wrn.data.save_array_files wrote elsewhere with --data-dir "
            f"or TFDS_DATA_DIR. Received: {data_dir}"
        ) from error
    try:
        builder = tfds.builder(info.name, data_dir=data_dir)
    except Exception as error:
        where = f"in {data_dir}" if data_dir else "in TFDS's own data directory"
        raise DataError(
            f"TFDS cannot open {info.name} {where}: {first_line(error)}. Where its "
            f"dataset_info.json is damaged, delete the folder {info.name} and prepare it anew."
        ) from error
    if not builder.info.splits:
        _prepare(info, builder)
    if not builder.info.splits:
        raise DataError(
            f"{builder.data_path} has no dataset_info.json that lists its splits: it was not "
            "prepared to the end. Delete the folder and prepare the dataset anew."
        )
    return builder


def _prepare(info, builder):
    data_dir = Path(builder.data_path).parents[1]
    advice = f"Give the directory that holds {info.name}/ with --data-dir or TFDS_DATA_DIR"
    if not builder.data_path.exists() and not _has_files(data_dir / "downloads"):
        _check_online(info, data_dir, advice)
    try:
        builder.download_and_prepare()
    except ImportError as error:
        raise DataError(
            f"TFDS needs a package to prepare {info.name} that it does not declare: "
            f"{first_line(error)}. Install it (SVHN needs importlib_resources and scipy)."
        ) from error
    except Exception as error:
        raise DataError(
            f"{info.name} is not prepared in {data_dir}, and TFDS could not do it: "
            f"{first_line(error)}. {advice}, or try again."
        ) from error


def _check_online(info, data_dir, advice):
    import requests

    # Without a connection, TFDS itself tries for 200 seconds and leaves empty folders behind.
    try:
        requests.head(info.url, timeout=PROBE_SECONDS)
    except requests.RequestException as error:
        raise DataError(
            f"{info.name} is not prepared in {data_dir}, and {info.url}, where TFDS downloads it "
            f"from, does not answer ({type(error).__name__}). {advice}, or go online."
        ) from error


def _has_files(directory):
    return directory.is_dir() and any(path.is_file() for path in directory.rglob("*"))


def first_line(error):
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def _read(info, builder, split):
    import tensorflow as tf
    import tensorflow_datasets as tfds

    count = builder.info.splits[split].num_examples
    images = np.empty((count, *builder.info.features["image"].shape), "uint8")
    labels = np.empty((count,), "int64")
    position = 0
    try:
        # TFDS counts: a number of examples that is not `count` is an error too.
        dataset = builder.as_dataset(split=split, shuffle_files=False)
        for batch in tfds.as_numpy(dataset.batch(1000).prefetch(2)):
            n = len(batch["label"])
            images[position : position + n] = batch["image"]
            labels[position : position + n] = batch["label"]
            position += n
    except (tf.errors.OpError, ValueError) as error:
        problem = _broken_file(tf, builder.info.splits[split])
        problem = problem or f"{builder.data_path} cannot be read ({first_line(error)})"
        raise DataError(
            f"{info.name}, split {split!r}: {problem}. Delete the folder {builder.data_path} and "
            "prepare the dataset anew."
        ) from error
    if count and not 0 <= labels.min() <= labels.max() < info.classes:
        raise DataError(
            f"{info.name}, split {split!r} in {builder.data_path}: the field 'label' should be in "
            f"0..{info.classes - 1}. Received: labels {labels.min()} to {labels.max()}"
        )
    return images, labels


def _broken_file(tf, split):
    """Say what is wrong with the first broken file of a split; None if none is broken."""
    for path, expected in zip(split.filepaths, split.shard_lengths, strict=True):
        found = 0
        try:
            for _ in tf.data.TFRecordDataset(str(path)):
                found += 1
        except tf.errors.OpError as error:
            return f"{path} cannot be read beyond record {found} ({type(error).__name__})"
        if found != expected:
            return f"{path} holds {found} records, and should hold {expected}"
    return None
