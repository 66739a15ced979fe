"""Photos of a dataset that TFDS has prepared, read one at a time as encoded bytes."""

import bisect
import itertools
import os
import struct
import threading
from pathlib import Path

import numpy as np

from keras_wrn.data.datasets import IMAGENET, TFDS
from keras_wrn.data.names import checked_names
from keras_wrn.data.photos import PhotoSet
from keras_wrn.data.tfds_source import first_line
from keras_wrn.errors import DataError

HEADER = struct.Struct("<QI")  # of a TFRecord: the length of what follows, and its checksum
FOOTER = 4  # bytes, another checksum


class Records:
    """The encoded images of a split; see `keras_wrn.data.photos.Files`.

    Args:
        builder: TFDS' builder of a prepared dataset.
        split: str.
        indices: int (n,), which records; None for all.
    """

    def __init__(self, builder, split, indices=None):
        self.builder, self.split = builder, split
        self.info = builder.info.splits[split]
        self.root = f"{split} of {builder.data_path}"
        self.indices = np.arange(self.info.num_examples) if indices is None else indices
        self.example = self._reader()

    def __len__(self):
        return len(self.indices)

    def take(self, indices):
        """Some of these records, by their indices."""
        return Records(self.builder, self.split, self.indices[np.asarray(indices)])

    def read(self, index):
        """The bytes of one image."""
        return self.example(int(self.indices[index]))["image"]

    def graph_reader(self):
        """`read` for tensors inside tf.data."""
        import tensorflow as tf

        return lambda index: tf.ensure_shape(tf.numpy_function(self.read, [index], tf.string), ())

    def name(self, index):
        """One image, in messages."""
        return f"record {self.indices[index]} of {self.root}"

    def marks(self):
        """Yield what tells these images from others, without reading them."""
        shards = [str(self.builder.info.full_name), *map(str, self.info.shard_lengths)]
        yield " ".join([*shards, self.split, str(self.builder.info.dataset_size)]).encode()
        yield np.ascontiguousarray(self.indices, "<i8").tobytes()

    def labels(self):
        """The labels, int32 (n,). This reads all records once."""
        import tensorflow_datasets as tfds

        if self.builder.info.file_format is tfds.core.FileFormat.ARRAY_RECORD:
            return np.array([self.example(int(i))["label"] for i in self.indices], "int32")
        dataset = self.builder.as_dataset(
            split=self.split,
            decoders=_encoded(),
            read_config=tfds.ReadConfig(interleave_cycle_length=1),  # in the order of the files
        )
        labels = dataset.map(lambda example: example["label"]).batch(10_000)
        return np.concatenate(list(labels.as_numpy_iterator()))[self.indices].astype("int32")

    def _reader(self):
        """A function from a record's number to its features, the image encoded."""
        import tensorflow_datasets as tfds

        if self.builder.info.file_format is tfds.core.FileFormat.ARRAY_RECORD:
            return self.builder.as_data_source(self.split, decoders=_encoded()).__getitem__
        files = TFRecords(self.info.filepaths, self.info.shard_lengths)
        features = self.builder.info.features
        return lambda number: features.deserialize_example_np(files[number], decoders=_encoded())


def _encoded():
    import tensorflow_datasets as tfds

    return {"image": tfds.decode.SkipDecoding()}


class TFRecords:
    """The records of TFRecord files, by number. The files' offsets are found when first needed.

    Args:
        paths: the files.
        lengths: list of int, how many records each has.

    Raises:
        DataError: on reading, a file that is damaged or has another number of records.
    """

    def __init__(self, paths, lengths):
        self.paths, self.lengths = [os.fspath(path) for path in paths], lengths
        self.ends = list(itertools.accumulate(lengths))
        self._offsets: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def __getitem__(self, number):
        file = bisect.bisect_right(self.ends, number)
        with self._lock:
            if file not in self._offsets:
                self._offsets[file] = self._index(file)
        start = int(self._offsets[file][number - (self.ends[file] - self.lengths[file])])
        with open(self.paths[file], "rb", buffering=0) as records:
            length, _ = HEADER.unpack(os.pread(records.fileno(), HEADER.size, start))
            return os.pread(records.fileno(), length, start + HEADER.size)

    def _index(self, file):
        path, offsets, place = self.paths[file], [], 0
        try:
            size = os.path.getsize(path)
            with open(path, "rb", buffering=0) as records:
                while place < size:
                    offsets.append(place)
                    length, _ = HEADER.unpack(os.pread(records.fileno(), HEADER.size, place))
                    place += HEADER.size + length + FOOTER
        except (OSError, struct.error) as error:
            raise DataError(f"{path} cannot be read beyond record {len(offsets)}") from error
        if place != size or len(offsets) != self.lengths[file]:
            raise DataError(
                f"{path} holds {len(offsets)} records, and should hold {self.lengths[file]} that "
                f"end at byte {place}; it has {size} bytes"
            )
        return np.array(offsets, "int64")


def open_tfds(name, data_dir=None, kinds=None):
    """TFDS' builder of a prepared dataset.

    Args:
        name: str, "imagenet2012" or "tfds:NAME".
        data_dir: path or None, where TFDS keeps its data.
        kinds: dict from features that it should have to their classes; None for an image and its
            label.

    Raises:
        DataError: it is not prepared there, or lacks a feature.
    """
    import tensorflow_datasets as tfds

    wanted = name.removeprefix(TFDS)
    try:
        builder = tfds.builder(wanted, data_dir=data_dir)
    except Exception as error:
        raise DataError(f"TFDS cannot open {wanted!r}: {first_line(error)}") from error
    if not builder.info.splits:
        where = Path(builder.data_path).parents[1]
        advice = (
            "ImageNet has to be downloaded by hand, once registered at https://image-net.org: put "
            "ILSVRC2012_img_val.tar, and to train ILSVRC2012_img_train.tar, into downloads/manual/ "
            "there and run `tfds build imagenet2012`, or give the folder of the images, one "
            "sub-folder for each WordNet id"
            if wanted == IMAGENET
            else f"Run `tfds build {wanted} --data_dir {where}`"
        )
        raise DataError(f"{builder.info.full_name} is not prepared in {where}. {advice}")
    features = dict(builder.info.features.items())
    kinds = kinds or {"image": tfds.features.Image, "label": tfds.features.ClassLabel}
    if not all(isinstance(features.get(key), kind) for key, kind in kinds.items()):
        raise DataError(
            "Expected a dataset with the features "
            f"{' and '.join(f'{key} ({kind.__name__})' for key, kind in kinds.items())}. Received: "
            f"{builder.info.full_name} with {', '.join(features)}"
        )
    return builder


def tfds_photos(builder, split):
    """The photos of a split of a prepared dataset: `PhotoSet`.

    Raises:
        DataError: there is no such split, or it has photos without a label.
    """
    check_split(builder, split)
    names = builder.info.features["label"].names
    source = Records(builder, split)
    labels = source.labels()
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(names):
        raise DataError(
            f"{source.root}: the field 'label' should be in 0..{len(names) - 1}. Received: labels "
            f"{labels.min()} to {labels.max()}"
        )
    return PhotoSet(source.root, checked_names(names), tuple(labels.tolist()), source)


def check_split(builder, split):
    """Raise a DataError unless a prepared dataset has a split."""
    if split not in builder.info.splits:
        raise DataError(
            f"{builder.info.full_name} in {builder.data_path} has no split {split!r}, only "
            f"{', '.join(sorted(builder.info.splits))}"
        )


def held_out_split(builder):
    """The split to evaluate on: validation where there is one, as with ImageNet, else test."""
    return "validation" if "validation" in builder.info.splits else "test"
