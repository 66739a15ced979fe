"""keras-cv's layers as they are used here, against references in NumPy, on random boxes."""

import numpy as np
import pytest

from keras_wrn.detection.geometry import (
    as_corners,
    augment,
    fit,
    fit_with_boxes,
    fitted_size,
    in_photo,
)

SIZE = 64


def some_photo(random, low=20, high=300):
    height, width = (int(side) for side in random.integers(low, high, 2))
    image = random.integers(1, 256, (height, width, 3), dtype="uint8")
    corners = random.uniform(0, 1, (7, 2, 2)) * [width, height]
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=-1)
    return image, boxes.astype("float32"), np.arange(7, dtype="int32")


def resized(image, height, width):
    """Bilinear, without smoothing, pixel centres at halves."""
    rows, columns = (
        np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        for new, old in zip((height, width), image.shape[:2], strict=True)
    )
    image = image.astype("float64")
    for axis, places in ((0, rows), (1, columns)):
        low = np.floor(places).astype(int)
        high = np.minimum(low + 1, image.shape[axis] - 1)
        share = (places - low).reshape([-1 if a == axis else 1 for a in range(3)])
        image = np.take(image, low, axis) * (1 - share) + np.take(image, high, axis) * share
    return image


def test_formats_of_boxes():
    random = np.random.default_rng(0)
    sides = random.uniform(0, 1, (30, 4)).astype("float32")
    left, top, width, height = (100 * sides).T
    corners = np.stack([left, top, left + width, top + height], axis=-1)
    np.testing.assert_allclose(as_corners(100 * sides, "xywh"), corners, atol=1e-3)
    np.testing.assert_array_equal(as_corners(sides, "rel_yxyx"), sides[:, [1, 0, 3, 2]])
    assert as_corners([], "xywh").shape == (0, 4)


@pytest.mark.parametrize("seed", range(20))
def test_a_photo_is_fitted_into_the_upper_left(seed):
    random = np.random.default_rng(seed)
    image, boxes, labels = some_photo(random)
    height, width = fitted_size(*image.shape[:2], SIZE)
    assert SIZE - 1 <= max(height, width) <= SIZE
    expected = np.zeros((SIZE, SIZE, 3))
    expected[:height, :width] = resized(image, height, width)
    np.testing.assert_allclose(np.asarray(fit(image, SIZE)), expected, atol=0.05)
    pixels, found, same = fit_with_boxes(image, boxes, labels, SIZE)
    np.testing.assert_allclose(np.asarray(pixels), expected, atol=0.05)
    scale = np.array([width, height] * 2) / np.array(image.shape[1::-1] * 2)
    np.testing.assert_allclose(np.asarray(found), boxes * scale, atol=0.01)
    np.testing.assert_array_equal(same, labels)
    back = in_photo(np.asarray(found), *image.shape[:2], SIZE)
    np.testing.assert_allclose(back, boxes, atol=0.02)


@pytest.mark.parametrize("seed", range(40))
def test_a_photo_is_scaled_cut_and_mirrored_with_its_boxes(seed):
    random = np.random.default_rng(seed)
    image, boxes, labels = some_photo(random)
    draws = random.random(4, dtype="float32")
    scale = (0.5, 2.0)
    import tensorflow as tf

    given = (tf.constant(x) for x in (image, boxes, labels, draws))
    pixels, found, kept = (np.asarray(x) for x in augment(*given, SIZE, scale, flips=True))
    sides = np.array(image.shape[:2])
    wanted = np.float32(SIZE / sides.max()) * np.float32(0.5 + 1.5 * draws[2])
    new = np.maximum(np.round(sides * wanted), 1).astype(int)
    top, left = np.floor(draws[:2] * np.maximum(new - SIZE, 0)).astype(int)
    cut = resized(image, *new)[top : top + SIZE, left : left + SIZE]
    expected = np.zeros((SIZE, SIZE, 3))
    expected[: len(cut), : cut.shape[1]] = cut
    moved = boxes * np.tile((new / sides)[::-1], 2) - [left, top, left, top]
    moved = np.clip(moved, 0, SIZE)
    if draws[3] >= 0.5:
        expected = expected[:, ::-1]
        moved = moved[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [SIZE, 0, SIZE, 0]
    np.testing.assert_allclose(pixels, expected, atol=0.05)
    gone = ((moved[:, 2:] - moved[:, :2]) <= 0).any(axis=-1)
    np.testing.assert_array_equal(kept, np.where(gone, -1, labels))
    np.testing.assert_allclose(found[~gone], moved[~gone], atol=0.01)


def test_photos_are_not_mirrored_if_that_is_off():
    import tensorflow as tf

    image, boxes, labels = some_photo(np.random.default_rng(0))
    settings = (tf.constant([0, 0, 0, 0.9], "float32"), SIZE, (1.0, 1.0))
    plain, ours, _ = augment(tf.constant(image), boxes, labels, *settings, flips=False)
    fitted, expected, _ = fit_with_boxes(image, boxes, labels, SIZE)
    assert np.abs(np.asarray(plain) - np.asarray(fitted)).mean() < 8  # a pixel more at the edge
    np.testing.assert_allclose(np.asarray(ours), np.asarray(expected), atol=1.0)
    mirrored, _, _ = augment(tf.constant(image), boxes, labels, *settings, flips=True)
    np.testing.assert_array_equal(np.asarray(mirrored), np.asarray(plain)[:, ::-1])


def test_a_photo_without_boxes():
    import tensorflow as tf

    image, _, _ = some_photo(np.random.default_rng(0))
    none = tf.zeros((0, 4)), tf.zeros((0,), "int32")
    _, boxes, labels = augment(tf.constant(image), *none, tf.fill((4,), 0.7), SIZE, (1, 2), True)
    assert boxes.shape == (0, 4) and labels.shape == (0,)
    _, boxes, labels = fit_with_boxes(image, *none, SIZE)
    assert boxes.shape == (0, 4) and labels.shape == (0,)


def test_the_layers_work_in_float32_under_a_low_precision(set_policy):
    from keras_wrn.detection import geometry

    geometry._layers.cache_clear()
    set_policy("mixed_bfloat16")
    image, boxes, labels = some_photo(np.random.default_rng(0))
    pixels, found, _ = fit_with_boxes(image, boxes, labels, SIZE)
    assert pixels.dtype == "float32" and found.dtype == "float32"
    geometry._layers.cache_clear()
