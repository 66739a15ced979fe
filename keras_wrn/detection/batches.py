"""Training and evaluation batches of a detector, on tf.data, resumable at any step."""

import math

import numpy as np

from keras_wrn.data.evaluation import unsharded
from keras_wrn.data.photos import Photos
from keras_wrn.data.pipeline import plans
from keras_wrn.data.tf_photos import WholePhotoReader, damaged_photo
from keras_wrn.detection.geometry import DRAWS, as_corners, augment, fit_with_boxes
from keras_wrn.detection.targets import BACKGROUND, IGNORED, targets

AHEAD = 100  # steps that tf.data may have begun before the one that trains
STREAM = 5  # of a run's random numbers; others are those of `keras_wrn.data`


class BoxBatches:
    """Batches of photos with what each anchor box is to become, as a function of the step.

    Args:
        boxes: `BoxSet`. Crowds are left out.
        anchors: `keras_wrn.models.retinanet.Anchors` of the detector.
        batch_size: int, global. The last short batch of an epoch is dropped.
        preprocessing: `Preprocessing` of the detector, for its size and normalisation.
        scale: (low, high), the range of the random scale; at 1 a photo fits into the square.
        flips: bool, whether half of the photos are mirrored.
        seed: int.

    Attributes:
        images: the `Photos`.

    Raises:
        ValueError: the batch is larger than the number of photos.

    A batch is (x, y): x float32 (batch, size, size, 3), normalised; y a dict of `box`, float32
    (batch, anchors, 5), and `classification`, float32 (batch, anchors, 2), as `BoxLoss` and
    `ClassLoss` take them. An anchor's weight is the batch over the number of anchors with a box in
    the whole batch, or 0: the mean over images is then the sum over that number, on one device and
    on several, however the boxes are spread. Keras' own normalisation would be each device's.

    Example:

    ```python
    photos = keras_wrn.detection.read_coco("coco/instances_train.json")
    batches = keras_wrn.detection.BoxBatches(
        photos, keras_wrn.models.retinanet.Anchors(256), batch_size=8,
        preprocessing=keras_wrn.Preprocessing(256),
    )
    x, y = next(iter(batches.dataset(start_step=30, epochs=9)))   # y["box"] (8, 12276, 5)
    ```
    """

    host_only = streamed = True  # batches are made on the processor, and photos are on disk

    def __init__(
        self, boxes, anchors, *, batch_size, preprocessing, scale=(0.8, 1.25), flips=True, seed=0
    ):
        if not 0 < batch_size <= len(boxes):
            raise ValueError(
                f"`batch_size` should be between 1 and the {len(boxes)} training photos. "
                f"Received: batch_size={batch_size!r}"
            )
        self.boxes, self.anchors = boxes, anchors.boxes
        self.batch_size, self.preprocessing = batch_size, preprocessing
        self.scale, self.flips, self.seed = scale, flips, seed
        self.size = (preprocessing.size,) * 2
        self.images = Photos(boxes.source, preprocessing)
        self.steps_per_epoch = len(boxes) // batch_size

    def plan(self, epoch):
        """The order (steps, batch) and the draws (steps, batch, 4) of an epoch, from 0."""
        count = len(self.boxes)
        random = np.random.default_rng([self.seed, epoch, STREAM])
        order = random.permutation(count)
        draws = random.random((count, DRAWS), dtype="float32")
        order = order[: self.steps_per_epoch * self.batch_size]
        order = order.reshape(self.steps_per_epoch, self.batch_size)
        return {"order": order, "draws": draws[order]}

    def dataset(self, start_step=0, epochs=1, rows=slice(None)):
        """A `tf.data.Dataset` from a step to the end of the run.

        Args:
            start_step: int, the first step, counted from the start of the run.
            epochs: int, the epochs of the whole run.
            rows: slice, the rows of each batch that this process trains on. The others are made
                too, on TensorFlow, whose strategy drops them.

        Raises:
            ValueError: the step is not in the run.
        """
        import tensorflow as tf

        read, boxes_of = WholePhotoReader(self.images), _boxes_in_graph(tf, self.boxes)
        size, scale, flips = self.preprocessing.size, self.scale, self.flips
        sides = tf.constant(self.boxes.sizes)

        @tf.autograph.experimental.do_not_convert
        def example_of(row):
            boxes, labels = boxes_of(row["order"])
            image = read(row)
            # A photo of another size than its boxes are for ends the run; `problem` names it.
            right = tf.reduce_all(tf.shape(image)[:2] == sides[row["order"]])
            with tf.control_dependencies([tf.debugging.Assert(right, ["another size"])]):
                image = tf.identity(image)
            found = augment(image, boxes, labels, row["draws"], size, scale, flips)
            return _with_targets(tf, self.anchors, *found)

        dataset = plans(self.plan, start_step, epochs, self.steps_per_epoch).unbatch()
        parallel = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": True}
        dataset = dataset.map(example_of, **parallel)
        dataset = dataset.batch(self.batch_size, drop_remainder=True)
        dataset = dataset.map(lambda *batch: _weighted(tf, self.preprocessing, *batch))
        remaining = epochs * self.steps_per_epoch - start_step
        # An unknown cardinality would make Keras count one step too many at each epoch's end.
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(remaining))
        return unsharded(tf, dataset).prefetch(2)

    def problem(self, start_step):
        """A sentence on the first photo from a step on that cannot be used, or None."""
        indices: list = []
        for step in range(start_step, start_step + AHEAD):
            epoch, number = divmod(step, self.steps_per_epoch)
            if number == 0 or step == start_step:
                order = self.plan(epoch)["order"]
            indices += order[number].tolist()
        reader = WholePhotoReader(self.images)
        found = damaged_photo(self.images, reader, ({"order": index} for index in indices))
        return found or self._of_another_size(indices)

    def _of_another_size(self, indices):
        for index in dict.fromkeys(indices):
            try:
                self.boxes.check_size(index, *self.images.decoded(index).shape[:2])
            except ValueError as error:
                return str(error)
        return None


def held_out_batches(boxes, anchors, photos, *, batch_size, preprocessing):
    """A dataset of all photos in order, fitted into the square, for the held-out loss.

    The last batch is filled up with the first photos, whose weights are 0.

    Args:
        boxes, anchors, preprocessing: as for `BoxBatches`.
        photos: the `Photos` of `boxes`.
        batch_size: int.
    """
    import tensorflow as tf

    count = len(boxes)
    numbers = np.arange(math.ceil(count / batch_size) * batch_size)
    read, boxes_of = WholePhotoReader(photos), _boxes_in_graph(tf, boxes)

    @tf.autograph.experimental.do_not_convert
    def example_of(number):
        index = number % count
        boxes, labels = boxes_of(index)
        fitted = fit_with_boxes(read({"order": index}), boxes, labels, preprocessing.size)
        image, offsets, labels = _with_targets(tf, anchors.boxes, *fitted)
        return image, offsets, tf.where(number < count, labels, IGNORED)

    dataset = tf.data.Dataset.from_tensor_slices(numbers)
    dataset = dataset.map(example_of, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    dataset = dataset.batch(batch_size, drop_remainder=True)
    dataset = dataset.map(lambda *batch: _weighted(tf, preprocessing, *batch))
    return unsharded(tf, dataset).prefetch(2)


def _with_targets(tf, anchors, image, boxes, labels):
    kept = labels >= 0
    return image, *targets(anchors, boxes[kept], labels[kept])


def _weighted(tf, preprocessing, images, offsets, labels):
    """The batch: an anchor's weight is the batch over the anchors with a box, or 0."""
    positive = tf.cast(labels > BACKGROUND, "float32")
    counted = tf.cast(labels > IGNORED, "float32")
    weight = images.shape[0] / tf.maximum(tf.reduce_sum(positive), 1.0)
    box = tf.concat([offsets, (weight * positive)[..., tf.newaxis]], axis=-1)
    found = tf.cast(tf.maximum(labels, BACKGROUND), "float32")
    classes = tf.stack([found, weight * counted], axis=-1)
    if not preprocessing.in_model:  # `normalize` takes tensors of Keras' backend alone
        scale, shift = preprocessing.scale_and_shift
        images = images * scale - shift
    return images, {"box": box, "classification": classes}


def _boxes_in_graph(tf, boxes):
    """A function from a photo's index to its corners (k, 4) and labels (k,), without crowds."""
    kept = [~crowds for crowds in boxes.crowds]
    counts = np.array([int(x.sum()) for x in kept], "int64")
    ends = np.cumsum(counts)
    all_boxes = np.concatenate([b[x] for b, x in zip(boxes.boxes, kept, strict=True)])
    all_labels = np.concatenate([b[x] for b, x in zip(boxes.labels, kept, strict=True)])
    corners, labels = tf.constant(as_corners(all_boxes, "xywh")), tf.constant(all_labels, "int32")
    starts, ends = tf.constant(ends - counts), tf.constant(ends)

    def boxes_of(index):
        part = slice(starts[index], ends[index])
        return corners[part], labels[part]

    return boxes_of
