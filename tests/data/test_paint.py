"""Colour jitter, lighting, RandAugment, TrivialAugment, erasing: published rules, own draws."""

import keras
import numpy as np
import pytest
import scipy.stats
from data.helpers import made_up, make_batches, run, same
from photo_files import picture
from PIL import Image
from torchvision_here import import_torchvision

from keras_wrn.data import Augmentation, Preprocessing
from keras_wrn.data.erasing import COLUMNS, erased_boxes
from keras_wrn.data.mixing import heavy_draws
from keras_wrn.data.paint import (
    BINS,
    NAMES,
    ORDERS,
    color_jitter,
    jitter_draws,
    lighting,
    paint,
    rand_augment,
    rand_draws,
    trivial_augment,
)

SIZE = 24
EVERYTHING = {
    "color_jitter": 0.4,
    "lighting": 0.1,
    "rand_augment": 0.3,
    "trivial_augment": True,
    "erasing": 0.5,
}
SETTINGS = {"batch_size": 16, "preprocessing": Preprocessing(SIZE)}
on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.data is for the TensorFlow backend"
)


@pytest.fixture(scope="module")
def photo():
    return picture(np.random.default_rng(1), 60, 45)


@pytest.mark.extra("torchvision")
@pytest.mark.parametrize("name", NAMES)
def test_each_operation_is_torchvisions_at_every_level(photo, name):
    import_torchvision()
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.autoaugment import TrivialAugmentWide, _apply_op

    theirs = name.replace("_", " ").title().replace(" ", "")
    space = TrivialAugmentWide()._augmentation_space(BINS)
    assert [x.lower() for x in space] == [x.replace("_", "") for x in NAMES]
    levels, has_sign = space[theirs]
    number = NAMES.index(name)
    for level in range(BINS):
        for sign in (1, -1) if has_sign else (1,):
            # Its levels are in float32, where 16 pixels become 15.999999 and then 15.
            amount = sign * round(float(levels[level] if levels.ndim else levels), 4)
            expected = _apply_op(photo, theirs, amount, InterpolationMode.NEAREST, None)
            draws = (number + 0.5) / len(NAMES), (level + 0.5) / BINS, 0.5 + 0.25 * sign
            np.testing.assert_array_equal(trivial_augment(photo, draws), expected)


@pytest.mark.extra("torchvision")
@pytest.mark.parametrize("magnitude", [0, 1, 9, 14, 23, 30])
def test_rand_augment_is_torchvisions(photo, magnitude):
    import_torchvision()
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.autoaugment import RandAugment, _apply_op

    space = RandAugment()._augmentation_space(BINS, (photo.height, photo.width))
    theirs = {name.lower(): (name, *rest) for name, rest in space.items()}
    for first in NAMES:
        second = NAMES[NAMES.index(first) - 3]
        for signs in ((1, 1), (-1, 1), (1, -1)):
            expected = photo
            for name, sign in zip((first, second), signs, strict=True):
                known_as, levels, has_sign = theirs[name.replace("_", "")]
                level = round(float(levels[magnitude] if levels.ndim else levels), 4)
                level *= sign if has_sign else 1
                expected = _apply_op(expected, known_as, level, InterpolationMode.NEAREST, None)
            draws = [(NAMES.index(first) + 0.5) / 14, 0.5 + 0.25 * signs[0],
                     (NAMES.index(second) + 0.5) / 14, 0.5 + 0.25 * signs[1]]  # fmt: skip
            found = rand_augment(photo, rand_draws(magnitude / 30, np.array(draws)))
            np.testing.assert_array_equal(found, expected, err_msg=f"{first}, {second}, {signs}")


def test_operations_and_signs_of_rand_augment_come_equally_often():
    draws = rand_draws(0.7, np.random.default_rng(0).random((50, 56, 4), "float32"))
    assert draws.shape == (50, 56, 4) and draws.dtype == "float32"
    for slot in (draws[..., :2], draws[..., 2:]):
        counts = np.bincount(slot[..., 0].astype(int).ravel(), minlength=14)
        assert len(counts) == 14 and scipy.stats.chisquare(counts).pvalue > 0.001
        np.testing.assert_allclose(np.abs(slot[..., 1]), 0.7, rtol=1e-6)
        assert abs((slot[..., 1] > 0).mean() - 0.5) < 0.05


@pytest.mark.extra("torchvision")
@pytest.mark.parametrize("order", ORDERS)
def test_colour_jitter_is_torchvisions(photo, order):
    import_torchvision()
    from torchvision.transforms import functional

    changes = functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation
    factors = np.random.default_rng(2).uniform(0.6, 1.4, 3).astype("float32")
    expected = photo
    for which in order:
        expected = changes[which](expected, float(factors[which]))
    found = color_jitter(photo, np.array([*factors, ORDERS.index(order)], "float32"))
    np.testing.assert_array_equal(found, expected)


def test_factors_and_orders_are_uniform():
    draws = jitter_draws(0.4, np.random.default_rng(0).random((6000, 4)))
    for factors in draws[:, :3].T:
        assert scipy.stats.kstest((factors - 0.6) / 0.8, "uniform").pvalue > 0.001
    orders = np.bincount(draws[:, 3].astype(int), minlength=6)
    assert len(orders) == 6 and scipy.stats.chisquare(orders).pvalue > 0.001


def test_lighting_moves_along_the_principal_colours():
    normal = np.random.default_rng(0).standard_normal((20000, 3))
    added = lighting(0.1, normal) / 255
    values, vectors = np.linalg.eigh(np.cov(added.T))
    np.testing.assert_allclose(np.sqrt(values[::-1]), [0.02175, 0.00188, 0.00045], rtol=0.03)
    first = vectors[:, -1] * np.sign(vectors[0, -1])
    np.testing.assert_allclose(first, [0.5675, 0.5808, 0.5836], atol=2e-3)
    np.testing.assert_allclose(
        lighting(0.1, np.array([1.0, 0, 0])),
        255 * 0.02175 * np.array([-0.5675, -0.5808, -0.5836]),
        rtol=1e-5,
    )


def test_erased_boxes_are_those_of_the_published_algorithm():
    draws = np.random.default_rng(0).random((500, COLUMNS))
    for row, box in zip(draws, erased_boxes(draws, 0.7, (30, 40)), strict=True):
        assert list(box) == _erased(row, 0.7, 30, 40)
    boxes = erased_boxes(np.random.default_rng(1).random((4000, COLUMNS)), 0.1, (224, 224))
    heights, widths = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert abs((heights > 0).mean() - 0.1) < 0.015  # that share of the images, not half of it
    shares = (heights * widths)[heights > 0] / 224**2
    assert shares.min() > 0.015 and shares.max() < 0.34


def _erased(draws, probability, height, width):
    for trial in range(10):
        area = height * width * (0.02 + 0.31 * draws[2 * trial])
        shape = np.exp(np.log(0.3) + np.log(11) * draws[2 * trial + 1])
        h, w = round(np.sqrt(area * shape)), round(np.sqrt(area / shape))
        if h < height and w < width:
            break
    else:
        h = w = 0
    if draws[-1] >= probability or not h:
        return [0, 0, 0, 0]
    top, left = int(draws[-3] * (height - h + 1)), int(draws[-2] * (width - w + 1))
    return [top, left, top + h, left + w]


@on_tensorflow
def test_batches_repeat_resume_and_are_the_same_from_arrays():
    images, labels = made_up(70, SIZE)
    batches = make_batches(images, labels, 10, **SETTINGS, **EVERYTHING)
    first = run(batches)
    assert same(first, run(batches)) and same(first[3:], run(batches, start=3))
    assert not same(first[:4], first[4:])
    for (x, y), (a, b) in zip(first, batches.arrays(epochs=2), strict=False):
        np.testing.assert_allclose(x, a, atol=1e-6)
        np.testing.assert_array_equal(y, b)


@on_tensorflow
@pytest.mark.parametrize("fields", [
    {"color_jitter": 0.4}, {"trivial_augment": True}, {"lighting": 0.1}, {"erasing": 1.0},
    {"rand_augment": 0.5},
    {"rand_augment": 0.3, "jitter": 0.1, "trivial_augment": True},
])  # fmt: skip
def test_each_is_done_to_the_pixels_and_leaves_the_other_draws_alone(fields):
    images, labels = made_up(64, SIZE)
    plain = {"padding": 0, "horizontal_flip": False}
    before = run(make_batches(images, labels, 10, **SETTINGS, **plain), epochs=1)
    after = run(make_batches(images, labels, 10, **SETTINGS, **plain, **fields), epochs=1)
    changed = [
        not np.array_equal(one, other)
        for (x, _), (a, _) in zip(before, after, strict=True)
        for one, other in zip(x, a, strict=True)
    ]
    assert np.mean(changed) > 0.75
    for (_, y), (_, b) in zip(before, after, strict=True):
        np.testing.assert_array_equal(y, b)


def test_an_image_has_its_own_draws_whatever_its_batch():
    augmentation = Augmentation(**EVERYTHING)
    orders = np.random.default_rng(0).permutation(60).reshape(6, 10), np.arange(60).reshape(3, 20)
    plans = [heavy_draws(augmentation, 3, 1, 60, order, (SIZE, SIZE)) for order in orders]
    assert plans[0].keys() == {"color", "lighting", "rand", "trivial", "erased"}
    for name in plans[0]:
        rows = [
            dict(zip(order.ravel(), plan[name].reshape(60, -1).tolist(), strict=True))
            for order, plan in zip(orders, plans, strict=True)
        ]
        assert rows[0] == rows[1]
    other = heavy_draws(augmentation, 3, 2, 60, orders[0], (SIZE, SIZE))
    assert all(not np.array_equal(other[name], plans[0][name]) for name in other)


def test_a_batch_is_painted_image_by_image(photo):
    images = np.stack([np.asarray(photo)] * 3)
    draws = np.array([[0.0, 0, 0], [0.5, 0.9, 0.9], [0.99, 0.5, 0.5]])
    color = np.array([[1.2, 0.8, 1.0, 0], [1, 1, 1, 3], [0.7, 1.3, 1.1, 5]], "float32")
    rand = rand_draws(0.5, np.random.default_rng(3).random((3, 4)))
    painted = paint(images, {"color": color, "rand": rand, "trivial": draws})
    for i in range(3):
        expected = color_jitter(Image.fromarray(images[i]), color[i])
        expected = trivial_augment(rand_augment(expected, rand[i]), draws[i])
        np.testing.assert_array_equal(painted[i], expected)


@pytest.mark.parametrize("fields", [{"color_jitter": 0.1}, {"trivial_augment": True},
                                    {"rand_augment": 0.1}, {"lighting": 0.1}])  # fmt: skip
def test_grey_images_have_no_colours(fields):
    images, labels = made_up(20, channels=1)
    settings = {"batch_size": 5, "preprocessing": Preprocessing(8, mean=(0.5,), std=(0.5,))}
    with pytest.raises(ValueError, match=f"`{next(iter(fields))}` is for RGB images.*1 channels"):
        make_batches(images, labels, 10, **settings, **fields)
