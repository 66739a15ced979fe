"""From arrays in memory to batches, the same on tf.data and from NumPy, resumable at any step."""

import keras
import numpy as np

from keras_wrn.data.augment import check_padding, crop_and_flip, draw_crop
from keras_wrn.data.augmentation import PAINTED, Augmentation, check_augmentation
from keras_wrn.data.evaluation import (
    check_backend,
    check_channels,
    check_images,
    check_labels,
    one_hot,
    unsharded,
)
from keras_wrn.data.mixing import change_batch, change_pixels, heavy_draws, heavy_layers
from keras_wrn.data.photos import Photos
from keras_wrn.data.resized_crop import COLUMNS

DRAWS = 3  # columns of one image's row of draws: top, left, flip
FLIP = 2
AHEAD = 100  # steps that tf.data may have begun before the one that trains
LARGEST = np.float32(1 - 2**-24)  # float32 draw in [0, 1): draws are multiples of 2**-24


def epoch_draws(seed, epoch, count):
    """The order of the images of one epoch, and one row of uniform draws for each image.

    Args:
        seed: int, of the run.
        epoch: int, from 0.
        count: int, the number of training images.

    Returns:
        order, int64 (count,), a permutation; draws, float32 (count, 3) in [0, 1), whose row i
        belongs to image i. Both depend only on (seed, epoch, count).
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(count)
    return order, generator.random((count, DRAWS), dtype="float32")


class Batches:
    """Training batches as a function of the step, the same from `dataset` and `arrays`.

    Args:
        images: uint8 or float32 (n, height, width, channels), or `Photos`, which stay on disk. If
            they are larger than `preprocessing.size`, random crops of that size are taken.
        labels: int (n,).
        classes: int.
        batch_size: int, global. The last short batch of an epoch is dropped.
        preprocessing: `Preprocessing`. With ZCA the images are whitened once, before the crops.
        augmentation: `Augmentation`, None for the crops and flips of CIFAR.
        seed: int.
        mixing_epochs: int, how many epochs use mixup and CutMix, from the first on; None for all.

    Raises:
        ValueError: a value out of range; the message says what was expected.

    Example:

    ```python
    images, labels = keras_wrn.data.load_arrays("digits", "train")
    info = keras_wrn.data.dataset_info("digits")
    preprocessing = keras_wrn.data.default_preprocessing(info)
    batches = keras_wrn.data.Batches(
        images, labels, info.classes, batch_size=64, preprocessing=preprocessing,
        augmentation=keras_wrn.data.Augmentation(cutmix=1.0),
    )
    x, y = next(iter(batches.dataset(start_step=30, epochs=2)))   # (64, 32, 32, 3), (64, 10)
    ```
    """

    def __init__(
        self, images, labels, classes, *, batch_size, preprocessing, augmentation=None, seed=0,
        mixing_epochs=None,
    ):  # fmt: skip
        check_images(images, labels)
        check_labels(labels, classes)
        check_channels(images, preprocessing)
        if not 0 < batch_size <= len(images):
            raise ValueError(
                f"`batch_size` should be between 1 and the {len(images)} training images. "
                f"Received: batch_size={batch_size!r}"
            )
        self.augmentation = augmentation = augmentation or Augmentation()
        self.whitened = preprocessing.zca is not None
        self.streamed = isinstance(images, Photos)
        if augmentation.random_resized_crop and not self.streamed:
            raise ValueError(
                "`random_resized_crop` is for photos that are read from files. Received: images "
                f"of {images.shape[1]} x {images.shape[2]} in memory"
            )
        if self.streamed and self.whitened:
            raise ValueError("ZCA whitening needs the images in memory. Received: `Photos`")
        full = images.shape[1:3]
        if augmentation.random_resized_crop:
            full = (preprocessing.size,) * 2
        self.size = size = tuple(min(side, preprocessing.size) for side in full)
        self.shape = (*full, images.shape[3])  # of an image that `take` takes
        self.margin = tuple(side - crop for side, crop in zip(full, size, strict=True))
        check_padding(augmentation.crop_padding, full)
        check_augmentation(augmentation, size, self.whitened, images.shape[-1])
        self.mixing_epochs = mixing_epochs
        self.images = _whiten(preprocessing, images) if self.whitened else images
        self.labels = np.asarray(labels, "int32")
        self.classes = classes
        self.batch_size = batch_size
        self.preprocessing = preprocessing
        self.seed = seed
        self.steps_per_epoch = len(images) // batch_size
        self.layers = heavy_layers(augmentation)
        self.mixes = bool(self.layers.keys() & {"cutout", "mixup", "cutmix"})

    @property
    def host_only(self):
        """Whether a batch needs the processor: to read photos, or for Pillow."""
        return self.streamed or any(getattr(self.augmentation, field) for field in PAINTED)

    def augment(self, images, draws):
        """Crop, flip and normalise a batch, given its images and their rows of draws."""
        padding, flips = self.augmentation.crop_padding, self.augmentation.horizontal_flip
        cropped = self.augmentation.random_resized_crop  # and mirrored, by `take`
        if not cropped and (padding or flips or any(self.margin)):
            offsets, flipped = draw_crop(draws, padding, flips, self.margin)
            images = crop_and_flip(images, offsets, flipped, padding, self.size)
        as_they_are = self.preprocessing.in_model and not self.mixes
        return images if self.whitened or as_they_are else self.preprocessing.normalize(images)

    def draws(self, epoch):
        """Indices (steps, batch) and rows of draws (steps, batch, 3) of one epoch."""
        count = len(self.images)
        order, draws = epoch_draws(self.seed, epoch, count)
        if self.augmentation.alternating_flip:
            first = epoch_draws(self.seed, 0, count)[1][:, FLIP]
            draws[:, FLIP] = LARGEST - first if epoch % 2 else first
        order = order[: self.steps_per_epoch * self.batch_size]
        order = order.reshape(self.steps_per_epoch, self.batch_size)
        return order, draws[order]

    def plan(self, epoch):
        """All draws for one epoch, as a dict of arrays whose first axis is (steps,).

        It has `order` and `draws` as above, `crop`, the draws of random-resized crops, and what
        `heavy_draws` adds.
        """
        order, draws = self.draws(epoch)
        mixing = self.mixing_epochs is None or epoch < self.mixing_epochs
        heavy = heavy_draws(
            self.augmentation, self.seed, epoch, len(self.images), order, self.size, mixing
        )
        if self.augmentation.random_resized_crop:
            table = np.random.default_rng([self.seed, epoch, 4]).random(
                (len(self.images), COLUMNS), dtype="float32"
            )
            heavy["crop"] = table[order]
        return {"order": order, "draws": draws, **heavy}

    def needed(self, plan, rows):
        """Which images the rows of each batch are made of, with those they are mixed with.

        Args:
            plan: what `plan` returned.
            rows: slice of each batch.

        Returns:
            bool (steps, batch).
        """
        places = np.zeros(self.batch_size, bool)
        places[rows] = True
        needed = np.broadcast_to(places, plan["order"].shape).copy()
        if "partner" in plan:
            partners = plan["partner"][:, rows]
            np.put_along_axis(needed, partners, True, axis=1)
        return needed

    def take(self, plan):
        """One step's images as a NumPy array, following its part of `plan`.

        Random-resized crops are mirrored too. Photos that are not `needed` stay black.
        """
        if not self.streamed:
            return self.images[plan["order"]]
        chosen = plan.get("needed", slice(None))
        order, images = plan["order"], np.zeros((self.batch_size, *self.shape), "uint8")
        if not self.augmentation.random_resized_crop:
            images[chosen] = self.images[order[chosen]]
            return images
        draws = plan["crop"][chosen]
        images[chosen] = self.images.crops(order[chosen], draws, self.size, *self._ranges())
        flips = plan["draws"][:, FLIP] >= 0.5
        if self.augmentation.horizontal_flip:
            images[flips] = images[flips, :, ::-1]
        return images

    def _ranges(self):
        if not self.augmentation.random_resized_crop:
            return None, None
        return self.augmentation.crop_scale, self.augmentation.crop_ratio

    def batch(self, images, labels, plan):
        """Turn one step's images and one-hot labels into a batch, following its part of `plan`."""
        images = change_pixels(self.layers, images, plan)
        images = self.augment(images, plan["draws"])
        return change_batch(self.layers, images, labels, plan)

    def dataset(self, start_step=0, epochs=1, rows=slice(None)):
        """A `tf.data.Dataset` of (images, one-hot labels) from a step to the end of the run.

        Args:
            start_step: int, the first step, counted from the start of the run.
            epochs: int, the epochs of the whole run.
            rows: slice, the rows of each batch that this process trains on. Of `Photos` the others
                may be black; a strategy drops them.

        Raises:
            ValueError: the step is not in the run, or the Keras backend is not TensorFlow.
        """
        check_backend("Batches.dataset", "Batches.arrays")
        import tensorflow as tf

        labels = tf.constant(self.labels)
        images = None if self.streamed else tf.constant(self.images)

        @tf.autograph.experimental.do_not_convert
        def batch_of(plan):
            order = plan["order"]
            pixels = plan.pop("photos") if self.streamed else tf.gather(images, order)
            targets = tf.one_hot(tf.gather(labels, order), self.classes)
            x, y = self.batch(pixels, targets, plan)
            x.set_shape((self.batch_size, *self.size, self.images.shape[-1]))
            return x, y

        remaining = epochs * self.steps_per_epoch - start_step
        dataset = plans(
            lambda epoch: self._plan_for(epoch, rows), start_step, epochs, self.steps_per_epoch
        )
        parallel = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": True}
        if self.streamed:
            read = self._reader()

            @tf.autograph.experimental.do_not_convert
            def with_photo(row):
                return {**row, "photos": read(row)}

            dataset = dataset.unbatch().map(with_photo, **parallel)
            dataset = dataset.batch(self.batch_size, drop_remainder=True)
        dataset = dataset.map(batch_of, **parallel)
        # An unknown cardinality would make Keras count one step too many at each epoch's end.
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(remaining))
        return unsharded(tf, dataset).prefetch(2)

    def _plan_for(self, epoch, rows):
        """The plan of an epoch, with what some rows of each batch need if photos are read."""
        plan = self.plan(epoch)
        if self.streamed and rows != slice(None):
            plan["needed"] = self.needed(plan, rows)
        return plan

    def _reader(self):
        from keras_wrn.data.tf_photos import PhotoReader

        flips = self.augmentation.horizontal_flip and self.augmentation.random_resized_crop
        scale, ratio = self._ranges()
        return PhotoReader(self.images, self.size, scale, ratio, FLIP if flips else None)

    def problem(self, start_step):
        """A sentence on the first photo from a step on that TensorFlow cannot read, or None.

        This reads the photos of the next `AHEAD` steps: it is for after a failure.
        """
        from keras_wrn.data.tf_photos import damaged_photo

        def rows():
            for step in range(start_step, start_step + AHEAD):
                epoch, number = divmod(step, self.steps_per_epoch)
                if number == 0 or step == start_step:
                    plan = self.plan(epoch)
                for row in range(self.batch_size):
                    yield {x: part[number, row] for x, part in plan.items()}

        return damaged_photo(self.images, self._reader(), rows())

    def arrays(self, start_step=0, epochs=1, rows=slice(None)):
        """The same batches as NumPy arrays, for the JAX and torch backends: a PyDataset.

        Args:
            start_step: int, as for `dataset`.
            epochs: int, as for `dataset`.
            rows: slice, the rows of each batch that this process trains on.

        Raises:
            ValueError: the step is not in the run.
        """
        check_step(start_step, epochs, self.steps_per_epoch)
        return ArrayBatches(self, start_step, epochs * self.steps_per_epoch, rows)


def plans(plan, start_step, epochs, steps):
    """A `tf.data.Dataset` of each step's part of the plans, from a step to the end of the run.

    Args:
        plan: function of an epoch to a dict of arrays whose first axis is (steps,).
        start_step: int, counted from the start of the run.
        epochs: int, of the whole run.
        steps: int, in an epoch.

    Raises:
        ValueError: the step is not in the run.
    """
    import tensorflow as tf

    check_step(start_step, epochs, steps)
    first_epoch, skip = divmod(start_step, steps)
    example = plan(first_epoch)
    types = [part.dtype for part in example.values()]

    def plan_of(epoch):
        parts = tf.numpy_function(lambda epoch: list(plan(epoch).values()), [epoch], types)
        for part, array in zip(parts, example.values(), strict=True):
            part.set_shape(array.shape)
        return tf.data.Dataset.from_tensor_slices(dict(zip(example, parts, strict=True)))

    return tf.data.Dataset.range(first_epoch, epochs).flat_map(plan_of).skip(skip)


def check_step(start_step, epochs, steps):
    """Raise a ValueError unless a step is in a run of so many epochs of so many steps."""
    if not 0 <= start_step <= epochs * steps:
        raise ValueError(
            f"`start_step` should be in 0..{epochs * steps}, {epochs} epochs of {steps} steps. "
            f"Received: start_step={start_step!r}"
        )


class ArrayBatches(keras.utils.PyDataset):
    """A run's batches, by step, as NumPy arrays. Batch 0 is that of `start_step`."""

    def __init__(self, batches, start_step, end_step, rows):
        super().__init__()
        self.rows = rows
        self.batches = batches
        self.start_step = start_step
        self.end_step = end_step
        self._epoch, self._plan = None, {}

    def __len__(self):
        return self.end_step - self.start_step

    def plan(self, index):
        """The plan of one step, as a dict of arrays."""
        epoch, step = divmod(self.start_step + index, self.batches.steps_per_epoch)
        if self._epoch != epoch:
            self._epoch, self._plan = epoch, self.batches._plan_for(epoch, self.rows)
        return {name: part[step] for name, part in self._plan.items()}

    def __getitem__(self, index):
        batches, plan = self.batches, self.plan(index)
        order = plan["order"]
        targets = one_hot(batches.labels[order], batches.classes)
        batch = batches.batch(batches.take(plan), targets, plan)
        # Mixing takes partners from the whole batch, so the batch is made before it is sliced.
        return tuple(keras.ops.convert_to_numpy(part)[self.rows] for part in batch)


def _whiten(preprocessing, images, batch=1000):
    parts = [preprocessing.normalize(images[i : i + batch]) for i in range(0, len(images), batch)]
    return np.concatenate(parts)
