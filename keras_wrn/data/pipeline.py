"""Arrays in memory -> batches, the same on tf.data and from NumPy, resumable at any step."""

import math

import keras
import numpy as np

from keras_wrn.data.augment import crop_and_flip, draw_crop

DRAWS = 3  # columns of one image's row of draws: top, left, flip


def epoch_draws(seed, epoch, count):
    """The order of the images of one epoch, and one row of uniform draws for each image.

    Args:
        seed: int, of the run.
        epoch: int, from 0.
        count: int, the number of training images.

    Returns:
        order, int64 (count,), a permutation; draws, float32 (count, 3) in [0, 1), whose row i
        belongs to image i. Both depend on nothing but (seed, epoch, count).
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(count)
    return order, generator.random((count, DRAWS), dtype="float32")


class Batches:
    """Training batches as a function of the step: what every road below shares.

    Args:
        images: uint8 or float32 (n, height, width, channels).
        labels: int (n,).
        classes: int.
        batch_size: int, global. The last short batch of an epoch is dropped.
        preprocessing: `Preprocessing`. With ZCA the images are whitened once, before the crops.
        padding: int, of the reflect-pad crop; 0 for none.
        horizontal_flip: bool.
        seed: int.
    """

    def __init__(
        self, images, labels, classes, *, batch_size, preprocessing, padding=4,
        horizontal_flip=True, seed=0,
    ):  # fmt: skip
        check_labels(labels, classes)
        if not 0 < batch_size <= len(images):
            raise ValueError(
                f"`batch_size` should be between 1 and the {len(images)} training images. "
                f"Received: batch_size={batch_size!r}"
            )
        if padding >= min(images.shape[1:3]):
            raise ValueError(
                f"`padding` should be below the image size {images.shape[1:3]}. "
                f"Received: padding={padding!r}"
            )
        self.whitened = preprocessing.zca is not None
        self.images = _whiten(preprocessing, images) if self.whitened else images
        self.labels = np.asarray(labels, "int32")
        self.classes = classes
        self.batch_size = batch_size
        self.preprocessing = preprocessing
        self.padding = padding
        self.horizontal_flip = horizontal_flip
        self.seed = seed
        self.steps_per_epoch = len(images) // batch_size

    def augment(self, images, draws):
        """Crop, flip and normalise a batch, given its images and their rows of draws."""
        if self.padding or self.horizontal_flip:
            offsets, flips = draw_crop(draws, self.padding, self.horizontal_flip)
            images = crop_and_flip(images, offsets, flips, self.padding)
        return images if self.whitened else self.preprocessing.normalize(images)

    def draws(self, epoch):
        """Indices (steps, batch) and rows of draws (steps, batch, 3) of one epoch."""
        order, draws = epoch_draws(self.seed, epoch, len(self.images))
        order = order[: self.steps_per_epoch * self.batch_size]
        order = order.reshape(self.steps_per_epoch, self.batch_size)
        return order, draws[order]

    def dataset(self, start_step=0, epochs=1):
        """A `tf.data.Dataset` of (images, one-hot labels) from a step to the end of the run.

        Args:
            start_step: int, the first step, counted from the start of the run.
            epochs: int, the epochs of the whole run.
        """
        import tensorflow as tf

        images, labels = tf.constant(self.images), tf.constant(self.labels)
        first_epoch, skip = divmod(start_step, self.steps_per_epoch)

        def indices_of(epoch):
            order, draws = tf.numpy_function(self.draws, [epoch], [tf.int64, tf.float32])
            order.set_shape((self.steps_per_epoch, self.batch_size))
            draws.set_shape((self.steps_per_epoch, self.batch_size, DRAWS))
            return tf.data.Dataset.from_tensor_slices((order, draws))

        def batch_of(order, draws):
            x = self.augment(tf.gather(images, order), draws)
            x.set_shape((self.batch_size, *images.shape[1:]))
            return x, tf.one_hot(tf.gather(labels, order), self.classes)

        remaining = (epochs - first_epoch) * self.steps_per_epoch - skip
        dataset = tf.data.Dataset.range(first_epoch, epochs).flat_map(indices_of).skip(skip)
        dataset = dataset.map(batch_of, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        # An unknown cardinality would make Keras count one step too many at each epoch's end.
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(remaining))
        return _unsharded(tf, dataset).prefetch(2)

    def arrays(self, start_step=0, epochs=1):
        """The same batches as NumPy arrays, for the JAX and torch backends: a PyDataset."""
        return ArrayBatches(self, start_step, epochs * self.steps_per_epoch)


class ArrayBatches(keras.utils.PyDataset):
    """A run's batches, by step, as NumPy arrays. Batch 0 is the one of `start_step`."""

    def __init__(self, batches, start_step, end_step):
        super().__init__()
        self.batches = batches
        self.start_step = start_step
        self.end_step = end_step
        self._epoch = None, None

    def __len__(self):
        return self.end_step - self.start_step

    def __getitem__(self, index):
        batches = self.batches
        epoch, step = divmod(self.start_step + index, batches.steps_per_epoch)
        if self._epoch[0] != epoch:
            self._epoch = epoch, batches.draws(epoch)
        order, draws = (part[step] for part in self._epoch[1])
        x = batches.augment(batches.images[order], draws)
        return x, _one_hot(batches.labels[order], batches.classes)


def eval_arrays(images, labels, classes, *, batch_size, replicas=1):
    """Split images into equal batches that drop none, whatever their number.

    Every batch has the same size, a multiple of `replicas`; what is missing is filled up with
    black images of weight 0. The weight of a real image is (images with the filling) / (images):
    so Keras' loss, a mean over the batch's rows, averages to the exact mean over the images.

    Returns:
        images (batches, size, height, width, channels), one-hot labels (batches, size, classes),
        weights float32 (batches, size).
    """
    check_labels(labels, classes)
    count = len(images)
    batches = math.ceil(count / batch_size)
    size = math.ceil(count / batches / replicas) * replicas
    missing = batches * size - count
    weights = np.full(count, batches * size / count, "float32")
    parts = images, _one_hot(labels, classes), weights
    if missing:
        parts = [np.pad(p, [(0, missing)] + [(0, 0)] * (p.ndim - 1)) for p in parts]
    return tuple(p.reshape(batches, size, *p.shape[1:]) for p in parts)


def eval_dataset(images, labels, classes, *, batch_size, preprocessing, replicas=1):
    """A `tf.data.Dataset` of (images, one-hot labels, weights) in order; see `eval_arrays`."""
    import tensorflow as tf

    parts = eval_arrays(images, labels, classes, batch_size=batch_size, replicas=replicas)
    dataset = tf.data.Dataset.from_tensor_slices(parts)
    dataset = dataset.map(lambda x, y, w: (preprocessing.normalize(x), y, w))
    return _unsharded(tf, dataset).prefetch(2)


class EvalBatches(keras.utils.PyDataset):
    """The batches of `eval_dataset` as NumPy arrays, for the JAX and torch backends."""

    def __init__(self, images, labels, classes, *, batch_size, preprocessing):
        super().__init__()
        self.parts = eval_arrays(images, labels, classes, batch_size=batch_size)
        self.preprocessing = preprocessing

    def __len__(self):
        return len(self.parts[0])

    def __getitem__(self, index):
        x, y, weights = (part[index] for part in self.parts)
        return self.preprocessing.normalize(x), y, weights


def check_labels(labels, classes):
    """Raise a ValueError unless every label is below the number of classes."""
    low, high = int(np.min(labels)), int(np.max(labels))
    if low < 0 or high >= classes:
        raise ValueError(
            f"The field 'label' should be in 0..{classes - 1}, one of the model's {classes} "
            f"classes. Received: labels {low} to {high}. Give the model `classes={high + 1}`."
        )


def _one_hot(labels, classes):
    return np.eye(classes, dtype="float32")[labels]


def _whiten(preprocessing, images, batch=1000):
    parts = [preprocessing.normalize(images[i : i + batch]) for i in range(0, len(images), batch)]
    return np.concatenate(parts)


def _unsharded(tf, dataset):
    # A strategy splits each batch over its replicas; there are no files to share out.
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options)
