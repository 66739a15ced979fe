"""What a dataset's name brings into memory."""

import numpy as np
import pytest

from keras_wrn.data import DATASETS, Augmentation, dataset_info, load_arrays


def test_digits_are_those_of_scikit_learn_in_a_stratified_split():
    from sklearn.datasets import load_digits

    source = load_digits()
    parts = [load_arrays("digits", split) for split in ("train", "test")]
    for (images, labels), count in zip(parts, (1437, 360), strict=True):
        assert images.shape == (count, 32, 32, 3) and images.dtype == "uint8"
        assert labels.shape == (count,) and labels.dtype == "int32"
        np.testing.assert_array_equal(images[..., :1].repeat(3, axis=-1), images)  # grey
        shares = np.bincount(labels) / count
        np.testing.assert_allclose(shares, np.bincount(source.target) / 1797, atol=0.002)
    # The mean of each 4x4 square is about the pixel it comes from; each digit is there once.
    images, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
    small = images[..., 0].reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4)).reshape(1797, 64)
    known = source.images.reshape(1797, 64) / 16 * 255
    small, known = ((x - x.mean(1, keepdims=True)) for x in (small, known))
    likeness = small @ known.T / np.linalg.norm(small, axis=1)[:, None]
    nearest = (likeness / np.linalg.norm(known, axis=1)).argmax(axis=1)
    assert len(np.unique(nearest)) > 1780
    np.testing.assert_array_equal(source.target[nearest], labels)
    # The split itself: the quickstart's accuracy is that on these 360.
    assert parts[1][1][:12].tolist() == [7, 6, 3, 7, 7, 3, 2, 8, 9, 3, 2, 6]


def test_validation_images_are_held_out_of_training_by_a_seed_of_their_own():
    whole, _ = load_arrays("digits", "train")
    train, _ = load_arrays("digits", "train", validation=200)
    held_out, labels = load_arrays("digits", "validation", validation=200)
    assert len(train) == 1237 and len(held_out) == len(labels) == 200
    together = {image.tobytes() for image in (*train, *held_out)}
    assert together == {image.tobytes() for image in whole}
    again, _ = load_arrays("digits", "validation", validation=200)
    np.testing.assert_array_equal(held_out, again)
    other, _ = load_arrays("digits", "validation", validation=200, seed=1)
    assert not np.array_equal(held_out, other)
    test, _ = load_arrays("digits", "test", validation=200)
    assert len(test) == 360


@pytest.mark.parametrize("validation", [-1, 1437, 5000])
def test_validation_has_to_leave_images_to_train_on(validation):
    with pytest.raises(ValueError, match=f"between 1 and 1436.*validation={validation}"):
        load_arrays("digits", "train", validation=validation)


def test_unknown_names_and_splits_are_errors():
    with pytest.raises(ValueError, match=r"cifar10.*svhn_cropped.*Received: 'cifar'"):
        load_arrays("cifar", "train")
    with pytest.raises(ValueError, match="split='extra'"):
        load_arrays("svhn_cropped", "extra")
    with pytest.raises(ValueError, match="'validation' needs `validation`"):
        load_arrays("digits", "validation")


def test_facts():
    assert {name: info.classes for name, info in DATASETS.items()} == {
        "cifar10": 10, "cifar100": 100, "svhn_cropped": 10, "digits": 10,
    }  # fmt: skip
    assert len(set(dataset_info("cifar100").class_names)) == 100
    cifar, svhn = dataset_info("cifar10"), dataset_info("svhn_cropped")
    assert cifar.augmentation == Augmentation(crop_padding=4, horizontal_flip=True)
    # The paper augments nothing.
    assert svhn.augmentation == Augmentation(crop_padding=0, horizontal_flip=False)


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_cifar_from_tfds(name, classes, tfds_dir):
    import tensorflow_datasets as tfds

    if not (tfds_dir / name).is_dir():
        pytest.skip(f"TFDS_DATA_DIR has no {name}")
    images, labels = load_arrays(name, "test", data_dir=tfds_dir)
    assert images.shape == (10_000, 32, 32, 3) and images.dtype == "uint8"
    np.testing.assert_array_equal(np.bincount(labels), np.full(classes, 10_000 // classes))
    builder = tfds.builder(name, data_dir=tfds_dir)
    assert tuple(builder.info.features["label"].names) == dataset_info(name).class_names
    first = next(iter(tfds.as_numpy(builder.as_dataset(split="test", shuffle_files=False))))
    np.testing.assert_array_equal(images[0], first["image"])
    assert labels[0] == first["label"]


def test_a_share_of_the_training_images_is_held_out():
    share, number = (
        load_arrays("digits", "validation", validation=value) for value in (0.1, round(143.7))
    )
    np.testing.assert_array_equal(share[0], number[0])
    assert len(load_arrays("digits", "train", validation=0.1)[0]) == 1437 - 144
    for wrong in (-1, 2.5, 1437, 1e-5):
        with pytest.raises(ValueError, match=f"`validation` .* Received: validation={wrong}"):
            load_arrays("digits", "train", validation=wrong)
