"""Training images that stay on the device and are cropped, mirrored and mixed there, on JAX.

What crosses to the device in a step are the plan's numbers, a few bytes an image: so that the step,
and not the processor that prepares it, says how fast the training is.
"""

import functools

import keras
from keras import ops

from keras_wrn.data.pipeline import ArrayBatches

LIMIT = 4 * 2**30  # bytes of training images that go onto the device


def fits_device(placement, images):
    """Whether a run keeps its training images on the device: JAX, and one of them."""
    alone = placement.count == 1 and keras.distribution.distribution() is None
    return keras.backend.backend() == "jax" and alone and images.nbytes <= LIMIT


class DeviceBatches(ArrayBatches):
    """A run's batches, by step: all images and labels, and the step's part of the plan."""

    def __init__(self, batches, start_step, end_step):
        super().__init__(batches, start_step, end_step, slice(None))
        self.images = ops.convert_to_tensor(batches.images)
        self.labels = ops.convert_to_tensor(batches.labels)

    def __getitem__(self, index):
        # Arrays of the device, which `fit` hands on as they are.
        return ({**self.plan(index), "images": self.images, "labels": self.labels},)


class DeviceStep:
    """The training step of a model, which makes its batch by itself, out of `DeviceBatches`.

    Args:
        model: `keras.Model`.
        batches: `Batches`.
    """

    def __init__(self, model, batches):
        self.step = functools.partial(type(model).train_step, model)
        self.batches = batches

    def __call__(self, state, data):
        (plan,) = data
        plan = dict(plan)
        images, labels = plan.pop("images"), plan.pop("labels")
        order = plan["order"]
        targets = ops.one_hot(ops.take(labels, order), self.batches.classes, dtype="float32")
        batch = self.batches.batch(ops.take(images, order, axis=0), targets, plan)
        return self.step(state, batch)


def device_batches(model, batches, start_step, epochs):
    """What `fit` of a model reads from a step on, to the end of so many epochs.

    Raises:
        ValueError: the batches need TensorFlow.
    """
    batches.arrays(start_step, epochs)  # which refuses what works on TensorFlow only
    if getattr(model.train_step, "batches", None) is not batches:
        model.train_step = DeviceStep(model, batches)
        # JAX would take the trace of the old step, with its crops.
        model.train_function = None
    return DeviceBatches(batches, start_step, epochs * batches.steps_per_epoch)
