"""Corruptions: fifteen kinds, each stronger with its severity, each image by its own draws."""

import numpy as np
import pytest
from photo_files import picture

from keras_wrn.data import CORRUPTIONS, corrupt

KINDS = (
    "gaussian_noise shot_noise impulse_noise defocus_blur glass_blur motion_blur zoom_blur snow "
    "frost fog brightness contrast elastic_transform pixelate jpeg_compression"
).split()


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(0)
    return np.stack([np.asarray(picture(random, 32, 32)) for _ in range(6)])


def change(images, kind, severity):
    spoilt = corrupt(images, kind, severity)
    assert spoilt.shape == images.shape and spoilt.dtype == np.uint8
    return np.abs(spoilt.astype(float) - images).mean()


def test_there_are_the_fifteen_kinds_of_the_paper():
    assert list(CORRUPTIONS) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_it_grows_with_its_severity(images, kind):
    changes = [change(images, kind, severity) for severity in (1, 2, 3, 4, 5)]
    assert 0.05 < changes[0] < changes[4] < 110
    if kind not in ("glass_blur", "frost", "snow", "pixelate"):  # these need not grow on any image
        assert changes == sorted(changes)


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_has_its_own_draws_whatever_its_batch(images, kind):
    whole = corrupt(images, kind, 3, first=10)
    parts = [corrupt(images[i : i + 2], kind, 3, first=10 + i) for i in (0, 2, 4)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    same = np.repeat(images[:1], 3, axis=0)
    spoilt = corrupt(same, kind, 3)
    drawn = kind not in (
        "defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression"
    )  # fmt: skip
    assert (np.ptp(spoilt.astype(int), axis=0).max() > 0) == drawn


def test_noise_has_the_stated_strength():
    grey = np.full((20, 32, 32, 3), 128, "uint8")
    for severity, deviation in ((1, 0.04), (5, 0.10)):
        spoilt = corrupt(grey, "gaussian_noise", severity).astype(float) - 128
        assert spoilt.std() == pytest.approx(255 * deviation, rel=0.02)
        assert abs(spoilt.mean()) < 0.5
    spoilt = corrupt(grey, "shot_noise", 5) / 255
    assert spoilt.std() == pytest.approx(np.sqrt(0.5 / 50), rel=0.03)
    spoilt = corrupt(grey, "impulse_noise", 4)
    assert np.mean(spoilt == 0) == pytest.approx(0.025, rel=0.1)
    assert np.mean(spoilt == 255) == pytest.approx(0.025, rel=0.1)


def test_light_and_contrast_are_those_of_the_definition():
    image = np.full((1, 8, 8, 3), (100, 50, 0), "uint8")
    image[0, :4] = (200, 100, 0)
    brighter = corrupt(image, "brightness", 2)[0]  # the value in HSV rises by 0.1
    np.testing.assert_allclose(brighter[5, 5], [125.5, 62.75, 0], atol=1)
    flatter = corrupt(image, "contrast", 5)[0]  # the mean, and 0.15 of what differs from it
    np.testing.assert_allclose(flatter[0, 0], [150 + 7.5, 75 + 3.75, 0], atol=1)


def test_blurs_keep_the_mean_and_lower_the_detail(images):
    for kind in ("defocus_blur", "motion_blur", "zoom_blur"):
        spoilt = corrupt(images, kind, 5)
        assert abs(spoilt.mean() - images.mean()) < 3
        detail, before = (np.abs(np.diff(x.astype(float), axis=2)).mean() for x in (spoilt, images))
        assert detail < before * 0.97


@pytest.mark.parametrize(("arguments", "message"), [
    ((np.zeros((1, 8, 8, 3), "uint8"), "rain", 1), "one of gaussian_noise.*'rain'"),
    ((np.zeros((1, 8, 8, 3), "uint8"), "fog", 6), "1 to 5.*severity=6"),
    ((np.zeros((1, 8, 8, 1), "uint8"), "fog", 1), r"uint8 \(1, 8, 8, 1\)"),
    ((np.zeros((1, 8, 8, 3), "float32"), "fog", 1), r"float32 \(1, 8, 8, 3\)"),
])  # fmt: skip
def test_anything_else_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        corrupt(*arguments)
