"""From a name to batches, and the examples in the docstrings."""

import inspect
import re

import numpy as np
import pytest

import keras_wrn
from keras_wrn.data import (
    Augmentation,
    Batches,
    array_files,
    default_preprocessing,
    load_arrays,
    load_dataset,
)
from keras_wrn.data.datasets import DATASETS


def test_the_training_split_is_that_of_batches():
    images, labels = load_arrays("digits", "train")
    expected = Batches(
        images, labels, 10, batch_size=100, seed=3,
        augmentation=Augmentation(crop_padding=3, horizontal_flip=False),
        preprocessing=default_preprocessing(DATASETS["digits"]),
    )  # fmt: skip
    found = load_dataset("digits", "train", batch_size=100, epochs=2, seed=3)
    assert found.cardinality() == 28
    for (x, y), (x2, y2) in zip(found, expected.dataset(epochs=2), strict=True):
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(y, y2)


def test_the_test_split_is_whole_and_in_order():
    images, labels = load_arrays("digits", "test")
    batches = list(load_dataset("digits", "test", batch_size=100).as_numpy_iterator())
    x, y, weights = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    assert (weights > 0).sum() == 360
    np.testing.assert_allclose(x[weights > 0], images / 255, atol=1e-6)
    np.testing.assert_array_equal(y[weights > 0].argmax(axis=1), labels)
    held_out = load_dataset("digits", "validation", validation=100)
    assert sum((w > 0).sum() for *_, w in held_out.as_numpy_iterator()) == 100


def test_settings_reach_the_batches(monkeypatch):
    taken = {}

    class Spy(Batches):
        def __init__(self, *data, **settings):
            taken.update(settings)
            super().__init__(*data, **settings)

    monkeypatch.setattr("keras_wrn.data.load.Batches", Spy)
    settings = {
        "augmentation": Augmentation(cutout=5, cutmix=0.2), "seed": 4, "batch_size": 7,
        "preprocessing": default_preprocessing(DATASETS["cifar10"]),
    }  # fmt: skip
    load_dataset("digits", "train", **settings)
    assert taken == settings


def test_svhn_is_not_augmented_by_default(prepared_svhn):
    found = load_dataset("svhn_cropped", "train", data_dir=prepared_svhn, batch_size=55)
    images, _ = load_arrays("svhn_cropped", "train", data_dir=prepared_svhn)
    x, _ = next(iter(found))
    x = np.rint(x * 255).astype("uint8")
    assert {image.tobytes() for image in x} == {image.tobytes() for image in images}


@pytest.mark.parametrize(
    "name", [n for n in keras_wrn.data.__all__ if callable(getattr(keras_wrn.data, n))]
)
def test_examples_run(name, capsys, monkeypatch, tmp_path):
    import tensorflow as tf

    monkeypatch.chdir(tmp_path)  # one of them writes files
    few = np.zeros((4, 32, 32, 3), "uint8"), np.zeros(4, "int32")
    monkeypatch.setattr(array_files, "read_splits", lambda *_: few)  # and would download

    documentation = inspect.getdoc(getattr(keras_wrn.data, name)) or ""
    examples = re.findall(r"```python\n(.*?)```", documentation, flags=re.DOTALL)
    assert examples or name in WITHOUT_EXAMPLE
    for example in examples:
        exec(example, {"keras_wrn": keras_wrn, "np": np, "tf": tf})


WITHOUT_EXAMPLE = {"DataError"}
