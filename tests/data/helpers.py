"""Made-up images and slow, plain references for the tests of keras_wrn.data."""

import dataclasses

import numpy as np

from keras_wrn.data import Augmentation, Batches


def made_up(count, size=8, channels=3, seed=0):
    """Random images, uint8, and labels of ten classes."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, size, size, channels), dtype="uint8")
    return images, generator.integers(0, 10, count).astype("int32")


def cropped(images, offsets, flips, padding):
    """Each image padded by reflection, cut out at its offset, and mirrored where its flip is 1."""
    _, height, width, _ = images.shape
    results = []
    for image, (top, left), flip in zip(images, offsets, flips, strict=True):
        padded = np.pad(image, [(padding, padding), (padding, padding), (0, 0)], mode="reflect")
        crop = padded[top : top + height, left : left + width]
        results.append(crop[:, ::-1] if flip else crop)
    return np.stack(results)


def coordinates(count, size):
    """Images of which each pixel holds its row, its column and the image's number."""
    rows, columns = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    place = np.broadcast_to(np.stack([rows, columns], -1), (count, size, size, 2))
    number = np.broadcast_to(np.arange(count)[:, None, None, None], (count, size, size, 1))
    return np.concatenate([place, number], -1).astype("float32")


def run(batches, start=0, epochs=2):
    """All batches of a run's dataset as arrays."""
    return [(x.numpy(), y.numpy()) for x, y in batches.dataset(start, epochs)]


def same(first, second):
    """Whether two lists of batches are equal to the bit."""
    return len(first) == len(second) and all(
        np.array_equal(one, other)
        for pair in zip(first, second, strict=True)
        for one, other in zip(*pair, strict=True)
    )


def make_batches(images, labels, classes, padding=4, **settings):
    """`Batches` of fields of an `Augmentation` and of other settings, mixed."""
    fields = {field.name for field in dataclasses.fields(Augmentation)} & settings.keys()
    fields = {name: settings.pop(name) for name in fields}
    augmentation = Augmentation(crop_padding=padding, **fields)
    return Batches(images, labels, classes, augmentation=augmentation, **settings)
