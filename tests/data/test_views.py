"""Views of an image whose answers are averaged."""

import numpy as np
import pytest

from keras_wrn.data import views_of

IMAGES = np.arange(2 * 5 * 6 * 3).reshape(2, 5, 6, 3)


@pytest.mark.parametrize("count", [1, 2, 6])
def test_weights_of_the_views_sum_to_one(count):
    views = views_of(IMAGES, count)
    assert len(views) == count
    assert sum(weight for weight, _ in views) == 1
    assert all(view.shape == IMAGES.shape for _, view in views)


def test_six_views_are_the_image_two_shifts_and_their_mirrors():
    views = views_of(IMAGES, 6)
    assert [weight for weight, _ in views] == [0.25, 0.25, 0.125, 0.125, 0.125, 0.125]
    plain, mirrored, up_left, _, down_right, _ = (view for _, view in views)
    np.testing.assert_array_equal(plain, IMAGES)
    np.testing.assert_array_equal(mirrored, IMAGES[:, :, ::-1])
    np.testing.assert_array_equal(up_left[:, :-1, :-1], IMAGES[:, 1:, 1:])
    np.testing.assert_array_equal(up_left[:, -1, :-1], IMAGES[:, -2, 1:])  # reflected, not repeated
    np.testing.assert_array_equal(down_right[:, 1:, 1:], IMAGES[:, :-1, :-1])
    np.testing.assert_array_equal(down_right[:, 1:, 0], IMAGES[:, :-1, 1])
    for (_, view), (_, mirror) in zip(views[::2], views[1::2], strict=True):
        np.testing.assert_array_equal(mirror, view[:, :, ::-1])


@pytest.mark.parametrize("count", [0, 3, True, "6"])
def test_another_number_of_views_is_refused(count):
    with pytest.raises(ValueError, match=r"`views` should be one of \(1, 2, 6\). Received"):
        views_of(IMAGES, count)
