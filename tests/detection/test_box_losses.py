"""The losses of a detector, by hand."""

import numpy as np
import pytest

from keras_wrn.detection.losses import BoxLoss, ClassLoss


def test_the_box_loss_is_that_of_the_definition():
    random = np.random.default_rng(0)
    guess, truth = random.normal(0, 1.5, (2, 3, 7, 4)).astype("float32")
    weights = random.random((3, 7)).astype("float32")
    difference = np.abs(guess - truth)
    smooth = np.where(difference < 1, difference**2 / 2, difference - 0.5).sum(axis=-1)
    expected = (smooth * weights).sum(axis=1).mean()
    found = BoxLoss()(np.concatenate([truth, weights[..., None]], axis=-1), guess)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_the_class_loss_is_focal_loss():
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (3, 7, 4)).astype("float32")
    labels = random.integers(-1, 4, (3, 7))
    weights = random.random((3, 7)).astype("float32")
    chances = 1 / (1 + np.exp(-logits.astype("float64")))
    right = labels[..., None] == np.arange(4)
    of_truth = np.where(right, chances, 1 - chances)
    focal = -np.where(right, 0.25, 0.75) * (1 - of_truth) ** 2 * np.log(of_truth)
    expected = (focal.sum(axis=-1) * weights).sum(axis=1).mean()
    truth = np.stack([labels, weights], axis=-1).astype("float32")
    assert float(ClassLoss()(truth, logits)) == pytest.approx(expected, rel=1e-4)
