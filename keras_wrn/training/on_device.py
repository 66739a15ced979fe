"""Training images that stay on the device and are cropped, mirrored and mixed there, on JAX.

Only the plan's numbers, a few bytes per image, go to the device in each step. So the step itself
limits the speed of training, not the processor that prepares it.
"""

import functools

import keras
from keras import ops

from keras_wrn.data.pipeline import ArrayBatches

LIMIT = 4 * 2**30  # bytes of training images that go onto the device


def fits_device(placement, batches):
    """Whether a run keeps its training images on the device: on JAX with one device."""
    fits = not batches.host_only and batches.images.nbytes <= LIMIT
    alone = placement.count == 1 and keras.distribution.distribution() is None
    return keras.backend.backend() == "jax" and alone and fits


class DeviceBatches(ArrayBatches):
    """A run's batches, by step: all images and labels, and the step's part of the plan."""

    def __init__(self, batches, start_step, end_step):
        super().__init__(batches, start_step, end_step, slice(None))
        self.images = ops.convert_to_tensor(batches.images)
        self.labels = ops.convert_to_tensor(batches.labels)

    def __getitem__(self, index):
        # Arrays on the device, which `fit` passes on as they are.
        return ({**self.plan(index), "images": self.images, "labels": self.labels},)


class DeviceStep:
    """The training step of a model, which makes its own batch out of `DeviceBatches`.

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
    """What a model's `fit` reads from step `start_step` to the end of `epochs` epochs.

    Raises:
        ValueError: the batches need TensorFlow.
    """
    batches.arrays(start_step, epochs)  # refuses what only works on TensorFlow
    if getattr(model.train_step, "batches", None) is not batches:
        model.train_step = DeviceStep(model, batches)
        # JAX would reuse the trace of the old step, with its crops.
        model.train_function = None
    return DeviceBatches(batches, start_step, epochs * batches.steps_per_epoch)
