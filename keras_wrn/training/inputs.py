"""The images of a recipe: in memory, with the preprocessing that its network needs."""

import dataclasses
import hashlib
from collections import Counter

import keras
import numpy as np

from keras_wrn.data import datasets
from keras_wrn.data.arrays import load_arrays
from keras_wrn.data.evaluation import EvalBatches, eval_dataset
from keras_wrn.data.folder import fits_memory, left_out_text
from keras_wrn.data.imagenet import readable_names
from keras_wrn.data.images import jpeg_bytes
from keras_wrn.data.originals import pixels_of
from keras_wrn.data.photo_sets import photo_splits
from keras_wrn.data.photos import Encoded, Photos, PhotoSet
from keras_wrn.data.pipeline import Batches
from keras_wrn.data.preprocess import Preprocessing, default_preprocessing
from keras_wrn.data.tfds_photos import open_tfds
from keras_wrn.optim.schedules import epochs_of
from keras_wrn.recipe import Recipe
from keras_wrn.training.on_device import device_batches, fits_device

SMOKE_IMAGES = 64
PHOTO_CROP = 0.875
CHECKED = 50_000  # below that number, all photos are decoded once before a run
EVAL_BATCH = 500
EVAL_PIXELS = EVAL_BATCH * 32 * 32


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a run trains and evaluates on.

    Args:
        train, test: images, uint8 (n, height, width, channels), or `Photos`, and labels, int32
            (n,).
        classes: int.
        preprocessing: `Preprocessing` of the network. The training images may be larger than its
            size: crops are cut out of them.
        notes: tuple of str, lines on how a folder was read.
        files_sha256: str, a digest of the paths and sizes of photos; "" for a dataset by name.
        made_up: bool, whether the images stand in for the dataset's.
    """

    train: tuple[np.ndarray | Photos, np.ndarray]
    test: tuple[np.ndarray | Photos, np.ndarray]
    classes: int
    preprocessing: Preprocessing
    notes: tuple[str, ...] = ()
    files_sha256: str = ""
    made_up: bool = False

    @property
    def counts(self):
        """How many images there are to train and to evaluate on."""
        return len(self.train[0]), len(self.test[0])

    @property
    def held_out_photos(self):
        """The `Photos` to evaluate on, None if the images are in memory."""
        return self.test[0] if isinstance(self.test[0], Photos) else None

    def marks(self):
        """What tells these images from others, for data.json.

        Photos, which are not all read, are told by their paths and sizes. Those that are in memory
        are also told by their pixels, as earlier versions did.
        """
        digest = hashlib.sha256()
        in_memory = not any(isinstance(part, Photos) for part in (*self.train, *self.test))
        for part in (*self.train, *self.test) if in_memory else ():
            digest.update(np.ascontiguousarray(part).data)
        return {
            "train_images": len(self.train[0]),
            "held_out_images": len(self.test[0]),
            **({"images_sha256": digest.hexdigest()} if in_memory else {}),
            **({"files_sha256": self.files_sha256} if self.files_sha256 else {}),
        }

    def pixels(self, dataset):
        """Whether a dataset has its published pixels; see `pixels_of`."""
        return None if self.made_up else pixels_of(dataset, self.train, self.test)


def load_inputs(recipe: Recipe, start=None, data_dir=None, made_up=False, found=None) -> Inputs:
    """Load the images of a recipe.

    Args:
        recipe: `Recipe`.
        start: the model whose weights it starts from, or None.
        data_dir: path where TFDS keeps its data, or None.
        made_up: bool, whether to use a few made-up images instead.
        found: what `check_inputs` returned: nothing.

    Raises:
        DataError: the data is missing or unreadable.
        ValueError: the model it starts from has no preprocessing, or whitens.
    """
    own = getattr(start, "preprocessing", None)
    if own is not None:  # the recipe's network takes normalised images, whatever this one takes
        own = dataclasses.replace(own, in_model=False)
    if start is not None and (own is None or own.zca is not None):
        raise ValueError(
            f"Expected weights of a model with its own preprocessing, by mean and deviation, to "
            f"start from. Received: {start.name!r} with preprocessing={own!r}"
        )
    if datasets.has_photos(recipe.data.dataset):
        if made_up:
            return _photo_inputs(recipe, own, *(_made_up_photos(recipe.seed),) * 2)
        validation = recipe.data.validation
        splits = photo_splits(recipe.data.dataset, validation, data_dir=data_dir)
        return _photo_inputs(recipe, own, *splits)
    info = datasets.dataset_info(recipe.data.dataset)
    if made_up:
        train = test = _made_up(recipe.seed, info)
    else:
        settings = {"extra": recipe.data.extra, "validation": recipe.data.validation}
        train = load_arrays(info.name, "train", data_dir=data_dir, **settings)
        held_out = "validation" if recipe.data.validation else "test"
        test = load_arrays(info.name, held_out, data_dir=data_dir, **settings)
    # Whitening made-up images would take longer than training on them.
    kind = recipe.data.preprocessing
    kind = "scale" if made_up and kind == "zca" else kind
    preprocessing = default_preprocessing(info, kind, train[0])
    if own is not None and kind == "meanstd":
        preprocessing = dataclasses.replace(preprocessing, mean=own.mean, std=own.std)
    return Inputs(train, test, info.classes, preprocessing, made_up=made_up)


def check_inputs(recipe: Recipe, data_dir=None, made_up=False):
    """Check what can be checked before anything is loaded: a folder's classes and files.

    Raises:
        DataError: the folder is not as it should be.
    """
    if made_up:
        return
    if datasets.is_tfds(recipe.data.dataset):
        open_tfds(recipe.data.dataset, data_dir)
    elif datasets.has_photos(recipe.data.dataset):
        photo_splits(recipe.data.dataset, recipe.data.validation)


def fingerprint(inputs, *models) -> dict:
    """What shows that a resumed run has the same images and starting weights, for data.json."""
    weights = hashlib.sha256()
    for model in models:
        for variable in model.weights:
            weights.update(keras.ops.convert_to_numpy(variable).tobytes())
    digest = weights.hexdigest() if models else ""
    return {**inputs.marks(), "starting_weights_sha256": digest}


def _made_up(seed, info):
    shape = (SMOKE_IMAGES, info.size, info.size, 3)
    images = np.random.default_rng(seed).integers(0, 256, shape, dtype="uint8")
    return images, np.arange(SMOKE_IMAGES, dtype="int32") % info.classes


def _made_up_photos(seed):
    """JPEGs of noise, of several sizes, in ten classes."""
    generator = np.random.default_rng(seed)
    images = []
    for i in range(SMOKE_IMAGES):
        shape = (40 + i % 9, 60 - i % 7, 3)
        images.append(jpeg_bytes(generator.integers(0, 256, shape, dtype="uint8")))
    labels = tuple(i % 10 for i in range(SMOKE_IMAGES))
    made = "made-up photos"
    return PhotoSet(made, tuple("0123456789"), labels, Encoded(images, made))


def _photo_inputs(recipe, own, train, test):
    size = recipe.data.image_size or own.size
    base = own or Preprocessing(size, mean=datasets.IMAGENET_MEAN, std=datasets.IMAGENET_STD)
    if recipe.data.preprocessing == "scale":
        base = dataclasses.replace(base, mean=(0.0,) * 3, std=(1.0,) * 3)
    crop = own.crop if own is not None and own.crop < 1 else PHOTO_CROP
    preprocessing = dataclasses.replace(
        base,
        size=size,
        crop=recipe.data.eval_crop or crop,
        interpolation=recipe.data.interpolation or base.interpolation,
        class_names=readable_names(train.class_names),
    )
    notes, left_out = [], Counter(train.left_out)
    if train.path == test.path and recipe.data.validation:
        notes.append(
            f"{len(test):,} of the {len(train) + len(test):,} images of {train.path} are held out, "
            f"of each class its part: --data.validation {recipe.data.validation}"
        )
    else:
        left_out += Counter(test.left_out)
    if left_out:
        notes.append(left_out_text(left_out))
    # The random crops are cut out of what the central crop of the evaluation leaves.
    whole = dataclasses.replace(preprocessing, size=preprocessing.short_side, crop=1.0)
    resized = recipe.data.random_resized_crop
    images = train.photos(preprocessing if resized else whole)
    held_out = test.photos(preprocessing)
    fits = fits_memory((0 if resized else len(train), whole.size), (len(test), size))
    if not fits:
        notes.append(
            f"The photos of {recipe.data.dataset} do not fit into half of the memory: they are "
            "read from disk in every epoch"
        )
    files, labels = hashlib.sha256(), [np.asarray(part.labels, "int32") for part in (train, test)]
    for photos, classes in zip((images, held_out), labels, strict=True):
        for mark in photos.source.marks():
            files.update(mark)
        files.update(classes.data)
    return Inputs(
        (_read(images, fits and not resized, recipe, notes), labels[0]),
        (_read(held_out, fits, recipe, notes), labels[1]),
        len(train.class_names),
        preprocessing,
        tuple(notes),
        files.hexdigest(),
    )


def _read(photos, into_memory, recipe, notes):
    """The photos as an array, or as they are, once it is known that they can be read."""
    if into_memory:
        return photos.in_memory()
    check = recipe.data.check
    if check == "all" or (check == "auto" and len(photos) < CHECKED):
        photos.check()
    else:
        notes.append(
            f"The {len(photos):,} photos of {photos.source.root} are not checked: one that cannot "
            "be read will end the run, which --resume continues; --data.check all reads them before"
        )
    return photos


def phases(recipe, size):
    """How many epochs train on crops of which size: a list of (epochs, pixels).

    `size` is that of the images that are evaluated.
    """
    train_size = recipe.data.train_size
    if train_size > size and not recipe.data.random_resized_crop:
        raise ValueError(
            f"`data.train_size` should be at most the images' size {size}. Received: {train_size}"
        )
    size = train_size or size
    if not recipe.data.small_size:
        return [(recipe.epochs, size)]
    if recipe.data.small_size >= size:
        raise ValueError(
            f"`data.small_size` should be below the size of the training crops, {size}. "
            f"Received: {recipe.data.small_size}"
        )
    small = epochs_of(recipe.data.small_share, recipe.epochs)
    return [(small, recipe.data.small_size), (recipe.epochs - small, size)]


def recipe_batches(recipe, data, size):
    """The training batches of a recipe, in crops of that size."""
    settings = recipe.data
    images, labels = data.train
    return Batches(
        images,
        labels,
        data.classes,
        batch_size=recipe.batch_size,
        preprocessing=dataclasses.replace(data.preprocessing, size=size),
        augmentation=settings,
        seed=recipe.seed,
        mixing_epochs=epochs_of(settings.mixing_share, recipe.epochs),
    )


def train_batches(model, batches, start, epochs, placement):
    """What `fit` reads from step `start` on: this process's part of the `Batches`."""
    if fits_device(placement, batches):
        return device_batches(model, batches, start, epochs)
    rows = slice(None) if placement.count == 1 else placement.rows(batches.batch_size)
    if keras.backend.backend() == "tensorflow":
        return batches.dataset(start, epochs, rows)  # the strategy gives each worker its part
    return batches.arrays(start, epochs, rows)


def eval_batch(recipe, data):
    """How many images to evaluate at once: the pixels of 500 CIFAR images, or a training batch."""
    return min(EVAL_BATCH, max(recipe.batch_size, EVAL_PIXELS // data.preprocessing.size**2))


def eval_batches(recipe, data, placement):
    """The held-out images in equal batches; this process evaluates its part of them."""
    images, labels = data.test
    settings = {
        "batch_size": eval_batch(recipe, data),
        "preprocessing": data.preprocessing,
        "replicas": placement.replicas,
    }
    rows = None if placement.count == 1 else placement.rows
    if keras.backend.backend() == "tensorflow":
        return eval_dataset(images, labels, data.classes, rows=rows, **settings)
    return EvalBatches(images, labels, data.classes, rows=rows, **settings)
