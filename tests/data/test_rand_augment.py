"""RandAugment: for each image, in range, of the stated amounts, and by the seed."""

import numpy as np
import pytest
import tensorflow as tf
from data.helpers import made_up, make_batches, run, same

from keras_wrn.data import Preprocessing
from keras_wrn.data.rand_augment import OPERATIONS, RandAugment

COUNT, SIZE = 64, 16  # the same everywhere: another shape is traced anew


@pytest.fixture(scope="module")
def strongest():
    return RandAugment(1.0)


@pytest.fixture(scope="module")
def half():
    return RandAugment(0.5)


def copies(image):
    return np.repeat(image[None], COUNT, axis=0).astype("uint8")


def smooth():
    """An image without sharp edges and without black or white."""
    ramp = np.broadcast_to(np.rint(np.linspace(64, 190, SIZE)), (SIZE, SIZE))
    return np.stack([ramp.T, ramp, 254 - ramp.T], axis=-1)


def apply(layer, images, *names):
    choice = np.array([[OPERATIONS.index(name) for name in names]] * COUNT, "int32")
    return apply_each(layer, images, choice)


def apply_each(layer, images, choice, seed=1):
    amounts = np.random.default_rng(seed).random(choice.shape, dtype="float32")
    result = layer(tf.constant(images), tf.constant(choice), tf.constant(amounts)).numpy()
    assert result.shape == images.shape and result.dtype == "float32"
    assert result.min() >= 0 and result.max() <= 255
    return result


def test_each_image_gets_the_operation_chosen_for_it(strongest):
    images, _ = made_up(COUNT, SIZE)
    choice = np.arange(COUNT, dtype="int32")[:, None] % len(OPERATIONS)
    together = apply_each(strongest, images, choice)
    for name in ("identity", "auto_contrast", "equalize"):  # these draw nothing
        chosen = choice[:, 0] == OPERATIONS.index(name)
        np.testing.assert_array_equal(together[chosen], apply(strongest, images, name)[chosen])
    changed = np.abs(together - images).max(axis=(1, 2, 3)) > 0.01
    assert not changed[choice[:, 0] == 0].any()
    assert changed[choice[:, 0] > 2].mean() > 0.9  # an amount can be small
    alone = choice.copy()
    alone[:-1] = 0
    assert np.abs(apply_each(strongest, images, alone)[-1] - images[-1]).max() > 0.01


def test_two_operations_follow_each_other(strongest):
    images, _ = made_up(COUNT, SIZE)
    images = images // 2 + 30
    both = apply(strongest, images, "auto_contrast", "equalize")
    first = apply(strongest, images, "auto_contrast")
    np.testing.assert_array_equal(both, apply(strongest, first, "equalize"))
    assert not np.array_equal(both, first)
    np.testing.assert_array_equal(apply(strongest, images, "identity", "auto_contrast"), first)


@pytest.mark.parametrize("name", [n for n in OPERATIONS if n not in ("identity", "posterize")])
def test_amounts_are_an_images_own(strongest, name):
    results = apply(strongest, copies(made_up(1, SIZE)[0][0]), name)
    distinct = len(np.unique(results.reshape(COUNT, -1), axis=0))
    assert distinct == 1 if name in ("auto_contrast", "equalize") else distinct > 50


def test_the_other_images_do_not_matter(strongest):
    images, _ = made_up(COUNT, SIZE)
    others = images.copy()
    others[1:] //= 8
    for name in OPERATIONS:
        one, other = (apply(strongest, x, name)[0] for x in (images, others))
        np.testing.assert_array_equal(one, other, err_msg=name)


def test_amounts_go_in_both_directions_up_to_the_stated_range(half):
    images = copies(smooth())
    plain = smooth()

    added = apply(half, images, "brightness") - plain
    assert np.ptp(added, axis=(1, 2, 3)).max() < 1e-3  # the same for each pixel
    assert -63.8 <= added.min() < -50 and 50 < added.max() <= 63.8

    spread = apply(half, images, "contrast").std(axis=(1, 2)) / plain.std(axis=(0, 1))
    assert 0.54 < spread.min() < 0.65 and 1.35 < spread.max() < 1.46

    colour = apply(half, images, "color").std(axis=-1).mean(axis=(1, 2)) / plain.std(axis=-1).mean()
    assert 0.54 < colour.min() < 0.65 and 1.35 < colour.max() < 1.46

    edges = made_up(1, SIZE)[0][0] // 4 + 96
    crisp = apply(half, copies(edges), "sharpness").std(axis=(1, 2, 3)) / edges.std()
    assert crisp.min() < 0.8 and crisp.max() > 1.15


def test_the_largest_moves(strongest):
    image = np.full((SIZE, SIZE, 3), 128)  # the grey that comes in from outside
    image[8, 8] = 255
    places = np.arange(SIZE)
    for name, axis in (("translate_y", 1), ("translate_x", 2)):
        light = apply(strongest, copies(image), name)[..., 0] - 128
        light[np.abs(light) < 0.01] = 0
        assert (np.count_nonzero(light.sum(axis=axis), axis=1) == 1).all()  # on its line
        line = light.sum(axis=3 - axis)
        moved = (line * places).sum(axis=1) / line.sum(axis=1) - 8
        assert -5 - 1e-3 <= moved.min() < -4 and 4 < moved.max() <= 5 + 1e-3  # 10 of 32 pixels

    # Black on the left, white on the right: the border's slant tells the angle.
    image = np.zeros((SIZE, SIZE, 3))
    image[:, 8:] = 255
    for name, largest in (("rotate", np.tan(np.deg2rad(30))), ("shear_x", 0.3)):
        turned = apply(strongest, copies(image), name)[..., 0]
        widths = turned[:, (4, 11), 4:12].sum(axis=2) / 255
        slants = (widths[:, 1] - widths[:, 0]) / 7
        assert 0.8 * largest < slants.max() < 1.05 * largest
        assert -0.8 * largest > slants.min() > -1.05 * largest


def test_posterize_and_solarize(strongest, half):
    ramp = np.repeat(np.arange(256).reshape(SIZE, SIZE, 1), 3, axis=-1)
    images = copies(ramp)
    levels = [len(np.unique(image)) for image in apply(strongest, images, "posterize")]
    assert set(levels) == {2**4, 2**5, 2**6, 2**7}
    levels = [len(np.unique(image)) for image in apply(half, images, "posterize")]
    assert set(levels) == {2**6, 2**7}

    for layer, lowest in ((strongest, 0), (half, 127)):
        result = apply(layer, images, "solarize")
        turned = result != ramp
        np.testing.assert_array_equal(result[turned], 255 - images[turned])
        thresholds = 256 - turned[..., 0].sum(axis=(1, 2))
        for image, threshold in zip(turned, thresholds, strict=True):
            np.testing.assert_array_equal(image, ramp >= threshold)
        assert lowest <= thresholds.min() < lowest + 20 and thresholds.max() > 235


def make(seed=0, strength=0.7, count=48, **settings):
    images, labels = made_up(count, 16)
    settings = {"batch_size": 16, "preprocessing": Preprocessing(16), "seed": seed, **settings}
    return make_batches(images, labels, 10, rand_augment=strength, **settings)


def test_a_run_with_it_repeats_resumes_and_stays_in_range():
    batches = make(cutmix=1.0)
    whole = run(batches)
    assert all(x.min() >= 0 and x.max() <= 1 and x.shape == (16, 16, 16, 3) for x, _ in whole)
    assert same(whole[2:], run(batches, 2))
    assert same(whole[4:], run(make(cutmix=1.0), 4))
    other = make(seed=1, cutmix=1.0)
    other.layers = batches.layers  # saves tracing
    others = run(other, epochs=1)
    assert not any(np.array_equal(a[0], b[0]) for a, b in zip(whole, others, strict=False))


def test_an_image_s_draw_is_its_own_whatever_the_batch():
    found = []
    for batch_size in (16, 24):
        batches = make(batch_size=batch_size)
        order = batches.plan(0)["order"].ravel()
        pixels = np.concatenate([x for x, _ in run(batches, epochs=1)])
        assert len(order) == 48
        found.append(pixels[np.argsort(order)])
    np.testing.assert_allclose(*found, atol=1e-5)


def test_it_comes_before_the_crop_which_stays_what_it_was():
    batches = make()
    plan = {name: part[1] for name, part in batches.plan(0).items()}
    layer = RandAugment(0.7)
    augmented = layer(
        tf.constant(batches.images[plan["order"]]), plan["operations"], plan["amounts"]
    )
    expected = batches.augment(augmented.numpy(), plan["draws"])
    x, _ = run(batches, epochs=1)[1]
    np.testing.assert_allclose(x, expected, atol=1e-5)
    plain = make(strength=0.0).plan(0)
    np.testing.assert_array_equal(plain["draws"], batches.plan(0)["draws"])


def test_operations_differ_within_a_batch_and_come_equally_often():
    images = np.zeros((2800, 4, 4, 3), "uint8")
    batches = make_batches(
        images, np.zeros(2800, int), 10, batch_size=28, preprocessing=Preprocessing(4), padding=0,
        rand_augment=0.5,
    )  # fmt: skip
    plan = batches.plan(0)
    assert plan["operations"].shape == plan["amounts"].shape == (100, 28, 2)
    assert all(len(np.unique(step)) > 7 for step in plan["operations"])
    counts = np.bincount(plan["operations"].ravel(), minlength=len(OPERATIONS))
    assert len(counts) == len(OPERATIONS) and counts.min() > 300 and counts.max() < 500
    assert len(np.unique(plan["amounts"])) > 5500
    assert plan["amounts"].min() < 0.01 and 0.99 < plan["amounts"].max() < 1


def test_where_it_cannot_work_it_says_so(tmp_path, monkeypatch):
    from keras_wrn.data import default_preprocessing
    from keras_wrn.data.datasets import DATASETS

    with pytest.raises(ValueError, match="needs the TensorFlow backend"):
        make().arrays()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    whitening = default_preprocessing(DATASETS["cifar10"], "zca", made_up(48, 16)[0][:, :4, :4])
    with pytest.raises(ValueError, match="ZCA"):
        make_batches(*made_up(48, 4), 10, batch_size=8, preprocessing=whitening, padding=0,
                rand_augment=0.1)  # fmt: skip
    with pytest.raises(ValueError, match="RGB"):
        make_batches(*made_up(48, 4, channels=1), 10, batch_size=8, padding=0,
                preprocessing=Preprocessing(4, mean=(0,), std=(1,)), rand_augment=0.1)  # fmt: skip
