"""Whether a dataset has its published pixels."""

import numpy as np
import pytest
from data.helpers import made_up

from keras_wrn.data import load_arrays, originals
from keras_wrn.data.originals import digest_of, pixels_of


def test_the_order_of_images_does_not_matter_and_their_labels_and_pixels_do():
    images, labels = made_up(20)
    order = np.random.default_rng(0).permutation(20)
    whole = digest_of((images, labels))
    assert digest_of((images[order], labels[order])) == whole
    assert digest_of((images[:7], labels[:7]), (images[7:], labels[7:])) == whole
    other = images.copy()
    other[3, 2, 2, 1] ^= 1
    assert digest_of((other, labels)) != whole
    assert digest_of((images, np.roll(labels, 1))) != whole


def test_known_and_other_pixels_are_told_apart(monkeypatch):
    images, labels = made_up(20)
    monkeypatch.setitem(originals.PUBLISHED, "cifar10", {digest_of((images, labels))})
    assert pixels_of("cifar10", (images, labels)) == "original"
    assert pixels_of("cifar10", (images[1:], labels[1:])) == "other"
    assert pixels_of("digits", (images, labels)) is None


@pytest.mark.slow
def test_cifar10_is_recognised(tfds_dir):
    if not (tfds_dir / "cifar10").is_dir():
        pytest.skip("TFDS_DATA_DIR has no cifar10")
    train, held_out, test = (
        load_arrays("cifar10", split, data_dir=tfds_dir, **settings)
        for split, settings in (
            ("train", {"validation": 5000}),
            ("validation", {"validation": 5000}),
            ("test", {}),
        )
    )
    assert pixels_of("cifar10", train, held_out) == "original"
    whole = [np.concatenate(parts) for parts in zip(train, held_out, strict=True)]
    assert pixels_of("cifar10", tuple(whole), test) == "original"
    assert pixels_of("cifar10", train, test) == "other"  # some of them are missing
