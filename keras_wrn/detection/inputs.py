"""The photos with boxes that a recipe trains and evaluates on."""

import dataclasses
import functools
import hashlib
from pathlib import Path

import numpy as np

from keras_wrn.data import datasets
from keras_wrn.data.arrays import held_out_count
from keras_wrn.data.images import jpeg_bytes
from keras_wrn.data.photos import Encoded, Photos
from keras_wrn.data.preprocess import Preprocessing
from keras_wrn.data.tfds_photos import check_split, held_out_split
from keras_wrn.detection.coco import BoxSet, read_coco
from keras_wrn.detection.geometry import check_fits
from keras_wrn.detection.tfds_boxes import open_boxes, read_tfds
from keras_wrn.errors import DataError

MADE_UP = 8  # photos of a smoke run
CHECKED = 50_000  # below that number, all photos are decoded once before a run
TRAIN, HELD_OUT = "train", "val"


@dataclasses.dataclass(frozen=True)
class BoxInputs:
    """What a detector trains and is evaluated on; see `keras_wrn.training.inputs.Inputs`.

    Args:
        train, test: `BoxSet`, of the same classes.
        preprocessing: `Preprocessing` of the detector.
        notes: tuple of str, lines on how the photos were read.
        files_sha256: str, a digest of the photos' paths and sizes, and of all boxes.
        made_up: bool, whether the photos are made up.
    """

    train: BoxSet
    test: BoxSet
    preprocessing: Preprocessing
    notes: tuple[str, ...]
    files_sha256: str
    made_up: bool = False

    @property
    def classes(self):
        return len(self.train.class_names)

    @property
    def counts(self):
        """How many photos there are to train and to evaluate on."""
        return len(self.train), len(self.test)

    @functools.cached_property
    def held_out_photos(self):
        """The `Photos` to evaluate on."""
        return Photos(self.test.source, self.preprocessing)

    def marks(self):
        """What tells these photos from others, for data.json."""
        train, test = self.counts
        return {
            "train_images": train, "held_out_images": test, "files_sha256": self.files_sha256
        }  # fmt: skip


def load_boxes(recipe, start=None, data_dir=None, made_up=False, found=None) -> BoxInputs:
    """Read the photos and boxes of a recipe.

    Args:
        recipe: `DetectionRecipe`.
        start: the network whose weights the trunk starts from, or None.
        data_dir: path where TFDS keeps its data, or None.
        made_up: bool, whether to use a few made-up photos instead.
        found: what `check_boxes` returned, or None.

    Raises:
        DataError: they are missing or unreadable; the message names the file.
        ValueError: it is not known how the images of `start` were normalised.
    """
    settings = recipe.data
    if made_up:
        found = (_made_up(recipe.seed),) * 2
    train, test = found or box_splits(settings.dataset, settings.validation, data_dir)
    own = getattr(start, "preprocessing", None)
    if start is not None and own is None:
        raise ValueError(
            f"Expected weights of a model with its own preprocessing, to start from. Received: "
            f"{start.name!r} without any"
        )
    preprocessing = Preprocessing(
        settings.image_size,
        mean=own.mean if own is not None else datasets.IMAGENET_MEAN,
        std=own.std if own is not None else datasets.IMAGENET_STD,
        class_names=train.class_names,
    )
    notes = []
    if train.path == test.path and settings.validation:
        notes.append(
            f"{len(test):,} of the {len(train) + len(test):,} photos of {train.path} are held out"
        )
    for part in {id(part): part for part in (train, test)}.values():
        empty = sum(not len(boxes) for boxes in part.boxes)
        crowds = int(sum(crowd.sum() for crowd in part.crowds))
        notes.append(
            f"{part.path}: {part.count:,} boxes of {len(part.class_names)} classes, "
            f"{crowds:,} of them around crowds; {empty:,} photos without a box; {part.dropped:,} "
            "boxes left out, of which nothing is inside the photo"
        )
        check = settings.check == "all" or (settings.check == "auto" and len(part) < CHECKED)
        if check:
            check_photos(part, preprocessing)
        else:
            notes.append(
                f"The {len(part):,} photos of {part.source.root} are not checked: one that cannot "
                "be read will end the run, which --resume continues; --data.check all reads them "
                "before"
            )
    return BoxInputs(
        train, test, preprocessing, tuple(notes), _digest(train, test), made_up=made_up
    )


def box_splits(name, validation=0, data_dir=None) -> tuple[BoxSet, BoxSet]:
    """The photos to train and to evaluate on.

    Args:
        name, validation: as `BoxDataConfig` has them.
        data_dir: path where TFDS keeps its data, or None.

    Raises:
        DataError: they are not as described there, or the two parts differ in their classes.
    """
    readers = _readers(name, data_dir)
    train = readers[TRAIN]()
    if not train.count:
        raise DataError(f"Expected boxes to learn from in {train.path}. Received: none")
    if validation or HELD_OUT not in readers:
        return _hold_out(train, validation)
    test = readers[HELD_OUT]()
    if (train.class_names, train.category_ids) != (test.class_names, test.category_ids):
        raise DataError(
            f"Expected the categories of {train.path} in {test.path}. Received: "
            f"{_differing(train, test)}"
        )
    return train, test


def part_to_evaluate(name, split="test", validation=0, data_dir=None) -> BoxSet:
    """The photos of one part: those held out for "test", or those for "train".

    Photos of a single file are one part, unless `validation` holds some of them out.

    The arguments and errors are those of `box_splits`.
    """
    readers = _readers(name, data_dir)
    if validation:
        return _hold_out(readers[TRAIN](), validation)[split == "test"]
    part = HELD_OUT if split == "test" and HELD_OUT in readers else TRAIN
    return readers[part]()


def check_boxes(name, validation=0, data_dir=None):
    """Read the photos to train and to evaluate on, or None if TFDS has them.

    What TFDS has prepared is only looked for: reading it takes minutes.

    The arguments and errors are those of `box_splits`.
    """
    if datasets.is_tfds(str(name)):
        _readers(name, data_dir)
        return None
    return box_splits(name, validation)


def _readers(name, data_dir):
    """Functions that read each part of a dataset, by the part."""
    if datasets.is_tfds(str(name)):
        builder, _ = open_boxes(name, data_dir)
        check_split(builder, "train")
        parts = {TRAIN: "train", HELD_OUT: held_out_split(builder)}
        return {
            part: functools.partial(read_tfds, name, split, data_dir)
            for part, split in parts.items()
            if split in builder.info.splits
        }
    path = Path(name)
    if path.suffix == ".json":
        return {TRAIN: functools.partial(read_coco, path)}
    found = {part: _file_of(path, part) for part in (TRAIN, HELD_OUT)}
    if found[TRAIN] is None:
        whole = path / "instances.json"
        if not whole.is_file():
            raise DataError(
                "Expected a folder with images/ and instances.json, or instances_train.json and "
                "instances_val.json, or annotations/ as COCO has it; or one such file, or "
                f"tfds:coco/2017. Received: {name}"
            )
        return {TRAIN: functools.partial(read_coco, whole)}
    return {part: functools.partial(read_coco, *x) for part, x in found.items() if x is not None}


def check_photos(boxes, preprocessing):
    """Decode all photos, and see whether each has the size that its boxes are for.

    Raises:
        DataError: one cannot be read, has another size, or is too long and thin.
    """

    def check_size(index, width, height):
        boxes.check_size(index, height, width)
        check_fits(boxes.source.name(index), height, width, preprocessing.size)

    Photos(boxes.source, preprocessing).check(check_size)


def _file_of(folder, part):
    """The file of one part in a folder, and the folder of its photos; None if there is none."""
    ways = [
        (folder / f"instances_{part}.json", folder / "images"),
        (folder / part / "instances.json", folder / part / "images"),
        *(
            (path, folder / path.stem.removeprefix("instances_"))
            for path in sorted(folder.glob(f"annotations/instances_{part}*.json"))
        ),
    ]
    return next(((file, images) for file, images in ways if file.is_file()), None)


def _hold_out(boxes, validation, seed=0):
    count = held_out_count(validation, len(boxes))
    if not 0 < count < len(boxes):
        raise DataError(
            f"Expected a second file to evaluate on, or `data.validation`, a share of the "
            f"{len(boxes)} photos of {boxes.path} such as 0.2 or their number. Received: "
            f"data.validation={validation}"
        )
    order = np.random.default_rng(seed).permutation(len(boxes))
    return boxes.take(np.sort(order[count:])), boxes.take(np.sort(order[:count]))


def _differing(train, test):
    ours, theirs = (
        dict(zip(x.category_ids, x.class_names, strict=True)).items() for x in (train, test)
    )
    more, less = sorted(theirs - ours)[:3], sorted(ours - theirs)[:3]
    return f"more of them, such as {more}" if more else f"less of them, without such as {less}"


def _digest(*parts):
    digest = hashlib.sha256()
    for part in parts:
        for mark in part.source.marks():
            digest.update(mark)
        for boxes, labels, crowds in zip(part.boxes, part.labels, part.crowds, strict=True):
            digest.update(np.ascontiguousarray(boxes, "<f4").data)
            digest.update(np.ascontiguousarray(labels, "<i4").data)
            digest.update(np.ascontiguousarray(crowds).data)
    return digest.hexdigest()


def _made_up(seed):
    """Photos of noise with bright boxes in them."""
    random = np.random.default_rng(seed)
    encoded, boxes, sizes = [], [], []
    for i in range(MADE_UP):
        height, width = 60 + i, 80 - i
        image = random.integers(0, 128, (height, width, 3), dtype="uint8")
        left, top = random.integers(0, 30, 2)
        image[top : top + 25, left : left + 30, i % 3] = 255
        encoded.append(jpeg_bytes(image))
        boxes.append(np.array([[left, top, 30, 25]], "float32"))
        sizes.append((height, width))
    return BoxSet(
        path="made-up photos",
        class_names=("red", "green", "blue"),
        category_ids=(1, 2, 3),
        source=Encoded(encoded, "made-up photos"),
        image_ids=tuple(range(MADE_UP)),
        sizes=np.array(sizes, "int32"),
        boxes=tuple(boxes),
        labels=tuple(np.array([i % 3], "int32") for i in range(MADE_UP)),
        crowds=tuple(np.zeros(1, bool) for _ in range(MADE_UP)),
        areas=tuple(np.array([750.0], "float32") for _ in range(MADE_UP)),
    )
